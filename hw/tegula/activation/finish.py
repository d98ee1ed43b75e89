"""A segment's value as fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.cubic import VALUE_BITS
from tegula.activation.table import segment_layout
from tegula.arith.fp32 import FRACTION_BITS, SIGN, SIGNIFICAND_BITS
from tegula.arith.normalise import clear, one_minus, one_of_four, spend, spend_twice
from tegula.formats import FP32
from tegula.lib.delay import chosen, delayed, gated, registered

__all__ = ["Finish"]

_WIDTH = VALUE_BITS - 1
"""Bits of a value without its sign: as many as the shifts by 8, 4, 2, 1 need above the last."""

_ROOM = FP32.bias + _WIDTH - 1 - 30 - 1
"""By ``exponent + _ROOM`` places a value may be shifted left: then it is a subnormal's."""


_INFINITE = 0b11 << 7
"""Budgets from 384 on count as 384: whatever the shift, the exponent is beyond fp32's, and has no
more than 9 bits."""


class Finish(wiring.Component):
    """Step 6 of section 5.5 of the numerics contract: round, or take the constant.

    The value is normalised by shifts left, by no more than its *budget*, the exponent plus 135; if
    that is negative it is shifted right. First come shifts by 32 and 16, either way, then by 8, 4,
    2 and 1 to the left; the budget modulo 16 serves both. One addition then rounds and makes the
    exponent field, ``budget + 1 - shift``, and takes in a constant's pattern, beside which all else
    is 0.

    As in `FpAdd` nothing is negated: the bits of a negative value are inverted after the shifts,
    which makes its magnitude minus 1 with ones in all lower places, and rounding adds the 1. The
    arrangement is ours; the result is that of IEEE 754-2019 roundTiesToEven.

    Latency: `LATENCY` cycles. Throughput: one a cycle.

    Members
    -------
    segment : In(segment_layout)
        What the value belongs to, in its cycle: `FIELDS`, and the entry's c0.
    value : In(signed(VALUE_BITS))
        The cubic's value.
    result : Out(32)
        The bits of f(z).
    """

    FIELDS = "exponent", "constant", "flip", "nan"
    """Fields of a segment that are read, beside the entry."""

    LATENCY = 7
    """Registers: budget, tests; shift by 32 and 16; by 8 and 4; by 2; by 1; sum; specials."""

    def __init__(self):
        super().__init__(
            {
                "segment": In(segment_layout()),
                "value": In(signed(VALUE_BITS)),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        """Normalise, round, replace what is special."""
        m = Module()
        segment = self.segment
        constant = delayed(m, segment.constant, 4, name="constant")
        pattern = delayed(m, segment.entry.c0.as_unsigned(), 3, name="pattern")
        pattern = gated(m, pattern, delayed(m, segment.constant, 3, name="is"), name="kept")

        window, negative, budget, sticky, shift, spared = self._enter(m)
        window, sticky, shift, spared = self._shift(
            m, window, negative, budget, sticky, shift, spared
        )
        negative = delayed(m, negative, 2, name="negative_later")
        budget = delayed(m, budget, 2, name="budget_later")
        by_1, _ = spend(~(window[-1] ^ negative), budget[0], spared)
        significand = Mux(by_1, window[:-1], window[1:]) ^ negative.replicate(SIGNIFICAND_BITS + 1)
        sticky = sticky | (window[0] & ~by_1)
        tie, odd = significand[0], significand[1]
        up = Mux(negative, tie | (~sticky & odd), tie & (sticky | odd)) & ~constant
        hidden = significand[-1] & ~constant

        fraction = gated(m, significand[1:-1], ~constant, name="fraction")
        field = (budget & hidden.replicate(len(budget))) | pattern[FRACTION_BITS:SIGN]
        addend = Cat(up | pattern[0], pattern[1:FRACTION_BITS])
        change = gated(m, one_minus(Cat(by_1, shift), len(budget)), hidden, name="change")
        rounded = registered(
            m,
            (
                Cat(fraction, registered(m, field, name="field"))
                + Cat(registered(m, addend, name="addend"), change)
            )[: FRACTION_BITS + len(budget)],
            name="rounded",
        )
        sign = (negative & ~constant) ^ pattern[SIGN] ^ delayed(m, segment.flip, 4, name="flip")
        self._replace(
            m,
            rounded,
            delayed(m, sign, 2, name="sign"),
            delayed(m, constant, 2, name="constant_later"),
        )
        return m

    def _enter(self, m: Module) -> tuple[Value, ...]:
        """Two cycles, less an OR: shift by 32 or 16, left or right.

        Returned are the window, the sign, the budget that is left (modulo 16 if it was negative, 0
        if that moves all bits out), whether a 1 was shifted out, by how much it was shifted to the
        left, in units of 16, and whether the budget exceeds all further shifts.
        """
        budget = Signal(signed(13))
        m.d.comb += budget.eq(self.segment.exponent + _ROOM)
        value = self.value
        below = budget[-1]
        right_16 = below & budget[4:].all()
        left = Signal(9, reset_less=True, name="budget")
        m.d.sync += left.eq(
            Cat(
                budget[:4] & (~below | budget[5:].all()).replicate(4),
                budget[4:9] & (~below).replicate(5),
            )
        )
        with m.If(~below & (budget[9:].any() | budget[7:9].all())):
            m.d.sync += left.eq(_INFINITE)
        enough_16, enough_32, more = (
            registered(m, ~below & many, name=f"enough_{k}")
            for k, many in enumerate(
                (budget[4:].any(), budget[5:].any(), budget[6:].any() | budget[4:6].all())
            )
        )
        right_32 = registered(m, below & ~right_16, name="right_32")
        right_16 = registered(m, right_16, name="right_16")
        lead_16 = registered(m, _same(value[_WIDTH - 16 :]), name="lead_16")
        lead_32 = registered(m, _same(value[_WIDTH - 32 : _WIDTH - 15]), name="lead_32")
        value = registered(m, value, name="value")

        negative = value[-1]
        by_32 = lead_32 & lead_16 & enough_32
        by_16 = lead_16 & enough_16 & ~by_32
        stays = ~(by_32 | by_16 | right_16 | right_32)
        right = right_16 | right_32
        fill_16 = registered(m, negative & right, name="fill_16")
        fill_32 = registered(m, negative & right_32, name="fill_32")
        window = chosen(
            m,
            [
                (stays, value[:_WIDTH]),
                (by_16, Cat(Const(0, 16), value[: _WIDTH - 16])),
                (by_32, Cat(Const(0, 32), value[: _WIDTH - 32])),
                (right_16, value[16:_WIDTH]),
                (right_32, value[32:_WIDTH]),
            ],
            name="entered",
        )
        window = window | Cat(Const(0, 8), fill_32.replicate(16), fill_16.replicate(16))
        sticky = Cat(
            gated(m, value[:16].any(), right, name="lost_16"),
            gated(m, value[16:32].any(), right_32, name="lost_32"),
        )
        spared = more | (enough_32 & ~by_32) | (enough_16 & ~by_16 & ~by_32)
        return (
            window,
            registered(m, negative, name="negative"),
            registered(m, left, name="budget_0"),
            sticky,
            registered(m, Cat(by_16, by_32), name="shift_16"),
            registered(m, spared, name="spared"),
        )

    def _shift(
        self,
        m: Module,
        window: Value,
        negative: Value,
        budget: Value,
        sticky: Value,
        shift: Value,
        spared: Value,
    ) -> tuple[Value, ...]:
        """Two cycles: shift left by 8 and 4, then by 2, while the top bits are the sign."""
        zeros = clear(window, 4, negative)
        by_8, by_4, spared = spend_twice(m, zeros, budget[2:4], spared, name="by_8_4")
        kept = SIGNIFICAND_BITS + 4
        sticky = Cat(
            registered(m, sticky.any(), name="lost_before"),
            gated(m, window[:4].any(), ~(by_8 & by_4), name="lost_4"),
            gated(m, window[4:8].any(), ~by_8, name="lost_8"),
            gated(m, window[8:12].any(), ~by_8 & ~by_4, name="lost_12"),
        )
        window = one_of_four(
            m,
            by_8,
            by_4,
            [window[12 - 4 * k : 12 - 4 * k + kept] for k in range(4)],
            name="shifted",
        )
        shift = registered(m, Cat(by_4, by_8, shift), name="shift_4")
        spared = registered(m, spared, name="spared_4")
        negative = registered(m, negative, name="negative_4")
        budget = registered(m, budget, name="budget_4")

        by_2, spared = spend(clear(window, 2, negative)[0], budget[1], spared)
        sticky = sticky.any() | (window[:2].any() & ~by_2)
        window = registered(m, Mux(by_2, window[:-2], window[2:]), name="window_2")
        return (
            window,
            registered(m, sticky, name="sticky"),
            registered(m, Cat(by_2, shift), name="shift_2"),
            registered(m, spared, name="spared_2"),
        )

    def _replace(self, m: Module, rounded: Value, sign: Value, constant: Value) -> None:
        """The result: overflow is infinite, and NaNs are one NaN; one cycle."""
        fraction, field = rounded[:FRACTION_BITS], rounded[FRACTION_BITS:]
        over = field[8] | field[:8].all()
        nan = delayed(m, self.segment.nan, self.LATENCY - 1, name="nan")
        nan = nan | (over & constant & fraction.any())
        result = Signal(SIGN, reset_less=True)
        m.d.sync += result.eq(rounded)
        with m.If(over | nan):
            m.d.sync += result.eq(Cat(Const(0, FRACTION_BITS - 1), nan, Const(0xFF, 8)))
        m.d.comb += self.result.eq(Cat(result, registered(m, sign & ~nan, name="sign_out")))


def _same(bits: Value) -> Value:
    """1 if all bits are equal. Neighbours share a bit, so that each takes a LUT4."""
    last = len(bits) - 1
    return Cat(
        bits[at : min(at + 4, last + 1)].all() | ~bits[at : min(at + 4, last + 1)].any()
        for at in range(0, last, 3)
    ).all()
