"""A classifier with one hidden layer, as programs: prepare, step, evaluate, save, restore.

All that a step needs from the step before stays in the scratchpad: weights, the optimizer's state,
scales, and the weights once more as operands of the array, where they are stored in another format
or transposed. A step loads samples and labels and stores its loss and a report; nothing else moves.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.formats import BF16, FP32
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels import loss, pointwise, scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.linear import input_grad, linear
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.pointwise import gelu, gelu_grad, relu_grad
from tegula_sw.kernels.scaling import RowScales, Scale, ScaledTensor
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.parts import HiddenLayer, Inverses, Operand, temporary
from tegula_sw.training.state import ClassifierState
from tegula_sw.training.updates import Updates, copy_weight, transpose_weight

__all__ = ["Addresses", "Classifier"]

_MAX_CLASSES = 128


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Addresses of a classifier's data in memory.

    Attributes
    ----------
    functions
        Those of `Classifier.functions`.
    state
        Image of the scratchpad, `ClassifierState.size_bytes`.
    samples
        (batch, inputs), codes of the forward format, row by row.
    inverses
        (batch,) float32, in fp8: what the codes of each sample are multiplied by; in a step one for
        all.
    labels
        (batch,) uint32, `kernels.loss.label_pattern`.
    loss
        fp32; with room for `Classifier.loss_bytes`.
    report
        float32, `Classifier.report_size` numbers that are finite after a good step.
    logits
        (batch, classes) float32.
    """

    functions: TableRecords
    state: int
    samples: int
    inverses: int
    labels: int
    loss: int
    report: int
    logits: int


