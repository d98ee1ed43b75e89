"""Stationary side of the tensor engine: operands on their way into the array, and scales."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import TAG_BITS, payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS_BITS
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.isa.tensor import SCALE_ROW_BITS

__all__ = ["StationaryLoader"]


class StationaryLoader(wiring.Component):
    """Loader of N columns into the chain: `columns` rows of the scratchpad, then zeros.

    One column a cycle, except those that are held back. It may start as soon as the matmul that
    uses the operand before has begun. While it is idle its registers follow `load`: what `start`
    sets, which is known late, is one bit.

    With `mx` it also reads rows of scales, one a cycle, by the addresses of an operand's columns.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    start : In(1), load : In(payload of tensor.load), pc : In(TAG_BITS)
        Begin; only while `idle`.
    begins_scales : In(1), scales : In(payload of tensor.scales)
        With `start`, and only with `mx`: the work is rows of scales, by `scales`, which has address
        and step at the bits of `load`.
    hold : In(1)
        The moving column that is read in this cycle lies in the bank of `addr`.
    stop : In(1)
        Drop the work.
    reads : Out(1)
        The row at `addr` is read.
    issued, issued_zero, first : Out(1)
        A column will arrive `TENSOR_READ_CYCLES` later, from the scratchpad or as zero; the first
        of its operand.
    issued_scales : Out(1), scale_row : Out(SCALE_ROW_BITS), reads_scales : Out(1)
        Only with `mx`: the same of a row of scales, and its number in the buffer; the work is, or
        would be, rows of scales. Of an operand `scale_row` is the row of its codes.
    scaled : Out(1)
        Whether the operand in work is; only with `mx`.
    rows : Out(PARTITION_BITS), format : Out(FORMAT_BITS), packed : Out(1)
        Of the operand in work.
    idle, complete : Out(1)
        No column is left to request; the last one is requested in this cycle.
    out_of_range : Out(1), addr : Out(CHECKED_ADDRESS_BITS), trap_pc : Out(TAG_BITS)
        High while the next address does not exist; the loader stays there until `stop`.
        `addr` and `trap_pc` are undefined while `idle`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        scales = {
            "begins_scales": In(1),
            "scales": In(payload_layout("tensor.scales")),
            "issued_scales": Out(1),
            "scale_row": Out(SCALE_ROW_BITS),
            "reads_scales": Out(1),
            "scaled": Out(1),
        }
        super().__init__(
            {
                "start": In(1),
                "load": In(payload_layout("tensor.load")),
                **(scales if config.mx else {}),
                "pc": In(TAG_BITS),
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
                "trap_pc": Out(TAG_BITS),
            }
        )

    def elaborate(self, platform):
        """Counts of columns and addresses, and what follows from the next of them."""
        m = Module()
        n, depth = self.config.n, self.config.sbuf_depth
        most = max(n, 1 << SCALE_ROW_BITS) if self.config.mx else n
        left, to_read = Signal(range(most + 1)), Signal(range(most + 1))
        columns, to_request = Signal.like(left), Signal.like(left)
        only_one, operand = Signal(), Signal(init=1)
        stride = Signal(self.load.stride.shape())
        active, from_memory, outside, last = Signal(), Signal(), Signal(), Signal()
        advances, next_addr = Signal(), Signal.like(self.addr)
        m.d.comb += [
            self.idle.eq(~active),
            self.out_of_range.eq(active & from_memory & outside),
            self.reads.eq(active & from_memory & ~self.hold),
            self.issued.eq(self.reads & ~outside & operand),
            self.issued_zero.eq(active & ~from_memory),
            advances.eq(~from_memory | ~(self.hold | outside)),
            self.complete.eq(active & advances & last),
            columns.eq(self.load.columns),
            to_request.eq(n),
        ]
        if self.config.mx:
            self._read_scales(m, operand, active, advances, outside)
            m.d.comb += only_one.eq(self.begins_scales & (self.scales.columns == 1))
            with m.If(self.begins_scales):
                m.d.comb += [columns.eq(self.scales.columns), to_request.eq(self.scales.columns)]
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
                left.eq(Mux(active, left - 1, to_request)),
                last.eq(Mux(active, left == 2, only_one)),
                self.first.eq(~active),
                to_read.eq(Mux(active, to_read - 1, columns)),
                from_memory.eq(Mux(active, from_memory & (to_read != 1), columns.any())),
                self.addr.eq(next_addr),
                outside.eq(next_addr >= depth),
            ]
        with m.If(self.stop | self.complete):
            m.d.sync += active.eq(0)
        with m.Elif(self.start):
            m.d.sync += active.eq(1)
        return m

    def _read_scales(self, m, operand, active, advances, outside):
        """Rows of scales in place of columns, and where they go, or where those of columns are."""
        m.d.comb += [
            operand.eq(~self.reads_scales),
            self.issued_scales.eq(self.reads & ~outside & self.reads_scales),
        ]
        with m.If(~active):
            m.d.sync += [
                self.reads_scales.eq(self.begins_scales),
                self.scaled.eq(self.load.scaled),
                self.scale_row.eq(Mux(self.begins_scales, self.scales.scales, self.load.scales)),
            ]
        with m.Elif(advances & self.reads_scales):
            m.d.sync += self.scale_row.eq(self.scale_row + 1)
