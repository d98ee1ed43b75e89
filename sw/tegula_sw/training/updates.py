"""Updates of a classifier's parameters as their gradients arise, and whether they went well."""

from tegula_sw.kernels import scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.linear import bias_grad, check_layers, weight_grad
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import scaled_by
from tegula_sw.kernels.optimizers import Optimizer, Update
from tegula_sw.kernels.pointwise import convert
from tegula_sw.training.parts import Parameter, Weight
from tegula_sw.training.state import ClassifierState

__all__ = ["Updates", "copy_weight", "transpose_weight"]


def copy_weight(b: KernelBuilder, parameter: Weight, bands: range) -> None:
    """Bands of a weight as operands of the array."""
    value, operand = parameter.value, parameter.operand
    scale = parameter.scaled.scale if parameter.scaled else None
    if operand is not value:
        b.compute(operand.span(bands), value.span(bands), *scaled_by(scale), saturate=True)


def transpose_weight(b: KernelBuilder, parameter: Weight) -> None:
    """Transpose of a weight, if it is an operand too."""
    scale = parameter.scaled.scale if parameter.scaled else None
    if parameter.operand_t is not None:
        y = parameter.operand_t
        convert(b, parameter.value, y, scale=scale, saturate=True, transposed=True)


class Updates:
    """The optimizer's part of a step.

    Parameters
    ----------
    state
        What is updated.
    rounding
        Of bf16 weights.
    """

    def __init__(
        self, b: KernelBuilder, state: ClassifierState, optimizer: Optimizer, rounding: str
    ):
        self._b, self._state, self._optimizer, self._rounding = b, state, optimizer, rounding

    def begin(self) -> None:
        """Instructions that are executed once a step, for all parameters."""
        self._optimizer.begin(self._b, self._state.scalars)

    def decay(self, *parameters: Parameter) -> None:
        """Parts of the updates of some parameters that do not need their gradients."""
        for parameter in parameters:
            for bands in parameter.value.spans():
                self._optimizer.decay(self._b, parameter.slot_strips(bands))

    def weight(self, parameter: Weight, x: Matrix, dy: Matrix, scale: Strip | None) -> None:
        """Each part's slots as it arises; its weights behind the slots of the next.

        So an instruction does not need what the one before it has still to write.
        """
        b, value = self._b, parameter.value
        waiting: list[tuple[range, tuple[int, int] | None]] = []

        def apply() -> None:
            for bands, part in waiting:
                weight = value.span(bands)
                update = Update(
                    weight=weight if part is None else weight.slice(*part),
                    slots=parameter.slot_strips(bands, part),
                    scalars=self._state.scalars,
                    rounding=self._rounding,
                )
                self._optimizer.apply(b, update)
            for bands, part in waiting:
                if part is None or part[1] == value.columns:
                    copy_weight(b, parameter, bands)
            waiting.clear()

        for bands, columns, sums, steps in weight_grad(b, x, dy, scale=scale):
            part = None if columns == (0, value.columns) else columns
            self._optimizer.accumulate(b, parameter.slot_strips(bands, part), sums, steps)
            apply()
            waiting.append((bands, part))
        self._check_slots(parameter)
        apply()
        if parameter.scaled is not None:
            scaling.largest_magnitude(b, value, parameter.scaled.largest)

    def bias(self, parameter: Parameter, dy: Matrix, scale: Strip | None) -> None:
        """Update of a bias, as of a weight."""
        b = self._b
        for columns, sums, steps in bias_grad(b, self._state.ones, dy, scale=scale):
            slots = parameter.slot_strips(range(1), columns)
            self._optimizer.accumulate(b, slots, sums, steps)
            if columns[1] == parameter.value.columns:
                self._check_slots(parameter)
            value = parameter.value.strip().slice(*columns)
            update = Update(
                weight=value, slots=slots, scalars=self._state.scalars, rounding="nearest"
            )
            self._optimizer.apply(b, update)

    def finish(self) -> None:
        """Transposes for the next step, and the report of whether all is finite."""
        b, state = self._b, self._state
        for parameter in (state.w1, state.w2):
            transpose_weight(b, parameter)
        # The weights that are complete first come first.
        layers = [
            (w.operand, bias.value) for w, bias in ((state.w2, state.b2), (state.w1, state.b1))
        ]
        check_layers(b, state.zeros, layers, state.report.strip().slice(0, 1))

    def _check_slots(self, parameter: Parameter) -> None:
        """Report of slots that may overflow while the weights stay finite."""
        for slot, result in self._state.slot_checks(parameter):
            scaling.largest_magnitude(self._b, slot, result)
