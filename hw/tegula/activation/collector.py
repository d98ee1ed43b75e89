"""Writeback of the activation engine: results of the lanes become rows of the scratchpad."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import beats, exit_layout
from tegula.activation.ram_queue import RamQueue
from tegula.config import TileConfig
from tegula.lib.fields import copy_fields
from tegula.memory.halves import kept_fields, placed_code
from tegula.memory.ports import RowWriteSignature

__all__ = ["ResultCollector", "columns_under_way"]

_PIPELINES = 2
"""Beats that may be under way, in those that fill the lanes: as many keep them busy, and as many
wait for the scratchpad."""

_UNWRITTEN = 7
"""Rows that the scratchpad may have accepted and not written: more than it holds."""


def columns_under_way(config: TileConfig) -> int:
    """Columns that may have entered the lanes and not been written: a power of two, at least 4."""
    enough = -(-_PIPELINES * LaneCycles.WORD // beats(config))
    return max(4, 1 << (enough - 1).bit_length())


class ResultCollector(wiring.Component):
    """Beats side by side, a column of them written as a row, or as two of fp32.

    Beats that come while the column before is written wait in a queue, whose room is reserved when
    their column enters the lanes. Latency: 1 cycle from a column's last beat to its row.
    Throughput: a beat a cycle and a row a cycle, whichever takes longer.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    enters : In(1), exit : In(exit_layout)
        A column enters the lanes, or its sums will come; its destination. Only if there is `room`,
        or if it is `empty`.
    room : Out(1)
        A column may enter. A register.
    results : In(ArrayLayout(32, activation_lanes)), valid : In(1)
        A beat leaves the lanes.
    write : Out(RowWriteSignature)
        Rows.
    stop : In(1)
        Drop everything but what the scratchpad has accepted.
    empty : Out(1)
        All columns that have entered are written. A register.
    """

    LATENCY = 1
    """Cycles from a column's last beat to the request of its first row."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "enters": In(1),
                "exit": In(exit_layout(config)),
                "room": Out(1, init=1),
                "results": In(data.ArrayLayout(32, config.activation_lanes)),
                "valid": In(1),
                "write": Out(RowWriteSignature(config)),
                "stop": In(1),
                "empty": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        """Destinations, beats, column, rows."""
        m = Module()
        request = self.write.request
        second, accepted, ends = Signal(), Signal(), Signal()
        destination = self._hold_destinations(m, ends)
        m.d.comb += [
            accepted.eq(request.valid & request.ready),
            ends.eq(accepted & (second | ~destination.wide)),
            request.payload.addr.eq(destination.addr | second),
            request.payload.last.eq(destination.last & (second | ~destination.wide)),
            *copy_fields(request.payload, destination, kept_fields(self._config)),
            *(request.payload.enable[p].eq(p < destination.rows) for p in range(self._config.n)),
        ]
        with m.If(accepted):
            m.d.sync += second.eq(~second & destination.wide)
        with m.If(self.stop):
            m.d.sync += second.eq(0)
        self._collect(m, second, accepted, destination)
        return m

    def _hold_destinations(self, m: Module, ends: Value) -> data.View:
        """Destination of the oldest column, until it `ends`; room, and whether all is written."""
        limit = columns_under_way(self._config)
        queue = RamQueue(exit_layout(self._config), limit)
        m.submodules.destinations = ResetInserter(self.stop)(queue)
        columns, unwritten = Signal(range(limit + 1)), Signal(range(_UNWRITTEN + 1))
        request, accepted, all_written = self.write.request, Signal(), Signal()
        m.d.comb += [
            queue.item.eq(self.exit),
            queue.valid.eq(self.enters),
            queue.take.eq(ends),
            accepted.eq(request.valid & request.ready),
            all_written.eq((unwritten == 0) | ((unwritten == 1) & self.write.written)),
        ]
        m.d.sync += [
            columns.eq(columns + self.enters - ends),
            # The count knows neither of the column of this cycle nor of that of the next.
            self.room.eq(columns <= limit - 2),
            unwritten.eq(unwritten + accepted - self.write.written),
            # The last column ends with a row that is not written yet.
            self.empty.eq((((columns == 0) & ~self.enters) | self.stop) & ~accepted & all_written),
        ]
        with m.If(self.stop):
            m.d.sync += columns.eq(0)
        return queue.oldest

    def _hold_beats(self, m: Module, takes: Value) -> tuple[Value, data.View]:
        """Whether there is a beat, and the oldest: out of the queue or, if that is empty, new."""
        beat = self.results.shape()
        limit = columns_under_way(self._config) * beats(self._config)
        queue = RamQueue(beat, limit)
        m.submodules.queue = ResetInserter(self.stop)(queue)
        m.d.comb += [
            queue.item.eq(self.results),
            queue.valid.eq(self.valid & ~(queue.empty & takes)),
            queue.take.eq(takes),
        ]
        oldest = Mux(queue.oldest_valid, queue.oldest, self.results)
        return queue.oldest_valid | (queue.empty & self.valid), data.View(beat, oldest)

    def _collect(self, m: Module, second: Value, accepted: Value, destination: data.View) -> None:
        """Beats in their places of the column, and its words, low halves first.

        The first beat of the next column takes its place while the high halves are still to be
        written: those that were there are put aside.
        """
        config, lanes = self._config, self._config.activation_lanes
        words = Signal(data.ArrayLayout(32, config.n), reset_less=True)
        aside = Signal(data.ArrayLayout(16, lanes), reset_less=True)
        index, whole = Signal(range(beats(config))), Signal()
        first_written, takes = Signal(), Signal()
        comes, beat = self._hold_beats(m, takes)
        m.d.comb += [
            first_written.eq(accepted & ~second),
            takes.eq(comes & (~whole | first_written) & (~second | accepted | (index == 0))),
            self.write.request.valid.eq((whole | second) & ~self.stop),
        ]
        with m.If(first_written):
            m.d.sync += whole.eq(0)
            m.d.sync += [aside[lane].eq(words[lane][16:]) for lane in range(lanes)]
        with m.If(takes):
            m.d.sync += index.eq(index + 1)
            with m.If(index == beats(config) - 1):
                m.d.sync += whole.eq(1)
        for p in range(config.n):
            at, lane = divmod(p, lanes)
            with m.If(takes & (index == at)):
                m.d.sync += words[p].eq(beat[lane])
            high, low = aside[p] if at == 0 else words[p][16:], words[p][:16]
            if config.packed_fp8:
                low = placed_code(low, destination.keep)
            m.d.comb += self.write.request.payload.words[p].eq(Mux(second, high, low))
        with m.If(self.stop):
            m.d.sync += [index.eq(0), whole.eq(0)]
