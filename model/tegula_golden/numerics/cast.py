"""Casts from fp32 (contract section 4), on integers only.

Rounding happens on the magnitude's integer significand: no float64 and no library conversion takes
part, for those round float64 inputs twice (ml_dtypes, torch).
"""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Floats, Integers, Patterns, Words, check_array
from tegula_golden.numerics.codes import code_dtype

__all__ = ["RANDOM_BITS", "cast", "float_to_bits"]

RANDOM_BITS = 16
"""Random bits that stochastic rounding takes for each element."""

_FRACTION_BITS = 23
_BIAS = 127
_LSB_EXPONENT = _BIAS + _FRACTION_BITS
"""An fp32 magnitude is ``significand * 2**(max(field, 1) - 150)``."""

_MAGNITUDE_MASK = 0x7FFF_FFFF
_INFINITY = 0x7F80_0000
_QUIET_NAN = 0x7FC0_0000

_FAR_SHIFT = 24 + RANDOM_BITS
"""A discarded field this wide leaves the quotient, its increment and the 16 compared bits zero."""


def float_to_bits(x: Floats) -> Patterns:
    """Bit patterns of a float32 array, as uint32 of the same shape.

    Raises
    ------
    ValueError
        If `x` is not a float32 array.
    """
    check_array(x, np.float32, "x")
    return x.view(np.uint32)


def cast(
    bits: Patterns,
    fmt: FloatFormat,
    *,
    saturate: bool = False,
    random: Words | None = None,
) -> Codes:
    """Round fp32 bit patterns to codes of `fmt`.

    The magnitude is rounded as if the exponent range had no upper end (with the subnormals of
    `fmt`) and only then compared with the largest finite number. fp32 -> fp32 changes only the
    payloads of NaNs.

    Parameters
    ----------
    bits
        uint32, any shape.
    fmt
        Format of the result.
    saturate
        8-bit formats only (the others ignore it): overflow and the infinities become the largest
        finite number of their sign. Otherwise they become infinity, or NaN where there is none.
    random
        None: round to nearest, ties to even. Else uint16, shaped like `bits`: round the magnitude
        up iff ``d + random >= 2**16``, where `d` is the discarded fraction of an output ulp,
        truncated to 16 bits.

    Returns
    -------
    numpy.ndarray
        uint8, uint16 or uint32, shaped like `bits`.

    Raises
    ------
    ValueError
        If a dtype is wrong or the shapes of `bits` and `random` differ.
    """
    _check(bits, random)
    sign = (bits >> np.uint32(31)).astype(np.int64) << (fmt.width - 1)
    magnitude = (bits & np.uint32(_MAGNITUDE_MASK)).astype(np.int64)
    if fmt.mantissa_bits == _FRACTION_BITS:
        code = magnitude
    else:
        code = _round_magnitude(magnitude, fmt, random)
    infinite_or_over = (magnitude == _INFINITY) | (code > fmt.max_finite)
    code = np.where(infinite_or_over, _overflow_code(fmt, saturate), code)
    code = np.where(magnitude > _INFINITY, fmt.nan, code)
    return (sign | code).astype(code_dtype(fmt))


def _check(bits: Patterns, random: Words | None) -> None:
    check_array(bits, np.uint32, "bits")
    if random is None:
        return
    check_array(random, np.uint16, "random")
    if random.shape != bits.shape:
        raise ValueError(f"random must have the shape {bits.shape} of bits, not {random.shape}")


def _round_magnitude(magnitude: Integers, fmt: FloatFormat, random: Words | None) -> Integers:
    """Magnitude codes, unbounded above: codes past `fmt.max_finite` are overflows."""
    field = magnitude >> _FRACTION_BITS
    exponent = np.maximum(field, 1)
    significand = magnitude & ((1 << _FRACTION_BITS) - 1)
    significand |= (field > 0).astype(np.int64) << _FRACTION_BITS

    # The output ulp is that of the binade, and never below that of the output's subnormals.
    binade = np.maximum(exponent - _BIAS, fmt.min_exponent)
    shift = np.minimum(binade - fmt.mantissa_bits - exponent + _LSB_EXPONENT, _FAR_SHIFT)
    quotient = significand >> shift
    discarded = significand - (quotient << shift)
    if random is None:
        half = np.int64(1) << (shift - 1)
        quotient += (discarded > half) | ((discarded == half) & (quotient & 1 == 1))
    else:
        fraction = (discarded << RANDOM_BITS) >> shift
        quotient += fraction + random >= 1 << RANDOM_BITS

    # A quotient of 2**(mantissa_bits + 1) carries into the exponent by itself.
    code: Integers = (binade - fmt.min_exponent << fmt.mantissa_bits) + quotient
    return code


def _overflow_code(fmt: FloatFormat, saturate: bool) -> int:
    if saturate and fmt.width == 8:
        return fmt.max_finite
    return fmt.nan if fmt.infinity is None else fmt.infinity
