"""Spans: instructions in progress, and states of engines, in each cycle.

Cycle 0 is the doorbell, as the tile's CYCLES counts; the last is the one before the interrupt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tegula.isa.assembly import instruction_text
from tegula.isa.codec import Decoded
from tegula.isa.instructions import Engine
from tegula_golden.array_types import Integers

__all__ = ["Condition", "InstructionSpan", "State", "StateSpans", "Timeline", "Track", "merge"]


class Condition(Enum):
    """The four things that an engine can do in a cycle.

    BUSY, STALL and WAIT are those of the tile's counters. IDLE is the rest: the engine has nothing.
    """

    BUSY = 0
    STALL = 1
    WAIT = 2
    IDLE = 3


@dataclass(frozen=True)
class State:
    """Condition of an engine, and its cause."""

    condition: Condition
    cause: str

    def __str__(self) -> str:
        """Name of the state in tables and traces."""
        return f"{self.condition.name.lower()}: {self.cause}"


@dataclass(frozen=True, kw_only=True)
class InstructionSpan:
    """An instruction in progress, which overlaps no other of its lane.

    Attributes
    ----------
    begin
        Cycle in which the engine began it. It may begin while earlier ones are in progress.
    start, end
        From `begin`, or where the instruction before it was complete if that is later, to behind
        the cycle in which it was itself complete (or the program ended).
    pc_bytes
        Its position in the program.
    decoded
        The instruction.
    """

    begin: int
    start: int
    end: int
    pc_bytes: int
    decoded: Decoded

    @property
    def text(self) -> str:
        """Its line of assembly."""
        return instruction_text(self.decoded)


@dataclass(frozen=True, kw_only=True, eq=False)
class StateSpans:
    """States of an engine in each cycle: spans without gaps, neighbours differ.

    Attributes
    ----------
    starts, ends : integers, shape (spans,)
        A span is the cycles from its start to before its end.
    indices : integers, shape (spans,)
        State of each span: its place in `states`.
    states
        Those that occur.
    """

    starts: Integers
    ends: Integers
    indices: Integers
    states: tuple[State, ...]

    def __iter__(self) -> Iterator[tuple[int, int, State]]:
        """(start, end, state) of each span."""
        rows = (values.tolist() for values in (self.starts, self.ends, self.indices))
        for start, end, index in zip(*rows, strict=True):
            yield start, end, self.states[index]

    def totals(self) -> dict[State, int]:
        """Cycles of each state; they add up to those of the program."""
        lengths = self.ends - self.starts
        sums = np.bincount(self.indices, lengths, len(self.states)).astype(np.int64)
        return dict(zip(self.states, sums.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class Track:
    """An engine.

    Attributes
    ----------
    lanes
        Name -> instructions in program order. An engine has one lane, but the tensor engine, whose
        loads of the stationary operand run beside its other instructions, has two.
    states
        Its states.
    """

    lanes: dict[str, list[InstructionSpan]]
    states: StateSpans


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A program: its cycles, doorbell to interrupt, and its tracks.

    The tracks are those of `Engine.CONTROL`, then of `ENGINES`.
    """

    cycles: int
    tracks: dict[Engine, Track]


def merge(
    cycles: int, starts: Integers, codes: Integers, name: Callable[[int], State]
) -> StateSpans:
    """Spans of equal codes from spans that begin at `starts`; `name` gives the state of a code."""
    changed = np.concatenate(([True], codes[1:] != codes[:-1]))
    starts, codes = starts[changed], codes[changed]
    kinds, indices = np.unique(codes, return_inverse=True)
    return StateSpans(
        starts=starts,
        ends=np.append(starts[1:], cycles),
        indices=indices,
        states=tuple(name(int(code)) for code in kinds),
    )
