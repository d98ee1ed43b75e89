"""Reductions of fp32 patterns in the lanes of an engine (contract section 5.3)."""

import numpy as np

from tegula.isa.operations import Reduction
from tegula_golden.array_types import Patterns
from tegula_golden.numerics.fp32 import (
    ABS_MASK,
    MINUS_INF,
    ZERO,
    add,
    check_patterns,
    maximum,
)

__all__ = ["PARTIALS", "combine", "fold", "initial_partials"]

PARTIALS = 8
"""Partial results of a reduction, a lane."""


def initial_partials(lanes: int, kind: Reduction) -> Patterns:
    """Identities, from which a new reduction starts: uint32 of shape (lanes, 8).

    Raises
    ------
    ValueError
        If `kind` is `NONE`.
    """
    _check_kind(kind)
    start = MINUS_INF if kind == Reduction.MAX else ZERO
    return np.full((lanes, PARTIALS), start, dtype=np.uint32)


def _check_kind(kind: Reduction) -> None:
    if kind not in (Reduction.SUM, Reduction.MAX, Reduction.AMAX):
        raise ValueError(f"{kind!r} is not a reduction")


def fold(partials: Patterns, results: Patterns, kind: Reduction) -> Patterns:
    """Combine element i of each lane with partial ``i mod 8``, in the order of i.

    Parameters
    ----------
    partials
        uint32 of shape (lanes, 8).
    results
        uint32 of shape (lanes, elements).
    kind
        `SUM`, `MAX` or `AMAX`.

    Returns
    -------
    numpy.ndarray
        The new partials; the old ones are not changed.

    Raises
    ------
    ValueError
        If an operand is not uint32, the shapes do not fit, or `kind` is `NONE`.
    """
    _check_kind(kind)
    check_patterns(partials, results)
    lanes = partials.shape[0]
    if partials.shape != (lanes, PARTIALS) or results.ndim != 2 or len(results) != lanes:
        raise ValueError(
            f"partials and results must have the shapes (lanes, {PARTIALS}) and"
            f" (lanes, elements), not {partials.shape} and {results.shape}"
        )
    if kind == Reduction.AMAX:
        results = results & ABS_MASK
    partials = partials.copy()
    for first in range(0, results.shape[1], PARTIALS):
        step = results[:, first : first + PARTIALS]
        touched = partials[:, : step.shape[1]]
        touched[...] = _join(kind, touched, step)
    return partials


def combine(partials: Patterns, kind: Reduction) -> Patterns:
    """``((p0 o p4) o (p2 o p6)) o ((p1 o p5) o (p3 o p7))`` with add or max, for each lane.

    Parameters
    ----------
    partials
        uint32 of shape (lanes, 8).
    kind
        `SUM`, `MAX` or `AMAX`.

    Returns
    -------
    numpy.ndarray
        uint32 of shape (lanes,).

    Raises
    ------
    ValueError
        If `partials` is not that, or `kind` is `NONE`.
    """
    _check_kind(kind)
    check_patterns(partials)
    if partials.ndim != 2 or partials.shape[1] != PARTIALS:
        raise ValueError(f"partials must have the shape (lanes, {PARTIALS}), not {partials.shape}")
    while partials.shape[1] > 1:
        half = partials.shape[1] // 2
        partials = _join(kind, partials[:, :half], partials[:, half:])
    return partials[:, 0]


def _join(kind: Reduction, a: Patterns, b: Patterns) -> Patterns:
    return add(a, b) if kind == Reduction.SUM else maximum(a, b)
