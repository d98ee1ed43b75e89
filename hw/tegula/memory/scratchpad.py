"""SBUF: the scratchpad, banked by address so that rows, pairs and lines are served side by side."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from tegula.config import TileConfig
from tegula.memory.bank import ScratchpadBank
from tegula.memory.reads import READ_CYCLES, ScratchpadReads, reader_ports
from tegula.memory.writes import ScratchpadWrites, writer_ports

__all__ = ["READ_CYCLES", "Scratchpad"]


class Scratchpad(wiring.Component):
    """N partitions of 16-bit words; word a of every partition is in bank ``a mod bus_words``.

    A *row* is one address of all partitions, and lies in one bank; a *pair* is an even row and the
    next, in neighbouring banks: fp32 numbers; a *line* is `bus_words` consecutive addresses of one
    partition, a word a bank. Each bank reads one row and writes one row a cycle, so accesses
    collide only in a bank. Reads are served in this order, each when its banks are free:

    - `moving`: always, a row a cycle;
    - `stationary`: a row;
    - `x`, then `y`: a row or a pair each;
    - a row of `activation` or else of DMA in layout `partition`, where `stationary` reads none;
    - DMA lines: the remaining banks, over as many cycles as that needs.

    Writes: the vector engine's, always (a row, a pair, or a line of one partition); then a row of
    `activation` or else of DMA in layout `partition`, where the vector engine uses no bank of
    its parity; DMA lines in the remaining banks.

    A read returns what was written in every earlier cycle but the last; a word written in that one
    is undefined (engines that share a word order their accesses by semaphores).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving : In(MovingReadSignature)
        The tensor engine's moving operand.
    stationary : In(RowReadSignature)
        The tensor engine's stationary operand.
    x, y : In(PairReadSignature)
        The vector engine's operands.
    activation : In(RowReadSignature)
        The activation engine's operands.
    store : In(ChunkReadSignature)
        DMA reads; data `READ_CYCLES` after acceptance.
    vector_write : In(VectorWriteSignature)
        The vector engine's results.
    activation_write : In(stream of `row_write_layout`)
        The activation engine's results.
    load : In(stream of `sbuf_write_layout`)
        DMA writes.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__({**reader_ports(config), **writer_ports(config)})

    def elaborate(self, platform):
        """Banks between a read side and a write side."""
        m = Module()
        m.submodules.reads = reads = ScratchpadReads(self.config)
        m.submodules.writes = writes = ScratchpadWrites(self.config)
        for side, ports in ((reads, reader_ports), (writes, writer_ports)):
            for name in ports(self.config):
                connect(m, flipped(getattr(self, name)), getattr(side, name))
        for index in range(self.config.bus_words):
            m.submodules[f"bank_{index}"] = bank = ScratchpadBank(self.config)
            connect(m, reads.banks[index], bank.read)
            connect(m, writes.banks[index], bank.write)
        return m
