"""Stores of all architectural state that a program can read, to compare two devices."""

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operation, Reduction, Source, TableKind
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.program.schedule import Op

__all__ = ["StateDump"]

_GENERATOR_WORDS = 8
_REDUCTIONS_ADDR = _GENERATOR_WORDS
"""Scratchpad address of the fp32 of the vector engine's reduction; the activation sum follows."""

_ZEROS_ADDR = _REDUCTIONS_ADDR + 4
_FUNCTIONS_ADDR = _ZEROS_ADDR + 4
_FUNCTION_COLUMNS = 8
_FUNCTIONS = 31
"""Descriptors that are evaluated, evenly spaced over the table."""

_ENGINE_WORDS = _FUNCTIONS_ADDR + 2 * _FUNCTION_COLUMNS * _FUNCTIONS


class StateDump:
    """Instructions that store the state at `address`; they change it alike on equal devices.

    In order: the scratchpad; the words of the engines (the generators; one fp32 each of the partial
    results and the partial sums, added; the table, as fp32 results of functions across it, whose
    arguments are words of the scratchpad); the `written` words of PSUM as fp32. The eight partial
    results of a partition are thereby compared by their sum, with nothing but zero added to it. The
    stationary operand and the scale buffer have no reader but `tensor.matmul`, and PSUM words count
    as unwritten in the next program, so behind a trap (docs/traps.md) none of them can be compared.

    Parameters
    ----------
    written
        PSUM words that the program before has written: bool, shape (psum_depth,); default: none.

    Attributes
    ----------
    ops
        The instructions.
    areas
        Name, bytes and words per partition of each store, in order of addresses.
    """

    def __init__(self, config: TileConfig, address: int, written: np.ndarray | None = None):
        self._config, self._address = config, address
        self.ops: list[Op] = []
        self.areas: list[tuple[str, int, int]] = []
        self._store("the scratchpad", config.sbuf_depth)
        self.ops += self._engine_ops()
        self._store("the engines", _ENGINE_WORDS)
        if written is not None and written.any():
            self.ops += self._psum_ops(np.flatnonzero(written))
            self._store("PSUM as fp32", 2 * config.psum_depth)

    @property
    def size_bytes(self) -> int:
        """Bytes that the instructions store."""
        return sum(size_bytes for _, size_bytes, _ in self.areas)

    def place(self, offset: int) -> str:
        """Name of the word at a byte of the stores."""
        for name, size_bytes, words in self.areas:
            if offset < size_bytes:
                return f"{name}, partition {offset // (2 * words)} word {offset // 2 % words}"
            offset -= size_bytes
        raise ValueError(f"offset must be below {self.size_bytes}, not {offset} beyond it")

    def _store(self, name: str, words: int) -> None:
        address = self._address + self.size_bytes
        self.ops.append(image_transfer(self._config, Engine.STORE, words, address))
        self.areas.append((name, 2 * words * self._config.n, words))

    def _engine_ops(self) -> list[Op]:
        """The table is read first: the partial sums need a function whose result is zero."""
        all_rows = {"rows": self._config.n, "format": FP32.code}
        argument = {"x_format": FP32.code, "x_addr": self._config.sbuf_depth // 2, "x_stride": 2}
        ops = [Op("vector.generator", {"save": 1, "addr": 0})]
        spacing = self._config.activation_entries // _FUNCTIONS
        for number in range(_FUNCTIONS):
            fields = {
                "function": number * spacing,
                "columns": _FUNCTION_COLUMNS,
                "dst": _FUNCTIONS_ADDR + 2 * _FUNCTION_COLUMNS * number,
                "dst_stride": 2,
            }
            ops.append(Op("activation.apply", all_rows | argument | fields))
        zero = all_rows | {"x_source": Source.INDEX, "op0": Operation.MUL, "s0": 0}
        finish = {"columns": 1, "proceed": 1, "finish": 1}
        reduction = finish | {"reduction": Reduction.SUM, "dst": _REDUCTIONS_ADDR}
        at_zero = {"x_format": FP32.code, "x_addr": _ZEROS_ADDR, "function": 0}
        sums = finish | {"sum": 1, "sum_dst": _REDUCTIONS_ADDR + 2, "dst": _ZEROS_ADDR + 2}
        return [
            *ops,
            Op("vector.compute", zero | reduction),
            Op("vector.compute", zero | {"columns": 2, "dst": _ZEROS_ADDR, "dst_stride": 2}),
            *(
                Op("activation.table", {"kind": kind, "addr": _ZEROS_ADDR, "count": 1})
                for kind in (TableKind.ENTRIES, TableKind.DESCRIPTORS)
            ),
            Op("activation.apply", all_rows | at_zero | sums),
        ]

    def _psum_ops(self, words: np.ndarray) -> list[Op]:
        common = {"rows": self._config.n, "format": FP32.code, "dst_stride": 2}
        return [
            Op("vector.compute", common | {"x_addr": first, "columns": size, "dst": 2 * first})
            for run in np.split(words, np.flatnonzero(np.diff(words) != 1) + 1)
            for first, size in ((int(run[0]), run.size),)
        ]
