"""Scaling for 8-bit formats: powers of two from the largest magnitudes of the last steps.

A tensor is multiplied by its scale before it is cast, and products of it by the inverse. The scale
brings the largest magnitude of the tensor's history into ``[largest / 3.5, largest / 1.75)`` of the
format's finite numbers, so that it may grow by three quarters before it saturates. (Micikevicius et
al., *FP8 formats for deep learning*, 2022, scale in this manner; powers of two are ours: scaling is
then exact.)

A magnitude of zero, infinity or NaN makes no scale: it counts as none in the history, and a history
without any leaves the scale as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np

from tegula.formats import BF16, FP32, FloatFormat
from tegula_golden.array_types import Floats
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import Index, PerPartition, Step

__all__ = [
    "FUNCTIONS",
    "LIMIT_EXPONENT",
    "RowScales",
    "Scale",
    "ScaledTensor",
    "Scales",
    "largest_magnitude",
    "product_of_inverses",
    "scale_rows",
    "target_exponent",
    "update_scales",
]

Scale = TypeVar("Scale", Strip, Matrix)
"""A tensor's scale: a value of each partition (n, 1), or of each row (rows, 1)."""

FUNCTIONS = ("pow2_recip",)
"""Functions that the table must have."""

LIMIT_EXPONENT = 60
"""Scales stay between 2 to the power of minus this and of this."""

_BOUNDS = Step("min", 2.0**LIMIT_EXPONENT), Step("max", 2.0**-LIMIT_EXPONENT)


@dataclass(frozen=True)
class _Scaled(Generic[Scale]):
    """Scale and inverse of a tensor in an 8-bit format.

    Attributes
    ----------
    fmt
        The format that its elements are cast to.
    scale, inverse
        Powers of two, fp32.
    """

    fmt: FloatFormat
    scale: Scale
    inverse: Scale


@dataclass(frozen=True)
class ScaledTensor(_Scaled[Strip]):
    """Scale and inverse of a tensor: (n, 1), every row the same.

    Attributes
    ----------
    largest
        fp32, (n, 1): the largest magnitude in each partition since the last `update_scales`.
    """

    largest: Strip


@dataclass(frozen=True)
class RowScales(_Scaled[Matrix]):
    """Scale and inverse of each row of a matrix, (rows, 1): see `scale_rows`."""


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Scales of several tensors, which are updated together; all matrices are fp32.

    Attributes
    ----------
    fmts
        The format of each tensor.
    scale, inverse, largest
        (n, tensors): columns of a `ScaledTensor` each.
    history
        (tensors, steps): largest magnitudes, the newest last; 0: none.
    current
        (tensors, 1): the scales once more.
    unit
        (tensors, 1): what brings a magnitude to 1 that the scale 1 is for.
    """

    fmts: tuple[FloatFormat, ...]
    scale: Matrix
    inverse: Matrix
    largest: Matrix
    history: Matrix
    current: Matrix
    unit: Matrix

    @classmethod
    def make(
        cls,
        n: int,
        first: Sequence[tuple[FloatFormat, float]],
        steps: int,
        store: Callable[[str, Floats], Matrix],
    ) -> Self:
        """Scales with an empty history.

        Parameters
        ----------
        n
            Partitions of the tile.
        first
            Format and first scale, a power of two, of each tensor.
        steps
            Length of the history.
        store
            Makes an fp32 matrix with a name and its first content, float32.

        Raises
        ------
        ValueError
            If the history has no step.
        """
        if steps < 1:
            raise ValueError(f"a history must have at least 1 step, not {steps}")
        count = len(first)
        scale = np.array([[scale] for _, scale in first], np.float32)
        unit = np.array([[2.0 ** -target_exponent(fmt)] for fmt, _ in first], np.float32)
        everywhere = np.tile(scale.T, (n, 1))
        return cls(
            fmts=tuple(fmt for fmt, _ in first),
            scale=store("scales", everywhere),
            inverse=store("inverse scales", (1 / everywhere).astype(np.float32)),
            largest=store("largest magnitudes", np.zeros((n, count), np.float32)),
            history=store("history of magnitudes", np.zeros((count, steps), np.float32)),
            current=store("scales by tensor", scale),
            unit=store("units of magnitudes", unit),
        )

    def tensors(self) -> list[ScaledTensor]:
        """Each tensor's columns."""
        return [
            ScaledTensor(
                fmt, *(m.strip().slice(i, i + 1) for m in (self.scale, self.inverse, self.largest))
            )
            for i, fmt in enumerate(self.fmts)
        ]


