"""Scratchpad addresses of a run's words."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.dma.layouts import ItemKind, chunk_words_log2, sbuf_run_layout

__all__ = ["ChunkAddresses"]


class ChunkAddresses(wiring.Component):
    """Chunks of a run, each of as many words as the scratchpad moves in a cycle in its layout.

    Layout `free`: `sbuf_addr += bus_words`. Layout `partition`: `partition += row_words`, and from
    the last partition to partition 0 with `sbuf_addr += sbuf_stride0`. Latency 1 cycle, a chunk a
    cycle. A reset drops the run.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    runs : In(stream of `sbuf_run_layout`)
        Runs, and items that are not runs.
    chunk : Out(stream of `sbuf_run_layout`)
        The current chunk's address; `elements_m1` counts the elements of the run that are left,
        minus one. For an item that is not a run, the item itself.
    final : Out(1)
        It is the last chunk of its run.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "runs": In(stream.Signature(sbuf_run_layout(config))),
                "chunk": Out(stream.Signature(sbuf_run_layout(config))),
                "final": Out(1),
            }
        )

    def elaborate(self, platform):
        """Load of a run, then steps."""
        m = Module()
        config = self._config
        free_bits = chunk_words_log2(config, False)
        row_bits = chunk_words_log2(config, True)
        chunk = Signal(sbuf_run_layout(config), reset_less=True)

        def chunks_m1(run):
            return Mux(run.layout, run.elements_m1 >> row_bits, run.elements_m1 >> free_bits)

        at_end = Signal(reset_less=True)
        wraps = Const(1) if config.row_words == config.n else chunk.partition[row_bits:].all()
        at_end_next = chunks_m1(chunk) == 1
        run = self.runs.payload
        m.d.comb += [
            self.chunk.payload.eq(chunk),
            self.final.eq(at_end | (chunk.kind != ItemKind.RUN)),
            self.runs.ready.eq(~self.chunk.valid | (self.chunk.ready & self.final)),
        ]
        with m.If(self.runs.ready):
            m.d.sync += [
                self.chunk.valid.eq(self.runs.valid),
                chunk.eq(run),
                at_end.eq(chunks_m1(run) == 0),
            ]
        with m.Elif(self.chunk.ready):
            words = Mux(chunk.layout, config.row_words, config.bus_words)
            address_step = Mux(
                chunk.layout, Mux(wraps, chunk.sbuf_stride0, 0), Const(config.bus_words)
            )
            m.d.sync += [
                at_end.eq(at_end_next),
                chunk.elements_m1.eq(chunk.elements_m1 - words),
                chunk.sbuf_addr.eq(chunk.sbuf_addr + address_step),
            ]
            with m.If(chunk.layout):
                m.d.sync += chunk.partition.eq(chunk.partition + config.row_words)
        return m
