"""Read side of the scratchpad: grants of the banks, and selection of the words."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.lib.mux import select
from tegula.memory.bank import BankPorts
from tegula.memory.ports import (
    BankReadSignature,
    ChunkReadSignature,
    MovingReadSignature,
    PairReadSignature,
    RowReadSignature,
)

__all__ = ["READ_CYCLES", "ScratchpadReads", "reader_ports"]

READ_CYCLES = 2
"""Cycles from an accepted read to its data: the memory's register, and one behind the bank
select."""


def reader_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """Ports of the scratchpad's readers, in the order in which they are served."""
    row, pair = RowReadSignature(config), PairReadSignature(config)
    return {
        "moving": In(MovingReadSignature(config)),
        "stationary": In(row),
        "x": In(pair),
        "y": In(pair),
        "activation": In(row),
        "store": In(ChunkReadSignature(config)),
    }


class ScratchpadReads(BankPorts):
    """Addresses of the banks, each for the first of its readers, and selection of their words.

    The order of readers is that of `Scratchpad`. A pair lies in an even bank and the next, so its
    halves are selected among half of the banks each.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    banks : Out(BankReadSignature) x bus_words
    moving : In(MovingReadSignature)
    stationary, activation : In(RowReadSignature)
    x, y : In(PairReadSignature)
    store : In(ChunkReadSignature)
        As in `Scratchpad`.
    """

    def __init__(self, config: TileConfig):
        super().__init__(config, reader_ports(config), BankReadSignature(config))

    def elaborate(self, platform):
        """Grants in order, addresses of the banks, selection."""
        m = Module()
        banks = range(self.config.bus_words)
        stationary_at = self.stationary.request
        x_at, y_at, store_at = self.x.request, self.y.request, self.store.request
        moving_at = [self.moving.en & (self._bank(self.moving.addr) == b) for b in banks]
        moving, row, x, y = (
            Signal(len(banks), name=f"{n}_at") for n in ("moving", "row", "x", "y")
        )
        stationary, other = Signal(len(banks)), Signal(len(banks))
        m.d.comb += moving.eq(Cat(moving_at))

        self._grant(m, stationary_at, self._row_banks(stationary_at.payload), moving, stationary)
        self._grant(m, x_at, self._pair_banks(x_at.payload), moving | stationary, x)
        self._grant(m, y_at, self._pair_banks(y_at.payload), moving | stationary | x, y)
        row_addr, store_row = self._grant_other(m, moving | x | y, other)
        m.d.comb += row.eq(stationary | other)
        granted = self._grant_line(m, moving | row | x | y, store_row)

        line = self._line
        for b in banks:
            addr = self.banks[b].addr
            with m.If(moving[b]):
                m.d.comb += addr.eq(line(self.moving.addr))
            with m.Elif(row[b]):
                m.d.comb += addr.eq(line(row_addr))
            with m.Elif(x[b]):
                m.d.comb += addr.eq(line(x_at.payload.addr))
            with m.Elif(y[b]):
                m.d.comb += addr.eq(line(y_at.payload.addr))
            with m.Else():
                m.d.comb += addr.eq(line(store_at.payload.addr))
        self._words = [bank.data for bank in self.banks]
        self._select_rows(m, row_addr)
        self._select_pair(m, "x", x_at.payload, self.x.data)
        self._select_pair(m, "y", y_at.payload, self.y.data)
        self._select_store(m, row_addr, store_row, granted)
        return m

    def _row_banks(self, addr: Value) -> Value:
        return Cat(self._bank(addr) == b for b in range(self.config.bus_words))

    def _pair_banks(self, request: data.View) -> Value:
        """Both banks of the pair that holds `addr`, or the one of a single row."""
        bank = self._bank(request.addr)
        return Cat(
            (bank[1:] == b >> 1) & (request.double | (bank[0] == (b & 1)))
            for b in range(self.config.bus_words)
        )

    def _grant(self, m: Module, request, wanted: Value, taken: Value, at: Signal) -> None:
        """Acceptance of `request` if none of its banks is taken; `at`: the banks granted to it."""
        m.d.comb += request.ready.eq(~(wanted & taken).any())
        with m.If(request.valid & request.ready):
            m.d.comb += at.eq(wanted)

    def _grant_other(self, m: Module, taken: Value, at: Signal) -> tuple[Signal, Value]:
        """Row port in cycles without a stationary read: its address, and its grant to a store."""
        stationary, activation, store = (
            port.request for port in (self.stationary, self.activation, self.store)
        )
        addr = Signal(range(self.config.sbuf_depth))
        store_requests = store.valid & (store.payload.layout == Layout.PARTITION)
        free = Signal()
        wanted = self._row_banks(addr)
        m.d.comb += [
            addr.eq(Mux(activation.valid, activation.payload, store.payload.addr)),
            free.eq(~stationary.valid & ~(wanted & taken).any()),
            activation.ready.eq(free),
        ]
        store_row = Signal()
        m.d.comb += store_row.eq(store_requests & ~activation.valid & free)
        with m.If((activation.valid & free) | store_row):
            m.d.comb += at.eq(wanted)
        for name in ("stationary", "activation"):
            port, reading = getattr(self, name), Signal(name=f"{name}_reading")
            m.d.sync += reading.eq(port.request.valid & port.request.ready)
            m.d.sync += port.valid.eq(reading)
        row_addr = Signal.like(addr)
        m.d.comb += row_addr.eq(Mux(stationary.valid, stationary.payload, addr))
        return row_addr, store_row

    def _grant_line(self, m: Module, taken: Value, store_row: Value) -> Signal:
        """Banks that a store's line reads in this cycle."""
        count, store = self.config.bus_words, self.store.request
        requested = store.valid & (store.payload.layout == Layout.FREE)
        done, granted, complete = Signal(count), Signal(count), Signal()
        m.d.comb += [
            granted.eq(~taken & ~done & requested.replicate(count)),
            complete.eq(requested & (granted | done).all()),
            store.ready.eq(store_row | complete),
        ]
        m.d.sync += done.eq(Mux(complete | ~requested, 0, done | granted))
        return granted

    def _select_rows(self, m: Module, row_addr: Value) -> None:
        moving_bank, row_bank = Signal(self._bank_bits), Signal(self._bank_bits)
        self._row = Signal(data.ArrayLayout(16, self.config.n))
        read = Signal.like(self._row)
        m.d.sync += [
            moving_bank.eq(self._bank(self.moving.addr)),
            row_bank.eq(self._bank(row_addr)),
            self.moving.data.eq(select(self._words, moving_bank)),
            read.eq(self._row),
        ]
        m.d.comb += [
            self._row.eq(select(self._words, row_bank)),
            self.stationary.data.eq(read),
            self.activation.data.eq(read),
        ]

    def _select_pair(self, m: Module, name: str, request: data.View, words: data.View) -> None:
        bank, double = Signal(self._bank_bits, name=f"{name}_bank"), Signal(name=f"{name}_double")
        m.d.sync += [bank.eq(self._bank(request.addr)), double.eq(request.double)]
        halves = []
        for parity in (0, 1):
            half = Signal(data.ArrayLayout(16, self.config.n), name=f"{name}_half_{parity}")
            m.d.comb += half.eq(select(self._words[parity::2], bank[1:]))
            halves.append(half)
        even, odd = halves
        for p in range(self.config.n):
            low = Mux(double | ~bank[0], even[p], odd[p])
            m.d.sync += words[p].eq(Cat(low, odd[p]))

    def _select_store(self, m: Module, row_addr: Value, store_row: Value, granted: Value) -> None:
        config = self.config
        partition = Signal(range(config.n))
        granted_before, row_before, before = Signal.like(granted), Signal(), Signal()
        m.d.sync += [
            partition.eq(self.store.request.payload.partition),
            granted_before.eq(granted),
            row_before.eq(store_row),
            before.eq(self.store.request.ready),
            self.store.valid.eq(before),
        ]
        with m.If(row_before):
            for word in range(config.row_words):
                groups = [self._row[p] for p in range(word, config.n, config.row_words)]
                group = partition[(config.row_words - 1).bit_length() :]
                m.d.sync += self.store.data[word].eq(select(groups, group))
        for b in range(config.bus_words):
            with m.If(granted_before[b]):
                words = [self._words[b][p] for p in range(config.n)]
                m.d.sync += self.store.data[b].eq(select(words, partition))
