"""Queue in block RAM."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.memory.bank import NO_RW_CHECK

__all__ = ["RamQueue"]

_WORDS = 64
"""Words of the memory, at least: Yosys makes a smaller one of LUTs, which takes three times the
sites (ECP5, 32 words of 24 bits: 127 to 40), and a block RAM has more words than that anyway."""


class RamQueue(wiring.Component):
    """Queue in block RAM, without flow control at its entry: who writes knows that there is room.

    Latency: 2 cycles. Throughput: an item a cycle.

    Parameters
    ----------
    shape : ShapeLike
        Items.
    depth : int
        Items that it holds, a power of two.

    Members
    -------
    item : In(shape), valid : In(1)
        An item comes.
    oldest : Out(shape), oldest_valid : Out(1)
        The oldest item.
    take : In(1)
        It is taken, if it is valid.
    empty : Out(1)
        There is no item.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        self._shape, self._depth = shape, depth
        super().__init__(
            {
                "item": In(shape),
                "valid": In(1),
                "oldest": Out(shape),
                "oldest_valid": Out(1),
                "take": In(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """A memory, and in the register of its read port the oldest item."""
        m = Module()
        m.submodules.memory = words = memory.Memory(
            shape=self._shape, depth=max(self._depth, _WORDS), init=[], attrs=NO_RW_CHECK
        )
        write, read = words.write_port(), words.read_port()
        level, reads = Signal(range(self._depth + 1)), Signal()
        m.d.comb += [
            write.en.eq(self.valid),
            write.data.eq(self.item),
            reads.eq((level != 0) & (self.take | ~self.oldest_valid)),
            read.en.eq(reads),
            self.oldest.eq(read.data),
            self.empty.eq((level == 0) & ~self.oldest_valid),
        ]
        # Whether an item is read is known late: it enables, and adds nothing.
        with m.If(self.valid):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(self.valid ^ reads):
            m.d.sync += level.eq(Mux(self.valid, level + 1, level - 1))
        with m.If(reads):
            m.d.sync += [read.addr.eq(read.addr + 1), self.oldest_valid.eq(1)]
        with m.Elif(self.take):
            m.d.sync += self.oldest_valid.eq(0)
        return m
