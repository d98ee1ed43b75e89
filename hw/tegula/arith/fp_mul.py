"""fp32 multiplication."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.normalise import four_shifts, one_minus, spend
from tegula.lib.delay import chosen, delayed, gated, registered

__all__ = ["FpMul"]

_FRACTION = 23
_SIGNIFICAND = _FRACTION + 1
_PRODUCT = 2 * _SIGNIFICAND

_LIMB = 18
"""Bits of the lower limb of a significand: what a multiplier of FPGAs takes."""

_BELOW = 32
"""How much lower a product enters that may have to be shifted right."""

_WINDOW = _SIGNIFICAND + 1 + 1 + 2
"""Bits after the shifts by 8 and 4: significand, round bit, what shifts by 1 and 2 bring up."""

_EXPONENT_ONES = 255


class FpMul(wiring.Component):
    """Multiply: ``product = a * b`` in fp32, rounded to nearest even, subnormals included.

    The significands are multiplied as limbs of 18 and 6 bits, hidden bits included, to 48 bits. A
    subnormal factor leaves leading zeros, a small exponent sum asks for a shift right, and only one
    of both matters: so there is one shifter to the left, by 16, 8, 4, 2, 1 places while the top
    bits are zero and the *budget* allows it. With ``s = exponent(a) + exponent(b) + 1`` the budget
    is ``s - 128``, which stops a subnormal result at the alignment of the smallest normal. Where
    that is negative the product enters 32 places lower, and the budget is ``s - 96``; where that is
    negative too the product is below half the smallest subnormal, and is dropped. One addition then
    rounds and makes the exponent field, ``budget + 1 - shift``. The arrangement is ours; the result
    is that of IEEE 754-2019 roundTiesToEven, and every NaN is 0x7FC00000.

    With `keep` the product is masked and the pattern `kept` takes its place before the last
    addition, which changes nothing then.

    Latency: `LATENCY` cycles. Throughput: one product a cycle.

    Members
    -------
    a, b : In(32)
        fp32 patterns.
    keep : In(1)
        The result is not that of `a` and `b`, but `kept`.
    kept : In(32)
        `KEPT_CYCLES` after `keep`: the pattern; 0 where nothing is kept.
    product : Out(32)
        The fp32 pattern of the result.
    """

    LATENCY = 6
    """Registers: limb products; product; 32 and 16; 8 and 4; 2 and 1; round."""

    KEPT_CYCLES = 4
    """Cycles that `kept` comes after its operands."""

    def __init__(self):
        super().__init__(
            {"a": In(32), "b": In(32), "keep": In(1), "kept": In(32), "product": Out(32)}
        )

    def elaborate(self, platform):
        """Multiply, align, round, replace what is special."""
        m = Module()
        field_a, field_b = self.a[_FRACTION:31], self.b[_FRACTION:31]
        normal_a, normal_b = field_a.any(), field_b.any()
        special_a, special_b = field_a.all(), field_b.all()
        special = special_a | special_b
        nan = (special_a & self.a[:_FRACTION].any()) | (special_b & self.b[:_FRACTION].any())

        exponents = Signal(10)
        m.d.comb += exponents.eq(
            Cat(1, field_a[0] | ~normal_a, field_a[1:])
            + Cat(1, field_b[0] | ~normal_b, field_b[1:])
        )
        exponents = registered(m, exponents[1:], name="exponents")
        product = self._multiply(
            m, Cat(self.a[:_FRACTION], normal_a), Cat(self.b[:_FRACTION], normal_b)
        )
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
        fraction = registered(m, aligned[1:-1] | self.kept[:_FRACTION], name="fraction")
        up = registered(m, aligned[0] & (aligned[1] | rest), name="up")
        # Without a hidden bit the result is subnormal or zero.
        field = budget & hidden.replicate(len(budget))
        base = registered(m, field | self.kept[_FRACTION:31], name="base")
        change = gated(m, one_minus(Cat(by_1, by_2, shift), len(budget)), hidden, name="change")
        special = delayed(m, special, 4, name="special")
        nan = registered(m, delayed(m, nan, 4, name="nan") | ~hidden, name="nan_or_zero")

        rounded = Signal(_FRACTION + len(budget))
        m.d.comb += rounded.eq(Cat(fraction, base) + Cat(up, Const(0, _FRACTION - 1), change))
        field = rounded[_FRACTION:]
        keep = delayed(m, masked, 3, name="keep")
        sign = delayed(m, self.a[31] ^ self.b[31], 4, name="sign")
        sign = registered(m, (sign & ~keep) | self.kept[31], name="sign_out")
        keep = registered(m, keep, name="keep_5")
        special = registered(m, special, name="special_out")
        replace = Signal()
        m.d.comb += replace.eq((special | field[8] | field[:8].all()) & ~keep)
        nan = replace & special & nan
        out = Signal(32, reset_less=True)
        m.d.sync += out.eq(Cat(rounded[:31], sign & ~nan))
        with m.If(replace):
            m.d.sync += out[:31].eq(_EXPONENT_ONES << _FRACTION | nan << (_FRACTION - 1))
        m.d.comb += self.product.eq(out)
        return m

    def _multiply(self, m: Module, a: Value, b: Value) -> Value:
        """Two cycles: the products of the limbs, and their sum."""
        a_low, a_high, b_low, b_high = a[:_LIMB], a[_LIMB:], b[:_LIMB], b[_LIMB:]
        bottom = registered(m, a_low * b_low, name="bottom")
        cross = (
            registered(m, a_low * b_high, name="cross_a"),
            registered(m, a_high * b_low, name="cross_b"),
        )
        top = registered(m, a_high * b_high, name="top")
        middle = Signal(_SIGNIFICAND + 1)
        upper = Signal(_PRODUCT - _LIMB)
        m.d.comb += [
            middle.eq(cross[0] + cross[1]),
            upper.eq(Cat(bottom[_LIMB:], top) + middle),
        ]
        return registered(m, Cat(bottom[:_LIMB], upper), name="product_48")

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
        window = chosen(
            m,
            [
                (present & ~low & ~by_16, product[8:]),
                (present & ~low & by_16, Cat(Const(0, 8), product[:32])),
                (present & low & ~by_16, product[40:]),
                (present & low & by_16, product[24:]),
            ],
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

        upper = ~window[36:].any()
        by_8, spared = spend(upper & ~window[32:36].any(), budget[3], spared)
        by_4, spared = spend(Mux(by_8, ~window[28:32].any(), upper), budget[2], spared)
        aligned = chosen(
            m,
            [
                (take, window[12 - 4 * k : 40 - 4 * k])
                for k, take in enumerate(four_shifts(by_8, by_4))
            ],
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
