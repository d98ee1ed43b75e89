"""Codes to values, and to the operands that the array multiplies (contract section 1)."""

from functools import cache
from typing import NamedTuple

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Bytes, Codes, Floats, Integers, check_array

__all__ = [
    "FINITE",
    "MINUS_INF",
    "NAN",
    "PLUS_INF",
    "OperandTable",
    "check_codes",
    "code_dtype",
    "decode",
    "operand_table",
    "to_operand",
]

FINITE, PLUS_INF, MINUS_INF, NAN = range(4)
"""Classes of an operand. PLUS_INF, MINUS_INF and NAN are also the sticky flags {ninf, pinf}."""

_SIGNIFICAND_BITS = 8
_BIAS = 127
"""Exponent bias of bf16 (and fp32): operands of every format are brought to it."""

_FP32_FRACTION_BITS = 23
_FP32_NAN = 0x7FC0_0000
_FP32_INFINITY = 0x7F80_0000


class OperandTable(NamedTuple):
    """Operands by code of a format, as the array multiplies them; read-only arrays.

    Attributes
    ----------
    significand
        int64, -255 to 255; 0 for NaN and the infinities.
    exponent
        int64, 1 to 254; the value of a finite code is ``significand * 2**(exponent - 134)``. 1 for
        zero, 0 for NaN and the infinities.
    special
        uint8: FINITE, PLUS_INF, MINUS_INF or NAN.
    """

    significand: Integers
    exponent: Integers
    special: Bytes


def code_dtype(fmt: FloatFormat) -> np.dtype[np.unsignedinteger]:
    """The unsigned dtype that holds codes of `fmt`: uint8, uint16 or uint32."""
    return np.dtype(f"uint{fmt.width}")


def check_codes(codes: Codes, fmt: FloatFormat, name: str = "codes") -> Codes:
    """Return `codes` if it is an array of codes of `fmt`.

    Raises
    ------
    ValueError
        If it is not a numpy array, or its dtype is not `code_dtype(fmt)`.
    """
    check_array(codes, code_dtype(fmt), name, f" of {fmt.name}")
    return codes


def _split(fmt: FloatFormat) -> tuple[Integers, Integers, Integers, Integers]:
    """Sign, magnitude code, exponent field and trailing significand of every code of `fmt`."""
    codes = np.arange(1 << fmt.width, dtype=np.int64)
    magnitude = codes & fmt.magnitude_mask
    field = magnitude >> fmt.mantissa_bits
    return codes >> (fmt.width - 1), magnitude, field, magnitude & ((1 << fmt.mantissa_bits) - 1)


def _normalise(significand: Integers, exponent: Integers, bits: int) -> tuple[Integers, Integers]:
    """Shift nonzero significands up to `bits` bits, but no exponent below 1."""
    for _ in range(bits - 1):
        low = (significand != 0) & (significand < 1 << (bits - 1)) & (exponent > 1)
        significand = np.where(low, significand << 1, significand)
        exponent = exponent - low
    return significand, exponent


def _special(fmt: FloatFormat, sign: Integers, magnitude: Integers) -> Bytes:
    special = np.where(magnitude > fmt.max_finite, NAN, FINITE)
    if fmt.infinity is not None:
        special = np.where(magnitude == fmt.infinity, np.where(sign, MINUS_INF, PLUS_INF), special)
    return special.astype(np.uint8)


@cache
def operand_table(fmt: FloatFormat) -> OperandTable:
    """The table of `to_operand`, made once for each format.

    Raises
    ------
    ValueError
        If the array cannot take the format: more than 8 exponent or 7 trailing significand bits.
    """
    if fmt.exponent_bits > 8 or fmt.mantissa_bits > _SIGNIFICAND_BITS - 1:
        raise ValueError(
            f"operand format {fmt.name} has {fmt.exponent_bits} exponent and {fmt.mantissa_bits}"
            f" mantissa bits: the array takes at most 8 and {_SIGNIFICAND_BITS - 1}"
        )
    sign, magnitude, field, fraction = _split(fmt)
    special = _special(fmt, sign, magnitude)
    hidden = (field > 0).astype(np.int64) << fmt.mantissa_bits
    significand = (hidden | fraction) << (_SIGNIFICAND_BITS - 1 - fmt.mantissa_bits)
    exponent = np.maximum(field, 1) + _BIAS - fmt.bias
    significand, exponent = _normalise(significand, exponent, _SIGNIFICAND_BITS)
    significand = np.where(special == FINITE, np.where(sign, -significand, significand), 0)
    exponent = np.where(special == FINITE, np.where(significand == 0, 1, exponent), 0)
    table = OperandTable(significand, exponent, special)
    for column in table:
        column.setflags(write=False)
    return table


def to_operand(codes: Codes, fmt: FloatFormat) -> tuple[Integers, Integers, Bytes]:
    """Decode operands as the array's edge does (contract section 1.3).

    Parameters
    ----------
    codes
        Codes of `fmt`, any shape.
    fmt
        An operand format: bf16 or one of 8 bits.

    Returns
    -------
    significand, exponent, special
        int64, int64, uint8, shaped like `codes`; see `OperandTable`.

    Raises
    ------
    ValueError
        If the dtype is wrong, or the array cannot take the format.
    """
    table = operand_table(fmt)
    check_codes(codes, fmt)
    return table.significand[codes], table.exponent[codes], table.special[codes]


@cache
def _value_table(fmt: FloatFormat) -> Floats:
    """fp32 bit patterns of all codes, as float32; every finite value is exact."""
    sign, magnitude, field, fraction = _split(fmt)
    special = _special(fmt, sign, magnitude)
    align = _FP32_FRACTION_BITS - fmt.mantissa_bits
    significand = ((field > 0).astype(np.int64) << fmt.mantissa_bits | fraction) << align
    exponent = np.maximum(field, 1) + _BIAS - fmt.bias
    significand, exponent = _normalise(significand, exponent, _FP32_FRACTION_BITS + 1)
    bits = np.where(significand == 0, 0, (exponent - 1 << _FP32_FRACTION_BITS) + significand)
    bits = np.where(special == NAN, _FP32_NAN, bits)
    bits = np.where((special == PLUS_INF) | (special == MINUS_INF), _FP32_INFINITY, bits)
    values: Floats = (bits | sign << 31).astype(np.uint32).view(np.float32)
    values.setflags(write=False)
    return values


def decode(codes: Codes, fmt: FloatFormat) -> Floats:
    """The exact value of each code, as float32.

    Subnormals, signed zeros and the signs of NaNs are kept. fp32 codes are reinterpreted, payloads
    included; a NaN of another format comes out as the quiet NaN without payload.

    Parameters
    ----------
    codes
        Codes of `fmt` (uint8, uint16, uint32), any shape.
    fmt
        Any format.

    Returns
    -------
    numpy.ndarray
        float32, shaped like `codes`.

    Raises
    ------
    ValueError
        If the dtype is not the format's.
    """
    check_codes(codes, fmt)
    if fmt.width == 32:
        return codes.view(np.float32)
    return _value_table(fmt)[codes, ...]  # without the ellipsis, of 0 dimensions a scalar
