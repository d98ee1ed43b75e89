"""Casts from fp32 to the storage formats: one rounder for all of them."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_raw
from tegula.arith.fp32 import Fp32Fields
from tegula.config import TileConfig
from tegula.formats import BF16, FORMAT_BITS, FP32, FloatFormat
from tegula.lib.delay import delayed, registered

__all__ = ["Cast"]

_INTEGER = BF16.mantissa_bits + 1
_FRACTION = 16
_SIGNIFICAND = _INTEGER + _FRACTION
"""An fp32 significand is read as 8 integer bits (a bf16 significand) and 16 fraction bits."""

_HALF = (1 << (_FRACTION - 1)) - 1
"""Just below half an ulp: with the carry-in ``lsb | sticky`` it rounds to nearest even."""


class Cast(wiring.Component):
    """Cast from fp32 to a format of the tile, to nearest even or stochastically.

    The significand is shifted right until its integer part is the result's, the exponent field is
    put above that, and one addition rounds both: ``code = field.mantissa.d + t``, where d is the
    discarded fraction of an ulp (16 bits) and t is ``0x7FFF + (lsb | sticky)`` or the random bits.
    A carry out of the mantissa is then the right code by itself, from subnormal to normal and from
    binade to binade. Only after rounding is the code compared with the largest finite one; what
    exceeds it becomes that (saturating, 8-bit formats only), the infinity, or the NaN of a format
    without one. So do infinite inputs; a NaN keeps its sign. fp32 passes through, but a NaN becomes
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

    def _by_format(
        self, m: Module, code: Value, row: Callable[[FloatFormat], Value | int]
    ) -> Value:
        """The `row` of the format with this code; bf16 is the default, and serves fp32 too."""
        values = {fmt.code: Value.cast(row(fmt)) for fmt in (*self._narrow, BF16)}
        chosen = Signal(max(len(value) for value in values.values()))
        with m.Switch(code):
            for fmt in self._narrow:
                with m.Case(fmt.code):
                    m.d.comb += chosen.eq(values[fmt.code])
            with m.Default():
                m.d.comb += chosen.eq(values[BF16.code])
        return chosen

    def elaborate(self, platform):
        """Alignment, addition, replacement of what exceeds the format, position of the result."""
        m = Module()
        formats = [self.format]
        for cycle in range(self.LATENCY):
            formats.append(registered(m, formats[-1], name=f"format_{cycle}"))
        stochastic = delayed(m, self.stochastic, 4, name="stochastic")
        saturate = delayed(m, self.saturate, 4, name="saturate")
        random = delayed(m, self.random, 4, name="random")

        sign, exponent, fraction = Fp32Fields.of(self.fp32)
        sign = delayed(m, sign, 6, name="sign")
        special = registered(m, exponent.all(), name="special")
        nan = delayed(
            m, special & registered(m, fraction.any(), name="fraction_any"), 3, name="nan"
        )
        special = delayed(m, special, 3, name="special_later")

        field, shift, significand, beyond = self._rebase(m, exponent, fraction, formats)
        # Above the mantissa of the widest 8-bit format nothing is shifted: those bits are bf16's.
        mantissa_bits = max((fmt.mantissa_bits for fmt in self._narrow), default=0)
        kept_bits = _FRACTION + mantissa_bits
        unshifted = delayed(m, significand[kept_bits:-1], 3, name="unshifted")
        field = delayed(m, field, 2, name="field_later")
        beyond = delayed(m, beyond, 4, name="beyond")

        window, sticky = significand, Const(0, 1)
        for cycle, places in enumerate(((16,), (8, 4), (2, 1))):
            for step in places:
                bits = min(_SIGNIFICAND, kept_bits + step - 1)
                window, sticky = _shift_right(window, sticky, step, shift, bits)
            window = registered(m, window, name=f"window_{cycle}")
            sticky = registered(m, sticky, name=f"sticky_{cycle}")
            if cycle < 2:
                shift = registered(m, shift, name=f"shift_{cycle}")

        mantissa = Cat(window[_FRACTION:], unshifted)
        packed = self._by_format(
            m,
            formats[4],
            lambda fmt: Cat(mantissa[: fmt.mantissa_bits], field[: fmt.exponent_bits]),
        )
        exact = is_raw(formats[4]) | (formats[4] == FP32.code)
        nearest = ~stochastic & ~exact
        increment = (random & (stochastic & ~exact).replicate(16)) | Mux(nearest, _HALF, 0)
        carry = nearest & (mantissa[0] | sticky)
        rounded = Signal(_FRACTION + BF16.width - 1, reset_less=True)
        m.d.sync += rounded.eq((Cat(1, window[:_FRACTION], packed) + Cat(carry, increment)) >> 1)

        replacement = registered(
            m, self._by_format(m, formats[4], _replacement(nan, saturate)), name="replacement"
        )
        special = registered(m, special, name="special_out")
        code = rounded[_FRACTION:]
        exceeds = self._by_format(m, formats[5], _exceeds(code))
        replace = (special | beyond | exceeds) & ~is_raw(formats[5])
        magnitude = registered(m, Mux(replace, replacement, code), name="magnitude")
        low = Signal(_FRACTION, reset_less=True)
        m.d.sync += low.eq(rounded)
        with m.If(replace):
            m.d.sync += low.eq(0)

        result = self._by_format(m, formats[6], lambda fmt: Cat(magnitude[: fmt.width - 1], sign))
        upper, lower = Signal(16, reset_less=True), Signal(16, reset_less=True)
        full = is_raw(formats[6]) | (formats[6] == FP32.code)
        m.d.sync += [lower.eq(Mux(full, low, result)), upper.eq(Cat(magnitude, sign))]
        with m.If(~full):
            m.d.sync += upper.eq(0)
        m.d.comb += self.code.eq(Cat(lower, upper))
        return m

    def _rebase(
        self, m: Module, exponent: Value, fraction: Value, formats: list[Value]
    ) -> tuple[Value, ...]:
        """Exponent field of the result, right shift (0 to 31), significand, and certain overflow.

        One cycle, but two for the field. With eo the exponent field that the value would have
        without a lower bound, a normal result is shifted by 7 - mantissa_bits and a subnormal one
        by 8 - mantissa_bits - eo.
        """

        def rebias(fmt: FloatFormat) -> int:
            return FP32.bias - fmt.bias

        wide = registered(m, self._by_format(m, formats[0], lambda fmt: fmt is BF16), name="wide")
        own = registered(
            m, (exponent - self._by_format(m, formats[0], rebias)).as_signed()[:9], name="own"
        ).as_signed()
        reach = registered(
            m,
            (
                self._by_format(
                    m, formats[0], lambda fmt: rebias(fmt) + _INTEGER - fmt.mantissa_bits
                )
                - exponent
            )[:9],
            name="reach",
        )
        hidden = registered(m, exponent.any(), name="hidden")
        significand = Cat(registered(m, fraction, name="fraction"), hidden)

        normal = Signal()
        shift = Signal(5)
        m.d.comb += normal.eq(Mux(wide, hidden, own > 0))
        aligned = self._by_format(m, formats[1], lambda fmt: _INTEGER - 1 - fmt.mantissa_bits)
        m.d.comb += shift.eq(Mux(normal | wide, aligned, reach[:5] | reach[5:].any().replicate(5)))
        field = Signal(8, reset_less=True)
        m.d.sync += field.eq(own)
        with m.If(~normal):
            m.d.sync += field.eq(0)
        past = self._by_format(
            m, formats[1], lambda fmt: own[fmt.exponent_bits : 8].any() if fmt is not BF16 else 0
        )
        return field, shift, significand, normal & past


def _replacement(nan: Value, saturate: Value) -> Callable[[FloatFormat], Value]:
    """Magnitude code of what is not a finite result, by format."""

    def row(fmt: FloatFormat) -> Value:
        overflow = fmt.nan if fmt.infinity is None else fmt.infinity
        if fmt is not BF16:
            overflow = Mux(saturate, fmt.max_finite, overflow)
        return Mux(nan, fmt.nan, overflow)

    return row


def _exceeds(code: Value) -> Callable[[FloatFormat], Value]:
    """1 if `code` is above the largest finite one: the codes that are begin with ones."""

    def row(fmt: FloatFormat) -> Value:
        first = fmt.max_finite + 1
        ones = Cat(code[bit] for bit in range(fmt.width - 1) if first >> bit & 1).all()
        return ones if fmt is BF16 else ones | code[fmt.width - 1]

    return row


def _shift_right(
    window: Value, sticky: Value, step: int, shift: Value, bits: int
) -> tuple[Value, Value]:
    """The low `bits` of `window`, shifted right by `step` if that bit of `shift` is set."""
    take = shift[step.bit_length() - 1]
    return (
        Mux(take, window[step:], window)[:bits],
        sticky | (take & window[:step].any()),
    )
