"""Write side of the scratchpad: routing of rows, pairs and lines to the banks."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.memory.bank import BankPorts
from tegula.memory.ports import (
    BankWriteSignature,
    VectorWriteSignature,
    row_write_layout,
    sbuf_write_layout,
)

__all__ = ["ScratchpadWrites", "writer_ports"]


def writer_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """Ports of the scratchpad's writers, in the order in which they are served."""
    return {
        "vector_write": In(VectorWriteSignature(config)),
        "activation_write": In(stream.Signature(row_write_layout(config))),
        "load": In(stream.Signature(sbuf_write_layout(config))),
    }


class ScratchpadWrites(BankPorts):
    """Routing of results and DMA words to the banks, through one register.

    The order of writers is that of `Scratchpad`. A row waits for a cycle without a result in a bank
    of its parity, for banks of one parity share their words.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    vector_write : In(VectorWriteSignature)
    activation_write : In(stream of `row_write_layout`)
    load : In(stream of `sbuf_write_layout`)
        As in `Scratchpad`.
    banks : Out(BankWriteSignature) x bus_words
        A cycle after acceptance.
    """

    def __init__(self, config: TileConfig):
        super().__init__(config, writer_ports(config), BankWriteSignature(config))

    def elaborate(self, platform):
        """Vector results, then a row, then a line."""
        m = Module()
        vector, load = self.vector_write.payload, self.load.payload
        by_row, by_line = self._route_vector(m)
        row, row_addr, enables, words = self._route_row(m, by_row)
        granted = self._route_line(m, by_row | by_line | row)
        for b in range(self.config.bus_words):
            enable = Signal(self.config.n, name=f"en_{b}")
            addr = Signal.like(self.banks[b].addr, name=f"addr_{b}")
            line_word = Mux(by_line[b], self._line_word(b), load.data[b])
            in_row = by_row[b] | row[b]
            m.d.comb += [
                addr.eq(self._line(load.addr)),
                enable.eq(granted[b].replicate(self.config.n) & self._one_hot(load.partition)),
            ]
            with m.If(by_line[b]):
                m.d.comb += [
                    addr.eq(self._line(vector.addr)),
                    enable.eq(
                        self._line_enable(b).replicate(self.config.n)
                        & self._one_hot(vector.partition)
                    ),
                ]
            with m.Elif(in_row):
                m.d.comb += [
                    addr.eq(self._line(Mux(by_row[b], vector.addr, row_addr))),
                    enable.eq(enables[b & 1]),
                ]
            m.d.sync += [
                self.banks[b].en.eq(enable),
                self.banks[b].addr.eq(addr),
                self.banks[b].data.eq(
                    Mux(in_row, words[b & 1].as_value(), line_word.replicate(self.config.n))
                ),
            ]
        return m

    def _one_hot(self, partition: Value) -> Value:
        return Cat(partition == p for p in range(self.config.n))

    def _line_word(self, bank: int) -> Value:
        """Result that is written to `bank` by a line."""
        return self.vector_write.payload.words[bank % self.config.row_words][:16]

    def _line_enable(self, bank: int) -> Value:
        return self.vector_write.payload.enable[bank % self.config.row_words]

    def _route_vector(self, m: Module) -> tuple[Signal, Signal]:
        """Banks that the vector engine writes in this cycle, as rows and as a line."""
        config, vector = self.config, self.vector_write.payload
        by_row, by_line = Signal(config.bus_words), Signal(config.bus_words)
        bank = self._bank(vector.addr)
        first_group = bank[(config.row_words - 1).bit_length() :]
        with m.If(vector.enable.any() & ~vector.line):
            m.d.comb += by_row.eq(
                Cat(
                    (bank[1:] == b >> 1) & (vector.double | (bank[0] == (b & 1)))
                    for b in range(config.bus_words)
                )
            )
        with m.If(vector.enable.any() & vector.line):
            m.d.comb += by_line.eq(
                Cat(first_group == b // config.row_words for b in range(config.bus_words))
            )
        return by_row, by_line

    def _route_row(self, m: Module, by_row: Value) -> tuple:
        """Row of the activation engine, else of DMA, beside the results of the vector engine.

        Even banks share the words of one row, odd banks those of another, so that the row is
        accepted if no result is written to a bank of its parity, and no line to any. Returns the
        bank of the row, its address, and enables and words for even and odd banks.
        """
        config, load, own = self.config, self.load.payload, self.activation_write
        group_bits = (config.row_words - 1).bit_length()
        addr = Signal(range(config.sbuf_depth))
        enable, words = Signal(config.n), Signal(data.ArrayLayout(16, config.n))
        load_requests = self.load.valid & (load.layout == Layout.PARTITION)
        m.d.comb += addr.eq(Mux(own.valid, own.payload.addr, load.addr))
        for p in range(config.n):
            group, word = divmod(p, config.row_words)
            in_group = load.partition[group_bits:] == group
            m.d.comb += [
                enable[p].eq(Mux(own.valid, own.payload.enable[p], load.mask[word] & in_group)),
                words[p].eq(Mux(own.valid, own.payload.words[p], load.data[word])),
            ]
        vector = self.vector_write.payload
        busy = Signal(2)
        for parity in (0, 1):
            m.d.comb += busy[parity].eq(by_row[parity::2].any())
        line_busy = vector.line & vector.enable.any()
        free = Signal()
        m.d.comb += free.eq(~Mux(addr[0], busy[1], busy[0]) & ~line_busy)
        self._row_accepted = Signal()
        m.d.comb += [
            own.ready.eq(free),
            self._row_accepted.eq(load_requests & ~own.valid & free),
        ]
        row = Signal(config.bus_words)
        with m.If((own.valid | load_requests) & free):
            m.d.comb += row.eq(Cat(self._bank(addr) == b for b in range(config.bus_words)))

        enables, shared = [], []
        for parity in (0, 1):
            chosen = Signal(data.ArrayLayout(16, config.n), name=f"words_{parity}")
            for p in range(config.n):
                low, high = vector.words[p][:16], vector.words[p][16:]
                result = Mux(vector.double, high, low) if parity else low
                m.d.comb += chosen[p].eq(Mux(busy[parity], result, words[p]))
            shared.append(chosen)
            enables.append(Mux(busy[parity], vector.enable, enable))
        return row, addr, enables, shared

    def _route_line(self, m: Module, taken: Value) -> Signal:
        """Banks that a DMA line writes in this cycle."""
        count, load = self.config.bus_words, self.load.payload
        requested = self.load.valid & (load.layout == Layout.FREE)
        done, granted, complete = Signal(count), Signal(count), Signal()
        m.d.comb += [
            granted.eq(~taken & ~done & load.mask & requested.replicate(count)),
            complete.eq(requested & ~(load.mask & ~(granted | done)).any()),
            self.load.ready.eq(complete | self._row_accepted),
        ]
        m.d.sync += done.eq(Mux(complete | ~requested, 0, done | granted))
        return granted
