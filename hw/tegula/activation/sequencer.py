"""Columns of activation instructions: rows asked for, addresses checked, tables loaded."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.layouts import Kind, column_layout, exit_layout
from tegula.activation.table import table_write_layout
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.interface import (
    instruction_layout,
    payload_layout,
    ticket_layout,
    trap_layout,
)
from tegula.formats import FP32
from tegula.isa.instructions import Engine, codes
from tegula.isa.operations import TableKind
from tegula.isa.traps import Trap

__all__ = ["ColumnSequencer"]

_Code = codes(Engine.ACTIVATION)

_ADDRESS_BITS = 20
"""One step (2**11) away from a checked address, with sign; trap records hold as many bits."""


class ColumnSequencer(wiring.Component):
    """Walk the columns of activation instructions; hand over those that pass their checks.

    A column is one row of the scratchpad, or two of a 32-bit format; it is asked for when the one
    before has been handed over, and checked before. Scale and bias come first, a column each. An
    instruction follows the one before after one cycle, unless it has to wait until the lanes are
    `drained`: it is not told that it may `overlap`, or goes on with a sum, or sums up where the one
    before did not (or the other way round), or loads the table. A sum that finishes holds the
    engine until it has left the lanes.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    instr : In(stream of `instruction_layout(Engine.ACTIVATION)`)
        Instructions.
    start : Out(1), entry : Out(ticket_layout(config, "sync", "signal")), room : In(1)
        An instruction starts; how it will be signalled; whether that can be remembered.
    row : Out(stream of range(sbuf_depth)), row_valid : In(1), row_data : In(ArrayLayout(16, n))
        Scratchpad rows; answers in order, a fixed time after acceptance.
    column : Out(stream of {column, words})
        A column with its words, the low row in the low halves.
    table_done : Out(1)
        An instruction that loads the table is complete.
    write_en : Out(1), write : Out(table_write_layout)
        To the tables.
    finish : Out(1), total : Out(exit_layout), unused : Out(PARTIALS)
        See `ItemPipeline`.
    drained : In(1), alone : In(1)
        No column is under way beyond `column`; no other instruction's signal is pending.
    stop : In(1)
        Drop everything; held until `idle`.
    trap : Out(trap_layout), trap_valid : Out(1)
        Pulsed when all columns before the violation, and all earlier instructions, are complete.
    denied : Out(1), idle : Out(1)
        A row was asked for and not granted; nothing is pending here.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        words = data.ArrayLayout(32, config.n)
        column = data.StructLayout({"column": column_layout(config), "words": words})
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(Engine.ACTIVATION))),
                "start": Out(1),
                "entry": Out(ticket_layout(config, "sync", "signal")),
                "room": In(1),
                "row": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "row_valid": In(1),
                "row_data": In(data.ArrayLayout(16, config.n)),
                "column": Out(stream.Signature(column)),
                "table_done": Out(1),
                "write_en": Out(1),
                "write": Out(table_write_layout()),
                "finish": Out(1),
                "total": Out(exit_layout(config)),
                "unused": Out(PARTIALS, init=(1 << PARTIALS) - 1),
                "drained": In(1),
                "alone": In(1),
                "stop": In(1),
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "denied": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """Accept, ask, check, receive, walk, finish, trap."""
        m = Module()
        self._declare()
        self._accept(m)
        violation = self._check(m)
        self._ask(m, violation)
        self._receive(m)
        self._walk(m)
        self._describe(m)
        self._end(m, violation)
        return m

    def _declare(self) -> None:
        """The state of the walk."""
        self._fields = Signal(payload_layout("activation.apply"))
        self._pc = Signal.like(self.instr.payload.pc)
        self._scale, self._bias = Signal(), Signal()
        """Scalars that are still to come."""
        self._running, self._finishing = Signal(), Signal()
        """Columns are still to come; the sum is still to come, or under way."""
        self._loading, self._entries = Signal(), Signal()
        """The table is loaded; with entries."""
        address = signed(_ADDRESS_BITS)
        self._x_at, self._dst_at = Signal(address), Signal(address)
        self._index, self._left = Signal(10), Signal(13)
        self._partial = Signal(range(PARTIALS))
        self._begins = Signal()
        """The next column begins a sum: no partial sum counts, whatever was before."""
        self._second = Signal()
        """The second row of a column is due."""
        self._flying, self._two = Signal(), Signal()
        """A column has been asked for and has not come; it has two rows."""
        self._trapped = Signal()
        self._granted, self._asked, self._constant = Signal(), Signal(), Signal()
        """A row is granted in this cycle, or the column needs none; it is the column's last; the
        column needs none."""

    def _accept(self, m: Module) -> None:
        """Take the next instruction once nothing of the last can meet it."""
        instr = self.instr.payload
        fields = data.View(payload_layout("activation.apply"), instr.payload)
        table = data.View(payload_layout("activation.table"), instr.payload)
        busy = Signal()
        applies, loads = instr.op == _Code.APPLY, instr.op == _Code.TABLE
        other_rhythm = fields.sum != self._fields.sum
        waits = loads | (applies & (~fields.overlap | fields.proceed | other_rhythm))
        working = (
            *(self._scale, self._bias, self._running, self._finishing, self._loading),
            *(self._trapped, self._flying, self.column.valid),
        )
        m.d.comb += [
            busy.eq(Cat(working).any()),
            self.instr.ready.eq(~busy & ~self.stop & self.room & (self.drained | ~waits)),
            self.start.eq(self.instr.valid & self.instr.ready),
            self.entry.sync.eq(~(applies | loads)),
            self.entry.signal.eq(instr.signal),
            self.entry.update.sem.eq(instr.signal_sem),
            self.entry.update.value.eq(instr.signal_value),
            self.idle.eq(~busy),
        ]
        with m.If(self.start):
            m.d.sync += [self._pc.eq(instr.pc), self._second.eq(0)]
        with m.If(self.start & applies):
            m.d.sync += [
                self._fields.eq(fields),
                self._scale.eq(1),
                self._bias.eq(1),
                self._running.eq(1),
                self._finishing.eq(fields.sum & fields.finish),
                self._x_at.eq(fields.x_addr),
                self._dst_at.eq(fields.dst),
                self._left.eq(fields.columns),
                self._partial.eq(0),
                self._begins.eq(fields.sum & ~fields.proceed),
            ]
        with m.If(self.start & loads):
            m.d.sync += [
                self._loading.eq(1),
                self._entries.eq(table.kind == TableKind.ENTRIES),
                self._index.eq(table.first),
                self._x_at.eq(table.addr),
                self._left.eq(table.count),
            ]

    def _check(self, m: Module) -> Signal:
        """Whether the row that is granted fails its checks; the order is the contract's."""
        fields, config = self._fields, self._config
        sbuf_bits = (config.sbuf_depth - 1).bit_length()
        is_scalar = self._scale | self._bias
        self._from_partition = Signal()
        self._scalar_value = Signal(32)
        m.d.comb += [
            self._from_partition.eq(
                Mux(self._scale, fields.scale_partition, fields.bias_partition)
            ),
            self._scalar_value.eq(Mux(self._scale, fields.scale, fields.bias)),
        ]
        scalar_at, sum_at = self._scalar_value[:16], fields.sum_dst
        scalar = is_scalar & self._from_partition & ~self._second
        element = ~is_scalar & self._running & ~self._second
        totals = element & self._finishing & (self._left == 1)
        x_wide, wide = fields.x_format == FP32.code, fields.format == FP32.code
        row = element | self._loading
        checks = (
            (scalar & scalar_at[sbuf_bits:].any(), Trap.SBUF_RANGE, scalar_at),
            (scalar & scalar_at[0], Trap.SBUF_ALIGNMENT, scalar_at),
            (row & self._x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, self._x_at),
            (element & x_wide & self._x_at[0], Trap.SBUF_ALIGNMENT, self._x_at),
            (element & self._dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, self._dst_at),
            (element & wide & self._dst_at[0], Trap.SBUF_ALIGNMENT, self._dst_at),
            (totals & sum_at[sbuf_bits:].any(), Trap.SBUF_RANGE, sum_at),
            (totals & sum_at[0], Trap.SBUF_ALIGNMENT, sum_at),
        )
        cause, address, violation = Signal(Trap), Signal(_ADDRESS_BITS), Signal()
        for index, (fails, trap, where) in enumerate(checks):
            with m.If(fails) if index == 0 else m.Elif(fails):
                m.d.comb += [cause.eq(trap), address.eq(where)]
        m.d.comb += violation.eq(self._granted & (cause != Trap.NONE))
        with m.If(~self._trapped):
            m.d.sync += self.trap.address.eq(address)
        with m.If(violation):
            m.d.sync += [self.trap.cause.eq(cause), self.trap.pc.eq(self._pc)]
        return violation

    def _ask(self, m: Module, violation: Value) -> None:
        """Ask for the rows of the next column, when there is room for it."""
        fields = self._fields
        is_scalar = self._scale | self._bias
        due, needs_rows, two = Signal(), Signal(), Signal()
        at = Signal(signed(_ADDRESS_BITS))
        m.d.comb += [
            due.eq(
                (is_scalar | self._running | (self._loading & (self._left != 0)))
                & ~self._flying
                & (~self.column.valid | self.column.ready)
                & ~self.stop
            ),
            needs_rows.eq(~is_scalar | self._from_partition),
            two.eq(
                Mux(
                    self._loading,
                    self._entries,
                    is_scalar | (fields.x_format == FP32.code),
                )
                & needs_rows
            ),
            at.eq(Mux(is_scalar, self._scalar_value[:16], self._x_at)),
            # The table's rows are counted one by one; a pair begins at an even address.
            self.row.payload.eq(at | (self._second & ~self._loading)),
            self.row.valid.eq(due & needs_rows),
            self.denied.eq(self.row.valid & ~self.row.ready),
            self._granted.eq(due & (~needs_rows | self.row.ready)),
            self._asked.eq(self._granted & ~violation & (self._second | ~two)),
            self._constant.eq(self._asked & ~needs_rows),
        ]
        with m.If(self._granted & ~violation):
            m.d.sync += self._second.eq(two & ~self._second)
        with m.If(self._asked):
            m.d.sync += [self._flying.eq(needs_rows), self._two.eq(two)]

    def _receive(self, m: Module) -> None:
        """Rows become a column, or go to the table."""
        words = self.column.payload.words
        got_low, complete = Signal(), Signal()
        # The second row may come before it is known that the first was not the last.
        m.d.comb += complete.eq(self.row_valid & self._flying & (got_low | ~self._two))
        with m.If(self.row_valid):
            m.d.sync += got_low.eq(~complete)
            for p in range(self._config.n):
                with m.If(got_low):
                    m.d.sync += words[p][16:].eq(self.row_data[p])
                with m.Else():
                    m.d.sync += words[p][:16].eq(self.row_data[p])
        with m.If(self.column.ready):
            m.d.sync += self.column.valid.eq(0)
        with m.If(self._constant):
            m.d.sync += self.column.valid.eq(1)
        with m.If(complete):
            m.d.sync += [self._flying.eq(0), self.column.valid.eq(~self._loading)]
        row = Cat(self.row_data[p] for p in range(4))
        low = Cat(words[p][:16] for p in range(4))
        loaded = Signal()
        m.d.comb += [
            self.write_en.eq(complete & self._loading),
            self.write.entry.eq(self._entries),
            self.write.index.eq(self._index),
            self.write.words.eq(Mux(self._entries, Cat(low, row), row)),
            loaded.eq(self.write_en & (self._left == 0)),
            self.table_done.eq(loaded),
        ]
        with m.If(self.write_en):
            m.d.sync += self._index.eq(self._index + 1)
        with m.If(loaded):
            m.d.sync += self._loading.eq(0)
        with m.If(self.stop):
            m.d.sync += [got_low.eq(0), self._flying.eq(0), self.column.valid.eq(0)]

    def _walk(self, m: Module) -> None:
        """Step to the next column, or to the next row of the table."""
        fields = self._fields
        self._unused_before = Signal(PARTIALS)
        m.d.comb += self._unused_before.eq(self.unused | self._begins.replicate(PARTIALS))
        with m.If(self._loading):
            with m.If(self._granted):
                m.d.sync += self._x_at.eq(self._x_at + 1)
            with m.If(self._asked):
                m.d.sync += self._left.eq(self._left - 1)
        with m.Elif(self._asked):
            with m.If(self._scale):
                m.d.sync += self._scale.eq(0)
            with m.Elif(self._bias):
                m.d.sync += self._bias.eq(0)
            with m.Else():
                m.d.sync += [
                    self._x_at.eq(self._x_at + fields.x_stride),
                    self._dst_at.eq(self._dst_at + fields.dst_stride),
                    self._left.eq(self._left - 1),
                    self._running.eq(self._left != 1),
                    self._partial.eq(self._partial + 1),
                    self._begins.eq(0),
                ]
                with m.If(fields.sum):
                    m.d.sync += self.unused.eq(self._unused_before & ~(1 << self._partial))

    def _describe(self, m: Module) -> None:
        """What the lanes are told of the column that is asked for, and of the sum."""
        fields, column, total = self._fields, self.column.payload.column, self.total
        is_scalar = self._scale | self._bias
        function, travel = column.function, column.travel
        with m.If(self._asked):
            m.d.sync += [
                travel.kind.eq(
                    Mux(self._scale, Kind.SCALE, Mux(self._bias, Kind.BIAS, Kind.ELEMENT))
                ),
                column.constant.eq(self._constant),
                column.value.eq(self._scalar_value),
                column.x_format.eq(Mux(is_scalar, FP32.code, fields.x_format)),
                function.descriptor.eq(fields.function),
                *(function[name].eq(fields[name]) for name in ("low", "exp", "parity")),
                *(function[name].eq(fields[name]) for name in ("odd", "log")),
                travel.sums.eq(fields.sum & ~is_scalar),
                travel.fresh.eq(self._unused_before.bit_select(self._partial, 1)),
                travel.partial.eq(self._partial),
                travel.exit.format.eq(fields.format),
                travel.exit.saturate.eq(fields.saturate),
                travel.exit.addr.eq(self._dst_at),
                travel.exit.rows.eq(fields.rows),
                travel.exit.last.eq((self._left == 1) & ~self._finishing & ~is_scalar),
            ]
        m.d.comb += [
            total.format.eq(FP32.code),
            total.addr.eq(fields.sum_dst),
            total.rows.eq(fields.rows),
            total.last.eq(1),
        ]

    def _end(self, m: Module, violation: Value) -> None:
        """Let a sum finish; hold a trap until all before it is complete; stop."""
        reported, combining = Signal(), Signal()
        left = self._scale | self._bias | self._running | self._flying | self.column.valid
        m.d.comb += [
            self.finish.eq(self._finishing & ~combining & ~left & self.drained & ~self.stop),
            self.trap_valid.eq(
                self._trapped & ~reported & ~left & self.drained & self.alone & ~self.stop
            ),
        ]
        with m.If(self.finish):
            m.d.sync += combining.eq(1)
        with m.If(combining & self.drained):
            m.d.sync += [combining.eq(0), self._finishing.eq(0)]
        working = (self._scale, self._bias, self._running, self._finishing, self._loading)
        quiet = [signal.eq(0) for signal in working]
        with m.If(violation):
            m.d.sync += [*quiet, self._trapped.eq(1)]
        with m.If(self.trap_valid):
            m.d.sync += reported.eq(1)
        with m.If(self.stop):
            m.d.sync += [*quiet, combining.eq(0), self._trapped.eq(0), reported.eq(0)]
