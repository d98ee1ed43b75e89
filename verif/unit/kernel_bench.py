"""Run kernels on both devices: matrices in, matrices out, bit for bit alike."""

import numpy as np

from tegula.config import TileConfig, preset
from tegula.formats import FP32, FloatFormat
from tegula_golden.cast import cast
from tegula_golden.codes import code_dtype, decode
from tegula_sw.builder import MemoryImage
from tegula_sw.functions.loading import TableRecords
from tegula_sw.golden import GoldenDevice
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix
from tegula_sw.rtl.device import RtlDevice

__all__ = ["TINY", "KernelBench", "codes", "normal", "repeated", "values"]

TINY = preset("tiny")


def codes(x: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes of real numbers."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return cast(bits, fmt, saturate=True).astype(code_dtype(fmt))


def values(x: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """float64 of codes."""
    if fmt == FP32:
        return x.view(np.float32).astype(np.float64)
    return decode(x, fmt).astype(np.float64)


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    """float64 of a normal distribution."""
    return np.random.default_rng(seed).normal(0, scale, shape)


def repeated(row: np.ndarray, fmt: FloatFormat = FP32) -> np.ndarray:
    """Codes of a row in every partition of tiny."""
    return codes(np.tile(row, (TINY.n, 1)), fmt)


class KernelBench:
    """A program of kernels with its matrices.

    Use: `bring` matrices, call kernels on `builder`, `fetch` results, `run`.
    """

    def __init__(self, functions: tuple[str, ...] = (), config: TileConfig = TINY):
        self.config = config
        self.image = MemoryImage()
        table = TableRecords.add(config, list(functions), self.image) if functions else None
        self.builder = KernelBuilder(config, table=table)
        self._results: list[tuple[int, Matrix]] = []
        if functions:
            self.builder.load_functions()

    def matrix(self, rows: int, columns: int, fmt: FloatFormat, name: str = "result") -> Matrix:
        """Space for a matrix."""
        return self.builder.scratchpad.matrix(name, rows, columns, fmt)

    def bring(self, content: np.ndarray, fmt: FloatFormat, name: str = "operand") -> Matrix:
        """A matrix of codes of `fmt`, loaded."""
        matrix = self.matrix(*content.shape, fmt, name)
        self.builder.load(matrix, self.image.add(content.astype(code_dtype(fmt))))
        return matrix

    def fetch(self, matrix: Matrix) -> None:
        """Store a matrix: `run` returns it."""
        size = matrix.rows * matrix.columns * matrix.fmt.width // 8
        address = self.image.reserve(size)
        self.builder.store(matrix, address)
        self._results.append((address, matrix))

    def run(self) -> list[np.ndarray]:
        """Codes of what was fetched, after both devices have agreed on all of memory."""
        code = self.builder.assemble()
        program = self.image.add(code)
        memory = self.image.build()
        expected = memory.copy()
        where = {"program": program, "program_bytes": len(code)}
        golden = GoldenDevice(self.config).run(expected, **where)
        assert golden.trap is None
        device = RtlDevice(self.config, mem_latency=12, max_cycles=1_000_000)
        try:
            result = device.run(memory, **where)
        finally:
            device.close()
        assert result.trap is None
        self.cycles = result.cycles
        np.testing.assert_array_equal(memory, expected)
        return [
            self.image.read(memory, address, code_dtype(m.fmt), (m.rows, m.columns))
            for address, m in self._results
        ]
