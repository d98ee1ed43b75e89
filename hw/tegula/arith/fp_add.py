"""fp32 addition, rounded to nearest even."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN, SIGNIFICAND_BITS, Fp32Fields
from tegula.arith.fp_core import FpCore, Operand
from tegula.arith.normalise import clear, one_of_four, spend, spend_twice
from tegula.lib.delay import delayed, gated, registered

__all__ = ["FpAdd"]

_GUARD = 2
"""Bits below an ulp of the larger addend that are kept: what a shift left by 2 brings up."""

_WINDOW = 1 + SIGNIFICAND_BITS + _GUARD
"""Bits of the sum: carry or sign, significand, guard bits."""


class FpAdd(FpCore):
    """Sum: ``result = a + b`` in fp32, rounded to nearest even, subnormals included.

    The addend with the smaller exponent is shifted right to the other's, with two guard bits and a
    sticky bit, and added or, if the signs differ, subtracted. The sum is normalised by shifts of
    16, 8, 4, 2, 1 places, as many as the larger exponent allows, so that a subnormal result stops
    at the alignment of the smallest normal. One addition then rounds and makes the exponent field:
    ``exponent + 1 - shift`` above, the increment below, and a carry between them is right by
    itself.

    A difference is negative only if the exponents are equal; it is exact then. It is never
    negated: its bits are inverted after the shift, which leaves the magnitude minus 1 with ones in
    all lower places, and the increment adds the 1. Infinities and NaNs go through the datapath as
    numbers with the exponent 255, before which any other addend is only a sticky bit; the result
    is replaced at the end. The arrangement is ours; the result is that of IEEE 754-2019
    roundTiesToEven, and every NaN is 0x7FC00000.

    A sum ``a + (-b)`` also compares: its flags say what the order of a and b follows from, whether
    the sum is kept or not.

    Members
    -------
    alone : In(1)
        The flags are those of ``a + 0``; the sum is undefined.
    smaller : Out(1)
        `SMALLER_CYCLES` later, of a difference or if the exponents differ: |a| < |b|.
    zero, opposite, nan : Out(1)
        `FLAG_CYCLES` later: the sum is zero; a and b are infinities or NaNs and their signs differ;
        a or b is a NaN.
    """

    LATENCY = 6
    """Registers: order and shift by 2, 4, 6; shift and add; 16 and 8; 4 and 2; 1; round."""

    SMALLER_CYCLES = 2
    FLAG_CYCLES = 3

    def __init__(self, copies: int = 0):
        flags = {"smaller": Out(1), "zero": Out(1), "opposite": Out(1), "nan": Out(1)}
        super().__init__(copies, {"alone": In(1), **flags})

    def elaborate(self, platform):
        """Alignment, addition, normalisation, rounding, replacement of what is special."""
        m = Module()
        a, b = Operand(self.a, self.a_normal), Operand(self.b, self.b_normal)
        differ = a.sign ^ b.sign
        special, both = a.special | b.special, a.special & b.special
        # An infinity or NaN is at most approached by a sticky bit, which must come from above.
        subtract = registered(m, differ & ~special, name="subtract_0")
        invalid = registered(m, both & differ, name="invalid_0")
        both = registered(m, both, name="both")

        sign, exponent, larger, smaller, sticky, eights, by_1, swap = self._order(m, a, b, special)
        aligned, lost = self._align(m, smaller, eights)
        sticky = sticky | lost | (by_1 & aligned[0])
        smaller = Mux(by_1, aligned[1:], aligned)
        # The bit above the window is 1 if a difference is negative.
        total = Signal(1 + _WINDOW + 1)
        m.d.comb += total.eq(
            Cat(1, Const(0, _GUARD), larger, Const(0, 1), subtract)
            + Cat(subtract, smaller ^ subtract.replicate(_WINDOW - 1), subtract)
        )
        keep = delayed(m, self.keep, 3, name="keep")
        window = registered(m, total[1:-1], name="window")
        opposite = delayed(m, invalid, 2, name="opposite")
        smaller_nan = delayed(m, both & sticky, 2, name="smaller_nan")
        negative = registered(m, total[-1], name="negative_1")
        sign = registered(m, sign, name="sign_1") ^ negative
        subtract = registered(m, subtract, name="subtract_1")
        sticky = registered(m, sticky, name="sticky_1")
        spared = registered(m, exponent[5:].any(), name="spared_1")
        exponent = registered(m, exponent, name="exponent_1")

        # Of an infinity or NaN the bits below the hidden one are the fraction.
        rest = registered(m, window[:-2].any(), name="rest")
        top = registered(m, window[-2:].any(), name="top")
        either = delayed(m, special, 3, name="either")
        zero = ~rest & ~top
        nan = either & (rest | smaller_nan)
        m.d.comb += [
            self.smaller.eq(registered(m, swap, name="swap") | negative),
            self.zero.eq(zero),
            self.opposite.eq(opposite),
            self.nan.eq(nan),
        ]
        nan = delayed(m, nan | opposite, 2, name="nan")

        window, shift, spared, negative, exponent = self._normalise(
            m, window, negative, exponent, spared, ~keep
        )
        keep = registered(m, keep, name="keep_later")
        sticky = delayed(m, sticky, 2, name="sticky_later")
        cancelled = zero & registered(m, subtract, name="subtract_2")
        subtract = delayed(m, subtract, 2, name="subtract_later")
        sign = registered(m, registered(m, sign, name="sign_2") & ~cancelled, name="sign_3")

        last, _ = spend(~(window[-1] ^ negative), exponent[0], spared)
        hidden = Mux(last, window[-2], window[-1]) ^ negative
        shifted = Mux(last, window[:-1], window[1:]) ^ negative.replicate(_WINDOW - 1)
        rest = window[0] | (window[1] & ~last) | negative
        rounded = self._round(
            m,
            fraction=shifted[_GUARD:-1],
            up=shifted[1] & (rest | Mux(sticky, ~subtract, shifted[2])),
            exponent=exponent,
            hidden=hidden,
            shift=Cat(last, shift),
            sign=sign,
            keep=keep,
        )

        over = rounded.pattern[FRACTION_BITS:].all() & ~rounded.keep
        self._output(
            m,
            rounded.pattern[:SIGN],
            rounded.sign & ~(over & nan),
            over,
            nan,
        )
        return m

    def _order(self, m: Module, a: Fp32Fields, b: Fp32Fields, special: Value) -> tuple:
        """One cycle: larger and smaller exponent, distance, and the shifts by 2, 4 and 6.

        Returned are sign and exponent, the significand of the larger exponent, that of the smaller
        with guard bits, whether a bit of it is lost, the flags of `_align`, the shift by 1, and
        whether the addends are swapped.

        If ``d = a.exponent - b.exponent`` is negative, the addends are swapped. The distance is
        then ``-d = ~d + 1``; a starts one place lower, which is the 1. From a distance of 26 on,
        and beside infinities and NaNs, all is shifted out.
        """
        difference = Signal(10)
        m.d.comb += difference.eq(Cat(a.exponent, self.alone) - b.exponent)
        swap = difference[9]
        distance = difference[:8] ^ swap.replicate(8)
        far = Signal()
        m.d.comb += far.eq(distance[5:].any() | special | self.alone)
        # The hidden bit of the smaller of two specials is not part of what makes it a NaN.
        smaller = Mux(
            swap,
            Cat(Const(0, _GUARD - 1), a.significand),
            Cat(Const(0, _GUARD), b.fraction, b.normal & ~b.special),
        )
        by_2, by_4 = distance[1], distance[2]
        window = one_of_four(
            m, by_4, by_2, (smaller[2 * twos :] for twos in range(4)), name="smaller"
        )
        lost = [
            gated(m, smaller[2 * k : 2 * k + 2].any(), passed, name=f"lost_{k}")
            for k, passed in enumerate((by_4 | by_2, by_4, by_4 & by_2))
        ]
        near = Signal()
        m.d.comb += near.eq((distance[3:5] == 0) & ~far)
        eights = (
            registered(m, near, name="by_0"),
            *(registered(m, (distance[3:5] == k) & ~far, name=f"by_{8 * k}") for k in (1, 2, 3)),
            registered(m, ~near, name="moved"),
        )
        by_1 = registered(m, distance[0], name="by_1")
        sign = registered(m, Mux(swap, b.sign, a.sign), name="sign_0")
        exponent = registered(m, Mux(swap, b.exponent, a.exponent), name="exponent_0")
        larger = registered(m, Mux(swap, b.significand, a.significand), name="larger")
        swap = registered(m, swap, name="swap_0")
        return sign, exponent, larger, window, Cat(lost).any(), eights, by_1, swap

    def _align(self, m: Module, value: Value, eights: tuple[Signal, ...]) -> tuple[Signal, Value]:
        """Shift right by 0, 8, 16 or 24 places, of which at most one holds; by none, all is lost.

        The fifth flag is the first one's complement and gates the top eight bits in its place, so
        that neither drives too many. Returned is also whether a bit is lost.
        """
        by_0, by_8, by_16, by_24, moved = eights
        width = len(value)
        aligned = Signal(width)
        m.d.comb += aligned.eq(
            (value & Cat(by_0.replicate(width - 8), (~moved).replicate(8)))
            | (value[8:] & by_8.replicate(width - 8))
            | (value[16:] & by_16.replicate(width - 16))
            | (value[24:] & by_24.replicate(width - 24))
        )
        lost = Cat(
            value[:8].any() & moved,
            value[8:16].any() & moved & ~by_8,
            value[16:24].any() & moved & ~by_8 & ~by_16,
            value[24:].any() & moved & ~by_8 & ~by_16 & ~by_24,
        )
        return aligned, lost.any()

    def _normalise(
        self,
        m: Module,
        window: Value,
        negative: Value,
        exponent: Value,
        spared: Value,
        present: Value,
    ) -> tuple[Value, ...]:
        """Two cycles: shift left by 16 and 8, then by 4 and 2, while the top bits are the sign.

        The places that come in are zero, for two's complement. The returned shift counts twos.
        Unless the sum is `present`, a cycle later, it is replaced by 0 then.
        """
        takes = []
        for step, passes in ((8, Const(1)), (2, present)):
            zeros = clear(window, step, negative)
            position = step.bit_length() - 1
            high, low, spared = spend_twice(
                m, zeros, exponent[position : position + 2], spared, name=f"by_{step}"
            )
            window = one_of_four(
                m,
                high,
                low,
                [(window << step * k)[:_WINDOW] & passes.replicate(_WINDOW) for k in range(4)],
                name=f"shifted_{step}",
            )
            takes = [
                registered(m, take, name=f"take_{step}_{k}")
                for k, take in enumerate((low, high, *takes))
            ]
            spared = registered(m, spared, name=f"spared_{step}")
            negative = registered(m, negative & passes, name=f"negative_{step}")
            exponent = registered(m, exponent, name=f"exponent_{step}")
        return window, Cat(takes), spared, negative, exponent
