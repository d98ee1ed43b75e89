"""Fields of an fp32 pattern, and the properties of the number that follow from them."""

from typing import NamedTuple

from amaranth.hdl import Cat, Value

from tegula.formats import FP32

__all__ = ["EXPONENT_BITS", "FRACTION_BITS", "SIGN", "SIGNIFICAND_BITS", "Fp32Fields"]

FRACTION_BITS = FP32.mantissa_bits
EXPONENT_BITS = FP32.exponent_bits

SIGN = FP32.width - 1
"""Position of the sign: the bits below are the magnitude."""

SIGNIFICAND_BITS = FRACTION_BITS + 1
"""Bits of a significand with its hidden bit."""


class Fp32Fields(NamedTuple):
    """Sign (1 bit), exponent field (8) and fraction (23) of a pattern (IEEE 754-2019, 3.4)."""

    sign: Value
    field: Value
    fraction: Value

    @classmethod
    def of(cls, pattern: Value) -> "Fp32Fields":
        """The fields of a pattern of 32 bits."""
        return cls(pattern[SIGN], pattern[FRACTION_BITS:SIGN], pattern[:FRACTION_BITS])

    @property
    def normal(self) -> Value:
        """1 unless the number is zero or subnormal: the hidden bit."""
        return self.field.any()

    @property
    def special(self) -> Value:
        """1 for infinities and NaNs."""
        return self.field.all()

    @property
    def nan(self) -> Value:
        """1 for NaNs."""
        return self.special & self.fraction.any()

    @property
    def exponent(self) -> Value:
        """The exponent field, but 1 where it is 0: subnormals have the smallest normal's."""
        return Cat(self.field[0] | ~self.normal, self.field[1:])

    @property
    def significand(self) -> Value:
        """The fraction below its hidden bit."""
        return Cat(self.fraction, self.normal)
