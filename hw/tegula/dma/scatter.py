"""Writes of a run's aligned bytes into the scratchpad."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.dma.addresses import ChunkAddresses
from tegula.dma.layouts import (
    ItemKind,
    chunk_words_log2,
    sbuf_run_layout,
    subchunks,
    write_layout,
)
from tegula.isa.instructions import Layout
from tegula.isa.operations import Half
from tegula.lib.mux import select
from tegula.memory.halves import kept_bytes

__all__ = ["Scatter"]


class Scatter(wiring.Component):
    """Writes of each run's aligned bytes to its addresses; with `bytes1` bytes become words.

    A chunk of aligned bytes makes `subchunks` writes, one a cycle, fewer at the end of a run. Words
    past the end are masked. No latency. A reset drops all.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    runs : In(stream of `sbuf_run_layout`), chunks : In(stream of ArrayLayout(8, bus_bytes))
        Runs and items that are not runs, in order; the runs' bytes, from `ReadAligner`.
    write : Out(stream of `write_layout`)
        Combinational.
    drained : In(1)
        Every write that was output is in the scratchpad.
    synced : Out(1)
        An instruction without effects is complete, in order (for one cycle).
    trapped : Out(1)
        The oldest item is a trap, and all before it is written.
    starved : Out(1)
        The oldest item is a run that waits for bytes, and all before them is written.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "runs": In(stream.Signature(sbuf_run_layout(config))),
                "chunks": In(stream.Signature(data.ArrayLayout(8, config.bus_bytes))),
                "write": Out(stream.Signature(write_layout(config))),
                "drained": In(1),
                **dict.fromkeys(("synced", "trapped", "starved"), Out(1)),
            }
        )

    def elaborate(self, platform):
        """Addresses of the current chunk, joined with its bytes."""
        m = Module()
        config = self._config
        m.submodules.addresses = addresses = ChunkAddresses(config)
        wiring.connect(m, wiring.flipped(self.runs), addresses.runs)
        current = addresses.chunk.payload
        chunks = self.chunks
        is_run, step, used_up = Signal(), Signal(), Signal()
        drained_item = addresses.chunk.valid & self.drained
        m.d.comb += [
            is_run.eq(addresses.chunk.valid & (current.kind == ItemKind.RUN)),
            self.write.valid.eq(chunks.valid & is_run),
            step.eq(self.write.valid & self.write.ready),
            self.synced.eq(drained_item & (current.kind == ItemKind.SYNC)),
            self.trapped.eq(drained_item & (current.kind == ItemKind.TRAP)),
            self.starved.eq(drained_item & (current.kind == ItemKind.RUN) & ~chunks.valid),
            addresses.chunk.ready.eq(step | self.synced),
            chunks.ready.eq(step & used_up),
        ]
        part = self._count_parts(m, current, addresses.final, step, used_up)
        self._form_write(m, current, addresses.final, chunks.payload, part)
        return m

    def _count_parts(self, m, current, final, step, used_up):
        """Number of the subchunk of the current chunk that is written."""
        counts = subchunks(self._config)
        part = Signal(range(max(max(counts.values()), 2)))
        with m.If(step):
            m.d.sync += part.eq(Mux(used_up, 0, part + 1))
        with m.Switch(Cat(current.bytes1, current.layout)):
            for (layout, bytes1), count in counts.items():
                with m.Case(layout << 1 | bytes1):
                    m.d.comb += used_up.eq(final | (part == count - 1))
        return part

    def _form_write(self, m, current, final, lanes, part):
        """The subchunk's words, widened and masked, and their address."""
        config = self._config
        write = self.write.payload.write
        m.d.comb += [
            self.write.payload.accumulate.eq(current.accumulate),
            write.last.eq(current.last & final),
            write.layout.eq(current.layout),
            write.partition.eq(current.partition),
            write.addr.eq(current.sbuf_addr),
        ]
        self._high = Signal()
        if config.packed_fp8:
            m.d.comb += [
                self._high.eq(current.half == Half.HIGH),
                write.keep.eq(kept_bytes(current.half)),
            ]
        for word in range(config.bus_words):
            m.d.comb += write.data[word].eq(
                Cat(self._byte(current, lanes, part, word, half) for half in (0, 1))
            )
            for layout in Layout:
                partition = layout == Layout.PARTITION
                bits = chunk_words_log2(config, partition)
                if word < 1 << bits:
                    with m.If(current.layout == layout):
                        m.d.comb += write.mask[word].eq(
                            ~final | (word <= current.elements_m1[:bits])
                        )

    def _byte(self, current, lanes, part, word, half):
        """The low (0) or high (1) byte of a word of the subchunk."""
        config = self._config

        def of(layout, bytes1):
            if bytes1 and half and not config.packed_fp8:
                return Const(0, 8)
            count, width = subchunks(config)[layout, bytes1], 1 if bytes1 else 2
            first = word * width + (half if width == 2 else 0)
            size = config.bus_bytes // count
            choices = [lanes[subchunk * size + first] for subchunk in range(count)]
            byte = select(choices, part[: exact_log2(count)])
            if bytes1 and half:
                return byte & self._high.replicate(8)
            return byte

        def chosen(layout):
            return Mux(current.bytes1, of(layout, 1), of(layout, 0))

        if config.row_words == config.bus_words or word >= config.row_words:
            return chosen(Layout.FREE)
        return Mux(current.layout, chosen(Layout.PARTITION), chosen(Layout.FREE))
