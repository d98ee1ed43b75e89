"""Activation functions and their gradients, and copies of matrices in other layouts."""

from tegula.formats import FP32
from tegula_sw.kernels.builder import KernelBuilder, PerPartition, Step
from tegula_sw.kernels.matrix import Matrix, Strip

__all__ = ["GELU_FUNCTIONS", "convert", "gelu", "gelu_grad", "relu", "relu_grad", "transpose"]

GELU_FUNCTIONS = ("gelu", "gelu_grad")
"""What the table must have for `gelu` and `gelu_grad`."""


def relu(b: KernelBuilder, x: Matrix, y: Matrix) -> None:
    """``y = max(x, 0)``, by IEEE `maximum`: a NaN stays one."""
    for band in range(x.bands):
        b.compute(y.band(band), x.band(band), Step("max", 0.0))


def relu_grad(b: KernelBuilder, y: Matrix, dy: Matrix, dx: Matrix) -> None:
    """``dx = dy`` where the output y of `relu` is not zero, else +0."""
    for band in range(y.bands):
        b.compute(dx.band(band), y.band(band), Step("select", dy.band(band)))


def gelu(b: KernelBuilder, x: Matrix, y: Matrix) -> None:
    """``y = x Phi(x)``, with the exact normal distribution."""
    for band in range(x.bands):
        b.apply(y.band(band), x.band(band), "gelu")


def gelu_grad(b: KernelBuilder, x: Matrix, dy: Matrix, dx: Matrix) -> None:
    """``dx = dy * (Phi(x) + x phi(x))`` for the input x of `gelu`."""
    for band in range(x.bands):
        rows = x.band_rows(band)
        with b.temporary("GELU's slope", rows, x.columns, FP32) as slope:
            b.apply(slope.strip(), x.band(band), "gelu_grad")
            b.compute(dx.band(band), dy.band(band), Step("mul", slope.strip()))


def convert(
    b: KernelBuilder,
    x: Matrix,
    y: Matrix,
    *,
    scale: Strip | None = None,
    saturate: bool = False,
    band: int | None = None,
) -> None:
    """``y = x * scale`` in y's format; all bands, or one."""
    for chosen in range(x.bands) if band is None else (band,):
        b.compute(y.band(chosen), x.band(chosen), *_scaled(scale), saturate=saturate)


def transpose(
    b: KernelBuilder,
    x: Matrix,
    y: Matrix,
    *,
    scale: Strip | None = None,
    saturate: bool = False,
    band: int | None = None,
) -> None:
    """``y = x.T * scale`` in y's 8- or 16-bit format; all bands of x, or one."""
    for chosen in range(x.bands) if band is None else (band,):
        b.transpose(y, chosen, x.band(chosen), *_scaled(scale), saturate=saturate)


def _scaled(scale: Strip | None) -> tuple[Step, ...]:
    return () if scale is None else (Step("mul", PerPartition(scale)),)
