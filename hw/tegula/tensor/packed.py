"""Second codes of packed operands: integers, and their exact sum beside the partial sum."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import narrow_selection
from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.lib.delay import delayed, registered
from tegula.tensor.operand import assign_classes, code_fields, one_hot_case
from tegula.tensor.pe import LANES

__all__ = [
    "SUM_CYCLES",
    "SecondDecode",
    "SecondElement",
    "SecondRow",
    "second_code_layout",
    "second_layout",
    "sum_bits",
]

SUM_CYCLES = 5
"""Cycles from an operand at a `SecondElement` to the sum that it is part of."""

_INTEGER_BITS = 18
"""Bits of a magnitude: what a multiplier of an FPGA takes."""

_COARSE = 16
"""Places that a `coarse` integer stands higher: what the low four bits of an exponent leave."""

second_layout = data.StructLayout(
    {"integer": _INTEGER_BITS, "coarse": 1, "negative": 1, "special": 1, "zero": 1}
)
"""Second code of a packed operand, as a multiple of the smallest number of its format.

finite
    The value is ``integer * 2**(16 * coarse)`` smallest numbers, negated if `negative`; `zero` says
    that it is 0.
special
    `special` is 1 and `integer` undefined; of NaN `zero` is 1, of an infinity 0.
"""


def second_code_layout(config: TileConfig) -> data.StructLayout:
    """A second code and its format, one-hot over `config.fp8_formats`; no format: a zero."""
    return data.StructLayout({"code": 8, "selection": len(config.fp8_formats)})


def _coarse_bits(config: TileConfig) -> int:
    """Places that sums need above those of integers: `_COARSE` if a format has 5 exponent bits.

    Of a pair that is allowed at most one is such a format.
    """
    return _COARSE if any(fmt.exponent_bits > 4 for fmt in config.fp8_formats) else 0


def sum_bits(config: TileConfig) -> int:
    """Bits of a sum of the second products of a column."""
    return 1 + 2 * _INTEGER_BITS + _coarse_bits(config) + (config.n - 1).bit_length()


class SecondRow(wiring.Component):
    """Second codes of a row of words, with the format of the lanes that take part.

    Latency: 1 cycle from the words, 2 from the rest, as an `OperandRow`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    rows : In(PARTITION_BITS), format : In(FORMAT_BITS), packed : In(1)
        How many lanes take part, their `FloatFormat.code`, and whether they have second codes.
    codes : In(ArrayLayout(16, n))
        The row, from partition 0 up.
    seconds : Out(ArrayLayout(second_code_layout(config), n))
        What the high bytes are.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "rows": In(PARTITION_BITS),
                "format": In(FORMAT_BITS),
                "packed": In(1),
                "codes": In(data.ArrayLayout(16, config.n)),
                "seconds": Out(data.ArrayLayout(second_code_layout(config), config.n)),
            }
        )

    def elaborate(self, platform):
        """Selection of each lane, registers."""
        m = Module()
        selection = Signal(len(self._config.fp8_formats))
        seconds = Signal(self.seconds.shape(), reset_less=True)
        m.d.comb += [
            selection.eq(narrow_selection(self.format, self._config)),
            self.seconds.eq(seconds),
        ]
        for lane in range(self._config.n):
            takes_part = (lane < self.rows) & self.packed
            chosen = selection & takes_part.replicate(len(selection))
            m.d.sync += [
                seconds[lane].code.eq(self.codes[lane][8:]),
                seconds[lane].selection.eq(registered(m, chosen, name=f"selection_{lane}")),
            ]
        return m


class SecondDecode(wiring.Component):
    """Decoder of a second code to an integer: contract section 3.10.

    Combinational: latency 0.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    second : In(second_code_layout(config))
        The code, or a zero.
    operand : Out(second_layout)
        What the array multiplies.
    """

    def __init__(self, config: TileConfig):
        self._formats = config.fp8_formats
        super().__init__({"second": In(second_code_layout(config)), "operand": Out(second_layout)})

    def elaborate(self, platform):
        """Split by format; the significand, shifted by its exponent."""
        m = Module()
        code, operand = self.second.code, self.operand
        significand, shift = Signal(5), Signal(4)
        infinity, nan, absent = Signal(), Signal(), Signal()
        m.d.comb += absent.eq(~self.second.selection.any())
        with m.Switch(self.second.selection):
            for index, fmt in enumerate(self._formats):
                mantissa, exponent = code_fields(code, fmt)
                hidden = exponent.any()
                above = exponent - hidden
                with m.Case(one_hot_case(index, len(self._formats))):
                    m.d.comb += [
                        significand.eq(Cat(mantissa, hidden)),
                        shift.eq(above),
                        *assign_classes(fmt, mantissa, exponent, infinity, nan),
                    ]
                    if fmt.exponent_bits > 4:
                        m.d.comb += operand.coarse.eq(above[4])
        m.d.comb += [
            operand.integer.eq(significand << shift),
            operand.negative.eq(code[-1]),
            operand.special.eq(infinity | nan),
            operand.zero.eq(nan | ~significand.any() | absent),
        ]
        return m


