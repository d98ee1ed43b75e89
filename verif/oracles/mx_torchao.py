"""Answers of torchao's ``to_mx`` on the CPU, and what they should be by the golden model.

torchao 0.18.0 with torch 2.13.0. Where it departs from the contract (section 4.5) it does so in
three ways, which `expected` has and counts: so that every other bit is compared.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegula.formats import MX_BLOCK, MX_ELEMENTS, MXFP4_E2M1, MxElement
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.mx import NAN_SCALE, block_scales, scaled_elements

__all__ = ["CASES", "RECORDED", "Expected", "differences", "expected", "unpacked_e2m1"]

RECORDED = Path(__file__).with_name("mx_torchao.npz")
"""Blocks and torchao's answers, which ``python -m scripts.mx_vectors --record`` writes: `bits`, and
of each of `CASES`, by its position, `scales_<n>` and `codes_<n>` (E2M1 as E4M3FN codes)."""

CASES = tuple((element, rule) for element in MX_ELEMENTS for rule in ScaleRule)

_UNSCALED = 127
_SMALLEST_NORMAL = 1


class Expected(NamedTuple):
    """torchao's answer as the golden model and three departures predict it.

    Attributes
    ----------
    scales, codes
        uint8, blocks and blocks x 32. Codes of blocks whose scale is NaN stand for nothing.
    by_logarithm
        bool, blocks: the scale is that of a logarithm that fp32 has rounded to an integer.
    smallest
        bool, blocks: the scale's code is 0, and the elements are not divided by ``2**-127``.
    """

    scales: np.ndarray
    codes: np.ndarray
    by_logarithm: np.ndarray
    smallest: np.ndarray


def expected(bits: np.ndarray, element: MxElement, rule: ScaleRule) -> Expected:
    """Answer of torchao for blocks (uint32, blocks x 32), derived from the golden model."""
    scales = block_scales(bits, element, rule)[:, 0]
    own = scales.copy()
    if rule == ScaleRule.RCEIL:
        own = _by_rounded_logarithm(bits, scales, element)
    smallest = own == 0
    # Its divisor is no less than the smallest normal fp32; of RCEIL it is 1 where the code is 0.
    divisor = np.where(smallest, _UNSCALED if rule == ScaleRule.RCEIL else _SMALLEST_NORMAL, own)
    codes = scaled_elements(bits, divisor.astype(np.uint8)[:, None], element)
    return Expected(own, codes, own != scales, smallest)


def _by_rounded_logarithm(bits: np.ndarray, scales: np.ndarray, element: MxElement) -> np.ndarray:
    """``ceil(log2(amax / largest))`` where quotient and logarithm are rounded to fp32."""
    largest = np.float32(element.largest_fraction / (1 << 23) + 1)
    largest = np.ldexp(largest, element.largest_exponent).astype(np.float32)
    amax = (bits & np.uint32(0x7FFF_FFFF)).max(axis=1).view(np.float32)
    finite = np.isfinite(amax)
    with np.errstate(divide="ignore", under="ignore"):
        quotient = np.where(finite, amax, np.float32(1)) / largest
        logarithm = np.log2(quotient.astype(np.float64)).astype(np.float32)
    by_logarithm = np.clip(np.ceil(logarithm), -127, 127) + 127
    return np.where(finite, by_logarithm, scales).astype(np.uint8)


def differences(
    bits: np.ndarray, scales: np.ndarray, codes: np.ndarray, element: MxElement, rule: ScaleRule
) -> tuple[Expected, int]:
    """What is expected of torchao, and the number of blocks in which its answer is another.

    Codes of blocks whose scale is NaN are not compared: they stand for nothing, and torchao's
    depend on the processor.
    """
    want = expected(bits, element, rule)
    assert bits.shape[1:] == (MX_BLOCK,) and codes.shape == bits.shape
    other = (want.codes != codes).any(axis=1) & (want.scales != NAN_SCALE)
    return want, int((other | (want.scales != scales)).sum())


def unpacked_e2m1(codes: np.ndarray) -> np.ndarray:
    """One E2M1 code a byte of bytes that hold two, the first of them low."""
    assert MXFP4_E2M1.exponent_bits == 2
    return np.stack([codes & 0xF, codes >> 4], axis=-1).reshape(*codes.shape[:-1], -1)
