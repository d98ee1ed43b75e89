"""Run kernels on both devices: matrices in, matrices out, bit for bit alike."""

import numpy as np

from tegula.config import TileConfig, preset
from tegula.formats import FP32, FloatFormat
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import code_dtype, decode
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels import loss
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix
from tegula_sw.kernels.optimizers import Optimizer, Update
from tegula_sw.program.program import MemoryImage

__all__ = [
    "TINY",
    "KernelBench",
    "codes",
    "normal",
    "repeated",
    "run_optimizer",
    "run_softmax",
    "values",
]

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

    def matrix(
        self, rows: int, columns: int, fmt: FloatFormat, name: str = "result", **more: bool
    ) -> Matrix:
        """Space for a matrix."""
        return self.builder.scratchpad.matrix(name, rows, columns, fmt, **more)

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


def run_softmax(
    z: np.ndarray, labels: np.ndarray, *, packed: bool = True
) -> tuple[np.ndarray, float]:
    """Gradient (batch, classes) and mean loss of float32 logits, in float64.

    Parameters
    ----------
    packed
        Whether bands of the one-hot labels are one behind the other.
    """
    bench = KernelBench(loss.FUNCTIONS)
    z_matrix = bench.bring(z.view(np.uint32), FP32)
    patterns = np.array([[loss.label_pattern(int(label))] for label in labels], np.uint32)
    labels_matrix = bench.bring(patterns, FP32)
    dz = bench.matrix(*z.shape, FP32)
    losses = bench.matrix(TINY.n, z_matrix.bands, FP32)
    onehot = bench.matrix(*z.shape, FP32, packed=packed)
    loss.one_hot(bench.builder, labels_matrix, onehot)
    with loss.softmax_gradient(bench.builder, z_matrix, onehot, dz) as softmax:
        loss.mean_loss(bench.builder, softmax, losses)
    address = bench.image.reserve(4 + 4 * TINY.n)
    loss.total(bench.builder, losses, address)
    total = bench.matrix(1, 1, FP32)
    bench.builder.load(total, address)
    bench.fetch(dz)
    bench.fetch(total)
    gradient, mean = (values(result, FP32) for result in bench.run())
    return gradient, float(mean[0, 0])


def run_optimizer(
    optimizer: Optimizer,
    weight_fmt: FloatFormat,
    gradients: list[np.ndarray],
    rounding: str = "nearest",
) -> dict[str, np.ndarray]:
    """Weight before and after steps with these gradients, (n, columns), and its slots."""
    shape = gradients[0].shape
    start = codes(normal(13, *shape, scale=0.5), weight_fmt)
    bench = KernelBench(optimizer.functions)
    b = bench.builder
    weight = bench.bring(start, weight_fmt)
    zeros = np.zeros(shape, np.uint32)
    slots = {name: bench.bring(zeros, FP32) for name in optimizer.slots}
    strips = {name: slot.strip() for name, slot in slots.items()}
    scalars = {
        name: bench.bring(repeated([value]), FP32).strip()
        for name, value in optimizer.scalars.items()
    }
    for gradient in gradients:
        optimizer.begin(b, scalars)
        optimizer.decay(b, strips)
        grad = bench.bring(gradient.astype(np.float32).view(np.uint32), FP32).strip()
        optimizer.accumulate(b, strips, grad, ())
        update = Update(weight=weight.strip(), slots=strips, scalars=scalars, rounding=rounding)
        optimizer.apply(b, update)
    for matrix in (weight, *slots.values()):
        bench.fetch(matrix)
    end, *kept = bench.run()
    found = {name: values(slot, FP32) for name, slot in zip(slots, kept, strict=True)}
    return {"start": values(start, weight_fmt), "end": values(end, weight_fmt)} | found
