"""The one rounding of a dot product: a PSUM word, read as fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGNIFICAND_BITS
from tegula.lib.delay import delayed, registered

__all__ = ["PsumRound"]

_WINDOW = SIGNIFICAND_BITS + 1 + 16 + 8 + 4 + 2 + 1
"""Bits kept after the shift by 32: significand, round bit, and what later shifts bring up."""

_FIRST_NORMAL = 115
"""Anchor E at which a magnitude with its top bit at weight 2**(W-2) is the smallest fp32 normal."""


class PsumRound(wiring.Component):
    """Rounding of a partial sum to fp32: ``RNE(m * 2**(E - 239 - W))``, subnormals included.

    The magnitude is never negated. For m < 0 the datapath holds ``x = ~m`` (so ``|m| = x + 1``),
    and the last 1 is part of the rounding decision: with round bit g, discarded rest, and lsb of
    x, ``x + 1`` rounds up iff ``g | (rest is all ones & lsb)``. A power of two, whose x has one
    more leading zero, comes out right through the carry of that increment.

    x is normalised by stages of 32, 16, 8, 4, 2, 1: a stage shifts left if that many top bits are
    zero and the budget allows it. The budget is ``E - 115`` (unlimited from 64), so a subnormal
    result stops at the alignment of the smallest normal. E < 115 needs a right shift: x enters 32
    places lower and the stages, whose budget is then ``E - 83``, bring it back up.
    The algorithm is ours; the result is IEEE 754-2019 roundTiesToEven of the exact value.

    m = 0 gives +0; other sums that round to zero keep their sign. E = 509, 510, 511 give +Inf, -Inf
    and the NaN 0x7FC00000.

    Latency: `LATENCY` cycles. Throughput: one word a cycle.

    Parameters
    ----------
    acc_width
        W, 32 to 64.

    Members
    -------
    word : In(9 + acc_width)
        E in the 9 high bits, m (two's complement) in the W low bits; registered on entry.
    fp32 : Out(32)
        The bits of the rounded value.
    """

    LATENCY = 8
    """Registers: input; tests; shift 32; 16; 8 and 4; 2 and 1; increment; specials."""

    def __init__(self, acc_width: int):
        self._acc_width = acc_width
        super().__init__({"word": In(9 + acc_width), "fp32": Out(32)})

    def elaborate(self, platform):
        """Normalisation within the budget, increment, replacement of what is special."""
        m = Module()
        word = registered(m, self.word, name="word")
        anchor = word[self._acc_width :]
        flags = anchor[:2]
        special = anchor[2:].all() & flags.any()
        negative = word[self._acc_width - 1] | (special & (flags == 0b10))
        padding = max(0, _WINDOW - (self._acc_width - 1))
        magnitude = Cat(Const(0, padding), word[: self._acc_width - 1])

        special = delayed(m, special, 6, name="special")
        nan = delayed(m, flags.all(), 6, name="nan")
        signs = [registered(m, negative, name="sign_0")]
        for stage in range(5):
            signs.append(registered(m, signs[-1], name=f"sign_{stage + 1}"))

        room = Signal(signed(10))
        m.d.comb += room.eq(anchor - _FIRST_NORMAL)
        window, budget, sticky, shift, room = self._shift_by_32(
            m, magnitude, negative, room, signs[0]
        )
        for cycle, places in enumerate(((16,), (8, 4), (2, 1))):
            for step in places:
                window, budget, sticky, shift = _shift_left(
                    step, window, budget, sticky, shift, signs[1 + cycle]
                )
            significand, hidden = window[1:], window[-1]
            if cycle < 2:
                room = registered(m, room, name=f"room_{cycle}")
                budget = registered(m, budget, name=f"budget_{cycle}")
                shift = registered(m, shift, name=f"shift_{cycle}")
            window = registered(m, window, name=f"window_{cycle}")
            sticky = registered(m, sticky, name=f"sticky_{cycle}")

        # The exponent field minus the hidden bit. Without a hidden bit the result is subnormal (the
        # budget is used up, base is 0 anyway) or m = 0, whose shift means nothing.
        base = Signal(9, reset_less=True)
        with m.If(hidden):
            m.d.sync += base.eq(room - shift)
        with m.Else():
            m.d.sync += base.eq(0)

        significand, round_bit = window[1:], window[0]
        up = Mux(
            signs[4],
            round_bit | (~sticky & significand[0]),
            round_bit & (sticky | significand[0]),
        )
        rounded = Signal(9 + FRACTION_BITS, reset_less=True)
        m.d.sync += rounded.eq(Cat(Const(0, FRACTION_BITS), base) + significand + up)

        fraction = Signal(FRACTION_BITS, reset_less=True)
        exponent = Signal(8, reset_less=True)
        sign = registered(m, signs[5], name="sign_out")
        field = rounded[FRACTION_BITS:]
        m.d.sync += [fraction.eq(rounded), exponent.eq(field)]
        with m.If(special | field[8] | field[:8].all()):
            m.d.sync += [fraction.eq(0), exponent.eq(~0)]
        with m.If(special & nan):
            m.d.sync += fraction[-1].eq(1)
        m.d.comb += self.fp32.eq(Cat(fraction, exponent, sign))
        return m

    def _shift_by_32(
        self, m: Module, magnitude: Value, negative: Value, room: Value, sign: Signal
    ) -> tuple[Value, ...]:
        """Two cycles: test; then shift left by 32, right by 32 (E < 115) or not, and make it x."""
        width = len(magnitude)
        leading = registered(m, ~(magnitude[-32:] ^ negative.replicate(32)).any(), name="leading")
        # Bits of m, so 1 is "not the end of a run of ones in x" whatever the sign.
        lost_near = registered(m, magnitude[: width - _WINDOW].any(), name="lost_near")
        lost_far = registered(
            m, magnitude[width - _WINDOW : width - (_WINDOW - 32)].any(), name="lost_far"
        )
        magnitude = registered(m, magnitude, name="magnitude")
        room = registered(m, room, name="room")

        low = room < 0
        unlimited = ~low & room[6:9].any()
        budget_32 = ~low & room[5:9].any()
        take = leading & budget_32
        x = magnitude ^ sign.replicate(width)
        fill = sign.replicate(_WINDOW - (width - 32))

        window = Signal(_WINDOW, reset_less=True)
        upper, lower = window[-32:], window[:-32]
        left, straight = Cat(fill, x[: width - 32]), x[-_WINDOW:]
        m.d.sync += upper.eq(Mux(take, left[-32:], straight[-32:]))
        with m.If(low):
            m.d.sync += upper.eq(0)
        m.d.sync += lower.eq(Mux(low, x[-(_WINDOW - 32) :], Mux(take, left[:-32], straight[:-32])))
        budget = Signal(5, reset_less=True)
        m.d.sync += budget.eq(room[:5])
        with m.If(low & ~room[5:9].all()):
            m.d.sync += budget.eq(0)
        with m.Elif(unlimited | (budget_32 & ~leading)):
            m.d.sync += budget.eq(31)
        sticky = registered(m, (lost_near & ~take) | (low & lost_far), name="sticky_32")
        shift = registered(m, Cat(Const(0, 5), take), name="shift_32")
        return window, budget, sticky, shift, registered(m, room, name="room_32")


def _shift_left(
    step: int, window: Value, budget: Value, sticky: Value, shift: Value, sign: Value
) -> tuple[Value, Value, Value, Value]:
    """Stage that shifts `window` left by `step` if its top bits are zero and the budget allows it.

    The window loses `step` bits: below it, into `sticky`, or above it, where they are zero. A
    budget that was not used at a step is enough for all the smaller ones.
    """
    zeros = ~window[-step:].any()
    take = zeros & budget[-1]
    spared = budget[-1] & ~zeros
    lost = (window[:step] ^ sign.replicate(step)).any()
    position = step.bit_length() - 1
    return (
        Mux(take, window[:-step], window[step:]),
        budget[:-1] | spared.replicate(len(budget) - 1),
        sticky | (lost & ~take),
        shift | (take << position),
    )
