"""Train on the digits: epochs, progress, interruption and resumption."""

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path

import numpy as np

from tegula_golden.array_types import Codes, Integers
from tegula_sw.devices.base import Device, check_device, device_name, total_cycles
from tegula_sw.files.extras import require_extra
from tegula_sw.profile.recording import Recorder
from tegula_sw.training.data import CLASSES, INPUTS, digits
from tegula_sw.training.log import Epoch
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.record import Record
from tegula_sw.training.session import Session, StepResult, weights_hash

__all__ = ["TrainingStoppedError", "train"]


class TrainingStoppedError(RuntimeError):
    """A run that ended because too many steps in a row were skipped."""


class _Interrupts:
    """Ctrl-C, remembered until it suits; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """While the block runs in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def remember(_signal: int, _frame: object) -> None:
            self.wanted = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, remember)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _order(settings: TrainingSettings, epoch: int, count: int) -> Integers:
    """The samples of an epoch, in whole batches; those that are left over rest this time."""
    order = np.random.default_rng([settings.seed, epoch]).permutation(count)
    return order[: count - count % settings.batch].reshape(-1, settings.batch)


def train(
    device: Device,
    settings: TrainingSettings,
    folder: Path | str,
    *,
    resume: bool = False,
    recorder: Recorder | None = None,
) -> Record:
    """Train a classifier of the digits.

    An interruption (SIGINT) ends the run behind the step in progress; what was reached is
    saved, and a resumed run goes on to the same bits. A step whose results are not all finite is
    skipped (`Session`); too many in a row end the run, too.

    Parameters
    ----------
    device
        The tile that all arithmetic happens on.
    settings
        Network, optimizer, epochs.
    folder
        Where log, weights, state and picture go.
    resume
        Whether to go on with the run in `folder`.
    recorder
        The device's, if it has one: the second step is recorded.

    Raises
    ------
    ValueError
        If the classifier does not fit the tile, or the folder not the settings.
    KeyboardInterrupt
        After an interruption, when all is saved.
    TrainingStoppedError
        After `max_skips` skipped steps in a row, when all is saved.
    ModuleNotFoundError
        If a package is missing that extra `training` brings.
    """
    check_device(device)
    if not isinstance(settings, TrainingSettings):
        raise ValueError(f"settings must be TrainingSettings, not {settings!r}")
    if not isinstance(folder, str | PathLike):
        raise ValueError(f"folder must be a path, not {folder!r}")
    folder = Path(folder)
    require_extra("training", "training")
    train_samples, test_samples = digits(settings.seed)
    if settings.batch > len(train_samples):
        raise ValueError(f"batch must be at most {len(train_samples)}, not {settings.batch}")
    args = folder, settings, device_name(device), device.config.name
    record, state = Record.resume(*args) if resume else (Record.begin(*args), None)
    batches = len(train_samples) // settings.batch
    if len(record.losses) > settings.epochs * batches:
        epoch = -(-len(record.losses) // batches)
        raise ValueError(
            f"the run in {folder} is in epoch {epoch} already: epochs must be at least {epoch}, not"
            f" {settings.epochs}"
        )
    with _recorded(recorder, wanted=False), record.resuming(batches) if resume else nullcontext():
        session = Session(device, settings, INPUTS, CLASSES, state=state)
    interrupts = _Interrupts()
    with interrupts.deferred(), _Progress(settings.epochs * batches, len(record.losses)) as bar:
        for epoch in range(len(record.epochs) + 1, settings.epochs + 1):
            order = _order(settings, epoch, len(train_samples))
            for chosen in order[len(record.losses) - (epoch - 1) * batches :]:
                with _recorded(recorder, wanted=len(record.losses) > 0):
                    result = session.step(
                        train_samples.inputs[chosen], train_samples.labels[chosen]
                    )
                record.losses.append(result.loss if math.isfinite(result.loss) else None)
                record.cycles.append(result.cycles)
                if result.skipped:
                    record.skipped.append(len(record.losses))
                bar.step(result, len(record.skipped))
                stopped = result.skipped and record.skips_in_a_row >= settings.max_skips
                if interrupts.wanted or stopped:
                    state = session.save()
                    record.save(state, session.classifier.state.weights(state))
                if stopped:
                    raise TrainingStoppedError(
                        f"stopped in epoch {epoch}: {record.skips_in_a_row} steps in a row gave a"
                        f" loss, a gradient or a weight that is not finite; {folder} has the state"
                        " before them"
                    )
                if interrupts.wanted:
                    raise KeyboardInterrupt(
                        f"interrupted in epoch {epoch}, and saved: --resume goes on"
                    )
            state = session.save()
            weights = session.classifier.state.weights(state)
            accuracy = session.accuracy(test_samples.inputs, test_samples.labels)
            record.epochs.append(_epoch(record, session, epoch, batches, accuracy, weights))
            record.save(state, weights)
            bar.epoch(accuracy)
    record.draw()
    return record


@contextmanager
def _recorded(recorder: Recorder | None, *, wanted: bool) -> Iterator[None]:
    """Recording of the programs of the block, once, if it is wanted."""
    if recorder is None:
        yield
        return
    recorder.active = wanted and not recorder.recordings
    yield
    recorder.active = False


def _epoch(
    record: Record,
    session: Session,
    epoch: int,
    batches: int,
    accuracy: float,
    weights: dict[str, Codes],
) -> Epoch:
    steps = range(len(record.losses) - batches + 1, len(record.losses) + 1)
    skipped = set(record.skipped).intersection(steps)
    losses = np.array([record.losses[step - 1] for step in steps if step not in skipped], float)
    cycles = total_cycles(record.cycles[-batches:])
    macs = batches * session.classifier.step_macs
    peak = session.device.config.peak_macs_per_cycle
    return Epoch(
        epoch=epoch,
        loss=float(np.mean(losses)) if losses.size else None,
        skipped=len(skipped),
        accuracy=accuracy,
        cycles=cycles,
        utilisation=None if cycles is None else macs / (cycles * peak),
        sha256=weights_hash(weights),
    )


class _Progress:
    """A bar with loss, accuracy, skipped steps, and cycles a second; on a terminal only."""

    def __init__(self, steps: int, done: int):
        from tqdm import tqdm

        self._bar = tqdm(total=steps, initial=done, unit="step", disable=None, dynamic_ncols=True)
        self._cycles = 0
        self._accuracy: float | None = None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, result: StepResult, skipped: int) -> None:
        """A step is done; so many of all were skipped."""
        self._cycles += result.cycles or 0
        shown = {"loss": f"{result.loss:.3f}"}
        if skipped:
            shown["skipped"] = str(skipped)
        if self._accuracy is not None:
            shown["accuracy"] = f"{100 * self._accuracy:.1f} %"
        elapsed = self._bar.format_dict["elapsed"]
        if self._cycles and elapsed:
            shown["cycles/s"] = f"{self._cycles / elapsed:,.0f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def epoch(self, accuracy: float) -> None:
        """An epoch is done."""
        self._accuracy = accuracy
