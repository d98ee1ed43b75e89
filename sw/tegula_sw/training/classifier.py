"""A classifier with one hidden layer, as programs: prepare, step, evaluate, save, restore.

All that a step needs from the step before stays in the scratchpad: weights, the optimizer's state,
scales, and the weights once more as operands of the array, where they are stored in another format
or transposed. A step loads samples and labels and stores its loss; nothing else moves.
"""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FP32, FloatFormat
from tegula.streams import stream_states
from tegula_sw.arrays import float_codes
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels import loss, pointwise, scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.linear import bias_grad, input_grad, linear, weight_grad
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import scaled_by
from tegula_sw.kernels.pointwise import gelu, gelu_grad, relu_grad, transpose
from tegula_sw.kernels.scaling import ScaledTensor
from tegula_sw.kernels.scratchpad import Scratchpad
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.parts import HiddenLayer, Operand, Parameter, temporary

__all__ = ["Addresses", "Classifier"]

_GRADIENT_SCALE = 2.0**12
_HIDDEN_SCALE = 2.0**4
"""Scales of the first step: a gradient is about 1 / batch, a hidden unit about 1."""

_MAX_CLASSES = 128


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a classifier's programs find their data in memory.

    Attributes
    ----------
    functions
        Those of `Classifier.functions`.
    state
        Image of the scratchpad, `Classifier.state_bytes`.
    samples
        (batch, inputs), codes of the forward format, row by row.
    labels
        (batch,) uint32, `kernels.loss.label_pattern`.
    loss
        fp32; with room for `Classifier.loss_bytes`.
    logits
        (batch, classes) float32.
    """

    functions: TableRecords
    state: int
    samples: int
    labels: int
    loss: int
    logits: int


class Classifier:
    """Programs and the layout of the scratchpad.

    Parameters
    ----------
    config
        The tile.
    settings
        Sizes, formats, optimizer.
    inputs, classes
        Elements of a sample, and how many classes there are.

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
    ):
        if not 2 <= classes <= _MAX_CLASSES:
            raise ValueError(f"classes must be 2 to {_MAX_CLASSES}, not {classes}")
        self.config, self.settings = config, settings
        self.inputs, self.classes = inputs, classes
        self._optimizer = settings.make_optimizer()
        self._fp8 = settings.format == "fp8"
        self._scratchpad = Scratchpad(config)
        self._initial: list[tuple[Matrix, np.ndarray]] = []
        self._allocate()

    # --- layout

    def _allocate(self) -> None:
        """Everything that outlives a step."""
        hidden, settings = self.settings.hidden, self.settings
        self._w1 = self._weight("w1", self.inputs, hidden, transposed=False)
        self._w2 = self._weight("w2", hidden, self.classes, transposed=True)
        self._b1 = self._bias("b1", hidden)
        self._b2 = self._bias("b2", self.classes)
        self._scalars = {
            name: self._constant(f"optimizer's {name}", self.config.n, 1, FP32, value).strip()
            for name, value in self._optimizer.scalars.items()
        }
        n = self.config.n
        self._ones = self._constant("ones", settings.batch, n, settings.forward_format, 1.0)
        self._generators = self._matrix("generators", n, 8, BF16)
        self._hidden_scale = self._dz_scale = self._da_scale = None
        if self._fp8:
            forward, gradient = settings.forward_format, settings.gradient_format
            self._hidden_scale = self._scaled("hidden", forward, _HIDDEN_SCALE)
            self._dz_scale = self._scaled("logits' gradient", gradient, _GRADIENT_SCALE)
            self._da_scale = self._scaled("hidden gradient", gradient, _GRADIENT_SCALE)
        self._state_words = self._scratchpad.end

    def _matrix(self, name: str, rows: int, columns: int, fmt: FloatFormat, **more: int) -> Matrix:
        return self._scratchpad.matrix(name, rows, columns, fmt, **more)

    def _constant(
        self, name: str, rows: int, columns: int, fmt: FloatFormat, value: float, **more: int
    ) -> Matrix:
        """A matrix of equal elements at first."""
        matrix = self._matrix(name, rows, columns, fmt, **more)
        content = np.full((rows, columns), value, np.float32)
        self._initial.append((matrix, float_codes(name, content, fmt)))
        return matrix

    def _scaled(self, name: str, fmt: FloatFormat, scale: float) -> ScaledTensor:
        n = self.config.n
        return ScaledTensor(
            fmt=fmt,
            scale=self._constant(f"scale of {name}", n, 1, FP32, scale),
            inverse=self._constant(f"inverse scale of {name}", n, 1, FP32, 1 / scale),
            largest=self._constant(f"largest magnitude of {name}", n, 1, BF16, 0.0),
        )

    def _weight(self, name: str, rows: int, columns: int, *, transposed: bool) -> Parameter:
        settings = self.settings
        value = self._matrix(name, rows, columns, settings.weight_format, packed=True)
        slots = self._slots(name, rows, columns)
        fmt = settings.forward_format
        operand = value
        if value.fmt != fmt:
            operand = self._matrix(f"{name} as an operand", rows, columns, fmt, packed=True)
        operand_t = None
        if transposed:
            title = f"{name} transposed"
            operand_t = self._scratchpad.matrix(title, columns, rows, fmt)
        scaled = self._scaled(name, fmt, 1.0) if self._fp8 else None
        return Parameter(
            value=value, slots=slots, operand=operand, operand_t=operand_t, scaled=scaled
        )

    def _bias(self, name: str, columns: int) -> Parameter:
        value = self._constant(name, self.config.n, columns, FP32, 0.0)
        return Parameter(value=value, slots=self._slots(name, self.config.n, columns))

    def _slots(self, name: str, rows: int, columns: int) -> dict[str, Matrix]:
        slots = {}
        for skew, slot in enumerate(self._optimizer.slots, 1):
            title = f"{slot} of {name}"
            slots[slot] = self._constant(title, rows, columns, FP32, 0.0, packed=True, skew=skew)
        return slots

    @property
    def functions(self) -> list[str]:
        """What the activation engine's table must have."""
        names = [*loss.FUNCTIONS, *self._optimizer.functions]
        names += scaling.FUNCTIONS if self._fp8 else ()
        names += pointwise.GELU_FUNCTIONS if self.settings.activation == "gelu" else ()
        return list(dict.fromkeys(names))

    @property
    def state_bytes(self) -> int:
        """Size of the image of the state."""
        return 2 * self.config.n * self._state_words

    @property
    def loss_bytes(self) -> int:
        """Room behind `Addresses.loss`."""
        return 4 + 4 * self.config.n

    @property
    def step_macs(self) -> int:
        """Multiply-accumulates of the products of a step."""
        batch, hidden = self.settings.batch, self.settings.hidden
        return batch * hidden * (2 * self.inputs + 3 * self.classes)

    def initial_state(self) -> np.ndarray:
        """Image of the state before the first step: uint16, (n, words).

        Weights are normal with variance 2 / inputs of their layer (He et al. 2015), cast to their
        format; biases, and the optimizer's state, are zero; generators start with the seed.
        """
        words = np.zeros((self.config.n, self._state_words), np.uint16)
        for matrix, codes in self._initial:
            matrix.place(words, codes)
        rng = np.random.default_rng(self.settings.seed)
        for parameter in (self._w1, self._w2):
            value = parameter.value
            drawn = rng.normal(0, np.sqrt(2 / value.rows), (value.rows, value.columns))
            value.place(words, float_codes(value.name, drawn.astype(np.float32), value.fmt))
        states = np.array(stream_states(self.settings.seed, self.config.n), np.uint32)
        self._generators.place(words, states.view(np.uint16).reshape(self.config.n, 8))
        return words

    def weights(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of w1, b1, w2 and b2 from an image of the state."""
        named = {"w1": self._w1, "b1": self._b1, "w2": self._w2, "b2": self._b2}
        codes = {name: parameter.value.codes(state) for name, parameter in named.items()}
        return {name: c[0] if name.startswith("b") else c for name, c in codes.items()}

    # --- programs

    def _builder(self, at: Addresses) -> KernelBuilder:
        return KernelBuilder(self.config, self._scratchpad, at.functions)

    def restore_program(self, at: Addresses) -> bytes:
        """Load the state, the function table and the generators."""
        b = self._builder(at)
        b.load_words(self._state_words, at.state)
        b.load_functions()
        b.load_generators(self._generators)
        return b.assemble()

    def prepare_program(self, at: Addresses) -> bytes:
        """Before the first step: scales of the weights, and their copies for the array."""
        b = self._builder(at)
        for parameter in (self._w1, self._w2):
            if parameter.scaled is not None:
                scaling.largest_magnitude(b, parameter.value, parameter.scaled)
                scaling.update_scale(b, parameter.scaled)
            for bands in parameter.value.spans():
                self._copy(b, parameter, bands)
        return b.assemble()

    def save_program(self, at: Addresses) -> bytes:
        """Store the state, generators included."""
        b = self._builder(at)
        b.save_generators(self._generators)
        b.store_words(self._state_words, at.state)
        return b.assemble()

    def evaluate_program(self, at: Addresses) -> bytes:
        """Logits of a batch."""
        b = self._builder(at)
        with ExitStack() as stack:
            layer = self._hidden(b, stack, self._load_transposed(b, stack, at))
            logits = self._logits(b, stack, layer.operand)
            b.store(logits, at.logits)
        return b.assemble()

    def step_program(self, at: Addresses) -> bytes:
        """A step of training: samples and labels in, loss out."""
        b = self._builder(at)
        with ExitStack() as stack:
            self._step(b, stack, at)
        return b.assemble()

    # --- parts of a step

    def _load_transposed(self, b: KernelBuilder, stack: ExitStack, at: Addresses) -> Matrix:
        """Samples with the inputs along the partitions, a band of samples at a time."""
        batch, n = self.settings.batch, self.config.n
        fmt = self.settings.forward_format
        samples_t = temporary(b, stack, "samples transposed", self.inputs, batch, fmt)
        for start in range(0, batch, n):
            b.load_transposed(samples_t, at.samples, range(start, min(start + n, batch)))
        return samples_t

    def _step(self, b: KernelBuilder, stack: ExitStack, at: Addresses) -> None:
        """Forward, loss, backward, update.

        The order within an engine is the order here, so what others wait for comes first.
        """
        settings = self.settings
        batch, hidden = settings.batch, settings.hidden
        samples_t = self._load_transposed(b, stack, at)
        labels = temporary(b, stack, "labels", batch, 1, FP32)
        b.load(labels, at.labels)
        samples = temporary(b, stack, "samples", batch, self.inputs, settings.forward_format)
        b.load(samples, at.samples)
        onehot = temporary(b, stack, "one-hot labels", batch, self.classes, FP32, skew=1)
        loss.one_hot(b, labels, onehot)

        layer = self._hidden(b, stack, samples_t)
        self._optimizer.begin(b, self._scalars)
        for parameter in (self._w1, self._w2, self._b1, self._b2):
            for bands in parameter.value.spans():
                self._optimizer.decay(b, parameter.slot_strips(bands))
        logits = self._logits(b, stack, layer.operand)
        dz = temporary(b, stack, "logits' gradient", batch, self.classes, BF16)
        dh = temporary(b, stack, "hidden gradient", batch, hidden, BF16)
        da = temporary(b, stack, "gradient before the activation", batch, hidden, BF16)
        with loss.softmax_gradient(b, logits, onehot, dz) as softmax:
            dz_operand = Operand(b, stack, dz, self._dz_scale)
            dz_operand.make_all()
            da_operand = Operand(b, stack, da, self._da_scale, transposes=False)

            def through_activation(band: int) -> None:
                if settings.activation == "relu":
                    relu_grad(b, layer.activated, dh, da, band)
                else:
                    gelu_grad(b, layer.before, dh, da, band)
                da_operand.make(band)

            scale = self._inverse(b, stack, self._dz_scale, self._w2)
            dz_t = dz_operand.transposed
            input_grad(b, dz_t, self._w2.operand_t, dh, scale=scale, then=through_activation)
            losses = temporary(b, stack, "losses", self.config.n, logits.bands, FP32)
            loss.mean_loss(b, softmax, losses)
            loss.total(b, losses, at.loss)

        for parameter in (self._w1, self._w2):
            if parameter.scaled is not None:
                scaling.update_scale(b, parameter.scaled)
        inverse = self._inverse(b, stack, self._hidden_scale, self._dz_scale)
        self._update_weight(b, self._w2, layer.operand.plain, dz_operand.plain, inverse)
        inverse_dz = self._inverse(b, stack, self._dz_scale)
        self._update_bias(b, self._b2, dz_operand.plain, inverse_dz)
        inverse_da = self._inverse(b, stack, self._da_scale)
        self._update_bias(b, self._b1, da_operand.plain, inverse_da)
        self._update_weight(b, self._w1, samples, da_operand.plain, inverse_da)
        for operand in (layer.operand, dz_operand, da_operand):
            operand.observe()

    def _hidden(self, b: KernelBuilder, stack: ExitStack, samples_t: Matrix) -> HiddenLayer:
        """The hidden layer, as an operand too."""
        shape = samples_t.columns, self.settings.hidden
        activated = temporary(b, stack, "hidden layer", *shape, BF16)
        is_relu = self.settings.activation == "relu"
        before = activated
        if not is_relu:
            before = temporary(b, stack, "before the activation", *shape, BF16)
        operand = Operand(b, stack, activated, self._hidden_scale)

        def activate(band: int) -> None:
            if not is_relu:
                gelu(b, before, activated, band)
            operand.make(band)

        linear(
            b,
            samples_t,
            self._w1.operand,
            self._b1.value,
            before,
            scale=self._w1.scaled.inverse.strip() if self._fp8 else None,
            relu=is_relu,
            then=activate,
        )
        return HiddenLayer(before, activated, operand)

    def _logits(self, b: KernelBuilder, stack: ExitStack, hidden: Operand) -> Matrix:
        hidden_t = hidden.transposed
        logits = temporary(b, stack, "logits", hidden_t.columns, self.classes, FP32)
        scale = self._inverse(b, stack, self._hidden_scale, self._w2)
        linear(b, hidden_t, self._w2.operand, self._b2.value, logits, scale=scale)
        return logits

    def _inverse(
        self,
        b: KernelBuilder,
        stack: ExitStack,
        first: ScaledTensor | None,
        second: ScaledTensor | Parameter | None = None,
    ) -> Strip | None:
        """The factor that takes the scales of one or two operands out of their product."""
        if first is None:
            return None
        if isinstance(second, Parameter):
            second = second.scaled
        if second is None:
            return first.inverse.strip()
        factor = temporary(b, stack, "inverse scales", self.config.n, 1, FP32).strip()
        scaling.product_of_inverses(b, factor, first, second)
        return factor

    # --- updates

    def _update_weight(
        self, b: KernelBuilder, parameter: Parameter, x: Matrix, dy: Matrix, scale: Strip | None
    ) -> None:
        """Each part's slots as it arises; its weights behind the slots of the next.

        So an instruction does not need what the one before it has still to write.
        """
        value = parameter.value
        waiting: list[tuple[range, tuple[int, int] | None]] = []

        def apply() -> None:
            for bands, part in waiting:
                weight = value.span(bands)
                self._optimizer.apply(
                    b,
                    weight if part is None else weight.slice(*part),
                    parameter.slot_strips(bands, part),
                    self._scalars,
                    self.settings.weight_rounding,
                )
            for bands, part in waiting:
                if part is None or part[1] == value.columns:
                    self._copy(b, parameter, bands)
            waiting.clear()

        for bands, columns, sums, steps in weight_grad(b, x, dy, scale=scale):
            part = None if columns == (0, value.columns) else columns
            slots = parameter.slot_strips(bands, part)
            self._optimizer.accumulate(b, slots, sums, steps)
            apply()
            waiting.append((bands, part))
        apply()
        if parameter.scaled is not None:
            scaling.largest_magnitude(b, value, parameter.scaled)

    def _copy(self, b: KernelBuilder, parameter: Parameter, bands: range) -> None:
        """Bands of a weight, as the array wants them."""
        value, operand = parameter.value, parameter.operand
        scale = parameter.scaled.scale.strip() if parameter.scaled else None
        if operand is not value:
            b.compute(operand.span(bands), value.span(bands), *scaled_by(scale), saturate=True)
        if parameter.operand_t is not None:
            for band in bands:
                transpose(b, value, parameter.operand_t, scale=scale, saturate=True, band=band)

    def _update_bias(
        self, b: KernelBuilder, parameter: Parameter, dy: Matrix, scale: Strip | None
    ) -> None:
        for columns, sums, steps in bias_grad(b, self._ones, dy, scale=scale):
            slots = parameter.slot_strips(range(1), columns)
            self._optimizer.accumulate(b, slots, sums, steps)
            value = parameter.value.strip().slice(*columns)
            self._optimizer.apply(b, value, slots, self._scalars, "nearest")