class SecondElement(wiring.Component):
    """Second products of four rows of a column, added to the sum of the elements above.

    Products of integers need no alignment: the whole sum of a column is exact. It runs beside the
    PEs of its column, a cycle from one element to the next. One moving vector a cycle, no flow
    control: the sum follows its operands by `SUM_CYCLES`, and comes in a cycle before it goes out.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving_in : In(ArrayLayout(second_layout, 4)), moving_out : Out(ArrayLayout(second_layout, 4))
        Moving operands, and the same a cycle later.
    swap_in : In(1), swap_out : Out(1)
        With a moving vector: it and later ones are multiplied by the operand in the shift chain.
    shift : In(1)
        The chain of stationary operands takes what is at its input.
    stationary_in : In(ArrayLayout(second_layout, 4))
    stationary_out : Out(ArrayLayout(second_layout, 4))
        The chain; the output is a register.
    sum_in : In(signed(sum_bits(config))), sum_out : Out(signed(sum_bits(config)))
        Sum of the second products, in units of the pair's smallest product; undefined where a flag
        is set.
    flags_in : In(2), flags_out : Out(2)
        Sticky, with the sums: see `ProcessingElement`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        operands = data.ArrayLayout(second_layout, LANES)
        total = signed(sum_bits(config))
        super().__init__(
            {
                "moving_in": In(operands),
                "moving_out": Out(operands),
                "swap_in": In(1),
                "swap_out": Out(1),
                "shift": In(1),
                "stationary_in": In(operands),
                "stationary_out": Out(operands),
                "sum_in": In(total),
                "sum_out": Out(total),
                "flags_in": In(2),
                "flags_out": Out(2),
            }
        )

    def elaborate(self, platform):
        """Operands, products, their tree and the chain of sums."""
        m = Module()
        operands = self.moving_in.shape()
        moving, chain, stationary = (
            Signal(operands, name=name, reset_less=True)
            for name in ("moving", "chain", "stationary")
        )
        with m.If(self.shift):
            m.d.sync += chain.eq(self.stationary_in)
        with m.If(self.swap_in):
            m.d.sync += stationary.eq(chain)
        m.d.sync += [moving.eq(self.moving_in), self.swap_out.eq(self.swap_in)]
        m.d.comb += [self.moving_out.eq(moving), self.stationary_out.eq(chain)]

        terms, signs, positive, negative = [], [], [], []
        for lane in range(LANES):
            x, w = moving[lane], stationary[lane]
            sign = Signal(name=f"sign_{lane}")
            m.d.comb += sign.eq(x.negative ^ w.negative)
            term, negated = self._product(m, lane, x, w, sign)
            terms.append(term)
            signs.append(negated)
            special, zero = x.special | w.special, x.zero | w.zero
            positive.append(special & (zero | ~sign))
            negative.append(special & (zero | sign))
        # -x is ~x + 1: each of the four ones is the carry into one of the four sums.
        pairs = [
            registered(m, _sum(*terms[at : at + 2], signs[at]), name=f"pair_sum_{at}")
            for at in (0, 2)
        ]
        late = [registered(m, signs[at], name=f"late_sign_{at}") for at in (1, 3)]
        total = registered(m, _sum(*pairs, late[0]), name="total")
        last = registered(m, late[1], name="last_sign")
        sums = Signal(self.sum_out.shape(), name="sum", reset_less=True)
        m.d.sync += sums.eq(_sum(self.sum_in, total, last))
        m.d.comb += self.sum_out.eq(sums)

        flags, merged = Signal(2), Signal(2)
        m.d.sync += flags.eq(Cat(Cat(positive).any(), Cat(negative).any()))
        m.d.sync += merged.eq(delayed(m, flags, SUM_CYCLES - 3, name="flags") | self.flags_in)
        m.d.comb += self.flags_out.eq(merged)
        return m

    def _product(self, m, lane: int, x, w, sign) -> tuple[Value, Value]:
        """Product of two magnitudes in its place, inverted if it is negative; and whether it is."""
        product = registered(m, x.integer * w.integer, name=f"product_{lane}")
        negated = registered(m, sign, name=f"negated_{lane}")
        coarse_bits = _coarse_bits(self._config)
        placed = Signal(len(product) + coarse_bits, name=f"placed_{lane}")
        m.d.comb += placed.eq(product)
        if coarse_bits:
            raised = registered(m, x.coarse | w.coarse, name=f"coarse_{lane}")
            with m.If(raised):
                m.d.comb += placed.eq(product << coarse_bits)
        return Cat(placed ^ negated.replicate(len(placed)), negated).as_signed(), negated


def _sum(a: Value, b: Value, carry: Value) -> Value:
    """``a + b + carry`` of signed numbers, with the carry where an adder takes it."""
    above, beside = Cat(Const(1, 1), a).as_signed(), Cat(carry, b).as_signed()
    return (above + beside) >> 1
