"""Decoding of scratchpad words of any format to the fp32 patterns on which lanes compute."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_wide, narrow_selection
from tegula.config import TileConfig
from tegula.formats import BF16, RAW16, FloatFormat
from tegula.lib.delay import gated

__all__ = ["PatternDecode", "select_format", "selection_layout"]


def selection_layout(config: TileConfig) -> data.StructLayout:
    """Parts of a word that are its pattern; none of them: the pattern is 0.

    `upper`: its upper half is that of the pattern; `lower`: its lower half is; `raised`: its lower
    half is the upper one (bf16); `narrow`: its code is of that 8-bit format of the tile.
    """
    return data.StructLayout(
        {"upper": 1, "lower": 1, "raised": 1, "narrow": len(config.fp8_formats)}
    )


def select_format(code: Value, config: TileConfig) -> Value:
    """The selection for the format with this code, in the order of `selection_layout`."""
    whole, raw16 = is_wide(code), code == RAW16
    narrow = narrow_selection(code, config)
    return Cat(whole, whole | raw16, ~(whole | raw16 | narrow.any()), narrow)


class PatternDecode(wiring.Component):
    """The fp32 pattern that a code stands for (numerics contract, section 5.1).

    bf16 is the upper half of its pattern. An 8-bit code is split into sign, exponent field and
    fraction by its format's row of the table, and normalised if it is subnormal, as in
    `OperandDecode`. The pattern is the OR of the parts that `selection` names.

    Latency: 0, or `LATENCY` cycles if it is `pipelined`; the conditions are then resets of
    registers, and the OR comes behind them.

    Parameters
    ----------
    config
        The tile; its formats are decoded, and no others (their results are undefined).
    pipelined
        With registers, or combinational.

    Members
    -------
    word : In(32)
        The word, or the pair of words of a 32-bit format; 8-bit codes are in the low byte, and what
        is above a code is ignored.
    selection : In(selection_layout)
        What `select_format` makes of its format, fp32 and the raw patterns included.
    pattern : Out(32), normal : Out(1)
        The fp32 pattern; whether its exponent field is not 0, found beside it.
    """

    LATENCY = 1
    """Registers: the parts of the pattern."""

    def __init__(self, config: TileConfig, *, pipelined: bool = False):
        self._narrow = config.fp8_formats
        self._pipelined = pipelined
        super().__init__(
            {
                "word": In(32),
                "selection": In(selection_layout(config)),
                "pattern": Out(32),
                "normal": Out(1),
            }
        )

    def elaborate(self, platform):
        """8-bit codes widened to bf16, then the choice by format."""
        m = Module()
        selection, word = self.selection, self.word
        upper = self._masked(m, word[16:], selection.upper, "upper") | self._masked(
            m, word[:16], selection.raised, "raised"
        )
        if self._narrow:
            upper = upper | self._widen(m, selection.narrow)
        lower = self._masked(m, word[:16], selection.lower, "lower")
        m.d.comb += [self.pattern.eq(Cat(lower, upper)), self.normal.eq(self._find_normal(m))]
        return m

    def _find_normal(self, m: Module) -> Value:
        """1 if the exponent field of the pattern is not 0; an 8-bit number but 0 is normal."""
        selection, word = self.selection, self.word
        parts = (
            (word[23:31], selection.upper, "upper_normal"),
            (word[7:15], selection.raised, "raised_normal"),
            *(
                (word[:7], narrow, f"narrow_normal_{k}")
                for k, narrow in enumerate(selection.narrow)
            ),
        )
        return Cat(self._masked(m, part.any(), taken, name) for part, taken, name in parts).any()

    def _masked(self, m: Module, value: Value, condition: Value, name: str) -> Value:
        """`value` where `condition` holds, else 0; a cycle later if there are registers."""
        if self._pipelined:
            return gated(m, value, condition, name=name)
        return value & condition.replicate(len(value))

    def _choose(self, narrow: Value, row: Callable[[FloatFormat], Value | int]) -> Value:
        """The `row` of the 8-bit format that `narrow` marks; the first is the default."""
        chosen = Value.cast(row(self._narrow[0]))
        for index, fmt in enumerate(self._narrow[1:], start=1):
            chosen = Mux(narrow[index], row(fmt), chosen)
        return chosen

    def _split(self, narrow: Value) -> tuple[Value, ...]:
        """Fields of an 8-bit code: fraction, rebiased exponent, subnormal, special, NaN."""
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

        def fraction(fmt: FloatFormat) -> Value:
            return Cat(Const(0, most - fmt.mantissa_bits), code[: fmt.mantissa_bits])

        def is_nan(fmt: FloatFormat) -> Value | int:
            return code[: fmt.mantissa_bits].any() if fmt.ieee_specials else 1

        def subnormal(fmt: FloatFormat) -> Value:
            return ~field(fmt).any()

        rows = (fraction, rebiased, subnormal, special, is_nan)
        return tuple(self._choose(narrow, row) for row in rows)

    def _widen(self, m: Module, narrow: Value) -> Value:
        """The bf16 code of an 8-bit code, or 0 if it is of none of these formats.

        The exponent of a subnormal is the rebiased 0 less its leading zeros. The rebiased 0 ends in
        zeros below ones, so that the subtraction inverts the bits of a mask and puts the zeros'
        negative into the lowest two.
        """
        fraction, exponent, subnormal, special, is_nan = self._split(narrow)
        most = len(fraction)
        borrow, shifted, adjust = Signal(8), Signal(most), Signal(8)
        m.d.comb += [
            borrow.eq(self._choose(narrow, lambda fmt: (1 << fmt.exponent_bits) - 4)),
            shifted.eq(fraction),
        ]
        with m.If(subnormal):
            for zeros in range(most):
                leading = fraction[most - 1 - zeros]
                with m.If(leading) if zeros == 0 else m.Elif(leading):
                    m.d.comb += [
                        shifted.eq(Cat(Const(0, zeros + 1), fraction)),
                        adjust.eq((borrow if zeros else 0) | (-zeros & 3)),
                    ]
        exponent = (exponent ^ adjust) & (~subnormal | fraction.any()).replicate(8)
        any_narrow = narrow.any()
        low = self._masked(m, shifted[:-1], any_narrow & ~special, "fraction_low")
        high = Mux(special, is_nan, shifted[-1])
        high = self._masked(m, high, any_narrow, "fraction_high")
        top = self._masked(m, exponent | special.replicate(8), any_narrow, "widened")
        sign = self._masked(m, self.word[7], any_narrow, "narrow_sign")
        return Cat(Const(0, BF16.mantissa_bits - most), low, high, top, sign)
