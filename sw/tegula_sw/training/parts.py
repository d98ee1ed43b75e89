"""What a classifier is made of: parameters, operands, the hidden layer."""

from contextlib import ExitStack
from dataclasses import dataclass

from tegula.formats import FloatFormat
from tegula_sw.kernels import scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.pointwise import convert, transpose
from tegula_sw.kernels.scaling import RowScales, ScaledTensor

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
        Its scale, or those of its rows, which are found as they arise; None: it stays bf16. What
        overflows saturates, but in rows that have scales of their own.
    transposes
        Whether it is needed transposed too.

    Attributes
    ----------
    plain, transposed
        The operands. With scales of rows there is no plain one: a sum over rows has no inverse.
    """

    def __init__(
        self,
        b: KernelBuilder,
        stack: ExitStack,
        x: Matrix,
        scaled: ScaledTensor | RowScales | None,
        *,
        transposes: bool = True,
    ):
        self._b, self._x, self._scaled = b, x, scaled
        fmt = x.fmt if scaled is None else scaled.fmt
        self.plain, self.transposed = None if isinstance(scaled, RowScales) else x, None
        if isinstance(scaled, ScaledTensor):
            self.plain = temporary(b, stack, f"{x.name}, scaled", x.rows, x.columns, fmt)
        if transposes:
            name = f"{x.name}, transposed"
            self.transposed = temporary(b, stack, name, x.columns, x.rows, fmt)

    def make(self, band: int) -> None:
        """From a band of the matrix."""
        b, x, scaled = self._b, self._x, self._scaled
        how = {"band": band}
        if isinstance(scaled, RowScales):
            scaling.scale_rows(b, x, scaled, band)
            how |= {"scale": scaled.scale.band(band)}
        elif scaled is not None:
            how |= {"scale": scaled.scale, "saturate": True}
        if self.transposed is not None:
            transpose(b, x, self.transposed, **how)
        if isinstance(scaled, ScaledTensor):
            convert(b, x, self.plain, **how)

    def make_all(self) -> None:
        """From all bands."""
        for band in range(self._x.bands):
            self.make(band)

    def observe(self) -> None:
        """Let the matrix decide the scale of the steps to come."""
        if isinstance(self._scaled, ScaledTensor):
            scaling.largest_magnitude(self._b, self._x, self._scaled.largest)


@dataclass(frozen=True)
class HiddenLayer:
    """What the backward pass needs of it; `before` and `activated` are one for ReLU."""

    before: Matrix
    activated: Matrix
    operand: Operand


@dataclass(frozen=True, kw_only=True)
class Inverses:
    """What takes the scales of tensors out of products with them; all None in bf16.

    Attributes
    ----------
    samples, w1, w2, hidden, dz, da
        fp32, (n, 1), or of each sample (batch, 1).
    """

    samples: Strip | Matrix | None = None
    w1: Strip | None = None
    w2: Strip | None = None
    hidden: Strip | Matrix | None = None
    dz: Strip | None = None
    da: Strip | None = None
