"""Progress of the tile: the end of a program, and deadlock."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.engine.interface import TAG_BITS
from tegula.isa.instructions import ENGINE_BITS, ENGINES, Engine

__all__ = ["DRAINED_CYCLES", "QUIET_CYCLES", "STOPPED_CYCLES", "Progress"]

DRAINED_CYCLES = 1
"""Cycles from the first in which all is empty and idle to `drained`."""

STOPPED_CYCLES = 4
"""Cycles for which all must be empty and idle after a trap. `stop` is high at least as long, so an
engine may react to it some cycles late."""

QUIET_CYCLES = 16
"""Cycles after which a wait that is not over can only be ended by a new signal. The last seven
signals and the six waits that they may end take thirteen operations of the semaphores, one a cycle,
and one that is over is with its engine two cycles later."""


class Progress(wiring.Component):
    """Detection of the three ways in which all work can come to rest.

    An engine rests if it is idle and its queue is empty or waits. All engines at rest while
    dispatch is stuck is final but for the host: nothing but a signal ends a wait, and no engine is
    left that could send one. After `QUIET_CYCLES` of it the tile is `quiet`; if a wait is involved,
    then after `limit` cycles of it (and no fewer than `QUIET_CYCLES`) this is a deadlock, reported
    two cycles later.

    Parameters
    ----------
    config
        Gives the number of semaphores.

    Members
    -------
    run : In(1)
        While low, all counts begin anew.
    others : In(1)
        All other work is at rest: dispatch has ended, no signal and no fetch is in flight.
    stopping : In(1)
        The tile has trapped: `drained` needs `STOPPED_CYCLES` instead of one.
    idle, empty : In(5), waiting : In(6)
        Engines and queues, in the order of `ENGINES`, then control, which waits for a semaphore.
    head_tag : In(TAG_BITS) x 6, head_sem : In(range(semaphores)) x 6
        The waiting instruction and its semaphore, of each queue, and of control.
    signalled : In(1)
        A signal of the host is under way: nothing rests, and all counts of rest begin anew.
    stuck : In(1)
        Dispatch cannot go on until a queue has room.
    limit : In(32)
        The watchdog's time in cycles.
    drained : Out(1)
        All queues were empty, all engines idle and all others at rest in the cycle before.
    quiet : Out(1)
        All engines rest and dispatch is stuck, and have been for `QUIET_CYCLES`.
    deadlock : Out(1), deadlock_engine : Out(ENGINE_BITS)
    deadlock_tag : Out(TAG_BITS), deadlock_sem : Out(range(semaphores))
        Deadlock; the first engine that waits, or control, its instruction and its semaphore.
    """

    def __init__(self, config: TileConfig):
        engines = len(ENGINES)
        sem = range(config.semaphores)
        super().__init__(
            {
                "run": In(1),
                "others": In(1),
                "stopping": In(1),
                "idle": In(engines),
                "empty": In(engines),
                "waiting": In(engines + 1),
                "head_tag": In(TAG_BITS).array(engines + 1),
                "head_sem": In(sem).array(engines + 1),
                "signalled": In(1),
                "stuck": In(1),
                "limit": In(32),
                "drained": Out(1),
                "quiet": Out(1),
                "deadlock": Out(1),
                "deadlock_engine": Out(ENGINE_BITS),
                "deadlock_tag": Out(TAG_BITS),
                "deadlock_sem": Out(sem),
            }
        )

    def elaborate(self, platform):
        """Cycles of rest, and the first engine that waits."""
        m = Module()
        # From the cycle after its dispatch on an instruction is in a queue or its engine not idle.
        left = Signal(range(STOPPED_CYCLES), init=STOPPED_CYCLES - 1)
        at_rest = Signal()
        m.d.comb += at_rest.eq(self.run & self.others & (self.idle & self.empty).all())
        m.d.sync += self.drained.eq(at_rest & (~self.stopping | (left == 0)))
        with m.If(~at_rest | ~self.stopping):
            m.d.sync += left.eq(STOPPED_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

        # `resting` is a cycle late, so the count begins with that cycle.
        resting, passed = Signal(), Signal()
        rest_cycles = Signal(32, init=1)
        m.d.sync += resting.eq(
            self.run & self.stuck & (self.idle & (self.empty | self.waiting[: len(ENGINES)])).all()
        )
        with m.If(~self.run | ~resting | self.signalled):
            m.d.sync += [rest_cycles.eq(1), passed.eq(0), self.quiet.eq(0), self.deadlock.eq(0)]
        with m.Else():
            with m.If(~rest_cycles.all()):
                m.d.sync += rest_cycles.eq(rest_cycles + 1)
            # It counts up, so of all its values the first with these bits is the number itself.
            with m.If(rest_cycles[: exact_log2(QUIET_CYCLES)].all()):
                m.d.sync += self.quiet.eq(1)
            m.d.sync += [
                passed.eq(rest_cycles >= self.limit),
                self.deadlock.eq(self.quiet & passed & self.waiting.any()),
            ]

        for i, engine in reversed(list(enumerate((*ENGINES, Engine.CONTROL)))):
            with m.If(self.waiting[i]):
                m.d.comb += [
                    self.deadlock_engine.eq(engine),
                    self.deadlock_tag.eq(self.head_tag[i]),
                    self.deadlock_sem.eq(self.head_sem[i]),
                ]
        return m
