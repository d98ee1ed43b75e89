"""What a run leaves in its folder: log, weights, state, picture."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from zipfile import BadZipFile

import numpy as np

from tegula_sw.training.parameters import TrainingSettings

__all__ = ["Epoch", "Record"]

_LOG, _STATE, _WEIGHTS, _PICTURE = "log.json", "state.npz", "weights.npz", "curves.png"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A pass over the data.

    Attributes
    ----------
    epoch
        Its number, from 1 on.
    loss
        Mean of its steps' losses.
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
    loss: float
    accuracy: float
    cycles: int | None
    utilisation: float | None
    sha256: str


@dataclass(kw_only=True)
class Record:
    """A run's folder, and what has happened so far.

    Attributes
    ----------
    folder
        Where the files are.
    settings, device, preset
        What runs on what.
    losses, cycles
        Of each step.
    epochs
        Those that are complete.
    """

    folder: Path
    settings: TrainingSettings
    device: str
    preset: str
    losses: list[float] = field(default_factory=list)
    cycles: list[int | None] = field(default_factory=list)
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
        _make_writable(folder)
        return cls(folder=folder, settings=settings, device=device, preset=preset)

    @classmethod
    def resume(
        cls, folder: Path, settings: TrainingSettings, device: str, preset: str
    ) -> tuple["Record", np.ndarray]:
        """A run as its last `save` left it, and its state.

        Only the number of epochs, and the device, may be others than they were.

        Raises
        ------
        ValueError
            If there is no run, or other settings, or what was saved cannot be read, or the folder
            cannot be written to.
        """
        if not (folder / _STATE).exists():
            raise ValueError(f"{folder} has no run to resume")
        state, log = _load(folder / _STATE)
        _make_writable(folder)
        now = {"preset": preset, **asdict(settings)}
        before = {"preset": log["preset"], **log["settings"]}
        for name in now.keys() - {"epochs"}:
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
            epochs=[Epoch(**epoch) for epoch in log["epochs"]],
        )
        return record, state

    def save(self, state: np.ndarray, weights: dict[str, np.ndarray]) -> None:
        """Write log, state and weights. The state is whole, or as it was, whatever happens."""
        log = {
            "settings": asdict(self.settings),
            "device": self.device,
            "preset": self.preset,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "losses": self.losses,
            "cycles": self.cycles,
        }
        text = json.dumps(log, indent=1)
        _replace(self.folder / _STATE, state=state, log=np.array(text))
        _replace(self.folder / _WEIGHTS, **weights)
        (self.folder / _LOG).write_text(text + "\n")

    def draw(self) -> None:
        """Loss of the steps and accuracy of the epochs, as a picture."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        steps_per_epoch = len(self.losses) / max(1, len(self.epochs))
        places = (np.arange(len(self.losses)) + 1) / steps_per_epoch
        axes.plot(places, self.losses, color="tab:blue", linewidth=0.6, label="loss of a step")
        axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
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
        figure.savefig(self.folder / _PICTURE, dpi=150)


def _make_writable(folder: Path) -> None:
    """Find out before the work whether files can be made there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{folder} is no folder to write to: {error.strerror}") from None


def _load(path: Path) -> tuple[np.ndarray, dict]:
    """State and log as `Record.save` wrote them."""
    try:
        with path.open("rb") as file, np.load(file) as saved:
            return saved["state"], json.loads(str(saved["log"]))
    except (ValueError, LookupError, EOFError, TypeError, BadZipFile):
        raise ValueError(f"{path} is not what a run saves") from None


def _replace(path: Path, **arrays: np.ndarray) -> None:
    """Write a file beside the old one, then put it in its place."""
    beside = path.with_suffix(".new.npz")
    np.savez(beside, **arrays)
    os.replace(beside, path)
