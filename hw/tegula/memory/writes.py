"""Write side of the scratchpad: routing of rows, pairs and lines to the banks."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, connect, flipped

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.lib.delay import chosen, registered
from tegula.lib.stream import StreamBuffer
from tegula.memory.bank import BankPorts
from tegula.memory.ports import (
    BankWriteSignature,
    ChunkWriteSignature,
    RowWriteSignature,
    VectorWriteSignature,
    row_write_layout,
    sbuf_write_layout,
)

__all__ = ["RESULT_CYCLES", "ScratchpadWrites", "writer_ports"]

RESULT_CYCLES = 1
"""Cycles from a result of the vector engine at its port to its write."""


def writer_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """Ports of the scratchpad's writers, in the order in which they are served."""
    return {
        "vector_write": In(VectorWriteSignature(config)),
        "activation_write": In(RowWriteSignature(config)),
        "load": In(ChunkWriteSignature(config)),
    }


class ScratchpadWrites(BankPorts):
    """Routing of results and DMA words to the banks, from a register at the entry of each port.

    The order of writers is that of `Scratchpad`. Banks of one parity share the words of one row, so
    that a row waits for a cycle without a result in a bank of its parity. A result of the vector
    engine is written in the cycle after the one in which it is at the port; a row or a chunk in
    that after its acceptance, at the earliest.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    vector_write : In(VectorWriteSignature)
    activation_write : In(RowWriteSignature)
    load : In(ChunkWriteSignature)
        As in `Scratchpad`.
    banks : Out(BankWriteSignature) x bus_words
    """

    def __init__(self, config: TileConfig):
        super().__init__(config, writer_ports(config), BankWriteSignature(config))

    def elaborate(self, platform):
        """Vector results, then a row, then a line."""
        m = Module()
        config = self.config
        m.submodules.row = row = StreamBuffer(row_write_layout(config))
        m.submodules.chunk = chunk = StreamBuffer(sbuf_write_layout(config))
        connect(m, flipped(self.activation_write.request), row.i)
        connect(m, flipped(self.load.request), chunk.i)
        self._row, self._chunk = row.o, chunk.o
        # The complement of `row.o.valid`, in a register of its own: it selects words.
        self._no_row = Signal(init=1)
        with m.If(~row.o.valid | row.o.ready):
            m.d.sync += self._no_row.eq(row.i.ready & ~row.i.valid)

        self._register_result(m)
        by_row, of_engine = self._route_row(m)
        lines = self._route_line(m, of_engine)
        enables, addrs, words = self._share_words(m)
        keeps = self._share_kept(m) if config.packed_fp8 else None
        line = self._chunk.payload
        by_row = self._by_row | by_row
        shared = by_row | self._by_line
        line_partition = Signal(config.n)
        m.d.comb += line_partition.eq(Cat(line.partition == p for p in range(config.n)))
        for b, bank in enumerate(self.banks):
            of_line = lines[b].replicate(config.n) & line_partition
            word = Mux(self._by_line[b], self._low[b % config.row_words], line.data[b])
            m.d.comb += [
                bank.addr.eq(Mux(shared[b], addrs[b & 1], self._line(line.addr))),
                bank.en.eq((shared[b].replicate(config.n) & enables[b & 1]) | of_line),
                bank.data.eq(Mux(by_row[b], words[b & 1], word.replicate(config.n))),
            ]
            if keeps is not None:
                m.d.comb += bank.keep.eq(Mux(shared[b], keeps[b & 1], line.keep))
        return m

    def _register_result(self, m: Module) -> None:
        """Registered result of the vector engine, and the banks that it is written to.

        Those of a line are written like rows of which one partition is enabled. `_busy`, of even
        and odd banks: no other row may be written. `_free` is its complement, in registers of its
        own, for `_busy` selects words.
        """
        config, vector = self.config, self.vector_write.payload
        bank, writes = self._bank(vector.addr), vector.enable.any()
        first_group = bank[(config.row_words - 1).bit_length() :]
        self._by_row, self._by_line = Signal(config.bus_words), Signal(config.bus_words)
        self._busy, self._free, busy = Signal(2), Signal(2, init=0b11), Signal(2)
        by_row = Cat(
            writes & ~vector.line & (bank[1:] == b >> 1) & (vector.double | (bank[0] == (b & 1)))
            for b in range(config.bus_words)
        )
        by_line = Cat(
            vector.line
            & vector.enable[b % config.row_words]
            & (first_group == b // config.row_words)
            for b in range(config.bus_words)
        )
        whole = vector.line | vector.double
        m.d.comb += busy.eq(Cat(writes & (whole | ~bank[0]), writes & (whole | bank[0])))
        m.d.sync += [
            self._by_row.eq(by_row),
            self._by_line.eq(by_line),
            self._busy.eq(busy),
            self._free.eq(~busy),
        ]
        partition = Cat(vector.partition == p for p in range(config.n))
        self._enable = registered(m, Mux(vector.line, partition, vector.enable), name="enable")
        self._addr = registered(m, self._line(vector.addr), name="result_line")
        self._low = Signal(data.ArrayLayout(16, config.n), reset_less=True)
        low = Cat(vector.words[p][:16] for p in range(config.n))
        high = Cat(vector.words[p][16:] for p in range(config.n))
        m.d.sync += self._low.eq(low)
        self._odd = chosen(m, [(vector.double, high), (~vector.double, low)], name="odd")

    def _route_row(self, m: Module) -> tuple[Value, Value]:
        """Bank of the row that is written in this cycle; that bank if the row is not DMA's."""
        row, chunk = self._row, self._chunk
        chunk_row = chunk.valid & (chunk.payload.layout == Layout.PARTITION)
        accepted, of_engine = Signal(), Signal(self.config.bus_words)
        self._chunk_row = Signal()

        def free(addr: Value) -> Value:
            return Mux(addr[0], self._free[1], self._free[0])

        m.d.comb += [
            row.ready.eq(free(row.payload.addr)),
            accepted.eq(row.valid & row.ready),
            self.activation_write.written.eq(accepted),
            self.activation_write.written_last.eq(accepted & row.payload.last),
            self._chunk_row.eq(chunk_row & ~row.valid & free(chunk.payload.addr)),
            of_engine.eq(
                accepted.replicate(self.config.bus_words) & self._one_hot(row.payload.addr)
            ),
        ]
        of_chunk = self._chunk_row.replicate(self.config.bus_words) & self._one_hot(
            chunk.payload.addr
        )
        by_row = Signal.like(of_engine)
        m.d.comb += by_row.eq(of_engine | of_chunk)
        return by_row, of_engine

    def _route_line(self, m: Module, of_engine: Value) -> Signal:
        """Banks that a DMA line writes in this cycle; the end of a DMA write.

        While it is a line, DMA writes no row: only the other writers' banks are taken.
        """
        count, chunk = self.config.bus_words, self._chunk
        requested = chunk.valid & (chunk.payload.layout == Layout.FREE)
        done, granted, complete = Signal(count), Signal(count), Signal()
        taken = self._by_row | self._by_line | of_engine
        wanted = chunk.payload.mask & ~done
        m.d.comb += [
            granted.eq(wanted & ~taken & requested.replicate(count)),
            complete.eq(requested & ~(wanted & taken).any()),
            chunk.ready.eq(complete | self._chunk_row),
            self.load.written.eq(chunk.ready),
            self.load.written_last.eq(chunk.ready & chunk.payload.last),
        ]
        m.d.sync += done.eq(Mux(complete | ~requested, 0, done | granted))
        return granted

    def _share_kept(self, m: Module) -> list:
        """Bytes that the row keeps which even banks share, and that of odd banks."""
        of_result = registered(m, self.vector_write.payload.keep, name="kept")
        of_row = Mux(self._no_row, self._chunk.payload.keep, self._row.payload.keep)
        return [Mux(busy, of_result, of_row) for busy in self._busy]

    def _share_words(self, m: Module) -> tuple[list, list, list]:
        """Enables, address and words of the row that even banks share, and of that of odd banks."""
        config, row, chunk = self.config, self._row, self._chunk.payload
        group_bits = (config.row_words - 1).bit_length()
        enable, words = Signal(config.n), Signal(data.ArrayLayout(16, config.n))
        for p in range(config.n):
            group, word = divmod(p, config.row_words)
            in_group = chunk.partition[group_bits:] == group
            m.d.comb += [
                enable[p].eq(Mux(self._no_row, chunk.mask[word] & in_group, row.payload.enable[p])),
                words[p].eq(Mux(self._no_row, chunk.data[word], row.payload.words[p])),
            ]
        addr = self._line(Mux(self._no_row, chunk.addr, row.payload.addr))
        enables, addrs, shared = [], [], []
        for parity, result in enumerate((self._low.as_value(), self._odd)):
            busy = self._busy[parity]
            chosen_words = Signal(16 * config.n, name=f"words_{parity}")
            m.d.comb += chosen_words.eq(Mux(busy, result, words.as_value()))
            shared.append(chosen_words)
            enables.append(Mux(busy, self._enable, enable))
            addrs.append(Mux(busy, self._addr, addr))
        return enables, addrs, shared
