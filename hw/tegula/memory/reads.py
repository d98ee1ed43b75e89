"""Read side of the scratchpad: grants of the banks, and selection of the words."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, connect, flipped

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.lib.delay import registered
from tegula.lib.mux import select
from tegula.lib.stream import StreamBuffer
from tegula.memory.bank import BankPorts
from tegula.memory.ports import (
    BankReadSignature,
    ChunkReadSignature,
    PairReadSignature,
    RowReadSignature,
    TensorReadSignature,
)
from tegula.memory.read_share import ReadShare

__all__ = ["ScratchpadReads", "reader_ports"]


def reader_ports(config: TileConfig) -> dict[str, wiring.Member]:
    """Ports of the scratchpad's readers, in the order in which they are served."""
    operand, pair = TensorReadSignature(config), PairReadSignature(config)
    return {
        "moving": In(operand),
        "stationary": In(operand),
        "x": In(pair),
        "y": In(pair),
        "activation": In(RowReadSignature(config)),
        "load_read": In(ChunkReadSignature(config)),
        "store_read": In(ChunkReadSignature(config)),
    }


class ScratchpadReads(BankPorts):
    """Addresses of the banks, each for the first of its readers, and selection of their words.

    Every port ends at a register. In the cycle of the addresses the banks of the tensor and the
    vector engine stand in registers, one-hot; rows and lines get what is left. A cycle later the
    same masks select the words: an AND-OR of the banks, for those of other readers come to nothing.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    banks : Out(BankReadSignature) x bus_words
    moving, stationary : In(TensorReadSignature)
    x, y : In(PairReadSignature)
    activation : In(RowReadSignature)
    load_read, store_read : In(ChunkReadSignature)
        As in `Scratchpad`.
    """

    def __init__(self, config: TileConfig):
        super().__init__(config, reader_ports(config), BankReadSignature(config))

    def elaborate(self, platform):
        """Masks of the granted readers, grants of the others, addresses, selection."""
        m = Module()
        m.submodules.rows = rows = StreamBuffer(range(self.config.sbuf_depth))
        m.submodules.share = share = ReadShare(self.config)
        connect(m, flipped(self.activation.request), rows.i)
        connect(m, flipped(self.load_read), share.load)
        connect(m, flipped(self.store_read), share.store)
        self._rows, self._chunk = rows.o, share.read
        self._words = [bank.data for bank in self.banks]

        moving, stationary, x, y = self._register_masks(m)
        activation, row_addr, chunk_row = self._grant_row(m)
        row, left = Signal.like(activation), Signal.like(activation)
        m.d.comb += [row.eq(stationary | activation), left.eq(~(self._occupied | activation))]
        lines = self._grant_line(m, left, chunk_row)
        chunk_addr = self._chunk.request.payload.addr
        sources = (
            (moving, self._line(self._moving_addr)),
            (row, self._line(row_addr)),
            (x, self._line(self._x_addr)),
            (y, self._line(self._y_addr)),
            # Whether DMA reads there or not.
            (left, self._line(chunk_addr)),
        )
        for b, bank in enumerate(self.banks):
            m.d.comb += bank.addr.eq(_and_or((mask[b], addr) for mask, addr in sources))
        chunk_bank = self._one_hot(chunk_addr) & chunk_row.replicate(self.config.bus_words)
        self._select_rows(m, moving, row | chunk_bank)
        self._select_pair(m, "x", self.x, x)
        self._select_pair(m, "y", self.y, y)
        self._select_chunk(m, lines, chunk_row)
        return m

    def _register_masks(self, m: Module) -> tuple[Signal, ...]:
        """Banks of `moving`, `stationary`, `x` and `y`, and their addresses, in that cycle."""
        taken = Signal(self.config.bus_words)
        early = [
            self._one_hot(port.addr) & port.en.replicate(self.config.bus_words)
            for port in (self.moving, self.stationary)
        ]
        x, y = Signal.like(taken, name="x_banks"), Signal.like(taken, name="y_banks")
        m.d.comb += [x.eq(self._pair_banks(self.x)), y.eq(self._pair_banks(self.y))]
        # As the vector engine does it (`tegula.memory.grants`), which needs no answer.
        pairs = [
            x & (~(x & taken).any()).replicate(len(taken)),
            y & (~(y & (taken | x)).any()).replicate(len(taken)),
        ]
        masks = [Signal.like(taken, name=f"{n}_at") for n in ("moving", "stationary", "x", "y")]
        self._occupied, self._stationary_reads = Signal.like(taken), Signal()
        for before, mask, name in zip(early, masks[:2], ("moving", "stationary"), strict=True):
            held = Signal.like(mask, name=f"{name}_before")
            m.d.sync += [held.eq(before), mask.eq(held)]
            if name == "stationary":
                m.d.sync += self._stationary_reads.eq(held.any())
        m.d.sync += [
            taken.eq(early[0] | early[1]),
            *(mask.eq(banks) for mask, banks in zip(masks[2:], pairs, strict=True)),
            self._occupied.eq(taken | pairs[0] | pairs[1]),
        ]
        m.d.comb += [self.x.taken.eq(taken), self.y.taken.eq(taken)]

        def later(value: Value, cycles: int, name: str) -> Value:
            for cycle in range(cycles):
                value = registered(m, value, name=f"{name}_addr_{cycle}")
            return value

        self._moving_addr = later(self.moving.addr, 2, "moving")
        self._stationary_addr = later(self.stationary.addr, 2, "stationary")
        self._x_addr = later(self.x.request.addr, 1, "x")
        self._y_addr = later(self.y.request.addr, 1, "y")
        return tuple(masks)

    def _pair_banks(self, port) -> Value:
        """Both banks of the pair that is requested, or the one of a single row, or none."""
        bank, double = self._bank(port.request.addr), port.request.double
        return Cat(
            port.en & (bank[1:] == b >> 1) & (double | (bank[0] == (b & 1)))
            for b in range(self.config.bus_words)
        )

    def _grant_row(self, m: Module) -> tuple[Signal, Value, Signal]:
        """Row of the activation engine, else of DMA, in a cycle without a stationary column.

        Returns the bank of the former, the address of the row port but for DMA's, and whether DMA
        reads a row.
        """
        rows, chunk = self._rows, self._chunk.request
        activation, accepted, chunk_row = Signal(self.config.bus_words), Signal(), Signal()
        is_free = [
            ~self._stationary_reads & ~select(list(self._occupied), self._bank(addr))
            for addr in (rows.payload, chunk.payload.addr)
        ]
        comes = Signal()
        m.d.comb += [
            rows.ready.eq(is_free[0]),
            accepted.eq(rows.valid & is_free[0]),
            # Bank by bank, not by what is accepted, which takes longer to know.
            comes.eq(rows.valid & ~self._stationary_reads),
            activation.eq(
                self._one_hot(rows.payload)
                & ~self._occupied
                & comes.replicate(self.config.bus_words)
            ),
            chunk_row.eq(
                chunk.valid & (chunk.payload.layout == Layout.PARTITION) & ~rows.valid & is_free[1]
            ),
        ]
        self._activation_reading = reading = Signal(name="activation_reading")
        m.d.sync += [reading.eq(accepted), self.activation.valid.eq(reading)]
        addr = Mux(self._stationary_reads, self._stationary_addr, rows.payload)
        return activation, addr, chunk_row

    def _grant_line(self, m: Module, left: Value, chunk_row: Value) -> Signal:
        """Banks of those `left` that a line of DMA reads; acceptance of a line, or of DMA's row."""
        count, chunk = self.config.bus_words, self._chunk.request
        requested = chunk.valid & (chunk.payload.layout == Layout.FREE)
        done, granted, complete = Signal(count), Signal(count), Signal()
        m.d.comb += [
            granted.eq(left & ~done & requested.replicate(count)),
            complete.eq(requested & (left | done).all()),
            chunk.ready.eq(chunk_row | complete),
        ]
        m.d.sync += done.eq(Mux(complete | ~requested, 0, done | granted))
        return granted

    def _select_rows(self, m: Module, moving: Value, row: Value) -> None:
        """Words of both operands of the tensor engine, and of the rows beside them."""
        rows = []
        for name, mask in (("moving", moving), ("row", row)):
            at = Signal.like(mask, name=f"{name}_select")
            words = Signal(data.ArrayLayout(16, self.config.n), name=f"{name}_words")
            m.d.sync += at.eq(mask)
            m.d.comb += words.eq(_and_or(zip(at, self._words, strict=True)))
            rows.append(words)
        self._row = rows[1]
        # Of its own, and loaded for its rows alone: else synthesis makes one register of two, far
        # from one of the engines.
        activation = Signal.like(self._row, name="activation_read", reset_less=True)
        with m.If(self._activation_reading):
            m.d.sync += activation.eq(self._row)
        m.d.comb += [
            self.moving.data.eq(registered(m, rows[0], name="moving_read")),
            self.stationary.data.eq(registered(m, self._row, name="row_read")),
            self.activation.data.eq(activation),
        ]

    def _select_pair(self, m: Module, name: str, port, mask: Value) -> None:
        """Words of a pair, or the word of a row, low; the high half of a row is undefined."""
        at, single, before = (Signal.like(mask, name=f"{name}_select"), Signal(), Signal())
        m.d.sync += [at.eq(mask), single.eq(before), before.eq(~port.request.double)]
        even, odd = (
            _and_or(zip(at[parity::2], self._words[parity::2], strict=True)) for parity in (0, 1)
        )
        high = Signal(16 * self.config.n, name=f"{name}_high")
        low = Signal.like(high, name=f"{name}_low")
        m.d.comb += [high.eq(odd), low.eq(even | (high & single.replicate(len(high))))]
        for p in range(self.config.n):
            word = Cat(low.word_select(p, 16), high.word_select(p, 16))
            m.d.comb += port.data[p].eq(registered(m, word, name=f"{name}_read_{p}"))

    def _select_chunk(self, m: Module, lines: Value, chunk_row: Value) -> None:
        """Words of a line, bank by bank as they are read, or of a row."""
        config, chunk = self.config, self._chunk
        group_bits = (config.row_words - 1).bit_length()
        partition = chunk.request.payload.partition
        read, row, accepted = Signal.like(lines), Signal(), Signal()
        groups = config.n // config.row_words
        of_line, of_row = Signal(config.n), Signal(groups)
        m.d.sync += [
            read.eq(lines),
            row.eq(chunk_row),
            accepted.eq(chunk.request.ready),
            chunk.valid.eq(accepted),
            of_line.eq(Cat((partition == p) & ~chunk_row for p in range(config.n))),
            of_row.eq(Cat((partition[group_bits:] == g) & chunk_row for g in range(groups))),
        ]
        words = Signal(chunk.data.shape(), reset_less=True)
        m.d.comb += chunk.data.eq(words)
        for b in range(config.bus_words):
            choices = [(of_line[p], self._words[b][p]) for p in range(config.n)]
            if b < config.row_words:
                choices += [(of_row[g], self._row[g * config.row_words + b]) for g in range(groups)]
            with m.If(read[b] | row):
                m.d.sync += words[b].eq(_and_or(choices))


def _and_or(choices) -> Value:
    """OR of the values whose condition holds, of (condition, value)."""
    terms = []
    for condition, value in choices:
        value = Value.cast(value)
        terms.append(value & condition.replicate(len(value)))
    return reduce(or_, terms)
