"""Recordings as a Chrome trace: JSON that Perfetto (https://ui.perfetto.dev) opens.

The format is that of "Trace Event Format" (Google, 2016): complete events (`ph` X) with `ts` and
`dur`, and metadata events (`ph` M) that name the threads. A thread here is a lane of an engine, or
the states of an engine. The unit of `ts` is a microsecond; here it stands for a cycle.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tegula.isa.instructions import GRANULE_BYTES
from tegula_sw.files.outputs import write_json
from tegula_sw.profile.recording import Recording, check_recordings
from tegula_sw.profile.spans import InstructionSpan, State, Track
from tegula_sw.profile.timeline import timeline

__all__ = ["chrome_trace", "write_chrome_trace"]

Event = dict[str, object]
"""A member of `traceEvents`."""

_PROCESS = 1
_PROGRAMS = "programs"


def _complete(
    thread: int, name: str, kind: str, start: int, end: int, **arguments: object
) -> Event:
    return {
        "ph": "X",
        "pid": _PROCESS,
        "tid": thread,
        "name": name,
        "cat": kind,
        "ts": start,
        "dur": end - start,
        "args": arguments,
    }


def _metadata(thread: int, kind: str, **arguments: object) -> Event:
    return {"ph": "M", "pid": _PROCESS, "tid": thread, "name": kind, "args": arguments}


def _instruction(thread: int, span: InstructionSpan, origin: int) -> Event:
    return _complete(
        thread,
        span.decoded.mnemonic,
        "instruction",
        origin + span.start,
        origin + span.end,
        pc=f"{span.pc_bytes:#x}",
        granule=span.pc_bytes // GRANULE_BYTES,
        assembly=span.text,
        begin=origin + span.begin,
        latency=span.end - span.begin,
    )


def _state(thread: int, state: State, start: int, end: int) -> Event:
    return _complete(thread, str(state), state.condition.name.lower(), start, end)


class _Threads:
    """Numbers of the threads, in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def metadata(self) -> Iterator[Event]:
        """Names and order."""
        for name, number in self._numbers.items():
            yield _metadata(number, "thread_name", name=name)
            yield _metadata(number, "thread_sort_index", sort_index=number)


def _track(threads: _Threads, name: str, track: Track, origin: int) -> Iterator[Event]:
    for lane, spans in track.lanes.items():
        thread = threads[lane]
        yield from (_instruction(thread, span, origin) for span in spans)
    thread = threads[f"{name}: state"]
    for start, end, state in track.states:
        yield _state(thread, state, origin + start, origin + end)


def chrome_trace(recordings: Sequence[Recording]) -> dict[str, object]:
    """The content of a trace file: the programs, one behind the other.

    Parameters
    ----------
    recordings
        Of one tile. The time between programs, which belongs to the host, is left out.

    Raises
    ------
    ValueError
        If there is no recording, or one does not hold a whole program.
    """
    check_recordings(recordings)
    threads, origin = _Threads(), 0
    events: list[Event] = []
    for number, recording in enumerate(recordings):
        end = origin + recording.cycles
        name = recording.label or f"program {number}"
        trap = {} if recording.trap is None else {"trap": str(recording.trap)}
        size = len(recording.program)
        events.append(
            _complete(threads[_PROGRAMS], name, "program", origin, end, bytes=size, **trap)
        )
        for engine, track in timeline(recording).tracks.items():
            events += _track(threads, engine.name.lower(), track, origin)
        origin = end
    process = _metadata(0, "process_name", name=f"tegula {recordings[0].config.name}")
    return {
        "traceEvents": [process, *threads.metadata(), *events],
        "displayTimeUnit": "ms",
        "otherData": {"unit": "1 us is one clock cycle", "cycles": origin},
    }


def write_chrome_trace(recordings: Sequence[Recording], path: Path | str) -> None:
    """Write a trace file; see `chrome_trace` and `outputs.write_json`.

    Raises
    ------
    ValueError
        If there is no recording, or one does not hold a whole program.
    """
    write_json(path, chrome_trace(recordings), indent=None)
