"""Delayed scaling for 8-bit formats: powers of two from the largest magnitudes of the last step.

A tensor is multiplied by its scale before it is cast, and products of it by the inverse. The scale
brings the largest magnitude that the tensor had one step ago into ``[largest / 3.5, largest /
1.75)`` of the format's finite numbers, so that it may grow by three quarters before it saturates.
(Micikevicius et al., *FP8 formats for deep learning*, 2022, scale in this manner; powers of two,
and a history of one step, are ours: scaling is then exact.)
"""

from dataclasses import dataclass

from tegula.formats import BF16, FP32, FloatFormat
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import Index, PerPartition, Step

__all__ = ["FUNCTIONS", "ScaledTensor", "largest_magnitude", "product_of_inverses", "update_scale"]

FUNCTIONS = ("pow2_recip",)
"""What the table must have."""

_LIMIT = 2.0**60
"""Scales stay between 1 / this and this, also for a tensor of zeros."""


@dataclass(frozen=True)
class ScaledTensor:
    """Scale and inverse of a tensor: fp32, (n, 1), every row the same.

    Attributes
    ----------
    fmt
        The format that its elements are cast to.
    scale, inverse
        Powers of two.
    largest
        bf16, (n, 1): the largest magnitude in each partition since the last `update_scale`.
    """

    fmt: FloatFormat
    scale: Matrix
    inverse: Matrix
    largest: Matrix


def largest_magnitude(b: KernelBuilder, x: Matrix, tensor: ScaledTensor) -> None:
    """Of each partition, over all bands of x; rows that x does not have count as zero."""
    whole, rest = divmod(x.rows, b.config.n)
    largest = tensor.largest.strip()
    for band in range(whole):
        dst = largest if band == whole - 1 else None
        b.reduce(dst, x.band(band), reduction="amax", proceed=band > 0)
    if rest:
        with b.temporary("magnitudes of the last rows", b.config.n, 1, BF16) as last:
            b.compute(last.strip(), Index(), Step("mul", 0.0))
            b.reduce(last.strip().top(rest), x.band(whole), reduction="amax")
            steps = (Step("max", largest),) if whole else ()
            b.compute(largest, last.strip(), *steps)


def _top_exponent(fmt: FloatFormat) -> int:
    """Exponent of the largest number."""
    return (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias


def update_scale(b: KernelBuilder, tensor: ScaledTensor) -> None:
    """Scale and inverse for the next step.

    Partitions tell each other by a transposed write: each writes its magnitude into all of them.
    It is rounded to bf16 for that, which moves it across a power of two at most by a rounding.
    """
    n = b.config.n
    top = _top_exponent(tensor.fmt) - 1
    with (
        b.temporary("magnitudes", n, n, BF16) as everyone,
        b.temporary("largest magnitude", n, 1, FP32) as highest,
    ):
        b.transpose(everyone, 0, tensor.largest.strip().repeated(n))
        b.reduce(highest.strip(), everyone.strip(), reduction="max")
        scale, inverse = tensor.scale.strip(), tensor.inverse.strip()
        b.apply(scale, highest.strip(), "pow2_recip", scale=2.0**-top)
        b.compute(scale, scale, Step("min", _LIMIT), Step("max", 1 / _LIMIT))
        b.apply(inverse, scale, "pow2_recip")


def product_of_inverses(b: KernelBuilder, dst: Strip, one: ScaledTensor, two: ScaledTensor) -> None:
    """The scale of products of two tensors' elements."""
    b.compute(dst, one.inverse.strip(), Step("mul", PerPartition(two.inverse.strip())))
