"""PSUM words and their reading as fp32 (contract sections 3.1, 3.6 and 3.7)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tegula_golden.array_types import Codes, Integers, Patterns

__all__ = [
    "EXPONENT_BITS",
    "MAX_ANCHOR",
    "MIN_ACC_WIDTH",
    "VALUE_OFFSET",
    "PartialSums",
    "significand_dtype",
    "to_fp32_bits",
]

MIN_ACC_WIDTH = 29
"""W with no guard bit: sign, 12 bits of headroom, 16 bits of product."""

EXPONENT_BITS = 9
"""Bits of a PSUM word's exponent field, above its significand."""

MAX_ANCHOR = 508
"""Largest anchor; the exponent fields above are it plus the sticky flags {ninf, pinf}."""

VALUE_OFFSET = 239
"""A partial sum is ``significand * 2**(exponent - 239 - W)``."""

_OBJECT_FROM = 65
"""Narrowest W whose significands are Python integers."""

_FP32_FRACTION_BITS = 23
_FP32_INFINITY = 0x7F80_0000
_FP32_NAN = 0x7FC0_0000


@dataclass(frozen=True, kw_only=True, eq=False)
class PartialSums:
    """PSUM words, unpacked.

    Attributes
    ----------
    exponent
        int64: 0 empty, 2 to 508 anchor, 509 +Inf, 510 -Inf, 511 NaN.
    significand
        int64 (W > 64: object array of int), same shape; 0 where the exponent is no anchor.
    acc_width
        W, bits of a significand, at least 29.

    Raises
    ------
    ValueError
        If the width is below 29 or not an int, or dtypes or shapes do not fit.
    """

    exponent: Integers
    significand: Integers
    acc_width: int

    def __post_init__(self) -> None:
        _check_acc_width(self.acc_width)
        if self.exponent.dtype != np.int64:
            raise ValueError(f"exponent must be int64, not {self.exponent.dtype}")
        if self.significand.dtype != significand_dtype(self.acc_width):
            raise ValueError(
                f"significand of W = {self.acc_width} must be"
                f" {significand_dtype(self.acc_width)}, not {self.significand.dtype}"
            )
        if self.exponent.shape != self.significand.shape:
            raise ValueError(
                f"significand must have the shape {self.exponent.shape} of exponent,"
                f" not {self.significand.shape}"
            )

    @classmethod
    def empty(cls, shape: tuple[int, ...], acc_width: int = 63) -> "PartialSums":
        """Sums of nothing: what a matmul that overwrites starts from."""
        _check_acc_width(acc_width)
        return cls(
            exponent=np.zeros(shape, dtype=np.int64),
            significand=np.zeros(shape, dtype=significand_dtype(acc_width)),
            acc_width=acc_width,
        )

    @classmethod
    def from_words(cls, words: NDArray[Any], acc_width: int = 63) -> "PartialSums":
        """Unpack PSUM words (integers of ``9 + acc_width`` bits, any dtype that holds them).

        Raises
        ------
        ValueError
            If a word is negative or wider than that.
        """
        _check_acc_width(acc_width)
        numbers = np.asarray(words, dtype=np.object_)
        limit = 1 << (EXPONENT_BITS + acc_width)
        for word in numbers.reshape(-1).tolist():
            if not 0 <= word < limit:
                raise ValueError(
                    f"PSUM word must be 0 to 2**{EXPONENT_BITS + acc_width} - 1, not {word}"
                )
        sign = 1 << (acc_width - 1)
        field = numbers & ((1 << acc_width) - 1)
        return cls(
            exponent=(numbers >> acc_width).astype(np.int64),
            significand=((field ^ sign) - sign).astype(significand_dtype(acc_width)),
            acc_width=acc_width,
        )

    def words(self) -> NDArray[np.object_]:
        """PSUM words ``exponent << W | significand mod 2**W``, as an object array of int."""
        field = self.significand.astype(np.object_) & ((1 << self.acc_width) - 1)
        words: NDArray[np.object_] = self.exponent.astype(np.object_) << self.acc_width | field
        return words


def _check_acc_width(acc_width: int) -> None:
    if not isinstance(acc_width, (int, np.integer)) or acc_width < MIN_ACC_WIDTH:
        raise ValueError(f"acc_width must be an int of at least {MIN_ACC_WIDTH}, not {acc_width!r}")


def significand_dtype(acc_width: int) -> np.dtype[Any]:
    """int64 for W up to 64; object (Python integers) for wider significands."""
    return np.dtype(object if acc_width >= _OBJECT_FROM else np.int64)


def _fit_int64(significand: int) -> tuple[int, int]:
    """`significand` in 62 bits, the rest sticking to the lowest, and how many bits were cut."""
    cut = max(abs(significand).bit_length() - 62, 0)
    if cut == 0:
        return significand, 0
    magnitude = abs(significand)
    sticky = magnitude & ((1 << cut) - 1) != 0
    magnitude = magnitude >> cut | sticky
    return (-magnitude if significand < 0 else magnitude), cut


def _bit_length(magnitude: Codes) -> Integers:
    """Bits of each uint64, 0 for 0."""
    smeared = magnitude.copy()
    for shift in (1, 2, 4, 8, 16, 32):
        smeared |= smeared >> np.uint64(shift)
    return np.bitwise_count(smeared).astype(np.int64)


def to_fp32_bits(partial: PartialSums) -> Patterns:
    """Read PSUM words as fp32: the exact value, rounded once to nearest even.

    fp32 subnormals are honoured and overflow is infinity. A significand of 0 reads as +0; a nonzero
    value that rounds to zero keeps its sign; NaN is 0x7FC00000.

    Returns
    -------
    numpy.ndarray
        uint32, shaped like the words.
    """
    significand = partial.significand
    lsb = partial.exponent - VALUE_OFFSET - partial.acc_width
    if significand.dtype == object:
        pairs = [_fit_int64(number) for number in significand.reshape(-1).tolist()]
        fitted = np.array(pairs, np.int64).reshape(*significand.shape, 2)
        significand, lsb = fitted[..., 0], lsb + fitted[..., 1]

    negative = significand < 0
    field = significand.view(np.uint64)
    magnitude = np.where(negative, ~field + np.uint64(1), field)
    binade = np.maximum(_bit_length(magnitude) - 1 + lsb, -126)
    shift = binade - _FP32_FRACTION_BITS - lsb

    # From 64 bits on, at most half an ulp is left (and a tie goes to zero).
    magnitude = np.where(shift > 63, np.uint64(0), magnitude)
    right = np.clip(shift, 0, 63).astype(np.uint64)
    left = np.maximum(-shift, 0).astype(np.uint64)
    quotient = magnitude >> right
    discarded = magnitude - (quotient << right)
    half = (np.uint64(1) << right) >> np.uint64(1)
    inexact = right > 0
    rounds_up = (discarded > half) | ((discarded == half) & (quotient & np.uint64(1) == 1))
    quotient = ((quotient + (inexact & rounds_up)) << left).astype(np.int64)
    code = np.minimum((binade + 126 << _FP32_FRACTION_BITS) + quotient, _FP32_INFINITY)

    code = np.where(magnitude == 0, 0, code) | negative.astype(np.int64) << 31
    flags = np.maximum(partial.exponent - MAX_ANCHOR, 0)
    specials = np.array([0, _FP32_INFINITY, _FP32_INFINITY | 1 << 31, _FP32_NAN])
    return np.where(flags == 0, code, specials[flags]).astype(np.uint32)
