"""The in-order end of a DMA engine: signals, traps, and the way back to idle."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout, ticket_layout, traced, trap_layout
from tegula.lib.stream import StreamQueue

__all__ = ["Retirement"]


class Retirement(wiring.Component):
    """Send signals and raise a trap in program order, and flush the engine after a trap or `stop`.

    A trap waits until the signals of all earlier instructions are sent: it is precise.

    Parameters
    ----------
    config : TileConfig
    depth : int
        Instructions that may be in progress at a time.

    Members
    -------
    tickets : In(stream of `ticket_layout`)
        Instructions in the order in which they were begun.
    done : In(1)
        The oldest instruction that is not yet complete is complete now. Excludes `fault`.
    fault : In(1), fault_cause : In(4), fault_address : In(48)
        The oldest incomplete instruction cannot go on, and no effect is pending. Stable until
        `flush`.
    quiet : In(1)
        The engine has no transaction pending, apart from tickets.
    stop : In(1)
        As in `EngineSignature`.
    flush : Out(1)
        Drop all work; bus transactions that have begun are completed. High from `stop` or the trap
        until the engine is quiet and a `stop` is over.
    signals : Out(stream of `signal_layout`)
    trap : Out(trap_layout), trap_valid, idle : Out(1)
        As in `EngineSignature`; `idle` without regard to the instruction that may be waiting.
    retired : Out(1)
        In a traced tile: the oldest instruction is complete, and its signal sent.
    """

    def __init__(self, config: TileConfig, depth: int = 8):
        self._config = config
        self._depth = depth
        super().__init__(
            {
                "tickets": In(stream.Signature(ticket_layout(config))),
                "done": In(1),
                "fault": In(1),
                "fault_cause": In(4),
                "fault_address": In(48),
                "quiet": In(1),
                "stop": In(1),
                "flush": Out(1),
                "signals": Out(stream.Signature(signal_layout(config))),
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "idle": Out(1),
                **traced(config, {"retired": Out(1)}),
            }
        )

    def elaborate(self, platform):
        """Count completions, retire tickets, latch the flush."""
        m = Module()
        queue = StreamQueue(ticket_layout(self._config), self._depth)
        m.submodules.tickets = ResetInserter(self.flush)(queue)
        wiring.connect(m, wiring.flipped(self.tickets), queue.i)

        unsent = Signal(range(self._depth + 1))
        """Instructions that are complete and whose tickets still wait."""
        ticket = queue.o.payload
        retire = Signal()
        m.d.comb += [
            self.signals.valid.eq((unsent != 0) & ticket.signal),
            self.signals.payload.sem.eq(ticket.signal_sem),
            self.signals.payload.value.eq(ticket.signal_value),
            retire.eq((unsent != 0) & (~ticket.signal | self.signals.ready)),
            queue.o.ready.eq(retire),
        ]
        if self._config.trace:
            m.d.comb += self.retired.eq(retire & ~self.flush)
        with m.If(self.flush):
            m.d.sync += unsent.eq(0)
        with m.Else():
            m.d.sync += unsent.eq(unsent + self.done - retire)

        halted, draining = Signal(), Signal()
        m.d.comb += [
            self.trap_valid.eq(self.fault & (unsent == 0) & ~self.flush),
            self.trap.cause.eq(self.fault_cause),
            self.trap.pc.eq(ticket.pc),
            self.trap.address.eq(self.fault_address),
            self.flush.eq(self.stop | halted | draining),
            self.idle.eq(self.quiet & queue.empty & ~halted),
        ]
        with m.If(self.stop):
            m.d.sync += halted.eq(0)
        with m.Elif(self.trap_valid):
            m.d.sync += halted.eq(1)
        m.d.sync += draining.eq(self.stop | self.trap_valid | (draining & ~self.quiet))
        return m
