"""What a classifier is made of: parameters, operands, the hidden layer."""

from contextlib import ExitStack
from dataclasses import dataclass

from tegula.formats import FloatFormat
from tegula_sw.kernels import scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.pointwise import convert, transpose
from tegula_sw.kernels.scaling import ScaledTensor

__all__ = ["HiddenLayer", "Operand", "Parameter", "temporary"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A weight or a bias with what belongs to it.

    Attributes
    ----------
    value
        Itself, fp32 or bf16; a bias is there once in every partition.
    slots
        The optimizer's, by name.
    operand, operand_t
        Its copies for the array, if they are others than `value`.
    scaled
        Their scale, in fp8.
    """

    value: Matrix
    slots: dict[str, Matrix]
    operand: Matrix | None = None
    operand_t: Matrix | None = None
    scaled: ScaledTensor | None = None

    def slot_strips(self, bands: range, columns: tuple[int, int] | None = None) -> dict[str, Strip]:
        """Slots of a band or several; `columns` of a band."""
        strips = {name: slot.span(bands) for name, slot in self.slots.items()}
        if columns is None:
            return strips
        return {name: strip.slice(*columns) for name, strip in strips.items()}


def temporary(
    b: KernelBuilder,
    stack: ExitStack,
    name: str,
    rows: int,
    columns: int,
    fmt: FloatFormat,
    **more: int,
) -> Matrix:
    """A matrix for as long as the stack lasts."""
    return stack.enter_context(b.temporary(name, rows, columns, fmt, **more))


class Operand:
    """A bf16 matrix as an operand of the array: as it is, or scaled to 8 bits; and transposed.

    Parameters
    ----------
    x
        The matrix, which arises band by band.
    scaled
        Its scale; None: it stays bf16.
    transposes
        Whether it is needed transposed too.

    Attributes
    ----------
    plain, transposed
        The operands.
    """

    def __init__(
        self,
        b: KernelBuilder,
        stack: ExitStack,
        x: Matrix,
        scaled: ScaledTensor | None,
        *,
        transposes: bool = True,
    ):
        self._b, self._x, self._scaled = b, x, scaled
        fmt = x.fmt if scaled is None else scaled.fmt
        self._scale = None if scaled is None else scaled.scale.strip()
        self.plain, self.transposed = x, None
        if scaled is not None:
            self.plain = temporary(b, stack, f"{x.name}, scaled", x.rows, x.columns, fmt)
        if transposes:
            name = f"{x.name}, transposed"
            self.transposed = temporary(b, stack, name, x.columns, x.rows, fmt)

    def make(self, band: int) -> None:
        """From a band of the matrix."""
        b, x, how = self._b, self._x, {"scale": self._scale, "saturate": True}
        if self.transposed is not None:
            transpose(b, x, self.transposed, band=band, **how)
        if self._scaled is not None:
            convert(b, x, self.plain, band=band, **how)

    def make_all(self) -> None:
        """From all bands."""
        for band in range(self._x.bands):
            self.make(band)

    def observe(self) -> None:
        """Let the matrix decide the scale of the next step."""
        if self._scaled is not None:
            scaling.largest_magnitude(self._b, self._x, self._scaled)
            scaling.update_scale(self._b, self._scaled)


@dataclass(frozen=True)
class HiddenLayer:
    """What the backward pass needs of it; `before` and `activated` are one for ReLU."""

    before: Matrix
    activated: Matrix
    operand: Operand
