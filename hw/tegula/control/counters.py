"""Performance counters, from the doorbell to the interrupt."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.control.registers import WRITE_CYCLES
from tegula.isa.instructions import ENGINES
from tegula.lib.delay import registered

__all__ = ["CLEAR_CYCLES", "EVENTS", "Counters"]

CLEAR_CYCLES = WRITE_CYCLES + 1
"""Cycles from the handshake that completes the write of the start bit to `clear`."""

EVENTS = ("busy", "wait", "stall")
"""Activities of each engine that are counted, a register each."""


class Counters(wiring.Component):
    """Counters of cycles, beats and the engines' activity, while `run`.

    `cycles` counts from the handshake that completes the write of the start bit to the cycle in
    which the interrupt is pending, provided that `clear` is high in the cycle in which the bit is
    output and `run` from the next to the last before the interrupt. The others count what they are
    given a cycle later. All counters wrap, and keep their values until the next `clear`.

    Members
    -------
    clear, run : In(1)
        Begin anew, a cycle later; count. `run` is low while `clear` is high.
    busy, wait, stall : In(5)
        In the order of `ENGINES`: what each engine does in this cycle.
    read_beat, write_beat : In(1)
        A beat is transferred in this cycle.
    cycles : Out(64), read_beats, write_beats : Out(32)
    <engine>_busy, <engine>_wait, <engine>_stall : Out(32)
    """

    def __init__(self):
        super().__init__(
            {
                "clear": In(1),
                "run": In(1),
                **{event: In(len(ENGINES)) for event in EVENTS},
                "read_beat": In(1),
                "write_beat": In(1),
                "cycles": Out(64),
                "read_beats": Out(32),
                "write_beats": Out(32),
                **{
                    f"{engine.name.lower()}_{event}": Out(32)
                    for engine in ENGINES
                    for event in EVENTS
                },
            }
        )

    def elaborate(self, platform):
        """A strobe, and an adder, for each counter."""
        m = Module()
        run, clear = Signal(), Signal()
        m.d.sync += [run.eq(self.run), clear.eq(self.clear)]
        counted = [(self.read_beats, self.read_beat), (self.write_beats, self.write_beat)]
        for i, engine in enumerate(ENGINES):
            for event in EVENTS:
                counter = getattr(self, f"{engine.name.lower()}_{event}")
                counted.append((counter, getattr(self, event)[i]))
        counted = [
            (counter, registered(m, strobe, name=f"strobe{i}"))
            for i, (counter, strobe) in enumerate(counted)
        ]

        # A register, for it reaches all of them; `run` follows, so nothing is counted meanwhile.
        with m.If(clear):
            # The cycles from the handshake to this one have passed.
            m.d.sync += self.cycles.eq(CLEAR_CYCLES + 1 + self.run)
            m.d.sync += [counter.eq(0) for counter, _ in counted]
        with m.Else():
            m.d.sync += self.cycles.eq(self.cycles + self.run)
            m.d.sync += [counter.eq(counter + (strobe & run)) for counter, strobe in counted]
        return m
