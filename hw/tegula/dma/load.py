"""The load engine: memory to scratchpad."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import WindowSignature
from tegula.config import TileConfig
from tegula.dma.accumulate import LoadAccumulator
from tegula.dma.align import ReadAligner
from tegula.dma.bursts import read_channels
from tegula.dma.engine import DmaControl
from tegula.dma.layouts import sbuf_run_layout, write_layout
from tegula.dma.scatter import Scatter
from tegula.engine.interface import EngineSignature
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.lib.fields import copy_fields
from tegula.lib.mux import prioritised
from tegula.lib.stream import PingPongBuffer, StreamQueue
from tegula.memory.ports import ChunkReadSignature, ChunkWriteSignature

__all__ = ["LoadEngine"]


class LoadEngine(wiring.Component):
    """Engine of `load.dma` and `load.sync`: runs of memory into, or added to, the scratchpad.

    One bus beat a cycle in, one chunk of `bus_words` (layout `partition`: `row_words`) words a
    cycle out; with `bytes1` half a beat a cycle. With `accumulate` a chunk every `chunk_steps`
    cycles. At most `max_reads` bursts are outstanding. Consecutive instructions overlap: an
    instruction issues its first burst while the data of those before it arrive. From `instr.valid`
    to `ar.valid` 5 cycles; from a beat to its write 3 cycles, or 2 from the second beat of a chunk.
    An instruction is complete when its last write is in the scratchpad.

    Every output depends on registers alone. Offers of `ar`, `read` and `write` may be withdrawn
    from the cycle after `stop`, a trap or a failed beat on: what takes them has a register.

    A bus error traps when the chunks whose beats all arrived before the bad one are written;
    nothing else of its run is, nor any later run (docs/traps.md).

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    engine : Out(EngineSignature(config, Engine.LOAD))
        `busy`: in the cycle before, a beat or a write moved; else `stall` (`DmaControl`).
    window : In(WindowSignature)
        Bytes that may be read.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        Answers in the order of the requests. `r.ready` is always high: see `room`. A beat that was
        not requested is dropped.
    room : Out(1)
        Three more beats have room. A beat that comes without is lost.
    write : Out(ChunkWriteSignature)
    read : Out(ChunkReadSignature)
        Reads of the destination of `accumulate`, one at a time. Answers at any latency.
    """

    BEAT_TO_WRITE = ReadAligner.LATENCY + PingPongBuffer.LATENCY
    """Cycles from a beat to its write; one less from the next beat, where that is needed too."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.LOAD)),
                "window": In(WindowSignature()),
                **read_channels(config),
                "room": Out(1),
                "write": Out(ChunkWriteSignature(config)),
                "read": Out(ChunkReadSignature(config)),
            }
        )

    def elaborate(self, platform):
        """Connections of the parts, in data order."""
        m = Module()
        config = self._config
        m.submodules.control = control = DmaControl(config, Engine.LOAD, config.max_reads)
        droppable = ResetInserter(control.flush)
        m.submodules.runs = runs = droppable(StreamQueue(sbuf_run_layout(config), config.max_reads))
        m.submodules.aligner = aligner = droppable(ReadAligner(config))
        m.submodules.scatter = scatter = droppable(Scatter(config))
        m.submodules.accumulator = accumulator = LoadAccumulator(config)
        # Whether the accumulator takes a write depends on its adder and on the scratchpad; what
        # that moves, runs and bytes, goes by a register.
        m.submodules.writes = writes = droppable(PingPongBuffer(write_layout(config)))

        wiring.connect(m, control.engine, wiring.flipped(self.engine))
        wiring.connect(m, wiring.flipped(self.window), control.window)
        wiring.connect(m, control.bursts, control.admitted)
        wiring.connect(m, control.request, wiring.flipped(self.ar))
        m.d.comb += [
            runs.i.valid.eq(control.runs.valid),
            control.runs.ready.eq(runs.i.ready),
            *copy_fields(runs.i.payload, control.runs.payload),
        ]
        self._take_beats(m, control, aligner)

        # Whether a run is used up depends on the bytes that are there, and on the scratchpad.
        m.submodules.next_run = next_run = droppable(PingPongBuffer(sbuf_run_layout(config)))
        wiring.connect(m, runs.o, next_run.i)
        wiring.connect(m, next_run.o, scatter.runs)
        wiring.connect(m, aligner.chunks, scatter.chunks)
        wiring.connect(m, scatter.write, writes.i)
        wiring.connect(m, writes.o, accumulator.i)
        wiring.connect(m, accumulator.read, wiring.flipped(self.read))
        wiring.connect(m, accumulator.write, wiring.flipped(self.write))

        request = self.write.request
        starved = scatter.starved & aligner.starved
        # A cycle late, but for what enters meanwhile: it decides whether the queue of runs moves.
        drained = Signal()
        m.d.sync += drained.eq(accumulator.drained & writes.empty)
        m.d.comb += [
            accumulator.flush.eq(control.flush),
            scatter.drained.eq(drained & writes.empty),
            control.done.eq(self.write.written_last | scatter.synced),
            control.fault.eq(scatter.trapped | (control.failed & starved)),
            control.quiet.eq(accumulator.quiet),
            control.moves.eq(self.r.valid | (request.valid & request.ready)),
        ]
        if config.trace:
            reasons = (
                (request.valid, Activity.RESULT),
                (self.ar.valid & ~self.ar.ready, Activity.REQUEST),
                (control.in_flight & ~self.r.valid, Activity.MEMORY),
            )
            m.d.comb += control.stalled_by.eq(prioritised(reasons, Activity.WORK))
        return m

    def _take_beats(self, m, control, aligner):
        """Good beats to the aligner; from the first bad one on, all are dropped."""
        beat, burst = self.r.payload, control.outstanding.payload
        flush, failed = control.flush, control.failed
        taken, bad = Signal(), beat.resp[1]
        m.d.comb += [
            taken.eq(self.r.valid & control.outstanding.valid),
            self.r.ready.eq(1),
            self.room.eq(aligner.room),
            aligner.beats.valid.eq(taken & ~bad & ~failed & ~flush),
            aligner.beats.payload.data.eq(beat.data),
            aligner.beats.payload.context.offset.eq(burst.offset),
            aligner.beats.payload.context.last.eq(beat.last & burst.run_last),
            aligner.beats.payload.context.spill.eq(burst.spill),
            control.response.eq(beat.resp),
            control.response_valid.eq(taken),
            control.outstanding.ready.eq(self.r.valid & beat.last),
        ]
