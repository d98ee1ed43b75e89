"""A segment's value as fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.cubic import VALUE_BITS
from tegula.activation.table import segment_layout
from tegula.arith.fp32 import Fp32Fields
from tegula.arith.psum_round import PsumRound
from tegula.formats import FP32
from tegula.lib.delay import delayed, registered

__all__ = ["Finish"]

_WIDTH = VALUE_BITS + 1
"""W of the partial sum that a value is read as."""

_OFFSET = 239 + _WIDTH - 30
"""A value ``h * 2**(e - 30)`` is the partial sum ``(e + _OFFSET, h)``."""

_MAX_ANCHOR = 508


class Finish(wiring.Component):
    """Step 6 of section 5.5 of the numerics contract: round, or take the constant.

    Values are rounded as PSUM words are read. Exponents beyond the anchors of a partial sum are
    moved to the nearest: all values there are infinite, or round to zero, anyway. Latency:
    `LATENCY` cycles. Throughput: one a cycle.

    Members
    -------
    segment : In(segment_layout)
        What the value belongs to, in its cycle.
    value : In(signed(VALUE_BITS))
        The cubic's value.
    result : Out(32)
        The bits of f(z).
    """

    LATENCY = PsumRound.LATENCY + 2
    """Registers: anchor; rounding; sign and constants."""

    def __init__(self):
        super().__init__(
            {
                "segment": In(segment_layout()),
                "value": In(signed(VALUE_BITS)),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        """Clamp the anchor, round, replace."""
        m = Module()
        m.submodules.rounder = rounder = PsumRound(_WIDTH)
        segment = self.segment
        exponent = Signal(signed(13))
        anchor = Signal(9, reset_less=True)
        m.d.comb += exponent.eq(segment.exponent + _OFFSET)
        m.d.sync += anchor.eq(exponent)
        with m.If(exponent < 1):
            m.d.sync += anchor.eq(1)
        with m.Elif(exponent > _MAX_ANCHOR):
            m.d.sync += anchor.eq(_MAX_ANCHOR)
        value = registered(m, self.value, name="value").as_signed()
        widened = Signal(signed(_WIDTH))
        later = PsumRound.LATENCY + 1
        constant = delayed(m, segment.constant, later, name="constant")
        pattern = delayed(m, segment.entry.c0.as_unsigned(), later, name="pattern")
        flip = delayed(m, segment.flip, later, name="flip")
        nan = delayed(m, segment.nan, later, name="nan")
        chosen = Mux(constant, pattern, rounder.fp32)
        is_nan = nan | Fp32Fields.of(chosen).nan
        m.d.comb += [
            widened.eq(value),
            rounder.word.eq(Cat(widened, anchor)),
            self.result.eq(
                registered(
                    m,
                    Mux(is_nan, Const(FP32.nan, 32), chosen ^ Cat(Const(0, 31), flip)),
                    name="result",
                )
            ),
        ]
        return m
