"""Conversion of recordings to spans."""

from enum import Enum

import numpy as np

from tegula.engine.trace import ACTIVITY_DOCS, CONTROL_FIELDS, ENGINE_FIELDS, Activity
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, Engine
from tegula.isa.tensor import STATIONARY_LOADS
from tegula_golden.array_types import Integers
from tegula_sw.profile.program_map import map_program
from tegula_sw.profile.recording import Recording
from tegula_sw.profile.spans import (
    Condition,
    InstructionSpan,
    State,
    StateSpans,
    Timeline,
    Track,
    merge,
)
from tegula_sw.profile.words import Words

__all__ = ["timeline"]

_LATE = 1
"""Cycles by which `busy`, `stall` and `activity` of an engine come after its `idle`."""

_CONDITION_SHIFT = 16


class _Idle(Enum):
    """Causes of an idle engine; the codes from HELD on are HELD + the engine that is the cause."""

    TAKING = 0
    FETCH = 1
    FINISHED = 2
    STOPPING = 3
    HELD = 4


class _FrontEnd(Enum):
    """States of control; the codes from FULL on are FULL + the engine whose queue is full."""

    DOORBELL = 0
    STOPPING = 1
    HALT = 2
    MOVING = 3
    MEMORY = 4
    FULL = 5


_IDLE_STATES = {
    _Idle.TAKING: State(Condition.IDLE, "takes an instruction"),
    _Idle.FETCH: State(Condition.IDLE, "queue empty, instructions on their way from memory"),
    _Idle.FINISHED: State(Condition.IDLE, "no instructions left"),
    _Idle.STOPPING: State(Condition.IDLE, "the program has trapped"),
}

_FRONT_END_STATES = {
    _FrontEnd.DOORBELL: State(Condition.IDLE, "the doorbell takes effect"),
    _FrontEnd.STOPPING: _IDLE_STATES[_Idle.STOPPING],
    _FrontEnd.HALT: State(Condition.WAIT, "halt, until all engines are idle"),
    _FrontEnd.MOVING: State(Condition.BUSY, "instructions move"),
    _FrontEnd.MEMORY: State(Condition.STALL, "no instruction has arrived from memory"),
}


def _codes(condition: Condition, details: Integers | int) -> Integers | int:
    return (condition.value << _CONDITION_SHIFT) + details


