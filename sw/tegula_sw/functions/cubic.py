"""Cubics for the segments of a function: fitted with MPFR, then rounded to entries of the table.

The fit is the first step of Remez's exchange (J.-M. Muller, *Elementary Functions*, 3rd edition,
section 3.5): the cubic whose weighted error has one size and alternating signs at the extrema of
the Chebyshev polynomial of degree 4. On segments this short the other steps gain next to nothing.
"""

from collections.abc import Callable
from functools import cache
from operator import mul
from typing import NamedTuple

import gmpy2
from gmpy2 import mpfr

__all__ = ["Cubics", "Entry", "cubics", "cubics_within"]

_PRECISION_BITS = 128

_UNIT_BITS = (30, 30, 30, 28)
"""Coefficient i is a multiple of ``2**-_UNIT_BITS[i]``."""

_WIDTHS = (32, 32, 28, 18)
_EXPONENTS = range(-256, 256)
_MIN_FP32_EXPONENT = -126
_MAX_K = 9

_EVALUATION_UNITS = 2
"""Units of h that the floors of an evaluation and the roundings of the coefficients stay below."""


class Entry(NamedTuple):
    """One segment: ``(c0 + c1 T + c2 T**2 + c3 T**3) * 2**exponent``, in the units of section 5.5.

    A constant is its fp32 pattern in `c0`, as a two's complement number.
    """

    c0: int
    c1: int = 0
    c2: int = 0
    c3: int = 0
    exponent: int = 0


class Cubics(NamedTuple):
    """The segments of one descriptor, and the largest error in ulps before the last rounding."""

    entries: tuple[Entry, ...]
    error_ulps: float


@cache
def _points() -> tuple[mpfr, ...]:
    """Extrema of the Chebyshev polynomial of degree 4, moved to [0, 1]."""
    return tuple((1 - gmpy2.cos(gmpy2.const_pi() * i / 4)) / 2 for i in range(5))


@cache
def _difference() -> tuple[mpfr, ...]:
    """Weights of the values at the points in their divided difference, which no cubic has."""
    points = _points()
    weights = []
    for i, point in enumerate(points):
        product = mpfr(1)
        for j, other in enumerate(points):
            if i != j:
                product *= point - other
        weights.append(1 / product)
    return tuple(weights)


def _interpolate(values: list[mpfr]) -> list[mpfr]:
    """Coefficients of the cubic through the first four points."""
    points = _points()
    newton = values[:4]
    for order in range(1, 4):
        for i in range(3, order - 1, -1):
            newton[i] = (newton[i] - newton[i - 1]) / (points[i] - points[i - order])
    coefficients = [newton[3]]
    for i in (2, 1, 0):
        shifted = [mpfr(0), *coefficients]
        coefficients = [a - points[i] * b for a, b in zip(shifted, [*coefficients, 0], strict=True)]
        coefficients[0] += newton[i]
    return coefficients


def _level(values: list[mpfr], weights: list[mpfr]) -> tuple[list[mpfr], mpfr]:
    """The cubic whose error at point i is ``+-level * weights[i]``, and the level."""
    signed = [-w if i % 2 else w for i, w in enumerate(weights)]
    difference = _difference()
    level = sum(map(mul, difference, values)) / sum(map(mul, difference, signed))
    return _interpolate([v - level * s for v, s in zip(values, signed, strict=True)]), abs(level)


def _least_exponent(coefficients: list[mpfr]) -> int:
    """The smallest exponent with which all coefficients are in range but for their rounding."""
    needed = [
        gmpy2.get_exp(c) - (width - 1 - unit)
        for c, width, unit in zip(coefficients, _WIDTHS, _UNIT_BITS, strict=True)
        if c != 0
    ]
    least: int = max([_EXPONENTS[0], *needed])
    return least


