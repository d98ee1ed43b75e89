"""SBUF: the scratchpad, banked by address so that rows, pairs and lines are served side by side."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from tegula.config import TileConfig
from tegula.memory.bank import ScratchpadBank
from tegula.memory.reads import ScratchpadReads, reader_ports
from tegula.memory.writes import ScratchpadWrites, writer_ports

__all__ = ["Scratchpad"]


class Scratchpad(wiring.Component):
    """N partitions of 16-bit words; word a of every partition is in bank ``a mod bus_words``.

    A *row* is one address of all partitions, and lies in one bank; a *pair* is an even row and the
    next, in neighbouring banks: fp32 numbers; a *line* is `bus_words` consecutive addresses of one
    partition, a word a bank. Each bank reads one row and writes one row a cycle, so accesses
    collide only in a bank. Reads are served in this order, each when its banks are free:

    - `moving` and `stationary`: always, a row each, in different banks;
    - `x`, then `y`: a row or a pair each, by what the scratchpad says is `taken`;
    - a row of `activation` or else of DMA in layout `partition`, where `stationary` reads none;
    - DMA lines, the load engine's first: the remaining banks, over as many cycles as that needs.

    Writes: the vector engine's, always (a row, a pair, or a line of one partition); then a row of
    `activation` or else of DMA in layout `partition`, where the vector engine uses no bank of
    its parity; DMA lines in the remaining banks.

    No path leads from an input to an output: requests, results and words end at registers.
    `ready` of `activation_write` has a few gates behind registers, other `ready` none.

    A read returns what was written in every cycle before that of its banks' addresses, which is the
    last before `BANK_READ_CYCLES`; a word written in that cycle is undefined (engines that share a
    word order their accesses by semaphores).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving, stationary : In(TensorReadSignature)
        The tensor engine's operands.
    x, y : In(PairReadSignature)
        The vector engine's operands.
    activation : In(RowReadSignature)
        The activation engine's operands.
    load_read, store_read : In(ChunkReadSignature)
        DMA reads.
    vector_write : In(VectorWriteSignature)
        The vector engine's results.
    activation_write : In(RowWriteSignature)
        The activation engine's results.
    load : In(ChunkWriteSignature)
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
