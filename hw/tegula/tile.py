"""The whole tile: its blocks, connected, and nothing else."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.activation.engine import ActivationEngine
from tegula.bus.arbiter import AxiMaster
from tegula.bus.axi import Axi4LiteSignature, Axi4Signature
from tegula.config import TileConfig
from tegula.control.front_end import Control
from tegula.control.registers import ADDRESS_BITS
from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.engine.interface import trace_signature
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.engine import TensorEngine
from tegula.vector.engine import VectorEngine

__all__ = ["Tile", "connect_dma"]


def connect_dma(
    m: Module,
    load: LoadEngine,
    store: StoreEngine,
    scratchpad: Scratchpad,
    bus: AxiMaster,
) -> None:
    """Connections of the DMA engines to the bus and to the scratchpad."""
    for name, engine in (("load", load), ("store", store)):
        connect(m, engine.ar, getattr(bus, f"{name}_ar"))
        connect(m, engine.r, getattr(bus, f"{name}_r"))
        connect(m, engine.read, getattr(scratchpad, f"{name}_read"))
    for channel in ("aw", "w", "b"):
        connect(m, getattr(store, channel), getattr(bus, channel))
    m.d.comb += [bus.load_room.eq(load.room), store.aw_waits.eq(bus.aw_waits)]
    connect(m, load.write, scratchpad.load)


class Tile(wiring.Component):
    """Training tile: it runs programs on operands in memory, and raises `irq` at their end.

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
                "s_axil": In(Axi4LiteSignature(ADDRESS_BITS)),
                "irq": Out(1),
                **trace_signature(config),
            }
        )

    def elaborate(self, platform):
        """Instances, then connections block by block."""
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config)
        m.submodules.tensor = tensor = TensorEngine(config)
        m.submodules.vector = vector = VectorEngine(config)
        m.submodules.activation = activation = ActivationEngine(config)
        m.submodules.load = load = LoadEngine(config)
        m.submodules.store = store = StoreEngine(config)
        m.submodules.scratchpad = scratchpad = Scratchpad(config)
        m.submodules.bus = bus = AxiMaster(config)

        connect(m, flipped(self.s_axil), control.s_axil)
        connect(m, flipped(self.m_axi), bus.m_axi)
        connect(m, bus.beats, control.beats)
        connect(m, control.ar, bus.fetch_ar)
        connect(m, control.r, bus.fetch_r)
        m.d.comb += [self.irq.eq(control.irq), tensor.clear.eq(control.start)]
        for name in trace_signature(config):
            m.d.comb += getattr(self, name).eq(getattr(control, name))

        connect(m, control.tensor, tensor.engine)
        connect(m, tensor.moving, scratchpad.moving)
        connect(m, tensor.stationary, scratchpad.stationary)

        connect(m, control.vector, vector.engine)
        connect(m, vector.psum, tensor.psum_read)
        connect(m, vector.x, scratchpad.x)
        connect(m, vector.y, scratchpad.y)
        connect(m, vector.write, scratchpad.vector_write)

        connect(m, control.activation, activation.engine)
        connect(m, activation.row, scratchpad.activation)
        connect(m, activation.write, scratchpad.activation_write)

        connect(m, control.load, load.engine)
        connect(m, control.store, store.engine)
        connect(m, control.window, load.window, store.window)
        connect_dma(m, load, store, scratchpad, bus)
        return m
