"""Registers at the entry of an engine: of the next instruction, and of `stop`."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.engine.interface import EngineInterface, EngineSignature, instruction_layout
from tegula.isa.instructions import Engine

__all__ = ["InstructionRegister", "register_port"]


class InstructionRegister(wiring.Component):
    """Register between the queue of an engine, which is control's, and the engine.

    It holds one instruction, so that what the engine makes of it is no way back to the queue:
    `i.ready` and `o.valid` are registers. Latency: 1 cycle. Throughput: an instruction every two
    cycles.

    Parameters
    ----------
    engine
        The engine of the instructions.

    Members
    -------
    i : In(stream of `instruction_layout(engine)`)
        From the queue.
    o : Out(stream of `instruction_layout(engine)`)
        To the engine; stable until accepted, or dropped by `flush`.
    flush : In(1)
        Drop what is held.
    """

    LATENCY = 1

    def __init__(self, engine: Engine):
        self._layout = instruction_layout(engine)
        super().__init__(
            {
                "i": In(stream.Signature(self._layout)),
                "o": Out(stream.Signature(self._layout)),
                "flush": In(1),
            }
        )

    def elaborate(self, platform):
        """One register, loaded where it is empty."""
        m = Module()
        held, valid = Signal(self._layout, reset_less=True), Signal()
        m.d.comb += [
            self.i.ready.eq(~valid),
            self.o.valid.eq(valid),
            self.o.payload.eq(held),
        ]
        with m.If(~valid):
            m.d.sync += [valid.eq(self.i.valid), held.eq(self.i.payload)]
        with m.Elif(self.o.ready):
            m.d.sync += valid.eq(0)
        with m.If(self.flush):
            m.d.sync += valid.eq(0)
        return m


def register_port(
    m: Module, config: TileConfig, engine: Engine, outer: EngineInterface
) -> EngineInterface:
    """The port of an engine behind its registers of the instruction and of `stop`.

    What the engine says of its activity is left to the caller.

    Parameters
    ----------
    config, engine
        Give the signature of the port, which has one signal port.
    outer
        The port that control is connected to.
    """
    port = EngineSignature(config, engine).create(path=("port",))
    m.submodules.entry = entry = InstructionRegister(engine)
    connect(m, flipped(outer.instr), entry.i)
    connect(m, entry.o, port.instr)
    connect(m, port.signals[0], flipped(outer.signals[0]))
    m.d.sync += port.stop.eq(outer.stop)
    m.d.comb += [
        # Without delay, so that the first instruction after a stop is not dropped.
        entry.flush.eq(outer.stop),
        outer.trap.eq(port.trap),
        outer.trap_valid.eq(port.trap_valid),
        outer.idle.eq(port.idle & ~entry.o.valid),
    ]
    return port
