"""Entry and exit of a column: PSUM words to anchor, flags and significand, and back."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import delayed, registered
from tegula.tensor.pe import EXPONENT_CYCLE, FLAGS_CYCLE, SIGNIFICAND_CYCLE

__all__ = ["EXIT_CYCLES", "ColumnEntry", "ColumnExit"]

EXIT_CYCLES = 2
"""Cycles from `ColumnExit.significand` to `word`: one for the case, one for the word."""

_SPECIAL = 0b1111111
"""Upper seven bits of the exponent field of NaN and the infinities; the flags are below them."""

_MAX_ANCHOR = 508
"""The largest anchor, that of a product of two numbers of bf16's top binade."""


class ColumnEntry(wiring.Component):
    """Unpacking of a PSUM word for the first PE of its column, each part in the cycle of its use.

    `word` and `accumulate` are sampled in cycle ``EXPONENT_CYCLE - 1`` of that PE. Where
    `accumulate` is 0 the column starts empty. One word a cycle.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    word : In(psum_width), accumulate : In(1)
        A word as PSUM holds it: exponent field above the significand.
    exponent : Out(9), flags : Out(2), significand : Out(signed(acc_width))
        See `ProcessingElement`; the exponent follows the word by one cycle.
    """

    def __init__(self, config: TileConfig):
        self._acc_width = config.acc_width
        super().__init__(
            {
                "word": In(config.psum_width),
                "accumulate": In(1),
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
        with m.If(self.accumulate):
            m.d.sync += [
                exponent.eq(self.word[self._acc_width :]),
                significand.eq(self.word[: self._acc_width]),
            ]
        with m.Else():
            m.d.sync += [exponent.eq(0), significand.eq(0)]
        # A special state's field is above all anchors, and what it aligns does not count.
        m.d.comb += [
            flags.eq(Mux(exponent[2:] == _SPECIAL, exponent[:2], 0)),
            self.exponent.eq(exponent),
            self.flags.eq(delayed(m, flags, FLAGS_CYCLE - EXPONENT_CYCLE, name="flags")),
            self.significand.eq(
                delayed(m, significand, SIGNIFICAND_CYCLE - EXPONENT_CYCLE, name="significand")
            ),
        ]
        return m


class ColumnExit(wiring.Component):
    """Packing of a column's result into a PSUM word: contract section 3, the write step.

    Special states lose their significand; a significand that has used its last headroom bit is
    halved, rounding down, and its anchor raised; past the largest anchor that makes an infinity.
    The word follows the last PE's `significand_out` by `EXIT_CYCLES`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    exponent : In(9), flags : In(2), significand : In(signed(acc_width))
        Outputs of the last PE of the column, each in its own cycle.
    word : Out(psum_width)
        The word to be written.
    """

    def __init__(self, config: TileConfig):
        self._acc_width = config.acc_width
        super().__init__(
            {
                "exponent": In(9),
                "flags": In(2),
                "significand": In(signed(config.acc_width)),
                "word": Out(config.psum_width),
            }
        )

    def elaborate(self, platform):
        """Alignment of the parts in time, the case, the word of that case."""
        m = Module()
        width = self._acc_width
        exponent = delayed(m, self.exponent, SIGNIFICAND_CYCLE - EXPONENT_CYCLE, name="exponent")
        flags = delayed(m, self.flags, SIGNIFICAND_CYCLE - FLAGS_CYCLE, name="flags")
        negative = self.significand[-1]
        full, overflow = Signal(), Signal()
        m.d.comb += [
            full.eq((self.significand[-7:-1] ^ negative.replicate(6)).all()),
            overflow.eq(~flags.any() & full & (exponent == _MAX_ANCHOR)),
        ]
        halved = registered(m, full, name="halved")
        special = registered(m, flags.any() | overflow, name="special")
        outcome = registered(m, Mux(overflow, Cat(~negative, negative), flags), name="outcome")
        significand = registered(m, self.significand, name="held_significand")
        anchor = registered(m, exponent, name="anchor")
        word = Signal(len(self.word), reset_less=True)
        m.d.sync += [
            word[width:].eq(Mux(special, Cat(outcome, Const(_SPECIAL, 7)), anchor + halved)),
            word[:width].eq(Mux(special, 0, Mux(halved, significand >> 1, significand))),
        ]
        m.d.comb += self.word.eq(word)
        return m
