"""Map of the PSUM addresses that the running program has written."""

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import registered

__all__ = ["MarkSignature", "WrittenMap", "clear_cycles"]

_ROW_BITS = 16
"""Bits that are cleared in a cycle."""


def clear_cycles(config: TileConfig) -> int:
    """Cycles after `clear` in which every bit reads as 0 and no mark is taken."""
    return config.psum_depth // min(_ROW_BITS, config.psum_depth)


class MarkSignature(wiring.Signature):
    """Mark of a PSUM address as written, seen from the tensor engine.

    Members
    -------
    addr : Out(range(psum_depth))
    en : Out(1)
        `addr` is written from now on.
    ready : In(1)
        Marks are taken.
    next_addr : Out(range(psum_depth))
        The `addr` of the next cycle, if that changes.
    written : In(1)
        `next_addr` was written before this cycle; in the same cycle.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "addr": Out(range(config.psum_depth)),
                "en": Out(1),
                "ready": In(1),
                "next_addr": Out(range(config.psum_depth)),
                "written": In(1),
            }
        )


class WrittenMap(wiring.Component):
    """PSUM addresses that the running program has written: a bit an address, for all partitions.

    A bit is set when its column enters the array, before the word is written: the tensor engine
    detects a read of a word in flight, the vector engine waits for a semaphore. Clearing takes
    `clear_cycles`, in which every bit reads as 0 and `mark.ready` is low.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    clear : In(1)
        Clears all bits; high for one cycle.
    mark : In(MarkSignature)
        Sets a bit, which is read as 1 from the next cycle on. `ready` is a register.
    query_addr : In(range(psum_depth))
    query_written : Out(1)
        The bit at the `query_addr` of the cycle before, as it was then.
    """

    def __init__(self, config: TileConfig):
        self._depth, self._rows = config.psum_depth, clear_cycles(config)
        super().__init__(
            {
                "clear": In(1),
                "mark": In(MarkSignature(config)),
                "query_addr": In(range(config.psum_depth)),
                "query_written": Out(1),
            }
        )

    def elaborate(self, platform):
        """Rows of sixteen bits in distributed memory, read, changed and written in a cycle."""
        m = Module()
        rows = self._rows
        row_bits = self._depth // rows
        bit_bits = (row_bits - 1).bit_length()
        m.submodules.rows = bits = memory.Memory(shape=row_bits, depth=rows, init=[])
        mark, ahead, query = (bits.read_port(domain="comb") for _ in range(3))
        write = bits.write_port()
        sweep, ready = Signal(range(rows)), self.mark.ready
        marked, queried = self.mark.addr[:bit_bits], self.query_addr[:bit_bits]
        m.d.comb += [
            mark.addr.eq(self.mark.addr[bit_bits:]),
            ahead.addr.eq(self.mark.next_addr[bit_bits:]),
            query.addr.eq(self.query_addr[bit_bits:]),
            self.mark.written.eq(
                ready & ahead.data.bit_select(self.mark.next_addr[:bit_bits], 1) & ~self.clear
            ),
        ]
        queried_row = registered(m, query.data, name="queried_row")
        queried_bit = registered(m, queried, name="queried_bit")
        m.d.comb += self.query_written.eq(ready & queried_row.bit_select(queried_bit, 1))
        with m.If(ready):
            m.d.comb += [
                write.addr.eq(mark.addr),
                write.data.eq(mark.data | (1 << marked)),
                write.en.eq(self.mark.en),
            ]
        with m.Else():
            m.d.comb += [write.addr.eq(sweep), write.en.eq(1)]
            m.d.sync += [sweep.eq(sweep + 1), ready.eq(sweep == rows - 1)]
        with m.If(self.clear):
            m.d.sync += [sweep.eq(0), ready.eq(0)]
        return m
