"""Signals of completed instructions, in program order."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout, traced

__all__ = ["CompletionQueue", "completion_layout"]


def completion_layout(config: TileConfig) -> data.StructLayout:
    """What is left to do at the end of an instruction; `sync`: it has no work of its own."""
    return data.StructLayout({"sync": 1, "signal": 1, "update": signal_layout(config)})


class CompletionQueue(wiring.Component):
    """Send the signal of each instruction when it, and all before it, are complete.

    Instructions are pushed as they start. `done` completes the oldest one with work of its own; one
    without work is complete when it is the oldest. Latency: a signal is offered one cycle after its
    `done`, so what was written in the cycle of `done` has landed for whoever the signal wakes.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    push : In(1), entry : In(completion_layout)
        An instruction has started; only while `room`.
    room : Out(1)
        Another instruction may start.
    done : In(1)
        An instruction has had its last effect in this cycle.
    clear : In(1)
        Forget everything.
    signals : Out(stream of signal_layout)
        The signals.
    level : Out(range(DEPTH + 1))
        Instructions in the queue.
    popped : Out(1)
        In a traced tile: the oldest instruction is complete, and its signal sent.
    """

    DEPTH = 8
    """Instructions between their start and their signal."""

    def __init__(self, config: TileConfig):
        self._layout = completion_layout(config)
        self._trace = config.trace
        super().__init__(
            {
                "push": In(1),
                "entry": In(self._layout),
                "room": Out(1),
                "done": In(1),
                "clear": In(1),
                "signals": Out(stream.Signature(signal_layout(config))),
                "level": Out(range(self.DEPTH + 1)),
                **traced(config, {"popped": Out(1)}),
            }
        )

    def elaborate(self, platform):
        """A ring of entries, and a count of completions not yet used."""
        m = Module()
        entries = Array(Signal(self._layout, name=f"entry_{slot}") for slot in range(self.DEPTH))
        first, free = Signal(range(self.DEPTH)), Signal(range(self.DEPTH))
        completed = Signal(range(self.DEPTH + 1))
        head = Signal(self._layout)
        complete, pop = Signal(), Signal()
        m.d.comb += [
            head.eq(entries[first]),
            self.room.eq(self.level != self.DEPTH),
            complete.eq((self.level != 0) & (head.sync | (completed != 0))),
            self.signals.valid.eq(complete & head.signal),
            self.signals.payload.eq(head.update),
            pop.eq(complete & (~head.signal | self.signals.ready)),
        ]
        if self._trace:
            m.d.comb += self.popped.eq(pop)
        with m.If(self.push):
            m.d.sync += [entries[free].eq(self.entry), free.eq(free + 1)]
        with m.If(pop):
            m.d.sync += first.eq(first + 1)
        m.d.sync += [
            self.level.eq(self.level + self.push - pop),
            completed.eq(completed + self.done - (pop & ~head.sync)),
        ]
        with m.If(self.clear):
            m.d.sync += [first.eq(0), free.eq(0), self.level.eq(0), completed.eq(0)]
        return m
