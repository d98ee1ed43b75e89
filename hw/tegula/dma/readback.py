"""Reads of the destination of accumulating stores, burst by burst, each before its write."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.dma.bursts import read_channels, request_burst
from tegula.dma.layouts import ItemKind, burst_layout
from tegula.isa.operations import Accumulate
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.lib.stream import StreamQueue

__all__ = ["ReadBack"]


class _State(enum.Enum):
    """State of the next burst."""

    REQUEST = 0
    READ = 1
    PASS = 2


class ReadBack(wiring.Component):
    """Bursts, in order; those that accumulate once memory's beats for them have arrived.

    One burst is read at a time, and only when the address of the one before was accepted: so no
    write waits for a later read, whatever order memory serves requests in. The request waits
    until at most a quarter of the longest burst is held, and there is room for both: a beat is
    taken in the cycle in which it arrives, so memory may withhold `w.ready` until then. A run that
    accumulates is read when all writes before it are acknowledged, or if it lies above each that is
    not. A read that fails turns its burst into an item of kind TRAP.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    i : In(stream of `burst_layout`), o : Out(stream of `burst_layout`)
        Bursts, and items that are not runs, in order. Combinational where nothing is read.
    acknowledged : In(1)
        No burst from `o` waits for memory's answer.
    addressed : In(1)
        No burst from `o` waits for memory to accept its address.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        `r.ready` is always high; a beat that was not requested is dropped. An offer of `ar` may be
        withdrawn at `flush`.
    beats : Out(stream of axi_data_width)
        Beats of the bursts that accumulate, in order. Registered.
    cause : Out(CAUSE_BITS)
        `Trap.BUS_SLVERR` or `Trap.BUS_DECERR`, of the read that failed.
    flush : In(1)
        Drop all bursts and all beats. A burst that is being read is read to its end.
    quiet : Out(1)
        No request and no beat is pending.
    failed : Out(1)
        The item at `o` is a TRAP because of a read.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(burst_layout(config))),
                "o": Out(stream.Signature(burst_layout(config))),
                **read_channels(config),
                "beats": Out(stream.Signature(config.axi_data_width)),
                "cause": Out(CAUSE_BITS),
                **dict.fromkeys(("acknowledged", "addressed", "flush"), In(1)),
                **dict.fromkeys(("quiet", "failed"), Out(1)),
            }
        )

    def elaborate(self, platform):
        """Read requests, beats, bursts that have theirs."""
        m = Module()
        config = self._config
        burst, state = self.i.payload, Signal(_State)
        clear = self._watch_order(m)
        reads, taken = Signal(), Signal()
        room = self._hold_beats(m, taken)
        m.d.comb += [
            reads.eq((burst.accumulate != Accumulate.NONE) & (burst.kind == ItemKind.RUN)),
            self.ar.valid.eq(
                (self.i.valid & reads & (state == _State.REQUEST) & ~self.failed & ~self.flush)
                & (self.addressed & clear & room)
            ),
            *request_burst(config, self.ar.payload, burst),
            self.r.ready.eq(1),
            taken.eq(self.r.valid & (state == _State.READ)),
        ]
        passes = Signal()
        m.d.comb += [
            passes.eq(Mux(reads | self.failed, state == _State.PASS, 1)),
            self.o.valid.eq(self.i.valid & passes),
            self.i.ready.eq(self.o.ready & passes),
            self.o.payload.eq(burst),
            self.quiet.eq(state != _State.READ),
        ]
        with m.If(self.failed):
            m.d.comb += self.o.payload.kind.eq(ItemKind.TRAP)
        with m.If(taken & self.r.payload.resp[1] & ~self.failed):
            m.d.sync += self.failed.eq(1)
            m.d.sync += self.cause.eq(Mux(self.r.payload.resp[0], Trap.BUS_DECERR, Trap.BUS_SLVERR))
        with m.Switch(state):
            with m.Case(_State.REQUEST):
                with m.If(self.ar.valid & self.ar.ready):
                    m.d.sync += state.eq(_State.READ)
            with m.Case(_State.READ):
                with m.If(taken & self.r.payload.last):
                    m.d.sync += state.eq(Mux(self.flush, _State.REQUEST, _State.PASS))
            with m.Case(_State.PASS):
                with m.If(self.flush | (self.o.valid & self.o.ready)):
                    m.d.sync += state.eq(_State.REQUEST)
        with m.If(self.flush):
            m.d.sync += self.failed.eq(0)
        return m

    def _hold_beats(self, m, taken):
        """Two queues of beats, one behind the other; returns a flag that another burst has room.

        One queue of both depths would take twice the distributed RAM of the first. A register
        follows, since the adder's first stage is long enough without a memory in front of it.
        """
        config = self._config
        extra = config.max_burst_beats // 4
        depths = [config.max_burst_beats, extra] if extra else [config.max_burst_beats]
        queues = [StreamQueue(config.axi_data_width, depth) for depth in depths]
        for number, queue in enumerate(queues):
            m.submodules[f"beats_{number}"] = ResetInserter(self.flush)(queue)
        for queue, behind in pairwise(queues):
            wiring.connect(m, queue.o, behind.i)
        first, last = queues[0].i, queues[-1].o
        offered = Signal(config.axi_data_width, reset_less=True)
        m.d.comb += [
            last.ready.eq(~self.beats.valid | self.beats.ready),
            self.beats.payload.eq(offered),
            first.valid.eq(taken & ~self.flush & ~self.failed),
            first.payload.eq(self.r.payload.data),
        ]
        with m.If(last.ready):
            m.d.sync += [self.beats.valid.eq(last.valid), offered.eq(last.payload)]
        held = Signal(range(sum(depths) + 1))
        """Beats in the queues; what the register holds is room to spare."""
        m.d.sync += held.eq(held + first.valid - (last.valid & last.ready))
        with m.If(self.flush):
            m.d.sync += [held.eq(0), self.beats.valid.eq(0)]
        return held <= extra

    def _watch_order(self, m):
        """A flag that no write in flight can lie in the next burst."""
        burst = self.i.payload
        beat = burst.addr[exact_log2(self._config.bus_bytes) :]
        top = Signal(beat.shape(), reset_less=True)
        """Last beat of the last burst that was output."""
        ascending = Signal()
        """No burst that is not acknowledged reaches above `top`."""
        above = Signal()
        m.d.comb += above.eq(beat > top)
        with m.If(self.o.valid & self.o.ready & (burst.kind == ItemKind.RUN)):
            # A burst lies between multiples of its greatest length: no carry.
            span = exact_log2(self._config.max_burst_beats)
            m.d.sync += [
                top.eq(Cat((beat[:span] + burst.len)[:span], beat[span:])),
                ascending.eq(self.acknowledged | (ascending & above)),
            ]
        return self.acknowledged | ~burst.run_first | (ascending & above)
