"""Instruction fetch: a program in memory becomes a stream of granules."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BITS, GRANULE_BYTES, PC_BITS

__all__ = ["FETCH_CYCLES", "GRANULE_CYCLES", "Fetch", "fifo_beats", "granule_layout"]

FETCH_CYCLES = 2
"""Cycles from `start` to `ar.valid`."""

GRANULE_CYCLES = 2
"""Cycles from the last beat of a granule to the granule, where nothing is ahead of it."""


def granule_layout() -> data.StructLayout:
    """A granule; where `resp` is an error, the low bits are the address of its burst."""
    return data.StructLayout({"bits": GRANULE_BITS, "resp": 2})


def fifo_beats(config: TileConfig) -> int:
    """Beats that are fetched ahead at most: two bursts, or 64 beats where that is more."""
    return max(64, 2 * config.max_burst_beats)


class Fetch(wiring.Component):
    """Reads of `granules` granules from `program` on, in bursts, delivered in order.

    Bursts end at multiples of `max_burst_beats` beats and at the beat that holds the program's last
    byte. A burst is requested only when the FIFO has room for the longest, so read data is always
    accepted: a program that stalls never holds up other users of the read channel.

    Latency: `FETCH_CYCLES`, `GRANULE_CYCLES`. Throughput: a granule a cycle
    (every two on a bus of 64 bits).

    Parameters
    ----------
    config
        Gives the bus and the longest burst.

    Members
    -------
    start : In(1)
        Begin a program; only while `idle`.
    stop : In(1)
        While high, no further burst is requested and what arrives is discarded.
    program : In(axi_addr_width), granules : In(PC_BITS + 1)
        Address in bytes, a multiple of 64, and size of the program; constant while it runs.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        The read channel. `r.ready` is always high.
    granule : Out(stream of `granule_layout`)
        The program. May fall without a handshake while `stop` is high.
    idle : Out(1)
        No burst is outstanding or waits to be requested, and no beat is held.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program": In(config.axi_addr_width),
                "granules": In(PC_BITS + 1),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "r": In(stream.Signature(axi_read_data_layout(config))),
                "granule": Out(stream.Signature(granule_layout())),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """Requests for bursts, storage of beats, delivery of granules."""
        config = self._config
        m = Module()
        capacity = fifo_beats(config)
        # One word more than the credit: the FIFO refuses a beat one short of full at times.
        m.submodules.fifo = fifo = SyncFIFOBuffered(
            width=config.axi_data_width + 2, depth=capacity + 1
        )
        reserved = Signal(range(capacity + 1))
        pop = Signal()

        issued = self._request(m, reserved)
        m.d.sync += reserved.eq(reserved + issued - pop)
        m.d.comb += [
            self.r.ready.eq(1),
            fifo.w_en.eq(self.r.valid),
            fifo.w_data.eq(Cat(self._mark_failed(m), self.r.payload.resp)),
            pop.eq(fifo.r_rdy & fifo.r_en),
            self.idle.eq(~self.ar.valid & (reserved == 0)),
        ]
        beat = data.View(data.StructLayout({"data": config.axi_data_width, "resp": 2}), fifo.r_data)
        if config.axi_data_width < GRANULE_BITS:
            self._join(m, fifo, beat)
        else:
            self._split(m, fifo, beat)
        return m

    @property
    def _beat_bits(self) -> int:
        return (self._config.bus_bytes - 1).bit_length()

    @property
    def _block_bits(self) -> int:
        return (self._config.max_burst_beats - 1).bit_length()

    def _request(self, m: Module, reserved):
        """A burst for each block of `max_burst_beats` beats; returns this cycle's beats.

        Only the first burst may begin, and only the last may end, inside a block.
        """
        config = self._config
        beat_bits, block_bits = self._beat_bits, self._block_bits
        first = self.program >> beat_bits
        beats = (self.granules * GRANULE_BYTES + config.bus_bytes - 1) >> beat_bits
        # The program's last beat, counted from the beginning of its first block.
        last = Signal(block_bits + PC_BITS + 2)
        m.d.comb += last.eq(first[:block_bits] + beats - 1)

        block = Signal(config.axi_addr_width - beat_bits - block_bits)
        begin, end = Signal(block_bits), Signal(block_bits)
        blocks_left = Signal(PC_BITS + 2)
        active, is_last = Signal(), Signal()
        length = Signal(range(config.max_burst_beats))
        issued = Signal(range(config.max_burst_beats + 1))

        free = ~self.ar.valid | self.ar.ready
        room = reserved <= fifo_beats(config) - config.max_burst_beats
        m.d.comb += length.eq(Mux(is_last, end, config.max_burst_beats - 1) - begin)
        with m.If(free):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(active & free & room & ~self.stop):
            m.d.comb += issued.eq(length + 1)
            m.d.sync += [
                self.ar.valid.eq(1),
                self.ar.payload.addr.eq(Cat(Const(0, beat_bits), begin, block)),
                self.ar.payload.len.eq(length),
                block.eq(block + 1),
                begin.eq(0),
                blocks_left.eq(blocks_left - 1),
                is_last.eq(blocks_left == 1),
                active.eq(~is_last),
            ]
        with m.If(self.stop):
            m.d.sync += active.eq(0)
        with m.If(self.start):
            m.d.sync += [
                active.eq(1),
                Cat(begin, block).eq(first),
                Cat(end, blocks_left).eq(last),
                is_last.eq(last[block_bits:] == 0),
            ]
        return issued

    def _mark_failed(self, m: Module):
        """Data of the beat that arrives; where it failed, the address of its burst in each granule.

        Done on the way into the FIFO, since its memory is slow on the way out.
        """
        config = self._config
        first = Signal(self._block_bits)
        arriving = Signal(config.axi_addr_width - self._beat_bits)
        in_first_block = Signal()
        with m.If(self.start):
            m.d.sync += [
                first.eq(self.program >> self._beat_bits),
                arriving.eq(self.program >> self._beat_bits),
                in_first_block.eq(1),
            ]
        with m.Elif(self.r.valid):
            m.d.sync += arriving.eq(arriving + 1)
            with m.If(arriving[: self._block_bits].all()):
                m.d.sync += in_first_block.eq(0)
        begin = first & in_first_block.replicate(self._block_bits)
        burst = Signal(min(GRANULE_BITS, config.axi_data_width))
        m.d.comb += burst.eq(Cat(Const(0, self._beat_bits), begin, arriving[self._block_bits :]))
        failed = burst.replicate(config.axi_data_width // len(burst))
        return Mux(self.r.payload.resp[1], failed, self.r.payload.data)

    def _join(self, m: Module, fifo, beat) -> None:
        """Two beats make a granule; the address of a failed burst goes to its low half."""
        low, low_resp, has_low = Signal(64), Signal(2), Signal()
        moved = self.granule.valid & self.granule.ready
        only_high_failed = beat.resp[1] & ~low_resp[1]
        m.d.comb += [
            self.granule.valid.eq(fifo.r_rdy & has_low & ~self.stop),
            self.granule.payload.bits.eq(Cat(Mux(only_high_failed, beat.data, low), beat.data)),
            self.granule.payload.resp.eq(Mux(low_resp[1], low_resp, beat.resp)),
            fifo.r_en.eq(self.stop | ~has_low | moved),
        ]
        with m.If(fifo.r_rdy & fifo.r_en):
            m.d.sync += [low.eq(beat.data), low_resp.eq(beat.resp), has_low.eq(~has_low)]
        with m.If(self.stop | self.start):
            m.d.sync += has_low.eq(0)

    def _split(self, m: Module, fifo, beat) -> None:
        """A beat holds one granule or several."""
        count = self._config.axi_data_width // GRANULE_BITS
        lane = Signal(range(count))
        left = Signal(PC_BITS + 1)
        moved = self.granule.valid & self.granule.ready
        m.d.comb += [
            self.granule.valid.eq(fifo.r_rdy & (left != 0) & ~self.stop),
            self.granule.payload.bits.eq(beat.data.word_select(lane, GRANULE_BITS)),
            self.granule.payload.resp.eq(beat.resp),
            fifo.r_en.eq(self.stop | (moved & ((lane == count - 1) | (left == 1)))),
        ]
        with m.If(moved):
            m.d.sync += [lane.eq(lane + 1), left.eq(left - 1)]
        with m.If(self.start):
            m.d.sync += [lane.eq(0), left.eq(self.granules)]
