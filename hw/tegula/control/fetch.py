"""Instruction fetch: a program in memory becomes a stream of granules."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.bus.axi import axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BITS, GRANULE_BYTES, PC_BITS

__all__ = ["FETCH_CYCLES", "GRANULE_CYCLES", "Fetch", "fifo_beats", "granule_layout"]

FETCH_CYCLES = 0
"""Cycles from `start` to `ar.valid`."""

GRANULE_CYCLES = 1
"""Cycles from the last beat of a granule to the granule, where nothing is ahead of it."""


def granule_layout() -> data.StructLayout:
    """A granule, and the worst response of its beats."""
    return data.StructLayout({"bits": GRANULE_BITS, "resp": 2})


def fifo_beats(config: TileConfig) -> int:
    """Beats that are fetched ahead at most: two bursts, or 32 granules where that is more.

    More would come between a program's first loads and their data.
    """
    return max(32 * GRANULE_BYTES // config.bus_bytes, 2 * config.max_burst_beats)


class Fetch(wiring.Component):
    """Reads of `granules` granules from `program` on, in bursts, delivered in order.

    Bursts end at multiples of `max_burst_beats` beats and at the beat that holds the program's last
    byte. A burst is requested only when the FIFO has room for the longest, so read data is always
    accepted: a program that stalls never holds up other users of the read channel. A beat that
    finds the FIFO empty passes it by.

    Latency: `FETCH_CYCLES`, `GRANULE_CYCLES`. Throughput: a granule a cycle
    (every two on a bus of 64 bits).

    Parameters
    ----------
    config
        Gives the bus and the longest burst.

    Members
    -------
    start : In(1)
        Begin a program; only while `idle`. What is left of the one before is dropped.
    stop : In(1)
        While high, no further burst is requested and what arrives is discarded; one that is being
        requested still is.
    program : In(axi_addr_width), granules : In(PC_BITS + 1)
        Address in bytes, a multiple of 64, and size of the program; constant from the cycle before
        its start on.
    ar : Out(stream of `axi_request_layout`), r : In(stream of `axi_read_data_layout`)
        The read channel. `r.ready` is always high.
    granule : Out(stream of `granule_layout`)
        The program, from registers. May fall without a handshake after `stop`.
    failed_burst : Out(axi_addr_width)
        Address in bytes of the burst of the first beat that failed.
    idle : Out(1)
        No burst is outstanding or waits to be requested.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        self._beat_bits = (config.bus_bytes - 1).bit_length()
        self._block_bits = (config.max_burst_beats - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                "program": In(config.axi_addr_width),
                "granules": In(PC_BITS + 1),
                "ar": Out(stream.Signature(axi_request_layout(config))),
                "r": In(stream.Signature(axi_read_data_layout(config))),
                "granule": Out(stream.Signature(granule_layout())),
                "failed_burst": Out(config.axi_addr_width),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """Requests for bursts, storage of beats, delivery of granules."""
        m = Module()
        capacity = fifo_beats(self._config)
        outstanding, reserved = Signal(range(capacity + 1)), Signal(range(capacity + 1))
        takes = Signal()
        issued, active = self._request(m, reserved)
        beat, beat_valid = self._store(m, takes)
        m.d.sync += [
            outstanding.eq(outstanding + issued - self.r.valid),
            reserved.eq(Mux(self.start, 0, reserved + issued - (takes & beat_valid))),
        ]
        self._note_failure(m)
        if self._config.axi_data_width < GRANULE_BITS:
            self._join(m, beat, beat_valid, takes)
        else:
            self._split(m, beat, beat_valid, takes)
        with m.If(self.stop | self.start):
            m.d.sync += self.granule.valid.eq(0)
        m.d.comb += [
            self.r.ready.eq(1),
            self.idle.eq(~active & (outstanding == 0)),
        ]
        return m

    def _request(self, m: Module, reserved):
        """A burst for each block of `max_burst_beats` beats.

        Only the first burst may begin, and only the last may end, inside a block. The first is
        prepared while there is no program. Returns the beats of the request that was accepted in
        the cycle before, and a bit: there is one, or bursts are left to be requested.
        """
        config = self._config
        beat_bits, block_bits = self._beat_bits, self._block_bits
        first = self.program >> beat_bits
        beats = (self.granules * GRANULE_BYTES + config.bus_bytes - 1) >> beat_bits
        # The program's last beat, counted from the beginning of its first block.
        last = Signal(block_bits + PC_BITS + 2)
        m.d.comb += last.eq(first[:block_bits] + beats - 1)

        block = Signal(config.axi_addr_width - beat_bits - block_bits, reset_less=True)
        begin, end = Signal(block_bits, reset_less=True), Signal(block_bits, reset_less=True)
        blocks_left = Signal(PC_BITS + 2, reset_less=True)
        active, is_last = Signal(), Signal(reset_less=True)
        requesting, accepted, was_accepted = Signal(), Signal(), Signal()
        length = Signal(range(config.max_burst_beats))
        issued = Signal(range(config.max_burst_beats + 1))
        room = self.start | (reserved <= fifo_beats(config) - config.max_burst_beats)
        m.d.comb += [
            requesting.eq(active | self.start),
            length.eq(Mux(is_last, end, config.max_burst_beats - 1) - begin),
            self.ar.valid.eq(requesting & room & ~was_accepted),
            self.ar.payload.addr.eq(Cat(Const(0, beat_bits), begin, block)),
            self.ar.payload.len.eq(length),
            accepted.eq(self.ar.valid & self.ar.ready),
        ]
        # A cycle behind the acceptance, in which none is offered: the start does not come as far.
        with m.If(was_accepted):
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
        # Counted a cycle later, in which none is offered: no sum behind the port's `ready`.
        beats_offered = Signal.like(issued, reset_less=True)
        m.d.sync += [beats_offered.eq(length + 1), was_accepted.eq(accepted)]
        m.d.comb += issued.eq(Mux(was_accepted, beats_offered, 0))
        return issued, active | was_accepted

    def _store(self, m: Module, takes):
        """The oldest beat that is not delivered, and its valid bit; it goes when `takes` is high.

        The memory has a register at its output, so a beat that cannot pass by is two cycles later.
        """
        config = self._config
        layout = data.StructLayout({"data": config.axi_data_width, "resp": 2})
        m.submodules.beats = beats = memory.Memory(shape=layout, depth=fifo_beats(config), init=[])
        write, read = beats.write_port(), beats.read_port()
        stored, ahead = Signal(range(fifo_beats(config) + 1)), Signal()
        arrives, passes, loads = Signal(), Signal(), Signal()
        oldest, valid = Signal(layout), Signal()
        drops = self.stop | self.start
        m.d.comb += [
            arrives.eq(self.r.valid & ~self.stop),
            passes.eq(~ahead & (stored == 0)),
            valid.eq(ahead | (passes & arrives)),
            oldest.data.eq(Mux(ahead, read.data.data, self.r.payload.data)),
            oldest.resp.eq(Mux(ahead, read.data.resp, self.r.payload.resp)),
            loads.eq((stored != 0) & (~ahead | takes)),
            write.en.eq(arrives & ~(passes & takes)),
            write.data.data.eq(self.r.payload.data),
            write.data.resp.eq(self.r.payload.resp),
            read.en.eq(loads),
        ]
        m.d.sync += [
            ahead.eq((loads | (ahead & ~takes)) & ~drops),
            stored.eq(Mux(drops, 0, stored + write.en - loads)),
            write.addr.eq(Mux(drops, 0, write.addr + write.en)),
            read.addr.eq(Mux(drops, 0, read.addr + loads)),
        ]
        return oldest, valid

    def _note_failure(self, m: Module) -> None:
        """The address of the burst of the first beat that fails."""
        first = Signal(self._block_bits, reset_less=True)
        arriving = Signal(self._config.axi_addr_width - self._beat_bits, reset_less=True)
        in_first_block, failed = Signal(), Signal()
        begin = first & in_first_block.replicate(self._block_bits)
        with m.If(self.start):
            m.d.sync += [
                first.eq(self.program >> self._beat_bits),
                arriving.eq(self.program >> self._beat_bits),
                in_first_block.eq(1),
                failed.eq(0),
            ]
        with m.Elif(self.r.valid):
            m.d.sync += arriving.eq(arriving + 1)
            with m.If(arriving[: self._block_bits].all()):
                m.d.sync += in_first_block.eq(0)
            with m.If(self.r.payload.resp[1]):
                m.d.sync += failed.eq(1)
            with m.If(~failed):
                m.d.sync += self.failed_burst.eq(
                    Cat(Const(0, self._beat_bits), begin, arriving[self._block_bits :])
                )

    def _join(self, m: Module, beat, beat_valid, takes) -> None:
        """Two beats make a granule."""
        has_low = Signal()
        granule = self.granule.payload
        m.d.comb += takes.eq(~self.granule.valid | self.granule.ready)
        with m.If(takes):
            m.d.sync += [
                self.granule.valid.eq(beat_valid & has_low),
                has_low.eq(has_low ^ beat_valid),
            ]
            with m.If(has_low):
                m.d.sync += granule.bits[GRANULE_BITS // 2 :].eq(beat.data)
            with m.Else():
                m.d.sync += granule.bits[: GRANULE_BITS // 2].eq(beat.data)
            with m.If(~has_low | ~granule.resp[1]):
                m.d.sync += granule.resp.eq(beat.resp)
        with m.If(self.stop | self.start):
            m.d.sync += has_low.eq(0)

    def _split(self, m: Module, beat, beat_valid, takes) -> None:
        """A beat holds one granule or several; the register shifts from one to the next."""
        count = self._config.axi_data_width // GRANULE_BITS
        granules = Signal(self._config.axi_data_width, reset_less=True)
        lane, left = Signal(range(count)), Signal(PC_BITS + 1)
        is_last = (lane == count - 1) | (left == 1)
        moved = self.granule.valid & self.granule.ready
        m.d.comb += [
            takes.eq(~self.granule.valid | (self.granule.ready & is_last)),
            self.granule.payload.bits.eq(granules),
        ]
        with m.If(takes):
            m.d.sync += [
                granules.eq(beat.data),
                self.granule.payload.resp.eq(beat.resp),
                self.granule.valid.eq(beat_valid),
                lane.eq(0),
            ]
        with m.Elif(moved):
            m.d.sync += [granules.eq(granules >> GRANULE_BITS), lane.eq(lane + 1)]
        with m.If(self.start):
            m.d.sync += left.eq(self.granules)
        with m.Elif(moved):
            m.d.sync += left.eq(left - 1)
