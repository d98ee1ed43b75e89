"""Arithmetic of MX blocks: what elements need of a number, the scale of a block, elements."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGN, Fp32Fields
from tegula.arith.normalise import one_of_four
from tegula.config import TileConfig
from tegula.formats import E5M2, FP32, MXFP4_E2M1, MXFP8_E4M3, MXFP8_E5M2
from tegula.isa.operations import ScaleRule
from tegula.lib.delay import delayed, gated, registered
from tegula.lib.mux import prioritised

__all__ = ["MxCompress", "MxExpand", "compressed_layout", "kind_layout", "scale_of"]

_KEPT = 4
"""Fraction bits that an element can depend on: three of its own, and one that rounds."""

_SCALE_BITS = 8
_NAN_SCALE = 255
_INFINITE_RCEIL = 254

_TOP_EXPONENT = FP32.bias + MXFP4_E2M1.largest_exponent
"""fp32 field of the largest numbers of E2M1."""


def compressed_layout() -> data.StructLayout:
    """A number as far as an element of any scale depends on it.

    `exponent`, in two's complement: fp32's field or, of a subnormal number with k zeros in front of
    its first one, ``-k - 1``, a bit that is one less than the field of what it is normalised to.
    `sticky`: a lower bit of the fraction is 1.
    """
    return data.StructLayout({"sticky": 1, "fraction": _KEPT, "exponent": 9, "sign": 1})


def kind_layout() -> data.StructLayout:
    """Elements and rule of an instruction: `e2m1`, else `e5m2`, else E4M3; a `ScaleRule`."""
    return data.StructLayout({"e2m1": 1, "e5m2": 1, "rule": ScaleRule})


class MxCompress(wiring.Component):
    """``compressed = pattern`` without what no element can show: five bits of the fraction's 23.

    Subnormal numbers are normalised: of a small scale they make elements like any other. Zero
    becomes 2**-149, which is less than half of every element's smallest number; so it needs no case
    of its own.

    Latency: `LATENCY` cycles. Throughput: one number a cycle.

    Members
    -------
    pattern : In(32)
        fp32; not a NaN.
    compressed : Out(compressed_layout())
    """

    LATENCY = 3
    """Registers: shift by 16 and 8; by 4; by 2 and 1."""

    def __init__(self):
        super().__init__({"pattern": In(32), "compressed": Out(compressed_layout())})

    def elaborate(self, platform):
        """Three shifts, each of which keeps the bits that the rest can show."""
        m = Module()
        sign, field, fraction = Fp32Fields.of(self.pattern)
        subnormal, zero8, by16, by8 = (
            Signal(name=name) for name in ("subnormal", "zero8", "by16", "by8")
        )
        m.d.comb += [
            subnormal.eq(~field.any()),
            zero8.eq(subnormal & ~fraction[15:].any()),
            by16.eq(zero8 & ~fraction[7:15].any()),
            by8.eq(zero8 & fraction[7:15].any()),
        ]
        windows = [fraction[11:], fraction[3:15], Cat(Const(0, 5), fraction[:7])]
        window = one_of_four(m, by16, by8, [*windows, windows[2]], name="window_8")
        sticky = Mux(by8, fraction[:3].any(), fraction[:11].any()) & ~by16
        sticky = registered(m, sticky, name="sticky_8")
        field = delayed(m, field, 2, name="field")
        shifts = registered(m, Cat(by8, by16), name="shifts_8")
        subnormal = registered(m, subnormal, name="subnormal_8")

        by4 = Signal()
        m.d.comb += by4.eq(subnormal & ~window[8:].any())
        sticky = registered(m, sticky | (window[:4].any() & ~by4), name="sticky_4")
        window = registered(m, Mux(by4, window[:8], window[4:]), name="window_4")
        shifts = registered(m, Cat(by4, shifts), name="shifts_4")
        subnormal = registered(m, subnormal, name="subnormal_4")
        self._finish(m, window, sticky, shifts, field, subnormal)
        m.d.comb += self.compressed.sign.eq(delayed(m, sign, self.LATENCY, name="sign"))
        return m

    def _finish(self, m: Module, window, sticky, shifts, field, subnormal) -> None:
        """The last shift, of a subnormal number by one to four, so that a one is hidden."""
        high, low = Signal(), Signal()
        m.d.comb += [
            high.eq(~window[6:].any()),
            low.eq(Mux(high, ~window[5], ~window[7])),
        ]
        kept = Mux(
            high,
            Mux(low, window[:4], window[1:5]),
            Mux(low, window[2:6], window[3:7]),
        )
        below = Mux(high, ~low & window[0], Mux(low, window[:2].any(), window[:3].any()))
        zeros = Cat(low, high, shifts)
        exponent = Mux(subnormal, Cat(~zeros, Const(-1, 4)), field)
        m.d.sync += [
            self.compressed.fraction.eq(Mux(subnormal, kept, window[4:])),
            self.compressed.sticky.eq(sticky | Mux(subnormal, below, window[:4].any())),
            self.compressed.exponent.eq(exponent),
        ]


def scale_of(m: Module, config: TileConfig, magnitude: Value, kind: data.View) -> Signal:
    """Scale of a block whose largest fp32 magnitude, of 31 bits, is this (contract 4.5)."""
    scale, difference = Signal(_SCALE_BITS), Signal(10)
    fraction, field = magnitude[:FRACTION_BITS], magnitude[FRACTION_BITS:]
    low, rest, infinite, up = (Signal(name=name) for name in ("low", "rest", "infinite", "up"))
    exceeds = Mux(kind.e2m1, fraction[-1] & rest, fraction[-1] & fraction[-2] & low)
    e2m1, e5m2, e4m3 = (
        Const(-element.largest_exponent, difference.shape())
        for element in (MXFP4_E2M1, MXFP8_E5M2, MXFP8_E4M3)
    )
    minus = Mux(kind.e5m2, e5m2, e4m3) if E5M2 in config.fp8_formats else e4m3
    minus = Mux(kind.e2m1, e2m1, minus)
    m.d.comb += [
        low.eq(fraction[:-2].any()),
        rest.eq(low | fraction[-2]),
        infinite.eq(field.all()),
        up.eq(
            Mux(
                kind.rule == ScaleRule.RCEIL,
                exceeds,
                (kind.rule == ScaleRule.CEIL) & (rest | fraction[-1]),
            )
        ),
        # One addition, whose carry-in is `up`.
        difference.eq((Cat(1, field) + Cat(up, minus))[1:]),
    ]
    m.d.comb += scale.eq(difference[:_SCALE_BITS] & ~difference[-1].replicate(_SCALE_BITS))
    with m.If(infinite & (rest | fraction[-1])):
        m.d.comb += scale.eq(_NAN_SCALE)
    with m.Elif(infinite & (kind.rule == ScaleRule.RCEIL)):
        m.d.comb += scale.eq(_INFINITE_RCEIL)
    return scale


class MxExpand(wiring.Component):
    """``number = compressed / scale`` as an fp32 pattern that a saturating cast makes the element.

    Of elements of E2M1 the number is rounded to one of these, which the cast does not change. In a
    block whose scale is NaN it is the quiet NaN, of E2M1 zero. Or the number is the scale's code.

    Latency: `LATENCY` cycles. Throughput: one element a cycle.

    Members
    -------
    compressed : In(compressed_layout())
        Of a block that has this scale: the quotient is not above the largest binade, or infinite.
    scale : In(8)
    e2m1, is_scale : In(1)
        The elements are of E2M1; the scale's code is wanted.
    number : Out(32)
    """

    LATENCY = 2
    """Registers: exponent; pattern."""

    def __init__(self):
        super().__init__(
            {
                "compressed": In(compressed_layout()),
                "scale": In(_SCALE_BITS),
                "e2m1": In(1),
                "is_scale": In(1),
                "number": Out(32),
            }
        )

    def elaborate(self, platform):
        """Exponent, then rounding to E2M1 or none."""
        m = Module()
        stored = self.compressed
        # 127 - scale is the scale with all bits but the highest inverted, as a number of 8 bits.
        own = Cat(1, stored.exponent, stored.exponent[-1].replicate(2))
        divisor = Cat(stored.exponent[-1], ~self.scale[:-1], self.scale[-1].replicate(4))
        exponent = registered(m, (own + divisor)[1:12], name="exponent")
        infinite = registered(m, stored.exponent[:8].all() & ~stored.exponent[-1], name="infinite")
        nan = registered(m, self.scale.all(), name="nan")
        sign = registered(m, stored.sign, name="sign")
        fraction = registered(m, Cat(stored.sticky, stored.fraction), name="fraction")
        is_scale = registered(m, self.is_scale, name="is_scale")
        code = gated(m, self.scale, self.is_scale, name="code")
        field, top = Signal(8), Signal(_KEPT + 1)
        below = exponent[-1] | ~exponent.any()
        with m.If(self.e2m1):
            self._round(m, exponent, fraction, infinite, field, top)
        with m.Else():
            m.d.comb += [
                field.eq(prioritised([(nan | infinite, 255), (below, 0)], exponent[:8])),
                top.eq(fraction | (nan << _KEPT)),
            ]
        element = ~is_scale & ~(nan & self.e2m1)
        m.d.comb += self.number.eq(
            Cat(
                registered(m, code, name="code_later"),
                Const(0, FRACTION_BITS - _KEPT - 1 - _SCALE_BITS),
                gated(m, Cat(top, field), element, name="magnitude"),
                gated(m, sign, element & ~nan, name="sign_later"),
            )
        )
        assert len(self.number) == SIGN + 1
        return m

    @staticmethod
    def _round(m: Module, exponent, fraction, infinite, field, top) -> None:
        """Nearest number of E2M1, as a field and the highest bit of a fraction."""
        mantissa, half, rest = fraction[-1], fraction[-2], fraction[:-2].any()
        up, carry = Signal(), Signal()
        m.d.comb += [up.eq(half & (rest | mantissa)), carry.eq(up & mantissa)]
        with m.If(infinite):
            m.d.comb += [field.eq(_TOP_EXPONENT), top[-1].eq(1)]
        with m.Else():
            with m.Switch(exponent):
                with m.Case(_TOP_EXPONENT):
                    m.d.comb += [field.eq(_TOP_EXPONENT), top[-1].eq(mantissa | up)]
                for exact in range(FP32.bias, _TOP_EXPONENT):
                    with m.Case(exact):
                        m.d.comb += [
                            field.eq(Mux(carry, exact + 1, exact)),
                            top[-1].eq(mantissa ^ up),
                        ]
                # Below one the numbers are multiples of a half: 0.75 is a tie that goes to 1.
                with m.Case(FP32.bias - 1):
                    m.d.comb += field.eq(Mux(mantissa, FP32.bias, FP32.bias - 1))
                with m.Case(FP32.bias - 2):
                    m.d.comb += field.eq(Mux(fraction.any(), FP32.bias - 1, 0))
