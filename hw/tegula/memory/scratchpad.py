"""SBUF: the scratchpad, banked by address so that rows, pairs and lines are served side by side."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.memory.bank import ScratchpadBank
from tegula.memory.ports import (
    pair_request_layout,
    row_write_layout,
    sbuf_read_layout,
    sbuf_write_layout,
    vector_write_layout,
)
from tegula.memory.reads import READ_CYCLES, ScratchpadReads
from tegula.memory.writes import ScratchpadWrites

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
    - a row of `activation` or else of DMA in layout `partition`, where `stationary` has none;
    - DMA lines: the banks that are left, over as many cycles as that needs.

    Writes: the vector engine's, always (a row, a pair, or a line of one partition); then a row of
    `activation` or else of DMA in layout `partition`, where the vector engine leaves the banks of
    its parity alone; DMA lines in the banks that are left.

    Reads see every write accepted in an earlier cycle but the last; a word that is being written by
    the last is undefined (engines that share a word take turns by semaphores).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving_addr : In, moving_en : In(1), moving_data : Out(ArrayLayout(16, n))
        Data `READ_CYCLES` after the enable.
    x, y : In(stream of `pair_request_layout`), x_data, y_data : Out(ArrayLayout(32, n))
        Data `READ_CYCLES` after acceptance: the word, or the words of a pair, the even one low.
    stationary, activation : In(stream of an address)
        Requests for rows; data come back in `row_data`, `READ_CYCLES` after acceptance.
    row_data : Out(ArrayLayout(16, n)), stationary_valid, activation_valid : Out(1)
        A row, and whose it is.
    vector_write : In(`vector_write_layout`)
        The vector engine's results.
    activation_write : In(stream of `row_write_layout`)
        The activation engine's results.
    load : In(stream of `sbuf_write_layout`)
        DMA writes.
    store : In(stream of `sbuf_read_layout`), store_data : Out, store_valid : Out(1)
        DMA reads; data `READ_CYCLES` after acceptance.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        row, pair = data.ArrayLayout(16, config.n), data.ArrayLayout(32, config.n)
        row_request = stream.Signature((config.sbuf_depth - 1).bit_length())
        pair_request = stream.Signature(pair_request_layout(config))
        super().__init__(
            {
                "moving_addr": In(range(config.sbuf_depth)),
                "moving_en": In(1),
                "moving_data": Out(row),
                "x": In(pair_request),
                "x_data": Out(pair),
                "y": In(pair_request),
                "y_data": Out(pair),
                "stationary": In(row_request),
                "activation": In(row_request),
                "row_data": Out(row),
                "stationary_valid": Out(1),
                "activation_valid": Out(1),
                "vector_write": In(vector_write_layout(config)),
                "activation_write": In(stream.Signature(row_write_layout(config))),
                "load": In(stream.Signature(sbuf_write_layout(config))),
                "store": In(stream.Signature(sbuf_read_layout(config))),
                "store_data": Out(data.ArrayLayout(16, config.bus_words)),
                "store_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        """Banks between a read side and a write side."""
        m = Module()
        m.submodules.reads = reads = ScratchpadReads(self.config)
        m.submodules.writes = writes = ScratchpadWrites(self.config)
        for name in ("x", "y", "stationary", "activation", "store"):
            connect(m, flipped(getattr(self, name)), getattr(reads, name))
        for name in ("activation_write", "load"):
            connect(m, flipped(getattr(self, name)), getattr(writes, name))
        m.d.comb += [
            reads.moving_addr.eq(self.moving_addr),
            reads.moving_en.eq(self.moving_en),
            self.moving_data.eq(reads.moving_data),
            self.x_data.eq(reads.x_data),
            self.y_data.eq(reads.y_data),
            self.row_data.eq(reads.row_data),
            self.stationary_valid.eq(reads.stationary_valid),
            self.activation_valid.eq(reads.activation_valid),
            self.store_data.eq(reads.store_data),
            self.store_valid.eq(reads.store_valid),
            writes.vector_write.eq(self.vector_write),
        ]
        for index in range(self.config.bus_words):
            m.submodules[f"bank_{index}"] = bank = ScratchpadBank(self.config)
            m.d.comb += [
                bank.read_addr.eq(reads.bank_addr[index]),
                reads.bank_data[index].eq(bank.read_data),
                bank.write_en.eq(writes.bank_en[index]),
                bank.write_addr.eq(writes.bank_addr[index]),
                bank.write_data.eq(writes.bank_data[index]),
            ]
        return m
