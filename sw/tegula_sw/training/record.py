"""Files of a run: log, weights, state, picture."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from tegula.files import write_bytes
from tegula_golden.array_types import Codes, Words
from tegula_sw.arrays import archive_bytes, read_member
from tegula_sw.files.inputs import read_bytes
from tegula_sw.files.outputs import Outputs, json_text, make_folder, save_figure
from tegula_sw.training.log import VERSION, Epoch, Log, damaged, parse_log
from tegula_sw.training.parameters import TrainingSettings

__all__ = ["FILES", "Record"]

FILES = _LOG, _STATE, _WEIGHTS, _PICTURE = "log.json", "state.npz", "weights.npz", "curves.png"
"""Names of the files in the folder of a run."""


@dataclass(kw_only=True)
class Record:
    """A run's folder, and its progress so far.

    Attributes
    ----------
    folder
        Where the files are.
    settings, device, preset
        What runs on what.
    losses, cycles
        Of each step; a loss that is not finite is None.
    skipped
        Numbers of the steps, from 1 on, that were skipped.
    epochs
        Those that are complete.
    """

    folder: Path
    settings: TrainingSettings
    device: str
    preset: str
    losses: list[float | None] = field(default_factory=list)
    cycles: list[int | None] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, settings: TrainingSettings, device: str, preset: str) -> "Record":
        """A new run.

        Raises
        ------
        ValueError
            If the folder has one already, or cannot be written to.
        """
        if any((folder / name).exists() for name in (_STATE, _LOG)):
            raise ValueError(f"{folder} has a run already: resume it, or choose another folder")
        make_folder(folder)
        return cls(folder=folder, settings=settings, device=device, preset=preset)

    @classmethod
    def resume(
        cls, folder: Path, settings: TrainingSettings, device: str, preset: str
    ) -> tuple["Record", Words]:
        """A run as its last `save` left it, and its state.

        Only the numbers of epochs and of skips that end a run, and the device, may be others than
        they were.

        Raises
        ------
        ValueError
            If there is no run, or other settings, or what was saved cannot be read, or the folder
            cannot be written to.
        """
        if not (folder / _STATE).exists():
            raise ValueError(f"{folder} has no run to resume")
        state, log = _load(folder / _STATE)
        make_folder(folder)
        now = {"preset": preset, **asdict(settings)}
        before = {"preset": log["preset"], **log["settings"]}
        for name in now.keys() - {"epochs", "max_skips"}:
            if now[name] != before.get(name):
                raise ValueError(
                    f"the run in {folder} has {name} {before.get(name)}, not {now[name]}"
                )
        record = cls(
            folder=folder,
            settings=settings,
            device=device,
            preset=preset,
            losses=log["losses"],
            cycles=log["cycles"],
            skipped=log["skipped"],
            epochs=log["epochs"],
        )
        return record, state

    @property
    def skips_in_a_row(self) -> int:
        """Steps that were skipped since the last that was not."""
        taken = len(self.losses)
        while taken and taken in self.skipped:
            taken -= 1
        return len(self.losses) - taken

    @contextmanager
    def resuming(self, steps_per_epoch: int) -> Iterator[None]:
        """Check the log; in the block the state is used, and what is wrong with it is the file's.

        Raises
        ------
        ValueError
            If the log has more or fewer steps than its epochs, or the block raises one.
        """
        steps, whole = len(self.losses), len(self.epochs) * steps_per_epoch
        try:
            if not whole <= steps <= whole + steps_per_epoch:
                raise ValueError(f"its log has {len(self.epochs)} epochs and {steps} losses")
            yield
        except ValueError as error:
            raise damaged(self.folder / _STATE, error) from None

    def save(self, state: Words, weights: dict[str, Codes]) -> None:
        """Write state, weights and log, each of which is whole, or as it was, whatever happens.

        Raises
        ------
        OSError
            If one cannot be written; the others are.
        """
        log = {
            "version": VERSION,
            "settings": asdict(self.settings),
            "device": self.device,
            "preset": self.preset,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "losses": self.losses,
            "cycles": self.cycles,
            "skipped": self.skipped,
        }
        text = json_text(log, indent=1)
        contents: dict[str, bytes | memoryview] = {
            _STATE: archive_bytes(state=state, log=np.array(text)),
            _WEIGHTS: archive_bytes(**weights),
            _LOG: text.encode(),
        }
        with Outputs() as outputs:
            for name, content in contents.items():
                with outputs.writing(self.folder / name):
                    write_bytes(self.folder / name, content)

    def draw(self) -> None:
        """Loss of the steps and accuracy of the epochs, as a picture.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        steps_per_epoch = len(self.losses) / max(1, len(self.epochs))
        places = (np.arange(len(self.losses)) + 1) / steps_per_epoch
        losses = np.array(self.losses, float)  # None becomes NaN: a gap
        axes.plot(places, losses, color="tab:blue", linewidth=0.6, label="loss of a step")
        scale = "log" if np.any(losses > 0) else "linear"
        axes.set(xlabel="epoch", ylabel="training loss", yscale=scale)
        right = axes.twinx()
        right.plot(
            [epoch.epoch for epoch in self.epochs],
            [100 * epoch.accuracy for epoch in self.epochs],
            color="tab:orange",
            marker="o",
            markersize=3,
            label="test accuracy",
        )
        right.set_ylabel("test accuracy, %")
        settings = self.settings
        axes.set_title(
            f"digits, {settings.format}, {settings.optimizer}, weights {settings.weights}"
            f" {settings.rounding}, on {self.device}: {100 * self.epochs[-1].accuracy:.1f} %"
        )
        figure.legend(loc="outside lower center", ncols=2)
        try:
            save_figure(self.folder / _PICTURE, figure, dpi=150)
        except OSError as error:
            error.add_note("state, weights and log are saved")
            raise


def _load(path: Path) -> tuple[Words, Log]:
    """State and log as `Record.save` wrote them."""
    content = read_bytes(path)
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            state, text = (read_member(archive, name) for name in ("state", "log"))
        if state.dtype != np.uint16 or state.ndim != 2:
            raise ValueError(f"its state is {state.dtype} {state.shape}")
        return state, parse_log(str(text))
    except Exception as error:  # zipfile does not specify what a damaged archive raises
        raise damaged(path, error) from None
