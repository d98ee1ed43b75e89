"""In-order retirement: signals of completed instructions, in program order."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout, traced
from tegula.lib.delay import delay
from tegula.lib.stream import StreamQueue

__all__ = ["Retirement"]


class Retirement(wiring.Component):
    """Signals of instructions, each sent when its instruction, and all before it, are complete.

    An instruction enters as a ticket when it starts, and retires when it is the oldest one, is
    complete, and its signal is taken. Latency: a signal is offered one cycle after the completion,
    so what was written in the cycle of `done` has landed for whatever the signal wakes; that of a
    ticket with `sync` one cycle after it was pushed. Throughput: an instruction a cycle.

    Reset drops all tickets: an engine resets its retirement to stop (`ResetInserter`).

    Parameters
    ----------
    config
        The tile.
    ticket
        A `ticket_layout`. With the field `signal`, only tickets where it is 1 send a signal, else
        all do. With the field `sync`, tickets where it is 1 are complete when they are the oldest,
        and have no completion of their own.
    depth
        Tickets that it holds.
    cycles
        Cycles from a ticket's push to its completion, at least 1; `None` if `done` marks it.

    Members
    -------
    tickets : In(stream of `ticket`)
        Instructions in program order, as they start.
    done : In(1)
        Without `cycles`: the oldest ticket that is neither complete nor a `sync` is complete now.
    signals : Out(stream of `signal_layout`)
        The signals.
    oldest : Out(`ticket`)
        The oldest ticket, if `level` is not 0.
    level : Out(range(depth + 1))
        Tickets held.
    unsent : Out(1)
        An instruction with a completion of its own is complete, and its signal is not sent yet.
    retired : Out(1)
        In a traced tile: the oldest instruction retires.
    """

    DEPTH = 8
    """Default of `depth`."""

    def __init__(
        self,
        config: TileConfig,
        ticket: data.StructLayout,
        *,
        depth: int = DEPTH,
        cycles: int | None = None,
    ):
        self._depth, self._cycles = depth, cycles
        self._trace = config.trace
        super().__init__(
            {
                "tickets": In(stream.Signature(ticket)),
                **({"done": In(1)} if cycles is None else {}),
                "signals": Out(stream.Signature(signal_layout(config))),
                "oldest": Out(ticket),
                "level": Out(range(depth + 1)),
                "unsent": Out(1),
                **traced(config, {"retired": Out(1)}),
            }
        )

    def elaborate(self, platform):
        """A queue of tickets, and a count of completions that none of them has used."""
        m = Module()
        oldest, fields = self.oldest, self.oldest.shape().members
        m.submodules.queue = queue = StreamQueue(oldest.shape(), self._depth)
        sync = oldest.sync if "sync" in fields else Const(0)
        signal = oldest.signal if "signal" in fields else Const(1)
        completed = Signal(range(self._depth + 1))
        complete, retire = Signal(), Signal()
        if self._cycles is None:
            done = self.done
        else:
            done = delay(m, self.tickets.valid & self.tickets.ready, self._cycles, "done")
        m.d.comb += [
            queue.i.payload.eq(self.tickets.payload),
            queue.i.valid.eq(self.tickets.valid),
            self.tickets.ready.eq(queue.i.ready),
            oldest.eq(queue.o.payload),
            self.level.eq(queue.level),
            self.unsent.eq(completed != 0),
            complete.eq(queue.o.valid & (sync | self.unsent)),
            self.signals.valid.eq(complete & signal),
            self.signals.payload.eq(oldest.update),
            retire.eq(complete & (~signal | self.signals.ready)),
            queue.o.ready.eq(retire),
        ]
        m.d.sync += completed.eq(completed + done - (retire & ~sync))
        if self._trace:
            m.d.comb += self.retired.eq(retire)
        return m
