"""Performance counters, from the doorbell to the interrupt."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.control.registers import WRITE_CYCLES
from tegula.isa.instructions import ENGINES

__all__ = ["EVENTS", "Counters"]

EVENTS = ("busy", "wait", "stall")
"""Activities of each engine that are counted, a register each."""


class Counters(wiring.Component):
    """Counters of cycles, beats and the engines' activity, while `run`.

    `cycles` counts from the handshake that completes the write of the start bit to the cycle in
    which the interrupt is pending, provided that `clear` is high in the cycle in which that write
    takes effect and `run` from the next to the last before the interrupt. All counters wrap, and
    keep their values until the next `clear`.

    Members
    -------
    clear, run : In(1)
        Begin anew; count.
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
        counted = [(self.read_beats, self.read_beat), (self.write_beats, self.write_beat)]
        for i, engine in enumerate(ENGINES):
            for event in EVENTS:
                counter = getattr(self, f"{engine.name.lower()}_{event}")
                counted.append((counter, getattr(self, event)[i]))

        with m.If(self.clear):
            # The cycle of the handshake, and those until the write takes effect, have passed.
            m.d.sync += self.cycles.eq(1 + WRITE_CYCLES)
            m.d.sync += [counter.eq(0) for counter, _ in counted]
        with m.Elif(self.run):
            m.d.sync += self.cycles.eq(self.cycles + 1)
            m.d.sync += [counter.eq(counter + strobe) for counter, strobe in counted]
        return m
