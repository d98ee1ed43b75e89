"""Stationary side of the tensor engine: read of an operand and shift into the array."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS_BITS
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS, PC_BITS
from tegula.tensor.systolic_array import swap_cycles

__all__ = ["StationaryLoader"]


class StationaryLoader(wiring.Component):
    """Loader of N columns into the chain: `columns` rows of the scratchpad, then zeros.

    One column a cycle, less where the scratchpad's shared row port is taken. It starts once the
    last PE holds the previous operand, `swap_cycles` after the matmul that uses it began;
    so pairs of a load and a matmul follow each other every ``max(F, swap_cycles + N + 1)`` cycles.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    start : In(1), load : In(payload of tensor.load), pc : In(PC_BITS)
        Begin; only while `idle`.
    swap : In(1)
        The first column of a matmul that uses the operand in the chain is issued.
    stop : In(1)
        Drop the work.
    read : Out(stream of range(sbuf_depth))
        Rows of the scratchpad.
    issued, issued_zero : Out(1)
        A column will arrive `READ_CYCLES` later, from the scratchpad or as zero.
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
                "swap": In(1),
                "stop": In(1),
                "read": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "issued": Out(1),
                "issued_zero": Out(1),
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
        """Counts of columns and addresses, and the wait for the chain."""
        m = Module()
        n = self.config.n
        left, to_read = Signal(range(n + 1)), Signal(range(n + 1))
        stride = Signal(self.load.stride.shape())
        wait = Signal(range(swap_cycles(self.config) + 1))
        active, from_memory = Signal(), Signal()
        m.d.comb += [
            self.idle.eq(left == 0),
            active.eq((left != 0) & (wait == 0)),
            from_memory.eq(to_read != 0),
            self.out_of_range.eq(active & from_memory & (self.addr >= self.config.sbuf_depth)),
            self.read.valid.eq(active & from_memory & ~self.out_of_range),
            self.read.payload.eq(self.addr),
            self.issued.eq(self.read.valid & self.read.ready),
            self.issued_zero.eq(active & ~from_memory),
            self.complete.eq((self.issued | self.issued_zero) & (left == 1)),
        ]
        with m.If(self.swap):
            m.d.sync += wait.eq(swap_cycles(self.config))
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(self.issued | self.issued_zero):
            m.d.sync += left.eq(left - 1)
        with m.If(self.issued):
            m.d.sync += [to_read.eq(to_read - 1), self.addr.eq(self.addr + stride)]
        with m.If(self.start):
            m.d.sync += [
                left.eq(n),
                to_read.eq(self.load.columns),
                self.addr.eq(self.load.addr),
                stride.eq(self.load.stride),
                self.rows.eq(self.load.rows),
                self.format.eq(self.load.format),
                self.trap_pc.eq(self.pc),
            ]
        with m.If(self.stop):
            m.d.sync += left.eq(0)
        return m
