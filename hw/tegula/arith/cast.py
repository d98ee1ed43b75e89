"""Casts from fp32 to the storage formats: one rounder for all of them."""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_raw
from tegula.arith.fp32 import EXPONENT_BITS, FRACTION_BITS, SIGN, Fp32Fields
from tegula.arith.normalise import one_of_four
from tegula.config import TileConfig
from tegula.formats import BF16, FORMAT_BITS, FP32, FloatFormat
from tegula.lib.delay import delayed, gated, registered

__all__ = ["Cast"]

_INTEGER = BF16.mantissa_bits + 1
_FRACTION = 16
"""An fp32 significand is read as 8 integer bits (a bf16 significand) and 16 fraction bits."""

_HALF = (1 << (_FRACTION - 1)) - 1
"""Just below half an ulp: with the carry-in ``lsb | sticky`` it rounds to nearest even."""

_NARROW_BITS = 7
"""Magnitude bits of an 8-bit format."""


class _Kind(NamedTuple):
    """Format of a value: an 8-bit one of those in `narrow`, fp32 or raw (`whole`), or else bf16."""

    whole: Value
    raw: Value
    narrow: dict[FloatFormat, Value]

    @property
    def is_narrow(self) -> Value:
        """1 for 8-bit formats."""
        return Cat(self.narrow.values()).any()

    def any_of(self, holds: Callable[[FloatFormat], Value | int]) -> Value:
        """1 if the format is an 8-bit one for which `holds` is 1."""
        return Cat(flag & holds(fmt) for fmt, flag in self.narrow.items()).any()


