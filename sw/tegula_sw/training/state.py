"""State of a classifier in the scratchpad, from step to step."""

from typing import Unpack

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FP32, FloatFormat
from tegula.xor128 import stream_states
from tegula_golden.array_types import Codes, Floats, Words
from tegula_sw.arrays import float_codes
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.optimizers import Optimizer
from tegula_sw.kernels.scaling import ScaledTensor, Scales
from tegula_sw.kernels.scratchpad import Scratchpad, StorageOptions
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.parts import Parameter, Weight

__all__ = ["ClassifierState"]

_GRADIENT_SCALE = 2.0**12
_HIDDEN_SCALE = 2.0**4
"""Scales of the first step: a gradient is about 1 / batch, a hidden unit about 1."""


class ClassifierState:
    """Parameters, the optimizer's state, constants, scales and generators, at fixed addresses.

    Parameters
    ----------
    config
        The tile.
    settings
        Sizes and formats.
    inputs, classes
        Elements of a sample, and how many classes there are.
    optimizer
        Whose slots and scalars are kept.

    Attributes
    ----------
    scratchpad
        Its space; what is free is a step's.
    words
        Words of each partition that the state occupies, from 0 on.
    w1, w2, b1, b2
        The parameters.
    scalars
        The optimizer's.
    ones
        (batch, n), all 1.
    zeros
        (n, n), all 0.
    report
        Numbers that are finite after a good step, fp32 (n, columns): a column for the layers, and
        one for each slot that overflows by itself.
    generators
        The states of the random generators, while they are in the scratchpad.
    scales
        In fp8 those of w1, w2, the hidden layer and both gradients, else None.
    hidden_scale, dz_scale, da_scale
        The last three of them, or None.

    Raises
    ------
    ValueError
        If the tile is too small; the message says what does not fit.
    """

    def __init__(
        self,
        config: TileConfig,
        settings: TrainingSettings,
        inputs: int,
        classes: int,
        optimizer: Optimizer,
    ):
        self._config, self._settings = config, settings
        self._inputs, self._classes = inputs, classes
        self._optimizer = optimizer
        self.scratchpad = Scratchpad(config)
        self._initial: list[tuple[Matrix, Codes]] = []
        self._allocate()

    def _allocate(self) -> None:
        """Everything that outlives a step."""
        hidden, settings = self._settings.hidden, self._settings
        self.scales: Scales | None = None
        self.hidden_scale: ScaledTensor | None = None
        self.dz_scale: ScaledTensor | None = None
        self.da_scale: ScaledTensor | None = None
        weight_scales: tuple[ScaledTensor | None, ScaledTensor | None] = None, None
        if settings.format == "fp8":
            self.scales = self._allocate_scales()
            w1, w2, self.hidden_scale, self.dz_scale, self.da_scale = self.scales.tensors()
            weight_scales = w1, w2
        self.w1 = self._weight("w1", self._inputs, hidden, weight_scales[0], transposed=False)
        self.w2 = self._weight("w2", hidden, self._classes, weight_scales[1], transposed=True)
        self.b1 = self._bias("b1", hidden)
        self.b2 = self._bias("b2", self._classes)
        self.scalars = {
            name: self._constant(f"optimizer's {name}", self._config.n, 1, FP32, value).strip()
            for name, value in self._optimizer.scalars.items()
        }
        n = self._config.n
        self.ones = self._constant("ones", settings.batch, n, settings.forward_format, 1.0)
        self.generators = self.scratchpad.matrix("generators", n, 8, BF16)
        self.zeros = self._constant("zeros", n, n, settings.forward_format, 0.0)
        checks = len(self.parameters) * len(self._optimizer.hidden_overflow)
        self.report = self._constant("report", n, 1 + checks, FP32, 0.0)
        self.words = self.scratchpad.end

    def _constant(
        self,
        name: str,
        rows: int,
        columns: int,
        fmt: FloatFormat,
        value: float | Floats,
        **more: Unpack[StorageOptions],
    ) -> Matrix:
        """A matrix with this content, or of equal elements, at first."""
        matrix = self.scratchpad.matrix(name, rows, columns, fmt, **more)
        content = np.full((rows, columns), value, np.float32)
        self._initial.append((matrix, float_codes(name, content, fmt)))
        return matrix

    def _allocate_scales(self) -> Scales:
        forward, gradient = self._settings.forward_format, self._settings.gradient_format
        first = [(forward, 1.0), (forward, 1.0), (forward, _HIDDEN_SCALE)]
        first += [(gradient, _GRADIENT_SCALE)] * 2

        def store(name: str, content: Floats) -> Matrix:
            rows, columns = content.shape
            return self._constant(name, rows, columns, FP32, content)

        return Scales.make(self._config.n, first, self._settings.history, store)

    def _weight(
        self,
        name: str,
        rows: int,
        columns: int,
        scaled: ScaledTensor | None,
        *,
        transposed: bool,
    ) -> Weight:
        settings = self._settings
        value = self.scratchpad.matrix(name, rows, columns, settings.weight_format, packed=True)
        slots = self._slots(name, rows, columns)
        fmt = settings.forward_format
        operand = value
        if value.fmt != fmt:
            operand = self.scratchpad.matrix(
                f"{name} as an operand", rows, columns, fmt, packed=True
            )
        operand_t = None
        if transposed:
            title = f"{name} transposed"
            operand_t = self.scratchpad.matrix(title, columns, rows, fmt)
        return Weight(value=value, slots=slots, operand=operand, operand_t=operand_t, scaled=scaled)

    def _bias(self, name: str, columns: int) -> Parameter:
        value = self._constant(name, self._config.n, columns, FP32, 0.0)
        return Parameter(value=value, slots=self._slots(name, self._config.n, columns))

    def _slots(self, name: str, rows: int, columns: int) -> dict[str, Matrix]:
        slots = {}
        for skew, slot in enumerate(self._optimizer.slots, 1):
            title = f"{slot} of {name}"
            slots[slot] = self._constant(title, rows, columns, FP32, 0.0, packed=True, skew=skew)
        return slots

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters: w1, w2, b1, b2."""
        return self.w1, self.w2, self.b1, self.b2

    def slot_checks(self, parameter: Parameter) -> list[tuple[Matrix, Strip]]:
        """Slots of a parameter that may overflow while it stays finite, and their columns."""
        names = self._optimizer.hidden_overflow
        first = 1 + self.parameters.index(parameter) * len(names)
        columns = (self.report.strip().slice(c, c + 1) for c in range(first, first + len(names)))
        return list(zip((parameter.slots[name] for name in names), columns, strict=True))

    @property
    def size_bytes(self) -> int:
        """Size of the image of the state."""
        return 2 * self._config.n * self.words

    def initial(self) -> Words:
        """Image of the state before the first step: uint16, (n, words).

        Weights are normal with variance 2 / inputs of their layer (He et al. 2015), cast to their
        format; biases, and the optimizer's state, are zero; generators start with the seed.
        """
        words = np.zeros((self._config.n, self.words), np.uint16)
        for matrix, codes in self._initial:
            matrix.write_codes(words, codes)
        rng = np.random.default_rng(self._settings.seed)
        for parameter in (self.w1, self.w2):
            value = parameter.value
            drawn = rng.normal(0, np.sqrt(2 / value.rows), (value.rows, value.columns))
            value.write_codes(words, float_codes(value.name, drawn.astype(np.float32), value.fmt))
        states = np.array(stream_states(self._settings.seed, self._config.n), np.uint32)
        self.generators.write_codes(words, states.view(np.uint16).reshape(self._config.n, 8))
        return words

    def weights(self, state: Words) -> dict[str, Codes]:
        """Codes of w1, b1, w2 and b2 from an image of the state."""
        named = {"w1": self.w1, "b1": self.b1, "w2": self.w2, "b2": self.b2}
        codes = {name: parameter.value.codes(state) for name, parameter in named.items()}
        return {name: c[0] if name.startswith("b") else c for name, c in codes.items()}
