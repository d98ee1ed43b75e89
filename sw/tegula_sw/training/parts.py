"""Parts of a classifier: parameters, operands, the hidden layer."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic

from tegula.formats import FloatFormat
from tegula_sw.kernels import scaling
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.pointwise import convert
from tegula_sw.kernels.scaling import RowScales, Scale, ScaledTensor

__all__ = ["HiddenLayer", "Inverses", "Operand", "Parameter", "Weight", "temporary"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A weight or a bias, and the optimizer's state of it.

    Attributes
    ----------
    value
        Its elements, fp32 or bf16; a bias is there once in every partition.
    slots
        The optimizer's, by name.
    """

    value: Matrix
    slots: dict[str, Matrix]

    def slot_strips(self, bands: range, columns: tuple[int, int] | None = None) -> dict[str, Strip]:
        """Slots of a band or several; `columns` of a band."""
        strips = {name: slot.span(bands) for name, slot in self.slots.items()}
        if columns is None:
            return strips
        return {name: strip.slice(*columns) for name, strip in strips.items()}


@dataclass(frozen=True, kw_only=True)
class Weight(Parameter):
    """A weight, and its copies for the array.

    Attributes
    ----------
    operand
        The weight as an operand: `value` itself, or a copy in another format.
    operand_t
        Its transpose, where the array multiplies by that too.
    scaled
        Scale of the operands, in fp8.
    """

    operand: Matrix
    operand_t: Matrix | None = None
    scaled: ScaledTensor | None = None

    @property
    def transposed(self) -> Matrix:
        """The transposed operand.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.operand_t is None:
            raise ValueError(f"{self.value.name} has no transposed operand")
        return self.operand_t


def temporary(
    b: KernelBuilder, stack: ExitStack, name: str, rows: int, columns: int, fmt: FloatFormat
) -> Matrix:
    """A matrix for as long as the stack lasts."""
    return stack.enter_context(b.temporary(name, rows, columns, fmt))


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
        The operands, of which `ValueError` is raised where there is none: with scales of rows there
        is no plain one, because a sum over rows has no inverse.
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
        self._plain = None if isinstance(scaled, RowScales) else x
        self._transposed: Matrix | None = None
        if isinstance(scaled, ScaledTensor):
            self._plain = temporary(b, stack, f"{x.name}, scaled", x.rows, x.columns, fmt)
        if transposes:
            name = f"{x.name}, transposed"
            self._transposed = temporary(b, stack, name, x.columns, x.rows, fmt)

    @property
    def plain(self) -> Matrix:
        """The operand as it is."""
        if self._plain is None:
            raise ValueError(f"{self._x.name} with scales of its rows has no plain operand")
        return self._plain

    @property
    def transposed(self) -> Matrix:
        """The operand transposed."""
        if self._transposed is None:
            raise ValueError(f"{self._x.name} has no transposed operand")
        return self._transposed

    def make(self, band: int) -> None:
        """Instructions that make the operands from a band of the matrix."""
        b, x, scaled = self._b, self._x, self._scaled
        scale, saturate = None, isinstance(scaled, ScaledTensor)
        if isinstance(scaled, RowScales):
            scaling.scale_rows(b, x, scaled, band)
            scale = scaled.scale.band(band)
        elif scaled is not None:
            scale = scaled.scale
        if self._transposed is not None:
            y = self._transposed
            convert(b, x, y, scale=scale, saturate=saturate, band=band, transposed=True)
        if isinstance(scaled, ScaledTensor):
            convert(b, x, self.plain, scale=scale, saturate=saturate, band=band)

    def make_all(self) -> None:
        """Instructions that make the operands from all bands."""
        for band in range(self._x.bands):
            self.make(band)

    def observe(self) -> None:
        """Instructions that record the matrix's largest magnitude for the next scale."""
        if isinstance(self._scaled, ScaledTensor):
            scaling.largest_magnitude(self._b, self._x, self._scaled.largest)


@dataclass(frozen=True)
class HiddenLayer:
    """Matrices of the hidden layer; `before` and `activated` are one for ReLU."""

    before: Matrix
    activated: Matrix
    operand: Operand


@dataclass(frozen=True, kw_only=True)
class Inverses(Generic[Scale]):
    """Inverse scales, which take the scales of tensors out of products; all None in bf16.

    Attributes
    ----------
    samples, hidden
        fp32, (n, 1), or of each sample (batch, 1).
    w1, w2, dz, da
        fp32, (n, 1).
    """

    samples: Scale | None = None
    w1: Strip | None = None
    w2: Strip | None = None
    hidden: Scale | None = None
    dz: Strip | None = None
    da: Strip | None = None
