"""Requests of the fetch: a program in bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import axi_request_layout
from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BYTES, PC_BITS

__all__ = ["BLOCK_NUMBER_BITS", "FETCH_CYCLES", "BurstRequests"]

FETCH_CYCLES = 0
"""Cycles from `start` to `ar.valid`."""

BLOCK_NUMBER_BITS = PC_BITS + 2
"""Bits of the number of a block of the program."""


class BurstRequests(wiring.Component):
    """A burst for each block of `max_burst_beats` beats that the program touches, in order.

    Only the first burst may begin, and only the last may end, inside a block. The first is prepared
    while there is no program.

    Latency: `FETCH_CYCLES`. Throughput: a burst in two cycles.

    Parameters
    ----------
    config
        Gives the bus and the longest burst.

    Members
    -------
    start : In(1), stop : In(1)
        As those of `Fetch`.
    program : In(axi_addr_width), granules : In(PC_BITS + 1)
        As those of `Fetch`.
    room : In(1)
        A burst may be offered; a start needs none.
    again : In(1), block : In(BLOCK_NUMBER_BITS)
        Go on with this block, the program's first being 0; only while no request is offered.
    ar : Out(stream of `axi_request_layout`)
        Requests. One that is offered stays.
    issued : Out(range(max_burst_beats + 1))
        Beats of the request that was accepted in the cycle before.
    active : Out(1)
        One was, or bursts are left to be requested.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program": In(config.axi_addr_width),
                "granules": In(PC_BITS + 1),
                "room": In(1),
                "again": In(1),
                "block": In(BLOCK_NUMBER_BITS),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "issued": Out(range(config.max_burst_beats + 1)),
                "active": Out(1),
            }
        )

    def elaborate(self, platform):
        """The next burst, and how many follow it."""
        m = Module()
        config = self._config
        beat_bits = (config.bus_bytes - 1).bit_length()
        block_bits = (config.max_burst_beats - 1).bit_length()
        first = self.program >> beat_bits
        beats = (self.granules * GRANULE_BYTES + config.bus_bytes - 1) >> beat_bits
        # The program's last beat, counted from the beginning of its first block.
        last = Signal(block_bits + PC_BITS + 2)
        m.d.comb += last.eq(first[:block_bits] + beats - 1)

        block = Signal(config.axi_addr_width - beat_bits - block_bits, reset_less=True)
        begin, end = Signal(block_bits, reset_less=True), Signal(block_bits, reset_less=True)
        blocks_left = Signal(PC_BITS + 2, reset_less=True)
        active, is_last = Signal(), Signal(reset_less=True)
        requesting, accepted, was_accepted, offered = Signal(), Signal(), Signal(), Signal()
        length = Signal(range(config.max_burst_beats))
        m.d.comb += [
            requesting.eq(active | self.start),
            length.eq(Mux(is_last, end, config.max_burst_beats - 1) - begin),
            self.ar.valid.eq(requesting & (self.start | self.room | offered) & ~was_accepted),
            self.ar.payload.addr.eq(Cat(Const(0, beat_bits), begin, block)),
            self.ar.payload.len.eq(length),
            accepted.eq(self.ar.valid & self.ar.ready),
        ]
        # A cycle behind the acceptance, in which none is offered: the start does not come as far.
        with m.If(self.again):
            m.d.sync += [
                block.eq((first >> block_bits) + self.block),
                begin.eq(Mux(self.block == 0, first[:block_bits], 0)),
                blocks_left.eq(last[block_bits:] - self.block),
                is_last.eq(last[block_bits:] == self.block),
            ]
        with m.Elif(was_accepted):
            m.d.sync += [
                block.eq(block + 1),
                begin.eq(0),
                blocks_left.eq(blocks_left - 1),
                is_last.eq(blocks_left == 1),
            ]
        with m.Elif(~active):
            m.d.sync += [
                Cat(begin, block).eq(first),
                Cat(end, blocks_left).eq(last),
                is_last.eq(last[block_bits:] == 0),
            ]
        with m.If(accepted | ~self.ar.valid):
            # A request that is offered stays until it is accepted.
            m.d.sync += active.eq(requesting & ~(accepted & is_last) & ~self.stop)
        with m.Else():
            m.d.sync += active.eq(requesting)
        with m.If(self.again & ~self.stop):
            m.d.sync += active.eq(1)
        # Counted a cycle later, in which none is offered: no sum behind the port's `ready`.
        beats_offered = Signal.like(self.issued, reset_less=True)
        m.d.sync += [
            beats_offered.eq(length + 1),
            was_accepted.eq(accepted),
            offered.eq(self.ar.valid & ~self.ar.ready),
        ]
        m.d.comb += [
            self.issued.eq(Mux(was_accepted, beats_offered, 0)),
            self.active.eq(active | was_accepted),
        ]
        return m
