"""Entry and exit of a column: PSUM words to anchor, flags and significand, and back."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import delayed, registered
from tegula.tensor.align import saturated, shifted_down
from tegula.tensor.packed import sum_bits
from tegula.tensor.pe import EXPONENT_CYCLE, FLAGS_CYCLE, SIGNIFICAND_CYCLE
from tegula.tensor.scales import SUM_BITS

__all__ = ["EXIT_CYCLES", "SECOND_CYCLE", "ColumnEntry", "ColumnExit"]

EXIT_CYCLES = 2
"""Cycles from `ColumnExit.significand` to `word`: case and word, or sum and word."""

SECOND_CYCLE = 2
"""Cycle in which `ColumnExit.second` and its flags are used; 0 is that of `exponent`."""

_SIGNIFICAND_CYCLE = SIGNIFICAND_CYCLE - EXPONENT_CYCLE
"""The same for `significand`."""

_SPECIAL = 0b1111111
"""Upper seven bits of the exponent field of NaN and the infinities; the flags are below them."""

_MAX_ANCHOR = 508
"""The largest anchor, that of a product of two numbers of bf16's top binade."""


class ColumnEntry(wiring.Component):
    """Unpacking of a PSUM word for the first PE of its column, each part in the cycle of its use.

    `word` and `accumulate` are sampled in cycle ``EXPONENT_CYCLE - 1`` of that PE. Where
    `accumulate` is 0 the column starts empty. One word a cycle.

    With `mx` a word enters at its exponent less the scale of its products (section 3.11), as far as
    nine bits hold that: at 0 where it is negative, as then nothing of the significand is left, and
    at the largest anchor where it is more. `entered_scale` is what it was lowered by.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    word : In(psum_width), accumulate : In(1)
        A word as PSUM holds it: exponent field above the significand.
    scale : In(signed(SUM_BITS)), nan_scale : In(1)
        With the word, and only with `mx`: the scale, or that it is NaN.
    entered_scale : Out(signed(SUM_BITS))
        With the exponent, and only with `mx`.
    exponent : Out(9), flags : Out(2), significand : Out(signed(acc_width))
        See `ProcessingElement`; the exponent follows the word by one cycle.
    """

    def __init__(self, config: TileConfig):
        self._acc_width = config.acc_width
        self._mx = config.mx
        sums = signed(SUM_BITS)
        scales = {"scale": In(sums), "nan_scale": In(1), "entered_scale": Out(sums)}
        super().__init__(
            {
                "word": In(config.psum_width),
                "accumulate": In(1),
                **(scales if config.mx else {}),
                "exponent": Out(9),
                "flags": Out(2),
                "significand": Out(signed(config.acc_width)),
            }
        )

    def elaborate(self, platform):
        """Split, gate, and delay of the later parts."""
        m = Module()
        exponent = Signal(9, reset_less=True)
        flags, significand = Signal(2), Signal(signed(self._acc_width), reset_less=True)
        stored = self.word[self._acc_width :]
        with m.If(self.accumulate):
            m.d.sync += significand.eq(self.word[: self._acc_width])
        with m.Else():
            m.d.sync += significand.eq(0)
        # A special state's field is above all anchors, and what it aligns does not count.
        if self._mx:
            self._lower(m, stored, exponent)
            special = self.accumulate & (stored[2:] == _SPECIAL)
            held = registered(
                m, Mux(special, stored[:2], 0) | self.nan_scale.replicate(2), name="held_flags"
            )
            m.d.comb += flags.eq(held)
        else:
            with m.If(self.accumulate):
                m.d.sync += exponent.eq(stored)
            with m.Else():
                m.d.sync += exponent.eq(0)
            m.d.comb += flags.eq(Mux(exponent[2:] == _SPECIAL, exponent[:2], 0))
        m.d.comb += [
            self.exponent.eq(exponent),
            self.flags.eq(delayed(m, flags, FLAGS_CYCLE - EXPONENT_CYCLE, name="flags")),
            self.significand.eq(
                delayed(m, significand, SIGNIFICAND_CYCLE - EXPONENT_CYCLE, name="significand")
            ),
        ]
        return m

    def _lower(self, m, stored, exponent):
        """The exponent less the scale, within nine bits.

        That of an empty word is at most 254 then, below every least anchor: it needs no case.
        """
        lowered = Signal(signed(SUM_BITS + 1))
        beyond = Signal()
        m.d.comb += [
            lowered.eq(stored - self.scale),
            beyond.eq(self.accumulate & (lowered > _MAX_ANCHOR)),
        ]
        m.d.sync += [
            exponent.eq(Mux(beyond, _MAX_ANCHOR, lowered[:9])),
            self.entered_scale.eq(Mux(beyond, stored - _MAX_ANCHOR, self.scale)),
        ]
        with m.If(~self.accumulate | lowered[-1]):
            m.d.sync += exponent.eq(0)


