"""Instruction fetch: a program in memory becomes a stream of granules."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BITS, GRANULE_BYTES
from tegula.signatures import PC_BITS, axi_read_data_layout, axi_request_layout

__all__ = ["FETCH_CYCLES", "GRANULE_CYCLES", "Fetch", "fifo_beats", "granule_layout"]

FETCH_CYCLES = 2
"""Cycles from `start` to `ar.valid`."""

GRANULE_CYCLES = 2
"""Cycles from the last beat of a granule to the granule, where nothing is ahead of it."""


def granule_layout() -> data.StructLayout:
    """A granule; where `resp` is an error of its fetch, `bits` holds the burst's address."""
    return data.StructLayout({"bits": GRANULE_BITS, "resp": 2})


def fifo_beats(config: TileConfig) -> int:
    """Beats that are fetched ahead at most: two bursts, or 64 beats where that is more."""
    return max(64, 2 * config.max_burst_beats)


class Fetch(wiring.Component):
    """Read `granules` granules from `program` on, in bursts, and deliver them in order.

    Bursts end at multiples of `max_burst_beats` beats and at the beat that holds the program's last
    byte. A burst is requested only when the FIFO has room for all of it, so read data is always
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
        While high, no further burst is requested and what arrives is thrown away.
    program : In, granules : In
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
        """Request bursts, store beats, deliver granules."""
        config = self._config
        m = Module()
        capacity = fifo_beats(config)
        # One word more than the credit: the FIFO refuses a beat one short of full at times.
        m.submodules.fifo = fifo = SyncFIFOBuffered(
            width=config.axi_data_width + 2, depth=capacity + 1
        )
        reserved = Signal(range(capacity + 1))
        pop = Signal()

        issued = self._request(m, capacity - reserved)
        m.d.sync += reserved.eq(reserved + issued - pop)
        m.d.comb += [
            self.r.ready.eq(1),
            fifo.w_en.eq(self.r.valid),
            fifo.w_data.eq(self.r.payload.as_value()),
            pop.eq(fifo.r_rdy & fifo.r_en),
            self.idle.eq(~self.ar.valid & (reserved == 0)),
        ]
        beat = data.View(data.StructLayout({"data": config.axi_data_width, "resp": 2}), fifo.r_data)
        if config.axi_data_width < GRANULE_BITS:
            self._join(m, fifo, beat)
        else:
            self._split(m, fifo, beat)
        return m

    def _request(self, m: Module, room):
        """Issue bursts while there is `room`; the value returned is the beats of this cycle's."""
        config = self._config
        beat_bits = (config.bus_bytes - 1).bit_length()
        burst_bits = (config.max_burst_beats - 1).bit_length()

        address = Signal(config.axi_addr_width - beat_bits)
        left = Signal(PC_BITS + 2)
        to_boundary = Signal(range(config.max_burst_beats + 1))
        beats = Signal.like(to_boundary)
        issued = Signal.like(to_boundary)
        m.d.comb += [
            to_boundary.eq(config.max_burst_beats - address[:burst_bits]),
            beats.eq(Mux(left < to_boundary, left, to_boundary)),
        ]
        free = ~self.ar.valid | self.ar.ready
        with m.If(free):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(free & (left != 0) & (beats <= room) & ~self.stop):
            m.d.comb += issued.eq(beats)
            m.d.sync += [
                self.ar.valid.eq(1),
                self.ar.payload.addr.eq(address << beat_bits),
                self.ar.payload.len.eq(beats - 1),
                address.eq(address + beats),
                left.eq(left - beats),
            ]
        with m.If(self.stop):
            m.d.sync += left.eq(0)
        with m.If(self.start):
            m.d.sync += address.eq(self.program >> beat_bits)
            m.d.sync += left.eq((self.granules * GRANULE_BYTES + config.bus_bytes - 1) >> beat_bits)
        return issued

    def _deliver(self, m: Module, bits, resp, failed_address) -> None:
        """Put a granule on the output, with the address of its burst where the fetch failed."""
        config = self._config
        burst_bytes = config.max_burst_beats * config.bus_bytes
        aligned = failed_address & ~(burst_bytes - 1)
        burst = Mux(aligned < self.program, self.program, aligned)
        m.d.comb += [
            self.granule.payload.resp.eq(resp),
            self.granule.payload.bits.eq(Mux(resp[1], burst, bits)),
        ]

    def _position(self, m: Module, step: int, moved):
        """Address of the granule at the head of the FIFO."""
        address = Signal(self._config.axi_addr_width)
        with m.If(self.start):
            m.d.sync += address.eq(self.program)
        with m.Elif(moved):
            m.d.sync += address.eq(address + step)
        return address

    def _join(self, m: Module, fifo, beat) -> None:
        """Two beats make a granule."""
        low, low_resp, has_low = Signal(64), Signal(2), Signal()
        moved = self.granule.valid & self.granule.ready
        address = self._position(m, GRANULE_BYTES, moved)
        failed_address = Mux(low_resp[1], address, address + GRANULE_BYTES // 2)
        m.d.comb += [
            self.granule.valid.eq(fifo.r_rdy & has_low & ~self.stop),
            fifo.r_en.eq(self.stop | ~has_low | moved),
        ]
        with m.If(fifo.r_rdy & fifo.r_en):
            m.d.sync += [low.eq(beat.data), low_resp.eq(beat.resp), has_low.eq(~has_low)]
        with m.If(self.stop | self.start):
            m.d.sync += has_low.eq(0)
        resp = Mux(low_resp[1], low_resp, beat.resp)
        self._deliver(m, low | beat.data << 64, resp, failed_address)

    def _split(self, m: Module, fifo, beat) -> None:
        """A beat holds one granule or several."""
        count = self._config.axi_data_width // GRANULE_BITS
        lane = Signal(range(count))
        left = Signal(PC_BITS + 1)
        moved = self.granule.valid & self.granule.ready
        address = self._position(m, GRANULE_BYTES, moved)
        m.d.comb += [
            self.granule.valid.eq(fifo.r_rdy & (left != 0) & ~self.stop),
            fifo.r_en.eq(self.stop | (moved & ((lane == count - 1) | (left == 1)))),
        ]
        with m.If(moved):
            m.d.sync += [lane.eq(lane + 1), left.eq(left - 1)]
        with m.If(self.start):
            m.d.sync += [lane.eq(0), left.eq(self.granules)]
        bits = beat.data.word_select(lane, GRANULE_BITS)
        self._deliver(m, bits, beat.resp, address)
