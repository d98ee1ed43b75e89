"""Train on the digits with five seeds in every configuration that is claimed, and report.

Writes docs/accuracy.md and docs/images/rounding.png. Runs are kept in build/accuracy, and used
again when nothing but the number of workers has changed; all of them take an hour of two cores on
the golden device.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tegula.config import preset
from tegula.files import write_text
from tegula_sw.cli.arguments import ScriptParser, integer
from tegula_sw.cli.commands.common import make_device
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import Outputs, check_outputs, save_figure
from tegula_sw.training.log import read_log
from tegula_sw.training.parameters import TrainingSettings

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "build" / "accuracy"
PICTURE = ROOT / "docs" / "images" / "rounding.png"
DOCUMENT = ROOT / "docs" / "accuracy.md"
SEEDS = range(1, 6)

_SLOW = TrainingSettings(lr=0.001)
EXPERIMENTS = {
    "bf16": TrainingSettings(),
    "fp8": TrainingSettings(format="fp8"),
    "fp32 weights, lr 0.001": _SLOW,
    "bf16 weights, stochastic, lr 0.001": replace(_SLOW, weights="bf16", rounding="sr"),
    "bf16 weights, nearest even, lr 0.001": replace(_SLOW, weights="bf16"),
}
"""Name -> settings; the defaults are H = 64, B = 32, 20 epochs, SGD 0.9, lr 0.1."""

_ROUNDING = tuple(EXPERIMENTS)[2:]
"""Experiments that the picture shows."""


_TEXT = """\
# Accuracy on the digits

Written by `make accuracy` (`scripts/accuracy.py`); not edited by hand. The classifier of `tegula
train digits` with H = 64, B = 32, 20 epochs, SGD with momentum 0.9, and lr 0.1 unless another is
given, on the {device} device (both have the same bits). Each seed has a split, first weights and
order of samples of its own.

| configuration | test accuracy, % | seeds 1 to 5 |
|---|---|---|
{rows}

![accuracy by epoch](images/rounding.png)

At lr 0.001 most updates of a weight are smaller than half a unit in the last place of bf16: to
nearest even they are lost, stochastically they arrive on average. Lines are means, bands the range
of the seeds. Biases and momentum are fp32 in all of them.
"""


@dataclass(frozen=True)
class Run:
    """One configuration with one seed."""

    name: str
    seed: int
    device: str

    @property
    def settings(self) -> TrainingSettings:
        """Settings of the run."""
        return replace(EXPERIMENTS[self.name], seed=self.seed)

    @property
    def folder(self) -> Path:
        """Folder of its record."""
        words = "".join(c if c.isalnum() else "-" for c in self.name)
        return RUNS / f"{words}-{self.seed}"

    def accuracies(self) -> list[float]:
        """Accuracy after each epoch; empty if the run has not ended."""
        path = self.folder / "log.json"
        if not path.exists():
            return []
        found = [epoch.accuracy for epoch in read_log(path)["epochs"]]
        return found if len(found) == self.settings.epochs else []


def execute(run: Run) -> Run:
    """Train, from the beginning."""
    from tegula_sw.training.run import train

    shutil.rmtree(run.folder, ignore_errors=True)
    train(make_device(run.device, preset("small")), run.settings, run.folder)
    return run


def draw(path: Path, device: str) -> None:
    """Accuracy by epoch of three kinds of weights: mean, and range of the seeds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name in _ROUNDING:
        curves = 100 * np.array([Run(name, seed, device).accuracies() for seed in SEEDS])
        epochs = np.arange(curves.shape[1]) + 1
        (line,) = axes.plot(epochs, curves.mean(0), label=name.removesuffix(", lr 0.001"))
        axes.fill_between(
            epochs, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, linewidth=0
        )
    axes.set(
        xlabel="epoch",
        ylabel="test accuracy, %",
        title="How weights are kept: digits, bf16 operands, SGD with momentum, lr 0.001",
    )
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    save_figure(path, figure, dpi=150)


def report(device: str) -> str:
    """The document."""
    rows = []
    for name in EXPERIMENTS:
        last = [100 * Run(name, seed, device).accuracies()[-1] for seed in SEEDS]
        each = ", ".join(f"{accuracy:.1f}" for accuracy in last)
        rows.append(f"| {name} | **{np.mean(last):.2f}** | {each} |")
    return _TEXT.format(device=device, rows="\n".join(rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what has not run yet, then write the document."""
    parser = ScriptParser("accuracy", __doc__.splitlines()[0])
    parser.add_argument("--device", choices=("golden", "rtl"), default="golden")
    parser.add_argument(
        "--jobs", type=integer(1, 1024), default=os.cpu_count(), help="runs at a time"
    )
    options = parser.parse_args(arguments)
    check_outputs(("picture", str(PICTURE)), ("document", str(DOCUMENT)))
    runs = [Run(name, seed, options.device) for seed in SEEDS for name in EXPERIMENTS]
    todo = [run for run in runs if not run.accuracies()]
    print(f"{len(todo)} of {len(runs)} runs to do", flush=True)
    with ProcessPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(execute, run) for run in todo]):
            run = done.result()
            print(f"{run.name}, seed {run.seed}: {100 * run.accuracies()[-1]:.2f} %", flush=True)
    with Outputs() as outputs:
        with outputs.writing(PICTURE):
            draw(PICTURE, options.device)
        with outputs.writing(DOCUMENT):
            write_text(DOCUMENT, report(options.device))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("accuracy", main))
