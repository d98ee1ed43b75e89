"""Halves of scratchpad words: what a result of 8 bits replaces, and where an operand is."""

import numpy as np

from tegula.formats import PATTERN_CODES, format_by_code
from tegula.isa.operations import Half
from tegula_golden.array_types import Codes, Words

__all__ = ["half_of", "half_of_format", "replaced"]

_LOW_BYTE = np.uint16(0xFF)


def half_of_format(half: int, code: int) -> Half:
    """The half that results of the format with this code take: `WHOLE` unless it has 8 bits."""
    if code in PATTERN_CODES.values() or format_by_code(code).width != 8:
        return Half.WHOLE
    return Half(half)


def half_of(words: Words, code: int, *, high: int) -> Words:
    """Words whose low byte is the code of an operand in that format."""
    return words >> np.uint16(8) if high and half_of_format(Half.HIGH, code) else words


def replaced(words: Words, codes: Codes, half: Half) -> Codes:
    """What stands where `codes` are written to the `half` of `words`."""
    if half == Half.WHOLE:
        return codes
    low = codes.astype(np.uint16) & _LOW_BYTE
    if half == Half.LOW:
        return words & ~_LOW_BYTE | low
    return words & _LOW_BYTE | low << np.uint16(8)
