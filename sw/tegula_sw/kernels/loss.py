"""Softmax cross-entropy: the loss, and its gradient with respect to the logits."""

from contextlib import ExitStack

from tegula.formats import FP32
from tegula_sw.kernels.builder import Index, KernelBuilder, PerPartition, Step
from tegula_sw.kernels.matrix import Matrix

__all__ = ["FUNCTIONS", "label_pattern", "softmax_cross_entropy", "total"]

FUNCTIONS = ("exp", "ln", "recip")
"""What the table must have."""

_INDEX_BASE = 0x4B00_0000
"""The fp32 pattern of 2**23, which an index of the vector engine is added to."""


def label_pattern(label: int) -> int:
    """How a class number is staged: the fp32 pattern of ``2**23 + label``."""
    return _INDEX_BASE + label


def softmax_cross_entropy(
    b: KernelBuilder, z: Matrix, labels: Matrix, dz: Matrix, losses: Matrix
) -> None:
    """Mean loss of a batch, and the gradient ``(softmax(z) - onehot) / batch``.

    Of a row: ``m = max z``, ``e = exp(z - m)``, ``s = sum e``; the loss is
    ``(ln s + m - z[label]) / batch``, the gradient ``e * (1 / (batch s)) - onehot / batch``.

    Parameters
    ----------
    z
        Logits, fp32, (batch, classes).
    labels
        fp32, (batch, 1): `label_pattern` of each class number.
    dz
        The gradient, (batch, classes), of any format.
    losses
        fp32, (n, bands of z): each row's share; their sum is the mean loss (`total`).
    """
    share = 1.0 / z.rows
    with ExitStack() as stack:

        def strips(name: str, columns: int) -> list:
            matrix = stack.enter_context(b.temporary(name, z.rows, columns, FP32))
            return [matrix.band(band) for band in range(matrix.bands)]

        bands = range(z.bands)
        highest, sums, inverse, at_label = (
            strips(name, 1) for name in ("maxima", "sums", "inverse sums", "logits of the labels")
        )
        e, onehot = strips("exponentials", z.columns), strips("one-hot labels", z.columns)
        # Stage by stage, not row by row: an engine that works in order shall not wait for another.
        for band in bands:
            label = labels.band(band)
            b.compute(onehot[band], Index(), Step("eq", PerPartition(label)), Step("mul", share))
        for band in bands:
            b.reduce(highest[band], z.band(band), reduction="max")
        for band in bands:
            b.compute(e[band], z.band(band), Step("sub", PerPartition(highest[band])))
            b.apply(e[band], e[band], "exp", total=sums[band])
        for band in bands:
            b.apply(inverse[band], sums[band], "recip", scale=float(z.rows))
        for band in bands:
            b.compute(
                dz.band(band),
                e[band],
                Step("mul", PerPartition(inverse[band])),
                Step("sub", onehot[band]),
            )
        for band in bands:
            b.reduce(at_label[band], z.band(band), Step("mul", onehot[band]), reduction="sum")
            b.apply(sums[band], sums[band], "ln")
        for band in bands:
            loss = losses.strip().slice(band, band + 1)
            if z.band_rows(band) < z.n:
                # What the rows that are not there lose is nothing.
                b.compute(loss, Index(), Step("mul", 0.0))
                loss = loss.top(z.band_rows(band))
            b.compute(sums[band], sums[band], Step("add", highest[band]))
            b.compute(loss, sums[band], Step("mul", share), Step("sub", at_label[band]))


def total(b: KernelBuilder, losses: Matrix, address: int) -> None:
    """The sum of all elements, as fp32 at `address`; by way of the n words behind it.

    Partitions have no way to each other but the array, which takes no fp32, transposes, which move
    16 bits, and memory.

    Parameters
    ----------
    losses
        fp32, of one band with n rows.
    address
        In memory; the ``4 n`` bytes from ``address + 4`` on are overwritten.
    """
    with (
        b.temporary("sums of the partitions", b.config.n, 1, FP32) as column,
        b.temporary("sums in a row", 1, b.config.n, FP32) as row,
        b.temporary("the sum", 1, 1, FP32) as result,
    ):
        b.reduce(column.strip(), losses.strip(), reduction="sum")
        b.store(column, address + 4)
        b.load(row, address + 4)
        b.reduce(result.strip(), row.strip(), reduction="sum")
        b.store(result, address)
