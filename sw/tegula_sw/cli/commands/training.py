"""`tegula train`."""

import argparse
import os
from dataclasses import fields
from pathlib import Path

from tegula.config import preset
from tegula_sw.cli.commands.common import make_device, make_recorder
from tegula_sw.files.extras import require_extra
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text
from tegula_sw.profile.recording import Recorder

__all__ = ["train"]


def train(options: argparse.Namespace) -> None:
    """`tegula train`."""
    from tegula_sw.training.parameters import TrainingSettings
    from tegula_sw.training.record import FILES
    from tegula_sw.training.run import train as run_training

    require_extra("training", "training")  # before a device is built, which takes a minute
    settings = TrainingSettings(
        **{field.name: getattr(options, field.name) for field in fields(TrainingSettings)}
    )
    config = preset(options.preset)
    if options.out in (STDOUT, ""):
        raise ValueError(f"--out must be a folder, not {options.out!r}")
    folder = Path(options.out)
    picture = folder / "step.png"
    check_outputs(("--trace", options.trace))
    if options.trace is not None:
        own = [os.path.realpath(path) for path in (picture, *(folder / name for name in FILES))]
        if os.path.realpath(options.trace) in own:
            raise ValueError(f"{options.trace}: --trace and --out cannot both be written there")
    recorder = make_recorder(options, "training step")
    device = make_device(options.device, config, recorder=recorder)
    with Outputs() as outputs:
        try:
            record = run_training(
                device, settings, folder, resume=options.resume, recorder=recorder
            )
        finally:
            if recorder is not None and recorder.recordings:
                _write_step(outputs, recorder, options.trace, picture)
        last = record.epochs[-1]
        loss = "none" if last.loss is None else f"{last.loss:.4f}"
        lines = [f"epoch {last.epoch}: loss {loss}, test accuracy {100 * last.accuracy:.2f} %"]
        if record.skipped:
            lines.append(f"skipped steps: {len(record.skipped)} of {len(record.losses)}")
        if last.utilisation is not None:
            lines.append(f"utilisation of the array: {100 * last.utilisation:.1f} %")
        lines.append(f"sha256 of the weights: {last.sha256}")
        if options.trace != STDOUT:
            with outputs.writing(STDOUT):
                print_text("".join(f"{line}\n" for line in lines))


def _write_step(outputs: Outputs, recorder: Recorder, trace: str, picture: Path) -> None:
    """Trace, picture and table of a step of training."""
    from tegula_sw.profile.chrome import write_chrome_trace
    from tegula_sw.profile.picture import draw
    from tegula_sw.profile.table import profile_table

    with outputs.writing(trace):
        write_chrome_trace(recorder.recordings, trace)
    with outputs.writing(picture):
        draw(recorder.recordings, picture)
    if trace != STDOUT:
        with outputs.writing(STDOUT):
            print_text(profile_table(recorder.recordings))
