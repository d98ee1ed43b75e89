"""The log of a run: epochs, losses and cycles as JSON."""

import json
import reprlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypedDict, TypeVar

from tegula_sw.files.inputs import read_text
from tegula_sw.files.outputs import explained

__all__ = ["VERSION", "Epoch", "Log", "damaged", "parse_log", "read_log"]

VERSION = 2
"""Version of the format of state and log."""

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A pass over the data.

    Attributes
    ----------
    epoch
        Its number, from 1 on.
    loss
        Mean of its steps' losses, but for those that were skipped; None if all were.
    skipped
        How many were.
    accuracy
        Share of the test samples that are right after it.
    cycles
        Of its steps, doorbell to interrupt; None on a device without a clock.
    utilisation
        Multiply-accumulates of its steps per cycle, as a share of the array's; or None.
    sha256
        Of the weights after it (`session.weights_hash`).
    """

    epoch: int
    loss: float | None
    skipped: int
    accuracy: float
    cycles: int | None
    utilisation: float | None
    sha256: str


class Log(TypedDict):
    """Content of a log: settings, epochs and steps of a run."""

    settings: dict[str, object]
    device: str
    preset: str
    epochs: list[Epoch]
    losses: list[float | None]
    cycles: list[int | None]
    skipped: list[int]


def damaged(path: Path, error: Exception) -> ValueError:
    """The error of a file that is not what a run saves."""
    return ValueError(f"{path} is not what a run saves: {explained(error)}")


def read_log(path: Path) -> Log:
    """The log of a run, with its epochs as `Epoch`.

    Raises
    ------
    ValueError
        If it cannot be read, or is not what a run saves.
    """
    text = read_text(path)
    try:
        return parse_log(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from None


def parse_log(text: str) -> Log:
    """The content of a log.

    Raises
    ------
    ValueError
        If it is none; the message says why.
    """
    content = json.loads(text, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError("its log is no JSON object")
    version = content.get("version", 1)
    if version != VERSION:
        raise ValueError(f"it has version {version} of the format, not {VERSION}: begin again")
    log = Log(
        settings=_member(content, "settings", dict),
        device=_member(content, "device", str),
        preset=_member(content, "preset", str),
        epochs=[_epoch(*row) for row in enumerate(_member(content, "epochs", list), 1)],
        losses=[_optional("loss", loss, float) for loss in _member(content, "losses", list)],
        cycles=[_optional("cycles", number, int) for number in _member(content, "cycles", list)],
        skipped=[_typed("skipped step", step, int) for step in _member(content, "skipped", list)],
    )
    if any(not 1 <= step <= len(log["losses"]) for step in log["skipped"]):
        raise ValueError(f"its log has {len(log['losses'])} steps, skipped {log['skipped']}")
    if len(log["losses"]) != len(log["cycles"]):
        raise ValueError(f"its log has {len(log['losses'])} losses, {len(log['cycles'])} cycles")
    if any(cycles is not None and cycles < 1 for cycles in log["cycles"]):
        raise ValueError("its log has a step of no cycles")
    return log


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _typed(name: str, value: object, kind: type[_T]) -> _T:
    """A value of the type that it must have."""
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(f"its log has {name} {reprlib.repr(value)}")
    return value


def _optional(name: str, value: object, kind: type[_T]) -> _T | None:
    """A value of the type that it must have, or None."""
    return None if value is None else _typed(name, value, kind)


def _member(content: dict[str, object], name: str, kind: type[_T]) -> _T:
    """A member of an object, of the type that it must have."""
    if name not in content:
        raise ValueError(f"its log has no {name}")
    return _typed(name, content[name], kind)


def _epoch(number: int, values: object) -> Epoch:
    """An epoch of a log, the `number`th."""
    members = _typed("epoch", values, dict)
    names = {each.name for each in fields(Epoch)}
    if members.keys() != names or members["epoch"] != number:
        raise ValueError(f"its log has as epoch {number} {reprlib.repr(values)}")
    return Epoch(
        epoch=_typed("epoch", members["epoch"], int),
        loss=_optional("loss", members["loss"], float),
        skipped=_typed("skipped", members["skipped"], int),
        accuracy=_typed("accuracy", members["accuracy"], float),
        cycles=_optional("cycles", members["cycles"], int),
        utilisation=_optional("utilisation", members["utilisation"], float),
        sha256=_typed("sha256", members["sha256"], str),
    )