def _quantise(coefficients: list[mpfr], exponent: int) -> Entry:
    """Round from c3 to c0, each time passing on what the lower powers can take of the error.

    On [0, 1] ``T**3`` is ``(48 T**2 - 18 T + 1) / 32``, ``T**2`` is ``(8 T - 1) / 8`` and T is
    ``1 / 2``, up to a Chebyshev polynomial over 32, 8 and 2.
    """
    c0, c1, c2, c3 = (
        c * gmpy2.exp2(unit - exponent) for c, unit in zip(coefficients, _UNIT_BITS, strict=True)
    )
    q3 = int(gmpy2.rint(c3))
    error = (c3 - q3) * (1 << _UNIT_BITS[2] - _UNIT_BITS[3])
    c2, c1, c0 = c2 + error * 48 / 32, c1 - error * 18 / 32, c0 + error / 32
    q2 = int(gmpy2.rint(c2))
    error = c2 - q2
    c1, c0 = c1 + error, c0 - error / 8
    q1 = int(gmpy2.rint(c1))
    q0 = int(gmpy2.rint(c0 + (c1 - q1) / 2))
    return Entry(q0, q1, q2, q3, exponent)


def _misfit(entry: Entry) -> int | None:
    """The first coefficient that is out of its field's range."""
    for i, width in enumerate(_WIDTHS):
        if not -(1 << width - 1) <= entry[i] < 1 << width - 1:
            return i
    return None


def _entry(coefficients: list[mpfr], exponent: int | None) -> Entry:
    if exponent is None:
        exponent = _least_exponent(coefficients)
        # Rounding can carry a coefficient to the end of its range.
        if _misfit(_quantise(coefficients, exponent)) is not None:
            exponent += 1
    entry = _quantise(coefficients, exponent)
    wrong = _misfit(entry)
    if wrong is not None:
        raise ValueError(
            f"c{wrong} must fit {_WIDTHS[wrong]} bits in units of 2**-{_UNIT_BITS[wrong]},"
            f" and is {entry[wrong]} of them: take more segments or a larger exponent"
        )
    if exponent not in _EXPONENTS:
        raise ValueError(f"the exponent must be -256 to 255, and is {exponent}")
    return entry


def _ulp(magnitude: mpfr) -> mpfr:
    return gmpy2.exp2(max(gmpy2.get_exp(magnitude) - 1, _MIN_FP32_EXPONENT) - 23)


def cubics(
    f: Callable[[mpfr], mpfr], k: int, *, floor: float = 0, exponent: int | None = None
) -> Cubics:
    """Entries for f on [0, 1), in ``2**k`` segments of equal length.

    Parameters
    ----------
    f
        The function of the fraction, without the descriptor's gain; it is called with 128 bits.
    floor
        The relative error is levelled where `f` is larger, and the absolute error where it is not;
        a ulp is that of a number at least so large.
    exponent
        That of all entries; None: of each the smallest that its coefficients allow.

    Raises
    ------
    ValueError
        If a coefficient does not fit its field; the message says which.
    """
    with gmpy2.context(precision=_PRECISION_BITS):
        length = mpfr(1) / (1 << k)
        segments = [
            [f((number + point) * length) for point in _points()] for number in range(1 << k)
        ]
        fits = [_segment(values, mpfr(floor), exponent) for values in segments]
    return Cubics(tuple(entry for entry, _ in fits), max(error for _, error in fits))


def _segment(values: list[mpfr], floor: mpfr, exponent: int | None) -> tuple[Entry, float]:
    """The entry for a segment with these values at the points, and its error in ulps."""
    weights = [max(abs(value), floor) for value in values]
    coefficients, level = _level(values, weights)
    entry = _entry(coefficients, exponent)
    units = gmpy2.exp2(entry.exponent - _UNIT_BITS[0]) * _EVALUATION_UNITS
    return entry, max(float((level * w + units) / _ulp(w)) for w in weights if w != 0)


def cubics_within(f: Callable[[mpfr], mpfr], tolerance_ulps: float, *, floor: float = 0) -> Cubics:
    """The fewest segments whose error before the last rounding is at most `tolerance_ulps`.

    `f` and `floor` are those of `cubics`; exponents are the smallest.

    Raises
    ------
    ValueError
        If 512 segments are not enough.
    """
    for k in range(_MAX_K + 1):
        fit = cubics(f, k, floor=floor)
        if fit.error_ulps <= tolerance_ulps:
            return fit
    raise ValueError(
        f"{1 << _MAX_K} segments have an error of {fit.error_ulps:.3g} ulps,"
        f" and must have {tolerance_ulps} at most"
    )
