"""Stationary side of the tensor engine: read of an operand and shift into the array."""

from amaranth.hdl import Module, Mux, Signal
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
    uses the operand before has begun. While it is idle its registers follow `load`: what `start`
    sets, which is known late, is one bit.

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
    rows : Out(PARTITION_BITS), format : Out(FORMAT_BITS), packed : Out(1)
        Of the operand in work.
    idle, complete : Out(1)
        No column is left to request; the last one is requested in this cycle.
    out_of_range : Out(1), addr : Out(CHECKED_ADDRESS_BITS), trap_pc : Out(PC_BITS)
        High while the next address does not exist; the loader stays there until `stop`.
        `addr` and `trap_pc` are undefined while `idle`.
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
                "packed": Out(1),
                "idle": Out(1),
                "complete": Out(1),
                "out_of_range": Out(1),
                "addr": Out(CHECKED_ADDRESS_BITS),
                "trap_pc": Out(PC_BITS),
            }
        )

    def elaborate(self, platform):
        """Counts of columns and addresses, and what follows from the next of them."""
        m = Module()
        n, depth = self.config.n, self.config.sbuf_depth
        left, to_read = Signal(range(n + 1)), Signal(range(n + 1))
        stride = Signal(self.load.stride.shape())
        active, from_memory, outside, last = Signal(), Signal(), Signal(), Signal()
        advances, next_addr = Signal(), Signal.like(self.addr)
        m.d.comb += [
            self.idle.eq(~active),
            self.out_of_range.eq(active & from_memory & outside),
            self.reads.eq(active & from_memory & ~self.hold),
            self.issued.eq(self.reads & ~outside),
            self.issued_zero.eq(active & ~from_memory),
            advances.eq(~from_memory | ~(self.hold | outside)),
            self.complete.eq(active & advances & last),
        ]
        with m.If(active):
            m.d.comb += next_addr.eq(self.addr + stride)
        with m.Else():
            m.d.comb += next_addr.eq(self.load.addr)
            m.d.sync += [
                stride.eq(self.load.stride),
                self.rows.eq(self.load.rows),
                self.format.eq(self.load.format),
                self.packed.eq(self.load.packed),
                self.trap_pc.eq(self.pc),
            ]
        with m.If(~active | advances):
            m.d.sync += [
                left.eq(Mux(active, left - 1, n)),
                last.eq(active & (left == 2)),
                self.first.eq(~active),
                to_read.eq(Mux(active, to_read - 1, self.load.columns)),
                from_memory.eq(
                    Mux(
                        active,
                        from_memory & (to_read != 1),
                        self.load.columns[: len(to_read)].any(),
                    )
                ),
                self.addr.eq(next_addr),
                outside.eq(next_addr >= depth),
            ]
        with m.If(self.stop | self.complete):
            m.d.sync += active.eq(0)
        with m.Elif(self.start):
            m.d.sync += active.eq(1)
        return m
