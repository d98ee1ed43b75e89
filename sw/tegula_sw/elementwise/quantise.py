"""fp32 -> MX elements and scales on a device: rows across the partitions, by vector.quantise.

Pieces of N rows go round a ring of scratchpad slots; tokens circle: load -> vector -> store.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import MX_BLOCK, MXFP4_E2M1, MxElement
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import ScaleRule, Source
from tegula_golden.array_types import Bytes, Patterns
from tegula_sw.devices.base import Device, run_well
from tegula_sw.program.costs import drain_cost, vector_element_cycles
from tegula_sw.program.program import MemoryImage, Program
from tegula_sw.program.schedule import Op, dma_op, emit_merged
from tegula_sw.program.span import Span

__all__ = ["QuantiseAddresses", "build_quantise", "quantise_on_device"]

_SLOTS = 3
_MAX_COLUMNS = 2048
"""Elements of a row that an instruction takes: whole blocks."""

_MAX_PIECES = 1 << 14
"""Pieces of one program; the host cuts larger arrays."""


@dataclass(frozen=True, kw_only=True)
class QuantiseAddresses:
    """Addresses in bytes of the fp32 words, the codes and the scales, all row by row."""

    source: int
    codes: int
    scales: int


@dataclass(frozen=True)
class _Piece:
    """Some columns, from a multiple of 32 on, of at most N rows."""

    rows: Span
    columns: Span

    @property
    def blocks(self) -> int:
        """Blocks of a row."""
        return -(-len(self.columns) // MX_BLOCK)


class _Kernel:
    """Writes the streams of one program."""

    def __init__(
        self,
        config: TileConfig,
        shape: tuple[int, int],
        element: MxElement,
        rule: ScaleRule,
        addresses: QuantiseAddresses,
        program: Program,
    ):
        self.config, self.element, self.rule = config, element, rule
        self.addresses = addresses
        self.width = shape[1]
        self.blocks = -(-shape[1] // MX_BLOCK)
        self.loaded = program.semaphore("piece loaded")
        self.quantised = program.semaphore("piece quantised")
        self.free = program.semaphore("slot free")
        self.slot = config.sbuf_depth // _SLOTS // config.bus_words * config.bus_words
        longest = _longest(config)
        self.pieces = [
            _Piece(Span(row, min(row + config.n, shape[0])), Span(at, min(at + longest, shape[1])))
            for row in range(0, shape[0], config.n)
            for at in range(0, shape[1], longest)
        ]
        self.codes_at, self.scales_at = 2 * longest, 3 * longest

    def streams(self) -> dict[Engine, Iterator[Op]]:
        """The streams of the three engines."""
        return {
            Engine.LOAD: self._load(),
            Engine.VECTOR: self._vector(),
            Engine.STORE: self._store(),
        }

    def _transfer(
        self, engine: Engine, piece: _Piece, memory: int, line: int, run: int, sbuf: int
    ) -> Op:
        """A run of each row between memory and one partition a row."""
        return dma_op(
            self.config,
            engine,
            -(-run // self.config.bus_words),
            [(len(piece.rows), line, 0, 1)],
            mem_addr=memory,
            run=run,
            sbuf_addr=sbuf,
            layout=Layout.FREE,
            bytes1=int(engine is Engine.STORE),
        )

    def _load(self) -> Iterator[Op]:
        for index, piece in enumerate(self.pieces):
            at = piece.rows.start * self.width + piece.columns.start
            op = self._transfer(
                *(Engine.LOAD, piece, self.addresses.source + 4 * at, 4 * self.width),
                *(2 * len(piece.columns), index % _SLOTS * self.slot),
            )
            waits = index >= _SLOTS
            yield op.synchronised(
                self.free.at_least(1, consume=True) if waits else None, self.loaded.add()
            )

    def _vector(self) -> Iterator[Op]:
        cost = drain_cost(self.config)
        for index, piece in enumerate(self.pieces):
            base = index % _SLOTS * self.slot
            yield Op(
                "vector.quantise",
                {
                    "rows": len(piece.rows),
                    "format": self.element.fmt.code,
                    "e2m1": int(self.element is MXFP4_E2M1),
                    "rule": self.rule,
                    "x_source": Source.SBUF,
                    "x_addr": base,
                    "x_stride": 2,
                    "dst": base + self.codes_at,
                    "scale_dst": base + self.scales_at,
                    "columns": len(piece.columns),
                },
                len(piece.columns) * vector_element_cycles(self.config) + cost.overhead,
                cost.latency,
                self.loaded.at_least(1, consume=True),
                self.quantised.add(),
            )

    def _store(self) -> Iterator[Op]:
        for index, piece in enumerate(self.pieces):
            base = index % _SLOTS * self.slot
            row, column = piece.rows.start, piece.columns.start
            codes = self._transfer(
                *(Engine.STORE, piece, self.addresses.codes + row * self.width + column),
                *(self.width, len(piece.columns), base + self.codes_at),
            )
            scales = self._transfer(
                *(Engine.STORE, piece),
                self.addresses.scales + row * self.blocks + column // MX_BLOCK,
                *(self.blocks, piece.blocks, base + self.scales_at),
            )
            frees = index + _SLOTS < len(self.pieces)
            yield codes.synchronised(self.quantised.at_least(1, consume=True), None)
            yield scales.synchronised(None, self.free.add() if frees else None)


def _longest(config: TileConfig) -> int:
    """Columns of a piece: its fp32 words, codes and scales fit a slot, in whole lines."""
    words = config.sbuf_depth // _SLOTS - config.bus_words
    unit = max(MX_BLOCK, config.bus_words)
    longest = min(words * MX_BLOCK // (3 * MX_BLOCK + 1), _MAX_COLUMNS) // unit * unit
    if not longest:
        raise ValueError(
            f"a scratchpad of {config.sbuf_depth} words a partition is too small for blocks"
        )
    return longest


def build_quantise(
    config: TileConfig,
    shape: tuple[int, int],
    element: MxElement,
    rule: ScaleRule,
    addresses: QuantiseAddresses,
) -> bytes:
    """The program that quantises an fp32 matrix, rows x columns, by blocks of 32 along its rows.

    Codes are bytes, rows x columns; scales bytes, rows x ceil(columns / 32).

    Raises
    ------
    ValueError
        If a size is below 1, the tile does not quantise (`mx`), or it lacks the format or the
        space.
    """
    if min(shape) < 1:
        raise ValueError(f"rows and columns must be at least 1, not {shape}")
    program = Program(config)
    kernel = _Kernel(config, shape, element, rule, addresses, program)
    emit_merged(program, kernel.streams())
    program.halt()
    return program.assemble()


def quantise_on_device(
    device: Device, bits: Patterns, element: MxElement, rule: ScaleRule
) -> tuple[Bytes, Bytes]:
    """Scales and elements of blocks of 32 fp32 patterns along the last axis, by the tile.

    Parameters
    ----------
    bits
        uint32, ... x elements.
    element, rule
        What they become, and how scales are found.

    Returns
    -------
    scales, codes
        uint8, ... x blocks, and of the shape of `bits`: codes of `element.fmt`.

    Raises
    ------
    ValueError
        If a dtype or shape is wrong, or the tile does not quantise to the element.
    TileTrapError
        If the tile traps.
    """
    config = device.config
    if bits.dtype != np.uint32:
        raise ValueError(f"bits must be uint32, not {bits.dtype}")
    if bits.ndim == 0 or bits.shape[-1] == 0:
        raise ValueError(f"bits must have elements along its last axis, not shape {bits.shape}")
    if element not in config.mx_elements:
        raise ValueError(f"tile {config.name!r} does not quantise to {element.name}")
    width, longest = bits.shape[-1], _longest(config)
    matrix = bits.reshape(-1, width)
    blocks = -(-width // MX_BLOCK)
    codes = np.empty(matrix.shape, np.uint8)
    scales = np.empty((len(matrix), blocks), np.uint8)
    rows = max(1, _MAX_PIECES // -(-width // longest)) * config.n
    for start in range(0, len(matrix), rows):
        part = matrix[start : start + rows]
        image = MemoryImage()
        addresses = QuantiseAddresses(
            source=image.add(part),
            codes=image.reserve(part.size),
            scales=image.reserve(len(part) * blocks),
        )
        program = build_quantise(config, part.shape, element, rule, addresses)
        address = image.add(program)
        memory = image.build()
        run_well(device, memory, address, len(program))
        codes[start : start + rows] = image.read(memory, addresses.codes, np.uint8, part.shape)
        shape = (len(part), blocks)
        scales[start : start + rows] = image.read(memory, addresses.scales, np.uint8, shape)
    return scales.reshape(*bits.shape[:-1], blocks), codes.reshape(bits.shape)