class Classifier:
    """Programs of a classifier; `state` has the addresses of its matrices.

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

    def __init__(self, config: TileConfig, settings: TrainingSettings, inputs: int, classes: int):
        if not 2 <= classes <= _MAX_CLASSES:
            raise ValueError(f"classes must be 2 to {_MAX_CLASSES}, not {classes}")
        self.config, self.settings = config, settings
        self.inputs, self.classes = inputs, classes
        self._optimizer = settings.make_optimizer()
        self._fp8 = settings.format == "fp8"
        self.state = ClassifierState(config, settings, inputs, classes, self._optimizer)

    @property
    def functions(self) -> list[str]:
        """Functions that the activation engine's table must have."""
        names = [*loss.FUNCTIONS, *self._optimizer.functions]
        names += scaling.FUNCTIONS if self._fp8 else ()
        names += pointwise.GELU_FUNCTIONS if self.settings.activation == "gelu" else ()
        return list(dict.fromkeys(names))

    @property
    def loss_bytes(self) -> int:
        """Room behind `Addresses.loss`."""
        return 4 + 4 * self.config.n

    @property
    def report_size(self) -> int:
        """Numbers that a step reports beside the loss."""
        state = self.state
        magnitudes = state.scales.largest.columns if state.scales else 0
        return self.config.n * (state.report.columns + magnitudes)

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
        weights = self.state.w1, self.state.w2
        if self.state.scales is not None:
            for parameter, scaled in zip(weights, self.state.scales.tensors(), strict=False):
                scaling.largest_magnitude(b, parameter.value, scaled.largest)
            scaling.update_scales(b, self.state.scales)
        for parameter in weights:
            for bands in parameter.value.spans():
                copy_weight(b, parameter, bands)
            transpose_weight(b, parameter)
        return b.assemble()

    def save_program(self, at: Addresses) -> bytes:
        """Store the state, generators included."""
        b = self._builder(at)
        b.save_generators(self.state.generators)
        b.store_words(self.state.words, at.state)
        return b.assemble()

    def evaluate_program(self, at: Addresses) -> bytes:
        """Logits of a batch; those of a sample depend on no other sample, nor on a step's scales.

        In fp8 each sample and each row of the hidden layer has a scale of its own.
        """
        b, fmt = self._builder(at), self.settings.forward_format
        with ExitStack() as stack:
            rows: RowScales | None = None
            inverses: Inverses[Matrix] = Inverses()
            if self.state.scales is not None:
                batch = self.settings.batch
                samples, scale, inverse = (
                    temporary(b, stack, f"{name} of each sample", batch, 1, FP32)
                    for name in ("inverse scale", "hidden scale", "inverse hidden scale")
                )
                w1, w2, *_ = self.state.scales.tensors()
                b.load(samples, at.inverses)
                rows = RowScales(fmt, scale, inverse)
                inverses = Inverses(
                    samples=samples,
                    w1=w1.inverse,
                    w2=w2.inverse,
                    hidden=inverse,
                )
            layer = self._hidden(b, stack, self._load_transposed(b, stack, at), rows, inverses)
            b.store(self._logits(b, stack, layer.operand, inverses), at.logits)
        return b.assemble()

    def step_program(self, at: Addresses) -> bytes:
        """A step of training: samples and labels in, loss and report out."""
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
        settings, state = self.settings, self.state
        batch, hidden = settings.batch, settings.hidden
        samples_t = self._load_transposed(b, stack, at)
        inverses = self._update_scales(b, stack, at)
        labels = temporary(b, stack, "labels", batch, 1, FP32)
        b.load(labels, at.labels)
        samples = temporary(b, stack, "samples", batch, self.inputs, settings.forward_format)
        b.load(samples, at.samples)
        packed = b.temporary("one-hot labels", batch, self.classes, FP32, packed=True, skew=1)
        onehot = stack.enter_context(packed)
        loss.one_hot(b, labels, onehot)

        # Decay fills the time in which the vector engine would wait for the hidden layer's first
        # band, and that in which the array computes the logits.
        updates = Updates(b, state, self._optimizer, settings.weight_rounding)
        updates.begin()
        updates.decay(state.w2, state.b1, state.b2)
        layer = self._hidden(b, stack, samples_t, state.hidden_scale, inverses)
        updates.decay(state.w1)
        layer.operand.observe()
        logits = self._logits(b, stack, layer.operand, inverses)
        dz = temporary(b, stack, "logits' gradient", batch, self.classes, BF16)
        dh = temporary(b, stack, "hidden gradient", batch, hidden, BF16)
        da = temporary(b, stack, "gradient before the activation", batch, hidden, BF16)
        with loss.softmax_gradient(b, logits, onehot, dz) as softmax:
            dz_operand = Operand(b, stack, dz, state.dz_scale)
            dz_operand.make_all()
            da_operand = Operand(b, stack, da, state.da_scale, transposes=False)

            def through_activation(band: int) -> None:
                if settings.activation == "relu":
                    relu_grad(b, layer.activated, dh, da, band)
                else:
                    gelu_grad(b, layer.before, dh, da, band)
                da_operand.make(band)

            scale = self._factor(b, stack, inverses.dz, inverses.w2)
            dz_t, w2_t = dz_operand.transposed, state.w2.transposed
            input_grad(b, dz_t, w2_t, dh, scale=scale, then=through_activation)
            losses = temporary(b, stack, "losses", self.config.n, logits.bands, FP32)
            loss.mean_loss(b, softmax, losses)

            def update_w2() -> None:
                inverse = self._factor(b, stack, inverses.hidden, inverses.dz)
                updates.weight(state.w2, layer.operand.plain, dz_operand.plain, inverse)

            loss.total(b, losses, at.loss, update_w2)

        dz_operand.observe()
        da_operand.observe()
        inverse = self._factor(b, stack, inverses.samples, inverses.da)
        updates.weight(state.w1, samples, da_operand.plain, inverse)
        updates.bias(state.b1, da_operand.plain, inverses.da)
        updates.bias(state.b2, dz_operand.plain, inverses.dz)
        updates.finish()
        self._report(b, at)

    def _update_scales(self, b: KernelBuilder, stack: ExitStack, at: Addresses) -> Inverses[Strip]:
        """New scales, beside those of the weights as they are; in bf16 none."""
        scales = self.state.scales
        if scales is None:
            return Inverses()
        samples = temporary(b, stack, "inverse scale of the samples", self.config.n, 1, FP32)
        b.load_repeated(samples, at.inverses)
        held = temporary(b, stack, "inverse scales of the weights", self.config.n, 2, FP32).strip()
        b.compute(held, scales.inverse.strip().slice(0, 2))
        scaling.update_scales(b, scales)
        _, _, hidden, dz, da = scales.tensors()
        return Inverses(
            samples=samples.strip(),
            w1=held.slice(0, 1),
            w2=held.slice(1, 2),
            hidden=hidden.inverse,
            dz=dz.inverse,
            da=da.inverse,
        )

    def _report(self, b: KernelBuilder, at: Addresses) -> None:
        """Stores of the report by which the host decides whether the step was good."""
        report, scales = self.state.report, self.state.scales
        b.store(report, at.report)
        if scales is not None:
            b.store(scales.largest, at.report + 4 * report.rows * report.columns)

    def _hidden(
        self,
        b: KernelBuilder,
        stack: ExitStack,
        samples_t: Matrix,
        scaled: ScaledTensor | RowScales | None,
        inverses: Inverses[Scale],
    ) -> HiddenLayer:
        """The hidden layer, as an operand too."""
        shape = samples_t.columns, self.settings.hidden
        activated = temporary(b, stack, "hidden layer", *shape, BF16)
        is_relu = self.settings.activation == "relu"
        before = activated
        if not is_relu:
            before = temporary(b, stack, "before the activation", *shape, BF16)
        operand = Operand(b, stack, activated, scaled)

        def activate(band: int) -> None:
            if not is_relu:
                gelu(b, before, activated, band)
            operand.make(band)

        w1, b1 = self.state.w1.operand, self.state.b1.value
        scale = self._factor(b, stack, inverses.samples, inverses.w1)
        linear(b, samples_t, w1, b1, before, scale=scale, relu=is_relu, then=activate)
        return HiddenLayer(before, activated, operand)

    def _logits(
        self, b: KernelBuilder, stack: ExitStack, hidden: Operand, inverses: Inverses[Scale]
    ) -> Matrix:
        hidden_t = hidden.transposed
        logits = temporary(b, stack, "logits", hidden_t.columns, self.classes, FP32)
        scale = self._factor(b, stack, inverses.hidden, inverses.w2)
        linear(b, hidden_t, self.state.w2.operand, self.state.b2.value, logits, scale=scale)
        return logits

    def _factor(
        self, b: KernelBuilder, stack: ExitStack, one: Scale | None, two: Strip | None
    ) -> Scale | None:
        """The inverse of the scale of a product of two operands; None in bf16."""
        if one is None or two is None:
            return None
        rows = one.rows if isinstance(one, Matrix) else self.config.n
        factor = temporary(b, stack, "inverse scale of a product", rows, 1, FP32)
        if isinstance(one, Matrix):
            scaling.product_of_inverses(b, factor, one, two)
            return factor
        scaling.product_of_inverses(b, factor.strip(), one, two)
        return factor.strip()
