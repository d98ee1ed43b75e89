"""Decoding of scratchpad words of any format to the fp32 patterns on which lanes compute."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_wide
from tegula.config import TileConfig
from tegula.formats import BF16, FORMAT_BITS, RAW16, FloatFormat

__all__ = ["PatternDecode"]

_QUIET = 1 << (BF16.mantissa_bits - 1)
"""Fraction, in bf16, of the NaN that NaNs of 8-bit formats become."""


class PatternDecode(wiring.Component):
    """The fp32 pattern that a code stands for (numerics contract, section 5.1).

    bf16 is the upper half of its pattern. An 8-bit code is split into sign, exponent field and
    fraction by its format's row of the table, and normalised if it is subnormal, as in
    `OperandDecode`. Combinational: latency 0.

    Parameters
    ----------
    config
        The tile; its formats are decoded, and no others (their results are undefined).

    Members
    -------
    word : In(32)
        The word, or the pair of words of a 32-bit format; 8-bit codes are in the low byte, and what
        is above a code is ignored.
    format : In(FORMAT_BITS)
        Code of its format, fp32 and the raw patterns included.
    pattern : Out(32)
        The fp32 pattern.
    """

    def __init__(self, config: TileConfig):
        self._narrow = config.fp8_formats
        super().__init__({"word": In(32), "format": In(FORMAT_BITS), "pattern": Out(32)})

    def elaborate(self, platform):
        """8-bit codes widened to bf16, then the choice by format."""
        m = Module()
        whole = is_wide(self.format)
        low = whole | (self.format == RAW16)
        wide = Signal(16)
        m.d.comb += wide.eq(self.word[:16])
        if self._narrow:
            narrow = Cat(self.format == fmt.code for fmt in self._narrow)
            with m.If(narrow.any()):
                m.d.comb += wide.eq(self._widen(m, narrow))
        m.d.comb += self.pattern.eq(
            Cat(
                self.word[:16] & low.replicate(16),
                Mux(whole, self.word[16:], wide & (self.format != RAW16).replicate(16)),
            )
        )
        return m

    def _choose(self, narrow: Value, row: Callable[[FloatFormat], Value | int]) -> Value:
        """The `row` of the 8-bit format that `narrow` marks; the first is the default."""
        chosen = Value.cast(row(self._narrow[0]))
        for index, fmt in enumerate(self._narrow[1:], start=1):
            chosen = Mux(narrow[index], row(fmt), chosen)
        return chosen

    def _widen(self, m: Module, narrow: Value) -> Value:
        """The bf16 code of an 8-bit code: fields by format, then one normalisation for all.

        The exponent of a subnormal is the rebiased 0 less its leading zeros. The rebiased 0 ends in
        zeros below ones, so that the subtraction inverts the bits of a mask and puts the zeros'
        negative into the lowest two.
        """
        code = self.word[:8]
        most = max(fmt.mantissa_bits for fmt in self._narrow)

        def field(fmt: FloatFormat) -> Value:
            return code[fmt.mantissa_bits : fmt.width - 1]

        def special(fmt: FloatFormat) -> Value:
            ones = field(fmt).all()
            return ones if fmt.ieee_specials else ones & code[: fmt.mantissa_bits].all()

        def rebiased(fmt: FloatFormat) -> Value:
            filler = (~code[6]).replicate(BF16.exponent_bits - fmt.exponent_bits)
            return Cat(field(fmt)[:-1], filler, code[6])

        fraction, exponent, borrow = Signal(most), Signal(8), Signal(8)
        subnormal, is_special, is_nan = Signal(), Signal(), Signal()
        m.d.comb += [
            fraction.eq(
                self._choose(
                    narrow,
                    lambda fmt: Cat(Const(0, most - fmt.mantissa_bits), code[: fmt.mantissa_bits]),
                )
            ),
            subnormal.eq(self._choose(narrow, lambda fmt: ~field(fmt).any())),
            is_special.eq(self._choose(narrow, special)),
            is_nan.eq(
                self._choose(
                    narrow, lambda fmt: code[: fmt.mantissa_bits].any() if fmt.ieee_specials else 1
                )
            ),
            borrow.eq(self._choose(narrow, lambda fmt: (1 << fmt.exponent_bits) - 4)),
        ]
        shifted, adjust = Signal(most), Signal(8)
        m.d.comb += shifted.eq(fraction)
        with m.If(subnormal):
            for zeros in range(most):
                leading = fraction[most - 1 - zeros]
                with m.If(leading) if zeros == 0 else m.Elif(leading):
                    m.d.comb += [
                        shifted.eq(Cat(Const(0, zeros + 1), fraction)),
                        adjust.eq((borrow if zeros else 0) | (-zeros & 3)),
                    ]
        m.d.comb += exponent.eq(
            (self._choose(narrow, rebiased) ^ adjust) & (~subnormal | fraction.any()).replicate(8)
        )
        top = is_special.replicate(8)
        finite = Cat(Const(0, BF16.mantissa_bits - most), shifted)
        return Cat(Mux(is_special, Mux(is_nan, _QUIET, 0), finite), exponent | top, code[7])
