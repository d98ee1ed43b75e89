"""Cycles of a training step: figures, table and picture for docs/training.md.

Steps of several configurations are counted on the RTL device (H = 64, B = 32, digits); the one in
bf16 is also recorded.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.readme import README, put_into
from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text
from tegula_sw.profile.picture import draw
from tegula_sw.profile.recording import Recorder
from tegula_sw.profile.table import Breakdown, breakdown
from tegula_sw.training.data import CLASSES, INPUTS, digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.session import Session

ROOT = Path(__file__).resolve().parents[1]
PRESET = preset("small")
DOCUMENT = ROOT / "docs" / "training.md"
PICTURE = ROOT / "docs" / "images" / "training_step.png"
STEPS = {
    "bf16, SGD": TrainingSettings(),
    "fp8, SGD": TrainingSettings(format="fp8"),
    "bf16, SGD, bf16 weights with stochastic rounding": TrainingSettings(
        weights="bf16", rounding="sr"
    ),
    "bf16, AdamW": TrainingSettings(optimizer="adamw"),
}
FIGURES = "<!-- figures: written by `make step` -->", "<!-- end of figures -->"
TABLE = "<!-- table: written by `make step` -->", "<!-- end of table -->"
IN_README = "<!-- step: written by `make step` -->", "<!-- end of step -->"


@dataclass(frozen=True)
class Measured:
    """A step's cycles, and how much of the array's work it is."""

    name: str
    cycles: int
    macs: int

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates per cycle, as a share of the array's."""
        return self.macs / (self.cycles * PRESET.peak_macs_per_cycle)

    def row(self) -> str:
        """A line of the table."""
        return f"| {self.name} | {self.cycles:,} | {self.utilisation:.1%} |"


def run_steps(name: str, settings: TrainingSettings, recorder: Recorder | None) -> Measured:
    """The second of two steps; recorded, if there is a recorder."""
    samples, _ = digits(settings.seed)
    batch = samples.inputs[: settings.batch], samples.labels[: settings.batch]
    if recorder is not None:
        recorder.active = False
    device = RtlDevice(PRESET, recorder=recorder)
    try:
        session = Session(device, settings, INPUTS, CLASSES)
        session.step(*batch)
        if recorder is not None:
            recorder.active = True
        cycles = session.step(*batch).cycles
    finally:
        device.close()
    assert cycles is not None, "the RTL has a clock"
    return Measured(name, cycles, session.classifier.step_macs)


def engine_table(found: Breakdown, step: Measured) -> str:
    """States of the tensor engine in the step, longest first, and busy cycles of the others."""
    lines = ["| tensor engine | cycles | share |", "|---|---|---|"]
    ideal = step.macs // PRESET.peak_macs_per_cycle

    def line(text: str, cycles: int) -> None:
        lines.append(f"| {text} | {cycles:,} | {cycles / found.cycles:.1%} |")

    states = found.states[Engine.TENSOR]
    moving = max(states.values())
    line("multiplies with all of the array", ideal)
    line("multiplies with a part of it (classes, sums of the biases)", moving - ideal)
    for state, cycles in sorted(states.items(), key=lambda item: -item[1])[1:]:
        line(str(state), cycles)
    lines += ["", "| engine | busy | share |", "|---|---|---|"]
    for engine, engine_states in found.states.items():
        busy = sum(
            cycles for state, cycles in engine_states.items() if state.condition.name == "BUSY"
        )
        line(engine.name.lower(), busy)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write."""
    ScriptParser("step", __doc__).parse_args(arguments)
    check_outputs(*(("an output", str(path)) for path in (PICTURE, DOCUMENT, README)))
    steps = [run_steps(name, settings, None) for name, settings in STEPS.items()]
    recorder = Recorder(label="training step")
    recorded = run_steps("bf16, SGD", TrainingSettings(), recorder)
    if recorded.cycles != steps[0].cycles:
        raise RuntimeError(f"the traced step takes {recorded.cycles} cycles, not {steps[0].cycles}")
    rows = ["| step | cycles | array utilisation |", "|---|---|---|", *(s.row() for s in steps)]
    figures = "\n".join(rows)
    details = engine_table(breakdown(recorder.recordings), recorded)
    with Outputs() as outputs:
        with outputs.writing(STDOUT):
            print_text(figures + "\n")
        with outputs.writing(PICTURE):
            draw(recorder.recordings, PICTURE)
        with outputs.writing(DOCUMENT):
            put_into(DOCUMENT, *FIGURES, figures)
            put_into(DOCUMENT, *TABLE, details)
        with outputs.writing(README):
            put_into(README, *IN_README, figures)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("step", main))
