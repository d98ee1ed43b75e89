"""Progress of the tile: the end of a program, and deadlock."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import ENGINE_BITS, ENGINES, PC_BITS

__all__ = ["DRAINED_CYCLES", "QUIET_CYCLES", "Progress"]

DRAINED_CYCLES = 4
"""Cycles for which all must be empty and idle. It covers an instruction between queue and engine, a
last signal whose overflow is about to trap, and an engine that reacts to `stop` a cycle late."""

QUIET_CYCLES = 16
"""Cycles after which a wait that is not over can only be ended by a signal. With no signal in
flight the five waits are each tried every six cycles at least; one that the last signal ended is
over within twelve cycles of it."""


class Progress(wiring.Component):
    """Detection of the three ways in which all work can come to rest.

    An engine rests if it is idle and its queue is empty or waits. All engines at rest while
    dispatch is stuck is final: nothing but a signal ends a wait, and nothing is left that could
    send one. After `QUIET_CYCLES` of it the tile is `quiet`; if a wait is involved, then after
    `limit` cycles of it (and no fewer than `QUIET_CYCLES`) this is a deadlock.

    Parameters
    ----------
    config
        Gives the number of semaphores.

    Members
    -------
    run : In(1)
        While low, all counts begin anew.
    idle, empty, waiting : In(5)
        Engines and queues, in the order of `ENGINES`.
    head_pc : In(PC_BITS) x 5, head_sem : In(range(semaphores)) x 5
        The waiting instruction and its semaphore, of each queue.
    stuck : In(1)
        Dispatch cannot go on until a queue has room.
    limit : In(32)
        The watchdog's time in cycles.
    drained : Out(1)
        All queues are empty and all engines idle, and have been for `DRAINED_CYCLES`.
    quiet : Out(1)
        All engines rest and dispatch is stuck, and have been for `QUIET_CYCLES`.
    deadlock : Out(1), deadlock_engine : Out(ENGINE_BITS)
    deadlock_pc : Out(PC_BITS), deadlock_sem : Out(range(semaphores))
        Deadlock; the first engine that waits, its instruction and its semaphore.
    """

    def __init__(self, config: TileConfig):
        engines = len(ENGINES)
        sem = range(config.semaphores)
        super().__init__(
            {
                "run": In(1),
                "idle": In(engines),
                "empty": In(engines),
                "waiting": In(engines),
                "head_pc": In(PC_BITS).array(engines),
                "head_sem": In(sem).array(engines),
                "stuck": In(1),
                "limit": In(32),
                "drained": Out(1),
                "quiet": Out(1),
                "deadlock": Out(1),
                "deadlock_engine": Out(ENGINE_BITS),
                "deadlock_pc": Out(PC_BITS),
                "deadlock_sem": Out(sem),
            }
        )

    def elaborate(self, platform):
        """Cycles of rest, and the first engine that waits."""
        m = Module()
        drained_cycles = Signal(range(DRAINED_CYCLES + 1))
        at_rest = Signal()
        m.d.comb += at_rest.eq(self.run & (self.idle & self.empty).all())
        with m.If(~at_rest):
            m.d.sync += drained_cycles.eq(0)
        with m.Elif(~self.drained):
            m.d.sync += drained_cycles.eq(drained_cycles + 1)
        # The present cycle counts too: an instruction may have been dispatched in the last one.
        m.d.comb += self.drained.eq(at_rest & (drained_cycles == DRAINED_CYCLES))

        resting = Signal()
        rest_cycles = Signal(32)
        m.d.comb += resting.eq(self.stuck & (self.idle & (self.empty | self.waiting)).all())
        with m.If(~self.run | ~resting):
            m.d.sync += [rest_cycles.eq(0), self.quiet.eq(0), self.deadlock.eq(0)]
        with m.Else():
            with m.If(~rest_cycles.all()):
                m.d.sync += rest_cycles.eq(rest_cycles + 1)
            with m.If(rest_cycles == QUIET_CYCLES - 1):
                m.d.sync += self.quiet.eq(1)
            with m.If(self.quiet & (rest_cycles >= self.limit)):
                m.d.sync += self.deadlock.eq(self.waiting.any())

        for i, engine in reversed(list(enumerate(ENGINES))):
            with m.If(self.waiting[i]):
                m.d.comb += [
                    self.deadlock_engine.eq(engine),
                    self.deadlock_pc.eq(self.head_pc[i]),
                    self.deadlock_sem.eq(self.head_sem[i]),
                ]
        return m