class Cast(wiring.Component):
    """Cast from fp32 to a format of the tile, to nearest even or stochastically.

    The significand is shifted right until its integer part is the result's, the exponent field is
    put above that, and one addition rounds both: ``code = field.mantissa.d + t``, where d is the
    discarded fraction of an ulp (16 bits) and t is ``0x7FFF + (lsb | sticky)`` or the random bits.
    A carry out of the mantissa is then the right code by itself, from subnormal to normal and from
    binade to binade. Only after rounding is the code compared with the largest finite one; what
    exceeds it becomes that (saturating, 8-bit formats only), the infinity, or the NaN of a format
    without one. So do infinite inputs; a NaN keeps its sign. Of infinities and NaNs all bits are
    shifted out: the sticky bit tells which it is. fp32 passes through, but a NaN becomes
    0x7FC00000 with its sign; raw patterns pass through unchanged. Formats are IEEE 754-2019 section
    3.4 and OCP OFP8 table 2; stochastic rounding rounds up iff ``d + random >= 2**16``, as
    `docs/numerics.md` defines it.

    Latency: `LATENCY` cycles. Throughput: one value a cycle.

    Parameters
    ----------
    config
        The tile; results are in one of its `operand_formats`, fp32 or raw.

    Members
    -------
    fp32 : In(32)
        The bits of the value.
    random : In(16)
        Random bits of this value; used if `stochastic`.
    stochastic, saturate : In(1)
        Rounding, and treatment of overflow in 8-bit formats.
    format : In(FORMAT_BITS)
        `FloatFormat.code` of the result; other codes than the tile's give undefined results.
    code : Out(32)
        The result, in the low bits; the bits above it are zero.
    """

    LATENCY = 7
    """Registers: exponent; shift 16; 8 and 4; 2 and 1; addition; overflow; placement."""

    def __init__(self, config: TileConfig):
        self._narrow = config.fp8_formats
        self._mantissa_bits = max((fmt.mantissa_bits for fmt in self._narrow), default=0)
        super().__init__(
            {
                "fp32": In(32),
                "random": In(16),
                "stochastic": In(1),
                "saturate": In(1),
                "format": In(FORMAT_BITS),
                "code": Out(32),
            }
        )

    def elaborate(self, platform):
        """Alignment, addition, replacement of what exceeds the format, position of the result."""
        m = Module()
        kinds = self._kinds(m)
        sign = delayed(m, self.fp32[SIGN], 6, name="sign")
        shift, significand, field, special, over = self._measure(m, kinds)
        # Above the mantissa of the widest 8-bit format nothing is shifted: those bits are bf16's.
        upper = significand[_FRACTION + self._mantissa_bits : FRACTION_BITS]
        upper = gated(m, upper, ~kinds[1].is_narrow, name="upper")
        window, sticky = self._shift(m, significand, shift)
        field = tuple(delayed(m, part, 2, name="field") for part in field)
        packed = self._pack(window, delayed(m, upper, 2, name="upper_later"), field, kinds[4])
        rounded = self._round(m, window, sticky, packed, kinds)

        nan = delayed(m, special, 3, name="special_later") & sticky
        saturate = delayed(m, self.saturate, 4, name="saturate")
        replacement = registered(m, _replacement(kinds[4], nan, saturate), name="replacement")
        code = rounded[_FRACTION:]
        over = delayed(m, over, 4, name="over_later")
        replace = (over | _exceeds(kinds[5], code)) & ~kinds[5].raw
        magnitude = Signal(BF16.width - 1, reset_less=True)
        m.d.sync += magnitude.eq(code)
        with m.If(replace):
            # What is above an 8-bit code means nothing.
            m.d.sync += magnitude.eq(Cat(replacement, Const(-1, BF16.width - 1 - _NARROW_BITS)))
        low = gated(m, rounded[:_FRACTION], ~replace, name="low")
        self._place(m, kinds[6], sign, magnitude, low)
        return m

    def _kinds(self, m: Module) -> list[_Kind]:
        """Format of the value in each cycle of its way."""
        flags = Cat(
            is_raw(self.format) | (self.format == FP32.code),
            is_raw(self.format),
            *(self.format == fmt.code for fmt in self._narrow),
        )
        kinds = []
        for cycle in range(self.LATENCY):
            kinds.append(_Kind(flags[0], flags[1], dict(zip(self._narrow, flags[2:], strict=True))))
            flags = registered(m, flags, name=f"kind_{cycle}")
        return kinds

    def _measure(self, m: Module, kinds: list[_Kind]) -> tuple[Value, ...]:
        """One cycle, and a bit: right shift, significand, infinities and NaNs, certain overflow.

        A normal result is shifted by 7 - mantissa_bits. Without a lower bound the exponent field of
        a subnormal one would be c <= 0, and it is shifted by 8 - mantissa_bits - c.
        """
        _, exponent, fraction = Fp32Fields.of(self.fp32)
        kind = kinds[0]
        base = Signal(EXPONENT_BITS)
        for fmt, flag in kind.narrow.items():
            with m.If(flag):
                m.d.comb += base.eq(FP32.bias - fmt.bias + _INTEGER - fmt.mantissa_bits)
        reach = registered(m, (base - exponent)[:EXPONENT_BITS], name="reach")
        subnormal = registered(m, kind.any_of(lambda fmt: _below(fmt, exponent)), name="subnormal")
        special = registered(m, exponent.all(), name="special")
        beyond = kind.any_of(lambda fmt: exponent[-1] & exponent[fmt.exponent_bits - 1 : -1].any())
        over = registered(m, exponent.all() | beyond, name="over")
        hidden = registered(m, exponent.any() & ~exponent.all(), name="hidden")
        significand = Cat(registered(m, fraction, name="fraction"), hidden)

        kind = kinds[1]
        out = (special & ~kind.raw) | (subnormal & reach[5:].any())
        aligned = Cat(
            kind.any_of(lambda fmt, bit=bit: (_INTEGER - 1 - fmt.mantissa_bits) >> bit & 1)
            for bit in range(5)
        )
        shift = Mux(subnormal, reach[:5], aligned) | out.replicate(5)
        field = self._rebias(m, kind, exponent, subnormal)
        return shift, significand, field, special, over

    def _rebias(
        self, m: Module, kind: _Kind, exponent: Value, subnormal: Value
    ) -> tuple[Value, Value]:
        """Two cycles: exponent field of an 8-bit format, 0 if it is another, and the reverse.

        A bias is ``2**(exponent_bits - 1) - 1``, so that a normal number's field is the lower bits
        of fp32's but for the highest of them.
        """
        exponent = registered(m, exponent, name="exponent")
        bits = max((fmt.exponent_bits for fmt in self._narrow), default=0)
        highest = Cat(
            kind.any_of(lambda fmt, bit=bit: fmt.exponent_bits - 1 == bit) for bit in range(bits)
        )
        narrow = kind.is_narrow
        return (
            gated(m, exponent[:bits] ^ highest, narrow & ~subnormal, name="narrow_field"),
            gated(m, exponent, ~narrow, name="wide_field"),
        )

    def _shift(self, m: Module, window: Value, shift: Value) -> tuple[Value, Value]:
        """Three cycles, less an OR: right shift by 0 to 31, and whether a 1 was shifted out."""
        kept = _FRACTION + self._mantissa_bits
        sticky = gated(m, window[:16].any(), shift[4], name="lost_16")
        low = Mux(shift[4], window[16:], window[:8])
        window = Cat(
            registered(m, low, name="low_16"), gated(m, window[8:], ~shift[4], name="high_16")
        )
        shift = registered(m, shift[:4], name="shift_16")
        for step in (4, 1):
            high, low = shift[-1], shift[-2]
            sticky = Cat(
                registered(m, sticky.any(), name=f"lost_before_{step}"),
                gated(m, window[:step].any(), high | low, name=f"lost_{step}_0"),
                gated(m, window[step : 2 * step].any(), high, name=f"lost_{step}_1"),
                gated(m, window[2 * step : 3 * step].any(), high & low, name=f"lost_{step}_2"),
            )
            window = one_of_four(
                m,
                high,
                low,
                [window[step * k :][: kept + step - 1] for k in range(4)],
                name=f"window_{step}",
            )
            shift = registered(m, shift[:-2], name=f"shift_{step}")
        return window, sticky.any()

    def _pack(self, window: Value, upper: Value, field: tuple[Value, Value], kind: _Kind) -> Value:
        """Magnitude code before it is rounded: field above mantissa."""
        mantissa, (narrow, wide) = window[_FRACTION:], field

        def bit(fmt: FloatFormat, position: int) -> Value:
            if position < fmt.mantissa_bits:
                return mantissa[position]
            return narrow[position - fmt.mantissa_bits]

        bits = []
        for position in range(_NARROW_BITS):
            value = Const(0, 1)
            # Most mantissa bits first: there, and in none of these formats, the mantissa is bf16's.
            by_mantissa = sorted(kind.narrow, key=lambda fmt: -fmt.mantissa_bits)
            for index, fmt in enumerate(by_mantissa):
                value = (
                    Mux(kind.narrow[fmt], bit(fmt, position), value)
                    if index
                    else bit(fmt, position)
                )
            if position >= self._mantissa_bits:
                value = value | upper[position - self._mantissa_bits]
            bits.append(value)
        return Cat(*bits, wide)

    def _round(
        self, m: Module, window: Value, sticky: Value, packed: Value, kinds: list[_Kind]
    ) -> Value:
        """Rounded code above its discarded fraction; one cycle."""
        nearest = delayed(m, ~(self.stochastic | kinds[0].whole), 3, name="nearest")
        random = delayed(m, self.random, 2, name="random")
        stochastic = delayed(m, self.stochastic & ~kinds[0].whole, 2, name="stochastic")
        drawn = gated(m, random, stochastic, name="drawn")
        increment = registered(m, drawn, name="increment")
        with m.If(nearest):
            m.d.sync += increment.eq(_HALF)
        carry = registered(m, nearest, name="nearest_later") & (packed[0] | sticky)
        total = Cat(1, window[:_FRACTION], packed) + Cat(carry, increment)
        return registered(m, total[1 : 1 + _FRACTION + BF16.width - 1], name="rounded")

    def _place(self, m: Module, kind: _Kind, sign: Value, magnitude: Value, low: Value) -> None:
        """One cycle: the result in the low bits."""
        narrow = Cat(magnitude[:_NARROW_BITS], sign)
        brief = Mux(kind.is_narrow, narrow, Cat(magnitude, sign))
        m.d.comb += self.code.eq(
            Cat(
                registered(m, Mux(kind.whole, low, brief), name="lower"),
                gated(m, Cat(magnitude, sign), kind.whole, name="upper_half"),
            )
        )


