"""The scratchpad's port for DMA reads, shared by the two engines."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.memory.ports import sbuf_read_layout
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
    load, store : In(stream of `sbuf_read_layout`)
    load_valid, store_valid : Out(1)
        The scratchpad's answer of this cycle is theirs.
    read : Out(stream of `sbuf_read_layout`), read_valid : In(1)
        The scratchpad; answers `READ_CYCLES` after acceptance.
    """

    def __init__(self, config: TileConfig):
        request = stream.Signature(sbuf_read_layout(config))
        super().__init__(
            {
                "load": In(request),
                "load_valid": Out(1),
                "store": In(request),
                "store_valid": Out(1),
                "read": Out(request),
                "read_valid": In(1),
            }
        )

    def elaborate(self, platform):
        """Choose, hold the choice until it is accepted, remember whose answers come."""
        m = Module()
        store_offered, to_load = Signal(), Signal()
        whose = Signal(READ_CYCLES)
        m.d.sync += [
            store_offered.eq(self.read.valid & ~self.read.ready & ~to_load),
            whose.eq(whose << 1 | to_load),
        ]
        m.d.comb += [
            to_load.eq(self.load.valid & ~store_offered),
            self.read.valid.eq(self.load.valid | self.store.valid),
            self.read.payload.eq(Mux(to_load, self.load.payload, self.store.payload)),
            self.load.ready.eq(self.read.ready & to_load),
            self.store.ready.eq(self.read.ready & ~to_load),
            self.load_valid.eq(self.read_valid & whose[-1]),
            self.store_valid.eq(self.read_valid & ~whose[-1]),
        ]
        return m
