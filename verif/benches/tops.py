"""Toplevels of the block benches: a block with what it needs around it, behind flat ports."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.activation.engine import ActivationEngine
from tegula.bus.arbiter import AxiMaster
from tegula.bus.axi import Axi4LiteSignature, Axi4Signature, WindowSignature
from tegula.config import TileConfig
from tegula.control.front_end import Control
from tegula.control.registers import ADDRESS_BITS
from tegula.control.semaphores import SIGNAL_PORTS
from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.engine.interface import EngineSignature
from tegula.isa.instructions import ENGINES, Engine
from tegula.memory.scratchpad import Scratchpad
from tegula.tensor.operand import OperandDecode, select_format
from tegula.tensor.systolic_array import SystolicArray
from tegula.tile import connect_dma
from tegula.vector.engine import VectorEngine

__all__ = ["ActivationTop", "ArrayTop", "ControlTop", "DmaTop", "VectorTop"]


def _ports(block: wiring.Component, names: tuple[str, ...]) -> dict[str, wiring.Member]:
    """Members of a block that its top has as well."""
    return {name: block.signature.members[name] for name in names}


def _pass_through(
    m: Module, top: wiring.Component, block: wiring.Component, names: tuple[str, ...]
) -> None:
    """Connect members of a block to those of the same names of its top."""
    for name in names:
        member, inner, outer = (
            block.signature.members[name],
            getattr(block, name),
            getattr(top, name),
        )
        if not member.is_port:
            connect(m, inner, flipped(outer))
        elif member.flow == In:
            m.d.comb += inner.eq(outer)
        else:
            m.d.comb += outer.eq(inner)


class _Top(wiring.Component):
    """A toplevel with a configuration, and members by name."""

    def __init__(self, config: TileConfig, **members):
        self._config = config
        super().__init__(members)


class ArrayTop(_Top):
    """The systolic array behind its operand decoders: codes in, PSUM words out.

    Decoding is combinational, so all latencies are the array's own (`SystolicArray`).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving, stationary : In(n x 16)
        Codes of a moving column, and of a column of the stationary operand.
    moving_rows, stationary_rows : In(6), moving_format, stationary_format : In(3)
        Rows that take part (the others are zero), and the codes' format.
    swap, shift, first, words_in, accumulate, words_out
        Of `SystolicArray`.
    """

    _PASSED = ("swap", "shift", "first", "words_in", "accumulate", "words_out")

    def __init__(self, config: TileConfig):
        self._array = SystolicArray(config)
        operands = {}
        for side in ("moving", "stationary"):
            codes = data.ArrayLayout(16, config.n)
            operands |= {side: In(codes), f"{side}_rows": In(6), f"{side}_format": In(3)}
        super().__init__(config, **operands, **_ports(self._array, self._PASSED))

    def elaborate(self, platform):
        """Decode both operands, connect the rest."""
        m = Module()
        m.submodules.array = array = self._array
        _pass_through(m, self, array, self._PASSED)
        for side in ("moving", "stationary"):
            codes, operands = getattr(self, side), getattr(array, side)
            for lane in range(self._config.n):
                m.submodules[f"{side}_decode_{lane}"] = decode = OperandDecode(self._config)
                m.d.comb += [
                    decode.code.eq(codes[lane]),
                    decode.selection.eq(
                        select_format(self._config, getattr(self, f"{side}_format"))
                    ),
                    decode.enable.eq(lane < getattr(self, f"{side}_rows")),
                    operands[lane].eq(decode.operand),
                ]
        return m


class DmaTop(_Top):
    """Load engine, store engine, scratchpad and AXI4 master: what moves data, without a front end.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    load, store : Out(EngineSignature)
        The engines' queues, signals, traps and stops.
    window : In(WindowSignature)
        Of both engines.
    m_axi : Out(Axi4Signature)
        Memory.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            config,
            load=Out(EngineSignature(config, Engine.LOAD)),
            store=Out(EngineSignature(config, Engine.STORE)),
            window=In(WindowSignature()),
            m_axi=Out(Axi4Signature(config)),
        )

    def elaborate(self, platform):
        """Instantiate and connect."""
        m = Module()
        m.submodules.load_engine = load = LoadEngine(self._config)
        m.submodules.store_engine = store = StoreEngine(self._config)
        m.submodules.scratchpad = scratchpad = Scratchpad(self._config)
        m.submodules.bus = bus = AxiMaster(self._config)
        for port, engine in ((self.load, load), (self.store, store)):
            connect(m, flipped(port), engine.engine)
        connect(m, flipped(self.window), load.window, store.window)
        connect(m, flipped(self.m_axi), bus.m_axi)
        connect_dma(m, load, store, scratchpad, bus)
        return m


