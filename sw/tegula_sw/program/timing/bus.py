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


_RANK = 4
"""Turn of beats in a cycle, that of the load engine: it sees which banks those before it take."""

_HELD = {Reader.FETCH: 1, Reader.STORE: 1, Reader.LOAD: 2}
"""Requests that `tegula.bus.arbiter` holds."""


class ReadChannel:
    """Requests of all readers, one a cycle, and their beats, one a cycle in the same order.

    Parameters
    ----------
    clock
        Time.
    latency
        Cycles from a request to its first beat, at memory.
    bus
        Cycles from a reader to memory.

    Attributes
    ----------
    beats
        Beats so far.
    """

    def __init__(self, clock: Clock, latency: int, bus: int):
        self._clock, self._latency, self._bus = clock, latency, bus
        self._offers: dict[Reader, deque[_Offer]] = {reader: deque() for reader in Reader}
        self._free = dict.fromkeys(Reader, 0)
        self._last = -1
        self._taken, self._requested = Gate(clock), Gate(clock)
        self._bursts: deque[_Offer] = deque()
        self.beats = 0
        clock.start(self._arrive(), rank=_RANK)

    def room(self, reader: Reader) -> Generator[Gate, None, int]:
        """The cycle from which on a reader may request a burst."""
        while len(self._offers[reader]) >= _HELD[reader]:
            yield self._taken
        return self._free[reader]

    def offer(self, reader: Reader, beats: int, take: Take) -> None:
        """Request a burst in this cycle, in which there is `room`.

        Parameters
        ----------
        reader
            Whose request it is.
        take
            What becomes of the beats, when their turn has come.
        """
        due = self._clock.now + self._bus
        self._offers[reader].append(_Offer(due, beats, take))
        self._clock.call(due, self._grant, LAST)

    def _grant(self) -> None:
        now = self._clock.now
        due = [reader for reader, held in self._offers.items() if held and held[0].cycle <= now]
        if not due or self._last == now:
            return
        self._last, held = now, self._offers[due[0]]
        if len(held) == _HELD[due[0]]:
            self._free[due[0]] = now + 1
        offer = held.popleft()
        self._bursts.append(_Offer(now + self._latency, offer.beats, offer.take))
        self._taken.open(now)
        self._requested.open(now)
        if due[1:] or held:
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
