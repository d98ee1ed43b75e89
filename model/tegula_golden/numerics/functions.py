"""Functions of the activation engine by tables of piecewise cubics (contract section 5.5).

Everything is an int64: no intermediate result of the section reaches 2**62.
"""

from dataclasses import dataclass

import numpy as np

from tegula_golden.array_types import Integers, Mask, Patterns, check_array
from tegula_golden.numerics.function_table import Table

__all__ = ["Function", "evaluate"]

_FRACTION_BITS = 23
_BIAS = 127
_MIN_EXPONENT = 1 - _BIAS
_MAGNITUDE_MASK = 0x7FFF_FFFF
_SIGN = 0x8000_0000
_INFINITY = 0x7F80_0000
_QUIET_NAN = 0x7FC0_0000

_LOG2_E = 0xB_8AA3_B296
"""log2(e) in units of 2**-35."""

_LN_2 = 744_261_118
"""ln 2 in units of 2**-30."""

_UNIT_BITS = 30
_WINDOW = {"float": 31, "exp": 63}
"""The last index of a descriptor, by reduction."""

_FAR_SHIFT = 48
"""A polynomial's value, below 2**41, is far below half of what this shift keeps."""

_PART = 1 << 14
"""Patterns that are evaluated together: their temporaries stay in a cache."""

_POWERS = 1 << np.arange(62, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Function:
    """Mapping of arguments to the descriptors of a function.

    Attributes
    ----------
    descriptor
        The function's first descriptor, D.
    reduction
        "float": exponent and fraction of the argument itself; "exp": integer and fraction of the
        argument times log2(e).
    low
        n of the first descriptor of the window, -512 to 511.
    parity
        The descriptor follows the lowest bit of n, not the window.
    odd
        ``f(-z) = -f(z)``: only positive arguments are looked up.
    log
        ``n * ln 2`` is added to the polynomial.

    Raises
    ------
    ValueError
        If `descriptor` or `low` is out of range, or the reduction unknown.
    """

    descriptor: int
    reduction: str
    low: int
    parity: bool = False
    odd: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        if self.descriptor < 0:
            raise ValueError(f"descriptor must not be negative, and is {self.descriptor}")
        if self.reduction not in _WINDOW:
            raise ValueError(f"reduction must be one of {', '.join(_WINDOW)}, not {self.reduction}")
        if not -512 <= self.low <= 511:
            raise ValueError(f"low must be -512 to 511, not {self.low}")


def evaluate(table: Table, function: Function, z: Patterns) -> Patterns:
    """fp32 patterns of ``f(z)``.

    Parameters
    ----------
    table, function
        What the engine has loaded; which of the functions in it, and how it is reduced.
    z
        fp32 patterns, uint32, any shape.

    Returns
    -------
    numpy.ndarray
        uint32, shaped like `z`.

    Raises
    ------
    ValueError
        If `z` is not a uint32 array.
    """
    check_array(z, np.uint32, "z")
    if z.size <= _PART:
        return _evaluate(table, function, z)
    patterns = z.reshape(-1)
    results = np.empty_like(patterns)
    for start in range(0, z.size, _PART):
        part = slice(start, start + _PART)
        results[part] = _evaluate(table, function, patterns[part])
    return results.reshape(z.shape)


def _evaluate(table: Table, function: Function, z: Patterns) -> Patterns:
    pattern = z.astype(np.int64)
    magnitude = pattern & _MAGNITUDE_MASK
    sign = pattern ^ magnitude
    negative = np.zeros_like(pattern) if function.odd else pattern >> 31

    n, t, special = _reduce(magnitude, negative, function.reduction)
    offset = np.where(special, 2 * (magnitude != 0) + negative, 4 + _index(n, negative, function))
    descriptor = function.descriptor + offset & len(table.first) - 1
    entry = table.first.take(descriptor) + (t >> table.segment_shift.take(descriptor))
    entry &= len(table.c0) - 1

    c0 = table.c0.take(entry)
    h = _polynomial(table, entry, c0, (t << table.k.take(descriptor) & 0xFFFF_FFFF) >> 8)
    if function.log:
        h += n * _LN_2
    gain = table.gain_sign.take(descriptor) * (n >> table.gain_shift.take(descriptor))
    result = _round(h, table.exponent.take(entry) + (gain - _UNIT_BITS))
    result = np.where(table.is_constant.take(descriptor), c0 & 0xFFFF_FFFF, result)
    if function.odd:
        result = result ^ sign
    nan = (magnitude > _INFINITY) | (result & _MAGNITUDE_MASK > _INFINITY)
    return np.where(nan, _QUIET_NAN, result).astype(np.uint32)


def _bit_length(x: Integers) -> Integers:
    return _POWERS.searchsorted(x, side="right")


def _reduce(
    magnitude: Integers, negative: Integers, reduction: str
) -> tuple[Integers, Integers, Mask]:
    """Step 2: n, t, and where the argument is a zero or an infinity."""
    field = magnitude >> _FRACTION_BITS
    up = np.where(field == 0, _FRACTION_BITS + 1 - _bit_length(magnitude), 0)
    n = np.maximum(field, 1) - up - _BIAS
    fraction = magnitude << up & ((1 << _FRACTION_BITS) - 1)
    special = (magnitude == 0) | (magnitude == _INFINITY)
    if reduction == "float":
        t = fraction << 9
    else:
        far = n >= 8
        shift = np.minimum(np.maximum(28 - n, 0), 62)
        units = (fraction + (1 << _FRACTION_BITS)) * _LOG2_E >> shift
        units = np.where(negative, -units, units)
        n = np.where(far, np.where(negative, -512, 511), units >> _UNIT_BITS)
        t = np.where(far, 0, (units & ((1 << _UNIT_BITS) - 1)) << 2)
    return np.where(special, 0, n), np.where(special, 0, t), special


def _index(n: Integers, negative: Integers, function: Function) -> Integers:
    """Step 3: the descriptor of a nonzero finite argument, beyond D + 4."""
    if function.parity:
        index = n & 1
    else:
        index = np.minimum(np.maximum(n - function.low, 0), _WINDOW[function.reduction])
    return index + 32 * negative if function.reduction == "float" else index


def _polynomial(table: Table, entry: Integers, c0: Integers, t: Integers) -> Integers:
    """Step 5 without the logarithm: the cubic at `t`, 24 bits of the segment's coordinate."""
    h = table.c2.take(entry) + (table.c3.take(entry) * (t >> 7) >> 15)
    h = table.c1.take(entry) + (h * t >> 24)
    return c0 + (h * t >> 24)


def _round(h: Integers, exponent: Integers) -> Integers:
    """Step 6 with s = 0: patterns of ``h * 2**exponent``."""
    magnitude = np.abs(h)
    binade = np.maximum(exponent + _bit_length(magnitude) - 1, _MIN_EXPONENT)
    shift = binade - _FRACTION_BITS - exponent
    # One bit more than the ulp, so that there is always a bit to round away.
    doubled = magnitude << np.maximum(1 - shift, 1)
    drop = np.minimum(np.maximum(shift + 1, 1), _FAR_SHIFT)
    even = doubled >> drop & 1
    quotient = doubled + (np.int64(1) << drop - 1) - 1 + even >> drop
    code = (binade - _MIN_EXPONENT << _FRACTION_BITS) + quotient
    code = np.where(magnitude == 0, 0, np.minimum(code, _INFINITY))
    return np.where(h < 0, code | _SIGN, code)
