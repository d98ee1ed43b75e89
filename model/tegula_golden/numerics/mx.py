"""Block scaling: MX scales, elements and their numbers (contract section 4.5), on integers only."""

import numpy as np

from tegula.formats import MX_BLOCK, MXFP4_E2M1, MxElement
from tegula.isa.operations import ScaleRule
from tegula_golden.array_types import Bytes, Floats, Integers, Patterns, check_array
from tegula_golden.numerics.codes import decode

__all__ = [
    "NAN_SCALE",
    "block_scales",
    "dequantise",
    "e2m1_of_e4m3fn",
    "e4m3fn_of_e2m1",
    "quantised",
    "scaled_elements",
]

NAN_SCALE = 255
"""Scale of a block whose elements are all NaN; scale s < 255 stands for ``2**(s - 127)``."""

_BIAS = 127
_FRACTION_BITS = 23
_MAGNITUDE_MASK = np.uint32(0x7FFF_FFFF)
_INFINITY = 0x7F80_0000
_INFINITE_RCEIL = 254
"""Scale by `RCEIL` of a block with an infinity: no finite number has it."""

_FAR_SHIFT = 40
"""A significand of 24 bits that is shifted right so far is less than half of an ulp."""

_E2M1_OF_E4M3FN = np.full(256, 255, dtype=np.uint8)
_E4M3FN_OF_E2M1 = np.array(
    [sign << 7 | code for sign in (0, 1) for code in (0, 48, 56, 60, 64, 68, 72, 76)],
    dtype=np.uint8,
)
"""By E2M1 code: 0, 0.5, 1, 1.5, 2, 3, 4 and 6, and their negatives."""

_E2M1_OF_E4M3FN[_E4M3FN_OF_E2M1] = np.arange(16, dtype=np.uint8)


def block_scales(bits: Patterns, element: MxElement, rule: ScaleRule) -> Bytes:
    """Scales of blocks of `MX_BLOCK` fp32 patterns along the last axis; the last may be shorter.

    Parameters
    ----------
    bits
        uint32, ... x elements.
    element
        The elements that the scales are for.
    rule
        How a scale follows from the largest magnitude of its block.

    Returns
    -------
    numpy.ndarray
        uint8, ... x blocks.

    Raises
    ------
    ValueError
        If `bits` is not uint32, or has no axis or no element along the last one.
    """
    check_array(bits, np.uint32, "bits")
    if bits.ndim == 0 or bits.shape[-1] == 0:
        raise ValueError(f"bits must have elements along its last axis, not shape {bits.shape}")
    starts = np.arange(0, bits.shape[-1], MX_BLOCK)
    # As integers, NaNs are the largest magnitudes, and infinity is above every number.
    amax = np.maximum.reduceat(bits & _MAGNITUDE_MASK, starts, axis=-1).astype(np.int64)
    field, fraction = amax >> _FRACTION_BITS, amax & ((1 << _FRACTION_BITS) - 1)
    scales = field - element.largest_exponent
    if rule == ScaleRule.RCEIL:
        scales = scales + (fraction > element.largest_fraction)
    elif rule == ScaleRule.CEIL:
        scales = scales + (fraction > 0)
    scales = np.maximum(scales, 0)
    if rule == ScaleRule.RCEIL:
        scales = np.where(amax == _INFINITY, _INFINITE_RCEIL, scales)
    result: Bytes = np.where(amax > _INFINITY, NAN_SCALE, scales).astype(np.uint8)
    return result


def scaled_elements(bits: Patterns, scales: Bytes, element: MxElement) -> Bytes:
    """Codes of the elements of blocks whose scales are given.

    A number is divided by its block's scale and rounded once, to nearest even, saturating;
    infinities saturate too. In a block whose scale is NaN every code is the format's positive NaN,
    or +0 where the element has no NaN.

    Parameters
    ----------
    bits, scales
        uint32, ... x elements; uint8, ... x blocks.

    Returns
    -------
    numpy.ndarray
        uint8, shaped like `bits`: codes of `element.fmt`.

    Raises
    ------
    ValueError
        If a dtype is wrong, or the number of scales is not that of the blocks.
    """
    check_array(bits, np.uint32, "bits")
    scale = _of_elements(scales, bits.shape)
    sign = (bits >> np.uint32(31)).astype(np.uint8)
    magnitude = (bits & _MAGNITUDE_MASK).astype(np.int64)
    code = np.minimum(_rounded(magnitude, scale, element), element.largest)
    code = np.where(magnitude >= _INFINITY, element.largest, code).astype(np.uint8)
    if element is MXFP4_E2M1:
        codes: Bytes = _E4M3FN_OF_E2M1[sign << np.uint8(3) | code]
        nan = 0
    else:
        codes = sign << np.uint8(7) | code
        nan = element.fmt.nan
    return np.where(scale == NAN_SCALE, np.uint8(nan), codes)


