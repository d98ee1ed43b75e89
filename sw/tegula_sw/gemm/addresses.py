"""Addresses of a GEMM program: chunks in the ring, tiles in PSUM, results; and its semaphores."""

from collections.abc import Iterator
from dataclasses import dataclass

from tegula.formats import FP32
from tegula.isa.instructions import Layout
from tegula_sw.gemm.plan import Block, GemmPlan
from tegula_sw.program.program import Program
from tegula_sw.program.span import Span

__all__ = ["ChunkWork", "GemmAddresses", "GemmMap", "Piece"]


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
    """Moving columns `span` of a finished tile, drained as one; `is_last` of the tile."""

    tile: int
    stationary: Span
    moving: Span
    span: Span
    is_last: bool


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
        """(stationary, moving) tiles of each part, in the order of need, led by one tile of each.

        Layout `free` begins on scratchpad lines only: tiles that do not stay together.
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
        return [
            (stationary[:lead], moving[:lead_moving]),
            *(((), (span,)) for span in moving[lead_moving:]),
            *(((span,), ()) for span in stationary[lead:]),
        ]

    def has_own_part(self, chunk: ChunkWork, tile: Span) -> bool:
        """True for an operand tile of the first chunk with a token of its own."""
        return chunk.number == 0 and any((tile,) in part for part in self.first_parts[1:])

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
        """The spans in which a tile finishes: one; two for the last of all, to drain sooner."""
        line = self.config.bus_words
        half = -(-len(moving) // (2 * line)) * line
        if tile < self.tiles - 1 or half >= len(moving):
            return [moving]
        middle = moving.start + half
        return [Span(moving.start, middle), Span(middle, moving.stop)]

    def pieces(self) -> Iterator[Piece]:
        """Pieces in the order in which they finish, which is that of their draining."""
        tile = 0
        for block in self.plan.blocks:
            for stationary in block.stationary:
                for moving in block.moving:
                    spans = self.cut_tile(tile, moving)
                    for span in spans:
                        yield Piece(
                            tile=tile,
                            stationary=stationary,
                            moving=moving,
                            span=span,
                            is_last=span is spans[-1],
                        )
                    tile += 1
