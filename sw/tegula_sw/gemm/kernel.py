"""The GEMM kernel: the program that computes C = A @ B from memory to memory.

Four streams of instructions, one an engine, pass tokens in a circle, so that each engine runs ahead
of the next as far as its buffers permit (`tiling` says what is computed where):

============  ================  ==============================================================
semaphore     from -> to        one token
============  ================  ==============================================================
chunk loaded  load -> tensor    a chunk of K (of the first chunk: a part of it) is in the ring
chunk free    tensor -> load    a ring slot may be overwritten
tile done     tensor -> vector  a PSUM slot holds final sums
tile cast     vector -> store   a result slot holds the codes of a tile
slot free     store -> tensor   a tile is in memory: its PSUM slot and result slot are free
============  ================  ==============================================================

PSUM slot i and result slot i belong together, so the one token of the store engine frees both.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.formats import FP32, FloatFormat
from tegula.isa.instructions import Engine, Layout
from tegula_sw.gemm.addresses import ChunkWork, GemmAddresses, GemmMap, Piece
from tegula_sw.gemm.loads import LoadStream, Source
from tegula_sw.gemm.plan import GemmPlan, plan_gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.costs import (
    drain_cost,
    load_period_cycles,
    matmul_latency,
    psum_reuse_cycles,
    vector_element_cycles,
)
from tegula_sw.program.program import Program, Signal, Wait
from tegula_sw.program.schedule import Op, dma_op, emit_merged
from tegula_sw.program.span import Span

__all__ = ["build_gemm"]


_Columns = tuple[int, Span]
"""Number of a moving tile in its block, and all or some of its columns."""


@dataclass(frozen=True)
class _Pass:
    """A stationary tile `s` of K step `step`, and the columns that it multiplies."""

    step: int
    s: int
    columns: list[_Columns]


class _TensorStream:
    """Passes of the array: a stationary load, then a matmul for each moving tile of the block."""

    def __init__(self, where: GemmMap):
        self._map = where
        self._plan = where.plan
        shape = where.shape
        a, b = Source(shape.fmt_a, where.a_address), Source(shape.fmt_b, where.b_address)
        self._stationary, self._moving = (b, a) if where.plan.swapped else (a, b)
        sides = shape.scaled_a, shape.scaled_b
        self._scaled = sides[::-1] if where.plan.swapped else sides
        """Whether the stationary and the moving operand have scales."""
        self._period = load_period_cycles(where.config)
        self._reuse = psum_reuse_cycles(where.config)
        self._latency = matmul_latency(where.config)
        self._slots_to_free = 0
        self._parts_taken = 0
        """Parts of the first chunk that were waited for."""

    def ops(self) -> Iterator[Op]:
        """The instructions."""
        for chunk in self._map.chunks():
            passes = list(self._passes(chunk))
            wait = self._wait_for_chunk(chunk)
            if self._map.shape.scaled:
                yield self._scales(chunk, wait)
                wait = None
            for each in passes:
                yield self._load(chunk, each, wait)
                wait = None
                if each is passes[-1] and self._map.slot_is_reused(chunk):
                    self._slots_to_free += 1
                for f, columns in each.columns:
                    yield from self._matmuls(chunk, each, f, columns)
            if self._slots_to_free and self._plan.k_steps == 1:
                # Every matmul finishes a tile and has that to signal.
                yield Op("tensor.sync", signal=self._map.chunk_free.add(self._slots_to_free))
                self._slots_to_free = 0

    def _passes(self, chunk: ChunkWork) -> Iterator[_Pass]:
        """The passes of a chunk.

        In the last chunk of a block tile by tile, so that its tiles finish apart and drain one
        behind the other; else, and where that would accumulate onto words still in flight, step by
        step. The tail of the program's last tile is computed behind all of the rest.
        """
        every = list(enumerate(chunk.block.moving))
        tiles = range(len(chunk.block.stationary))
        steps = range(chunk.steps.start, chunk.steps.stop)
        if chunk.number == 0 and not chunk.ends_block:
            yield from self._first_passes(tiles)
        elif not (chunk.ends_block and len(chunk.block.moving_span) >= self._reuse):
            yield from (_Pass(step, s, every) for step in steps for s in tiles)
        else:
            yield from (_Pass(step, s, every) for s in tiles[:-1] for step in steps)
            for columns in self._cut_last(chunk, every):
                yield from (_Pass(step, tiles[-1], columns) for step in steps)

    def _first_passes(self, tiles: range) -> Iterator[_Pass]:
        """The first K step: all tiles with the columns that come first, then with the others."""
        first, *others = self._map.first_columns
        for s in tiles[:-1]:
            yield _Pass(0, s, [first])
        yield _Pass(0, tiles[-1], [first, *others])
        if others:
            yield from (_Pass(0, s, others) for s in reversed(tiles[:-1]))

    def _cut_last(self, chunk: ChunkWork, every: list[_Columns]) -> list[list[_Columns]]:
        """Columns of the passes of a block's last stationary tile: all, or the tail by itself."""
        *others, (f, moving) = every
        tail = self._map.tail(moving)
        in_last = chunk.first_tile + len(chunk.block.stationary) * len(every) == self._map.tiles
        if not in_last or len(chunk.steps) == 1 or tail == moving:
            return [every]
        return [[*others, (f, Span(moving.start, tail.start))], [(f, tail)]]

    def _wait_for_chunk(self, chunk: ChunkWork) -> Wait | None:
        """Wait for a chunk, or for the first part of the first one."""
        if chunk.number == 0:
            return self._wait_for_part(0)
        return self._map.chunk_loaded.at_least(1, consume=True)

    def _scales(self, chunk: ChunkWork, wait: Wait | None) -> Op:
        """The load of a chunk's rows of scales."""
        rows = len(self._plan.k_blocks(chunk.steps)) * sum(self._plan.scale_tiles(chunk.block))
        fields = {
            "addr": self._map.scales_address(chunk),
            "columns": rows,
            "scales": self._map.scale_row(chunk),
        }
        return Op("tensor.scales", fields, cycles=1, wait=wait)

    def _load(self, chunk: ChunkWork, each: _Pass, wait: Wait | None) -> Op:
        """The load of a pass, which may be the first after a wait."""
        tile = chunk.block.stationary[each.s]
        if chunk.number == 0:
            wait = wait or self._wait_for_part(self._map.part_of_tile(tile))
        fields = {
            "scaled": int(self._scaled[0]),
            "scales": (
                self._map.stationary_scales(chunk, each.step, each.s) if self._scaled[0] else 0
            ),
            "rows": self._plan.steps[each.step].rows,
            "format": self._stationary.fmt.code,
            "packed": int(self._plan.steps[each.step].packed),
            "columns": len(tile),
            "addr": self._stationary.address(chunk, each.step, tile.start),
        }
        return Op("tensor.load", fields, wait=wait)

    def _wait_for_part(self, number: int) -> Wait | None:
        """Wait for a part of the first chunk and for those before it, if none has been before."""
        missing = number + 1 - self._parts_taken
        if missing <= 0:
            return None
        self._parts_taken = number + 1
        return self._map.chunk_loaded.at_least(missing, consume=True)

    def _matmuls(self, chunk: ChunkWork, each: _Pass, f: int, columns: Span) -> Iterator[Op]:
        """A pass for columns of a moving tile; what finishes is cut."""
        moving, step = chunk.block.moving[f], each.step
        tile = chunk.first_tile + each.s * len(chunk.block.moving) + f
        spans: list[Span] = [columns]
        signals: list[Signal | None] = [None]
        if step == self._plan.k_steps - 1:
            cut = self._map.cut_tile(tile, moving)
            spans = [span for span in cut if columns.start <= span.start < columns.stop]
            signals = [self._map.tile_done.add()] * len(spans)
        elif self._slots_to_free and (f, columns) == each.columns[-1]:
            signals = [self._map.chunk_free.add(self._slots_to_free)]
            self._slots_to_free = 0
        for span, signal in zip(spans, signals, strict=True):
            wait = None
            if chunk.number == 0:
                wait = self._wait_for_part(self._map.part_of_columns(f, span))
            elif step == 0 and span.start == moving.start and tile >= self._plan.psum_slots:
                wait = self._map.slot_free.at_least(1, consume=True)
            fields = {
                "scaled": int(self._scaled[1]),
                "scales": (
                    self._map.moving_scales(chunk, step, span.start) if self._scaled[1] else 0
                ),
                "rows": self._plan.steps[step].rows,
                "format": self._moving.fmt.code,
                "packed": int(self._plan.steps[step].packed),
                "accumulate": int(step > 0),
                "columns": len(span),
                "addr": self._moving.address(chunk, step, span.start),
                "psum_addr": self._map.psum_address(tile, span.start - moving.start),
            }
            cycles = max(len(span), self._period) if span is spans[0] else len(span)
            yield Op("tensor.matmul", fields, cycles, self._latency, wait, signal)