def quantised(bits: Patterns, element: MxElement, rule: ScaleRule) -> tuple[Bytes, Bytes]:
    """`block_scales` and their `scaled_elements`: ... x blocks and ... x elements."""
    scales = block_scales(bits, element, rule)
    return scales, scaled_elements(bits, scales, element)


def dequantise(scales: Bytes, codes: Bytes, element: MxElement) -> Floats:
    """Numbers that elements stand for, exact in fp32; infinite where fp32 has none so large.

    Parameters
    ----------
    scales, codes
        uint8, ... x blocks and ... x elements: results of `quantised`.

    Returns
    -------
    numpy.ndarray
        float32, shaped like `codes`; the quiet NaN in blocks whose scale is NaN.

    Raises
    ------
    ValueError
        If a dtype is wrong, or the number of scales is not that of the blocks.
    """
    scale = _of_elements(scales, codes.shape)
    # The smallest element times the smallest scale, 2**-143, is an fp32 number, and no code has
    # more than 4 significant bits: float64 holds every product, fp32 all but those too large.
    values = decode(codes, element.fmt).astype(np.float64)
    with np.errstate(over="ignore"):
        products = np.ldexp(values, scale - _BIAS).astype(np.float32)
    result: Floats = np.where(scale == NAN_SCALE, np.float32(np.nan), products)
    return result


def e4m3fn_of_e2m1(codes: Bytes) -> Bytes:
    """E4M3FN codes of the numbers that E2M1 codes, 0 to 15, stand for; same shape.

    Raises
    ------
    ValueError
        If `codes` is not uint8, or has a code above 15.
    """
    check_array(codes, np.uint8, "codes")
    if codes.size and codes.max() >= len(_E4M3FN_OF_E2M1):
        raise ValueError(f"codes of e2m1 must be 0 to 15, not {int(codes.max())}")
    result: Bytes = _E4M3FN_OF_E2M1[codes, ...]
    return result


def e2m1_of_e4m3fn(codes: Bytes) -> Bytes:
    """E2M1 codes, 0 to 15, of E4M3FN codes that are numbers of E2M1; same shape.

    Raises
    ------
    ValueError
        If `codes` is not uint8, or a code stands for something that E2M1 does not have.
    """
    check_array(codes, np.uint8, "codes")
    result: Bytes = _E2M1_OF_E4M3FN[codes, ...]
    if (result > 15).any():
        wrong = int(codes[result > 15].flat[0])
        raise ValueError(f"codes must be numbers of e2m1, not {wrong:#04x} of e4m3fn")
    return result


def _of_elements(scales: Bytes, shape: tuple[int, ...]) -> Integers:
    """The scale of each element, int64, in an array of `shape`."""
    check_array(scales, np.uint8, "scales")
    blocks = (*shape[:-1], -(-shape[-1] // MX_BLOCK)) if shape else ()
    if scales.shape != blocks or not shape:
        raise ValueError(
            f"scales must have the shape {blocks} of blocks of {MX_BLOCK}, not {scales.shape}"
        )
    return np.repeat(scales, MX_BLOCK, axis=-1)[..., : shape[-1]].astype(np.int64)


def _rounded(magnitude: Integers, scale: Integers, element: MxElement) -> Integers:
    """Magnitude codes in the element's own encoding, unbounded above."""
    field = magnitude >> _FRACTION_BITS
    significand = magnitude & ((1 << _FRACTION_BITS) - 1)
    significand |= (field > 0).astype(np.int64) << _FRACTION_BITS
    lsb = np.maximum(field, 1) - _BIAS - _FRACTION_BITS - (scale - _BIAS)
    length = np.frexp(significand.astype(np.float64))[1]  # bits of an integer: exact
    binade = np.maximum(lsb + length - 1, element.min_exponent)
    shift = binade - element.mantissa_bits - lsb
    right = np.clip(shift, 0, _FAR_SHIFT)
    widened = significand << np.maximum(-shift, 0)
    quotient = widened >> right
    discarded = widened - (quotient << right)
    half = (np.int64(1) << right) >> 1
    quotient += (discarded > half) | ((discarded == half) & (right > 0) & (quotient & 1 == 1))
    code: Integers = (binade - element.min_exponent << element.mantissa_bits) + quotient
    return code
