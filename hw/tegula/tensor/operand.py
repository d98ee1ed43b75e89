"""Decoding of operand codes (bf16, fp8) to significand, exponent and class."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.formats import BF16, FloatFormat

__all__ = ["OperandDecode", "operand_layout"]

operand_layout = data.StructLayout({"sig": signed(9), "exp": 8, "special": 1, "zero": 1})
"""Decoded operand of value ``sig * 2**(exp - 134)``.

finite
    `sig` is -255 to 255, `exp` 1 to 254; `zero` says that `sig` is 0; `exp` is then undefined.
special
    `special` is 1; `sig` is 0 for NaN and +-1 for an infinity, `zero` says which. So the product of
    two operands is special iff either operand is, and then its significand product is 0 for NaN,
    positive for +Inf and negative for -Inf; Inf * 0 comes out as NaN by itself.
"""

_FRACTION_BITS = BF16.mantissa_bits


class OperandDecode(wiring.Component):
    """Decoder of one operand: code to ``sig * 2**(exp - 134)``, for every format of the array.

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
        0: the operand is replaced by zero (its `exp` is left as it is).
    operand : Out(operand_layout)
        The decoded operand.
    """

    def __init__(self, config: TileConfig):
        self._formats = config.operand_formats
        super().__init__(
            {"code": In(16), "format": In(3), "enable": In(1), "operand": Out(operand_layout)}
        )

    def elaborate(self, platform):
        """Split by format, normalisation, negation."""
        m = Module()
        narrow = Signal()
        sign, infinity, nan = Signal(), Signal(), Signal()
        subnormal = Signal()
        fraction = Signal(_FRACTION_BITS)
        rebiased = Signal(8)
        borrow_mask = Signal(8)

        m.d.comb += narrow.eq(self.format != BF16.code)
        with m.Switch(self.format):
            # The last format is also the default: no decoding is spent on codes that cannot come.
            for fmt in self._formats:
                with m.Case(fmt.code) if fmt is not self._formats[-1] else m.Default():
                    mantissa, exponent = _fields(self.code, fmt)
                    top = exponent[-1]
                    filler = (~top).replicate(BF16.exponent_bits - fmt.exponent_bits)
                    m.d.comb += [
                        sign.eq(self.code[fmt.width - 1]),
                        subnormal.eq(exponent == 0),
                        fraction.eq(Cat(Const(0, _FRACTION_BITS - fmt.mantissa_bits), mantissa)),
                        # e + 128 - 2**(exponent_bits - 1), without a carry chain.
                        rebiased.eq(Cat(exponent[:-1], filler, top)),
                        borrow_mask.eq((1 << fmt.exponent_bits) - 4 if fmt is not BF16 else 0),
                    ]
                    all_ones = exponent.all()
                    if fmt.ieee_specials:
                        m.d.comb += [
                            infinity.eq(all_ones & ~mantissa.any()),
                            nan.eq(all_ones & mantissa.any()),
                        ]
                    else:
                        m.d.comb += nan.eq(all_ones & mantissa.all())

        # The exponent of a subnormal is the rebiased 0 minus its leading zeros (0 to 3, for only
        # 8-bit formats are normalised): the rebiased 0 ends in zeros below a one, so the
        # subtraction inverts the bits of the mask and puts -zeros into the two lowest bits.
        magnitude = Signal(8)
        adjust = Signal(8)
        fraction_bits = max((fmt.mantissa_bits for fmt in self._formats[1:]), default=0)
        m.d.comb += [
            magnitude.eq(Cat(fraction, ~subnormal)),
            adjust.eq(subnormal & ~narrow),
        ]
        with m.If(subnormal & narrow):
            for zeros in range(fraction_bits):
                leading = fraction[_FRACTION_BITS - 1 - zeros]
                with m.If(leading) if zeros == 0 else m.Elif(leading):
                    borrow = borrow_mask if zeros else 0
                    m.d.comb += [
                        magnitude.eq(Cat(Const(0, zeros + 1), fraction)),
                        adjust.eq(borrow | (-zeros & 3)),
                    ]

        special = Signal()
        finite = Signal(8)
        m.d.comb += [
            special.eq(infinity | nan),
            finite.eq(Mux(special, infinity, magnitude) & self.enable.replicate(8)),
            self.operand.sig.eq((Cat(finite, 0) ^ sign.replicate(9)) + sign),
            self.operand.exp.eq(rebiased ^ adjust),
            self.operand.special.eq(special & self.enable),
            self.operand.zero.eq(~finite.any()),
        ]
        return m


def _fields(code: Value, fmt: FloatFormat) -> tuple[Value, Value]:
    """Mantissa and exponent fields of `code` read as `fmt`."""
    return code[: fmt.mantissa_bits], code[fmt.mantissa_bits : fmt.width - 1]
