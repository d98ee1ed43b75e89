"""Ways in which a memory makes the channels of its AXI4 port wait for each other.

docs/bus.md allows each of them. A coupling says in every cycle what may move in the next; what is
not coupled is free.
"""

from random import Random
from typing import Protocol

__all__ = [
    "COUPLINGS",
    "AddressAfterData",
    "AddressWithData",
    "Coupling",
    "DataAfterAddress",
    "Interleaved",
    "LateAnswers",
    "OneAtATime",
    "ReadsFirst",
    "Spells",
    "State",
    "WritesFirst",
]


class State(Protocol):
    """State that a coupling may read; `coupled_memory.CoupledMemory` has it.

    Attributes
    ----------
    cycle
        Cycles since reset.
    reading, writing
        Whether a read, a write is accepted in whole or in part and not answered.
    addressed, started, complete
        Whether a write has its address and not all of its data; data and no address; all of its
        data and no address.
    answering
        Whether a write is complete and not answered.
    waits
        Of "ar", "aw", "w" those on which something was offered and not taken.
    """

    cycle: int
    reading: bool
    writing: bool
    addressed: bool
    started: bool
    complete: bool
    answering: bool
    waits: set[str]


class Coupling:
    """Channels that move independently; others change one thing about it.

    Attributes
    ----------
    slowness
        Factor by which programs may take longer than on free channels.
    """

    slowness = 2

    def begin_cycle(self, state: State, random: Random) -> None:
        """Draw and remember what the other methods need."""

    def takes(self, channel: str, state: State) -> bool:
        """Readiness of "ar", "aw" or "w"."""
        return True

    def gives(self, channel: str, state: State) -> bool:
        """Permission for "r" or "b" to become valid."""
        return True

    def chooses(self, count: int, random: Random) -> int:
        """Index of the burst with the next beat, among `count` of different IDs in order of age."""
        return 0


class ReadsFirst(Coupling):
    """No beat of a write is taken, and no write answered, while a read is unanswered."""

    def takes(self, channel, state):
        """Hold write beats back."""
        return channel != "w" or not state.reading

    def gives(self, channel, state):
        """Hold answers to writes back."""
        return channel != "b" or not state.reading


class WritesFirst(Coupling):
    """No read beat is given while a write is unanswered."""

    def gives(self, channel, state):
        """Hold read beats back."""
        return channel != "r" or not state.writing


class OneAtATime(Coupling):
    """One transaction from its address to its answer, reads and writes in turn where both wait."""

    slowness = 4

    def __init__(self):
        self._writes = self._wrote = False

    def begin_cycle(self, state, random):
        """Choose whose turn it is, while nothing is on the bus."""
        if state.reading or state.writing:
            self._wrote = state.writing
        else:
            self._writes = bool(state.waits & {"aw", "w"}) and not (
                self._wrote and "ar" in state.waits
            )

    def takes(self, channel, state):
        """Take the address that was chosen, and the beats of a write that was."""
        if channel == "ar":  # raised for one that waits: else two might come at once
            return "ar" in state.waits and not (self._writes or state.reading or state.writing)
        taken = state.addressed if channel == "aw" else state.complete
        return self._writes and not (state.reading or state.answering or taken)


class AddressWithData(Coupling):
    """An address of a write is taken when its first beat has been seen."""

    def takes(self, channel, state):
        """Take beats with their address, and an address behind its first beat."""
        if channel == "w":
            return "aw" in state.waits or state.addressed
        return channel != "aw" or state.started or "w" in state.waits


class AddressAfterData(Coupling):
    """An address of a write is taken after its last beat."""

    def takes(self, channel, state):
        """Hold the address back."""
        return channel != "aw" or state.complete


class DataAfterAddress(Coupling):
    """A beat is taken after the address of its burst, which is taken in a tenth of the cycles."""

    slowness = 8

    def begin_cycle(self, state, random):
        """Draw whether addresses are taken."""
        self._rests = random.random() < 0.9

    def takes(self, channel, state):
        """Hold beats back."""
        if channel == "aw":
            return not self._rests
        return channel != "w" or state.addressed


class LateAnswers(Coupling):
    """Writes are answered in batches, 2500 cycles apart."""

    slowness = 60
    _period, _open = 2500, 40

    def gives(self, channel, state):
        """Open answers for some cycles of each period."""
        return channel != "b" or state.cycle % self._period < self._open


class Interleaved(Coupling):
    """Each beat may be of another ID than the one before."""

    def chooses(self, count, random):
        """Choose any ID."""
        return random.randrange(count)


class Spells(Coupling):
    """Each channel rests in 95 % of the cycles, for up to 600 at once."""

    slowness = 60

    def __init__(self):
        self._ends = dict.fromkeys(("ar", "aw", "w", "r", "b"), 0)
        self._rests = dict.fromkeys(self._ends, False)

    def begin_cycle(self, state, random):
        """End spells, and draw the length of the next."""
        for channel, end in self._ends.items():
            if state.cycle >= end:
                self._rests[channel] = not self._rests[channel]
                longest = 600 if self._rests[channel] else 31
                self._ends[channel] = state.cycle + random.randint(1, longest)

    def takes(self, channel, state):
        """Rest or not."""
        return not self._rests[channel]

    def gives(self, channel, state):
        """Rest or not."""
        return not self._rests[channel]


COUPLINGS = (
    ReadsFirst,
    WritesFirst,
    OneAtATime,
    AddressWithData,
    AddressAfterData,
    DataAfterAddress,
    LateAnswers,
    Interleaved,
    Spells,
)
"""Every way."""