class ColumnExit(wiring.Component):
    """Packing of a column's result into a PSUM word: contract section 3, the write step.

    Special states lose their significand; a significand that has used its last headroom bit is
    halved, rounding down, and its anchor raised; past the largest anchor that makes an infinity.
    The word follows the last PE's `significand_out` by `EXIT_CYCLES`.

    The sum of second products stands at the anchor whose lowest bit is its unit: it is shifted from
    there to that of the column, while the significand is still on its way, and added.

    With `mx` the anchor is raised by the scale that the word was lowered by at its entry.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    exponent : In(9), flags : In(2), significand : In(signed(acc_width))
        Outputs of the last PE of the column, each in its own cycle.
    second : In(signed(sum_bits(config))), second_flags : In(2)
        Outputs of the last `SecondElement`, in cycle `SECOND_CYCLE`; only with `packed_fp8`, as:
    anchor : In(9)
        The unit's anchor, a cycle before; undefined where `second` is 0.
    scale : In(signed(SUM_BITS))
        `ColumnEntry.entered_scale`, with `exponent`; only with `mx`.
    word : Out(psum_width)
        The word to be written.
    """

    def __init__(self, config: TileConfig):
        self._acc_width = config.acc_width
        self._packed = config.packed_fp8
        self._mx = config.mx
        second = {"second": In(signed(sum_bits(config))), "second_flags": In(2), "anchor": In(9)}
        super().__init__(
            {
                "exponent": In(9),
                "flags": In(2),
                "significand": In(signed(config.acc_width)),
                **(second if config.packed_fp8 else {}),
                **({"scale": In(signed(SUM_BITS))} if config.mx else {}),
                "word": Out(config.psum_width),
            }
        )

    def elaborate(self, platform):
        """Alignment of the parts in time, the case, the word of that case."""
        m = Module()
        exponent = self.exponent
        if self._mx:
            raised = Signal(SUM_BITS)
            m.d.comb += raised.eq(exponent + self.scale)
            exponent = raised
        exponent = delayed(m, exponent, _SIGNIFICAND_CYCLE, name="exponent")
        flags = delayed(m, self.flags, SIGNIFICAND_CYCLE - FLAGS_CYCLE, name="flags")
        if self._packed:
            self._form_sum(m, exponent, flags)
        else:
            self._form_word(m, exponent, flags)
        return m

    def _form_word(self, m, exponent, flags):
        """The word of the significand: one cycle for the case, one for the word."""
        full, overflow = _is_full(self.significand), Signal()
        negative = self.significand[-1]
        m.d.comb += overflow.eq(~flags.any() & full & (exponent == _MAX_ANCHOR))
        halved = registered(m, full, name="halved")
        special = registered(m, flags.any() | overflow, name="special")
        outcome = registered(m, Mux(overflow, Cat(~negative, negative), flags), name="outcome")
        significand = registered(m, self.significand, name="held_significand")
        anchor = registered(m, exponent, name="anchor")
        self._register_word(m, special, outcome, anchor + halved, halved, significand)

    def _form_sum(self, m, exponent, flags):
        """The word of the significand and the second products: one cycle for their sum.

        Case and word share the other; what the case needs but the sum comes from registers.
        """
        seconds = delayed(
            m, self.second_flags, _SIGNIFICAND_CYCLE - SECOND_CYCLE, name="second_flags"
        )
        merged = Signal(2, name="merged_flags")
        m.d.comb += merged.eq(flags | seconds)
        total = registered(
            m,
            (self.significand + self._align_second(m))[: self._acc_width].as_signed(),
            name="summed",
        )
        full, special = Signal(), Signal()
        negative = total[-1]
        flagged = registered(m, merged.any(), name="flagged")
        at_top = registered(m, exponent >= _MAX_ANCHOR, name="at_top")
        outcome = registered(m, merged, name="outcome")
        above = registered(m, (exponent + 1)[:9], name="above")
        overflow = full & at_top
        if self._mx:
            past_top = Signal()
            m.d.comb += past_top.eq(exponent > _MAX_ANCHOR)
            anchor = registered(m, Mux(past_top, _MAX_ANCHOR, exponent[:9]), name="anchor")
            overflow |= registered(m, past_top, name="held_past_top") & total.any()
        else:
            anchor = registered(m, exponent, name="anchor")
        m.d.comb += [full.eq(_is_full(total)), special.eq(flagged | overflow)]
        outcome = Mux(flagged, outcome, Cat(~negative, negative))
        self._register_word(m, special, outcome, Mux(full, above, anchor), full, total)

    def _register_word(self, m, special, outcome, anchor, halved, significand):
        """The word: a special state, or a significand that is halved or not."""
        width = self._acc_width
        word = Signal(len(self.word), reset_less=True)
        m.d.sync += [
            word[width:].eq(Mux(special, Cat(outcome, Const(_SPECIAL, 7)), anchor)),
            word[:width].eq(Mux(special, 0, Mux(halved, significand >> 1, significand))),
        ]
        m.d.comb += self.word.eq(word)

    def _align_second(self, m):
        """The sum of second products at the column's anchor, in the cycle of the significand."""
        exponent = registered(m, self.exponent, name="early_exponent")
        distance = Signal(9)
        m.d.comb += distance.eq(exponent - self.anchor)
        shift = registered(m, saturated(distance), name="shift")
        return shifted_down(m, self.second, shift, name="second_")


def _is_full(significand):
    """1 if a significand has used its last headroom bit."""
    return (significand[-7:-1] ^ significand[-1].replicate(6)).all()
