"""Softmax cross-entropy: the loss, and its gradient with respect to the logits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tegula.formats import FP32
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.matrix import Matrix, Strip
from tegula_sw.kernels.operands import Index, PerPartition, Step

__all__ = [
    "FUNCTIONS",
    "Softmax",
    "label_pattern",
    "mean_loss",
    "one_hot",
    "softmax_gradient",
    "total",
]

FUNCTIONS = ("exp", "ln", "recip")
"""Functions that the table must have."""

_INDEX_BASE = 0x4B00_0000
"""The fp32 pattern of 2**23, which an index of the vector engine is added to."""


def label_pattern(label: int) -> int:
    """Pattern of a class number in memory: that of ``2**23 + label`` in fp32."""
    return _INDEX_BASE + label


@dataclass(frozen=True)
class Softmax:
    """Intermediate results of a batch's softmax for the loss: see `softmax_gradient`.

    Attributes
    ----------
    below
        ``z - max z`` of each row, fp32, (batch, classes).
    sums
        ``sum exp(z - max z)`` of each row: fp32, (n, bands of the logits).
    onehot
        As `one_hot` makes it.
    """

    below: Matrix
    sums: Matrix
    onehot: Matrix


def one_hot(b: KernelBuilder, labels: Matrix, onehot: Matrix) -> None:
    """``1 / batch`` at the label of each row, 0 elsewhere.

    Parameters
    ----------
    labels
        fp32, (batch, 1): `label_pattern` of each class number.
    onehot
        (batch, classes).
    """
    for band in range(onehot.bands):
        label = PerPartition(labels.band(band))
        share = Step("mul", 1.0 / onehot.rows)
        b.compute(onehot.band(band), Index(), Step("eq", label), share)


@contextmanager
def softmax_gradient(b: KernelBuilder, z: Matrix, onehot: Matrix, dz: Matrix) -> Iterator[Softmax]:
    """Gradient of the mean cross-entropy: ``(softmax(z) - onehot) / batch``.

    Of a row: ``m = max z``, ``e = exp(z - m)``, ``s = sum e``; the gradient is
    ``e * (1 / (batch s)) - onehot``. A logit of -Inf has a probability of zero. A row with a NaN or
    +Inf, or with nothing but -Inf, has no softmax: all of its gradient, and the loss, are NaN.
    What comes of the gradient can be computed within the block before the loss, which nothing else
    waits for.

    Parameters
    ----------
    z
        Logits, fp32, (batch, classes).
    onehot
        `one_hot` of the labels; at best with a skew.
    dz
        The gradient, (batch, classes), of any format.
    """
    with ExitStack() as stack:

        def temporary(name: str, rows: int, columns: int, **more: bool) -> Matrix:
            return stack.enter_context(b.temporary(name, rows, columns, FP32, **more))

        bands, n = range(z.bands), b.config.n
        highest, sums, inverse = (
            temporary(name, n, z.bands) for name in ("maxima", "sums", "inverse sums")
        )
        below = temporary("logits below their maximum", z.rows, z.columns, packed=True)
        e = temporary("exponentials", z.rows, z.columns)
        # Stage by stage, not row by row: an engine that works in order shall not wait for another.
        for band in bands:
            b.reduce(_of_band(highest, z, band), z.band(band), reduction="max")
        for band in bands:
            maximum = PerPartition(_of_band(highest, z, band))
            b.compute(below.band(band), z.band(band), Step("sub", maximum))
            b.apply(e.band(band), below.band(band), "exp")
        for band in bands:
            b.reduce(_of_band(sums, z, band), e.band(band), reduction="sum")
        for part in _parts(z):
            b.apply(_of(inverse, part), _of(sums, part), "recip", scale=float(z.rows))
        for band in bands:
            scaled = Step("mul", PerPartition(_of_band(inverse, z, band)))
            b.compute(dz.band(band), e.band(band), scaled, Step("sub", onehot.band(band)))
        yield Softmax(below, sums, onehot)


def mean_loss(b: KernelBuilder, softmax: Softmax, losses: Matrix) -> None:
    """Mean cross-entropy of the batch: a row's share is ``(ln s - (z[label] - m)) / batch``.

    The label's logit is selected, and its distance from the maximum is what is subtracted: logits
    of -Inf elsewhere do no harm, and large ones cost no digits. The loss of a label whose logit is
    -Inf is +Inf.

    Parameters
    ----------
    losses
        fp32, (n, bands of the logits): parts of the loss, whose sum (`total`) is the mean loss.
    """
    below, onehot, n = softmax.below, softmax.onehot, b.config.n
    bands = below.spans()
    if not (below.is_packed and onehot.is_packed):
        bands = [range(band, band + 1) for band in range(below.bands)]
    share = 1.0 / below.rows
    with (
        b.temporary("labels' logits", n, below.bands, FP32) as at_label,
        b.temporary("logarithms of the sums", n, below.bands, FP32) as logarithm,
    ):
        for several in bands:
            chosen = Step("select", below.span(several))
            dst = _of_band(at_label, below, several.start)
            b.reduce(dst, onehot.span(several), chosen, reduction="sum")
        for part in _parts(below):
            columns, rows = part
            if rows < n:
                # What the rows that are not there lose is nothing.
                b.compute(losses.strip().slice(*columns), Index(), Step("mul", 0.0))
            b.apply(_of(logarithm, part), _of(softmax.sums, part), "ln")
            b.compute(_of(losses, part), _of(logarithm, part), Step("mul", share))
        for several in bands:
            dst, distance = (_of_band(m, below, several.start) for m in (losses, at_label))
            b.compute(dst, distance, Step("mul", -share), Step("add", dst))


def _of_band(values: Matrix, z: Matrix, band: int) -> Strip:
    """The values of a band's rows: a column of `values`."""
    return values.strip().slice(band, band + 1).top(z.band_rows(band))


def _parts(z: Matrix) -> list[tuple[tuple[int, int], int]]:
    """Columns of values of z's bands, and their rows: the bands of n rows, and the rest."""
    return [((bands.start, bands.stop), z.band_rows(bands.start)) for bands in z.spans()]


def _of(values: Matrix, part: tuple[tuple[int, int], int]) -> Strip:
    columns, rows = part
    return values.strip().slice(*columns).top(rows)


def total(
    b: KernelBuilder,
    losses: Matrix,
    address: int,
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """The sum of all elements, as fp32 at `address`; by way of the n words behind it.

    Partitions have no way to each other but the array, which takes no fp32, transposes, which move
    16 bits, and memory.

    Parameters
    ----------
    losses
        fp32, of one band with n rows.
    address
        In memory; the ``4 n`` bytes from ``address + 4`` on are overwritten.
    meanwhile
        Called for what the vector engine shall do while the sums are on their way.
    """
    with (
        b.temporary("sums of the partitions", b.config.n, 1, FP32) as column,
        b.temporary("sums in a row", 1, b.config.n, FP32) as row,
        b.temporary("the sum", 1, 1, FP32) as result,
    ):
        b.reduce(column.strip(), losses.strip(), reduction="sum")
        b.store(column, address + 4)
        b.load(row, address + 4)
        if meanwhile is not None:
            meanwhile()
        b.reduce(result.strip(), row.strip(), reduction="sum")
        b.store(result, address)
