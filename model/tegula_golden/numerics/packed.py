"""Second codes of packed operands: integers, and their exact sum (contract section 3.10)."""

from functools import cache

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Integers
from tegula_golden.numerics.codes import FINITE, operand_table
from tegula_golden.numerics.partial_sums import VALUE_OFFSET

__all__ = ["packed_anchor", "pair_allowed", "second_sum"]

_OPERAND_OFFSET = 134
"""An operand is ``significand * 2**(exponent - 134)``."""


def pair_allowed(stationary_fmt: FloatFormat, moving_fmt: FloatFormat, acc_width: int) -> bool:
    """Whether no product of two formats is above the anchor whose lowest bit is their unit."""
    return _spare_bits(stationary_fmt, moving_fmt, acc_width) >= 0


def packed_anchor(stationary_fmt: FloatFormat, moving_fmt: FloatFormat, acc_width: int) -> int:
    """Anchor whose lowest bit is the unit of the products of two 8-bit formats.

    Raises
    ------
    ValueError
        If a format does not have 8 bits, or the pair is not allowed.
    """
    for fmt in (stationary_fmt, moving_fmt):
        if fmt.width != 8:
            raise ValueError(f"packed operands must be of 8-bit formats, not {fmt.name}")
    spare = _spare_bits(stationary_fmt, moving_fmt, acc_width)
    if spare < 0:
        raise ValueError(
            f"packed operands {stationary_fmt.name} x {moving_fmt.name} need an accumulator of"
            f" {acc_width - spare} bits, not {acc_width}"
        )
    return _unit_anchor(stationary_fmt, moving_fmt, acc_width)


def _unit_anchor(stationary_fmt: FloatFormat, moving_fmt: FloatFormat, acc_width: int) -> int:
    unit = stationary_fmt.unit_exponent + moving_fmt.unit_exponent
    return unit + VALUE_OFFSET + acc_width


def _spare_bits(stationary_fmt: FloatFormat, moving_fmt: FloatFormat, acc_width: int) -> int:
    """Distance from the largest exponent of a product to the anchor."""
    largest = _largest_exponent(stationary_fmt) + _largest_exponent(moving_fmt)
    return _unit_anchor(stationary_fmt, moving_fmt, acc_width) - largest


def _largest_exponent(fmt: FloatFormat) -> int:
    return int(operand_table(fmt).exponent[fmt.max_finite])


@cache
def _integers(fmt: FloatFormat) -> Integers:
    """By code: the value in units of the format's smallest number; 0 of specials."""
    table = operand_table(fmt)
    shift = np.where(table.special == FINITE, table.exponent, 0) - _OPERAND_OFFSET
    shift = np.where(table.significand == 0, 0, shift - fmt.unit_exponent)
    up, down = np.maximum(shift, 0), np.maximum(-shift, 0)
    integers: Integers = (table.significand << up) >> down
    return integers


def second_sum(
    stationary: Codes, moving: Codes, stationary_fmt: FloatFormat, moving_fmt: FloatFormat
) -> Integers:
    """Sums of the finite products (M x F) in the pair's unit, exact: int64, or wider integers.

    Parameters
    ----------
    stationary, moving
        Second codes, K x M and K x F, with K up to 32.
    stationary_fmt, moving_fmt
        Their formats.
    """
    left, right = _integers(stationary_fmt), _integers(moving_fmt)
    if int(left.max()) * int(right.max()) * len(stationary) >= 1 << 63:
        left, right = left.astype(object), right.astype(object)
    total: Integers = left[stationary].T @ right[moving]
    return total
