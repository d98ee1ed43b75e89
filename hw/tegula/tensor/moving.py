"""Moving side of the tensor engine: a column a cycle, and the addresses of its partial sums."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import TAG_BITS, payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS_BITS
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.isa.tensor import PSUM_ADDRESS_BITS, SCALE_ROW_BITS
from tegula.isa.traps import CAUSE_BITS, Trap
from tegula.tensor.psum import reuse_cycles
from tegula.tensor.written_map import MarkSignature

__all__ = ["MovingStreamer"]


class MovingStreamer(wiring.Component):
    """Issue of column f of a matmul: word ``addr + f * stride`` and PSUM word ``psum_addr + f``.

    One column a cycle. A column that accumulates waits while a column of the same PSUM word, issued
    less than `reuse_cycles` ago, is still in the array. Matmuls follow each other without a gap.
    What a column is checked for, and whether it waits, is known in a register when it is its turn;
    the registers of its addresses follow `matmul` wherever the next column is the first of one.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    start : In(1), matmul : In(payload of tensor.matmul), pc : In(TAG_BITS)
        Begin in the next cycle, if this one is `ready`.
    fresh : In(1)
        With `start`: this matmul uses the operand in the chain.
    pair_anchor : In(9), refused : In(1)
        With `start`, where operands may be packed: what `OperandPair` makes of it.
    stop : In(1)
        Drop the work.
    mark : Out(MarkSignature)
        The PSUM word of the column that is issued, and that of the next one.
    active : Out(1)
        A column is left, and its operand is read in this cycle, whether it is issued or not.
    issued : Out(1)
        A column is issued in this cycle, with:
    addr : Out(CHECKED_ADDRESS_BITS), psum_addr : Out(PSUM_ADDRESS_BITS + 1)
    accumulate, swap : Out(1), rows : Out(PARTITION_BITS), format : Out(FORMAT_BITS)
        Its addresses and attributes.
    packed : Out(1), anchor : Out(9)
        The same, where operands may be packed: whether its words are, and the least anchor.
    scaled : Out(1), first : Out(1), scale_row, scale_rows : Out(SCALE_ROW_BITS)
        The same with `mx`: whether columns have scales, whether the column is the matmul's first,
        the row of the first ones, and how many rows follow it, at most all.
    last : Out(1)
        It is the matmul's last; 1 too while `idle`.
    ready, idle : Out(1)
        A matmul may start in this cycle; nothing is in work.
    fault : Out(1), cause : Out(CAUSE_BITS), trap_pc : Out(TAG_BITS)
        The next column is not issued, for this trap: it holds until `stop`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        rows = SCALE_ROW_BITS
        scales = {
            "scaled": Out(1),
            "first": Out(1),
            "scale_row": Out(rows),
            "scale_rows": Out(rows),
        }
        super().__init__(
            {
                "start": In(1),
                "matmul": In(payload_layout("tensor.matmul")),
                "pc": In(TAG_BITS),
                "fresh": In(1),
                **({"pair_anchor": In(9), "refused": In(1)} if config.packed_fp8 else {}),
                "stop": In(1),
                "mark": Out(MarkSignature(config)),
                "active": Out(1),
                "issued": Out(1),
                "addr": Out(CHECKED_ADDRESS_BITS),
                "psum_addr": Out(PSUM_ADDRESS_BITS + 1),
                "accumulate": Out(1),
                "swap": Out(1),
                "rows": Out(PARTITION_BITS),
                "format": Out(FORMAT_BITS),
                **({"packed": Out(1), "anchor": Out(9)} if config.packed_fp8 else {}),
                **(scales if config.mx else {}),
                "last": Out(1),
                "ready": Out(1),
                "idle": Out(1, init=1),
                "fault": Out(1),
                "cause": Out(CAUSE_BITS),
                "trap_pc": Out(TAG_BITS),
            }
        )

    def elaborate(self, platform):
        """Columns one after the other, each with what its checks have found a cycle ahead."""
        m = Module()
        matmul = self.matmul
        left, stride = Signal.like(matmul.columns), Signal(matmul.stride.shape())
        last = Signal(init=1)
        """Of `left`; 1 without a matmul too, so that what comes next is the next matmul."""
        continues = Signal()
        """`~last`, a register of its own: what selects the next PSUM word has few other loads."""
        advances = Signal()
        """The column is issued, or there is none."""
        fault, hazard, passes = Signal(), Signal(), Signal()
        m.d.comb += [
            passes.eq(self.mark.ready & ~hazard & ~fault),
            advances.eq(~self.active | passes),
            self.issued.eq(self.active & passes),
            self.last.eq(last),
            self.ready.eq(last & advances),
            self.mark.en.eq(self.issued),
        ]
        next_addr = Signal.like(self.addr)
        next_psum_addr, after = Signal.like(self.psum_addr), Signal.like(self.psum_addr)
        next_accumulate, next_last = Signal(), Signal()
        m.d.comb += [
            next_addr.eq(Mux(last, matmul.addr, self.addr + stride)),
            next_psum_addr.eq(Mux(continues, after, matmul.psum_addr)),
            next_accumulate.eq(Mux(continues, self.accumulate, matmul.accumulate)),
            next_last.eq(Mux(last, ~self.start | (matmul.columns == 1), left == 2)),
        ]
        with m.If(advances):
            m.d.sync += [
                self.addr.eq(next_addr),
                self.psum_addr.eq(next_psum_addr),
                after.eq(next_psum_addr + 1),
                self.accumulate.eq(next_accumulate),
                left.eq(Mux(last, matmul.columns, left - 1)),
                last.eq(next_last),
                continues.eq(~next_last),
                self.swap.eq(last & self.fresh),
            ]
        with m.If(self.ready):
            # Whether a matmul starts or not.
            m.d.sync += [
                stride.eq(matmul.stride),
                self.rows.eq(matmul.rows),
                self.format.eq(matmul.format),
                self.trap_pc.eq(self.pc),
            ]
        if self.config.mx:
            with m.If(advances):
                m.d.sync += self.first.eq(last)
            with m.If(self.ready):
                m.d.sync += [
                    self.scaled.eq(matmul.scaled),
                    self.scale_row.eq(matmul.scales),
                    self.scale_rows.eq(self._rows_behind(matmul.columns)),
                ]
        next_refused = Signal()
        if self.config.packed_fp8:
            refused = Signal()
            m.d.comb += next_refused.eq(Mux(last, self.refused, refused))
            with m.If(self.ready):
                m.d.sync += [
                    self.packed.eq(matmul.packed),
                    self.anchor.eq(self.pair_anchor),
                    refused.eq(self.refused),
                ]
        repeated = self._find_hazard(m, hazard, advances, last, next_psum_addr, next_accumulate)
        self._check(
            *(m, fault, advances, next_addr, next_psum_addr, next_accumulate, repeated),
            next_refused,
        )
        with m.If(self.stop):
            m.d.sync += [self.active.eq(0), self.idle.eq(1), last.eq(1), continues.eq(0)]
        with m.Elif(self.ready):
            m.d.sync += [self.active.eq(self.start), self.idle.eq(~self.start)]
        return m

    def _rows_behind(self, columns):
        """Rows of N columns behind the first one, as many as the buffer has at most."""
        rows = (columns - 1)[: len(columns)] >> (self.config.n.bit_length() - 1)
        most = (1 << SCALE_ROW_BITS) - 1
        return Mux(rows > most, most, rows)

    def _check(self, m, fault, advances, addr, psum_addr, accumulate, repeated, refused):
        """Checks of the next column: `fault`, which it has in its cycle, and its cause.

        Its word is written, too, if it is `repeated`: that of the column before, marked just now.
        """
        outside, outside_psum, unpaired = Signal(), Signal(), Signal()
        checks = Signal(4)
        m.d.comb += [
            self.mark.addr.eq(self.psum_addr),
            self.mark.next_addr.eq(psum_addr),
            checks.eq(
                Cat(
                    addr >= self.config.sbuf_depth,
                    psum_addr >= self.config.psum_depth,
                    refused,
                    accumulate & ~self.mark.written & ~repeated,
                )
            ),
            self.fault.eq(self.active & self.mark.ready & fault),
        ]
        with m.If(advances):
            m.d.sync += [
                fault.eq(checks.any()),
                Cat(outside, outside_psum, unpaired).eq(checks[:3]),
            ]
        with m.If(unpaired):
            m.d.comb += self.cause.eq(Trap.PACKED_FORMATS)
        with m.Elif(outside):
            m.d.comb += self.cause.eq(Trap.SBUF_RANGE)
        with m.Elif(outside_psum):
            m.d.comb += self.cause.eq(Trap.PSUM_RANGE)
        with m.Else():
            m.d.comb += self.cause.eq(Trap.PSUM_UNWRITTEN)

    def _find_hazard(self, m, hazard, advances, last, psum_addr, accumulate):
        """Hazard: the next column would read a word that is still in the array.

        Returns whether the next column, the first of a matmul, has the word of the one before it,
        which is issued in this cycle.
        """
        bits = (self.config.psum_depth - 1).bit_length()
        word, next_word = self.psum_addr[:bits], Signal(bits)
        repeated = Signal()
        m.d.comb += [
            next_word.eq(psum_addr[:bits]),
            repeated.eq(last & self.active & (self.matmul.psum_addr[:bits] == word)),
        ]
        # For each column in flight, whether its word is that of the next column.
        ages = reuse_cycles(self.config) - 1
        same = Signal(ages)
        valid, address, matches = self.issued, word, [repeated]
        for age in range(1, ages):
            held_valid = Signal(name=f"in_flight_{age}")
            held_address = Signal.like(word, name=f"in_flight_addr_{age}")
            m.d.sync += [held_valid.eq(valid), held_address.eq(address)]
            matches.append(held_valid & (held_address == next_word))
            valid, address = held_valid, held_address
        found, stays = Signal(), Signal()
        m.d.comb += [
            found.eq(accumulate & Cat(matches).any()),
            stays.eq(self.accumulate & same[:-1].any()),
        ]
        m.d.sync += [
            same.eq(Mux(advances, Cat(matches), same << 1)),
            hazard.eq(Mux(advances, found, stays)),
        ]
        return repeated
