"""Loads of a GEMM program: chunks of A and B from memory into the ring of the scratchpad."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tegula.formats import FloatFormat
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import Half
from tegula_sw.gemm.addresses import ChunkWork, GemmMap
from tegula_sw.gemm.steps import alike
from tegula_sw.program.schedule import Op, dma_op
from tegula_sw.program.span import Span

__all__ = ["LoadStream", "Source"]


@dataclass(frozen=True)
class Source:
    """A or B in the ring.

    Attributes
    ----------
    fmt
        Its format.
    address
        Scratchpad address, from a chunk, a K step, and a row of A or column of B.
    """

    fmt: FloatFormat
    address: Callable[[ChunkWork, int, int], int]


@dataclass(frozen=True)
class _Operand(Source):
    """A or B, and its transfer into the ring.

    Attributes
    ----------
    layout
        The layout in which it arrives.
    memory, line_bytes
        Address of its first byte in memory, and bytes from line to line.
    stride
        Scratchpad words from K step to K step.
    """

    layout: Layout
    memory: int
    line_bytes: int
    stride: int


class LoadStream:
    """Chunks of A and B from memory into the ring."""

    def __init__(self, where: GemmMap):
        self._map = where
        self._plan = plan = where.plan
        self._shape = shape = where.shape
        self._a = _Operand(
            shape.fmt_a,
            where.a_address,
            shape.layout_a,
            where.addresses.a,
            shape.line_bytes_a,
            plan.a_stride,
        )
        self._b = _Operand(
            shape.fmt_b,
            where.b_address,
            shape.layout_b,
            where.addresses.b,
            shape.line_bytes_b,
            plan.b_stride,
        )

    def ops(self) -> Iterator[Op]:
        """The instructions."""
        for chunk in self._map.chunks():
            wait = None
            if chunk.number >= self._plan.ring_slots:
                wait = self._map.chunk_free.at_least(1, consume=True)
            scales = self._scales(chunk)
            for stationary, moving in self._parts(chunk):
                rows, columns = (moving, stationary) if self._plan.swapped else (stationary, moving)
                ops = [
                    *scales,
                    *self._transfers(self._a, chunk, rows),
                    *self._transfers(self._b, chunk, columns),
                ]
                for op in ops[:-1]:
                    yield op.synchronised(wait, None)
                    wait = None
                yield ops[-1].synchronised(wait, self._map.chunk_loaded.add())
                wait, scales = None, []

    def _parts(self, chunk: ChunkWork) -> list[tuple[tuple[Span, ...], tuple[Span, ...]]]:
        """Stationary tiles and moving columns of a chunk that are signalled together."""
        if chunk.number:
            return [(chunk.block.stationary, chunk.block.moving)]
        parts = self._map.first_parts
        return [(part.stationary, tuple(span for _, span in part.moving)) for part in parts]

    def _scales(self, chunk: ChunkWork) -> list[Op]:
        """Rows of scales of a chunk: one side of the array, then the other."""
        plan, shape, where = self._plan, self._shape, self._map
        blocks = plan.k_blocks(chunk.steps)
        a = shape.scaled_a, where.addresses.scales_a, shape.height, plan.a_span(chunk.block)
        b = shape.scaled_b, where.addresses.scales_b, shape.pitch, plan.b_span(chunk.block)
        at, ops = where.scales_address(chunk), []
        sides = zip((b, a) if plan.swapped else (a, b), plan.scale_tiles(chunk.block), strict=True)
        for (scaled, memory, pitch, span), rows in sides:
            if scaled:
                op = dma_op(
                    plan.config,
                    Engine.LOAD,
                    plan.run_cycles(len(span), 8),
                    [(len(blocks), pitch, rows, 0)],
                    mem_addr=memory + blocks.start * pitch + span.start,
                    run=len(span),
                    sbuf_addr=at,
                    sbuf_stride0=1,
                    layout=Layout.PARTITION,
                    bytes1=1,
                )
                ops.append(op)
            at += rows * len(blocks)
        return ops

    def _transfers(self, operand: _Operand, chunk: ChunkWork, tiles: tuple[Span, ...]) -> list[Op]:
        """Consecutive tiles of an operand, in a chunk's K steps."""
        if not tiles:
            return []
        span = Span(tiles[0].start, tiles[-1].stop)
        along = operand.layout == Layout.PARTITION
        # A line along K may end within a step; others take all partitions, or are apart.
        takes_all = self._plan.steps[chunk.steps.start].rows == self._plan.config.n
        along_k = ("packed", "odd") if takes_all else ("packed", "k")
        names = along_k if along else ("packed", "odd", "rows")
        groups = alike(self._plan.steps, chunk.steps, *names)
        lines = self._lines_along_k if along else self._lines_across_k
        return [op for steps in groups for op in lines(operand, chunk, span, steps)]

    def _lines_along_k(
        self, operand: _Operand, chunk: ChunkWork, span: Span, steps: Span
    ) -> list[Op]:
        """A line of memory, with K along it, runs across the partitions; lines along addresses.

        Two codes are an element of two bytes, but of an odd number of terms each is one.
        """
        first, last = self._plan.steps[steps.start], self._plan.steps[steps.stop - 1]
        width = operand.fmt.width
        terms = last.k.stop - first.k.start
        runs = [(0, terms, Half.WHOLE)]
        if first.odd:
            runs = [(0, first.rows, Half.WHOLE), (first.rows, terms - first.rows, Half.HIGH)]
        elif first.packed:
            width, runs = 2 * width, [(0, terms // 2, Half.WHOLE)]
        return [
            dma_op(
                self._plan.config,
                Engine.LOAD,
                self._plan.run_cycles(run, width),
                [(len(span), operand.line_bytes, 1, 0)],
                mem_addr=(
                    operand.memory
                    + span.start * operand.line_bytes
                    + (first.k.start + skipped) * operand.fmt.width // 8
                ),
                run=run,
                sbuf_addr=operand.address(chunk, steps.start, span.start),
                sbuf_stride0=operand.stride,
                layout=Layout.PARTITION,
                bytes1=int(width == 8),
                half=half,
            )
            for skipped, run, half in runs
        ]

    def _lines_across_k(
        self, operand: _Operand, chunk: ChunkWork, span: Span, steps: Span
    ) -> list[Op]:
        """A line of memory, of one k, runs along the addresses; k over partitions, then K steps.

        Of packed operands the first codes come first, then the second ones: even and odd k, or of
        an odd number of terms the first half and the rest.
        """
        first, width, line = self._plan.steps[steps.start], operand.fmt.width, operand.line_bytes
        rows, step = first.rows, line
        memory = operand.memory + first.k.start * line + span.start * width // 8
        groups = [(0, rows, Half.WHOLE)]
        if first.odd:
            groups.append((rows, rows - 1, Half.HIGH))
        elif first.packed:
            step, groups = 2 * line, [(0, rows, Half.LOW), (1, rows, Half.HIGH)]
        return [
            dma_op(
                self._plan.config,
                Engine.LOAD,
                self._plan.run_cycles(len(span), width),
                [
                    (count, step, 0, 1),
                    (len(steps), len(first.k) * line, operand.stride, 0),
                ],
                mem_addr=memory + skipped * line,
                run=len(span),
                sbuf_addr=operand.address(chunk, steps.start, span.start),
                layout=Layout.FREE,
                bytes1=int(width == 8),
                half=half,
            )
            for skipped, count, half in groups
        ]