def _below(fmt: FloatFormat, exponent: Value) -> Value:
    """1 if a number with this fp32 exponent is below the normal ones of an 8-bit format."""
    highest = fmt.exponent_bits - 1
    return ~exponent[-1] & ~(exponent[highest:-1].all() & exponent[:highest].any())


def _replacement(kind: _Kind, nan: Value, saturate: Value) -> Value:
    """Lower magnitude bits of what is not a finite result."""
    value = Mux(nan, BF16.nan, BF16.infinity) & ((1 << _NARROW_BITS) - 1)
    for fmt, flag in kind.narrow.items():
        overflow = fmt.nan if fmt.infinity is None else fmt.infinity
        value = Mux(flag, Mux(nan, fmt.nan, Mux(saturate, fmt.max_finite, overflow)), value)
    return value[:_NARROW_BITS]


def _exceeds(kind: _Kind, code: Value) -> Value:
    """1 if `code` is above the largest finite one: the codes that are begin with ones.

    The upper bits of an 8-bit code are 0, so that it does not look like bf16's infinity.
    """

    def ones(fmt: FloatFormat) -> Value:
        first = fmt.max_finite + 1
        return Cat(code[bit] for bit in range(fmt.width - 1) if first >> bit & 1).all()

    carry = kind.is_narrow & code[_NARROW_BITS]
    return ones(BF16) | kind.any_of(ones) | carry
