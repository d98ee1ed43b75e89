"""Operand codes (bf16, fp8) to the significand, exponent and class that the array multiplies."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.formats import BF16, FloatFormat

__all__ = ["OperandDecode", "operand_layout"]

operand_layout = data.StructLayout({"sig": signed(9), "exp": 8, "special": 1, "zero": 1})
"""A decoded operand of value ``sig * 2**(exp - 134)``.

finite
    `sig` is -255 to 255, `exp` 1 to 254; `zero` says that `sig` is 0.
special
    `special` is 1; `sig` is 0 for NaN and +-1 for an infinity, `zero` says which. So the product of
    two operands is special iff either operand is, and then its significand product is 0 for NaN,
    positive for +Inf and negative for -Inf; Inf * 0 comes out as NaN by itself.
"""

_FRACTION_BITS = BF16.mantissa_bits


class OperandDecode(wiring.Component):
    """Decode one operand: code to ``sig * 2**(exp - 134)``, for every format that the array takes.

    A code is split into sign, exponent field and left-justified 7-bit fraction by its format's row
    of the table; one datapath then serves all formats. bf16 subnormals keep exponent 1 and a
    significand below 128; 8-bit subnormals are normalised: their value is a normal bf16 number.
    The split and the exponent offsets follow IEEE 754-2019 section 3.4 and OCP OFP8 table 2; the
    encoding of NaN and infinity in `sig` is ours (it makes the class of a product free).

    Combinational: latency 0.

    Parameters
    ----------
    config
        The tile; its `operand_formats` are decoded, and no others (their results are undefined).

    Members
    -------
    code : In(16)
        The operand; an 8-bit code is in the low byte and the high byte is ignored.
    format : In(3)
        `FloatFormat.code` of its format.
    enable : In(1)
        0: the operand is replaced by zero.
    operand : Out(operand_layout)
        The decoded operand.
    """

    def __init__(self, config: TileConfig):
        self._formats = config.operand_formats
        super().__init__(
            {"code": In(16), "format": In(3), "enable": In(1), "operand": Out(operand_layout)}
        )

    def elaborate(self, platform):
        """Split by format, normalise, then negate."""
        m = Module()
        narrow = Signal()
        sign, infinity, nan = Signal(), Signal(), Signal()
        exponent, offset = Signal(8), Signal(8)
        fraction = Signal(_FRACTION_BITS)

        m.d.comb += narrow.eq(self.format != BF16.code)
        with m.Switch(self.format):
            # The first format is also the default: no decoding is spent on codes that cannot come.
            for fmt in reversed(self._formats):
                with m.Case(fmt.code) if fmt is not self._formats[0] else m.Default():
                    mantissa, exponent_field = _fields(self.code, fmt)
                    padding = Const(0, _FRACTION_BITS - fmt.mantissa_bits)
                    m.d.comb += [
                        sign.eq(self.code[fmt.width - 1]),
                        exponent.eq(exponent_field),
                        fraction.eq(Cat(padding, mantissa)),
                        offset.eq(BF16.bias - fmt.bias),
                    ]
                    if fmt.ieee_specials:
                        m.d.comb += [
                            infinity.eq(exponent_field.all() & ~mantissa.any()),
                            nan.eq(exponent_field.all() & mantissa.any()),
                        ]
                    else:
                        m.d.comb += nan.eq(exponent_field.all() & mantissa.all())

        subnormal = Signal()
        magnitude = Signal(8)
        biased = Signal(8)
        m.d.comb += [
            subnormal.eq(exponent == 0),
            magnitude.eq(Cat(fraction, ~subnormal)),
            biased.eq(offset + Mux(subnormal & ~narrow, 1, exponent)),
        ]
        # Only fractions of 8-bit formats are normalised, and they have few bits: one case for each
        # number of leading zeros, exponent -zeros relative to the exponent field 0.
        fraction_bits = max((fmt.mantissa_bits for fmt in self._formats[1:]), default=0)
        with m.If(subnormal & narrow):
            for zeros in range(fraction_bits):
                top = _FRACTION_BITS - 1 - zeros
                with m.If(fraction[top]) if zeros == 0 else m.Elif(fraction[top]):
                    m.d.comb += [
                        magnitude.eq(fraction << (zeros + 1)),
                        biased.eq(offset - zeros),
                    ]

        special = Signal()
        finite = Signal(8)
        m.d.comb += [
            special.eq(infinity | nan),
            finite.eq(Mux(special, infinity, magnitude) & self.enable.replicate(8)),
            self.operand.sig.eq(Mux(sign, -finite, finite)),
            self.operand.exp.eq(biased & self.enable.replicate(8)),
            self.operand.special.eq(special & self.enable),
            self.operand.zero.eq(~finite.any()),
        ]
        return m


def _fields(code: Value, fmt: FloatFormat) -> tuple[Value, Value]:
    """Mantissa and exponent fields of `code` read as `fmt`."""
    return code[: fmt.mantissa_bits], code[fmt.mantissa_bits : fmt.width - 1]
