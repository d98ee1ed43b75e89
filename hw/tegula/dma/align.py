"""Byte alignment between the lanes of the bus and the lanes of a run.

A beat is rotated once, by the run's byte lane; two rotated beats are then merged lane by lane.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.dma.layouts import ACCUMULATE_BITS
from tegula.lib.stream import StreamQueue

__all__ = ["ReadAligner", "WriteAligner"]


def _rotate(m: Module, source: data.View, amount: Value, *, up: bool) -> Value:
    """The bytes of `source`, rotated by `amount` lanes, lane 0 towards higher lanes if `up`."""
    lanes = list(source)
    count = len(lanes)
    for bit in range(exact_log2(count)):
        shift = (1 << bit) if up else count - (1 << bit)
        rotated = [Signal(8, name=f"rotated_{bit}_{lane}") for lane in range(count)]
        m.d.comb += [
            rotated[lane].eq(Mux(amount[bit], lanes[(lane - shift) % count], lanes[lane]))
            for lane in range(count)
        ]
        lanes = rotated
    return Cat(lanes)


def _merge(choices: Value, chosen: data.View, other: data.View) -> Value:
    """The bytes of `chosen` in the lanes whose bit of `choices` is 1, else those of `other`."""
    return Cat(Mux(choice, *pair) for choice, *pair in zip(choices, chosen, other, strict=True))


def _bytes_layout(config: TileConfig) -> data.ArrayLayout:
    return data.ArrayLayout(8, config.bus_bytes)


class ReadAligner(wiring.Component):
    """Aligned chunks of runs: ``chunk[k][j] = beats[offset + j + k * bus_bytes]``, in bytes.

    A run of b beats gives b chunks, or b - 1 if its last beat `spill`s. Beats are taken whenever
    they come, and wait for nothing: a beat is rotated into a register, merged with the next beat,
    and enters a queue in distributed RAM. So each beat makes at most one chunk, which is output 2
    cycles after the last beat that holds bytes of it; 1 cycle where that is not the first. A reset
    drops all.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    beats : In(stream of {data, context: {offset, last, spill}})
        `last`: the last beat of a run; `offset`, `spill` as in `burst_layout`. `ready` is always
        high: see `room`.
    room : Out(1)
        The queue has room for `ARRIVING` chunks.
    chunks : Out(stream of ArrayLayout(8, bus_bytes))
        Bytes past the run's end are undefined.
    starved : Out(1)
        No chunk can be output before another beat arrives.
    """

    DEPTH = 16
    """Chunks that the queue holds: as many as one distributed RAM has words."""

    ARRIVING = 4
    """Chunks that may enter after `room` fell: of the beat that is held, and of three that
    `AxiMaster` accepts, as it registers `room` and each beat."""

    LATENCY = 2
    """Cycles from a chunk's last beat to the chunk; one less where that is not its first."""

    def __init__(self, config: TileConfig):
        self._config = config
        self._context = data.StructLayout(
            {"offset": range(config.bus_bytes), "last": 1, "spill": 1}
        )
        beat = data.StructLayout({"data": _bytes_layout(config), "context": self._context})
        super().__init__(
            {
                "beats": In(stream.Signature(beat)),
                "room": Out(1),
                "chunks": Out(stream.Signature(_bytes_layout(config))),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform):
        """Rotation, one held beat, merge, queue."""
        m = Module()
        count = self._config.bus_bytes
        layout = _bytes_layout(self._config)
        beat = self.beats.payload
        rotated, chunk = Signal(layout), Signal(layout)
        m.d.comb += [
            self.beats.ready.eq(1),
            rotated.eq(_rotate(m, beat.data, beat.context.offset, up=False)),
        ]

        held_valid, held_data = Signal(), Signal(layout, reset_less=True)
        alone, skip = Signal(reset_less=True), Signal(reset_less=True)
        """The held beat needs no other for its chunk; it makes none."""
        from_next = Signal(count, reset_less=True)
        """Lanes of the held beat's chunk that the next beat completes."""
        complete = Signal()
        m.d.comb += [
            complete.eq(held_valid & (alone | self.beats.valid)),
            chunk.eq(_merge(from_next, rotated, held_data)),
        ]
        m.d.sync += held_valid.eq(self.beats.valid | (held_valid & ~alone))
        with m.If(self.beats.valid):
            context = beat.context
            m.d.sync += [
                held_data.eq(rotated),
                alone.eq((context.offset == 0) | context.last),
                skip.eq(context.last & context.spill),
                from_next.eq(Cat(lane + context.offset >= count for lane in range(count))),
            ]

        m.submodules.queue = queue = StreamQueue(layout, self.DEPTH)
        wiring.connect(m, queue.o, wiring.flipped(self.chunks))
        m.d.comb += [
            queue.i.payload.eq(chunk),
            queue.i.valid.eq(complete & ~skip),
            self.room.eq(queue.level <= self.DEPTH - self.ARRIVING),
            self.starved.eq(queue.empty & ~(held_valid & alone & ~skip)),
        ]
        return m


class WriteAligner(wiring.Component):
    """Bus beats of runs: ``beats[offset + j + k * bus_bytes] = chunk[k][j]``, in bytes.

    A run of c chunks gives c beats, or c + 1 if it `spill`s; a beat a cycle, latency 1 cycle to the
    rotated chunk, from which the beat is merged. A reset drops all.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    chunks : In(stream of {data, context: {offset, end, last, spill, accumulate}})
        `last`: the last chunk of a run; the others as in `tag_layout`.
    beats : Out(stream of {data, strb, accumulate})
        Strobes are set for the bytes of the run.
    """

    LATENCY = 1

    def __init__(self, config: TileConfig):
        self._config = config
        lane = range(config.bus_bytes)
        accumulate = {"accumulate": ACCUMULATE_BITS}
        self._context = data.StructLayout(
            {"offset": lane, "end": lane, "last": 1, "spill": 1} | accumulate
        )
        chunk = data.StructLayout({"data": _bytes_layout(config), "context": self._context})
        beat = data.StructLayout(
            {"data": _bytes_layout(config), "strb": config.bus_bytes} | accumulate
        )
        super().__init__(
            {"chunks": In(stream.Signature(chunk)), "beats": Out(stream.Signature(beat))}
        )

    def elaborate(self, platform):
        """Rotation into a register, the chunk before, merge."""
        m = Module()
        count = self._config.bus_bytes
        layout = _bytes_layout(self._config)
        chunk = self.chunks.payload

        valid = Signal()
        rotated_data = Signal(layout, reset_less=True)
        before_data = Signal(layout, reset_less=True)
        context = Signal(self._context, reset_less=True)
        first, spilling = Signal(init=1), Signal()
        from_before = Signal(count, reset_less=True)
        up_to_end = Signal(count, reset_less=True)

        ends = Signal()
        """This beat is the run's last one."""
        emit = Signal()
        m.d.comb += [
            ends.eq(context.last & (~context.spill | spilling)),
            self.beats.valid.eq(valid),
            emit.eq(valid & self.beats.ready),
            self.chunks.ready.eq(~valid | (emit & (ends | ~context.last))),
            self.beats.payload.accumulate.eq(context.accumulate),
            self.beats.payload.strb.eq(Mux(first, ~from_before, -1) & Mux(ends, up_to_end, -1)),
            self.beats.payload.data.eq(_merge(from_before, before_data, rotated_data)),
        ]
        with m.If(emit):
            m.d.sync += [
                before_data.eq(rotated_data),
                first.eq(ends),
                spilling.eq(context.last & ~ends),
            ]

        rotated = _rotate(m, chunk.data, chunk.context.offset, up=True)
        with m.If(self.chunks.ready):
            m.d.sync += [
                valid.eq(self.chunks.valid),
                context.eq(chunk.context),
                rotated_data.eq(rotated),
                from_before.eq(Cat(lane < chunk.context.offset for lane in range(count))),
                up_to_end.eq(Cat(lane <= chunk.context.end for lane in range(count))),
            ]
        return m
