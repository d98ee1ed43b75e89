"""Stationary side of the tensor engine: read of an operand and shift into the array."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS_BITS
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS, PC_BITS

__all__ = ["StationaryLoader"]


class StationaryLoader(wiring.Component):
    """Loader of N columns into the chain: `columns` rows of the scratchpad, then zeros.

    One column a cycle, except those that are held back. It may start as soon as the matmul that
    uses the operand before has begun.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    start : In(1), load : In(payload of tensor.load), pc : In(PC_BITS)
        Begin; only while `idle`.
    hold : In(1)
        The moving column that is read in this cycle lies in the bank of `addr`.
    stop : In(1)
        Drop the work.
    reads : Out(1)
        The row at `addr` is read.
    issued, issued_zero, first : Out(1)
        A column will arrive `TENSOR_READ_CYCLES` later, from the scratchpad or as zero; the first
        of its operand.
    rows : Out(PARTITION_BITS), format : Out(FORMAT_BITS)
        Of the operand in work.
    idle, complete : Out(1)
        No column is left to request; the last one is requested in this cycle.
    out_of_range : Out(1), addr : Out(CHECKED_ADDRESS_BITS), trap_pc : Out(PC_BITS)
        High while the next address does not exist; the loader stays there until `stop`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "load": In(payload_layout("tensor.load")),
                "pc": In(PC_BITS),
                "hold": In(1),
                "stop": In(1),
                "reads": Out(1),
                "issued": Out(1),
                "issued_zero": Out(1),
                "first": Out(1),
                "rows": Out(PARTITION_BITS),
                "format": Out(FORMAT_BITS),
                "idle": Out(1),
                "complete": Out(1),
                "out_of_range": Out(1),
                "addr": Out(CHECKED_ADDRESS_BITS),
                "trap_pc": Out(PC_BITS),
            }
        )

    def elaborate(self, platform):
        """Counts of columns and addresses."""
        m = Module()
        n = self.config.n
        left, to_read = Signal(range(n + 1)), Signal(range(n + 1))
        stride = Signal(self.load.stride.shape())
        active, from_memory = Signal(), Signal()
        m.d.comb += [
            self.idle.eq(~active),
            from_memory.eq(to_read != 0),
            self.out_of_range.eq(active & from_memory & (self.addr >= self.config.sbuf_depth)),
            self.reads.eq(active & from_memory & ~self.hold),
            self.issued.eq(self.reads & ~self.out_of_range),
            self.issued_zero.eq(active & ~from_memory),
            self.first.eq(left == n),
            self.complete.eq((self.issued | self.issued_zero) & (left == 1)),
        ]
        with m.If(self.issued | self.issued_zero):
            m.d.sync += [left.eq(left - 1), active.eq(left != 1)]
        with m.If(self.issued):
            m.d.sync += [to_read.eq(to_read - 1), self.addr.eq(self.addr + stride)]
        with m.If(self.start):
            m.d.sync += [
                left.eq(n),
                active.eq(1),
                to_read.eq(self.load.columns),
                self.addr.eq(self.load.addr),
                stride.eq(self.load.stride),
                self.rows.eq(self.load.rows),
                self.format.eq(self.load.format),
                self.trap_pc.eq(self.pc),
            ]
        with m.If(self.stop):
            m.d.sync += active.eq(0)
        return m
