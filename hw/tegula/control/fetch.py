"""Instruction fetch: a program in memory becomes a stream of granules."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.bus.axi import axi_read_data_layout, axi_request_layout
from tegula.config import TileConfig
from tegula.control.burst_requests import BLOCK_NUMBER_BITS, BurstRequests
from tegula.control.granule_register import GranuleRegister, beat_layout, granule_layout
from tegula.isa.instructions import GRANULE_BITS, GRANULE_BYTES, PC_BITS

__all__ = ["JUMP_CYCLES", "Fetch", "fifo_beats", "jump_layout", "ring_beats"]

JUMP_CYCLES = 3
"""Cycles from a jump to a beat that the ring holds, to its granule (on a bus of 64 bits one more,
for its second beat; behind k granules of the same beat k more)."""


def jump_layout() -> data.StructLayout:
    """A jump to granule `target`, whose burst is requested `again` if the ring may have lost it."""
    return data.StructLayout({"target": PC_BITS + 1, "again": 1})


def fifo_beats(config: TileConfig) -> int:
    """Beats that are fetched ahead at most."""
    return config.ahead_granules * GRANULE_BYTES // config.bus_bytes


def ring_beats(config: TileConfig) -> int:
    """Beats that are held."""
    return config.loop_granules * GRANULE_BYTES // config.bus_bytes


class Fetch(wiring.Component):
    """Reads of `granules` granules from `program` on, in bursts, delivered in order.

    Bursts end at multiples of `max_burst_beats` beats and at the beat that holds the program's last
    byte. A burst is requested only when no more than `fifo_beats` would be ahead, so read data is
    always accepted: a program that stalls never holds up other users of the read channel. The last
    `ring_beats` beats are kept; one that finds none before it passes them by.

    A jump goes back to an earlier granule. Where its beat is among those kept nothing is requested
    again. Else the jump waits until nothing more can be fetched ahead, so that what is fetched does
    not depend on time, and the bursts from the one that holds the target on are requested again.

    Latency: `FETCH_CYCLES`, `GRANULE_CYCLES`, `JUMP_CYCLES`. Throughput: a granule a cycle (every
    two on a bus of 64 bits).

    Parameters
    ----------
    config
        Gives the bus, the longest burst, and what is kept.

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
    jump : In(stream of `jump_layout`)
        Granules from `target` on come next; only while no granule is taken. `target` is constant
        from the cycle before `valid` on.
    granule : Out(stream of `granule_layout`)
        The program, from registers. May fall without a handshake after `stop` and a jump.
    replace : In(1), replacement : In(GRANULE_BITS)
        The granule that is offered, and not taken, has these bits in the next cycle.
    failed_burst : Out(axi_addr_width)
        Address in bytes of the burst of the first beat that failed.
    idle, quiet : Out(1)
        No burst is outstanding or waits to be requested; none that was requested in earlier cycles
        is outstanding.
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
                "jump": In(stream.Signature(jump_layout())),
                "granule": Out(stream.Signature(granule_layout())),
                "replace": In(1),
                "replacement": In(GRANULE_BITS),
                "failed_burst": Out(config.axi_addr_width),
                "idle": Out(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform):
        """Requests for bursts, storage of beats, delivery of granules."""
        m = Module()
        m.submodules.granules = granules = GranuleRegister(self._config)
        capacity = fifo_beats(self._config)
        outstanding = Signal(range(capacity + 1))
        reserved = Signal(range(ring_beats(self._config) + 1))
        self._aim(m)
        m.submodules.requests = requests = BurstRequests(self._config)
        connect(m, requests.ar, flipped(self.ar))
        issued, active, room = requests.issued, requests.active, Signal()
        goes, dropped = self._store(m, granules.beat, granules.beat.ready)
        at_rest, quiet = Signal(), Signal()
        requested = Signal.like(self._position)
        m.d.comb += [
            room.eq(reserved <= capacity - self._config.max_burst_beats),
            requests.start.eq(self.start),
            requests.stop.eq(self.stop),
            requests.room.eq(room),
            requests.again.eq(self._jumps & self.jump.payload.again),
            requests.block.eq(self._block),
            requests.program.eq(self.program),
            requests.granules.eq(self.granules),
            quiet.eq((outstanding == 0) & (issued == 0)),
            at_rest.eq(~active & (outstanding == 0)),
            self.jump.ready.eq(
                ~self.jump.payload.again | at_rest | (~room & quiet & self.granule.valid)
            ),
        ]
        m.d.sync += [
            outstanding.eq(outstanding + issued - self.r.valid),
            reserved.eq(reserved + issued - (goes | dropped)),
            requested.eq(requested + issued),
        ]
        with m.If(self.start):
            m.d.sync += [reserved.eq(0), requested.eq(self._first)]
        with m.Elif(self._jumps):
            with m.If(self.jump.payload.again):
                m.d.sync += [reserved.eq(0), requested.eq(self._begins)]
            with m.Else():
                # What is kept from the target on, and what has been requested.
                m.d.sync += reserved.eq((requested + issued - self._position)[: len(requested)])
        self._note_failure(m)
        target = self.jump.payload.target
        m.d.comb += [
            granules.flush.eq(self.stop | self.start | self._jumps),
            granules.left.eq(Mux(self.start, self.granules, self.granules - target)),
            granules.position.eq(Mux(self.start, 0, target)),
            granules.replace.eq(self.replace),
            granules.replacement.eq(self.replacement),
            self.granule.valid.eq(granules.granule.valid),
            self.granule.payload.eq(granules.granule.payload),
            granules.granule.ready.eq(self.granule.ready),
            self.r.ready.eq(1),
            self.idle.eq(at_rest),
            self.quiet.eq(quiet),
        ]
        return m

    def _aim(self, m: Module) -> None:
        """Position of the target in the ring, and of the burst that holds it.

        Positions count beats from the beginning of the program's first block.
        """
        shape = range(2 * ring_beats(self._config))
        self._first, self._position, self._begins = (
            Signal(shape, name=name) for name in ("first_beat", "target_beat", "target_burst")
        )
        self._block, self._jumps = (
            Signal(BLOCK_NUMBER_BITS, name="target_block"),
            Signal(name="jumps"),
        )
        beat = (self.jump.payload.target * GRANULE_BYTES) >> self._beat_bits
        position = Signal(self._block_bits + PC_BITS + 2)
        first = Signal(self._block_bits)
        m.d.sync += position.eq(first + beat)
        m.d.comb += [
            first.eq(self.program >> self._beat_bits),
            self._first.eq(first),
            self._position.eq(position),
            self._block.eq(position >> self._block_bits),
            self._jumps.eq(self.jump.valid & self.jump.ready),
            self._begins.eq(
                Mux(self._block == 0, first, Cat(Const(0, self._block_bits), self._block))
            ),
        ]

    def _store(self, m: Module, beats, takes):
        """The next beat, offered to `beats`, from the ring or as it arrives; `takes`: it goes.

        The ring has a register at its output, so a beat that cannot pass by is two cycles later.
        Returns bits: a beat goes, and one arrives that comes before the target of a jump.
        """
        config = self._config
        depth = ring_beats(config)
        m.submodules.ring = ring = memory.Memory(shape=beat_layout(config), depth=depth, init=[])
        write, read = ring.write_port(), ring.read_port()
        written, reads = Signal.like(self._position), Signal.like(self._position)
        arrives, passes, loads, ahead = Signal(), Signal(), Signal(), Signal()
        is_stored = Signal()
        skip = Signal(self._block_bits)
        dropped, goes = Signal(), Signal()
        place = len(read.addr)
        m.d.comb += [
            dropped.eq(self.r.valid & (skip != 0)),
            arrives.eq(self.r.valid & ~self.stop & (skip == 0)),
            is_stored.eq(written != reads),
            passes.eq(~ahead & ~is_stored),
            beats.valid.eq(ahead | (passes & arrives)),
            beats.payload.data.eq(Mux(ahead, read.data.data, self.r.payload.data)),
            beats.payload.resp.eq(Mux(ahead, read.data.resp, self.r.payload.resp)),
            loads.eq(is_stored & (~ahead | takes)),
            goes.eq(takes & beats.valid),
            write.addr.eq(written[:place]),
            write.en.eq(arrives),
            write.data.data.eq(self.r.payload.data),
            write.data.resp.eq(self.r.payload.resp),
            read.addr.eq(reads[:place]),
            read.en.eq(loads),
        ]
        m.d.sync += [
            ahead.eq((loads | (ahead & ~takes)) & ~self.stop & ~self.start & ~self._jumps),
            written.eq(written + arrives),
            skip.eq(skip - dropped),
        ]
        with m.If(self.start):
            m.d.sync += [written.eq(self._first), reads.eq(self._first), skip.eq(0)]
        with m.Elif(self._jumps):
            m.d.sync += reads.eq(self._position)
            with m.If(self.jump.payload.again):
                m.d.sync += [written.eq(self._position), skip.eq(self._position - self._begins)]
        with m.Else():
            m.d.sync += reads.eq(reads + (loads | (passes & goes)))
        return goes, dropped

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
        with m.Elif(self._jumps & self.jump.payload.again):
            first_block = self.program >> (self._beat_bits + self._block_bits)
            m.d.sync += [
                arriving.eq(Cat(self._begins[: self._block_bits], first_block + self._block)),
                in_first_block.eq(self._block == 0),
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
