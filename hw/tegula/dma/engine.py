"""The half that the load and the store engine share: control, from instructions to requests."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import WindowSignature, axi_request_layout
from tegula.config import TileConfig
from tegula.dma.bursts import BurstSplitter, request_burst
from tegula.dma.layouts import ItemKind, burst_layout, outstanding_layout, run_layout
from tegula.dma.runs import RunGenerator
from tegula.engine.interface import EngineSignature, traced
from tegula.engine.retirement import Retirement
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.lib.fields import copy_fields
from tegula.lib.mux import prioritised
from tegula.lib.stream import StreamBuffer, StreamQueue

__all__ = ["DmaControl"]


class DmaControl(wiring.Component):
    """Control of a DMA engine: instructions in; runs, bus requests, signals and traps out.

    A trap is precise: it waits for the data path to report it in order, and then for the signals of
    all earlier instructions. From the cycle after a trap or `engine.stop` on, `flush` is high until
    no transaction is pending and a `stop` is over.

    What enters ends at registers, and what leaves comes from registers, but for `ready` of
    `admitted`, which follows that of `request`.

    Parameters
    ----------
    config : TileConfig
    engine : Engine
        LOAD or STORE.
    max_outstanding : int
        Bursts requested and not answered.

    Members
    -------
    engine : Out(EngineSignature)
        Of the whole engine. `busy`: `moves` in the cycle before; `stall`: not so, and an
        instruction is in progress (it waits for memory, the scratchpad, or its first address).
    window : In(WindowSignature)
        Bytes that may be accessed.
    runs : Out(stream of `run_layout`), bursts : Out(stream of `burst_layout`)
        Runs, and the bursts that they are split into. Items that are not runs pass in order with
        the runs of a load, and with the bursts of a store.
    admitted : In(stream of `burst_layout`)
        The same bursts, each when it may be requested: at once, but where a store accumulates.
    issued : Out(1)
        `admitted` is a burst, and is requested in this cycle.
    request : Out(stream of `axi_request_layout`)
        The bus's requests. An offer may be withdrawn at `flush` or `failed`.
    outstanding : Out(stream of `outstanding_layout(config, engine)`)
        The oldest burst, or item that is not a run, that is not complete; taken when it is.
    in_flight : Out(1)
        A burst or an item is outstanding.
    response : In(2), response_valid : In(1)
        An AXI response to the oldest burst.
    failed : Out(1)
        A response was an error: no burst is requested from the next cycle on, until the flush.
    done : In(1)
        The oldest instruction that is not complete is complete now. Excludes `fault`.
    fault : In(1)
        The oldest incomplete instruction cannot go on, and no effect is pending: after an error
        (`failed`), a read that failed (`read_failed`), or at an item of kind TRAP. Stable until the
        flush.
    read_failed : In(1), read_cause : In(CAUSE_BITS)
        In a store: the oldest outstanding item, of kind TRAP, is a burst whose destination could
        not be read; `Trap.BUS_SLVERR` or `Trap.BUS_DECERR`.
    quiet : In(1)
        The data path has no transaction pending.
    moves : In(1)
        Data move in this cycle.
    flush : Out(1)
        Drop all work; bus transactions that have begun are completed. A register.
    stalled_by : In(Activity)
        In a traced tile: what the data path waits for; WORK if nothing.
    """

    def __init__(self, config: TileConfig, engine: Engine, max_outstanding: int):
        self._config, self._engine = config, engine
        self._max_outstanding = max_outstanding
        super().__init__(
            {
                "engine": Out(EngineSignature(config, engine)),
                "window": In(WindowSignature()),
                "runs": Out(stream.Signature(run_layout(config))),
                "bursts": Out(stream.Signature(burst_layout(config))),
                "admitted": In(stream.Signature(burst_layout(config))),
                "issued": Out(1),
                "request": Out(stream.Signature(axi_request_layout(config))),
                "outstanding": Out(stream.Signature(outstanding_layout(config, engine))),
                "in_flight": Out(1),
                "response": In(2),
                "response_valid": In(1),
                "failed": Out(1),
                "done": In(1),
                "fault": In(1),
                **(
                    {"read_failed": In(1), "read_cause": In(CAUSE_BITS)}
                    if engine == Engine.STORE
                    else {}
                ),
                "quiet": In(1),
                "moves": In(1),
                "flush": Out(1),
                **traced(config, {"stalled_by": In(Activity)}),
            }
        )

    REQUEST_LATENCY = RunGenerator.LATENCY + BurstSplitter.LATENCY + StreamBuffer.LATENCY
    """Cycles from `instr.valid` to `request.valid` of an idle engine: burst 1."""

    def elaborate(self, platform):
        """Runs, bursts, requests, responses, retirement or trap."""
        m = Module()
        config, engine = self._config, self.engine
        droppable = ResetInserter(self.flush)
        m.submodules.generator = generator = droppable(RunGenerator(config, self._engine))
        m.submodules.splitter = splitter = droppable(BurstSplitter(config))
        # Whether a burst is issued depends on the bus and on what is in flight; what that moves,
        # runs and the stages that make them, goes by a register.
        m.submodules.held = held = droppable(StreamBuffer(burst_layout(config)))
        retirement = Retirement(config, generator.tickets.payload.shape())
        m.submodules.retirement = droppable(retirement)
        wiring.connect(m, wiring.flipped(self.window), generator.window)
        wiring.connect(m, generator.tickets, retirement.tickets)
        wiring.connect(m, splitter.bursts, held.i)
        wiring.connect(m, held.o, wiring.flipped(self.bursts))
        wiring.connect(m, retirement.signals, wiring.flipped(engine.signals[0]))
        m.d.comb += [
            generator.instr.payload.eq(engine.instr.payload),
            generator.instr.valid.eq(engine.instr.valid & ~self.flush),
            engine.instr.ready.eq(generator.instr.ready & ~self.flush),
            retirement.done.eq(self.done),
        ]
        self._fork_runs(m, generator.runs, splitter.runs)
        self._issue_bursts(m)
        cause, address = self._check_responses(m, generator)
        m.d.comb += [
            engine.trap.cause.eq(cause),
            engine.trap.pc.eq(retirement.oldest.pc),
            engine.trap.address.eq(address),
        ]
        self._hold_trap(m, retirement)
        m.d.sync += [
            engine.busy.eq(~engine.idle & self.moves),
            engine.stall.eq(~engine.idle & ~self.moves),
        ]
        if config.trace:
            working = ~generator.empty | splitter.bursts.valid | ~held.empty
            starting = engine.instr.valid | working
            self._trace(m, generator, retirement, starting)
        return m

    def _fork_runs(self, m, items, bursts):
        """Runs to both outputs; other items to the one that keeps the order."""
        ordered, other = (self.runs, bursts) if self._engine == Engine.LOAD else (bursts, self.runs)
        skips = items.payload.kind != ItemKind.RUN
        m.d.comb += [
            items.ready.eq(ordered.ready & (other.ready | skips)),
            ordered.valid.eq(items.valid & (other.ready | skips)),
            other.valid.eq(items.valid & ordered.ready & ~skips),
            ordered.payload.eq(items.payload),
            other.payload.eq(items.payload),
        ]

    def _issue_bursts(self, m):
        """Bus requests, at most `max_outstanding` in flight."""
        m.submodules.outstanding = outstanding = StreamQueue(
            self.outstanding.payload.shape(), self._max_outstanding
        )
        wiring.connect(m, outstanding.o, wiring.flipped(self.outstanding))
        burst, request = self.admitted.payload, self.request
        room, accepted, is_run = Signal(), Signal(), Signal()
        m.d.comb += [
            is_run.eq(burst.kind == ItemKind.RUN),
            room.eq(outstanding.i.ready & ~self.flush & ~self.failed),
            request.valid.eq(self.admitted.valid & is_run & room),
            *request_burst(self._config, request.payload, burst),
            accepted.eq(room & (request.ready | ~is_run)),
            self.admitted.ready.eq(accepted),
            self.issued.eq(request.valid & request.ready),
            outstanding.i.valid.eq(self.admitted.valid & accepted),
            *copy_fields(outstanding.i.payload, burst),
            self.in_flight.eq(~outstanding.empty),
        ]

    def _check_responses(self, m, generator):
        """The first error, held until the flush; returns cause and address of the fault."""
        oldest = self.outstanding.payload
        cause = Signal(CAUSE_BITS, reset_less=True)
        address = Signal(self._config.axi_addr_width, reset_less=True)
        with m.If(self.flush):
            m.d.sync += self.failed.eq(0)
        with m.Elif(self.response_valid & self.response[1] & ~self.failed):
            m.d.sync += [
                self.failed.eq(1),
                cause.eq(Mux(self.response[0], Trap.BUS_DECERR, Trap.BUS_SLVERR)),
                address.eq(oldest.addr),
            ]
        item_cause, item_address = generator.trap_cause, generator.trap_address
        if self._engine == Engine.STORE:
            item_cause = Mux(self.read_failed, self.read_cause, item_cause)
            item_address = Mux(self.read_failed, oldest.addr, item_address)
        return Mux(self.failed, cause, item_cause), Mux(self.failed, address, item_address)

    def _hold_trap(self, m, retirement):
        """The trap in order, and the flush until the bus is quiet and a `stop` is over."""
        engine = self.engine
        halted, stays_halted = Signal(), Signal()
        draining, stays_draining, quiet = Signal(), Signal(), Signal()
        m.d.comb += [
            quiet.eq(self.quiet & ~self.in_flight),
            engine.trap_valid.eq(self.fault & ~retirement.unsent & ~self.flush),
            engine.idle.eq(quiet & (retirement.level == 0) & ~halted),
            stays_halted.eq((halted | engine.trap_valid) & ~engine.stop),
            stays_draining.eq(engine.stop | engine.trap_valid | (draining & ~quiet)),
        ]
        m.d.sync += [
            halted.eq(stays_halted),
            draining.eq(stays_draining),
            self.flush.eq(stays_halted | stays_draining),
        ]

    def _trace(self, m, generator, retirement, starting):
        """Trace: an instruction begins with its ticket, and is taken with its last run."""
        tickets, trace = generator.tickets, self.engine.trace
        reasons = (
            (self.moves, Activity.WORK),
            (self.stalled_by != Activity.WORK, self.stalled_by),
            (starting, Activity.STARTING),
        )
        m.d.comb += [
            trace.begin.eq(tickets.valid & tickets.ready),
            trace.complete.eq(retirement.retired & ~self.flush),
        ]
        m.d.sync += trace.activity.eq(prioritised(reasons, Activity.DRAINING))
