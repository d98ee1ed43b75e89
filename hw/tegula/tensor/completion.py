"""Signals that wait for a pipeline to empty behind the instruction that they belong to."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout
from tegula.lib.delay import delay

__all__ = ["CompletionSignals"]


class CompletionSignals(wiring.Component):
    """Send each pushed signal `cycles` after its push, in order.

    Parameters
    ----------
    config
        The tile.
    cycles
        Depth of the pipeline that the signals wait for, at least 1.
    depth
        Signals that can wait.

    Members
    -------
    push : In(signal_layout), push_valid : In(1)
        A signal; only while `has_room`, or in the cycles of work begun while it had.
    signal : Out(stream of signal_layout)
        To the semaphores.
    has_room, pending : Out(1)
        Another instruction may begin; a signal is waiting.
    """

    def __init__(self, config: TileConfig, cycles: int, depth: int):
        self._cycles = cycles
        self._depth = depth
        layout = signal_layout(config)
        super().__init__(
            {
                "push": In(layout),
                "push_valid": In(1),
                "signal": Out(stream.Signature(layout)),
                "has_room": Out(1),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform):
        """A queue of signals, and a count of those whose time has come."""
        m = Module()
        queue = SyncFIFO(width=len(self.push.as_value()), depth=self._depth)
        m.submodules.queue = queue
        due = Signal(range(self._depth + 1))
        arrived = delay(m, self.push_valid, self._cycles, "arrived")
        sent = Signal()
        m.d.comb += [
            queue.w_data.eq(self.push),
            queue.w_en.eq(self.push_valid),
            self.signal.payload.eq(queue.r_data),
            self.signal.valid.eq(due != 0),
            sent.eq(self.signal.valid & self.signal.ready),
            # The instruction in work may still push one.
            self.has_room.eq(queue.level < self._depth - 1),
            self.pending.eq(queue.r_rdy),
            queue.r_en.eq(sent),
        ]
        m.d.sync += due.eq(due + arrived - sent)
        return m
