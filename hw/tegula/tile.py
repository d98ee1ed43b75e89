"""The whole tile: instantiates the blocks and connects them, and does nothing else."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.activation.engine import ActivationEngine
from tegula.bus.arbiter import AxiMaster
from tegula.bus.axi import Axi4LiteSignature, Axi4Signature
from tegula.config import TileConfig
from tegula.control.front_end import Control
from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.engine.interface import trace_signature
from tegula.memory.read_share import ReadShare
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.engine import TensorEngine
from tegula.tensor.psum import Psum
from tegula.vector.engine import VectorEngine

__all__ = ["CSR_ADDR_WIDTH", "Tile"]

CSR_ADDR_WIDTH = 8
"""Bits of a register's byte offset."""


class Tile(wiring.Component):
    """A training tile: programs and operands come from memory, results go there, `irq` says when.

    One clock domain, `sync`.

    Parameters
    ----------
    config
        Sizes and widths.

    Members
    -------
    m_axi : Out(Axi4Signature)
        Memory: program fetch, loads and stores.
    s_axil : In(Axi4LiteSignature)
        The host: registers of `tegula.isa.registers`.
    irq : Out(1)
        High while an interrupt is pending and enabled.
    trace_control : Out(StructLayout(CONTROL_FIELDS))
    trace_<engine> : Out(StructLayout(ENGINE_FIELDS))
        In a traced tile, its state in each cycle: `tegula.engine.trace`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "m_axi": Out(Axi4Signature(config)),
                "s_axil": In(Axi4LiteSignature(CSR_ADDR_WIDTH)),
                "irq": Out(1),
                **trace_signature(config),
            }
        )

    def elaborate(self, platform):
        """Instantiate, then connect block by block."""
        m = Module()
        config = self.config
        m.submodules.control = self._control = Control(config)
        m.submodules.tensor = self._tensor = TensorEngine(config)
        m.submodules.vector = self._vector = VectorEngine(config)
        m.submodules.activation = self._activation = ActivationEngine(config)
        m.submodules.load = self._load = LoadEngine(config)
        m.submodules.store = self._store = StoreEngine(config)
        m.submodules.read_share = self._read_share = ReadShare(config)
        m.submodules.scratchpad = self._scratchpad = Scratchpad(config)
        m.submodules.psum = self._psum = Psum(config)
        m.submodules.bus = self._bus = AxiMaster(config)
        self._connect_host(m)
        self._connect_engines(m)
        self._connect_bus(m)
        self._connect_scratchpad(m)
        self._connect_psum(m)
        return m

    def _connect_host(self, m):
        control = self._control
        connect(m, flipped(self.s_axil), control.s_axil)
        m.d.comb += [
            self.irq.eq(control.irq),
            *(
                getattr(self, name).eq(getattr(control, name))
                for name in trace_signature(self.config)
            ),
        ]

    def _connect_engines(self, m):
        control = self._control
        for name in ("tensor", "vector", "activation", "load", "store"):
            connect(m, getattr(control, name), getattr(self, f"_{name}").engine)
        connect(m, control.window, self._load.window, self._store.window)

    def _connect_bus(self, m):
        bus, control = self._bus, self._control
        connect(m, flipped(self.m_axi), bus.m_axi)
        connect(m, bus.beats, control.beats)
        connect(m, control.ar, bus.fetch_ar)
        connect(m, control.r, bus.fetch_r)
        connect(m, self._load.ar, bus.load_ar)
        connect(m, self._load.r, bus.load_r)
        connect(m, self._store.ar, bus.store_ar)
        connect(m, self._store.r, bus.store_r)
        connect(m, self._store.aw, bus.aw)
        connect(m, self._store.w, bus.w)
        connect(m, self._store.b, bus.b)

    def _connect_scratchpad(self, m):
        scratchpad, tensor, vector = self._scratchpad, self._tensor, self._vector
        activation, share = self._activation, self._read_share
        connect(m, tensor.moving, scratchpad.moving)
        connect(m, tensor.stationary, scratchpad.stationary)
        connect(m, vector.x, scratchpad.x)
        connect(m, vector.y, scratchpad.y)
        connect(m, vector.write, scratchpad.vector_write)
        connect(m, activation.row, scratchpad.activation)
        connect(m, activation.write, scratchpad.activation_write)
        connect(m, self._load.write, scratchpad.load)
        connect(m, self._load.read, share.load)
        connect(m, self._store.read, share.store)
        connect(m, share.read, scratchpad.store)

    def _connect_psum(self, m):
        psum = self._psum
        connect(m, self._tensor.psum, psum.array)
        connect(m, self._tensor.mark, psum.mark)
        connect(m, self._vector.psum, psum.read)
        m.d.comb += psum.clear.eq(self._control.start)
