"""The read side of the scratchpad: who gets which bank, and the way of the words back."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.lib.mux import select
from tegula.memory.ports import pair_request_layout, sbuf_read_layout

__all__ = ["READ_CYCLES", "ScratchpadReads"]

READ_CYCLES = 2
"""Cycles from an accepted read to its data: the memory's register, and one behind the bank
select."""


class ScratchpadReads(wiring.Component):
    """Address each bank for the first of its readers, and select the words behind the banks.

    The order of readers is that of `Scratchpad`. A pair lies in an even bank and the next, so its
    halves are selected among half of the banks each.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving_addr, moving_en, moving_data, x, x_data, y, y_data, stationary, activation, row_data,
    stationary_valid, activation_valid, store, store_data, store_valid
        As in `Scratchpad`.
    bank_addr : Out x banks, bank_data : In(ArrayLayout(16, n)) x banks
        The banks; data a cycle after the address.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        self._bank_bits = (config.bus_words - 1).bit_length()
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
                "store": In(stream.Signature(sbuf_read_layout(config))),
                "store_data": Out(data.ArrayLayout(16, config.bus_words)),
                "store_valid": Out(1),
                "bank_addr": Out(range(config.sbuf_depth // config.bus_words)).array(
                    config.bus_words
                ),
                "bank_data": In(row).array(config.bus_words),
            }
        )

    def elaborate(self, platform):
        """Grant in order, address the banks, select."""
        m = Module()
        banks = range(self.config.bus_words)
        moving_at = [self.moving_en & (self._bank(self.moving_addr) == b) for b in banks]
        moving, row, x, y = (
            Signal(len(banks), name=f"{n}_at") for n in ("moving", "row", "x", "y")
        )
        stationary, other = Signal(len(banks)), Signal(len(banks))
        m.d.comb += moving.eq(Cat(moving_at))

        self._grant(
            m, self.stationary, self._row_banks(self.stationary.payload), moving, stationary
        )
        self._grant(m, self.x, self._pair_banks(self.x.payload), moving | stationary, x)
        self._grant(m, self.y, self._pair_banks(self.y.payload), moving | stationary | x, y)
        row_addr, store_row = self._grant_other(m, moving | x | y, other)
        m.d.comb += row.eq(stationary | other)
        granted = self._grant_line(m, moving | row | x | y, store_row)

        line = self._line
        for b in banks:
            with m.If(moving[b]):
                m.d.comb += self.bank_addr[b].eq(line(self.moving_addr))
            with m.Elif(row[b]):
                m.d.comb += self.bank_addr[b].eq(line(row_addr))
            with m.Elif(x[b]):
                m.d.comb += self.bank_addr[b].eq(line(self.x.payload.addr))
            with m.Elif(y[b]):
                m.d.comb += self.bank_addr[b].eq(line(self.y.payload.addr))
            with m.Else():
                m.d.comb += self.bank_addr[b].eq(line(self.store.payload.addr))
        self._select_rows(m, row_addr)
        self._select_pair(m, "x", self.x.payload, self.x_data)
        self._select_pair(m, "y", self.y.payload, self.y_data)
        self._select_store(m, row_addr, store_row, granted)
        return m

    def _bank(self, addr: Value) -> Value:
        return addr[: self._bank_bits]

    def _line(self, addr: Value) -> Value:
        return addr[self._bank_bits :]

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
        """Accept `request` if none of its banks is taken; `at` are the banks that it then has."""
        m.d.comb += request.ready.eq(~(wanted & taken).any())
        with m.If(request.valid & request.ready):
            m.d.comb += at.eq(wanted)

    def _grant_other(self, m: Module, taken: Value, at: Signal) -> tuple[Signal, Value]:
        """The row port where `stationary` leaves it: its address, and whether a store has it."""
        addr = Signal(range(self.config.sbuf_depth))
        store_asks = self.store.valid & (self.store.payload.layout == Layout.PARTITION)
        free = Signal()
        wanted = self._row_banks(addr)
        m.d.comb += [
            addr.eq(Mux(self.activation.valid, self.activation.payload, self.store.payload.addr)),
            free.eq(~self.stationary.valid & ~(wanted & taken).any()),
            self.activation.ready.eq(free),
        ]
        store_row = Signal()
        m.d.comb += store_row.eq(store_asks & ~self.activation.valid & free)
        with m.If((self.activation.valid & free) | store_row):
            m.d.comb += at.eq(wanted)
        for name, request in (("stationary", self.stationary), ("activation", self.activation)):
            reading = Signal(name=f"{name}_reading")
            m.d.sync += reading.eq(request.valid & request.ready)
            m.d.sync += getattr(self, f"{name}_valid").eq(reading)
        row_addr = Signal.like(addr)
        m.d.comb += row_addr.eq(Mux(self.stationary.valid, self.stationary.payload, addr))
        return row_addr, store_row

    def _grant_line(self, m: Module, taken: Value, store_row: Value) -> Signal:
        """Banks that the line of a store reads in this cycle."""
        count = self.config.bus_words
        asks = self.store.valid & (self.store.payload.layout == Layout.FREE)
        done, granted, complete = Signal(count), Signal(count), Signal()
        m.d.comb += [
            granted.eq(~taken & ~done & asks.replicate(count)),
            complete.eq(asks & (granted | done).all()),
            self.store.ready.eq(store_row | complete),
        ]
        m.d.sync += done.eq(Mux(complete | ~asks, 0, done | granted))
        return granted

    def _select_rows(self, m: Module, row_addr: Value) -> None:
        moving_bank, row_bank = Signal(self._bank_bits), Signal(self._bank_bits)
        self._row = Signal(data.ArrayLayout(16, self.config.n))
        rows = list(self.bank_data)
        m.d.sync += [
            moving_bank.eq(self._bank(self.moving_addr)),
            row_bank.eq(self._bank(row_addr)),
            self.moving_data.eq(select(rows, moving_bank)),
            self.row_data.eq(self._row),
        ]
        m.d.comb += self._row.eq(select(rows, row_bank))

    def _select_pair(self, m: Module, name: str, request: data.View, words: data.View) -> None:
        bank, double = Signal(self._bank_bits, name=f"{name}_bank"), Signal(name=f"{name}_double")
        m.d.sync += [bank.eq(self._bank(request.addr)), double.eq(request.double)]
        halves = []
        for parity in (0, 1):
            half = Signal(data.ArrayLayout(16, self.config.n), name=f"{name}_half_{parity}")
            m.d.comb += half.eq(select(list(self.bank_data)[parity::2], bank[1:]))
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
            partition.eq(self.store.payload.partition),
            granted_before.eq(granted),
            row_before.eq(store_row),
            before.eq(self.store.ready),
            self.store_valid.eq(before),
        ]
        with m.If(row_before):
            for word in range(config.row_words):
                groups = [self._row[p] for p in range(word, config.n, config.row_words)]
                group = partition[(config.row_words - 1).bit_length() :]
                m.d.sync += self.store_data[word].eq(select(groups, group))
        for b in range(config.bus_words):
            with m.If(granted_before[b]):
                words = [self.bank_data[b][p] for p in range(config.n)]
                m.d.sync += self.store_data[b].eq(select(words, partition))
