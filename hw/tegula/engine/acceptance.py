"""Register of the next instruction at the entry of an engine."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.engine.interface import instruction_layout
from tegula.isa.instructions import Engine

__all__ = ["InstructionRegister"]


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
