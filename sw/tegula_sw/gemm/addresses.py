"""Addresses of a GEMM program: chunks in the ring, tiles in PSUM, results; and its semaphores."""

from collections.abc import Iterator
from dataclasses import dataclass

from tegula.formats import FP32
from tegula.isa.instructions import Layout
from tegula_sw.gemm.plan import Block, GemmPlan
from tegula_sw.program.program import Program
from tegula_sw.program.span import Span

__all__ = ["ChunkWork", "GemmAddresses", "GemmMap", "Piece"]

_CUT_LINES = 8
"""Scratchpad lines of the first and of the last moving tile that are cut into pieces."""

_PIECE_LINES = 2
"""Scratchpad lines of a piece, but of the last, which have one.

A piece of the first tile delays the array by its beats, and takes four more of the bus for its load
instruction.
"""

_LAST_STORES = 3
"""Pieces of the last tile that are stored one by one."""


@dataclass(frozen=True, kw_only=True)
class GemmAddresses:
    """Addresses of A (M x K), B (K x N), or their transposes, and C (M x N) in memory, in bytes."""

    a: int
    b: int
    c: int


@dataclass(frozen=True, kw_only=True)
class ChunkWork:
    """A chunk of K of an output block.

    Attributes
    ----------
    number
        Position in the program; it lies in ring slot `number mod ring_slots`.
    block
        The output block.
    first_tile
        Number of the block's first tile in the program.
    steps
        The chunk's K steps.
    ends_block
        Whether the block's tiles are finished with it.
    """

    number: int
    block: Block
    first_tile: int
    steps: Span
    ends_block: bool


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Moving columns `span` of a finished tile, drained or stored as one; `is_last` of the tile.

    What is stored as one is drained in `drains` pieces.
    """

    tile: int
    stationary: Span
    moving: Span
    span: Span
    is_last: bool
    drains: int = 1


def _first(spans: tuple[Span, ...]) -> Span | None:
    return spans[0] if spans else None


class GemmMap:
    """Addresses and tokens of one program.

    Tile t uses PSUM and result slot ``t mod psum_slots``, chunk c ring slot ``c mod ring_slots``.

    Parameters
    ----------
    plan
        What is computed in which order.
    addresses
        The operands and the result in memory.
    program
        Where the semaphores are allocated.
    """

    def __init__(self, plan: GemmPlan, addresses: GemmAddresses, program: Program):
        self.plan = plan
        self.config = plan.config
        self.shape = plan.shape
        self.addresses = addresses
        self.chunk_loaded = program.semaphore("chunk loaded")
        self.chunk_free = program.semaphore("chunk free")
        self.tile_done = program.semaphore("tile done")
        self.tile_cast = program.semaphore("tile cast")
        self.slot_free = program.semaphore("slot free")
        self.tiles = sum(len(block.stationary) * len(block.moving) for block in plan.blocks)
        self._first_spans = plan.chunks(first=True)
        self._later_spans = plan.chunks(first=False)
        later = (len(plan.blocks) - 1) * len(self._later_spans)
        self._chunk_count = len(self._first_spans) + later
        self.first_parts = self._cut_first_chunk(plan.blocks[0])

    def chunks(self) -> Iterator[ChunkWork]:
        """All chunks in program order."""
        number = first_tile = 0
        for block in self.plan.blocks:
            for steps in self._later_spans if number else self._first_spans:
                yield ChunkWork(
                    number=number,
                    block=block,
                    first_tile=first_tile,
                    steps=steps,
                    ends_block=steps.stop == self.plan.k_steps,
                )
                number += 1
            first_tile += len(block.stationary) * len(block.moving)

    def _cut_first_chunk(self, block: Block) -> list[tuple[tuple[Span, ...], tuple[Span, ...]]]:
        """(stationary, moving) spans of each part, in the order of need, led by one of each.

        Layout `free` begins on scratchpad lines only: tiles that do not stay together. The first
        moving tile comes in pieces: the array begins with the first while the others arrive.
        """
        stationary, moving = block.stationary, block.moving
        layouts = (self.shape.layout_a, self.shape.layout_b)
        lead, lead_moving = (
            len(tiles)
            if layout == Layout.FREE
            and any((tile.start - tiles[0].start) % self.config.bus_words for tile in tiles)
            else 1
            for tiles, layout in zip(
                (stationary, moving), layouts[::-1] if self.plan.swapped else layouts, strict=True
            )
        )
        pieces = self.cut_first_tile(moving[0]) if lead_moving == 1 else list(moving[:lead_moving])
        first = pieces[:1] if lead_moving == 1 else pieces
        return [
            (stationary[:lead], tuple(first)),
            *(((), (span,)) for span in pieces[len(first) :]),
            *(((), (span,)) for span in moving[lead_moving:]),
            *([(stationary[lead:], ())] if stationary[lead:] else []),
        ]

    def cut_first_tile(self, moving: Span) -> list[Span]:
        """The spans in which the first moving tile of the program arrives."""
        line = self.config.bus_words
        cut = min(moving.stop, moving.start + _CUT_LINES * line)
        rest = [Span(cut, moving.stop)] if cut < moving.stop else []
        return [*Span(moving.start, cut).pieces(_PIECE_LINES * line), *rest]

    def comes_alone(
        self, chunk: ChunkWork, *, stationary: Span | None = None, moving: Span | None = None
    ) -> bool:
        """True for a span of the first chunk that begins a part behind the first one."""
        return chunk.number == 0 and any(
            (stationary, moving) == (_first(own), _first(other))
            for own, other in self.first_parts[1:]
        )

    def slot_is_reused(self, chunk: ChunkWork) -> bool:
        """True if a later chunk waits for this one's ring slot."""
        return chunk.number + self.plan.ring_slots < self._chunk_count

    def a_address(self, chunk: ChunkWork, step: int, row: int) -> int:
        """Scratchpad address of a row of A in a K step of a chunk."""
        offset = row - self.plan.a_span(chunk.block).start
        return self._slot(chunk) + (step - chunk.steps.start) * self.plan.a_stride + offset

    def b_address(self, chunk: ChunkWork, step: int, column: int) -> int:
        """Scratchpad address of a column of B in a K step of a chunk."""
        offset = self.plan.b_offset + column - self.plan.b_span(chunk.block).start
        return self._slot(chunk) + (step - chunk.steps.start) * self.plan.b_stride + offset

    def _slot(self, chunk: ChunkWork) -> int:
        return chunk.number % self.plan.ring_slots * self.plan.chunk_words

    def psum_address(self, tile: int, offset: int) -> int:
        """PSUM address of a moving column of a tile."""
        return tile % self.plan.psum_slots * self.plan.psum_slot_words + offset

    def result_address(self, tile: int, offset: int) -> int:
        """Scratchpad address of the result of a moving column of a tile."""
        words = 2 if self.shape.fmt_out == FP32 else 1
        slot = tile % self.plan.psum_slots * self.plan.result_words
        return self.plan.result_base + slot + offset * words

    def rows(self, step: int) -> int:
        """Rows of K in a K step."""
        return min(self.config.n, self.shape.k - step * self.config.n)

    def cut_tile(self, tile: int, moving: Span) -> list[Span]:
        """The spans in which a tile finishes: one; several of the last tile, to drain sooner.

        They are drained and stored while the last pass computes the rest.
        """
        if self.plan.k_steps == 1 and tile == 0:
            return self.cut_first_tile(moving)
        if tile < self.tiles - 1:
            return [moving]
        line = self.config.bus_words
        lines = -(-len(moving) // line)
        cut = moving.start + max(0, lines - _CUT_LINES) * line
        last = moving.start + max(0, lines - _PIECE_LINES) * line
        ahead = [Span(moving.start, cut)] if cut > moving.start else []
        return [
            *ahead,
            *Span(cut, last).pieces(_PIECE_LINES * line),
            *Span(last, moving.stop).pieces(line),
        ]

    def drained(self) -> Iterator[Piece]:
        """Pieces in the order in which they finish, which is that of their draining."""
        for tile, stationary, moving in self._tiles():
            spans = self.cut_tile(tile, moving)
            for span in spans:
                yield Piece(
                    tile=tile,
                    stationary=stationary,
                    moving=moving,
                    span=span,
                    is_last=span is spans[-1],
                )

    def stored(self) -> Iterator[Piece]:
        """Pieces that are stored by one instruction: all but the last few of a tile together."""
        for tile, stationary, moving in self._tiles():
            spans = self.cut_tile(tile, moving)
            ahead = max(1, len(spans) - _LAST_STORES)
            together = Span(spans[0].start, spans[ahead - 1].stop)
            for index, span in enumerate([together, *spans[ahead:]]):
                yield Piece(
                    tile=tile,
                    stationary=stationary,
                    moving=moving,
                    span=span,
                    is_last=span.stop == moving.stop,
                    drains=1 if index else ahead,
                )

    def _tiles(self) -> Iterator[tuple[int, Span, Span]]:
        """Number, stationary and moving span of each tile, in program order."""
        tile = 0
        for block in self.plan.blocks:
            for stationary in block.stationary:
                for moving in block.moving:
                    yield tile, stationary, moving
                    tile += 1
