"""Transpose a matrix of codes from memory to memory, by the layouts of load and store.

A block is loaded in layout `partition`: column c of it lies along addresses in partition c mod N,
in the order of the rows. That is a row of the transpose, and layout `free` stores it. Both move
whole beats and no engine stands between; transposed writes of the vector engine would only add
their time. Blocks go round a ring of scratchpad slots; `ordering` places the semaphores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import isqrt

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import Engine, Layout
from tegula_golden.array_types import Codes
from tegula_sw.devices.base import Device, run_well
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.program import MemoryImage
from tegula_sw.program.schedule import Op, dma_op
from tegula_sw.program.span import Span, balanced

__all__ = ["TransposeAddresses", "build_transpose", "transpose_on_device"]

_SLOTS = 3
_SIDE = 64
"""Rows and columns of a block: enough to hide what runs and instructions cost, and a short start.

A block of a narrower matrix is longer.
"""


@dataclass(frozen=True, kw_only=True)
class TransposeAddresses:
    """Addresses in bytes of the matrix and of its transpose, row-major without gaps."""

    source: int
    result: int


def _align(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class _Kernel:
    """Writes the instructions of one program, in the order of their meaning."""

    def __init__(
        self,
        config: TileConfig,
        shape: tuple[int, int],
        code_bytes: int,
        addresses: TransposeAddresses,
    ):
        self._config, self._shape, self._addresses = config, shape, addresses
        self._code_bytes = code_bytes
        self._slot_words = config.sbuf_depth // _SLOTS // config.bus_words * config.bus_words
        if not self._slot_words:
            raise ValueError(
                f"a scratchpad of {config.sbuf_depth} words a partition is too small to transpose"
            )

    def ops(self) -> Iterator[Op]:
        """The instructions."""
        for index, (rows, columns) in enumerate(self._blocks()):
            slot = index % _SLOTS * self._slot_words
            yield self._load(rows, columns, slot)
            yield from self._store(rows, columns, slot)

    def _blocks(self) -> Iterator[tuple[Span, Span]]:
        """Rows and columns of each block, about `_SIDE` by `_SIDE` codes."""
        n, line = self._config.n, self._config.bus_words
        height, width = self._shape
        side = min(_SIDE, isqrt(self._slot_words * n))
        room = max(side * side // n, line)
        groups = -(-min(width, side) // n)
        most_rows = max(room // groups // line, 1) * line
        most_groups = max(room // _align(min(height, most_rows), line), 1)
        return product(balanced(height, most_rows, line), balanced(width, most_groups * n, n))

    def _stride(self, rows: Span) -> int:
        """Scratchpad words of the rows in a group of N columns: whole lines."""
        return _align(len(rows), self._config.bus_words)

    def _run_cycles(self, codes: int, words_a_cycle: int) -> int:
        return max(
            -(-codes * self._code_bytes // self._config.bus_bytes), -(-codes // words_a_cycle)
        )

    def _load(self, rows: Span, columns: Span, slot: int) -> Op:
        """Rows of the block, each across the partitions."""
        line = self._shape[1] * self._code_bytes
        return dma_op(
            self._config,
            Engine.LOAD,
            self._run_cycles(len(columns), self._config.row_words),
            [(len(rows), line, 1, 0)],
            mem_addr=self._addresses.source + rows.start * line + columns.start * self._code_bytes,
            run=len(columns),
            sbuf_addr=slot,
            sbuf_stride0=self._stride(rows),
            layout=Layout.PARTITION,
            bytes1=int(self._code_bytes == 1),
        )

    def _store(self, rows: Span, columns: Span, slot: int) -> Iterator[Op]:
        """Columns of the block, each along a partition: whole groups of N, then the rest."""
        n, stride = self._config.n, self._stride(rows)
        line = self._shape[0] * self._code_bytes
        whole, rest = divmod(len(columns), n)
        for group, groups, count in ((0, whole, n), (whole, 1, rest)):
            if groups * count:
                yield dma_op(
                    self._config,
                    Engine.STORE,
                    self._run_cycles(len(rows), self._config.bus_words),
                    [(count, line, 0, 1), (groups, n * line, stride, 0)],
                    mem_addr=self._addresses.result
                    + (columns.start + group * n) * line
                    + rows.start * self._code_bytes,
                    run=len(rows),
                    sbuf_addr=slot + group * stride,
                    layout=Layout.FREE,
                    bytes1=int(self._code_bytes == 1),
                )


def build_transpose(
    config: TileConfig, shape: tuple[int, int], code_bytes: int, addresses: TransposeAddresses
) -> bytes:
    """The program that transposes a matrix of `shape` (rows, columns).

    Parameters
    ----------
    config
        The tile that it is for.
    shape
        Of the matrix; its transpose has the other way round.
    code_bytes
        1 or 2.
    addresses
        Where both lie; they must not overlap.

    Raises
    ------
    ValueError
        If an argument is out of range, or the scratchpad is too small.
    """
    if min(shape) < 1:
        raise ValueError(f"a matrix of shape {shape} has nothing to transpose")
    if code_bytes not in (1, 2):
        raise ValueError(f"code_bytes must be 1 or 2, not {code_bytes}")
    return assemble_ordered(config, _Kernel(config, shape, code_bytes, addresses).ops())


def transpose_on_device(device: Device, codes: Codes) -> Codes:
    """The transpose of a matrix of codes, made by the tile; every pattern stays what it is.

    Parameters
    ----------
    device
        The tile.
    codes
        uint8 or uint16, shape (rows, columns), not empty.

    Returns
    -------
    ndarray
        The same dtype, shape (columns, rows).

    Raises
    ------
    ValueError
        If the dtype or shape is wrong, or the scratchpad is too small.
    TileTrapError
        If the tile traps.
    """
    if codes.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"codes must be uint8 or uint16, not {codes.dtype}")
    if codes.ndim != 2 or not codes.size:
        raise ValueError(f"codes must be a matrix and not empty, not of shape {codes.shape}")
    image = MemoryImage()
    addresses = TransposeAddresses(source=image.add(codes), result=image.reserve(codes.nbytes))
    program = build_transpose(device.config, codes.shape, codes.itemsize, addresses)
    address = image.add(program)
    memory = image.build()
    run_well(device, memory, address, len(program))
    return image.read(memory, addresses.result, codes.dtype, codes.shape[::-1])
