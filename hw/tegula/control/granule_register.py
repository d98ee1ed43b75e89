"""The granule that is offered to the decoder, made of beats."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BITS, PC_BITS

__all__ = ["GRANULE_CYCLES", "GranuleRegister", "beat_layout", "granule_layout"]

GRANULE_CYCLES = 1
"""Cycles from the last beat of a granule to the granule, where nothing is ahead of it."""


def granule_layout() -> data.StructLayout:
    """A granule, and the worst response of its beats."""
    return data.StructLayout({"bits": GRANULE_BITS, "resp": 2})


def beat_layout(config: TileConfig) -> data.StructLayout:
    """A beat of the program, and its response."""
    return data.StructLayout({"data": config.axi_data_width, "resp": 2})


class GranuleRegister(wiring.Component):
    """Granules of beats, one at a time: two beats make one, or a beat holds one or several.

    Latency: `GRANULE_CYCLES`. Throughput: a granule a cycle (every two on a bus of 64 bits).
    Behind a `flush` a granule takes a cycle more for each that comes before it in its beat.

    Parameters
    ----------
    config
        Gives the bus.

    Members
    -------
    beat : In(stream of `beat_layout`)
        Beats in the order of the program. `ready` is a function of `granule.ready`.
    flush : In(1)
        Drop what is held; the next beat is that which holds the granule `position`.
    left : In(PC_BITS + 1), position : In(PC_BITS + 1)
        With `flush`: granules from there to the end of the program, and the granule's number.
    granule : Out(stream of `granule_layout`)
        From registers. May fall without a handshake after `flush`.
    replace : In(1), replacement : In(GRANULE_BITS)
        The granule that is offered, and not taken in this cycle, has these bits in the next.
    """

    def __init__(self, config: TileConfig):
        self._width = config.axi_data_width
        super().__init__(
            {
                "beat": In(stream.Signature(beat_layout(config))),
                "flush": In(1),
                "left": In(PC_BITS + 1),
                "position": In(PC_BITS + 1),
                "granule": Out(stream.Signature(granule_layout())),
                "replace": In(1),
                "replacement": In(GRANULE_BITS),
            }
        )

    def elaborate(self, platform):
        """Beats to a granule, or a beat to granules."""
        m = Module()
        if self._width < GRANULE_BITS:
            self._join(m)
        else:
            self._split(m)
        with m.If(self.flush):
            m.d.sync += self.granule.valid.eq(0)
        return m

    def _join(self, m: Module) -> None:
        """Two beats make a granule."""
        has_low = Signal()
        granule, beat = self.granule.payload, self.beat
        m.d.comb += beat.ready.eq(~self.granule.valid | self.granule.ready)
        with m.If(beat.ready):
            m.d.sync += [
                self.granule.valid.eq(beat.valid & has_low),
                has_low.eq(has_low ^ beat.valid),
            ]
            with m.If(has_low):
                m.d.sync += granule.bits[GRANULE_BITS // 2 :].eq(beat.payload.data)
            with m.Else():
                m.d.sync += granule.bits[: GRANULE_BITS // 2].eq(beat.payload.data)
            with m.If(~has_low | ~granule.resp[1]):
                m.d.sync += granule.resp.eq(beat.payload.resp)
        with m.Elif(self.replace):
            m.d.sync += granule.bits.eq(self.replacement)
        with m.If(self.flush):
            m.d.sync += has_low.eq(0)

    def _split(self, m: Module) -> None:
        """A beat holds one granule or several; the register shifts from one to the next."""
        count = self._width // GRANULE_BITS
        granules = Signal(self._width, reset_less=True)
        lane, left = Signal(range(count)), Signal(PC_BITS + 1)
        before = Signal(range(count))
        """Granules of the beat that come before the first to be offered."""
        is_full = Signal()
        is_last = (lane == count - 1) | (left == 1)
        moved, skips = Signal(), Signal()
        m.d.comb += [
            moved.eq(self.granule.valid & self.granule.ready),
            skips.eq(is_full & ~self.granule.valid),
            self.beat.ready.eq(~is_full | (moved & is_last)),
            self.granule.payload.bits.eq(granules),
        ]
        with m.If(self.beat.ready):
            m.d.sync += [
                granules.eq(self.beat.payload.data),
                self.granule.payload.resp.eq(self.beat.payload.resp),
                is_full.eq(self.beat.valid),
                self.granule.valid.eq(self.beat.valid & (before == 0)),
                lane.eq(0),
            ]
        with m.Elif(moved | skips):
            m.d.sync += [granules.eq(granules >> GRANULE_BITS), lane.eq(lane + 1)]
        with m.Elif(self.replace):
            m.d.sync += granules[:GRANULE_BITS].eq(self.replacement)
        with m.If(skips):
            m.d.sync += [before.eq(before - 1), self.granule.valid.eq(before == 1)]
        with m.If(self.flush):
            m.d.sync += [left.eq(self.left), before.eq(self.position % count), is_full.eq(0)]
        with m.Elif(moved):
            m.d.sync += left.eq(left - 1)
