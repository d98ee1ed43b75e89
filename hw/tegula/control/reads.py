"""Numbers of memory, read beside the program."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.isa.instructions import REGISTER_BITS

__all__ = ["NumberReads", "number_layout", "read_layout"]

_WORD_BITS = 32


def read_layout(config: TileConfig) -> data.StructLayout:
    """A number of 4 or 8 bytes at a byte address that is a multiple of its size."""
    return data.StructLayout({"address": config.axi_addr_width, "bytes8": 1})


def number_layout() -> data.StructLayout:
    """A number of memory, if `valid`, and the response of its beat."""
    return data.StructLayout({"valid": 1, "value": REGISTER_BITS, "resp": 2})


class NumberReads(wiring.Component):
    """Reads of one beat for a number, on the read channel of the fetch.

    The fetch makes no requests from the cycle in which a number is requested until it is there; the
    number is requested when all beats of the program have come. So each beat is known by its order.

    Latency: the request is made in the cycle behind its own, or when the program's beats have come;
    the number is there two cycles behind its beat.

    Parameters
    ----------
    config
        Gives the bus.

    Members
    -------
    read : In(stream of `read_layout`)
        Requests, one at a time.
    number : Out(`number_layout`)
        For one cycle.
    fetch_ar : In(stream of `axi_request_layout`), fetch_r : Out(stream of `axi_read_data_layout`)
        The fetch's; an offer may be withheld from the bus, and is then as if it were not made.
    quiet : In(1)
        All beats have come that the fetch requested in earlier cycles.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        The read channel. `r.ready` is always high.
    idle : Out(1)
        No number is being read.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        request = stream.Signature(axi_request_layout(config))
        beat = stream.Signature(axi_read_data_layout(config))
        super().__init__(
            {
                "read": In(stream.Signature(read_layout(config))),
                "number": Out(number_layout()),
                "fetch_ar": In(request),
                "fetch_r": Out(beat),
                "quiet": In(1),
                "ar": Out(request),
                "r": In(beat),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """The request that holds back those of the fetch, and the number in its beat."""
        m = Module()
        config = self._config
        beat_bits = (config.bus_bytes - 1).bit_length()
        request = Signal(read_layout(config), reset_less=True)
        held, requested, offered, stays = Signal(), Signal(), Signal(), Signal()
        beat = Signal(config.axi_data_width, reset_less=True)
        came, resp = Signal(), Signal(2, reset_less=True)
        address = request.address
        m.d.comb += [
            self.read.ready.eq(self.idle),
            # What the fetch has offered stays on the bus until it is accepted.
            stays.eq(~held | offered),
            self.ar.valid.eq(Mux(stays, self.fetch_ar.valid, ~requested & self.quiet)),
            self.ar.payload.eq(self.fetch_ar.payload),
            self.fetch_ar.ready.eq(self.ar.ready & stays),
            self.fetch_r.valid.eq(self.r.valid & ~requested),
            self.fetch_r.payload.eq(self.r.payload),
            self.r.ready.eq(1),
            self.idle.eq(~held & ~came),
        ]
        with m.If(~stays):
            m.d.comb += [
                self.ar.payload.addr.eq(Cat(Const(0, beat_bits), address[beat_bits:])),
                self.ar.payload.len.eq(0),
            ]
        m.d.sync += [
            offered.eq(stays & self.ar.valid & ~self.ar.ready),
            came.eq(requested & self.r.valid),
        ]
        with m.If(self.read.valid & self.read.ready):
            m.d.sync += [held.eq(1), request.eq(self.read.payload)]
        with m.If(~stays & self.ar.valid & self.ar.ready):
            m.d.sync += requested.eq(1)
        with m.If(requested & self.r.valid):
            m.d.sync += [held.eq(0), requested.eq(0)]
        m.d.sync += [beat.eq(self.r.payload.data), resp.eq(self.r.payload.resp)]

        word, lane = Signal(2 * _WORD_BITS), Signal(2 * _WORD_BITS)
        m.d.comb += [
            lane.eq(beat.word_select(address[3:beat_bits], len(lane))),
            word.eq(Mux(request.bytes8, lane, lane.word_select(address[2], _WORD_BITS))),
            self.number.valid.eq(came),
            self.number.value.eq(word),
            self.number.resp.eq(resp),
        ]
        return m
