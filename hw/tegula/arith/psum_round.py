"""The one rounding of a dot product: a PSUM word, read as fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp32 import FRACTION_BITS, SIGNIFICAND_BITS
from tegula.arith.normalise import clear, four_to_one, one_minus, spend, spend_twice
from tegula.lib.delay import chosen, delayed, gated, registered

__all__ = ["PsumRound"]

_ROUNDED = SIGNIFICAND_BITS + 1
"""Bits after all shifts: significand and round bit."""

_WINDOW = _ROUNDED + 1 + 2 + 4 + 8 + 16
"""Bits kept after the shift by 32: `_ROUNDED`, and what later shifts bring up."""

_FIRST_NORMAL = 115
"""Anchor E at which a magnitude with its top bit at weight 2**(W-2) is the smallest fp32 normal."""


class PsumRound(wiring.Component):
    """Rounding of a partial sum to fp32: ``RNE(m * 2**(E - 239 - W))``, subnormals included.

    The magnitude is never negated. For m < 0 its bits are inverted after the shifts, which leaves
    ``x = ~m`` (so ``|m| = x + 1``), and the last 1 is part of the rounding decision: with round bit
    g, discarded rest, and lsb of x, ``x + 1`` rounds up iff ``g | (rest of m is zero & lsb)``. A
    power of two, whose x has one more leading zero, comes out right through the carry of that
    increment.

    m is normalised by stages of 32, 16, 8, 4, 2, 1: a stage shifts left if that many top bits are
    the sign and the *room* allows it. The room is ``E - 115``, so a subnormal result stops at the
    alignment of the smallest normal. E < 115 needs a right shift: m enters 32 places lower and the
    stages, whose room is then ``E - 83``, bring it back up; the result is subnormal.
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
    en : In(1)
        1 (so it is where nothing drives it), or the word is read as +0.
    fp32 : Out(32)
        The bits of the rounded value.
    """

    LATENCY = 6
    """Registers: input; shift 32; 16 and 8; 4 and 2; 1; addition."""

    def __init__(self, acc_width: int):
        self._acc_width = acc_width
        super().__init__({"word": In(9 + acc_width), "en": In(1, init=1), "fp32": Out(32)})

    def elaborate(self, platform):
        """Normalisation within the room, addition, replacement of what is special."""
        m = Module()
        word = gated(m, self.word, self.en, name="word")
        anchor = word[self._acc_width :]
        flags = anchor[:2]
        special = anchor[2:].all() & flags.any()
        negative = Signal()
        m.d.comb += negative.eq(word[self._acc_width - 1] | (special & (flags == 0b10)))
        padding = max(0, _WINDOW - (self._acc_width - 1))
        magnitude = Cat(Const(0, padding), word[: self._acc_width - 1])

        special = delayed(m, special, 4, name="special")
        nan = delayed(m, flags.all(), 4, name="nan")
        signs = [negative]
        for stage in range(4):
            signs.append(registered(m, signs[-1], name=f"sign_{stage}"))

        window, zeros, sticky, room, limit, spared, shift = self._shift_by_32(
            m, magnitude, negative, anchor
        )
        for step in (8, 2):
            shifted, sticky, takes, spared = _shift_twice(
                m, step, window, zeros, sticky, limit, spared
            )
            window = registered(m, shifted, name=f"shifted_{step}")
            if step == 8:
                # Before the register, so that the next shifts are decided by registers.
                zeros = registered(m, clear(shifted, 2, signs[1]), name="clear_8")
            room = registered(m, room, name=f"room_{step}")
            limit = registered(m, limit[: step.bit_length() - 1], name=f"limit_{step}")
            shift = registered(m, Cat(takes, shift), name=f"shift_{step}")

        sign = signs[3]
        last, _ = spend(~(window[-1] ^ sign), limit, spared)
        x = Mux(last, window[:-1], window[1:]) ^ sign.replicate(_ROUNDED)
        sticky = sticky | (window[0] & ~last)
        up = Mux(sign, x[0] | (~sticky & x[1]), x[0] & (sticky | x[1]))
        # Without a hidden bit the result is subnormal, or m = 0, whose shift means nothing.
        hidden = x[-1]
        change = one_minus(Cat(last, shift), 9)
        rounded = Signal(FRACTION_BITS + 9)
        m.d.comb += rounded.eq(
            Cat(
                registered(m, x[1:-1], name="fraction"),
                gated(m, room, hidden, name="base"),
            )
            + Cat(
                registered(m, up, name="up"),
                Const(0, FRACTION_BITS - 1),
                gated(m, change, hidden, name="change"),
            )
        )

        field = rounded[FRACTION_BITS:]
        infinite = special | field[8] | field[:8].all()
        fraction = gated(m, rounded[: FRACTION_BITS - 1], ~infinite, name="low")
        quiet = registered(
            m, Mux(infinite, special & nan, rounded[FRACTION_BITS - 1]), name="quiet"
        )
        exponent = registered(m, field[:8] | infinite.replicate(8), name="exponent")
        sign = registered(m, signs[4], name="sign_out")
        m.d.comb += self.fp32.eq(Cat(fraction, quiet, exponent, sign))
        return m

    def _shift_by_32(
        self, m: Module, magnitude: Value, sign: Value, anchor: Value
    ) -> tuple[Value, ...]:
        """One cycle: shift left by 32, right by 32 (E < 115) or not.

        Returned are the window, `clear` of it by 8 bits, whether a bit below it is set, the room,
        its low five bits for the later stages, whether these may all shift, and whether this one
        did.
        """
        width = len(magnitude)
        leading = ~(magnitude[-32:] ^ sign.replicate(32)).any()
        near, far = width - _WINDOW, width - (_WINDOW - 32)
        room = Signal(signed(10))
        m.d.comb += room.eq(anchor - _FIRST_NORMAL)
        low = room < 0
        take, spared = spend(leading, room[5] & ~low, room[6:9].any() & ~low)
        lower = _WINDOW - 32
        shifted = (magnitude << 32)[:width]
        lost = [
            gated(m, magnitude[:near].any(), ~take, name="lost_near"),
            gated(m, magnitude[near:far].any(), low, name="lost_far"),
        ]
        window = chosen(
            m,
            [
                (~take & ~low, magnitude[-_WINDOW:]),
                (take, shifted[-_WINDOW:]),
                (low, Cat(magnitude[-lower:], sign.replicate(32))),
            ],
            name="window",
        )
        # Of a number that enters lower, the top is sign.
        zeros = Mux(take, clear(shifted, 8, sign), clear(magnitude, 8, sign))
        return (
            window,
            registered(m, zeros | low.replicate(3), name="clear_32"),
            Cat(lost).any(),
            registered(m, room[:9], name="room_32"),
            gated(m, room[:5], ~(low & ~room[5:9].all()), name="limit_32"),
            registered(m, spared, name="spared_32"),
            registered(m, take, name="shift_32"),
        )


def _shift_twice(
    m: Module, step: int, window: Value, zeros: Value, sticky: Value, limit: Value, spared: Value
) -> tuple[Value, ...]:
    """One cycle: shift left by ``2 * step`` and by `step` where the top bits are the sign.

    `zeros` is `clear` of the window by `step` bits. The window loses ``3 * step`` bits: below it,
    into `sticky`, or above it, where they are the sign. Returned are window, without a
    register yet, `sticky`, the two shifts (that by `step` first), and `spared`.
    """
    bits = len(window)
    position = step.bit_length() - 1
    high, low, spared = spend_twice(
        m, zeros, limit[position : position + 2], spared, name=f"by_{step}"
    )
    shifted = four_to_one(
        m,
        high,
        low,
        [window[(3 - k) * step : bits - k * step] for k in range(4)],
        name=f"shifted_{step}",
    )
    pieces = [window[k * step : (k + 1) * step].any() for k in range(3)]
    lost = [
        gated(m, pieces[0], ~(high & low), name=f"lost_{step}_0"),
        gated(m, pieces[1], ~high, name=f"lost_{step}_1"),
        gated(m, pieces[2], ~high & ~low, name=f"lost_{step}_2"),
        registered(m, sticky, name=f"sticky_{step}"),
    ]
    return shifted, Cat(lost).any(), Cat(low, high), registered(m, spared, name=f"spared_{step}")
