"""The record of a program's first trap."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.isa.instructions import GRANULE_BYTES
from tegula.signatures import PC_BITS

__all__ = ["TrapRecord", "source_layout"]


def source_layout() -> data.StructLayout:
    """What may trap: `valid`, and what the record shall say. `pc` counts granules."""
    return data.StructLayout(
        {"valid": 1, "engine": 4, "cause": 4, "pc": PC_BITS + 1, "address": 48}
    )


class TrapRecord(wiring.Component):
    """Keep the first trap; of several in one cycle, that of the first source.

    Parameters
    ----------
    sources
        Number of sources.

    Members
    -------
    sources : In(source_layout()) x `sources`
        In falling priority.
    enable : In(1)
        Traps count; low once one is taken.
    clear : In(1)
        Forget the record.
    taken : Out(1)
        A trap is taken in this cycle.
    cause, engine : Out(4), pc_bytes : Out, address : Out(48)
        The record.
    """

    def __init__(self, sources: int):
        super().__init__(
            {
                "sources": In(source_layout()).array(sources),
                "enable": In(1),
                "clear": In(1),
                "taken": Out(1),
                "cause": Out(4),
                "engine": Out(4),
                "pc_bytes": Out(PC_BITS + 1 + (GRANULE_BYTES - 1).bit_length()),
                "address": Out(48),
            }
        )

    def elaborate(self, platform):
        """Select the first source, then record it."""
        m = Module()
        first = Signal(source_layout())
        for source in reversed(list(self.sources)):
            with m.If(source.valid):
                m.d.comb += first.eq(source)
        m.d.comb += self.taken.eq(self.enable & first.valid)
        with m.If(self.taken | self.clear):
            m.d.sync += [
                self.cause.eq(Mux(self.clear, 0, first.cause)),
                self.engine.eq(Mux(self.clear, 0, first.engine)),
                self.pc_bytes.eq(Mux(self.clear, 0, first.pc * GRANULE_BYTES)),
                self.address.eq(Mux(self.clear, 0, first.address)),
            ]
        return m
