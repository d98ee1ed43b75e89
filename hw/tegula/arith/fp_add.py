"""fp32 addition, rounded to nearest even."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.pipeline import registered

__all__ = ["FpAdd"]

_FRACTION = 23


class FpAdd(wiring.Component):
    """``sum = a + b`` in fp32, rounded to nearest even, subnormals included (contract 5.2).

    Latency: `LATENCY` cycles. Throughput: one sum a cycle.

    Members
    -------
    a, b : In(32)
        fp32 patterns.
    keep : In(1)
        `b` is -0 and the result is `a`, bit by bit.
    sum : Out(32)
        The fp32 pattern of the result.
    """

    LATENCY = 6

    def __init__(self):
        super().__init__({"a": In(32), "b": In(32), "keep": In(1), "sum": Out(32)})

    def elaborate(self, platform):
        """Align, compute, normalise, round, replace what is special."""
        m = Module()
        # --- order
        exp_a, exp_b = self.a[23:31], self.b[23:31]
        norm_a, norm_b = exp_a.any(), exp_b.any()
        eff_a = Cat(exp_a[0] | ~norm_a, exp_a[1:])
        eff_b = Cat(exp_b[0] | ~norm_b, exp_b[1:])
        t = Signal(9)
        m.d.comb += t.eq(eff_a + (~eff_b)[:8])
        swap = Signal()
        m.d.comb += swap.eq(~t[8])
        spec_a, spec_b = exp_a.all(), exp_b.all()
        sub = self.a[31] ^ self.b[31]

        exponent = registered(m, Mux(swap, eff_b, eff_a), name="exponent_0")
        big = registered(
            m, Mux(swap, Cat(self.b[:23], norm_b), Cat(self.a[:23], norm_a)), name="big"
        )
        small = registered(
            m,
            Mux(swap, Cat(Const(0, 1), self.a[:23], norm_a & ~spec_a), Cat(self.b[:23], norm_b)),
            name="small",
        )
        distance = registered(m, t[:8] ^ swap.replicate(8), name="distance")
        sign = registered(m, Mux(swap, self.b[31], self.a[31]), name="sign_0")
        sub = registered(m, sub, name="sub_0")
        special = registered(m, (spec_a | spec_b), name="special_0")
        both = registered(m, (spec_a & spec_b), name="both_0")
        keep = registered(m, self.keep, name="keep_0")

        # --- align
        far = distance[5:].any() | special
        shift = distance[:5] | far.replicate(5)
        window = Cat(Const(0, 1), small)
        sticky = Const(0, 1)
        for step in (16, 8, 4, 2, 1):
            take = shift[step.bit_length() - 1]
            sticky = sticky | (take & window[:step].any())
            window = Mux(take, window[step:], window)
        window = registered(m, window ^ sub.replicate(26), name="aligned")
        cin = registered(m, sub & ~sticky, name="cin")
        forced_nan = registered(m, both & (sub | sticky), name="forced_nan")
        sticky = registered(m, sticky, name="sticky_1")
        big = registered(m, big, name="big_1")
        exponent = registered(m, exponent, name="exponent_1")
        sign = registered(m, sign, name="sign_1")
        sub = registered(m, sub, name="sub_1")
        special = registered(m, special, name="special_1")
        keep = registered(m, keep, name="keep_1")

        # --- add
        total = Cat(Const(1, 1), Const(0, 2), big, Const(0, 1)) + Cat(cin, window, sub)
        window = Signal(27, reset_less=True)
        m.d.sync += window.eq(total[1:28])
        sticky = registered(m, sticky, name="sticky_2")
        exponent = registered(m, exponent, name="exponent_2")
        sign = registered(m, sign, name="sign_2")
        sub = registered(m, sub, name="sub_2")
        special = registered(m, special, name="special_2")
        forced_nan = registered(m, forced_nan, name="forced_nan_2")
        keep = registered(m, keep, name="keep_2")

        # --- normalise
        neg = sub & window[26]

        def zeros(window, n):
            return ~(window[-n:] ^ neg.replicate(n)).any()

        hi = exponent[5:].any()
        budget = exponent[:5] | hi.replicate(5)
        takes = []
        cut = 4
        for step in (16, 8, 4, 2, 1):
            z = zeros(window, step)
            if step == cut:
                window = registered(m, window, name="norm_1")
                z = registered(m, z, name="z_1")
                budget = registered(m, budget, name="budget_1")
                takes = [registered(m, Cat(*takes), name="takes_1")]
                sticky = registered(m, sticky, name="sticky_3")
                exponent = registered(m, exponent, name="exponent_3")
                sign = registered(m, sign, name="sign_3")
                sub = registered(m, sub, name="sub_3")
                neg = registered(m, neg, name="neg_3")
                special = registered(m, special, name="special_3")
                forced_nan = registered(m, forced_nan, name="forced_nan_3")
                keep = registered(m, keep, name="keep_3")
            top = budget[-1]
            take = Signal(name=f"take_{step}")
            m.d.comb += take.eq(z & top)
            budget = budget[:-1] | (top & ~z).replicate(len(budget) - 1)
            if step >= 4:
                window = Cat(window[0], Mux(take, window[1:] << step, window[1:])[:26])
            else:
                window = Mux(take, window << step, window)[:27]
            takes.append(take)
        shift = Cat(*reversed([b for t in takes for b in t]))
        significand = (window[3:] ^ neg.replicate(24))[:24]
        hidden = significand[23]
        base = Signal(8, reset_less=True)
        m.d.sync += base.eq(exponent - shift)
        with m.If(~hidden):
            m.d.sync += base.eq(0)
        significand = registered(m, significand, name="significand")
        round_bit = registered(m, window[2] ^ neg, name="round_bit")
        rest = registered(m, window[:2].any() | sticky | neg, name="rest")
        sign = registered(m, sign ^ neg, name="sign_4")
        cancelled = registered(m, sub & ~neg & ~hidden, name="cancelled")
        special = registered(m, special, name="special_4")
        forced_nan = registered(m, forced_nan, name="forced_nan_4")
        keep = registered(m, keep, name="keep_4")

        # --- round
        up = round_bit & (rest | significand[0])
        rounded = Signal(31)
        m.d.comb += rounded.eq(Cat(significand[:23], base) + Cat(up, Const(0, 22), significand[23]))
        fraction, field = rounded[:23], rounded[23:]
        some = fraction.any()
        nan = special & ~keep & (some | forced_nan)
        out_f, out_e, out_s = (
            Signal(23, reset_less=True),
            Signal(8, reset_less=True),
            Signal(reset_less=True),
        )
        m.d.sync += [
            out_f.eq(fraction),
            out_e.eq(field),
            out_s.eq(sign & ~(cancelled & ~some) & ~nan),
        ]
        with m.If(field.all() & ~keep):
            m.d.sync += out_f.eq(0)
            m.d.sync += out_f[-1].eq(nan)
        m.d.comb += self.sum.eq(Cat(out_f, out_e, out_s))
        return m
