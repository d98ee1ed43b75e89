"""The in-order end of a DMA engine: signals, traps, and the way back to idle."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout, ticket_layout, traced, trap_layout
from tegula.engine.retirement import Retirement

__all__ = ["TrapHold"]


class TrapHold(wiring.Component):
    """Send signals and raise a trap in program order, and flush the engine after a trap or `stop`.

    A trap waits until the signals of all earlier instructions are sent: it is precise.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    tickets : In(stream of `ticket_layout(config, "pc", "signal")`)
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

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "tickets": In(stream.Signature(ticket_layout(config, "pc", "signal"))),
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
        """Retire tickets, latch the flush."""
        m = Module()
        queue = Retirement(self._config, self.tickets.payload.shape())
        m.submodules.queue = ResetInserter(self.flush)(queue)
        wiring.connect(m, wiring.flipped(self.tickets), queue.tickets)
        wiring.connect(m, queue.signals, wiring.flipped(self.signals))
        m.d.comb += queue.done.eq(self.done)
        if self._config.trace:
            m.d.comb += self.retired.eq(queue.retired & ~self.flush)

        halted, draining = Signal(), Signal()
        m.d.comb += [
            self.trap_valid.eq(self.fault & ~queue.unsent & ~self.flush),
            self.trap.cause.eq(self.fault_cause),
            self.trap.pc.eq(queue.oldest.pc),
            self.trap.address.eq(self.fault_address),
            self.flush.eq(self.stop | halted | draining),
            self.idle.eq(self.quiet & (queue.level == 0) & ~halted),
        ]
        with m.If(self.stop):
            m.d.sync += halted.eq(0)
        with m.Elif(self.trap_valid):
            m.d.sync += halted.eq(1)
        m.d.sync += draining.eq(self.stop | self.trap_valid | (draining & ~self.quiet))
        return m
