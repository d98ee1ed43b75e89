"""Partition of a GEMM for a tile: orientation, output blocks, chunks of K, scratchpad addresses.

C (M x N) is computed in output blocks, each as large as half of PSUM, so that one half drains while
the other fills. A block is `stationary tiles x moving tiles`; a tile is at most n by a PSUM bank,
takes one slot (bank) of PSUM, and the slots are handed out round robin. K is streamed in chunks
through a ring of slots in the scratchpad; a K step is n consecutive k (the last one fewer), of
packed operands 2n (`tegula_sw.gemm.steps`).

Two orientations put the operands on the array:

=======  ===================  ===================  ==============  ==================
swapped  stationary[k, m]     moving[k, f]         psum[m, f]      result layout
=======  ===================  ===================  ==============  ==================
no       A^T (rows of A)      B (columns of B)     C[row, column]  `free`
yes      B (columns of B)     A^T (rows of A)      C[column, row]  `partition`
=======  ===================  ===================  ==============  ==================

An operand with K along its lines in memory (A, or B if memory holds its transpose) arrives in
layout `partition`, one with a line for each k (B, or A from its transpose) in layout `free`; in the
scratchpad there is no difference. The decomposition is the usual output-stationary blocking; the
cost model below is ours.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine, Layout
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.gemm.steps import KStep, k_steps, may_pack
from tegula_sw.program.costs import load_period_cycles, transfer_cost
from tegula_sw.program.span import Span, balanced

__all__ = [
    "SCALE_ROWS",
    "Block",
    "GemmPlan",
    "plan_gemm",
]

_CUT_GRANULES = 48
"""Granules of what loads, multiplies, drains and stores the pieces of the first and of the last
tile, at most, beside those of whole tiles."""

SCALE_ROWS = 1 << (SCALE_ROW_BITS - 1)
"""Rows of the scale buffer that a chunk may use: half of them, so that the other half can be filled
for the next."""

_CHUNK_K = 64
_RING_SLOTS = (6, 4, 3, 2)
_MAX_STRIDE_BYTES = (1 << 31) - 1
"""Memory strides of a descriptor are signed 32-bit numbers."""


def _align(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _grouped(items: list[Span], limit: int) -> list[list[Span]]:
    """Cut `items` into the fewest groups of at most `limit`, the larger groups first."""
    groups = -(-len(items) // limit)
    small, extra = divmod(len(items), groups)
    sizes = [small + 1] * extra + [small] * (groups - extra)
    return [items[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


@dataclass(frozen=True)
class Block:
    """An output block: its tiles on the stationary and on the moving side, as spans of C."""

    stationary: tuple[Span, ...]
    moving: tuple[Span, ...]

    @property
    def stationary_span(self) -> Span:
        """Span of the stationary side."""
        return Span(self.stationary[0].start, self.stationary[-1].stop)

    @property
    def moving_span(self) -> Span:
        """Span of the moving side."""
        return Span(self.moving[0].start, self.moving[-1].stop)


@dataclass(frozen=True, kw_only=True)
class GemmPlan:
    """All decisions about one program; `plan_gemm` makes them.

    Attributes
    ----------
    swapped
        The orientation, see the module.
    tile_columns
        Largest number of moving columns of a tile.
    packed
        Whether a word holds two codes.
    chunk_steps
        Largest number of K steps of a chunk.
    ring_slots
        Chunks that the scratchpad holds.
    """

    config: TileConfig
    shape: GemmShape
    swapped: bool
    tile_columns: int
    packed: bool = False
    chunk_steps: int = 1
    ring_slots: int = _RING_SLOTS[0]

    @cached_property
    def psum_slots(self) -> int:
        """Tiles that PSUM holds: a bank each, or two halves of a single bank."""
        most = 1 << (self.config.semaphore_width - 1)
        return min(max(self.config.psum_banks, 2), most)

    @property
    def psum_slot_words(self) -> int:
        """Words of a slot."""
        return self.config.psum_depth // max(self.config.psum_banks, 2)

    @property
    def line(self) -> int:
        """Moving columns at whose multiples tiles are cut: a scratchpad line, and a row of scales.

        Transfers in layout `free` begin on lines.
        """
        rows = self.config.n if self.shape.scaled else 1
        return max(self.config.bus_words, rows)

    @cached_property
    def blocks(self) -> list[Block]:
        """Output blocks in the order of computation; rows of C vary slowest."""
        rows, columns = self.shape.rows, self.shape.columns
        stationary, moving = (columns, rows) if self.swapped else (rows, columns)
        tiles = [
            Span(start, min(start + self.config.n, stationary.stop))
            for start in range(stationary.start, stationary.stop, self.config.n)
        ]
        limit = max(1, self.psum_slots // 2)
        stationary_groups = _grouped(tiles, limit)
        passes = [
            Span(moving.start + span.start, moving.start + span.stop)
            for span in balanced(len(moving), self.tile_columns, min(self.tile_columns, self.line))
        ]
        moving_groups = _grouped(passes, max(1, limit // len(stationary_groups[0])))
        if self.swapped:
            pairs = [(s, m) for m in moving_groups for s in stationary_groups]
        else:
            pairs = [(s, m) for s in stationary_groups for m in moving_groups]
        return [Block(tuple(s), tuple(m)) for s, m in pairs]

    def a_span(self, block: Block) -> Span:
        """Rows of A that a block needs."""
        return block.moving_span if self.swapped else block.stationary_span

    def b_span(self, block: Block) -> Span:
        """Columns of B that a block needs."""
        return block.stationary_span if self.swapped else block.moving_span

    @cached_property
    def steps(self) -> tuple[KStep, ...]:
        """K steps of a sum."""
        shape = self.shape
        return k_steps(shape.k, self.config.n, packed=self.packed, scaled=shape.scaled)

    @property
    def k_steps(self) -> int:
        """Number of the K steps."""
        return len(self.steps)

    @cached_property
    def a_stride(self) -> int:
        """Scratchpad words of a partition for one K step of A: its rows; whole lines if `free`."""
        widest = max(len(self.a_span(block)) for block in self.blocks)
        free = self.shape.layout_a == Layout.FREE
        return _align(widest, self.config.bus_words if free else 1)

    @cached_property
    def b_stride(self) -> int:
        """Scratchpad words of a partition for one K step of B: its columns, in whole lines."""
        widest = max(len(self.b_span(block)) for block in self.blocks)
        return _align(widest, self.config.bus_words)

    @cached_property
    def b_offset(self) -> int:
        """Offset of B in a chunk, words."""
        return _align(self.chunk_steps * self.a_stride, self.config.bus_words)

    @property
    def scales_offset(self) -> int:
        """Offset of the scales in a chunk, words."""
        return self.b_offset + self.chunk_steps * self.b_stride

    @property
    def chunk_words(self) -> int:
        """Scratchpad words of a partition for a chunk."""
        return self.scales_offset + _align(self.scale_rows, self.config.bus_words)

    def scale_tiles(self, block: Block) -> tuple[int, int]:
        """Rows of scales of a block for each 32 terms: of the stationary and the moving side."""
        shape = self.shape
        sides = (shape.scaled_a, shape.scaled_b)
        stationary, moving = sides[::-1] if self.swapped else sides
        columns = -(-len(block.moving_span) // self.config.n)
        return len(block.stationary) * stationary, columns * moving

    def k_blocks(self, steps: Span) -> Span:
        """Blocks of 32 terms that have those of these K steps."""
        return Span(self.steps[steps.start].block, self.steps[steps.stop - 1].block + 1)

    @cached_property
    def scale_rows(self) -> int:
        """Most rows of scales of a chunk."""
        if not self.shape.scaled:
            return 0
        ends = range(1, self.k_steps + 1)
        blocks = max(len(self.k_blocks(Span(max(0, end - self.chunk_steps), end))) for end in ends)
        return blocks * max(sum(self.scale_tiles(block)) for block in self.blocks)

    @property
    def result_words(self) -> int:
        """Scratchpad words of a partition for the results of a tile."""
        words = 2 if self.shape.fmt_out == FP32 else 1
        return _align(self.tile_columns * words, self.config.bus_words)

    @property
    def result_base(self) -> int:
        """Scratchpad address of the results; they follow the ring of chunks."""
        return self.ring_slots * self.chunk_words

    @property
    def sbuf_words(self) -> int:
        """Scratchpad words of a partition in use."""
        return self.result_base + self.psum_slots * self.result_words

    def chunks(self, block: int) -> list[Span]:
        """K steps of each chunk of a block, by its number.

        Nothing is computed before the first chunk of a program is there, and each of the others
        must arrive while the one before it is computed. So those of the first block grow from one
        step, twice; and of the second, which come while the loads are hardly ahead, there are two
        in the place of one, if it is not the last: the last chunk of a program is a long one, under
        which tiles are stored. (Or if the loads take more than half of the time: packed operands
        that come by halves are late.)
        """
        late = self.packed and 2 * self.load_cycles(1) > self.compute_cycles(1)
        if block == 1 and (late or len(self.blocks) > 2):
            return balanced(self.k_steps, -(-min(self.chunk_steps, self.k_steps) // 2), 1)
        if block:
            return balanced(self.k_steps, self.chunk_steps, 1)
        growth = 0.8 * self.compute_cycles(1) / max(1, self.load_cycles(1))
        spans: list[Span] = []
        start, size = 0, 1
        while start < self.k_steps:
            spans.append(Span(start, min(start + size, self.k_steps)))
            start += size
            if len(spans) > 1:
                size = min(self.chunk_steps, max(size + 1, int(size * growth)))
        return spans

    def compute_cycles(self, steps: int) -> int:
        """Estimate of the tensor engine's cycles for `steps` K steps of the first block."""
        block = self.blocks[0]
        return steps * self._block_compute(block)

    def load_cycles(self, steps: int) -> int:
        """Estimate of the load engine's cycles for a chunk of the first block."""
        return self._block_load(self.blocks[0], steps)

    def _block_compute(self, block: Block) -> int:
        """Estimate of the tensor engine's cycles for one K step of a block."""
        columns = sum(len(moving) for moving in block.moving)
        return len(block.stationary) * max(load_period_cycles(self.config), columns)

    def _block_load(self, block: Block, steps: int) -> int:
        codes = 2 if self.packed else 1
        words = steps * self.config.n
        shape = self.shape
        cycles = 2 * transfer_cost(self.config, Engine.LOAD).overhead
        for span, layout, fmt in (
            (self.a_span(block), shape.layout_a, shape.fmt_a),
            (self.b_span(block), shape.layout_b, shape.fmt_b),
        ):
            if layout == Layout.FREE:
                cycles += codes * words * self.run_cycles(len(span), fmt.width)
            else:
                cycles += len(span) * self.run_cycles(words, codes * fmt.width)
        return cycles

    def run_cycles(self, elements: int, width: int) -> int:
        """Estimate of the cycles of a DMA run of `elements` of `width` bits."""
        return max(
            -(-elements * width // self.config.axi_data_width),
            -(-elements // self.config.row_words),
        )

    def engine_cycles(self) -> tuple[int, int, int]:
        """Estimates of the cycles of the whole job: tensor, load and store engine."""
        steps = min(self.k_steps, self.chunk_steps)
        compute = load = store = 0
        for block in self.blocks:
            compute += self.k_steps * self._block_compute(block)
            load += -(-self._block_load(block, steps) * self.k_steps // steps)
            for tile in block.stationary:
                for span in block.moving:
                    outer, run = (span, tile) if self.swapped else (tile, span)
                    store += len(outer) * self.run_cycles(len(run), self.shape.fmt_out.width)
        return compute, load, store

    def rank(self) -> tuple[int, int]:
        """Estimate of the cycles of the whole job, that of the busiest engine; less is better.

        Packed operands arrive at half the rate of the bus where they come by halves: of two plans
        that take the same time the better one is that whose loads are further ahead.
        """
        compute, load, store = self.engine_cycles()
        return max(compute, load, store), load if self.packed else 0

    def granules(self) -> int:
        """Upper bound of the program's size in granules."""
        # Operands that are loaded once more, and their matmuls, in the first step and for the tail.
        total = 2 + _CUT_GRANULES + 2 * (self.psum_slots + self.chunk_steps)
        for index, block in enumerate(self.blocks):
            tiles = len(block.stationary) * len(block.moving)
            total += self.k_steps * (len(block.stationary) + tiles)
            transfers = (7 if self.packed else 3) + 2 * self.shape.scaled
            total += len(self.chunks(index)) * (transfers * 4 + 2) + tiles * 6 + 32
        return total


def _fit(plan: GemmPlan) -> GemmPlan:
    """`plan` with the largest chunks and ring, then the widest tiles, that fit the scratchpad."""
    steps = min(_CHUNK_K // plan.config.n, plan.k_steps)
    shape = plan.shape
    lines = ((shape.layout_a, shape.line_bytes_a), (shape.layout_b, shape.line_bytes_b))
    longest = max((line for layout, line in lines if layout == Layout.FREE), default=0)
    if longest * plan.config.n * (2 if plan.packed else 1) > _MAX_STRIDE_BYTES:
        steps = 1
    while plan.tile_columns:
        for slots in _RING_SLOTS:
            for chunk_steps in (steps, -(-steps // 2), -(-steps // 4), 1):
                candidate = replace(plan, chunk_steps=chunk_steps, ring_slots=slots)
                if (
                    candidate.sbuf_words <= plan.config.sbuf_depth
                    and candidate.scale_rows <= SCALE_ROWS
                ):
                    return candidate
        plan = replace(plan, tile_columns=plan.tile_columns // 2)
    raise ValueError(
        f"a scratchpad of {plan.config.sbuf_depth} words a partition is too small for a GEMM"
    )


def plan_gemm(config: TileConfig, shape: GemmShape, *, swapped: bool | None = None) -> GemmPlan:
    """The plan for `shape`.

    Parameters
    ----------
    swapped
        The orientation; None: the cheaper one by the cost model, the normal one on a tie.

    Raises
    ------
    ValueError
        If the swapped orientation is requested with an fp32 result (layout `partition` moves single
        words), or the scratchpad is too small.
    """
    if swapped and shape.fmt_out == FP32:
        raise ValueError("the swapped orientation cannot store fp32")

    def plan(orientation: bool) -> GemmPlan:
        slot = config.psum_depth // max(config.psum_banks, 2)
        return _fit(
            GemmPlan(
                config=config,
                shape=shape,
                swapped=orientation,
                tile_columns=slot,
                packed=may_pack(config, shape.fmt_a, shape.fmt_b),
            )
        )

    if swapped is not None:
        return plan(swapped)
    normal = plan(False)
    if shape.fmt_out == FP32:
        return normal
    return min(normal, plan(True), key=GemmPlan.rank)
