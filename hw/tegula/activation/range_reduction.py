"""Argument of a function as an integer n and a fraction t."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN, SIGNIFICAND_BITS, Fp32Fields
from tegula.arith.multiply import multiplied
from tegula.lib.delay import chosen, delayed, gated, registered
from tegula.lib.mux import prioritised

__all__ = ["Argument", "argument_layout"]

_LOG2_E = 0xB_8AA3_B296 >> 1
"""log2(e) in units of 2**-34: the contract has it in units of 2**-35, and even."""

_UNIT = 30
"""Fraction bits of an argument times log2(e)."""

_FIRST = 10
"""Number of a fraction's lowest bit where an n is made of the leading one's number."""

_OCTAVE = 16
"""Largest exponent field, in eights, that is multiplied: from 135 (n = 8) on `exp` is decided."""

_DROPPED = 26
"""Bits of such an exponent's product that are below the unit: ``155 - 8 * 16``, less one."""


def argument_layout() -> data.StructLayout:
    """Argument of the table: `negative`, `zero`, `infinite`, `nan` of the argument; n, t."""
    return data.StructLayout(
        {"negative": 1, "zero": 1, "infinite": 1, "nan": 1, "n": signed(10), "t": 32}
    )


class Argument(wiring.Component):
    """Step 2 of section 5.5 of the numerics contract, by both reductions.

    `float`: ``|z| = 1.F * 2**n``, ``t = F * 2**9``; subnormals are normalised. `exp`: integer and
    fraction of ``z * log2(e)``, on 30 fraction bits, truncated towards zero.

    Latency: `LATENCY` cycles. Throughput: one a cycle.

    Members
    -------
    z : In(32), exp : In(1), odd : In(1)
        The argument as an fp32 pattern; which reduction; whether it is that of ``|z|``.
    argument : Out(argument_layout)
        The result; `n` and `t` of zeros and infinities are 0, those of NaNs mean nothing.
    """

    LATENCY = 6
    """Registers: input; factors; product, twice; shift by eights; sum with the sign."""

    def __init__(self):
        super().__init__(
            {"z": In(32), "exp": In(1), "odd": In(1), "argument": Out(argument_layout())}
        )

    def elaborate(self, platform):
        """One product: by log2(e), or by the power of two that normalises a subnormal.

        The exponent modulo 8 shifts the factor, the rest of it the product. The last addition
        negates; what is `float`, or far, enters it as the other addend.
        """
        m = Module()
        z = registered(m, self.z, name="z")
        exp = registered(m, self.exp, name="exp")
        below = z[SIGN] & ~registered(m, self.odd, name="odd")
        fields = Fp32Fields.of(z)
        some, power, n = self._normalise(m, fields, exp)
        product = multiplied(m, self._preshift(m, fields.significand), power, name="product")
        window = self._shift(m, product[_DROPPED:], fields.field, exp)

        zero = ~fields.normal & ~some
        infinite = fields.special & ~some
        float_only = delayed(m, ~exp & ~zero & ~infinite, 2, name="float")
        n = gated(m, n, float_only, name="n")
        float_only = registered(m, float_only, name="float_2")
        fraction = gated(m, product[:FRACTION_BITS], float_only, name="f")
        n = registered(m, n, name="n_or_far")
        far = exp & fields.field[-1] & (fields.field[3:-1].any() | fields.field[:3].all())
        for sign, limit in ((below, -512), (~below, 511)):
            with m.If(delayed(m, far & ~infinite & sign, 3, name="far")):
                m.d.sync += n.eq(limit)
        negative = delayed(m, exp & below, 4, name="below")
        # The n of `float` is one short of the exponent's: this is added here.
        one = registered(m, float_only, name="one") << _UNIT
        addend = Cat(Const(0, _UNIT - FRACTION_BITS), fraction, n)
        total = Cat(1, (window ^ negative.replicate(len(window))) | one) + Cat(negative, addend)
        units = registered(m, total[1 : 1 + len(addend)], name="units")
        m.d.comb += [
            self.argument.n.eq(units[_UNIT:].as_signed()),
            self.argument.t.eq(Cat(Const(0, 2), units[:_UNIT])),
        ]
        for name, value in (
            ("negative", fields.sign),
            ("zero", zero),
            ("infinite", infinite),
            ("nan", fields.special & some),
        ):
            m.d.comb += self.argument[name].eq(delayed(m, value, self.LATENCY - 1, name=name))
        return m

    def _normalise(self, m: Module, fields: Fp32Fields, exp: Value) -> tuple[Value, Value, Value]:
        """1 if the fraction is not 0; a cycle later log2(e) or a power of two; then n - 1.

        The leading one of a subnormal fraction at bit p makes n = p - 149. With q = p + 10 that is
        q - 160 + 1: q needs no addition, but a counting of positions that begins at 10.
        """
        above = fields.normal
        leading: list[Value] = [fields.normal]
        groups: list[tuple[Value, Value]] = []
        for group in reversed(range(2, 9)):
            found: Value = Const(0, 1)
            for position in reversed(range(FRACTION_BITS)):
                if (position + _FIRST) >> 2 == group:
                    bit = fields.fraction[position]
                    leading.append(bit & ~found & ~above)
                    found = found | bit
            above = above | found
            groups.append((found, Const(group, 4)))
        power = Signal(_LOG2_E.bit_length(), reset_less=True)
        m.d.sync += power.eq(Cat(leading))
        with m.If(exp):
            m.d.sync += power.eq(_LOG2_E)

        normal = registered(m, fields.normal, name="normal")
        field = registered(m, fields.field, name="field")
        upper = registered(m, prioritised(groups[:-1], groups[-1][1]), name="upper")
        lower = [
            Cat(
                power[FRACTION_BITS - position]
                for position in range(FRACTION_BITS)
                if (position + _FIRST) >> bit & 1
            ).any()
            for bit in range(2)
        ]
        subnormal = Cat(*lower, upper[:3], ~upper[3].replicate(2), upper[3], Const(0b11, 2))
        n = Mux(normal, Cat(field[:7], (~field[7]).replicate(3)), subnormal)
        return Cat(found for found, _ in groups).any(), power, registered(m, n, name="n_float")

    def _preshift(self, m: Module, significand: Value) -> Value:
        """Significand, shifted left by the exponent field modulo 8 if it is `exp`'s; one cycle.

        Multipliers shift it: the lower 18 bits, and the rest. There is no time for the decoder of
        the other factor in front of one.
        """
        shift = Fp32Fields.of(self.z).field[:3] & self.exp.replicate(3)
        power = registered(m, (1 << shift)[:8], name="power_8")
        limb = SIGNIFICAND_BITS - 6
        lower = registered(m, significand[:limb] * power, name="factor_low")
        upper = registered(m, significand[limb:] * power, name="factor_high")
        return Cat(lower[:limb], lower[limb:] | upper)

    def _shift(self, m: Module, window: Value, field: Value, exp: Value) -> Value:
        """`exp`: the window, shifted right by eights, or 0 where it is out of reach; else 0."""
        choices = []
        for eights in range(5):
            take = exp & (field[3:] == _OCTAVE - eights)
            if eights == 0:
                take = take & ~field[:3].all()
            passes_not = delayed(m, ~take, 3, name=f"not_by_{8 * eights}")
            choices.append((~passes_not, window[8 * eights :]))
        return chosen(m, choices, name="shifted")
