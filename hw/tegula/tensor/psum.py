"""PSUM: the accumulators, one memory a partition, addressed in step with the array's skew."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import delay
from tegula.memory.bank import NO_RW_CHECK
from tegula.tensor.systolic_array import WORD_IN_CYCLES, result_cycles

__all__ = ["Psum", "PsumPartition", "WrittenMap", "reuse_cycles", "step_cycles", "write_cycles"]


def step_cycles() -> int:
    """Cycles from a column's `moving` at the array to its `step_valid` here."""
    return WORD_IN_CYCLES - 1


def write_cycles(config: TileConfig) -> int:
    """Cycles from `step_valid` to the write of partition 0; partition p is p cycles later."""
    return result_cycles(config) - step_cycles()


def reuse_cycles(config: TileConfig) -> int:
    """Cycles from the step of a word until a step that reads the same word sees it."""
    return write_cycles(config) + 1


class PsumPartition(wiring.Component):
    """One partition of PSUM: one write and two read ports, each a cycle, registered reads.

    A read of a word that is written in the same cycle is undefined: the streamer keeps the array
    from it, semaphores the vector engine. The memory is kept twice, one copy a read port.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    array_addr, array_en, array_word
        Port that the array accumulates through: the word a cycle after address and enable.
    read_addr, read_en, read_word
        Port that the vector engine reads through, likewise.
    write_addr, write_en, write_word
        The array's results.
    """

    def __init__(self, config: TileConfig):
        self._depth = config.psum_depth
        self._width = config.psum_width
        address = range(config.psum_depth)
        super().__init__(
            {
                "array_addr": In(address),
                "array_en": In(1),
                "array_word": Out(config.psum_width),
                "read_addr": In(address),
                "read_en": In(1),
                "read_word": Out(config.psum_width),
                "write_addr": In(address),
                "write_en": In(1),
                "write_word": In(config.psum_width),
            }
        )

    def elaborate(self, platform):
        """Two copies with a common write port."""
        m = Module()
        for name, addr, enable, word in (
            ("array_copy", self.array_addr, self.array_en, self.array_word),
            ("read_copy", self.read_addr, self.read_en, self.read_word),
        ):
            copy = memory.Memory(shape=self._width, depth=self._depth, init=[], attrs=NO_RW_CHECK)
            m.submodules[name] = copy
            read, write = copy.read_port(), copy.write_port()
            m.d.comb += [
                read.addr.eq(addr),
                read.en.eq(enable),
                word.eq(read.data),
                write.addr.eq(self.write_addr),
                write.en.eq(self.write_en),
                write.data.eq(self.write_word),
            ]
        return m


class WrittenMap(wiring.Component):
    """Which PSUM addresses the running program has written: a bit an address, for all partitions.

    Bits are set when a column enters the array; whoever reads the word later is held back until it
    has arrived (the tensor engine) or waits for a semaphore (the vector engine). Clearing takes
    `psum_depth / 16` cycles, in which every answer is no and `ready` is low.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    clear : In(1)
        Forget everything; one cycle.
    ready : Out(1)
        Marks are taken.
    mark_addr : In, mark_en : In(1)
        Set a bit; seen by queries from the next cycle on.
    mark_written : Out(1)
        The bit at `mark_addr`, in the same cycle.
    query_addr : In, query_written : Out(1)
        The bit at `query_addr`, in the same cycle.
    """

    _ROW_BITS = 16

    def __init__(self, config: TileConfig):
        self._depth = config.psum_depth
        super().__init__(
            {
                "clear": In(1),
                "ready": Out(1),
                "mark_addr": In(range(config.psum_depth)),
                "mark_en": In(1),
                "mark_written": Out(1),
                "query_addr": In(range(config.psum_depth)),
                "query_written": Out(1),
            }
        )

    def elaborate(self, platform):
        """Rows of sixteen bits in distributed memory, read, changed and written in a cycle."""
        m = Module()
        row_bits = min(self._ROW_BITS, self._depth)
        bit_bits = (row_bits - 1).bit_length()
        rows = self._depth // row_bits
        m.submodules.rows = bits = memory.Memory(shape=row_bits, depth=rows, init=[])
        mark, query = bits.read_port(domain="comb"), bits.read_port(domain="comb")
        write = bits.write_port()
        sweep = Signal(range(rows + 1))
        m.d.comb += [
            self.ready.eq(sweep == rows),
            mark.addr.eq(self.mark_addr[bit_bits:]),
            query.addr.eq(self.query_addr[bit_bits:]),
            self.mark_written.eq(self.ready & mark.data.bit_select(self.mark_addr[:bit_bits], 1)),
            self.query_written.eq(
                self.ready & query.data.bit_select(self.query_addr[:bit_bits], 1)
            ),
        ]
        with m.If(self.ready):
            m.d.comb += [
                write.addr.eq(mark.addr),
                write.data.eq(mark.data | (1 << self.mark_addr[:bit_bits])),
                write.en.eq(self.mark_en),
            ]
        with m.Else():
            m.d.comb += [write.addr.eq(sweep), write.en.eq(1)]
            m.d.sync += sweep.eq(sweep + 1)
        with m.If(self.clear):
            m.d.sync += sweep.eq(0)
        return m


