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
)
from tegula_sw.program.program import Program, Signal, Wait
from tegula_sw.program.schedule import Op, dma_op, emit_merged
from tegula_sw.program.span import Span

__all__ = ["build_gemm"]


class _TensorStream:
    """Passes of the array: a stationary load, then a matmul for each moving tile of the block."""

    def __init__(self, where: GemmMap):
        self._map = where
        self._plan = where.plan
        shape = where.shape
        a, b = Source(shape.fmt_a, where.a_address), Source(shape.fmt_b, where.b_address)
        self._stationary, self._moving = (b, a) if where.plan.swapped else (a, b)
        self._period = load_period_cycles(where.config)
        self._reuse = psum_reuse_cycles(where.config)
        self._latency = matmul_latency(where.config)
        self._slots_to_free = 0

    def ops(self) -> Iterator[Op]:
        """The instructions."""
        for chunk in self._map.chunks():
            order = self._order(chunk)
            for step, s in order:
                yield self._load(chunk, step, s)
                for f in range(len(chunk.block.moving)):
                    ends_chunk = (step, s) == order[-1] and f == len(chunk.block.moving) - 1
                    if ends_chunk and self._map.slot_is_reused(chunk):
                        self._slots_to_free += 1
                    yield from self._matmuls(chunk, step, s, f)
            if self._slots_to_free and self._plan.k_steps == 1:
                # Every matmul finishes a tile and has that to signal.
                yield Op("tensor.sync", signal=self._map.chunk_free.add(self._slots_to_free))
                self._slots_to_free = 0

    def _order(self, chunk: ChunkWork) -> list[tuple[int, int]]:
        """(K step, stationary tile) of the passes of a chunk.

        In the last chunk of a block tile by tile, so that its tiles finish apart and drain one
        behind the other; else, and where that would accumulate onto words still in flight, step by
        step.
        """
        steps = range(chunk.steps.start, chunk.steps.stop)
        tiles = range(len(chunk.block.stationary))
        if chunk.ends_block and len(chunk.block.moving_span) >= self._reuse:
            return [(step, s) for s in tiles for step in steps]
        return [(step, s) for step in steps for s in tiles]

    def _load(self, chunk: ChunkWork, step: int, s: int) -> Op:
        tile = chunk.block.stationary[s]
        comes_now = s == 0 or self._map.comes_alone(chunk, stationary=tile)
        wait = None
        if step == chunk.steps.start and comes_now:
            wait = self._map.chunk_loaded.at_least(1, consume=True)
        fields = {
            "rows": self._map.rows(step),
            "format": self._stationary.fmt.code,
            "columns": len(tile),
            "addr": self._stationary.address(chunk, step, tile.start),
        }
        return Op("tensor.load", fields, wait=wait)

    def _matmuls(self, chunk: ChunkWork, step: int, s: int, f: int) -> Iterator[Op]:
        """A pass for a moving tile; the program's first and last in pieces, each synchronised."""
        moving = chunk.block.moving[f]
        tile = chunk.first_tile + s * len(chunk.block.moving) + f
        spans = self._map.cut_first_tile(moving) if tile == step == 0 else [moving]
        signals: list[Signal | None] = [None] * len(spans)
        if step == self._plan.k_steps - 1:
            spans = self._map.cut_tile(tile, moving)
            signals = [self._map.tile_done.add()] * len(spans)
        elif self._slots_to_free:
            signals[-1] = self._map.chunk_free.add(self._slots_to_free)
            self._slots_to_free = 0
        for span, signal in zip(spans, signals, strict=True):
            begins = span.start == moving.start
            wait = self._matmul_wait(chunk, step, s, (span, moving) if begins else (span,), tile)
            fields = {
                "rows": self._map.rows(step),
                "format": self._moving.fmt.code,
                "accumulate": int(step > 0),
                "columns": len(span),
                "addr": self._moving.address(chunk, step, span.start),
                "psum_addr": self._map.psum_address(tile, span.start - moving.start),
            }
            cycles = max(len(span), self._period) if begins else len(span)
            yield Op("tensor.matmul", fields, cycles, self._latency, wait, signal)

    def _matmul_wait(
        self, chunk: ChunkWork, step: int, s: int, spans: tuple[Span, ...], tile: int
    ) -> Wait | None:
        """Wait of a piece; `spans` are the piece and, if it is the first one, its tile."""
        if (
            step == 0
            and s == 0
            and any(self._map.comes_alone(chunk, moving=span) for span in spans)
        ):
            return self._map.chunk_loaded.at_least(1, consume=True)
        if step == 0 and len(spans) > 1 and tile >= self._plan.psum_slots:
            return self._map.slot_free.at_least(1, consume=True)
        return None


def _vector_ops(where: GemmMap, fmt: FloatFormat, saturate: bool) -> Iterator[Op]:
    """Finished tiles from PSUM, rounded and cast, to the results."""
    cost = drain_cost(where.config)
    for piece in where.drained():
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
            columns + cost.overhead,
            cost.latency,
            where.tile_done.at_least(1, consume=True),
            where.tile_cast.add(),
        )


def _store_ops(where: GemmMap) -> Iterator[Op]:
    """Results to memory, a descriptor a piece."""
    for piece in where.stored():
        frees = piece.is_last and piece.tile + where.plan.psum_slots < where.tiles
        yield _store_op(where, piece).synchronised(
            where.tile_cast.at_least(piece.drains, consume=True),
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
