"""Arbitration of the scratchpad's read port for DMA between the two engines."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.lib.delay import delay
from tegula.lib.stream import StreamBuffer
from tegula.memory.ports import BANK_READ_CYCLES, ChunkReadSignature, sbuf_read_layout

__all__ = ["ReadShare"]


class ReadShare(wiring.Component):
    """Arbiter of DMA reads: the load engine, which reads where it accumulates, before the store's.

    Requests enter through a buffer each: latency 1 cycle, a request a cycle. What is offered at
    `read` is neither withdrawn nor changed: its words may be read bank by bank.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load, store : In(ChunkReadSignature)
        The engines.
    read : Out(ChunkReadSignature)
        The banks, whose words follow `BANK_READ_CYCLES` after acceptance.
    """

    def __init__(self, config: TileConfig):
        self._request = sbuf_read_layout(config)
        port = ChunkReadSignature(config)
        super().__init__({"load": In(port), "store": In(port), "read": Out(port)})

    def elaborate(self, platform):
        """Choice of an engine, held until acceptance, and delayed to steer the words."""
        m = Module()
        m.submodules.load = load = StreamBuffer(self._request)
        m.submodules.store = store = StreamBuffer(self._request)
        connect(m, flipped(self.load.request), load.i)
        connect(m, flipped(self.store.request), store.i)
        read = self.read.request
        store_offered, to_load = Signal(), Signal()
        m.d.sync += store_offered.eq(read.valid & ~read.ready & ~to_load)
        of_load = delay(m, to_load, BANK_READ_CYCLES, "of_load")
        m.d.comb += [
            to_load.eq(load.o.valid & ~store_offered),
            read.valid.eq(load.o.valid | store.o.valid),
            read.payload.eq(Mux(to_load, load.o.payload, store.o.payload)),
            load.o.ready.eq(read.ready & to_load),
            store.o.ready.eq(read.ready & ~to_load),
            self.load.data.eq(self.read.data),
            self.load.valid.eq(self.read.valid & of_load),
            self.store.data.eq(self.read.data),
            self.store.valid.eq(self.read.valid & ~of_load),
        ]
        return m
