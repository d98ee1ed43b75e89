"""A classifier on a device: memory, programs, steps."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tegula_golden.array_types import Codes, Floats, Integers, Patterns, Words
from tegula_sw.devices.base import Device, RunResult, run_well
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels.loss import label_pattern
from tegula_sw.program.program import MemoryImage
from tegula_sw.training.classifier import Addresses, Classifier
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.staging import scaled_codes

__all__ = ["Session", "StepResult", "weights_hash"]


_SAVE_EVERY = 64
"""Most steps that are repeated when one is undone."""


@dataclass(frozen=True)
class StepResult:
    """Outcome of a step.

    Attributes
    ----------
    loss
        Mean loss of the batch, finite or not.
    cycles
        Those of the step's program; None on a device without a clock.
    skipped
        Whether the loss, or what the step made of the state, was not finite: then the state is as
        it was before.
    """

    loss: float
    cycles: int | None
    skipped: bool = False


def weights_hash(weights: dict[str, Codes]) -> str:
    """sha256 of the codes of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Batch:
    """Inputs of a step in memory."""

    codes: Codes
    inverses: Floats
    labels: Patterns


class Session:
    """A device with a classifier in its scratchpad.

    The host does no arithmetic on the way: it puts codes of samples and class numbers into memory,
    starts programs, and reads losses and logits.

    A step whose loss or report is not finite is undone: the state is loaded as it was last saved,
    and the steps since then are done again, which gives the same bits. The state is saved every 64
    steps.

    Parameters
    ----------
    device
        The tile.
    settings
        The classifier's.
    inputs, classes
        Elements of a sample, and how many classes there are.
    state
        An image from `save`; None: the initial one.

    Raises
    ------
    ValueError
        If the classifier does not fit the tile, or the image is of another one.
    """

    def __init__(
        self,
        device: Device,
        settings: TrainingSettings,
        inputs: int,
        classes: int,
        *,
        state: Words | None = None,
    ):
        self.device, self.settings = device, settings
        self.classifier = model = Classifier(device.config, settings, inputs, classes)
        image = MemoryImage()
        sample_bytes = settings.batch * inputs * settings.forward_format.width // 8
        initial = model.state.initial()
        if state is not None and (state.shape != initial.shape or state.dtype != initial.dtype):
            raise ValueError(
                f"the state is {state.dtype} {state.shape}, but this classifier's is"
                f" {initial.dtype} {initial.shape}"
            )
        batch = settings.batch
        self._at = Addresses(
            functions=TableRecords.add(device.config, model.functions, image),
            state=image.add(initial if state is None else state),
            samples=image.reserve(sample_bytes),
            inverses=image.reserve(4 * batch),
            labels=image.reserve(4 * batch),
            loss=image.reserve(model.loss_bytes),
            report=image.reserve(4 * model.report_size),
            logits=image.reserve(4 * batch * classes),
        )
        programs = {
            "restore": model.restore_program(self._at),
            "prepare": model.prepare_program(self._at),
            "step": model.step_program(self._at),
            "evaluate": model.evaluate_program(self._at),
            "save": model.save_program(self._at),
        }
        self._programs = {name: (image.add(code), len(code)) for name, code in programs.items()}
        self._image, self._memory = image, image.build()
        self._steps: list[_Batch] = []
        self._run("restore")
        if state is None:
            self._run("prepare")
            self._save()

    def _run(self, name: str) -> RunResult:
        return run_well(self.device, self._memory, *self._programs[name])

    def _put(self, address: int, content: Codes | Floats) -> None:
        raw = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        self._memory[address : address + raw.size] = raw

    def _put_samples(self, codes: Codes, inverses: Floats) -> None:
        self._put(self._at.samples, codes)
        self._put(self._at.inverses, inverses)

    def _run_step(self, batch: _Batch) -> RunResult:
        self._put_samples(batch.codes, batch.inverses)
        self._put(self._at.labels, batch.labels)
        return self._run("step")

    def _save(self) -> None:
        """Store the state in memory, from which steps are repeated."""
        self._run("save")
        self._steps.clear()

    def _undo(self) -> None:
        """Restore the state before the last step."""
        self._run("restore")
        for batch in self._steps:
            self._run_step(batch)
        self._save()

    def step(self, inputs: Floats, labels: Integers) -> StepResult:
        """Train on a batch: float32 (batch, inputs), and class numbers (batch,)."""
        batch, model = self.settings.batch, self.classifier
        if inputs.shape != (batch, model.inputs) or labels.shape != (batch,):
            raise ValueError(
                f"a step takes samples {(batch, model.inputs)} and labels {(batch,)}, not"
                f" {inputs.shape} and {labels.shape}"
            )
        if labels.min() < 0 or labels.max() >= model.classes:
            raise ValueError(
                f"labels must be 0 to {model.classes - 1}, not {labels.min()} to {labels.max()}"
            )
        codes, inverses = scaled_codes(inputs, self.settings.forward_format, each=False)
        patterns = np.array([label_pattern(int(label)) for label in labels], np.uint32)
        staged = _Batch(codes, inverses, patterns)
        cycles = self._run_step(staged).cycles
        loss = float(self._image.read(self._memory, self._at.loss, np.float32, (1,))[0])
        report = self._image.read(self._memory, self._at.report, np.float32, (model.report_size,))
        if not (np.isfinite(loss) and np.isfinite(report).all()):
            self._undo()
            return StepResult(loss, cycles, skipped=True)
        self._steps.append(staged)
        if len(self._steps) == _SAVE_EVERY:
            self._save()
        return StepResult(loss, cycles)

    def logits(self, inputs: Floats) -> Floats:
        """float32 (count, classes) for float32 (count, inputs), any count."""
        batch, model = self.settings.batch, self.classifier
        parts = [np.zeros((0, model.classes), np.float32)]
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            padded = np.zeros((batch, model.inputs), np.float32)
            padded[: len(part)] = part
            self._put_samples(*scaled_codes(padded, self.settings.forward_format, each=True))
            self._run("evaluate")
            shape = batch, model.classes
            logits = self._image.read(self._memory, self._at.logits, np.float32, shape)
            parts.append(logits[: len(part)])
        return np.concatenate(parts)

    def accuracy(self, inputs: Floats, labels: Integers) -> float:
        """Share of the samples whose largest logit is at their label; with a NaN there is none."""
        logits = self.logits(inputs)
        right = (logits.argmax(1) == labels) & ~np.isnan(logits).any(1)
        return float(np.mean(right))

    def save(self) -> Words:
        """Image of the state: uint16, (n, words)."""
        self._save()
        model = self.classifier
        shape = model.config.n, model.state.size_bytes // 2 // model.config.n
        return self._image.read(self._memory, self._at.state, np.uint16, shape)

    def weights(self) -> dict[str, Codes]:
        """Codes of w1, b1, w2 and b2, by name."""
        return self.classifier.state.weights(self.save())