class ControlTop(_Top):
    """The front end with its port to memory, and the ports where the engines would be.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    s_axil, irq
        The host.
    tensor, vector, load, store : In(EngineSignature)
        To engines, which the bench plays.
    m_axi : Out(Axi4Signature)
        Memory; only fetches use it.
    """

    def __init__(self, config: TileConfig):
        queues = {
            engine.name.lower(): In(EngineSignature(config, engine, SIGNAL_PORTS[engine]))
            for engine in ENGINES
        }
        host = {"s_axil": In(Axi4LiteSignature(ADDRESS_BITS)), "irq": Out(1)}
        super().__init__(config, **host, **queues, m_axi=Out(Axi4Signature(config)))

    def elaborate(self, platform):
        """Instantiate and connect."""
        m = Module()
        m.submodules.control = control = Control(self._config)
        m.submodules.bus = bus = AxiMaster(self._config)
        connect(m, flipped(self.s_axil), control.s_axil)
        connect(m, control.ar, bus.fetch_ar)
        connect(m, control.r, bus.fetch_r)
        connect(m, flipped(self.m_axi), bus.m_axi)
        connect(m, bus.beats, control.beats)
        for engine in ENGINES:
            name = engine.name.lower()
            connect(m, flipped(getattr(self, name)), getattr(control, name))
        # No load queue is there that might be full.
        m.d.comb += [self.irq.eq(control.irq), bus.load_room.eq(1)]
        return m


class EngineTop(_Top):
    """An engine of lanes behind its own ports; its memories are the bench's.

    Parameters
    ----------
    config
        The tile.
    engine
        VECTOR or ACTIVATION.
    block
        The engine.
    passed
        Members that the top has as the block has them.
    members
        Further members.

    Members
    -------
    vector or activation : Out(EngineSignature)
        The engine's queue, signals, traps and stop.
    """

    def __init__(self, config, engine, block, passed, **members):
        self._engine, self._name, self._passed = block, engine.name.lower(), passed
        queue = {self._name: Out(EngineSignature(config, engine))}
        super().__init__(config, **queue, **members, **_ports(block, passed))

    def elaborate(self, platform):
        """Instantiate and connect."""
        m = Module()
        m.submodules.engine = self._engine
        connect(m, flipped(getattr(self, self._name)), self._engine.engine)
        _pass_through(m, self, self._engine, self._passed)
        return m


class VectorTop(EngineTop):
    """The vector engine with the map of written PSUM words.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    vector, x, y, write
        Of `EngineTop` and `VectorEngine`.
    psum_limit : In
        PSUM words below this address count as written.
    psum
        Of `VectorEngine`; `psum.written` of the bench does not count.
    """

    def __init__(self, config: TileConfig):
        block = VectorEngine(config)
        limit = In(range(config.psum_depth + 1))
        ports = _ports(block, ("psum",))
        super().__init__(
            config, Engine.VECTOR, block, ("x", "y", "write"), psum_limit=limit, **ports
        )

    def elaborate(self, platform):
        """Instantiate and connect."""
        m = super().elaborate(platform)
        psum = self._engine.psum
        m.d.comb += [
            self.psum.addr.eq(psum.addr),
            self.psum.en.eq(psum.en),
            psum.data.eq(self.psum.data),
            self.psum.query_addr.eq(psum.query_addr),
        ]
        m.d.sync += psum.written.eq(psum.query_addr < self.psum_limit)
        return m


class ActivationTop(EngineTop):
    """The activation engine.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    activation, row, write
        Of `EngineTop` and `ActivationEngine`.
    """

    def __init__(self, config: TileConfig):
        super().__init__(config, Engine.ACTIVATION, ActivationEngine(config), ("row", "write"))
