"""Addresses of a GEMM program: chunks in the ring, tiles in PSUM, results; and its semaphores."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tegula.formats import FP32
from tegula_sw.gemm.plan import SCALE_ROWS, Block, GemmPlan
from tegula_sw.program.costs import psum_reuse_cycles
from tegula_sw.program.program import Program
from tegula_sw.program.span import Span

__all__ = ["ChunkWork", "GemmAddresses", "GemmMap", "Part", "Piece"]

_FIRST_STATIONARY = 4
"""Stationary tiles that a program loads first: with the first moving columns the array has enough
to do until the others are there."""

_FIRST_LINES = 2
"""Scratchpad lines of the moving columns that a program loads first."""


@dataclass(frozen=True, kw_only=True)
class GemmAddresses:
    """Addresses of A (M x K), B (K x N), or their transposes, and C (M x N) in memory, in bytes.

    Of scales, where the shape says that there are any: see `GemmShape`.
    """

    a: int
    b: int
    c: int
    scales_a: int = 0
    scales_b: int = 0


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
    """Moving columns `span` of a finished tile, drained and stored as one.

    `is_last`: it is the last of its tile.
    """

    tile: int
    stationary: Span
    moving: Span
    span: Span
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Part:
    """What of the first chunk is loaded as one: stationary tiles, or moving columns.

    `moving` has them tile by tile, with the tiles' numbers in their block.
    """

    stationary: tuple[Span, ...] = ()
    moving: tuple[tuple[int, Span], ...] = ()


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
        self._chunk_count = sum(len(plan.chunks(number)) for number in range(len(plan.blocks)))
        self._reuse = psum_reuse_cycles(plan.config)
        self.first_parts = self._cut_first_chunk(plan.blocks[0])

    def chunks(self) -> Iterator[ChunkWork]:
        """All chunks in program order."""
        number = first_tile = 0
        for index, block in enumerate(self.plan.blocks):
            for steps in self.plan.chunks(index):
                yield ChunkWork(
                    number=number,
                    block=block,
                    first_tile=first_tile,
                    steps=steps,
                    ends_block=steps.stop == self.plan.k_steps,
                )
                number += 1
            first_tile += len(block.stationary) * len(block.moving)

    def _cut_first_chunk(self, block: Block) -> list[Part]:
        """The parts in the order of need.

        A few stationary tiles and a few moving columns make work for the array while the others
        arrive. Layout `free` begins on scratchpad lines only.
        """
        stationary, moving = block.stationary, tuple(enumerate(block.moving))
        tiles_of_line = max(1, self.config.bus_words // self.config.n)
        lead = -(-_FIRST_STATIONARY // tiles_of_line) * tiles_of_line
        cut, tile = moving[0][1].start + _FIRST_LINES * self.plan.line, moving[0][1]
        parts = [Part(stationary=stationary[:lead])]
        if cut < tile.stop:
            parts.append(Part(moving=((0, Span(tile.start, cut)),)))
            moving = ((0, Span(cut, tile.stop)), *moving[1:])
        else:
            parts.append(Part(moving=moving))
            moving = ()
        if stationary[lead:]:
            parts.append(Part(stationary=stationary[lead:]))
        if moving:
            parts.append(Part(moving=moving))
        return parts

    @property
    def first_columns(self) -> list[tuple[int, Span]]:
        """The moving columns of the first chunk as they are loaded: number of the tile, columns."""
        return [columns for part in self.first_parts for columns in part.moving]

    def part_of_tile(self, stationary: Span) -> int:
        """Number of the part of the first chunk that has a stationary tile."""
        parts = enumerate(self.first_parts)
        return next(number for number, part in parts if stationary in part.stationary)

    def part_of_columns(self, f: int, moving: Span) -> int:
        """Number of the first chunk's part with the last of some columns of moving tile `f`."""
        return next(
            number
            for number, part in enumerate(self.first_parts)
            if any(tile == f and moving.stop <= span.stop for tile, span in part.moving)
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

    def scales_address(self, chunk: ChunkWork) -> int:
        """Scratchpad address of a chunk's rows of scales: the stationary side's come first."""
        return self._slot(chunk) + self.plan.scales_offset

    @staticmethod
    def scale_row(chunk: ChunkWork) -> int:
        """Row of the scale buffer with the first of them."""
        return chunk.number % 2 * SCALE_ROWS

    def stationary_scales(self, chunk: ChunkWork, step: int, tile: int) -> int:
        """Row of the scale buffer with the codes of stationary tile `tile` in a K step."""
        stationary, _ = self.plan.scale_tiles(chunk.block)
        return self.scale_row(chunk) + self._k_block(chunk, step) * stationary + tile

    def moving_scales(self, chunk: ChunkWork, step: int, column: int) -> int:
        """Row of the scale buffer with the codes of moving columns from `column` on in a K step."""
        stationary, moving = self.plan.scale_tiles(chunk.block)
        row = (column - chunk.block.moving_span.start) // self.config.n
        before = len(self.plan.k_blocks(chunk.steps)) * stationary
        return self.scale_row(chunk) + before + self._k_block(chunk, step) * moving + row

    def _k_block(self, chunk: ChunkWork, step: int) -> int:
        """Number of a K step's block in its chunk."""
        return self.plan.steps[step].block - self.plan.steps[chunk.steps.start].block

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

    def cut_tile(self, tile: int, moving: Span) -> list[Span]:
        """The spans in which a tile finishes: one; several of the last tile, to drain sooner."""
        cuts = set()
        if self.plan.k_steps == 1 and tile == 0:
            cuts |= {span.stop for number, span in self.first_columns if number == 0}
        if tile == self.tiles - 1:
            line = self.plan.line
            lines = -(-len(moving) // line)
            cuts |= {self.tail(moving).start, moving.start + (lines - 1) * line}
        ends = [*sorted(cut for cut in cuts if moving.start < cut < moving.stop), moving.stop]
        return [Span(start, stop) for start, stop in pairwise([moving.start, *ends])]

    def tail(self, moving: Span) -> Span:
        """The columns of the last tile that are computed behind all others.

        So the others are stored by then. They are as few as the array can add to step by step
        without waiting for itself, in whole lines.
        """
        line = self.plan.line
        start = moving.start + (len(moving) - self._reuse) // line * line
        return Span(max(moving.start, start), moving.stop)

    def pieces(self) -> Iterator[Piece]:
        """Pieces in the order in which they finish, are drained and stored."""
        for tile, stationary, moving in self._tiles():
            for span in self.cut_tile(tile, moving):
                yield Piece(
                    tile=tile,
                    stationary=stationary,
                    moving=moving,
                    span=span,
                    is_last=span.stop == moving.stop,
                )

    def _tiles(self) -> Iterator[tuple[int, Span, Span]]:
        """Number, stationary and moving span of each tile, in program order."""
        tile = 0
        for block in self.plan.blocks:
            for stationary in block.stationary:
                for moving in block.moving:
                    yield tile, stationary, moving
                    tile += 1
