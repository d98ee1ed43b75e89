"""Arbitration of the scratchpad's port for DMA reads between the two engines."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.memory.ports import ChunkReadSignature
from tegula.memory.reads import READ_CYCLES

__all__ = ["ReadShare"]


class ReadShare(wiring.Component):
    """Arbiter of DMA reads: the load engine, which reads where it accumulates, before the store's.

    An offered request is never withdrawn or changed: its words may be read bank by bank. No
    latency; a request a cycle.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load, store : In(ChunkReadSignature)
        The engines.
    read : Out(ChunkReadSignature)
        The scratchpad, whose words follow `READ_CYCLES` after acceptance.
    """

    def __init__(self, config: TileConfig):
        port = ChunkReadSignature(config)
        super().__init__({"load": In(port), "store": In(port), "read": Out(port)})

    def elaborate(self, platform):
        """Choice of an engine, held until acceptance, and delayed to steer the words."""
        m = Module()
        read, load, store = self.read.request, self.load.request, self.store.request
        store_offered, to_load = Signal(), Signal()
        reads_of_load = Signal(READ_CYCLES)
        m.d.sync += [
            store_offered.eq(read.valid & ~read.ready & ~to_load),
            reads_of_load.eq(reads_of_load << 1 | to_load),
        ]
        m.d.comb += [
            to_load.eq(load.valid & ~store_offered),
            read.valid.eq(load.valid | store.valid),
            read.payload.eq(Mux(to_load, load.payload, store.payload)),
            load.ready.eq(read.ready & to_load),
            store.ready.eq(read.ready & ~to_load),
            self.load.data.eq(self.read.data),
            self.load.valid.eq(self.read.valid & reads_of_load[-1]),
            self.store.data.eq(self.read.data),
            self.store.valid.eq(self.read.valid & ~reads_of_load[-1]),
        ]
        return m
