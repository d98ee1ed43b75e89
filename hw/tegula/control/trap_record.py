"""The record of a program's first trap."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.engine.interface import SEQUENCE_BITS
from tegula.isa.instructions import ENGINE_BITS, GRANULE_BYTES, MEMORY_ADDRESS_BITS, PC_BITS
from tegula.isa.traps import CAUSE_BITS

__all__ = ["TrapRecord", "source_layout"]


def source_layout() -> data.StructLayout:
    """A trap to be recorded, if `valid`; `pc` counts granules, `sequence` instructions."""
    return data.StructLayout(
        {
            "valid": 1,
            "engine": ENGINE_BITS,
            "cause": CAUSE_BITS,
            "pc": PC_BITS + 1,
            "sequence": SEQUENCE_BITS,
            "address": MEMORY_ADDRESS_BITS,
        }
    )


class TrapRecord(wiring.Component):
    """Record of the first trap; of several in one cycle, that of the first source.

    Latency: the record, and `taken` with it, show a trap in the cycle after its own.

    Parameters
    ----------
    sources
        Number of sources.

    Members
    -------
    sources : In(source_layout()) x `sources`
        In falling priority.
    enable : In(1)
        Traps count.
    clear : In(1)
        Clear the record; a trap in the same cycle does not count.
    taken : Out(1)
        There is a record. It stays until `clear`.
    cause : Out(CAUSE_BITS), engine : Out(ENGINE_BITS), pc_bytes : Out(PC_BITS + 5)
    address : Out(MEMORY_ADDRESS_BITS), sequence : Out(SEQUENCE_BITS)
        The record; zero if there is none.
    """

    def __init__(self, sources: int):
        super().__init__(
            {
                "sources": In(source_layout()).array(sources),
                "enable": In(1),
                "clear": In(1),
                "taken": Out(1),
                "cause": Out(CAUSE_BITS),
                "engine": Out(ENGINE_BITS),
                "pc_bytes": Out(PC_BITS + 1 + (GRANULE_BYTES - 1).bit_length()),
                "address": Out(MEMORY_ADDRESS_BITS),
                "sequence": Out(SEQUENCE_BITS),
            }
        )

    def elaborate(self, platform):
        """Selection of the first source, and the record."""
        m = Module()
        valid = Cat(source.valid for source in self.sources)
        first = Signal(source_layout())
        # And-or instead of a chain of multiplexers as long as there are sources.
        takes = Signal(len(valid))
        m.d.comb += takes.eq(Cat(bit & ~valid[:i].any() for i, bit in enumerate(valid)))
        selected = [
            source.as_value() & bit.replicate(len(first.as_value()))
            for source, bit in zip(self.sources, takes, strict=True)
        ]
        m.d.comb += first.eq(reduce(or_, selected))
        with m.If(self.clear):
            m.d.sync += [
                signal.eq(0)
                for signal in (
                    *(self.taken, self.cause, self.engine),
                    *(self.pc_bytes, self.address, self.sequence),
                )
            ]
        with m.Elif(self.enable & ~self.taken & first.valid):
            m.d.sync += [
                self.taken.eq(1),
                self.cause.eq(first.cause),
                self.engine.eq(first.engine),
                self.pc_bytes.eq(first.pc * GRANULE_BYTES),
                self.address.eq(first.address),
                self.sequence.eq(first.sequence),
            ]
        return m
