"""One lane of the vector engine: round, cast, and hold what arrives early."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.cast import Cast
from tegula.arith.psum_round import PsumRound
from tegula.config import TileConfig

__all__ = ["VectorLane"]


class VectorLane(wiring.Component):
    """From a PSUM word or an fp32 in the scratchpad to a result word: ``cast(round(word))``.

    Random bits wait in a ring of `RANDOM_SLOTS` words, for they may come before the rounded PSUM
    word that they belong to. The halves of an fp32 from the scratchpad wait in two registers.

    Latency: `PSUM_LATENCY` from `psum_word`, or `CAST_LATENCY` from the cycle of `direct` and the
    controls, to `word`; the upper half of an fp32 result is at `word` a cycle later, if `second` is
    1. Throughput: one value a cycle (fp32 results: one every two cycles).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    psum_word : In(psum_width)
        A PSUM word.
    row_word : In(16)
        A word of the scratchpad.
    capture_low, capture_high, capture_random : In(1), random_slot_in : In
        What `row_word` is: it is kept from the next cycle on, random bits in that slot of the ring.
    direct : In(1), random_slot_out : In, stochastic, saturate : In(1), format : In(3)
        Of the value that enters the cast: 1 where it is the captured fp32 and 0 where it is the
        PSUM word of `PsumRound.LATENCY` cycles ago; its random bits; how to cast it.
    second : In(1)
        `word` is the upper half of the result of the cycle before.
    word : Out(16)
        The result.
    """

    CAST_LATENCY = Cast.LATENCY
    PSUM_LATENCY = PsumRound.LATENCY + Cast.LATENCY
    RANDOM_SLOTS = 16

    def __init__(self, config: TileConfig):
        self._config = config
        slot = range(self.RANDOM_SLOTS)
        super().__init__(
            {
                "psum_word": In(config.psum_width),
                "row_word": In(16),
                "capture_low": In(1),
                "capture_high": In(1),
                "capture_random": In(1),
                "random_slot_in": In(slot),
                "direct": In(1),
                "random_slot_out": In(slot),
                "stochastic": In(1),
                "saturate": In(1),
                "format": In(3),
                "second": In(1),
                "word": Out(16),
            }
        )

    def elaborate(self, platform):
        """Capture, round, cast, choose the half."""
        m = Module()
        m.submodules.rounder = rounder = PsumRound(self._config)
        m.submodules.cast = cast = Cast(self._config)
        m.submodules.random = random = memory.Memory(shape=16, depth=self.RANDOM_SLOTS, init=[])
        random_in, random_out = random.write_port(), random.read_port(domain="comb")

        low, high = Signal(16), Signal(16)
        with m.If(self.capture_low):
            m.d.sync += low.eq(self.row_word)
        with m.If(self.capture_high):
            m.d.sync += high.eq(self.row_word)
        m.d.comb += [
            random_in.en.eq(self.capture_random),
            random_in.addr.eq(self.random_slot_in),
            random_in.data.eq(self.row_word),
            random_out.addr.eq(self.random_slot_out),
            rounder.word.eq(self.psum_word),
            cast.fp32.eq(Mux(self.direct, Cat(low, high), rounder.fp32)),
            cast.random.eq(random_out.data),
            cast.stochastic.eq(self.stochastic),
            cast.saturate.eq(self.saturate),
            cast.format.eq(self.format),
        ]
        upper = Signal(16)
        m.d.sync += upper.eq(cast.code[16:])
        m.d.comb += self.word.eq(Mux(self.second, upper, cast.code[:16]))
        return m