def target_exponent(fmt: FloatFormat) -> int:
    """Exponent to which a scale brings the largest magnitude: one below that of `max_finite`."""
    return (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias - 1


def largest_magnitude(b: KernelBuilder, x: Matrix, largest: Strip) -> None:
    """The largest magnitude in each partition, over all bands of x: fp32, (n, 1).

    Rows that x does not have count as zero. The result is finite if all of x is.
    """
    n = b.config.n
    whole, rest = divmod(x.rows, n)
    if whole:
        strips = [x.span(range(whole))] if x.is_packed else [x.band(i) for i in range(whole)]
        for number, strip in enumerate(strips):
            dst = largest if number == len(strips) - 1 else None
            b.reduce(dst, strip, reduction="amax", proceed=number > 0)
    if rest:
        with b.temporary("magnitudes of the last rows", n, 1, FP32) as last:
            b.compute(last.strip(), Index(), Step("mul", 0.0))
            b.reduce(last.strip().top(rest), x.band(whole), reduction="amax")
            b.compute(largest, last.strip(), *([Step("max", largest)] if whole else []))


def update_scales(b: KernelBuilder, scales: Scales) -> None:
    """Scales and inverses for the next step, from `largest` and the history.

    Partitions exchange their magnitudes by transposed writes: tensor t's go to partition t, and
    its scale comes back from there. Magnitudes are rounded to bf16 for that, which moves them
    across a power of two at most by a rounding.
    """
    n, count = b.config.n, len(scales.fmts)
    with (
        b.temporary("magnitudes by tensor", count, n, BF16) as magnitudes,
        b.temporary("largest of each tensor", count, 1, FP32) as largest,
        b.temporary("scales of the magnitudes", count, 1, FP32) as wanted,
        b.temporary("scales in bf16", n, count, BF16) as scale,
    ):
        b.transpose(magnitudes, 0, scales.largest.strip())
        for band in range(largest.bands):
            new, history = largest.band(band), scales.history.band(band)
            last = history.columns - 1
            b.reduce(new, magnitudes.band(band), reduction="max")
            if last:
                b.compute(history.slice(0, last), history.slice(1, last + 1))
            finite = Step("lt", float("inf"))
            b.compute(history.slice(last, last + 1), new, finite, Step("select", new))
            b.reduce(new, history, reduction="max")
            unit = PerPartition(scales.unit.band(band))
            b.apply(wanted.band(band), new, "pow2_recip", scale=unit)
            b.compute(wanted.band(band), wanted.band(band), *_BOUNDS)
            current = scales.current.band(band)
            b.compute(current, new, Step("merge", wanted.band(band)))
            b.transpose(scale, band, current.repeated(n))
        b.compute(scales.scale.strip(), scale.strip())
        b.apply(scales.inverse.strip(), scales.scale.strip(), "pow2_recip")


def scale_rows(b: KernelBuilder, x: Matrix, rows: RowScales, band: int) -> None:
    """Scales of a band's rows, each from its own largest magnitude.

    A row of zeros has the largest scale; one with an infinity or a NaN is cast to NaN, if the cast
    does not saturate.
    """
    scale = rows.scale.band(band)
    b.reduce(scale, x.band(band), reduction="amax")
    b.apply(scale, scale, "pow2_recip", scale=2.0 ** -target_exponent(rows.fmt))
    b.compute(scale, scale, *_BOUNDS)
    b.apply(rows.inverse.band(band), scale, "pow2_recip")


def product_of_inverses(b: KernelBuilder, dst: Scale, one: Scale, two: Strip) -> None:
    """The scale of products of two tensors' elements, from their inverses.

    Parameters
    ----------
    dst, one
        (n, 1), or of each row (rows, 1).
    two
        (n, 1).
    """
    factor = Step("mul", PerPartition(two))
    if isinstance(one, Strip):
        b.compute(dst, one, factor)
    else:
        for band in range(one.bands):
            b.compute(dst.band(band), one.band(band), factor)
