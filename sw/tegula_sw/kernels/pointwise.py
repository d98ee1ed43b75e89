"""Activation functions and their gradients, and copies of matrices in other layouts.

All take a band of the matrices, or None for all bands.
"""

from collections.abc import Iterable

from tegula.formats import FP32
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import Step, scaled_by

__all__ = ["GELU_FUNCTIONS", "convert", "gelu", "gelu_grad", "relu", "relu_grad"]

GELU_FUNCTIONS = ("gelu", "gelu_grad")
"""Functions that the table must have for `gelu` and `gelu_grad`."""


def relu(b: KernelBuilder, x: Matrix, y: Matrix, band: int | None = None) -> None:
    """``y = max(x, 0)``, by IEEE `maximum`: a NaN stays one."""
    for chosen in _bands(x, band):
        b.compute(y.band(chosen), x.band(chosen), Step("max", 0.0))


def relu_grad(b: KernelBuilder, y: Matrix, dy: Matrix, dx: Matrix, band: int | None = None) -> None:
    """``dx = dy`` where the output y of `relu` is not zero, else +0, whatever dy is there."""
    for chosen in _bands(y, band):
        b.compute(dx.band(chosen), y.band(chosen), Step("select", dy.band(chosen)))


def gelu(b: KernelBuilder, x: Matrix, y: Matrix, band: int | None = None) -> None:
    """``y = x Phi(x)``, with the exact normal distribution."""
    for chosen in _bands(x, band):
        b.apply(y.band(chosen), x.band(chosen), "gelu")


def gelu_grad(b: KernelBuilder, x: Matrix, dy: Matrix, dx: Matrix, band: int | None = None) -> None:
    """``dx = dy * (Phi(x) + x phi(x))`` for the input x of `gelu`: a product, also with zero."""
    for chosen in _bands(x, band):
        rows = x.band_rows(chosen)
        with b.temporary("GELU's slope", rows, x.columns, FP32) as slope:
            b.apply(slope.strip(), x.band(chosen), "gelu_grad")
            b.compute(dx.band(chosen), dy.band(chosen), Step("mul", slope.strip()))


def convert(
    b: KernelBuilder,
    x: Matrix,
    y: Matrix,
    *,
    scale: Strip | None = None,
    saturate: bool = False,
    band: int | None = None,
    transposed: bool = False,
) -> None:
    """``y = x * scale`` in y's format, or ``y = x.T * scale`` in y's 8- or 16-bit format.

    Bands are those of x.
    """
    steps = scaled_by(scale)
    for chosen in _bands(x, band):
        if transposed:
            b.transpose(y, chosen, x.band(chosen), *steps, saturate=saturate)
        else:
            b.compute(y.band(chosen), x.band(chosen), *steps, saturate=saturate)


def _bands(x: Matrix, band: int | None) -> Iterable[int]:
    return range(x.bands) if band is None else (band,)