class _Reader:
    """The words of all ports, with cycles that count from the doorbell."""

    def __init__(self, recording: Recording):
        self.cycles = recording.cycles
        self.program = map_program(recording.program)
        self.control = self._running(recording)
        self.engines = {
            engine: self._words(recording, engine.name.lower(), ENGINE_FIELDS) for engine in ENGINES
        }
        self.held = self._held()
        self.halts, self.stops = (self._first(name) for name in ("halted", "stopping"))

    def _running(self, recording: Recording) -> Words:
        """Control's words. They tell which cycles are those of the program."""
        changes = recording.changes["control"]
        running = changes["word"] & np.uint64(1) == 1
        first = int(np.argmax(running))
        over = first + int(np.argmin(running[first:]))
        if not running.any() or running[over]:
            raise ValueError("the recording does not hold a whole program")
        # CYCLES begins with the doorbell; the last cycle that it counts is control's last.
        self._shift = int(changes["cycle"][over]) - recording.cycles
        self.begins = int(changes["cycle"][first]) - self._shift
        return self._words(recording, "control", CONTROL_FIELDS)

    def _words(self, recording: Recording, port: str, fields: dict[str, int]) -> Words:
        """Words from cycle 0 to before the interrupt."""
        changes = recording.changes[port]
        starts = changes["cycle"].astype(np.int64) - self._shift
        first = max(0, int(np.searchsorted(starts, 0, side="right")) - 1)
        stop = int(np.searchsorted(starts, recording.cycles))
        return Words(np.maximum(starts[first:stop], 0), changes["word"][first:stop], fields)

    def _held(self) -> Words:
        """The engine whose full queue holds up the dispatch, plus one; 0: none."""
        starts = np.unique(np.concatenate([words.starts for words in self.engines.values()]))
        held = np.zeros(len(starts), np.uint64)
        for engine, words in self.engines.items():
            held[words.field("full", starts) == 1] = engine + 1
        changed = np.concatenate(([True], held[1:] != held[:-1]))
        return Words(starts[changed], held[changed], {"engine": 8})

    def _first(self, name: str) -> int:
        """First cycle in which a field of control is 1, or the end."""
        cycles = self.control.events(name, 0, self.cycles)
        return int(cycles[0]) if len(cycles) else self.cycles

    def track(self, engine: Engine) -> Track:
        """Instructions and states of an engine."""
        words, name = self.engines[engine], engine.name.lower()
        begins = words.events("begin", 0, self.cycles)
        begins = begins[begins >= self.begins]
        positions = words.field("pc", begins).tolist()
        rows = list(zip(begins.tolist(), positions, strict=True))
        ports = {name: 0}
        if engine is Engine.TENSOR:
            ports[f"{name} (stationary)"] = 1
        lanes = {}
        for lane, port in ports.items():
            mine = [row for row in rows if self._port(row[1]) == port]
            lanes[lane] = self._instructions(mine, words.events("complete", port, self.cycles))
        last = rows[-1][0] + 1 if rows else 0
        finished = last if len(rows) == self.program.count[engine] else self.cycles
        return Track(lanes=lanes, states=self._states(engine, finished))

    def _port(self, position: int) -> int:
        """Bit of `complete` that tells of the instruction."""
        return int(self.program.decoded[position].mnemonic in STATIONARY_LOADS)

    def _instructions(
        self, rows: list[tuple[int, int]], completions: Integers
    ) -> list[InstructionSpan]:
        """Pair (begin, position) in order with completions.

        What never completes, after a trap, ends where the next begins, the last with the program.
        """
        ends = (completions[completions >= self.begins] + 1).tolist()
        ends += [begin for begin, _ in rows[len(ends) + 1 :]]
        ends += [self.cycles] * (len(rows) - len(ends))
        spans, before = [], 0
        for (begin, position), end in zip(rows, ends, strict=True):
            start = max(begin, before)
            end = max(end, start + 1)
            spans.append(
                InstructionSpan(
                    begin=begin,
                    start=start,
                    end=end,
                    pc_bytes=position * GRANULE_BYTES,
                    decoded=self.program.decoded[position],
                )
            )
            before = end
        return spans

    def _states(self, engine: Engine, finished: int) -> StateSpans:
        """States of the engine, from the words that concern it."""
        words = self.engines[engine]
        marks = (words.starts, words.starts - _LATE, self.control.starts, self.held.starts)
        starts = np.unique(np.concatenate((*marks, [0, min(finished, self.cycles - 1)])))
        starts = starts[(starts >= 0) & (starts < self.cycles)]
        work = starts + _LATE
        held = self.held.field("engine", starts)
        idle = np.select(
            (
                starts >= self.stops,
                words.field("empty", starts) == 0,
                starts >= finished,
                held != 0,
            ),
            (
                _Idle.STOPPING.value,
                _Idle.TAKING.value,
                _Idle.FINISHED.value,
                _Idle.HELD.value + held - 1,
            ),
            _Idle.FETCH.value,
        )
        activity = words.field("activity", work)
        waits = (words.field("idle", starts) & words.field("waiting", starts)) == 1
        # An empty queue shows a position that means nothing here, perhaps of an earlier program.
        semaphores = self.program.waits[np.where(waits, words.field("pc", starts), 0)]
        codes = np.select(
            (
                words.field("busy", work) == 1,
                words.field("stall", work) == 1,
                waits,
            ),
            (
                _codes(Condition.BUSY, activity),
                _codes(Condition.STALL, activity),
                _codes(Condition.WAIT, semaphores),
            ),
            _codes(Condition.IDLE, idle),
        )
        return merge(self.cycles, starts, codes, self._state)

    def _state(self, code: int) -> State:
        condition = Condition(code >> _CONDITION_SHIFT)
        detail = code & ((1 << _CONDITION_SHIFT) - 1)
        if condition in (Condition.BUSY, Condition.STALL):
            return State(condition, ACTIVITY_DOCS[Activity(detail)])
        if condition is Condition.WAIT:
            engines = self.program.signallers.get(detail, ())
            names = " and ".join(engine.name.lower() for engine in engines) or "the host, or nobody"
            return State(condition, f"semaphore {detail}, signalled by {names}")
        if detail >= _Idle.HELD.value:
            name = Engine(detail - _Idle.HELD.value).name.lower()
            return State(condition, f"queue empty, dispatch held up by the full {name} queue")
        return _IDLE_STATES[_Idle(detail)]

    def front_end(self) -> Track:
        """Control: what it dispatches, and `halt`, from the last dispatch to the interrupt."""
        control = self.control
        rows = []
        if self.halts < self.cycles:
            rows = [(self.halts, max(self.program.decoded))]
        marks = (control.starts, self.held.starts)
        starts = np.unique(np.concatenate((*marks, [0, self.begins])))
        starts = starts[starts < self.cycles]
        held = self.held.field("engine", starts)
        codes = np.select(
            (
                starts < self.begins,
                starts >= self.stops,
                starts >= self.halts,
                held != 0,
                control.field("moving", starts) == 1,
            ),
            (
                _FrontEnd.DOORBELL.value,
                _FrontEnd.STOPPING.value,
                _FrontEnd.HALT.value,
                _FrontEnd.FULL.value + held - 1,
                _FrontEnd.MOVING.value,
            ),
            _FrontEnd.MEMORY.value,
        )

        def name(code: int) -> State:
            if code < _FrontEnd.FULL.value:
                return _FRONT_END_STATES[_FrontEnd(code)]
            engine = Engine(code - _FrontEnd.FULL.value).name.lower()
            return State(Condition.STALL, f"the {engine} queue is full")

        return Track(
            lanes={"control": self._instructions(rows, np.empty(0, np.int64))},
            states=merge(self.cycles, starts, codes, name),
        )


def timeline(recording: Recording) -> Timeline:
    """Spans of all engines of a recording.

    Raises
    ------
    ValueError
        If it does not hold a whole program.
    """
    reader = _Reader(recording)
    tracks = {Engine.CONTROL: reader.front_end()}
    tracks.update((engine, reader.track(engine)) for engine in ENGINES)
    return Timeline(cycles=recording.cycles, tracks=tracks)
