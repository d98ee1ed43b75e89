"""Discrete events in cycles: processes that wait for a cycle or for a change."""

from collections.abc import Callable, Generator
from heapq import heappop, heappush

__all__ = ["LAST", "Clock", "Gate", "Steps"]

_RANKS = 8

LAST = _RANKS - 1
"""The last rank of a cycle; the first is 0."""


class Gate:
    """A change that processes wait for.

    Parameters
    ----------
    clock
        Its clock.
    """

    __slots__ = ("_clock", "_waiting")

    def __init__(self, clock: "Clock"):
        self._clock = clock
        self._waiting: list[tuple[Steps, int]] = []

    def wait(self, steps: "Steps", rank: int) -> None:
        """Let a process go on when the gate is opened next."""
        self._waiting.append((steps, rank))

    def open(self, cycle: int) -> None:
        """Let all that wait go on in `cycle`, or now if that is over."""
        if self._waiting:
            for steps, rank in self._waiting:
                self._clock.start(steps, cycle, rank)
            self._waiting.clear()


Steps = Generator["int | Gate", None, None]
"""A process: it yields the cycle in which it goes on, or the gate that it waits for."""


class Clock:
    """The order of events: by cycle, by rank, and in the order in which they were scheduled.

    Attributes
    ----------
    now
        The current cycle.
    """

    def __init__(self) -> None:
        self.now = 0
        self._number = 0
        self._events: list[tuple[int, int, Steps | Callable[[], None]]] = []

    def start(self, steps: Steps, cycle: int = 0, rank: int = 0) -> None:
        """Let a process go on in `cycle`, or now if that is over; it keeps its rank."""
        self._push(cycle, rank, steps)

    def call(self, cycle: int, action: Callable[[], None], rank: int = 0) -> None:
        """Call `action` in `cycle`, or now if that is over."""
        self._push(cycle, rank, action)

    def _push(self, cycle: int, rank: int, event: "Steps | Callable[[], None]") -> None:
        self._number += 1
        heappush(self._events, (max(cycle, self.now) * _RANKS + rank, self._number, event))

    def run(self) -> None:
        """Let time pass until nothing is left to happen."""
        events = self._events
        while events:
            key, _, event = heappop(events)
            self.now, rank = divmod(key, _RANKS)
            if callable(event):
                event()
                continue
            for wanted in event:
                if isinstance(wanted, Gate):
                    wanted.wait(event, rank)
                    break
                if wanted > self.now:
                    key = wanted * _RANKS + rank
                    if events and events[0][0] <= key:
                        self._push(wanted, rank, event)
                        break
                    self.now = wanted  # nothing else happens before
