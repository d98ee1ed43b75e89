"""Cycles of programs by engine and state, as numbers and as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tegula.isa.instructions import Engine
from tegula_sw.profile.recording import Recording, check_recordings
from tegula_sw.profile.spans import Condition, State
from tegula_sw.profile.timeline import timeline

__all__ = ["Breakdown", "breakdown", "profile_table"]


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Cycles of the engines, summed over programs. `Engine.CONTROL` comes first.

    Attributes
    ----------
    cycles
        Doorbell to interrupt.
    instructions
        Those that each engine began.
    states
        Cycles by engine and state, which for each engine add up to `cycles`. States go by
        condition, then from the longest to the shortest.
    """

    cycles: int
    instructions: dict[Engine, int]
    states: dict[Engine, dict[State, int]]


def breakdown(recordings: Sequence[Recording]) -> Breakdown:
    """Cycles of the engines, summed over recordings.

    Raises
    ------
    ValueError
        If there is no recording, or one does not hold a whole program.
    """
    check_recordings(recordings)
    sums: dict[Engine, Counter[State]] = {}
    counts: Counter[Engine] = Counter()
    for recording in recordings:
        for engine, track in timeline(recording).tracks.items():
            sums.setdefault(engine, Counter()).update(track.states.totals())
            counts[engine] += sum(len(lane) for lane in track.lanes.values())

    def order(item: tuple[State, int]) -> tuple[int, int]:
        return item[0].condition.value, -item[1]

    return Breakdown(
        cycles=sum(recording.cycles for recording in recordings),
        instructions=dict(counts),
        states={engine: dict(sorted(found.items(), key=order)) for engine, found in sums.items()},
    )


def profile_table(recordings: Recording | Sequence[Recording]) -> str:
    """Per engine: how long it was busy, and why it was not; in cycles and as share of the total.

    Parameters
    ----------
    recordings
        A recording, or several, which are added up.

    Returns
    -------
    str
        Lines, each with its end.

    Raises
    ------
    ValueError
        If there is no recording, or one does not hold a whole program.
    """
    if isinstance(recordings, Recording):
        recordings = [recordings]
    sums = breakdown(recordings)
    width = max(len(str(state)) for states in sums.states.values() for state in states)

    def row(name: str, text: str, cycles: int) -> str:
        return f"{name:<11} {text:<{width}} {cycles:>12,} {cycles / sums.cycles:>7.1%}"

    title = (
        f"tile {recordings[0].config.name}: {_count(len(recordings), 'program')},"
        f" {_count(sum(sums.instructions.values()), 'instruction')},"
        f" {sums.cycles:,} cycles from doorbell to interrupt"
    )
    lines = [title, "", f"{'engine':<11} {'what it did':<{width}} {'cycles':>12} {'share':>7}"]
    for engine, states in sums.states.items():
        busy = [cycles for state, cycles in states.items() if state.condition is Condition.BUSY]
        label = f"busy ({_count(sums.instructions[engine], 'instruction')})"
        lines.append(row(engine.name.lower(), label, sum(busy)))
        for state, cycles in states.items():
            if state.condition is not Condition.BUSY:
                lines.append(row("", str(state), cycles))
            elif len(busy) > 1:
                lines.append(row("", f"  {state.cause}", cycles))
    return "".join(f"{line}\n" for line in lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
