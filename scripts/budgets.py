"""The tracked file of areas and clock rates, verif/budgets/area.json, and comparison with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from tegula_sw.files.inputs import read_text
from tegula_sw.files.outputs import write_json

__all__ = ["BUDGETS", "GROWTH", "RESOURCES", "Budgets", "compare", "read_budgets", "write_budgets"]

BUDGETS = Path(__file__).resolve().parents[1] / "verif" / "budgets" / "area.json"

GROWTH = 0.05
"""Growth of a resource of a part, as a fraction of its budget, from which on it is an error."""

RESOURCES = ("sites", "FF", "DSP", "BRAM")
"""What has a budget."""


class Budgets(TypedDict):
    """Content of the file.

    Attributes
    ----------
    parts
        ECP5 resources of each part that `scripts.area` synthesises: its budget.
    parts_mhz
        Clock rate of parts that `scripts.synth --pnr` places and routes.
    tiles
        Resources, clock rates and worst paths of whole tiles, by preset: `scripts.pnr --record`.
    """

    parts: dict[str, dict[str, int]]
    parts_mhz: dict[str, float]
    tiles: dict[str, Any]


def read_budgets(path: Path = BUDGETS) -> Budgets:
    """The file's content; without a file, nothing in each of its tables.

    Raises
    ------
    ValueError
        If it is not JSON of this kind.
    """
    if not path.exists():
        return {"parts": {}, "parts_mhz": {}, "tiles": {}}
    try:
        content = json.loads(read_text(path))
        return {
            "parts": dict(content["parts"]),
            "parts_mhz": dict(content["parts_mhz"]),
            "tiles": dict(content["tiles"]),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of budgets: {error}") from None


def write_budgets(budgets: Budgets, path: Path = BUDGETS) -> None:
    """Write the file: names in order, so that a change is a difference of few lines."""
    ordered: Budgets = {
        "parts": dict(sorted(budgets["parts"].items())),
        "parts_mhz": dict(sorted(budgets["parts_mhz"].items())),
        "tiles": dict(sorted(budgets["tiles"].items())),
    }
    write_json(path, ordered, indent=1)


def compare(
    budgets: Mapping[str, Mapping[str, int]], found: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """What is wrong with the parts found, a line each; nothing if all are within their budgets."""
    wrong = []
    for part, resources in found.items():
        if part not in budgets:
            wrong.append(f"{part} has no budget")
            continue
        for name in RESOURCES:
            old, new = budgets[part][name], resources[name]
            if new > old * (1 + GROWTH):
                growth = f"{(new / old - 1):+.1%}" if old else "new"
                wrong.append(f"{part} has grown: {name} {old} -> {new} ({growth})")
    wrong += [f"{part} has a budget, but is no part" for part in budgets if part not in found]
    return wrong