class Psum(wiring.Component):
    """All partitions of PSUM, and the addresses that follow each column through the array.

    A step (one moving column) reads, where it accumulates, partition p at cycle p and writes it at
    cycle ``write_cycles + p``; addresses ripple from partition to partition as operands do from
    column to column, so words need no skew registers. One step a cycle; a step that accumulates
    may not follow one of the same address within `reuse_cycles`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    step_valid, step_accumulate : In(1), step_addr : In
        A column is in the array.
    words_to_array : Out(ArrayLayout(psum_width, n)), accumulate : Out(n)
        To the array's `words_in` and `accumulate`.
    words_from_array : In(ArrayLayout(psum_width, n))
        The array's `words_out`.
    read_addr : In, read_en : In(1), read_words : Out(ArrayLayout(psum_width, n))
        The vector engine's port: the same address of all partitions, words a cycle later.
    pending : Out(1)
        A step has not written its last partition yet.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        address = range(config.psum_depth)
        words = data.ArrayLayout(config.psum_width, config.n)
        super().__init__(
            {
                "step_valid": In(1),
                "step_accumulate": In(1),
                "step_addr": In(address),
                "words_to_array": Out(words),
                "accumulate": Out(config.n),
                "words_from_array": In(words),
                "read_addr": In(address),
                "read_en": In(1),
                "read_words": Out(words),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform):
        """Ripple the read addresses, delay them, ripple the write addresses."""
        m = Module()
        config = self.config
        reading = Cat(self.step_valid, self.step_accumulate, self.step_addr)
        writing = Cat(self.step_valid, self.step_addr)
        valid = []
        for cycle in range(write_cycles(config)):
            writing = delay(m, writing, 1, f"in_flight_{cycle}")
            valid.append(writing[0])
        for p in range(config.n):
            partition = PsumPartition(config)
            m.submodules[f"partition_{p}"] = partition
            m.d.comb += [
                partition.array_en.eq(reading[0] & reading[1]),
                partition.array_addr.eq(reading[2:]),
                self.words_to_array[p].eq(partition.array_word),
                partition.write_en.eq(writing[0]),
                partition.write_addr.eq(writing[1:]),
                partition.write_word.eq(self.words_from_array[p]),
                partition.read_en.eq(self.read_en),
                partition.read_addr.eq(self.read_addr),
                self.read_words[p].eq(partition.read_word),
            ]
            reading = delay(m, reading, 1, f"reading_{p}")
            m.d.comb += self.accumulate[p].eq(reading[0] & reading[1])
            valid.append(writing[0])
            writing = delay(m, writing, 1, f"writing_{p}")
        m.d.comb += self.pending.eq(Cat(valid).any())
        return m
