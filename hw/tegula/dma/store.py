"""The store engine: scratchpad to memory."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import (
    WindowSignature,
    axi_read_data_layout,
    axi_request_layout,
    axi_write_data_layout,
)
from tegula.config import TileConfig
from tegula.dma.accumulate import StoreAccumulator
from tegula.dma.align import WriteAligner
from tegula.dma.bursts import BurstSplitter
from tegula.dma.gather import Gather, Packer
from tegula.dma.layouts import ItemKind
from tegula.dma.readback import ReadBack
from tegula.dma.retire import TrapHold
from tegula.dma.runs import RunGenerator
from tegula.dma.tracing import trace_dma
from tegula.engine.interface import EngineSignature
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula.lib.stream import StreamQueue, StreamStage
from tegula.memory.ports import ChunkReadSignature

__all__ = ["StoreEngine"]


class StoreEngine(wiring.Component):
    """Execute `store.dma` and `store.sync`: runs of the scratchpad into, or added to, memory.

    One bus beat a cycle where reads are granted each cycle; with `bytes1` half a beat. With
    `accumulate` a beat every `chunk_steps` cycles, and the latency of `ReadBack`. `max_writes`
    bursts are outstanding. W beats follow the order of the AW requests and never lead them; every
    requested burst gets its beats, with zero strobes after `stop`. From `instr.valid` to `aw.valid`
    5 cycles. An instruction is complete when memory has answered each of its bursts.

    An error of the bus traps when the bursts before it are answered. Behind a burst whose write
    failed, no more than `max_writes` - 1 have been requested (docs/traps.md).

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
    b : In(stream of 2)
        Responses, in the order of the requests.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        What `accumulate` adds to; one burst at a time.
    """

    REQUEST_LATENCY = 5
    """Cycles from `instr.valid` to `aw.valid` of an idle engine: runs 3, burst 1, register 1."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.STORE)),
                "window": In(WindowSignature()),
                "read": Out(ChunkReadSignature(config)),
                "aw": Out(stream.Signature(axi_request_layout(config))),
                "w": Out(stream.Signature(axi_write_data_layout(config))),
                "b": In(stream.Signature(2)),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "r": In(stream.Signature(axi_read_data_layout(config))),
            }
        )

    def elaborate(self, platform):
        """Connect the parts in data order."""
        m = Module()
        config = self._config
        engine = self.engine
        m.submodules.retirement = retirement = TrapHold(config)
        flush = retirement.flush
        droppable = ResetInserter(flush)
        m.submodules.generator = generator = droppable(RunGenerator(config, Engine.STORE))
        m.submodules.splitter = splitter = droppable(BurstSplitter(config))
        m.submodules.gather = gather = Gather(config)
        m.submodules.aligner = aligner = droppable(WriteAligner(config))
        m.submodules.readback = readback = ReadBack(config)
        m.submodules.accumulator = accumulator = droppable(
            StoreAccumulator(config, aligner.beats.payload.shape())
        )
        chunk = aligner.chunks.payload.shape()
        m.submodules.packer = packer = droppable(Packer(config, chunk))

        wiring.connect(m, generator.tickets, retirement.tickets)
        wiring.connect(m, wiring.flipped(self.window), generator.window)
        m.d.comb += [
            generator.instr.payload.eq(engine.instr.payload),
            generator.instr.valid.eq(engine.instr.valid & ~flush),
            engine.instr.ready.eq(generator.instr.ready & ~flush),
            gather.flush.eq(flush),
        ]
        self._fork_runs(m, generator, splitter, gather)
        wiring.connect(m, gather.read, wiring.flipped(self.read))
        wiring.connect(m, gather.words, packer.words)
        wiring.connect(m, packer.chunks, aligner.chunks)
        wiring.connect(m, aligner.beats, accumulator.i)
        wiring.connect(m, readback.beats, accumulator.held)
        wiring.connect(m, splitter.bursts, readback.i)
        wiring.connect(m, readback.ar, wiring.flipped(self.ar))
        wiring.connect(m, wiring.flipped(self.r), readback.r)

        failed = Signal()
        bursts, lengths = self._issue_bursts(m, readback.o, flush | failed)
        self._send_beats(m, accumulator.o, lengths, flush)
        m.d.comb += [
            readback.flush.eq(flush),
            readback.acknowledged.eq(bursts.empty),
            readback.addressed.eq(~self.aw.valid),
        ]
        cause, address = self._take_answers(m, bursts, generator, retirement, flush, failed)

        m.d.comb += [
            retirement.fault_cause.eq(
                Mux(failed, cause, Mux(readback.failed, readback.cause, generator.trap_cause))
            ),
            retirement.fault_address.eq(
                Mux(
                    failed,
                    address,
                    Mux(readback.failed, bursts.o.payload.addr, generator.trap_address),
                )
            ),
            retirement.quiet.eq(
                (bursts.empty & lengths.empty & ~self.aw.valid & ~self.w.valid)
                & (gather.drained & readback.quiet)
            ),
            retirement.stop.eq(engine.stop),
            engine.trap.eq(retirement.trap),
            engine.trap_valid.eq(retirement.trap_valid),
            engine.idle.eq(retirement.idle & (flush | ~engine.instr.valid)),
        ]
        wiring.connect(m, retirement.signals, wiring.flipped(engine.signals[0]))

        read = self.read.request
        moves = (read.valid & read.ready) | (self.w.valid & self.w.ready)
        m.d.sync += [
            engine.busy.eq(~engine.idle & moves),
            engine.stall.eq(~engine.idle & ~moves),
        ]
        if config.trace:
            starts = engine.instr.valid | ~generator.empty | splitter.bursts.valid
            refused = (self.aw.valid & ~self.aw.ready) | (self.w.valid & ~self.w.ready)
            reasons = (
                (moves, Activity.WORK),
                (read.valid, Activity.OPERAND),
                (refused, Activity.REQUEST),
                (bursts.o.valid & ~lengths.o.valid, Activity.MEMORY),
                (starts, Activity.STARTING),
            )
            trace_dma(m, engine, generator, retirement, reasons)
        return m

    def _fork_runs(self, m, generator, splitter, gather):
        """Send each run to the splitter and to the scratchpad; other items to the splitter only."""
        run = generator.runs.payload
        skips = run.kind != ItemKind.RUN
        m.d.comb += [
            generator.runs.ready.eq(splitter.runs.ready & (gather.runs.ready | skips)),
            splitter.runs.valid.eq(generator.runs.valid & (gather.runs.ready | skips)),
            gather.runs.valid.eq(generator.runs.valid & splitter.runs.ready & ~skips),
            splitter.runs.payload.eq(run),
            gather.runs.payload.eq(run),
        ]

    def _issue_bursts(self, m, given, hold):
        """Issue bursts; queue what their answers and their beats will be matched with."""
        config = self._config
        lane_bits = exact_log2(config.bus_bytes)
        outstanding = data.StructLayout(
            {"kind": ItemKind, "addr": config.axi_addr_width, "last": 1}
        )
        m.submodules.bursts = bursts = StreamQueue(outstanding, config.max_writes)
        m.submodules.lengths = lengths = StreamQueue(8, config.max_writes)
        m.submodules.aw_stage = stage = StreamStage(axi_request_layout(config))
        wiring.connect(m, stage.o, wiring.flipped(self.aw))
        burst = given.payload
        room = Signal()
        is_run = burst.kind == ItemKind.RUN
        # `lengths` never holds more than `bursts`, so it always has room where that has.
        m.d.comb += [
            room.eq(stage.i.ready & bursts.i.ready & ~hold),
            given.ready.eq(room),
            stage.i.valid.eq(given.valid & room & is_run),
            lengths.i.valid.eq(given.valid & room & is_run),
            bursts.i.valid.eq(given.valid & room),
            stage.i.payload.addr.eq(Cat(Const(0, lane_bits), burst.addr[lane_bits:])),
            stage.i.payload.len.eq(burst.len),
            lengths.i.payload.eq(burst.len),
            bursts.i.payload.kind.eq(burst.kind),
            bursts.i.payload.addr.eq(burst.addr),
            bursts.i.payload.last.eq(burst.last),
        ]
        return bursts, lengths

    def _send_beats(self, m, beats, lengths, flush):
        """Send the beats of the bursts that were requested, and no others."""
        m.submodules.w_stage = stage = StreamStage(axi_write_data_layout(self._config))
        wiring.connect(m, stage.o, wiring.flipped(self.w))
        sent = Signal(8)
        """Beats of the current burst that were sent."""
        send, last = Signal(), Signal()
        m.d.comb += [
            stage.i.valid.eq(lengths.o.valid & (beats.valid | flush)),
            beats.ready.eq(lengths.o.valid & stage.i.ready),
            last.eq(sent == lengths.o.payload),
            stage.i.payload.data.eq(beats.payload.data),
            stage.i.payload.strb.eq(Mux(flush, 0, beats.payload.strb)),
            stage.i.payload.last.eq(last),
            send.eq(stage.i.valid & stage.i.ready),
            lengths.o.ready.eq(send & last),
        ]
        with m.If(send):
            m.d.sync += sent.eq(Mux(last, 0, sent + 1))

    def _take_answers(self, m, bursts, generator, retirement, flush, failed):
        """Match answers with bursts, and retire instructions with their last one."""
        head = bursts.o.payload
        cause, address = Signal(4), Signal(self._config.axi_addr_width)
        is_run, is_trap = head.kind == ItemKind.RUN, head.kind == ItemKind.TRAP
        response = self.b.payload
        answered, bad = Signal(), Signal()
        m.d.comb += [
            self.b.ready.eq(bursts.o.valid & is_run),
            answered.eq(self.b.valid & self.b.ready),
            bad.eq(answered & response[1]),
            bursts.o.ready.eq(Mux(is_run, answered, ~is_trap | flush)),
            retirement.done.eq(
                bursts.o.valid & bursts.o.ready & head.last & ~is_trap & ~bad & ~failed & ~flush
            ),
            retirement.fault.eq(failed | (bursts.o.valid & is_trap)),
        ]
        with m.If(flush):
            m.d.sync += failed.eq(0)
        with m.Elif(bad & ~failed):
            m.d.sync += [
                failed.eq(1),
                cause.eq(Mux(response[0], Trap.BUS_DECERR, Trap.BUS_SLVERR)),
                address.eq(head.addr),
            ]
        return cause, address
