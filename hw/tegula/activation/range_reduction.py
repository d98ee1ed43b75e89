"""Argument of a function as an integer n and a fraction t."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN, Fp32Fields
from tegula.arith.multiply import multiplied
from tegula.formats import FP32
from tegula.lib.delay import delayed, registered

__all__ = ["Argument", "argument_layout"]

_LOG2_E = 0xB_8AA3_B296
"""log2(e) in units of 2**-35."""

_UNIT = 30
"""Fraction bits of an argument times log2(e)."""

_FAR = 8
"""From this exponent on the result of `exp` is decided."""

_PRODUCT_DROPPED = 28 - (_FAR - 1)
"""Bits of the product that every argument's shift moves below the unit."""


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
    """Registers: input; product, and shift by 16 and 8; sums, and shift by 4 to 1; two for the
    shift of the product; its sign."""

    def __init__(self):
        super().__init__(
            {"z": In(32), "exp": In(1), "odd": In(1), "argument": Out(argument_layout())}
        )

    def elaborate(self, platform):
        """Both reductions side by side, and the choice at the end."""
        m = Module()
        z = registered(m, self.z, name="z")
        exp = registered(m, self.exp, name="exp")
        below = z[SIGN] & ~registered(m, self.odd, name="odd")
        fields = Fp32Fields.of(z)
        n, t = self._normalise(m, fields)
        integer, part = self._multiply(m, fields, below)

        left = self.LATENCY - 1
        by_exp = delayed(m, exp, left, name="by_exp")
        argument = self.argument
        finite = ~(argument.zero | argument.infinite)
        m.d.comb += [
            argument.n.eq(Mux(by_exp, integer, n) & finite.replicate(10)),
            argument.t.eq(
                Mux(by_exp, Cat(Const(0, 2), part), Cat(Const(0, 9), t)) & finite.replicate(32)
            ),
        ]
        some = fields.fraction.any()
        for name, value in (
            ("negative", fields.sign),
            ("zero", ~fields.normal & ~some),
            ("infinite", fields.special & ~some),
            ("nan", fields.nan),
        ):
            m.d.comb += argument[name].eq(delayed(m, value, left, name=name))
        return m

    def _normalise(self, m: Module, fields: Fp32Fields) -> tuple[Value, Value]:
        """Exponent and fraction; a subnormal is shifted up until its leading one is hidden."""
        subnormal = ~fields.normal
        # One bit for the hidden bit: the leading one of a subnormal ends there.
        window = Cat(fields.fraction, Const(0, 1))
        shift = []
        for cycle, steps in enumerate(((16, 8), (4, 2, 1))):
            for step in steps:
                take = Signal(name=f"normalise_{step}")
                # Zeros above the leading one, the hidden bit included.
                m.d.comb += take.eq(subnormal & ~window[-step:].any())
                window = Mux(take, (window << step)[: FRACTION_BITS + 1], window)
                shift.append(take)
            window = registered(m, window, name=f"normal_{cycle}")
            subnormal = registered(m, subnormal, name=f"subnormal_{cycle}")
            shift = [registered(m, bit, name=f"places_{cycle}_{i}") for i, bit in enumerate(shift)]
        exponent = delayed(m, fields.exponent, 2, name="exponent")
        places = Cat(*reversed(shift))
        n = registered(m, (exponent - places - FP32.bias)[:10], name="n").as_signed()
        later = self.LATENCY - 4
        return (
            delayed(m, n, later, name="n").as_signed(),
            delayed(m, window[:FRACTION_BITS], later + 1, name="f"),
        )

    def _multiply(self, m: Module, fields: Fp32Fields, negative: Value) -> tuple[Value, Value]:
        """Integer (10 bits) and fraction (30 bits) of the argument times log2(e)."""
        # A subnormal's product is far below the unit, whatever its hidden bit.
        product = multiplied(
            m, Cat(fields.fraction, Const(1, 1)), Const(_LOG2_E, 36), name="product"
        )
        window = product[_PRODUCT_DROPPED:]
        # The window is shifted right by _FAR - 1 - n = _FAR - 1 + FP32.bias - field places.
        far = Signal()
        distance = Signal(9)
        m.d.comb += [
            far.eq(fields.field >= FP32.bias + _FAR),
            distance.eq(FP32.bias + _FAR - 1 - fields.field),
        ]
        far = delayed(m, far, 4, name="far")
        near = registered(m, distance[:6] | distance[6:].any().replicate(6), name="distance")
        near = registered(m, near, name="distance_1")
        for cycle, steps in enumerate(((32, 16, 8), (4, 2, 1))):
            for step in steps:
                window = Mux(near[step.bit_length() - 1], window >> step, window)
            window = registered(m, window, name=f"shifted_{cycle}")
            near = registered(m, near, name=f"distance_{cycle + 2}")
        negative = delayed(m, negative, 4, name="below")
        units = Signal(signed(10 + _UNIT), reset_less=True)
        m.d.sync += units.eq(Mux(negative, -window, window))
        with m.If(far):
            m.d.sync += units.eq(Mux(negative, -512 << _UNIT, 511 << _UNIT))
        return units[_UNIT:].as_signed(), units[:_UNIT]
