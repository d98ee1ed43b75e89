"""fp32 multiplication."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tegula.arith.fp32 import EXPONENT_BITS, FRACTION_BITS, SIGN, SIGNIFICAND_BITS
from tegula.arith.fp_core import FpCore, Operand
from tegula.arith.multiply import multiplied
from tegula.arith.normalise import clear, one_of_four, spend, spend_twice
from tegula.lib.delay import delayed, gated, registered

__all__ = ["FpMul"]

_WINDOW = SIGNIFICAND_BITS + 1 + 1 + 2
"""Bits after the shifts by 8 and 4: significand, round bit, what shifts by 1 and 2 bring up."""


class FpMul(FpCore):
    """Product: ``result = a * b`` in fp32, rounded to nearest even, subnormals included.

    The significands are multiplied as limbs of 18 and 6 bits, hidden bits included, to 48 bits. A
    subnormal factor leaves leading zeros, a small exponent sum requires a shift right, and only one
    of both matters: so there is one shifter to the left, by 16, 8, 4, 2, 1 places while the top
    bits are zero and the *budget* allows it. With ``s = exponent(a) + exponent(b) + 1`` the budget
    is ``s - 128``, which stops a subnormal result at the alignment of the smallest normal. Where
    that is negative the product enters 32 places lower, and the budget is ``s - 96``; where that is
    negative too the product is below half the smallest subnormal, and is dropped. One addition then
    rounds and makes the exponent field, ``budget + 1 - shift``. The arrangement is ours; the result
    is that of IEEE 754-2019 roundTiesToEven, and every NaN is 0x7FC00000.
    """

    LATENCY = 6
    """Registers: limb products; product; 32 and 16; 8 and 4; 2 and 1; round."""

    def elaborate(self, platform):
        """Multiplication, alignment, rounding, replacement of what is special."""
        m = Module()
        a, b = Operand(self.a, self.a_normal), Operand(self.b, self.b_normal)
        special, nan = a.special | b.special, a.nan | b.nan

        exponents = Signal(10)
        m.d.comb += exponents.eq(Cat(1, a.exponent) + Cat(1, b.exponent))
        exponents = registered(m, exponents[1:], name="exponents")
        product = multiplied(m, a.significand, b.significand, name="product")
        low = ~exponents[7] & ~exponents[8]
        masked = registered(m, self.keep, name="masked")
        present = registered(m, (~low | exponents[5:7].all()) & ~masked, name="present")
        spared = registered(m, exponents[8] | (~low & exponents[5:7].any()), name="spared_0")
        # The sum minus 128; minus 96, where that is negative.
        budget = registered(
            m,
            Cat(
                exponents[:5],
                exponents[5:7] & (~low).replicate(2),
                exponents[8] & ~exponents[7],
                exponents[8] & exponents[7],
            ),
            name="budget_0",
        )
        low = registered(m, low, name="low")

        aligned, rest, shift, spared, budget = self._align(m, product, low, present, spared, budget)

        by_2, spared = spend(~aligned[-2:].any(), budget[1], spared)
        rest = rest | (aligned[:2].any() & ~by_2)
        aligned = Mux(by_2, aligned[:-2], aligned[2:])
        by_1, _ = spend(~aligned[-1], budget[0], spared)
        rest = rest | (aligned[0] & ~by_1)
        aligned = Mux(by_1, aligned[:-1], aligned[1:])
        hidden = aligned[-1]
        nan = registered(m, delayed(m, nan, 4, name="nan") | ~hidden, name="nan_or_zero")
        keep = delayed(m, masked, 3, name="keep")
        special = delayed(m, special, 4, name="special")
        rounded = self._round(
            m,
            fraction=aligned[1:-1],
            up=aligned[0] & (aligned[1] | rest),
            exponent=budget,
            hidden=hidden,
            shift=Cat(by_1, by_2, shift),
            sign=delayed(m, a.sign ^ b.sign, 4, name="sign"),
            keep=keep,
        )

        field = rounded.pattern[FRACTION_BITS:]
        special = registered(m, special & ~keep, name="special_4")
        over = field[EXPONENT_BITS] | field[:EXPONENT_BITS].all()
        replace = Signal()
        m.d.comb += replace.eq(special | (over & ~rounded.keep))
        nan = special & nan
        self._output(
            m,
            rounded.pattern[:SIGN] | Cat(Const(0, FRACTION_BITS), replace.replicate(EXPONENT_BITS)),
            rounded.sign & ~nan,
            replace,
            nan,
        )
        return m

    def _align(
        self,
        m: Module,
        product: Value,
        low: Value,
        present: Value,
        spared: Value,
        budget: Value,
    ) -> tuple[Value, ...]:
        """Two cycles: right by 32 and left by 16, then left by 8 and 4.

        Returned are the top 28 bits, whether one below them is set, and the shift, in units of 4.
        """
        upper, lower = ~product[40:].any(), ~product[32:40].any()
        by_16, spared = spend((upper & lower) | low, budget[4], spared)
        entering = (product[8:], Cat(Const(0, 8), product[:32]), product[40:], product[24:])
        window = one_of_four(
            m,
            low,
            by_16,
            [value & present.replicate(len(value)) for value in entering],
            name="entered",
        )
        rest = [
            gated(m, product[:8].any(), low | ~by_16, name="rest_a"),
            gated(m, product[8:24].any(), low, name="rest_b"),
            gated(m, product[24:40].any(), low & ~by_16, name="rest_c"),
        ]
        budget = registered(m, budget, name="budget_1")
        by_16 = registered(m, by_16, name="by_16")
        spared = registered(m, spared, name="spared_1")

        zeros = clear(window, 4, Const(0, 1))
        by_8, by_4, spared = spend_twice(m, zeros, budget[2:4], spared, name="by_8_4")
        aligned = one_of_four(
            m,
            by_8,
            by_4,
            [window[12 - 4 * k : 40 - 4 * k] for k in range(4)],
            name="aligned",
        )
        rest = [
            registered(m, Cat(rest).any() | (window[:4].any() & ~(by_8 & by_4)), name="rest_d"),
            gated(m, window[4:8].any(), ~by_8, name="rest_e"),
            gated(m, window[8:12].any(), ~by_8 & ~by_4, name="rest_f"),
        ]
        shift = [
            registered(m, take, name=f"by_{step}_later")
            for step, take in ((4, by_4), (8, by_8), (16, by_16))
        ]
        budget = registered(m, budget, name="budget_2")
        return aligned, Cat(rest).any(), Cat(shift), registered(m, spared, name="spared_2"), budget
