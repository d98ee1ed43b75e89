"""The scratchpad's port for DMA reads, shared by the two engines."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.memory.ports import ChunkReadSignature
from tegula.memory.reads import READ_CYCLES

__all__ = ["ReadShare"]


class ReadShare(wiring.Component):
    """Let the load engine read the scratchpad where it accumulates, before the store engine.

    A request that was offered is never withdrawn or changed: an answer may be read bank by bank. No
    latency; a request a cycle.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    load, store : In(ChunkReadSignature)
        The engines.
    read : Out(ChunkReadSignature)
        The scratchpad, which answers `READ_CYCLES` after it accepts.
    """

    def __init__(self, config: TileConfig):
        port = ChunkReadSignature(config)
        super().__init__({"load": In(port), "store": In(port), "read": Out(port)})

    def elaborate(self, platform):
        """Choose, hold the choice until it is accepted, remember whose answers come."""
        m = Module()
        read, load, store = self.read.request, self.load.request, self.store.request
        store_offered, to_load = Signal(), Signal()
        whose = Signal(READ_CYCLES)
        m.d.sync += [
            store_offered.eq(read.valid & ~read.ready & ~to_load),
            whose.eq(whose << 1 | to_load),
        ]
        m.d.comb += [
            to_load.eq(load.valid & ~store_offered),
            read.valid.eq(load.valid | store.valid),
            read.payload.eq(Mux(to_load, load.payload, store.payload)),
            load.ready.eq(read.ready & to_load),
            store.ready.eq(read.ready & ~to_load),
            self.load.data.eq(self.read.data),
            self.load.valid.eq(self.read.valid & whose[-1]),
            self.store.data.eq(self.read.data),
            self.store.valid.eq(self.read.valid & ~whose[-1]),
        ]
        return m
