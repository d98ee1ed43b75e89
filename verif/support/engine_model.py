"""Model of an engine behind the front end, free of any simulator.

Each of the two benches of the front end (Amaranth's simulator and cocotb) connects it to the ports:
once a cycle it notes what was transferred at the edge, calls `cycle`, and drives what follows.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tegula.control.semaphores import SIGNAL_PORTS
from tegula.engine.interface import TAG_BITS
from tegula.isa.instructions import PC_BITS, Engine
from tegula.isa.traps import CAUSE_BITS, Trap

__all__ = ["Accepted", "EngineModel"]

_TENSOR_LOAD = 1  # its signal goes out on the tensor engine's second port


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An instruction as an engine received it.

    `place` is its `pc`, which counts granules, below its sequence number.
    """

    engine: Engine
    place: int
    op: int
    signal: int
    signal_sem: int
    signal_value: int
    payload: int

    @property
    def pc(self) -> int:
        """Position in the program, in granules."""
        return self.place % (1 << PC_BITS)


class EngineModel:
    """An engine that executes its instructions in order, each for a random time.

    After a trap it waits for `stop`; `stop` drops its work, and it is idle at most `linger` cycles
    later.

    Parameters
    ----------
    durations
        Cycles of an instruction, equally likely.
    draw
        ``draw(count)`` is a random number, 0 to `count` - 1.

    Attributes
    ----------
    traps
        pc -> (cause, address): instructions that trap.
    durations
        As the parameter.
    outgoing
        (semaphore, value) of the signals of each port that are not taken yet, the oldest first.
    completed
        Instructions that are complete and signalled.
    """

    def __init__(
        self,
        engine: Engine,
        durations: tuple[int, ...],
        draw: Callable[[int], int],
        linger: int = 5,
    ):
        self.engine, self.durations, self.linger = engine, durations, linger
        self.traps: dict[int, tuple[Trap, int]] = {}
        self.completed = 0
        self.outgoing: list[deque] = [deque() for _ in range(SIGNAL_PORTS[engine])]
        self._draw = draw
        self._work: deque[list] = deque()
        self._is_trapped, self._lingering = False, 0

    @property
    def busy(self) -> bool:
        """There are instructions to execute."""
        return bool(self._work)

    @property
    def idle(self) -> bool:
        """Nothing is in flight."""
        return not (self._work or any(self.outgoing) or self._is_trapped or self._lingering)

    @property
    def has_room(self) -> bool:
        """An instruction can be taken, unless it is stopped."""
        return len(self._work) < 2 and not self._is_trapped

    def signal_taken(self, port: int) -> tuple[int, int]:
        """The oldest signal of a port was transferred: (semaphore, value)."""
        self.completed += 1
        return self.outgoing[port].popleft()

    def accept(self, item: Accepted) -> None:
        """An instruction was transferred."""
        self._work.append([self.durations[self._draw(len(self.durations))], item])

    def cycle(self, stop: int) -> int | None:
        """A cycle of execution; the trap record (`interface.trap_layout`) if it traps."""
        if stop:
            if self._work:
                self._lingering = self._draw(self.linger + 1)
            else:
                self._lingering = max(0, self._lingering - 1)
            self._work.clear()
            for queue in self.outgoing:
                queue.clear()
            self._is_trapped = False
        elif self._work and not self._is_trapped:
            return self._execute()
        return None

    def _execute(self) -> int | None:
        self._work[0][0] -= 1
        item: Accepted = self._work[0][1]
        if self._work[0][0] >= 0 or (item.pc in self.traps and any(self.outgoing)):
            return None  # signals of earlier instructions come before a trap
        self._work.popleft()
        if item.pc in self.traps:
            self._is_trapped = True
            return _trap_word(item.place, *self.traps[item.pc])
        if item.signal:
            second = self.engine == Engine.TENSOR and item.op == _TENSOR_LOAD
            self.outgoing[int(second)].append((item.signal_sem, item.signal_value))
        else:
            self.completed += 1
        return None


def _trap_word(place: int, cause: Trap, address: int) -> int:
    return cause | place << CAUSE_BITS | address << (CAUSE_BITS + TAG_BITS)
