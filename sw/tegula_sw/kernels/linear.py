"""The fully connected layer ``y = x @ w + b`` and its gradients, without a pass for transposes.

The array multiplies ``stationary.T @ moving``, so each product needs its left operand transposed in
the scratchpad. Where a matrix is needed both ways it is *written* both ways when it arises: from
memory by the layout of the transfer, from PSUM by the vector engine's transposed writes.

Matrices lie with the batch, or the inputs, along the partitions; a bias lies in every partition.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import Step, scaled_by

__all__ = ["bias_grad", "check_layers", "input_grad", "linear", "weight_grad"]

_TOGETHER = 2
"""Bands of a gradient at a time: longer instructions for the optimizer, and still a pipeline."""


def _columns(b: KernelBuilder, width: int) -> Iterator[tuple[int, int]]:
    """Columns in parts of which PSUM holds two."""
    limit = b.config.psum_depth // 2
    for start in range(0, width, limit):
        yield start, min(start + limit, width)


def linear(
    b: KernelBuilder,
    x_t: Matrix,
    w: Matrix,
    bias: Matrix,
    y: Matrix,
    *,
    scale: Strip | Matrix | None = None,
    relu: bool = False,
    then: Callable[[int], None] | None = None,
) -> None:
    """``y = x @ w * scale + bias``, and `relu` of it.

    Parameters
    ----------
    x_t
        x transposed, (inputs, batch).
    w
        (inputs, outputs).
    bias
        fp32, (n, outputs), every row the same.
    y
        (batch, outputs), of any format.
    scale
        The inverse of the operands' scales: fp32, a value of each partition, or a matrix (batch,
        1). None: 1.
    then
        Called with each band of y behind its last instruction, for what follows on it.
    """
    for start, stop in _columns(b, w.columns):
        for band, sums in _each_band(b.product(x_t, w, (start, stop))):
            dst = y.band(band).slice(start, stop)
            added = Step("add", bias.strip().slice(start, stop))
            positive = (Step("max", 0.0),) if relu else ()
            if scale is None:
                b.compute(dst, sums, added, *positive)
            else:
                factor = scale.band(band) if isinstance(scale, Matrix) else scale
                b.compute(dst, sums, *scaled_by(factor), added)
                if relu:
                    b.compute(dst, dst, *positive)
            if then is not None and stop == w.columns:
                then(band)


def input_grad(
    b: KernelBuilder,
    dy_t: Matrix,
    w_t: Matrix,
    dx: Matrix,
    *,
    scale: Strip | None = None,
    then: Callable[[int], None] | None = None,
) -> None:
    """``dx = dy @ w.T * scale``.

    Parameters
    ----------
    dy_t, w_t
        dy transposed, (outputs, batch), and w transposed, (outputs, inputs).
    dx
        (batch, inputs).
    then
        As in `linear`.
    """
    for start, stop in _columns(b, w_t.columns):
        for band, sums in _each_band(b.product(dy_t, w_t, (start, stop))):
            b.compute(dx.band(band).slice(start, stop), sums, *scaled_by(scale))
            if then is not None and stop == w_t.columns:
                then(band)


def weight_grad(
    b: KernelBuilder, x: Matrix, dy: Matrix, *, scale: Strip | None = None
) -> Iterator[tuple[range, tuple[int, int], Strip, tuple[Step, ...]]]:
    """``dw = x.T @ dy * scale``, part by part, for an optimizer to use where it arises.

    Parameters
    ----------
    x
        (batch, inputs).
    dy
        (batch, outputs).

    Yields
    ------
    bands, columns, sums, steps
        Which bands and columns of dw; its words of PSUM, a band behind the other, and the steps
        (none or one) that scale them. They are free again when the next part is requested. Bands
        come several at a time only if the columns are all.
    """
    for start, stop in _columns(b, dy.columns):
        sums_of_bands = b.product(x, dy, (start, stop), together=_TOGETHER)
        if stop - start < dy.columns:
            sums_of_bands = (
                (range(band, band + 1), sums) for band, sums in _each_band(sums_of_bands)
            )
        for bands, sums in sums_of_bands:
            yield bands, (start, stop), sums, scaled_by(scale)


def bias_grad(
    b: KernelBuilder, ones: Matrix, dy: Matrix, *, scale: Strip | None = None
) -> Iterator[tuple[tuple[int, int], Strip, tuple[Step, ...]]]:
    """``db = sum of the rows of dy * scale``, in every partition, as `weight_grad` gives dw.

    Parameters
    ----------
    ones
        (batch, n), all 1, of the format of an operand.
    """
    for _, columns, sums, steps in weight_grad(b, ones, dy, scale=scale):
        yield columns, sums, steps


def check_layers(
    b: KernelBuilder, zeros: Matrix, layers: Sequence[tuple[Matrix, Matrix]], result: Strip
) -> None:
    """0 if all weights and biases of some layers are finite, else NaN.

    All are multiplied by zero: by the contract (docs/numerics.md, 3.4 and 5.2) zero times an
    infinity or a NaN is NaN. The array does this in the time of n samples; the vector engine sees
    one number for each output.

    Parameters
    ----------
    zeros
        (n, n), all 0, of the format of an operand.
    layers
        Of each the weights, (inputs, outputs), as the array takes them (what was saturated is
        finite), and the biases, fp32, (n, outputs).
    result
        fp32, (n, 1), every row the same.
    """
    parts = [(w, bias, part) for w, bias in layers for part in _columns(b, w.columns)]
    for number, (w, bias, columns) in enumerate(parts, 1):
        sample = replace(zeros, rows=w.rows, pitch=0)
        for _, sums in b.product(sample, w, columns, from_last=True):
            by_zero = Step("mul", bias.strip().slice(*columns))
            dst = result if number == len(parts) else None
            b.reduce(dst, sums, by_zero, reduction="amax", proceed=number > 1)


def _each_band(products: Iterator[tuple[range, Strip]]) -> Iterator[tuple[int, Strip]]:
    """Bands of `KernelBuilder.product` one by one."""
    for bands, sums in products:
        width = sums.columns // len(bands)
        for number, band in enumerate(bands):
            yield band, sums.slice(number * width, (number + 1) * width)
