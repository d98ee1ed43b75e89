"""A timeline of programs as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tegula_sw.files.extras import require_extra
from tegula_sw.files.outputs import save_figure
from tegula_sw.profile.recording import Recording, check_recordings
from tegula_sw.profile.spans import Condition, InstructionSpan, StateSpans, Timeline
from tegula_sw.profile.timeline import timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SUFFIXES", "check_picture", "draw"]

SUFFIXES = (".png", ".svg", ".pdf")

_STATE_COLOURS = {
    Condition.BUSY: "#2a7f62",
    Condition.STALL: "#d1495b",
    Condition.WAIT: "#edae49",
    Condition.IDLE: "#e6e6e6",
}
_STATE_DOCS = {
    Condition.BUSY: "busy",
    Condition.STALL: "stall: has work, cannot proceed",
    Condition.WAIT: "wait: for a semaphore",
    Condition.IDLE: "idle: has nothing",
}
_INSTRUCTION_COLOURS = ("#5b8db8", "#a3c4dc")
"""Neighbours differ."""

_LANE, _STATE, _GAP = 0.55, 0.3, 0.25
"""Heights."""

_INCHES = 14.0
_CHARACTER_SHARE = 0.0052
"""Width of a character, as a share of that of the picture."""


def check_picture(path: Path | str) -> None:
    """Check that a picture of that name can be drawn.

    Raises
    ------
    ValueError
        If it ends in none of `SUFFIXES`.
    ModuleNotFoundError
        If matplotlib is missing, which extra `plots` brings.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a picture must end in {', '.join(SUFFIXES)}")
    require_extra("plots", "a picture")


def _draw_instructions(
    axes: "Axes", spans: list[tuple[int, int, str]], y: float, window: tuple[int, int]
) -> None:
    first, last = window
    shown = [(number, *span) for number, span in enumerate(spans) if _overlaps(span, window)]
    for parity, colour in enumerate(_INSTRUCTION_COLOURS):
        bars = [(start, end - start) for number, start, end, _ in shown if number % 2 == parity]
        axes.broken_barh(bars, (y, _LANE), facecolors=colour, edgecolors="white", linewidth=0.3)
    for _, start, end, name in shown:
        start, end = max(start, first), min(end, last)
        if end - start > len(name) * _CHARACTER_SHARE * (last - first):
            axes.text((start + end) / 2, y + _LANE / 2, name, ha="center", va="center", fontsize=7)


def _overlaps(span: tuple[int, int, str], window: tuple[int, int]) -> bool:
    return span[0] < window[1] and span[1] > window[0]


def _draw_states(
    axes: "Axes", states: StateSpans, origin: int, y: float, window: tuple[int, int]
) -> None:
    conditions = np.array([state.condition.value for state in states.states])[states.indices]
    starts, ends = states.starts + origin, states.ends + origin
    shown = (starts < window[1]) & (ends > window[0])
    for condition, colour in _STATE_COLOURS.items():
        mine = shown & (conditions == condition.value)
        bars = list(zip(starts[mine].tolist(), (ends - starts)[mine].tolist(), strict=True))
        axes.broken_barh(bars, (y, _STATE), facecolors=colour, linewidth=0)


def _lane(spans: list[InstructionSpan], origin: int) -> list[tuple[int, int, str]]:
    return [(origin + span.start, origin + span.end, span.decoded.mnemonic) for span in spans]


def _rows(timelines: list[Timeline]) -> list[tuple[str, float, str | None]]:
    """(label, y, lane or None for the states) of every row, from the top down."""
    rows: list[tuple[str, float, str | None]] = []
    y = 0.0
    for engine, track in timelines[0].tracks.items():
        for lane in track.lanes:
            y -= _LANE
            rows.append((lane, y, lane))
        y -= _STATE
        rows.append((engine.name.lower(), y, None))
        y -= _GAP
    return rows


def draw(
    recordings: Recording | Sequence[Recording],
    path: Path | str,
    window: tuple[int, int] | None = None,
    *,
    title: str | None = None,
) -> None:
    """Draw the instructions of each engine, and below them what it did.

    Parameters
    ----------
    recordings
        A recording, or several, which stand one behind the other as in `chrome_trace`.
    path
        The picture; its suffix, one of `SUFFIXES`, says which kind.
    window
        First cycle, and the one behind the last; None: all.
    title
        None: the tile and the number of cycles.

    Raises
    ------
    ValueError
        If there is nothing to draw, or `window` or `path` cannot be used.
    """
    from matplotlib.figure import Figure  # slow to import, and wanted by few
    from matplotlib.patches import Patch

    check_picture(path)
    if isinstance(recordings, Recording):
        recordings = [recordings]
    check_recordings(recordings)
    timelines = [timeline(recording) for recording in recordings]
    origins = np.cumsum([0, *(each.cycles for each in timelines)]).tolist()
    cycles = origins[-1]
    window = (0, cycles) if window is None else window
    if not 0 <= window[0] < window[1] <= cycles:
        raise ValueError(
            f"window {window[0]}:{window[1]} must be FIRST < END within cycles 0 to {cycles}"
        )

    rows = _rows(timelines)
    lowest = rows[-1][1]
    figure = Figure(figsize=(_INCHES, 1.4 - 0.55 * lowest), layout="constrained")
    axes = figure.add_subplot()
    for each, origin in zip(timelines, origins[:-1], strict=True):
        axes.axvline(origin, color="#888888", linewidth=0.6)
        lanes = {
            name: spans for track in each.tracks.values() for name, spans in track.lanes.items()
        }
        states = {engine.name.lower(): track.states for engine, track in each.tracks.items()}
        for label, y, lane in rows:
            if lane is None:
                _draw_states(axes, states[label], origin, y, window)
            else:
                _draw_instructions(axes, _lane(lanes[lane], origin), y, window)
    named = [(y + _LANE / 2, lane) for _, y, lane in rows if lane is not None]
    axes.set_yticks([y for y, _ in named], [lane for _, lane in named])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(*window)
    axes.set_ylim(lowest - _GAP, _GAP)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("cycles from the doorbell")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(title or f"tile {recordings[0].config.name}, {cycles:,} cycles", loc="left")
    figure.legend(
        handles=[Patch(color=colour, label=_STATE_DOCS[c]) for c, colour in _STATE_COLOURS.items()],
        loc="outside lower center",
        ncols=len(_STATE_COLOURS),
        frameon=False,
    )
    save_figure(path, figure, dpi=110)