def _vector_ops(where: GemmMap, fmt: FloatFormat, saturate: bool) -> Iterator[Op]:
    """Finished tiles from PSUM, rounded and cast, to the results."""
    cost = drain_cost(where.config)
    for piece in where.pieces():
        offset = piece.span.start - piece.moving.start
        columns = len(piece.span)
        fields = {
            "rows": len(piece.stationary),
            "format": fmt.code,
            "saturate": int(saturate),
            "x_addr": where.psum_address(piece.tile, offset),
            "dst": where.result_address(piece.tile, offset),
            "dst_stride": 2 if fmt == FP32 else 1,
            "columns": columns,
        }
        yield Op(
            "vector.compute",
            fields,
            columns * vector_element_cycles(where.config) + cost.overhead,
            cost.latency,
            where.tile_done.at_least(1, consume=True),
            where.tile_cast.add(),
        )


def _store_ops(where: GemmMap) -> Iterator[Op]:
    """Results to memory, a descriptor a piece."""
    for piece in where.pieces():
        frees = piece.is_last and piece.tile + where.plan.psum_slots < where.tiles
        yield _store_op(where, piece).synchronised(
            where.tile_cast.at_least(1, consume=True),
            where.slot_free.add() if frees else None,
        )


def _store_op(where: GemmMap, piece: Piece) -> Op:
    shape, swapped = where.shape, where.plan.swapped
    rows, columns = (piece.span, piece.stationary) if swapped else (piece.stationary, piece.span)
    width = shape.fmt_out.width
    line = shape.pitch * width // 8
    return dma_op(
        where.config,
        Engine.STORE,
        where.plan.run_cycles(len(columns), width),
        [(len(rows), line, int(swapped), int(not swapped))],
        mem_addr=where.addresses.c + rows.start * line + columns.start * width // 8,
        run=len(columns) * (2 if shape.fmt_out == FP32 else 1),
        sbuf_addr=where.result_address(piece.tile, piece.span.start - piece.moving.start),
        layout=Layout.PARTITION if swapped else Layout.FREE,
        bytes1=int(width == 8),
    )


