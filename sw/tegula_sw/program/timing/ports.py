"""Signals of an engine, in order: `tegula.engine.retirement` in cycles."""

from collections import deque

from tegula_sw.program.timing.clock import Gate
from tegula_sw.program.timing.shared import Shared

__all__ = ["SignalPort"]


class SignalPort:
    """A port to the semaphores; a signal is offered a cycle after the completion.

    Parameters
    ----------
    shared, number
        Time and the semaphores, and which of their ports it is.

    Attributes
    ----------
    idle
        The cycle from which on all that were offered are taken.
    sent
        Opened when a signal is taken.
    """

    def __init__(self, shared: Shared, number: int):
        clock = shared.clock
        self._clock, self._semaphores, self._number = clock, shared.semaphores, number
        self._held: deque[tuple[int, dict[str, int]]] = deque()
        self._busy = False
        self._pending = 0
        self.idle = 0
        self.sent = Gate(clock)

    @property
    def empty(self) -> bool:
        """True if every signal is taken."""
        return not self._pending

    def complete(self, cycle: int, fields: dict[str, int]) -> None:
        """Completion of an instruction in `cycle`: its signal follows those before it."""
        if not fields["signal"]:
            return
        self._pending += 1
        self._held.append((cycle + 1, fields))
        if not self._busy:
            self._offer()

    def _offer(self) -> None:
        cycle, fields = self._held.popleft()
        self._busy = True
        self._semaphores.signal(self._number, cycle, fields, self._taken)

    def _taken(self) -> None:
        now = self._clock.now
        self._pending -= 1
        self.idle = now + 1
        self._busy = False
        self.sent.open(now + 1)
        if self._held:
            cycle, fields = self._held[0]
            self._held[0] = (max(cycle, now + 1), fields)
            self._offer()
