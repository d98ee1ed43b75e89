"""fp32 multiplication, rounded to nearest even."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.pipeline import delayed, registered

__all__ = ["FpMul"]

_FRACTION = 23
_WINDOW = 56
"""24 bits of significand, a round bit, and 31 that shifts may bring up."""


class FpMul(wiring.Component):
    """``product = a * b`` in fp32, rounded to nearest even, subnormals included (contract 5.2).

    Latency: `LATENCY` cycles. Throughput: one product a cycle.

    Members
    -------
    a, b : In(32)
        fp32 patterns.
    keep : In(1)
        `b` is 1.0 and the result is `a`, bit by bit.
    product : Out(32)
        The fp32 pattern of the result.
    """

    LATENCY = 6

    def __init__(self):
        super().__init__({"a": In(32), "b": In(32), "keep": In(1), "product": Out(32)})

    def elaborate(self, platform):
        """Align, compute, normalise, round, replace what is special."""
        m = Module()
        significands, exponents, ones, some = [], [], [], []
        for name, x in (("a", self.a), ("b", self.b)):
            field, fraction = x[_FRACTION:31], x[:_FRACTION]
            normal = field.any()
            significands.append(registered(m, Cat(fraction, normal), name=f"significand_{name}"))
            exponents.append(Cat(field[0] | ~normal, field[1:]))
            ones.append(field.all())
            some.append(fraction.any())
        zero = [~x[:31].any() for x in (self.a, self.b)]
        nan = Signal(reset_less=True)
        # cycle 1
        m.d.sync += nan.eq((ones[0] & (some[0] | zero[1])) | (ones[1] & (some[1] | zero[0])))
        special = registered(m, ones[0] | ones[1], name="special")
        keep = registered(m, self.keep, name="keep")
        sign = registered(m, self.a[31] ^ self.b[31], name="sign")
        total = registered(m, exponents[0] + exponents[1], name="total")
        # cycle 2
        product = registered(m, significands[0] * significands[1], name="product")
        room = Signal(signed(10), reset_less=True)
        m.d.sync += room.eq(total - 127)
        # cycle 3
        low = room < 0
        window = Signal(_WINDOW, reset_less=True)
        straight = Cat(Const(0, _WINDOW - 48), product)
        m.d.sync += window.eq(Mux(low, Cat(product[24:], Const(0, 32)), straight))
        sticky = registered(m, low & product[:24].any(), name="sticky")
        budget = Signal(5, reset_less=True)
        m.d.sync += budget.eq(room[:5])
        with m.If(low & ~room[5:9].all()):
            m.d.sync += budget.eq(0)
        with m.Elif(~low & room[5:9].any()):
            m.d.sync += budget.eq(31)
        # room + 32 where low: only its low five bits count then, and they are those of the budget
        base = Signal(9, reset_less=True)
        m.d.sync += base.eq(Cat(room[:5], room[5:9] & (~low).replicate(4)))
        with m.If(low & ~room[5:9].all()):
            m.d.sync += base.eq(0)
        # cycle 4, 5
        shift = Const(0, 5)
        for cycle, steps in enumerate(((16, 8), (4, 2, 1))):
            for step in steps:
                zeros = ~window[-step:].any()
                take = zeros & budget[-1]
                spared = budget[-1] & ~zeros
                sticky = sticky | (window[:step].any() & ~take)
                window = Mux(take, window[:-step], window[step:])
                budget = budget[:-1] | spared.replicate(len(budget) - 1)
                shift = shift | (take << (step.bit_length() - 1))
            if cycle == 0:
                window = registered(m, window, name="window_1")
                sticky = registered(m, sticky, name="sticky_1")
                budget = registered(m, budget, name="budget_1")
                shift = registered(m, shift[:5], name="shift_1")
                base = registered(m, base, name="base_1")
        hidden = window[-1]
        field = Signal(9, reset_less=True)
        m.d.sync += field.eq(base - shift[:5])
        with m.If(~hidden):
            m.d.sync += field.eq(0)
        window = registered(m, window, name="window_2")
        sticky = registered(m, sticky, name="sticky_2")
        assert len(window) == 25, len(window)
        # cycle 6
        significand = window[1:]
        up = window[0] & (sticky | significand[0])
        rounded = Signal(33)
        m.d.comb += rounded.eq(Cat(Const(0, _FRACTION), field) + significand + up)
        nan = delayed(m, nan, 4, name="nan")
        special = delayed(m, special, 4, name="special_l")
        keep = delayed(m, keep, 4, name="keep_l")
        sign = delayed(m, sign, 4, name="sign_l")
        over = rounded[_FRACTION : _FRACTION + 8].all() | rounded[31]
        infinite = (special | over) & ~keep
        fraction, exponent, out_sign = (
            Signal(_FRACTION, reset_less=True),
            Signal(8, reset_less=True),
            Signal(reset_less=True),
        )
        m.d.sync += [
            fraction.eq(rounded[:_FRACTION]),
            exponent.eq(rounded[_FRACTION:]),
            out_sign.eq(sign & ~(nan & ~keep)),
        ]
        with m.If(infinite):
            m.d.sync += [fraction.eq(Cat(Const(0, _FRACTION - 1), nan)), exponent.eq(255)]
        m.d.comb += self.product.eq(Cat(fraction, exponent, out_sign))
        return m
