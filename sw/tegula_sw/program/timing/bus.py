"""The memory port: reads and writes of a memory that answers after a fixed latency."""

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import IntEnum

from tegula_sw.program.timing.clock import LAST, Clock, Gate, Steps

__all__ = ["ReadChannel", "Reader", "Take", "WriteChannel"]


Take = Callable[[int, int], Generator[int, None, int]]
"""Reception of a burst: from the cycle of its first beat, and their number, to that of the last.

It may let time pass.
"""


class Reader(IntEnum):
    """Readers in falling priority (`tegula.bus.arbiter`)."""

    FETCH = 0
    STORE = 1
    LOAD = 2


@dataclass(frozen=True, slots=True)
class _Offer:
    """A request that memory has not taken; `take` as `ReadChannel.offer` has it."""

    cycle: int
    beats: int
    take: Take


class ReadChannel:
    """Requests of all readers, one a cycle, and their beats, one a cycle in the same order.

    Parameters
    ----------
    clock
        Time.
    latency
        Cycles from a request to its first beat.

    Attributes
    ----------
    beats
        Beats so far.
    """

    def __init__(self, clock: Clock, latency: int):
        self._clock, self._latency = clock, latency
        self._offers: dict[Reader, _Offer] = {}
        self._granted = dict.fromkeys(Reader, -1)
        self._taken, self._requested = Gate(clock), Gate(clock)
        self._bursts: deque[_Offer] = deque()
        self.beats = 0
        clock.start(self._arrive())

    def offer(self, reader: Reader, cycle: int, beats: int, take: Take) -> None:
        """Request a burst from `cycle` on.

        Parameters
        ----------
        reader
            Whose request it is; it has no other one.
        take
            What becomes of the beats, when their turn has come.
        """
        self._offers[reader] = _Offer(cycle, beats, take)
        self._clock.call(cycle, self._grant, LAST)

    def granted(self, reader: Reader) -> Generator[Gate, None, int]:
        """The cycle in which memory has taken the reader's last request."""
        while reader in self._offers:
            yield self._taken
        return self._granted[reader]

    def _grant(self) -> None:
        now = self._clock.now
        due = sorted(reader for reader, offer in self._offers.items() if offer.cycle <= now)
        if not due or max(self._granted.values()) == now:
            return
        offer = self._offers.pop(due[0])
        self._granted[due[0]] = now
        self._bursts.append(_Offer(now + self._latency, offer.beats, offer.take))
        self._taken.open(now)
        self._requested.open(now)
        if due[1:]:
            self._clock.call(now + 1, self._grant, LAST)

    def _arrive(self) -> Steps:
        free = 0
        while True:
            while not self._bursts:
                yield self._requested
            burst = self._bursts[0]
            first = max(burst.cycle, free)
            yield first
            self._bursts.popleft()
            free = (yield from burst.take(first, burst.beats)) + 1
            self.beats += burst.beats


class WriteChannel:
    """Answers to writes: in order, `latency` cycles after their last beat.

    Parameters
    ----------
    latency
        Cycles.
    """

    def __init__(self, latency: int):
        self._latency, self._free = latency, 0
        self.beats = 0

    def answer(self, last_beat: int, beats: int) -> int:
        """The cycle of the answer to a burst."""
        self._free = max(last_beat + self._latency, self._free)
        self.beats += beats
        answered = self._free
        self._free += 1
        return answered
