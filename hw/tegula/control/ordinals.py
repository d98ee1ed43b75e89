"""Numbers of instructions, so that the record of a trap names one of many executions."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.engine.interface import SEQUENCE_BITS
from tegula.isa.instructions import ENGINE_BITS, ENGINES, Engine
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.lib.storage import add_lut_memory

__all__ = ["ORDINAL_BITS", "Ordinals"]

ORDINAL_BITS = 32
"""Bits of the number of an instruction among those of its engine."""

_DISPATCHERS = len(ENGINES) + 1


def _any_with_bit(strobes, bit: int):
    """1 if a strobe is high whose number has this bit."""
    return Cat(strobe for number, strobe in enumerate(strobes) if number >> bit & 1).any()


class Ordinals(wiring.Component):
    """Counts of dispatched instructions, and the number of one that trapped.

    An engine carries the low bits of an instruction's number, `sequence`; the others follow from
    the count, since fewer than 2**SEQUENCE_BITS instructions are dispatched and not complete. An
    instruction of control that traps is not counted, so its number is the count.

    Latency: the number of a trap is there two cycles behind its record.

    Members
    -------
    clear : In(1)
        Begin anew. Nothing is dispatched in this cycle and the next.
    dispatched : In(6)
        An instruction of this `Engine` is dispatched; one at most.
    taken : In(1), cause : In(CAUSE_BITS), engine : In(ENGINE_BITS), sequence : In(SEQUENCE_BITS)
        The record of a trap; while there is one, nothing is counted.
    ordinal : Out(ORDINAL_BITS)
        Number of the instruction that trapped; 0 where none did.
    """

    def __init__(self):
        super().__init__(
            {
                "clear": In(1),
                "dispatched": In(_DISPATCHERS),
                "taken": In(1),
                "cause": In(CAUSE_BITS),
                "engine": In(ENGINE_BITS),
                "sequence": In(SEQUENCE_BITS),
                "ordinal": Out(ORDINAL_BITS),
            }
        )

    def elaborate(self, platform):
        """One count read a cycle: that of a dispatch, or of the engine that trapped."""
        m = Module()
        strobes, seen = Signal(_DISPATCHERS), Signal(_DISPATCHERS)
        index, counts, kept = Signal(range(_DISPATCHERS)), Signal(), Signal()
        count, total = Signal(ORDINAL_BITS), Signal(ORDINAL_BITS)
        m.d.sync += strobes.eq(self.dispatched)
        m.d.comb += [
            counts.eq(strobes.any() & ~self.taken),
            index.eq(self.engine),
        ]
        with m.If(~self.taken):
            m.d.comb += index.eq(Cat(_any_with_bit(strobes, bit) for bit in range(len(index))))
        held = add_lut_memory(
            m, "counts", ORDINAL_BITS, _DISPATCHERS, write=(counts, index, total), read=index
        )
        m.d.comb += [
            kept.eq(seen.bit_select(index, 1)),
            count.eq(held & kept.replicate(ORDINAL_BITS)),
            total.eq(count + 1),
        ]
        with m.If(self.clear):
            m.d.sync += seen.eq(0)
        with m.Elif(counts):
            m.d.sync += seen.eq(seen | strobes)

        # Of an engine: the largest number below its count that ends in `sequence`.
        below, has_number, subtracted = Signal(SEQUENCE_BITS), Signal(), Signal(SEQUENCE_BITS)
        number = Signal(ORDINAL_BITS, reset_less=True)
        is_control = self.engine == Engine.CONTROL
        m.d.comb += [
            below.eq(count - self.sequence),
            subtracted.eq(Mux(is_control, 0, below)),
        ]
        m.d.sync += number.eq(count - subtracted)
        none = (self.cause == Trap.ABORTED) | (self.cause == Trap.SEMAPHORE_OVERFLOW)
        m.d.comb += [
            has_number.eq(self.taken & ~none),
            self.ordinal.eq(number & has_number.replicate(ORDINAL_BITS)),
        ]
        return m
