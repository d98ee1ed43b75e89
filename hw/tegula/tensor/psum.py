"""PSUM: the accumulators, one memory a partition, addressed in step with the array's skew."""

from amaranth.hdl import Module, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.lib.delay import delay, registered
from tegula.memory.bank import NO_RW_CHECK
from tegula.memory.ports import PsumReadSignature
from tegula.tensor.systolic_array import WORD_IN_CYCLES, result_cycles
from tegula.tensor.written_map import MarkSignature, WrittenMap

__all__ = [
    "Psum",
    "PsumArraySignature",
    "PsumPartition",
    "reuse_cycles",
    "step_cycles",
    "write_cycles",
]


def step_cycles() -> int:
    """Cycles from a column's `moving` at the array to its `step_valid` here."""
    return WORD_IN_CYCLES - 1


def write_cycles(config: TileConfig) -> int:
    """Cycles from `step_valid` to the write of the last partition; of that before one later."""
    return result_cycles(config) - step_cycles()


def reuse_cycles(config: TileConfig) -> int:
    """Cycles from the step of a word until a step that reads the same word gets its result."""
    return write_cycles(config) + 1


class PsumArraySignature(wiring.Signature):
    """Accumulation into PSUM, seen from the array: partial sums out and in, column by column.

    Members
    -------
    step_valid, step_accumulate : Out(1)
        A column is in the array; its partial sums are added to the words at `step_addr`.
    step_addr : Out(range(psum_depth))
    words_in : In(ArrayLayout(psum_width, n))
    accumulate : In(n)
        Word p of a step, and whether it is accumulated onto, N - p cycles later.
    words_out : Out(ArrayLayout(psum_width, n))
        Word p of a step, `write_cycles` + N - 1 - p cycles later.
    """

    def __init__(self, config: TileConfig):
        words = data.ArrayLayout(config.psum_width, config.n)
        super().__init__(
            {
                "step_valid": Out(1),
                "step_accumulate": Out(1),
                "step_addr": Out(range(config.psum_depth)),
                "words_in": In(words),
                "accumulate": In(config.n),
                "words_out": Out(words),
            }
        )


class PsumPartition(wiring.Component):
    """Partition of PSUM: one write and two read ports, each a cycle, registered reads.

    A read of a word that is written in the same cycle is undefined: the streamer keeps the array
    from it, semaphores the vector engine. The memory is kept twice, one copy a read port.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    array_addr : In(range(psum_depth)), array_en : In(1), array_word : Out(psum_width)
        Port that the array accumulates through: the word a cycle after address and enable.
    read_addr : In(range(psum_depth)), read_en : In(1), read_word : Out(psum_width)
        Port that the vector engine reads through, likewise.
    write_addr : In(range(psum_depth)), write_en : In(1), write_word : In(psum_width)
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


class Psum(wiring.Component):
    """All partitions of PSUM, and the addresses that follow each column through the array.

    A step (one moving column) reads, where it accumulates, partition N - 1 - i at cycle i and
    writes it at cycle ``write_cycles + i``; addresses ripple from the last partition to the first
    as operands do from column to column, so words need no skew registers. One step a cycle; a step
    that accumulates may not follow one of the same address within `reuse_cycles`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    array : In(PsumArraySignature)
        The array.
    mark : In(MarkSignature)
        Addresses that the tensor engine writes.
    read : In(PsumReadSignature)
        The vector engine.
    clear : In(1)
        A program begins, which has written no address; one cycle.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "array": In(PsumArraySignature(config)),
                "mark": In(MarkSignature(config)),
                "read": In(PsumReadSignature(config)),
                "clear": In(1),
            }
        )

    def elaborate(self, platform):
        """Ripple of the read addresses, delay, ripple of the write addresses."""
        m = Module()
        config, array = self.config, self.array
        m.submodules.written = written = WrittenMap(config)
        connect(m, flipped(self.mark), written.mark)
        m.d.comb += [
            written.clear.eq(self.clear),
            written.query_addr.eq(self.read.query_addr),
            self.read.written.eq(written.query_written),
        ]
        # Bits of a step that write or read a memory; the addresses need no reset.
        reading = (array.step_valid & array.step_accumulate, array.step_addr)
        writing = (array.step_valid, array.step_addr)
        for cycle in range(write_cycles(config)):
            writing = _next(m, writing, f"in_flight_{cycle}")
        for p in reversed(range(config.n)):
            partition = PsumPartition(config)
            m.submodules[f"partition_{p}"] = partition
            m.d.comb += [
                partition.array_en.eq(reading[0]),
                partition.array_addr.eq(reading[1]),
                array.words_in[p].eq(partition.array_word),
                partition.write_en.eq(writing[0]),
                partition.write_addr.eq(writing[1]),
                partition.write_word.eq(array.words_out[p]),
                partition.read_en.eq(self.read.en),
                partition.read_addr.eq(self.read.addr),
                self.read.data[p].eq(partition.read_word),
            ]
            reading = _next(m, reading, f"reading_{p}")
            m.d.comb += array.accumulate[p].eq(reading[0])
            writing = _next(m, writing, f"writing_{p}")
        return m


def _next(m: Module, step: tuple[Value, Value], name: str) -> tuple[Value, Value]:
    """Enable and address of a step one cycle later."""
    enable, addr = step
    return delay(m, enable, 1, f"{name}_en"), registered(m, addr, name=f"{name}_addr")
