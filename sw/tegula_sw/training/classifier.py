"""A classifier with one hidden layer, as programs: prepare, step, evaluate, save, restore.

All that a step needs from the step before stays in the scratchpad: weights, the optimizer's state,
scales, and the weights once more as operands of the array, where they are stored in another format
or transposed. A step loads samples and labels and stores its loss; nothing else moves.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.formats import BF16, FP32
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels import loss, pointwise, scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.linear import bias_grad, input_grad, linear, weight_grad
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import scaled_by
from tegula_sw.kernels.pointwise import gelu, gelu_grad, relu_grad, transpose
from tegula_sw.kernels.scaling import ScaledTensor
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.parts import HiddenLayer, Operand, Parameter, temporary
from tegula_sw.training.state import ClassifierState

__all__ = ["Addresses", "Classifier"]

_MAX_CLASSES = 128


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a classifier's programs find their data in memory.

    Attributes
    ----------
    functions
        Those of `Classifier.functions`.
    state
        Image of the scratchpad, `ClassifierState.size_bytes`.
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
    """Programs; `state` is where everything lies.

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
        self.state = ClassifierState(config, settings, inputs, classes, self._optimizer)

    @property
    def functions(self) -> list[str]:
        """What the activation engine's table must have."""
        names = [*loss.FUNCTIONS, *self._optimizer.functions]
        names += scaling.FUNCTIONS if self._fp8 else ()
        names += pointwise.GELU_FUNCTIONS if self.settings.activation == "gelu" else ()
        return list(dict.fromkeys(names))

    @property
    def loss_bytes(self) -> int:
        """Room behind `Addresses.loss`."""
        return 4 + 4 * self.config.n

    @property
    def step_macs(self) -> int:
        """Multiply-accumulates of the products of a step."""
        batch, hidden = self.settings.batch, self.settings.hidden
        return batch * hidden * (2 * self.inputs + 3 * self.classes)

    # --- programs

    def _builder(self, at: Addresses) -> KernelBuilder:
        return KernelBuilder(self.config, self.state.scratchpad, at.functions)

    def restore_program(self, at: Addresses) -> bytes:
        """Load the state, the function table and the generators."""
        b = self._builder(at)
        b.load_words(self.state.words, at.state)
        b.load_functions()
        b.load_generators(self.state.generators)
        return b.assemble()

    def prepare_program(self, at: Addresses) -> bytes:
        """Before the first step: scales of the weights, and their copies for the array."""
        b = self._builder(at)
        for parameter in (self.state.w1, self.state.w2):
            if parameter.scaled is not None:
                scaling.largest_magnitude(b, parameter.value, parameter.scaled)
                scaling.update_scale(b, parameter.scaled)
            for bands in parameter.value.spans():
                self._copy(b, parameter, bands)
        return b.assemble()

    def save_program(self, at: Addresses) -> bytes:
        """Store the state, generators included."""
        b = self._builder(at)
        b.save_generators(self.state.generators)
        b.store_words(self.state.words, at.state)
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
        shape = batch, self.classes
        onehot = temporary(b, stack, "one-hot labels", *shape, FP32, packed=True, skew=1)
        loss.one_hot(b, labels, onehot)

        layer = self._hidden(b, stack, samples_t)
        self._optimizer.begin(b, self.state.scalars)
        for parameter in (self.state.w1, self.state.w2, self.state.b1, self.state.b2):
            for bands in parameter.value.spans():
                self._optimizer.decay(b, parameter.slot_strips(bands))
        logits = self._logits(b, stack, layer.operand)
        dz = temporary(b, stack, "logits' gradient", batch, self.classes, BF16)
        dh = temporary(b, stack, "hidden gradient", batch, hidden, BF16)
        da = temporary(b, stack, "gradient before the activation", batch, hidden, BF16)
        with loss.softmax_gradient(b, logits, onehot, dz) as softmax:
            dz_operand = Operand(b, stack, dz, self.state.dz_scale)
            dz_operand.make_all()
            da_operand = Operand(b, stack, da, self.state.da_scale, transposes=False)

            def through_activation(band: int) -> None:
                if settings.activation == "relu":
                    relu_grad(b, layer.activated, dh, da, band)
                else:
                    gelu_grad(b, layer.before, dh, da, band)
                da_operand.make(band)

            scale = self._inverse(b, stack, self.state.dz_scale, self.state.w2)
            dz_t = dz_operand.transposed
            input_grad(b, dz_t, self.state.w2.operand_t, dh, scale=scale, then=through_activation)
            losses = temporary(b, stack, "losses", self.config.n, logits.bands, FP32)
            loss.mean_loss(b, softmax, losses)
            loss.total(b, losses, at.loss)

        for parameter in (self.state.w1, self.state.w2):
            if parameter.scaled is not None:
                scaling.update_scale(b, parameter.scaled)
        inverse = self._inverse(b, stack, self.state.hidden_scale, self.state.dz_scale)
        self._update_weight(b, self.state.w2, layer.operand.plain, dz_operand.plain, inverse)
        inverse_dz = self._inverse(b, stack, self.state.dz_scale)
        self._update_bias(b, self.state.b2, dz_operand.plain, inverse_dz)
        inverse_da = self._inverse(b, stack, self.state.da_scale)
        self._update_bias(b, self.state.b1, da_operand.plain, inverse_da)
        self._update_weight(b, self.state.w1, samples, da_operand.plain, inverse_da)
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
        operand = Operand(b, stack, activated, self.state.hidden_scale)

        def activate(band: int) -> None:
            if not is_relu:
                gelu(b, before, activated, band)
            operand.make(band)

        linear(
            b,
            samples_t,
            self.state.w1.operand,
            self.state.b1.value,
            before,
            scale=self.state.w1.scaled.inverse.strip() if self._fp8 else None,
            relu=is_relu,
            then=activate,
        )
        return HiddenLayer(before, activated, operand)

    def _logits(self, b: KernelBuilder, stack: ExitStack, hidden: Operand) -> Matrix:
        hidden_t = hidden.transposed
        logits = temporary(b, stack, "logits", hidden_t.columns, self.classes, FP32)
        scale = self._inverse(b, stack, self.state.hidden_scale, self.state.w2)
        linear(b, hidden_t, self.state.w2.operand, self.state.b2.value, logits, scale=scale)
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
                    self.state.scalars,
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
        for columns, sums, steps in bias_grad(b, self.state.ones, dy, scale=scale):
            slots = parameter.slot_strips(range(1), columns)
            self._optimizer.accumulate(b, slots, sums, steps)
            value = parameter.value.strip().slice(*columns)
            self._optimizer.apply(b, value, slots, self.state.scalars, "nearest")