def build_gemm(
    config: TileConfig,
    shape: GemmShape,
    addresses: GemmAddresses,
    *,
    saturate: bool = False,
    swapped: bool | None = None,
) -> tuple[bytes, GemmPlan]:
    """The program that computes `shape`.

    Parameters
    ----------
    config
        The tile that it is for.
    shape
        C = A @ B, or a part of it, and the formats.
    addresses
        Where A, B (or their transposes, as `shape` says) and C lie in memory, without gaps.
    saturate
        Whether fp8 overflow and infinities become the largest finite number.
    swapped
        The orientation (see `tiling`); None: the cheaper one.

    Returns
    -------
    program
        Its bytes.
    plan
        Its blocks and addresses.

    Raises
    ------
    ValueError
        If the tile is too small for the kernel, lacks a format, or the program is too long.
    """
    plan = plan_gemm(config, shape, swapped=swapped)
    program = Program(config)
    where = GemmMap(plan, addresses, program)
    emit_merged(
        program,
        {
            Engine.LOAD: LoadStream(where).ops(),
            Engine.TENSOR: _TensorStream(where).ops(),
            Engine.VECTOR: _vector_ops(where, shape.fmt_out, saturate),
            Engine.STORE: _store_ops(where),
        },
    )
    program.halt()
    return program.assemble(), plan
