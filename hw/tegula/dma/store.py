"""The store engine: scratchpad to memory."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import WindowSignature, axi_request_layout, axi_write_data_layout
from tegula.config import TileConfig
from tegula.dma.accumulate import StoreAccumulator
from tegula.dma.align import WriteAligner
from tegula.dma.bursts import read_channels
from tegula.dma.engine import DmaControl
from tegula.dma.gather import Gather, Packer
from tegula.dma.layouts import ItemKind
from tegula.dma.readback import ReadBack
from tegula.engine.interface import EngineSignature
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.lib.mux import prioritised
from tegula.lib.stream import StreamBuffer, StreamQueue
from tegula.memory.ports import ChunkReadSignature

__all__ = ["StoreEngine"]


class StoreEngine(wiring.Component):
    """Engine of `store.dma` and `store.sync`: runs of the scratchpad into, or added to, memory.

    One bus beat a cycle where reads are granted each cycle; with `bytes1` half a beat. With
    `accumulate` a beat every `chunk_steps` cycles, and the latency of `ReadBack`. At most
    `max_writes` bursts are outstanding. W beats follow the order of the AW requests, each offered
    after its request; every requested burst gets its beats, with zero strobes after a trap or
    `stop`. From `instr.valid` to `aw.valid` 5 cycles. An instruction is complete when memory has
    answered each of its bursts.

    Every output depends on registers alone. Offers of `aw`, `ar` and `read` may be withdrawn, and
    an offer of `w` may lose its strobes, from the cycle after `stop`, a trap or a failed answer on:
    what takes them has a register.

    A bus error traps when the bursts before it are answered. After a burst whose write failed, no
    more than `max_writes` - 1 have been requested (docs/traps.md).

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    engine : Out(EngineSignature(config, Engine.STORE))
        `busy`: in the cycle before, a read or a beat moved. `stall`: none did, and an instruction
        is in progress (it waits for memory, for the scratchpad, or for its first address).
    window : In(WindowSignature)
        Bytes that may be written.
    read : Out(ChunkReadSignature)
        Answers in the order of the requests, at any latency. At most 16 are outstanding.
    aw : Out(stream of `axi_request_layout`), w : Out(stream of `axi_write_data_layout`)
    aw_waits : In(1)
        A request from `aw` is not yet accepted by memory; from the cycle after `aw` took it.
    b : In(stream of 2)
        Responses, in the order of the requests. One that no burst waits for is dropped.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        Reads of the destination of `accumulate`; one burst at a time.
    """

    WORDS_TO_BEAT = (
        StreamQueue.LATENCY + Packer.LATENCY + WriteAligner.LATENCY + StreamBuffer.LATENCY
    )
    """Cycles from the words that complete a chunk to its beat."""

    REQUEST_TO_BEAT = StreamQueue.LATENCY
    """Cycles from the cycle in which a burst is issued to the first in which its beat may be."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.STORE)),
                "window": In(WindowSignature()),
                "read": Out(ChunkReadSignature(config)),
                "aw": Out(stream.Signature(axi_request_layout(config))),
                "aw_waits": In(1),
                "w": Out(stream.Signature(axi_write_data_layout(config))),
                "b": In(stream.Signature(2)),
                **read_channels(config),
            }
        )

    def elaborate(self, platform):
        """Connections of the parts, in data order."""
        m = Module()
        config = self._config
        m.submodules.control = control = DmaControl(config, Engine.STORE, config.max_writes)
        flush = control.flush
        droppable = ResetInserter(flush)
        m.submodules.gather = gather = Gather(config)
        m.submodules.aligner = aligner = droppable(WriteAligner(config))
        m.submodules.readback = readback = ReadBack(config)
        beat = aligner.beats.payload.shape()
        # Whether the accumulator takes a beat depends on its adder and on the bus; what that moves,
        # chunks and words, goes by a register.
        m.submodules.beats = beats = droppable(StreamBuffer(beat))
        m.submodules.accumulator = accumulator = droppable(StoreAccumulator(config, beat))
        chunk = aligner.chunks.payload.shape()
        m.submodules.packer = packer = droppable(Packer(config, chunk))

        wiring.connect(m, control.engine, wiring.flipped(self.engine))
        wiring.connect(m, wiring.flipped(self.window), control.window)
        m.d.comb += gather.flush.eq(flush)
        wiring.connect(m, control.runs, gather.runs)
        wiring.connect(m, gather.read, wiring.flipped(self.read))
        wiring.connect(m, gather.words, packer.words)
        wiring.connect(m, packer.chunks, aligner.chunks)
        wiring.connect(m, aligner.beats, beats.i)
        wiring.connect(m, beats.o, accumulator.i)
        wiring.connect(m, readback.beats, accumulator.held)
        wiring.connect(m, control.bursts, readback.i)
        wiring.connect(m, readback.ar, wiring.flipped(self.ar))
        wiring.connect(m, wiring.flipped(self.r), readback.r)
        wiring.connect(m, readback.o, control.admitted)
        wiring.connect(m, control.request, wiring.flipped(self.aw))
        waits = Signal()
        m.d.sync += waits.eq(control.issued | (waits & self.aw_waits))
        m.d.comb += [
            readback.flush.eq(flush),
            readback.acknowledged.eq(~control.in_flight),
            readback.addressed.eq(~waits),
        ]
        # It never holds more than `control.outstanding`, so it has room where that has.
        m.submodules.lengths = lengths = StreamQueue(8, config.max_writes)
        m.d.comb += [
            lengths.i.valid.eq(control.issued),
            lengths.i.payload.eq(control.admitted.payload.len),
        ]
        self._send_beats(m, accumulator.o, lengths, flush)
        self._take_answers(m, control)
        read = self.read.request

        m.d.comb += [
            control.read_failed.eq(readback.failed),
            control.read_cause.eq(readback.cause),
            control.quiet.eq(lengths.empty & gather.drained & readback.quiet),
            control.moves.eq((read.valid & read.ready) | (self.w.valid & self.w.ready)),
        ]
        if config.trace:
            refused = (self.aw.valid & ~self.aw.ready) | (self.w.valid & ~self.w.ready)
            reasons = (
                (read.valid, Activity.OPERAND),
                (refused, Activity.REQUEST),
                (control.in_flight & ~lengths.o.valid, Activity.MEMORY),
            )
            m.d.comb += control.stalled_by.eq(prioritised(reasons, Activity.WORK))
        return m

    def _send_beats(self, m, beats, lengths, flush):
        """Beats of the bursts that were requested, and no others."""
        beat = self.w.payload
        sent = Signal(8)
        """Beats of the current burst that were sent."""
        send, last = Signal(), Signal()
        m.d.comb += [
            self.w.valid.eq(lengths.o.valid & (beats.valid | flush)),
            beats.ready.eq(lengths.o.valid & self.w.ready),
            last.eq(sent == lengths.o.payload),
            beat.data.eq(beats.payload.data),
            beat.strb.eq(Mux(flush, 0, beats.payload.strb)),
            beat.last.eq(last),
            send.eq(self.w.valid & self.w.ready),
            lengths.o.ready.eq(send & last),
        ]
        with m.If(send):
            m.d.sync += sent.eq(Mux(last, 0, sent + 1))

    def _take_answers(self, m, control):
        """Responses of the oldest burst; the last one completes its instruction."""
        oldest = control.outstanding
        is_run = oldest.payload.kind == ItemKind.RUN
        is_trap = oldest.payload.kind == ItemKind.TRAP
        bad = Signal()
        m.d.comb += [
            self.b.ready.eq(is_run | ~oldest.valid),
            control.response.eq(self.b.payload),
            control.response_valid.eq(self.b.valid & oldest.valid & is_run),
            bad.eq(control.response_valid & control.response[1]),
            oldest.ready.eq(Mux(is_run, control.response_valid, ~is_trap | control.flush)),
            control.done.eq(
                (oldest.valid & oldest.ready & oldest.payload.last)
                & ~(is_trap | bad | control.failed | control.flush)
            ),
            control.fault.eq(control.failed | (oldest.valid & is_trap)),
        ]
