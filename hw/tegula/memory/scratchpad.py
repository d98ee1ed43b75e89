"""SBUF: the scratchpad, banked by address so that rows and lines can be served at the same time."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.memory.attributes import NO_RW_CHECK
from tegula.signatures import sbuf_read_layout, sbuf_write_layout

__all__ = ["READ_CYCLES", "Scratchpad", "ScratchpadBank"]

READ_CYCLES = 2
"""Cycles from an accepted read to its data: the memory's register, and one behind the bank
select."""


class ScratchpadBank(wiring.Component):
    """A bank: a word of each partition at each address, a row read and a row written a cycle.

    A memory a partition, so that writing one leaves a read of its neighbours alone. A word that is
    read in the cycle in which it is written is undefined.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    read_addr : In, read_data : Out(ArrayLayout(16, n))
        Data a cycle after the address.
    write_en : In(n), write_addr : In, write_data : In(ArrayLayout(16, n))
        Each partition whose enable is 1 takes its word.
    """

    def __init__(self, config: TileConfig):
        self._n = config.n
        self._depth = config.sbuf_depth // config.bus_words
        row = data.ArrayLayout(16, config.n)
        super().__init__(
            {
                "read_addr": In(range(self._depth)),
                "read_data": Out(row),
                "write_en": In(config.n),
                "write_addr": In(range(self._depth)),
                "write_data": In(row),
            }
        )

    def elaborate(self, platform):
        """One memory a partition."""
        m = Module()
        for p in range(self._n):
            words = memory.Memory(shape=16, depth=self._depth, init=[], attrs=NO_RW_CHECK)
            m.submodules[f"partition_{p}"] = words
            read, write = words.read_port(), words.write_port()
            m.d.comb += [
                read.addr.eq(self.read_addr),
                read.en.eq(1),
                self.read_data[p].eq(read.data),
                write.addr.eq(self.write_addr),
                write.en.eq(self.write_en[p]),
                write.data.eq(self.write_data[p]),
            ]
        return m


class Scratchpad(wiring.Component):
    """N partitions of 16-bit words; word a of every partition is in bank ``a mod bus_words``.

    A *row* is one address of all partitions, and lies in one bank; a *line* is `bus_words`
    consecutive addresses of one partition, a word a bank. Each bank reads one row and writes one
    row a cycle, so accesses collide only in a bank:

    - `moving` reads are always served, a row a cycle;
    - one further row a cycle is read for, in this order, `stationary`, `vector` and DMA reads in
      layout `partition`, each when its bank is free;
    - DMA line reads take the banks that are left, over as many cycles as that needs;
    - vector writes are always served, a row a cycle; DMA writes take the banks that are left,
      those in layout `partition` only in cycles without a vector write.

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
    stationary, vector : In(stream of an address)
        Requests for rows; data come back in `row_data`, `READ_CYCLES` after acceptance.
    row_data : Out(ArrayLayout(16, n)), stationary_valid, vector_valid : Out(1)
        A row, and whose it is.
    write_addr : In, write_en : In(n), write_data : In(ArrayLayout(16, n))
        The vector engine's results.
    load : In(stream of `sbuf_write_layout`)
        DMA writes.
    store : In(stream of `sbuf_read_layout`), store_data : Out, store_valid : Out(1)
        DMA reads; data `READ_CYCLES` after acceptance.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        address = range(config.sbuf_depth)
        row = data.ArrayLayout(16, config.n)
        super().__init__(
            {
                "moving_addr": In(address),
                "moving_en": In(1),
                "moving_data": Out(row),
                "stationary": In(stream.Signature(_address_shape(config))),
                "vector": In(stream.Signature(_address_shape(config))),
                "row_data": Out(row),
                "stationary_valid": Out(1),
                "vector_valid": Out(1),
                "write_addr": In(address),
                "write_en": In(config.n),
                "write_data": In(row),
                "load": In(stream.Signature(sbuf_write_layout(config))),
                "store": In(stream.Signature(sbuf_read_layout(config))),
                "store_data": Out(data.ArrayLayout(16, config.bus_words)),
                "store_valid": Out(1),
            }
        )

    def elaborate(self, platform):
        """Banks, then the read side, then the write side."""
        m = Module()
        config = self.config
        self._bank_bits = (config.bus_words - 1).bit_length()
        banks = [ScratchpadBank(config) for _ in range(config.bus_words)]
        for index, bank in enumerate(banks):
            m.submodules[f"bank_{index}"] = bank
        self._read(m, banks)
        self._write(m, banks)
        return m

    def _bank(self, addr):
        return addr[: self._bank_bits]

    def _line(self, addr):
        return addr[self._bank_bits :]

    def _choose_row(self, m):
        """Pick the request that gets the shared row port, if its bank is free."""
        config = self.config
        store_row = self.store.valid & (self.store.p.layout == Layout.PARTITION)
        valid, addr, accepted = Signal(), Signal(range(config.sbuf_depth)), Signal()
        free = Signal()
        m.d.comb += [
            free.eq(~self.moving_en | (self._bank(self.moving_addr) != self._bank(addr))),
            accepted.eq(valid & free),
        ]
        store_accepted = Signal()
        with m.If(self.stationary.valid):
            m.d.comb += [
                valid.eq(1),
                addr.eq(self.stationary.payload),
                self.stationary.ready.eq(free),
            ]
        with m.Elif(self.vector.valid):
            m.d.comb += [valid.eq(1), addr.eq(self.vector.payload), self.vector.ready.eq(free)]
        with m.Elif(store_row):
            m.d.comb += [valid.eq(1), addr.eq(self.store.p.addr), store_accepted.eq(free)]
        for name, took in (
            ("stationary", self.stationary.valid & self.stationary.ready),
            ("vector", self.vector.valid & self.vector.ready),
        ):
            first = Signal(name=f"{name}_reading")
            m.d.sync += first.eq(took)
            m.d.sync += getattr(self, f"{name}_valid").eq(first)
        return accepted, addr, store_accepted

    def _read(self, m, banks):
        """Address each bank, then select behind it."""
        config = self.config
        row_accepted, row_addr, store_row_accepted = self._choose_row(m)
        store = self.store.p
        line_valid = self.store.valid & (store.layout == Layout.FREE)
        done = Signal(config.bus_words)
        granted, taken = Signal(config.bus_words), Signal(config.bus_words)
        for index, bank in enumerate(banks):
            moving_hit = self.moving_en & (self._bank(self.moving_addr) == index)
            row_hit = row_accepted & (self._bank(row_addr) == index)
            m.d.comb += [
                taken[index].eq(moving_hit | row_hit),
                bank.read_addr.eq(
                    Mux(
                        moving_hit,
                        self._line(self.moving_addr),
                        Mux(row_hit, self._line(row_addr), self._line(store.addr)),
                    )
                ),
            ]
        line_done = Signal()
        m.d.comb += [
            granted.eq(~taken & ~done & line_valid.replicate(config.bus_words)),
            line_done.eq(line_valid & (granted | done).all()),
            self.store.ready.eq(store_row_accepted | line_done),
        ]
        m.d.sync += done.eq(Mux(line_done | ~line_valid, 0, done | granted))

        moving_bank, row_bank = Signal(self._bank_bits), Signal(self._bank_bits)
        partition = Signal(range(config.n))
        granted_before, store_row_before, store_before = Signal.like(granted), Signal(), Signal()
        m.d.sync += [
            moving_bank.eq(self._bank(self.moving_addr)),
            row_bank.eq(self._bank(row_addr)),
            partition.eq(store.partition),
            granted_before.eq(granted),
            store_row_before.eq(store_row_accepted),
            store_before.eq(self.store.ready),
            self.store_valid.eq(store_before),
        ]
        rows = Array(bank.read_data for bank in banks)
        row = Signal(data.ArrayLayout(16, config.n))
        m.d.comb += row.eq(rows[row_bank])
        m.d.sync += [self.moving_data.eq(rows[moving_bank]), self.row_data.eq(row)]
        with m.If(store_row_before):
            for word in range(config.row_words):
                m.d.sync += self.store_data[word].eq(
                    Array(row[p] for p in range(word, config.n, config.row_words))[
                        partition[(config.row_words - 1).bit_length() :]
                    ]
                )
        for index, bank in enumerate(banks):
            with m.If(granted_before[index]):
                m.d.sync += self.store_data[index].eq(bank.read_data[partition])

    def _write(self, m, banks):
        """Route vector rows, DMA rows and DMA lines to the banks; registered once on the way."""
        config = self.config
        load = self.load.p
        vector_valid = self.write_en.any()
        line_valid = self.load.valid & (load.layout == Layout.FREE)
        row_valid = self.load.valid & (load.layout == Layout.PARTITION) & ~vector_valid
        done, granted = Signal(config.bus_words), Signal(config.bus_words)

        row_enable, row_words = Signal(config.n), Signal(data.ArrayLayout(16, config.n))
        for p in range(config.n):
            word = p % config.row_words
            group = p // config.row_words
            at = load.partition[(config.row_words - 1).bit_length() :]
            m.d.comb += [
                row_enable[p].eq(
                    Mux(vector_valid, self.write_en[p], load.mask[word] & (at == group))
                ),
                row_words[p].eq(Mux(vector_valid, self.write_data[p], load.data[word])),
            ]
        row_addr = Mux(vector_valid, self.write_addr, load.addr)
        row_any = vector_valid | row_valid
        for index, bank in enumerate(banks):
            hit = Signal(name=f"row_hit_{index}")
            enable = Signal(config.n, name=f"enable_{index}")
            m.d.comb += [
                hit.eq(row_any & (self._bank(row_addr) == index)),
                granted[index].eq(line_valid & ~hit & load.mask[index] & ~done[index]),
            ]
            for p in range(config.n):
                m.d.comb += enable[p].eq(
                    Mux(hit, row_enable[p], granted[index] & (load.partition == p))
                )
            m.d.sync += [
                bank.write_en.eq(enable),
                bank.write_addr.eq(Mux(hit, self._line(row_addr), self._line(load.addr))),
                bank.write_data.eq(
                    Mux(hit, row_words.as_value(), load.data[index].replicate(config.n))
                ),
            ]
        line_done = Signal()
        m.d.comb += [
            line_done.eq(line_valid & ~(load.mask & ~(granted | done)).any()),
            self.load.ready.eq(line_done | row_valid),
        ]
        m.d.sync += done.eq(Mux(line_done | ~line_valid, 0, done | granted))


def _address_shape(config: TileConfig):
    return (config.sbuf_depth - 1).bit_length()
