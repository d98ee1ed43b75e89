"""Aligned bytes of runs become writes into the scratchpad."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.dma.layouts import (
    ItemKind,
    chunk_words_log2,
    sbuf_run_layout,
    subchunks,
    write_layout,
)
from tegula.dma.places import PlaceWalker
from tegula.isa.instructions import Layout

__all__ = ["Scatter"]


class Scatter(wiring.Component):
    """Write the aligned bytes of each run to its place, widening bytes to words with `bytes1`.

    A chunk of aligned bytes takes 1 cycle to be registered, then gives `subchunks` writes, one a
    cycle, fewer at the end of a run. Words past the end are masked.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    runs : In(stream of `sbuf_run_layout`)
        Runs, and items that are not runs, in order.
    chunks : In(stream of ArrayLayout(8, bus_bytes))
        From `ReadAligner`.
    write : Out(stream of `write_layout`)
        Combinational from registers. Register it outside.
    drained : In(1)
        No write that was given is pending.
    synced : Out(1)
        An instruction without effects is complete, in order (for one cycle).
    trapped : Out(1)
        The item that is due is a trap, and all before it is written.
    starved : Out(1)
        A run is due and waits for bytes, and all before them is written.
    empty : Out(1)
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "runs": In(stream.Signature(sbuf_run_layout(config))),
                "chunks": In(stream.Signature(data.ArrayLayout(8, config.bus_bytes))),
                "write": Out(stream.Signature(write_layout(config))),
                "drained": In(1),
                "synced": Out(1),
                "trapped": Out(1),
                "starved": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """Pair the place that is due with its bytes."""
        m = Module()
        config = self._config
        m.submodules.walker = walker = PlaceWalker(config)
        wiring.connect(m, wiring.flipped(self.runs), walker.runs)
        due = walker.chunk.payload
        is_run = Signal()
        full = Signal()
        """`lanes` holds bytes of the run that is due."""
        lanes = Signal(data.ArrayLayout(8, config.bus_bytes), reset_less=True)

        step, used_up = Signal(), Signal()
        drained_item = walker.chunk.valid & self.drained & ~full
        m.d.comb += [
            is_run.eq(walker.chunk.valid & (due.kind == ItemKind.RUN)),
            self.write.valid.eq(full & is_run),
            step.eq(self.write.valid & self.write.ready),
            self.synced.eq(walker.chunk.valid & self.drained & (due.kind == ItemKind.SYNC)),
            self.trapped.eq(drained_item & (due.kind == ItemKind.TRAP)),
            self.starved.eq(drained_item & (due.kind == ItemKind.RUN)),
            walker.chunk.ready.eq(step | self.synced),
            self.chunks.ready.eq(~full | (step & used_up)),
            self.empty.eq(~walker.chunk.valid & ~full),
        ]
        self._take_chunk(m, due, walker.final, lanes, full, step, used_up)
        self._form_write(m, due, walker.final, lanes)
        return m

    def _take_chunk(self, m, due, final, lanes, full, step, used_up):
        """Load a chunk of bytes, or shift it down to its next subchunk."""
        config = self._config
        counts = subchunks(config)
        part = Signal(range(max(max(counts.values()), 2)))
        with m.If(self.chunks.ready):
            m.d.sync += [full.eq(self.chunks.valid), lanes.eq(self.chunks.payload), part.eq(0)]
        with m.Elif(step):
            m.d.sync += part.eq(part + 1)
        with m.Switch(Cat(due.bytes1, due.layout)):
            for (layout, bytes1), count in counts.items():
                with m.Case(layout << 1 | bytes1):
                    m.d.comb += used_up.eq(final | (part == count - 1))
                    if count > 1:
                        with m.If(step & ~used_up):
                            size = config.bus_bytes // count
                            m.d.sync += lanes.eq(lanes.as_value() >> 8 * size)

    def _form_write(self, m, due, final, lanes):
        """Widen, mask and place the words of the subchunk."""
        config = self._config
        write = self.write.payload.write
        m.d.comb += [
            self.write.payload.last.eq(due.last & final),
            self.write.payload.accumulate.eq(due.accumulate),
            write.layout.eq(due.layout),
            write.partition.eq(due.partition),
            write.addr.eq(due.sbuf_addr),
        ]
        for word in range(config.bus_words):
            pair = Cat(lanes[2 * word], lanes[2 * word + 1])
            m.d.comb += write.data[word].eq(Mux(due.bytes1, lanes[word], pair))
            for layout in Layout:
                partition = layout == Layout.PARTITION
                bits = chunk_words_log2(config, partition)
                if word < 1 << bits:
                    with m.If(due.layout == layout):
                        m.d.comb += write.mask[word].eq(~final | (word <= due.elements_m1[:bits]))
