"""Decoding of operand codes (bf16, fp8) to significand, exponent and class."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.formats import BF16, FORMAT_BITS, FloatFormat
from tegula.isa.instructions import PARTITION_BITS
from tegula.lib.delay import registered

__all__ = [
    "OperandDecode",
    "OperandRow",
    "assign_classes",
    "code_fields",
    "one_hot_case",
    "operand_layout",
    "select_format",
    "selection_layout",
]

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


def selection_layout(config: TileConfig) -> data.ArrayLayout:
    """Format of an operand, one-hot over `config.operand_formats`."""
    return data.ArrayLayout(1, len(config.operand_formats))


def select_format(config: TileConfig, code: Value) -> Value:
    """`selection_layout` of a `FloatFormat.code`."""
    return Cat(code == fmt.code for fmt in config.operand_formats)


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
    selection : In(selection_layout(config))
        What `select_format` makes of its format.
    enable : In(1)
        0: the operand is replaced by zero (its `exp` is left as it is).
    operand : Out(operand_layout)
        The decoded operand.
    """

    def __init__(self, config: TileConfig):
        self._formats = config.operand_formats
        super().__init__(
            {
                "code": In(16),
                "selection": In(selection_layout(config)),
                "enable": In(1),
                "operand": Out(operand_layout),
            }
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

        m.d.comb += narrow.eq(~self.selection[self._formats.index(BF16)])
        with m.Switch(self.selection.as_value()):
            # The last format is also the default: no decoding is spent on codes that cannot come.
            for index, fmt in enumerate(self._formats):
                last = index == len(self._formats) - 1
                with m.Default() if last else m.Case(one_hot_case(index, len(self._formats))):
                    mantissa, exponent = code_fields(self.code, fmt)
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
                    m.d.comb += assign_classes(fmt, mantissa, exponent, infinity, nan)

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


class OperandRow(wiring.Component):
    """Row of decoders with a register behind them: lanes below `rows`, the others zero.

    Latency: 1 cycle from the codes, 2 from `rows` and `format`, so that each lane has a register of
    the selection of its own: 0 where it takes no part, and each drives one decoder.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    rows : In(PARTITION_BITS), format : In(FORMAT_BITS)
        How many lanes take part, and their `FloatFormat.code`, a cycle before the codes.
    codes : In(ArrayLayout(16, n))
        The row, from partition 0 up.
    operands : Out(ArrayLayout(operand_layout, n))
        Its operands.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "rows": In(PARTITION_BITS),
                "format": In(FORMAT_BITS),
                "codes": In(data.ArrayLayout(16, config.n)),
                "operands": Out(data.ArrayLayout(operand_layout, config.n)),
            }
        )

    def elaborate(self, platform):
        """Selection of each lane, decoder, register."""
        m = Module()
        selection = select_format(self._config, self.format)
        operands = Signal(self.operands.shape(), reset_less=True)
        m.d.comb += self.operands.eq(operands)
        for lane in range(self._config.n):
            m.submodules[f"decode_{lane}"] = decode = OperandDecode(self._config)
            enabled = Signal(name=f"enables_{lane}")
            selected = selection & enabled.replicate(len(selection))
            m.d.comb += [
                enabled.eq(lane < self.rows),
                decode.code.eq(self.codes[lane]),
                decode.selection.eq(registered(m, selected, name=f"selection_{lane}")),
                decode.enable.eq(registered(m, enabled, name=f"enabled_{lane}")),
            ]
            m.d.sync += operands[lane].eq(decode.operand)
        return m


def one_hot_case(index: int, count: int) -> str:
    """The pattern of a `Case` in which bit `index` is 1, whatever the others are."""
    return "".join("1" if bit == index else "-" for bit in reversed(range(count)))


def code_fields(code: Value, fmt: FloatFormat) -> tuple[Value, Value]:
    """Mantissa and exponent fields of `code` read as `fmt`."""
    return code[: fmt.mantissa_bits], code[fmt.mantissa_bits : fmt.width - 1]


def assign_classes(
    fmt: FloatFormat, mantissa: Value, exponent: Value, infinity: Signal, nan: Signal
) -> list:
    """Assignments of what a code of `fmt` with these fields is; `infinity` if there is one."""
    all_ones = exponent.all()
    if not fmt.ieee_specials:
        return [nan.eq(all_ones & mantissa.all())]
    return [infinity.eq(all_ones & ~mantissa.any()), nan.eq(all_ones & mantissa.any())]
