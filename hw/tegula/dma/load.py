"""The load engine: memory to scratchpad."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.bus.axi import WindowSignature, axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.dma.accumulate import LoadAccumulator
from tegula.dma.align import ReadAligner
from tegula.dma.bursts import BurstSplitter
from tegula.dma.layouts import ItemKind, place_layout, write_layout
from tegula.dma.retire import TrapHold
from tegula.dma.runs import RunGenerator
from tegula.dma.scatter import Scatter
from tegula.dma.tracing import trace_dma
from tegula.engine.interface import EngineSignature
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula.lib.stream import StreamQueue, StreamStage
from tegula.memory.ports import ChunkReadSignature, sbuf_write_layout

__all__ = ["LoadEngine"]


class LoadEngine(wiring.Component):
    """Execute `load.dma` and `load.sync`: runs of memory into, or added to, the scratchpad.

    One bus beat a cycle in, one chunk of `bus_words` (layout `partition`: `row_words`) words a
    cycle out; with `bytes1` half a beat a cycle. With `accumulate` a chunk every `chunk_steps`
    cycles. `max_reads` bursts are outstanding. Consecutive
    instructions overlap: an instruction issues its first burst while the data of those before it
    arrives. From `instr.valid` to `ar.valid` 5 cycles; from a beat to its write 4 cycles, one more
    where the chunk also needs the next beat.

    An error of the bus traps when the chunks whose beats all came before the bad one are written;
    nothing else of its run is, nor behind it (docs/traps.md).

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    engine : Out(EngineSignature(config, Engine.LOAD))
        `busy`: in the cycle before, a beat or a write moved. `stall`: none did, and an instruction
        is in progress (it waits for memory, for the scratchpad, or for its first address).
    window : In(WindowSignature)
        Bytes that may be read.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        Answers in the order of the requests.
    write : Out(stream of `sbuf_write_layout`)
    read : Out(ChunkReadSignature)
        What `accumulate` adds to. Answers at any latency; one at a time.
    """

    REQUEST_LATENCY = 5
    """Cycles from `instr.valid` to `ar.valid` of an idle engine: runs 3, burst 1, register 1."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.LOAD)),
                "window": In(WindowSignature()),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "r": In(stream.Signature(axi_read_data_layout(config))),
                "write": Out(stream.Signature(sbuf_write_layout(config))),
                "read": Out(ChunkReadSignature(config)),
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
        m.submodules.generator = generator = droppable(RunGenerator(config, Engine.LOAD))
        m.submodules.splitter = splitter = droppable(BurstSplitter(config))
        m.submodules.places = places = droppable(
            StreamQueue(place_layout(config), config.max_reads)
        )
        m.submodules.aligner = aligner = droppable(ReadAligner(config))
        m.submodules.scatter = scatter = droppable(Scatter(config))
        m.submodules.accumulator = accumulator = LoadAccumulator(config)

        wiring.connect(m, generator.tickets, retirement.tickets)
        wiring.connect(m, wiring.flipped(self.window), generator.window)
        m.d.comb += [
            generator.instr.payload.eq(engine.instr.payload),
            generator.instr.valid.eq(engine.instr.valid & ~flush),
            engine.instr.ready.eq(generator.instr.ready & ~flush),
        ]
        self._fork_runs(m, generator, splitter, places)
        failed = Signal()
        bursts = self._issue_bursts(m, splitter, flush | failed)
        cause, address = self._take_beats(m, aligner, bursts, flush, failed)

        wiring.connect(m, places.o, scatter.runs)
        wiring.connect(m, aligner.chunks, scatter.chunks)
        wiring.connect(m, scatter.write, accumulator.i)
        wiring.connect(m, accumulator.read, wiring.flipped(self.read))
        m.d.comb += accumulator.flush.eq(flush)
        written = self._write(m, scatter, accumulator, flush)

        m.d.comb += [
            retirement.done.eq(written | scatter.synced),
            retirement.fault.eq(scatter.trapped | (failed & scatter.starved & aligner.starved)),
            retirement.fault_cause.eq(Mux(failed, cause, generator.trap_cause)),
            retirement.fault_address.eq(Mux(failed, address, generator.trap_address)),
            retirement.quiet.eq(
                bursts.empty & ~self.ar.valid & ~self.write.valid & accumulator.quiet
            ),
            retirement.stop.eq(engine.stop),
            engine.trap.eq(retirement.trap),
            engine.trap_valid.eq(retirement.trap_valid),
            engine.idle.eq(retirement.idle & (flush | ~engine.instr.valid)),
        ]
        wiring.connect(m, retirement.signals, wiring.flipped(engine.signals[0]))

        moves = (self.r.valid & self.r.ready) | (self.write.valid & self.write.ready)
        m.d.sync += [
            engine.busy.eq(~engine.idle & moves),
            engine.stall.eq(~engine.idle & ~moves),
        ]
        if config.trace:
            starts = engine.instr.valid | ~generator.empty | splitter.bursts.valid
            reasons = (
                (moves, Activity.WORK),
                (self.write.valid, Activity.RESULT),
                (self.ar.valid & ~self.ar.ready, Activity.REQUEST),
                (bursts.o.valid & ~self.r.valid, Activity.MEMORY),
                (starts, Activity.STARTING),
            )
            trace_dma(m, engine, generator, retirement, reasons)
        return m

    def _fork_runs(self, m, generator, splitter, places):
        """Send each run's addresses to the splitter, and its place to the queue."""
        run = generator.runs.payload
        skips = run.kind != ItemKind.RUN
        m.d.comb += [
            generator.runs.ready.eq(places.i.ready & (splitter.runs.ready | skips)),
            places.i.valid.eq(generator.runs.valid & (splitter.runs.ready | skips)),
            splitter.runs.valid.eq(generator.runs.valid & places.i.ready & ~skips),
            splitter.runs.payload.eq(run),
            *(places.i.payload[name].eq(run[name]) for name in place_layout(self._config).members),
        ]

    def _issue_bursts(self, m, splitter, hold):
        """Issue bursts, as many as the queue of outstanding ones holds."""
        config = self._config
        lane_bits = exact_log2(config.bus_bytes)
        outstanding = data.StructLayout(
            {
                "addr": config.axi_addr_width,
                "offset": lane_bits,
                "run_last": 1,
                "spill": 1,
            }
        )
        m.submodules.bursts = bursts = StreamQueue(outstanding, config.max_reads)
        m.submodules.ar_stage = stage = StreamStage(axi_request_layout(config))
        wiring.connect(m, stage.o, wiring.flipped(self.ar))
        burst = splitter.bursts.payload
        m.d.comb += [
            splitter.bursts.ready.eq(stage.i.ready & bursts.i.ready & ~hold),
            stage.i.valid.eq(splitter.bursts.valid & bursts.i.ready & ~hold),
            bursts.i.valid.eq(splitter.bursts.valid & stage.i.ready & ~hold),
            stage.i.payload.addr.eq(Cat(Const(0, lane_bits), burst.addr[lane_bits:])),
            stage.i.payload.len.eq(burst.len),
            bursts.i.payload.addr.eq(burst.addr),
            bursts.i.payload.offset.eq(burst.offset),
            bursts.i.payload.run_last.eq(burst.run_last),
            bursts.i.payload.spill.eq(burst.spill),
        ]
        return bursts

    def _take_beats(self, m, aligner, bursts, flush, failed):
        """Give good beats to the aligner; from the first bad one on, drop all."""
        beat, burst = self.r.payload, bursts.o.payload
        cause, address = Signal(4), Signal(self._config.axi_addr_width)
        taken = Signal()
        bad = beat.resp[1]
        m.d.comb += [
            self.r.ready.eq(aligner.beats.ready | flush | failed),
            taken.eq(self.r.valid & self.r.ready),
            aligner.beats.valid.eq(self.r.valid & ~bad & ~failed & ~flush),
            aligner.beats.payload.data.eq(beat.data),
            aligner.beats.payload.context.offset.eq(burst.offset),
            aligner.beats.payload.context.last.eq(beat.last & burst.run_last),
            aligner.beats.payload.context.spill.eq(burst.spill),
            bursts.o.ready.eq(taken & beat.last),
        ]
        with m.If(flush):
            m.d.sync += failed.eq(0)
        with m.Elif(taken & bad & ~failed):
            m.d.sync += [
                failed.eq(1),
                cause.eq(Mux(beat.resp[0], Trap.BUS_DECERR, Trap.BUS_SLVERR)),
                address.eq(burst.addr),
            ]
        return cause, address

    def _write(self, m, scatter, accumulator, flush):
        """Register the writes; the result says that an instruction's last one is accepted."""
        m.submodules.write_stage = stage = StreamStage(write_layout(self._config))
        m.d.comb += [
            stage.i.valid.eq(accumulator.o.valid & ~flush),
            stage.i.payload.eq(accumulator.o.payload),
            accumulator.o.ready.eq(stage.i.ready),
            accumulator.drained.eq(~stage.o.valid),
            scatter.drained.eq(~stage.o.valid & accumulator.empty),
            self.write.valid.eq(stage.o.valid),
            self.write.payload.eq(stage.o.payload.write),
            stage.o.ready.eq(self.write.ready),
        ]
        return stage.o.valid & stage.o.ready & stage.o.payload.last
