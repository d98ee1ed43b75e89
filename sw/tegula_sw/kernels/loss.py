"""Softmax cross-entropy: the loss, and its gradient with respect to the logits."""

from collections.abc import Iterator
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
"""What the table must have."""

_INDEX_BASE = 0x4B00_0000
"""The fp32 pattern of 2**23, which an index of the vector engine is added to."""


def label_pattern(label: int) -> int:
    """How a class number is staged: the fp32 pattern of ``2**23 + label``."""
    return _INDEX_BASE + label


@dataclass(frozen=True)
class Softmax:
    """What the loss needs of a batch's softmax, strips of its bands: see `softmax_gradient`."""

    logits: Matrix
    highest: list[Strip]
    sums: list[Strip]
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
    ``e * (1 / (batch s)) - onehot``. What comes of it can be computed within the block
    before the loss, which nothing else waits for.

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

        def strips(name: str, columns: int) -> list[Strip]:
            matrix = stack.enter_context(b.temporary(name, z.rows, columns, FP32))
            return [matrix.band(band) for band in range(matrix.bands)]

        bands = range(z.bands)
        highest, sums, inverse = (strips(name, 1) for name in ("maxima", "sums", "inverse sums"))
        e = strips("exponentials", z.columns)
        # Stage by stage, not row by row: an engine that works in order shall not wait for another.
        for band in bands:
            b.reduce(highest[band], z.band(band), reduction="max")
        for band in bands:
            b.compute(e[band], z.band(band), Step("sub", PerPartition(highest[band])))
            b.apply(e[band], e[band], "exp")
        for band in bands:
            b.reduce(sums[band], e[band], reduction="sum")
            b.apply(inverse[band], sums[band], "recip", scale=float(z.rows))
        for band in bands:
            scaled = Step("mul", PerPartition(inverse[band]))
            b.compute(dz.band(band), e[band], scaled, Step("sub", onehot.band(band)))
        yield Softmax(z, highest, sums, onehot)


def mean_loss(b: KernelBuilder, softmax: Softmax, losses: Matrix) -> None:
    """Mean cross-entropy of the batch: a row's share is ``(ln s + m - z[label]) / batch``.

    Parameters
    ----------
    losses
        fp32, (n, bands of the logits): each row's share; their sum (`total`) is the mean loss.
    """
    z = softmax.logits
    for band in range(z.bands):
        rows = z.band_rows(band)
        loss = losses.strip().slice(band, band + 1)
        with (
            b.temporary("logits of the labels", rows, 1, FP32) as at_label,
            b.temporary("logarithms of the sums", rows, 1, FP32, skew=1) as logarithm,
        ):
            onehot = Step("mul", softmax.onehot.band(band))
            b.reduce(at_label.strip(), z.band(band), onehot, reduction="sum")
            b.apply(logarithm.strip(), softmax.sums[band], "ln")
            if rows < z.n:
                # What the rows that are not there lose is nothing.
                b.compute(loss, Index(), Step("mul", 0.0))
                loss = loss.top(rows)
            b.compute(loss, logarithm.strip(), Step("add", softmax.highest[band]))
            b.compute(loss, loss, Step("mul", 1.0 / z.rows), Step("sub", at_label.strip()))


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
