"""The value of a segment: a cubic on fixed point."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.table import segment_layout
from tegula.arith.multiply import multiplied
from tegula.lib.delay import delayed, registered

__all__ = ["VALUE_BITS", "Cubic"]

_LN_2 = 744_261_118
"""ln 2 in units of 2**-30."""

_LIMB = 17
"""Bits of ln 2 that a multiplier takes beside n, which has a sign."""

VALUE_BITS = 41
"""Two's complement: |c0 + h T| < 2**33, |n ln 2| < 2**39."""


class Cubic(wiring.Component):
    """Step 5 of section 5.5 of the numerics contract.

    ``h = c0 + T * (c1 + T * (c2 + T * c3))``, every product rounded down, plus ``n * ln 2``.
    Latency: `LATENCY` cycles. Throughput: one a cycle.

    Members
    -------
    segment : In(segment_layout)
        Coefficients and position.
    value : Out(signed(VALUE_BITS))
        h in units of 2**-30.
    """

    LATENCY = 9
    """Registers: product, twice, and sum, for each of three products; the logarithm is added with
    the last."""

    def __init__(self):
        super().__init__({"segment": In(segment_layout()), "value": Out(signed(VALUE_BITS))})

    def elaborate(self, platform):
        """Horner's scheme, three cycles a step."""
        m = Module()
        entry, fraction = self.segment.entry, self.segment.fraction
        h = self._step(m, "c2", entry.c3, fraction[7:], 15, self._later(m, entry.c2, 2, "c2"), 29)
        fraction = delayed(m, fraction, 3, name="fraction")
        h = self._step(m, "c1", h, fraction, 24, self._later(m, entry.c1, 5, "c1"), 33)
        fraction = delayed(m, fraction, 3, name="fraction_1")
        base = self._later(m, self._base(m), 4, "base")
        h = self._step(m, "c0", h, fraction, 24, base, VALUE_BITS)
        m.d.comb += self.value.eq(h)
        return m

    def _later(self, m: Module, value: Value, cycles: int, name: str) -> Value:
        return delayed(m, Value.cast(value), cycles, name=name).as_signed()

    def _base(self, m: Module) -> Value:
        """c0, with `log` plus n times ln 2; after four cycles."""
        n = Mux(self.segment.log, self.segment.n, 0)
        n = registered(m, n, name="n").as_signed()
        low = registered(m, n * Const(_LN_2, _LIMB), name="low").as_signed()
        high = registered(m, n * Const(_LN_2 >> _LIMB), name="high").as_signed()
        c0 = self._later(m, self.segment.entry.c0, 2, "c0")
        base = registered(m, c0 + low, name="c0_low").as_signed()
        upper = (base >> _LIMB) + registered(m, high, name="high_later").as_signed()
        return registered(m, Cat(base[:_LIMB], upper).as_signed(), name="base")

    def _step(
        self, m: Module, name: str, h: Value, fraction: Value, drop: int, c: Value, bits: int
    ) -> Value:
        """``c + ((h * fraction) >> drop)``, three cycles after h; c comes two cycles after h."""
        product = multiplied(m, h, fraction, name=f"{name}_product").as_signed()
        total = Signal(signed(bits), name=f"{name}_sum", reset_less=True)
        m.d.sync += total.eq(c + (product >> drop))
        return total
