"""Activation instructions, column by column: row requests, address checks, loads of the table."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from tegula.activation.layouts import Kind, column_layout, exit_layout
from tegula.activation.table import table_write_layout
from tegula.activation.work import APPLY, TABLE, ActivationCode, Request, Scalar, state_layout
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.sequencing import CHECKED_ADDRESS, Sequencer
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import TableKind
from tegula.isa.traps import Trap

__all__ = ["ColumnSequencer"]


class ColumnSequencer(Sequencer):
    """Columns of activation instructions, of those that pass their checks.

    A column is one row of the scratchpad, or two of a 32-bit format; it is requested when the one
    before has been passed on, and checked before. Scale and bias come first, a column each. An
    instruction follows the one before after one cycle, unless it has to wait until the lanes are
    `drained`: it does not have `overlap` set, or goes on with a sum, or sums up where the one
    before did not (or the other way round), or loads the table. A sum that finishes holds the
    engine until it has been written. The ports below are those that not every `Sequencer` has.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    row : Out(stream of range(sbuf_depth)), row_valid : In(1), row_data : In(ArrayLayout(16, n))
        Scratchpad rows; answers in order, a fixed time after acceptance.
    column : Out(stream of {column, words})
        A column with its words, the low row in the low halves.
    table_done : Out(1)
        An instruction that loads the table is complete.
    write_en : Out(1), write : Out(table_write_layout)
        To the tables.
    total : Out(exit_layout), unused : Out(PARTIALS)
        See `ItemPipeline`.
    """

    _TO_COME = ("scale", "bias", "running", "finishing", "loading")

    def __init__(self, config: TileConfig):
        words = data.ArrayLayout(32, config.n)
        column = data.StructLayout({"column": column_layout(config), "words": words})
        super().__init__(
            config,
            Engine.ACTIVATION,
            {
                "row": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "row_valid": In(1),
                "row_data": In(data.ArrayLayout(16, config.n)),
                "column": Out(stream.Signature(column)),
                "table_done": Out(1),
                "write_en": Out(1),
                "write": Out(table_write_layout()),
                "total": Out(exit_layout(config)),
                "unused": Out(PARTIALS, init=(1 << PARTIALS) - 1),
            },
        )

    def elaborate(self, platform):
        """Acceptance, checks, requests, reception, the next column, the end."""
        m = Module()
        self._state = state = Signal(state_layout(), name="state")
        self._accept(m)
        scalar = self._next_scalar(m)
        request = Request(*(Signal(name=name) for name in Request._fields))
        fault = self._check(m, scalar, request.granted)
        self._request(m, scalar, request, fault)
        self._receive(m, request)
        unused = self._advance(m, request)
        self._describe(m, scalar, request, unused)
        left = state.scale | state.bias | state.running | state.in_flight | self.column.valid
        self._end(m, fault=fault, left=left)
        return m

    def _accept(self, m: Module) -> None:
        """Acceptance of the next instruction once nothing of the last can interfere with it."""
        state, instr = self._state, self.instr.payload
        fields, table = data.View(APPLY, instr.payload), data.View(TABLE, instr.payload)
        busy = Signal()
        applies, loads = instr.op == ActivationCode.APPLY, instr.op == ActivationCode.TABLE
        other_rhythm = fields.sum != state.fields.sum
        waits = loads | (applies & (~fields.overlap | fields.proceed | other_rhythm))
        working = (
            *(state[name] for name in self._TO_COME),
            *(state.trapped, state.in_flight, self.column.valid),
        )
        m.d.comb += busy.eq(Cat(working).any())
        self._take(m, busy=busy, waits=waits, has_work=applies | loads)
        with m.If(self.start):
            m.d.sync += [state.pc.eq(instr.pc), state.second.eq(0)]
        with m.If(self.start & applies):
            m.d.sync += [
                state.fields.eq(fields),
                state.scale.eq(1),
                state.bias.eq(1),
                state.running.eq(1),
                state.finishing.eq(fields.sum & fields.finish),
                state.x_at.eq(fields.x_addr),
                state.dst_at.eq(fields.dst),
                state.left.eq(fields.columns),
                state.partial.eq(0),
                state.begins.eq(fields.sum & ~fields.proceed),
            ]
        with m.If(self.start & loads):
            m.d.sync += [
                state.loading.eq(1),
                state.entries.eq(table.kind == TableKind.ENTRIES),
                state.index.eq(table.first),
                state.x_at.eq(table.addr),
                state.left.eq(table.count),
            ]

    def _next_scalar(self, m: Module) -> Scalar:
        """The scalar that is due: scale, then bias."""
        state, fields = self._state, self._state.fields
        value, from_partition = Signal(32, name="scalar_value"), Signal()
        m.d.comb += [
            from_partition.eq(Mux(state.scale, fields.scale_partition, fields.bias_partition)),
            value.eq(Mux(state.scale, fields.scale, fields.bias)),
        ]
        return Scalar(state.scale | state.bias, value, from_partition)

    def _check(self, m: Module, scalar: Scalar, granted: Value) -> Signal:
        """1 if the row that is granted fails its checks, whose order is the contract's."""
        state, fields = self._state, self._state.fields
        sbuf_bits = (self._config.sbuf_depth - 1).bit_length()
        x_at, dst_at = state.x_at, state.dst_at
        scalar_at, sum_at = scalar.value[:16], fields.sum_dst
        reads_scalar = scalar.is_next & scalar.from_partition & ~state.second
        element = ~scalar.is_next & state.running & ~state.second
        totals = element & state.finishing & (state.left == 1)
        x_wide, wide = fields.x_format == FP32.code, fields.format == FP32.code
        row = element | state.loading
        checks = (
            (reads_scalar & scalar_at[sbuf_bits:].any(), Trap.SBUF_RANGE, scalar_at),
            (reads_scalar & scalar_at[0], Trap.SBUF_ALIGNMENT, scalar_at),
            (row & x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, x_at),
            (element & x_wide & x_at[0], Trap.SBUF_ALIGNMENT, x_at),
            (element & dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, dst_at),
            (element & wide & dst_at[0], Trap.SBUF_ALIGNMENT, dst_at),
            (totals & sum_at[sbuf_bits:].any(), Trap.SBUF_RANGE, sum_at),
            (totals & sum_at[0], Trap.SBUF_ALIGNMENT, sum_at),
        )
        return self._find_fault(m, granted, checks)

    def _request(self, m: Module, scalar: Scalar, request: Request, fault: Value) -> None:
        """Requests for the rows of the next column, when there is room for it."""
        state, fields = self._state, self._state.fields
        due, needs_rows, two = Signal(), Signal(), Signal()
        at = Signal(CHECKED_ADDRESS)
        m.d.comb += [
            due.eq(
                (scalar.is_next | state.running | (state.loading & (state.left != 0)))
                & ~state.in_flight
                & (~self.column.valid | self.column.ready)
                & ~self.stop
            ),
            needs_rows.eq(~scalar.is_next | scalar.from_partition),
            two.eq(
                Mux(
                    state.loading,
                    state.entries,
                    scalar.is_next | (fields.x_format == FP32.code),
                )
                & needs_rows
            ),
            at.eq(Mux(scalar.is_next, scalar.value[:16], state.x_at)),
            # The table's rows are counted one by one; a pair begins at an even address.
            self.row.payload.eq(at | (state.second & ~state.loading)),
            self.row.valid.eq(due & needs_rows),
            self.denied.eq(self.row.valid & ~self.row.ready),
            request.granted.eq(due & (~needs_rows | self.row.ready)),
            request.last.eq(request.granted & ~fault & (state.second | ~two)),
            request.constant.eq(request.last & ~needs_rows),
        ]
        with m.If(request.granted & ~fault):
            m.d.sync += state.second.eq(two & ~state.second)
        with m.If(request.last):
            m.d.sync += [state.in_flight.eq(needs_rows), state.two.eq(two)]

    def _receive(self, m: Module, request: Request) -> None:
        """A column made of rows, or rows written to the table."""
        state, words = self._state, self.column.payload.words
        complete = Signal()
        # The second row may come before it is known that the first was not the last.
        m.d.comb += complete.eq(self.row_valid & state.in_flight & (state.got_low | ~state.two))
        with m.If(self.row_valid):
            m.d.sync += state.got_low.eq(~complete)
            for p in range(self._config.n):
                with m.If(state.got_low):
                    m.d.sync += words[p][16:].eq(self.row_data[p])
                with m.Else():
                    m.d.sync += words[p][:16].eq(self.row_data[p])
        with m.If(self.column.ready):
            m.d.sync += self.column.valid.eq(0)
        with m.If(request.constant):
            m.d.sync += self.column.valid.eq(1)
        with m.If(complete):
            m.d.sync += [state.in_flight.eq(0), self.column.valid.eq(~state.loading)]
        row = Cat(self.row_data[p] for p in range(4))
        low = Cat(words[p][:16] for p in range(4))
        loaded = Signal()
        m.d.comb += [
            self.write_en.eq(complete & state.loading),
            self.write.entry.eq(state.entries),
            self.write.index.eq(state.index),
            self.write.words.eq(Mux(state.entries, Cat(low, row), row)),
            loaded.eq(self.write_en & (state.left == 0)),
            self.table_done.eq(loaded),
        ]
        with m.If(self.write_en):
            m.d.sync += state.index.eq(state.index + 1)
        with m.If(loaded):
            m.d.sync += state.loading.eq(0)
        with m.If(self.stop):
            m.d.sync += [state.got_low.eq(0), state.in_flight.eq(0), self.column.valid.eq(0)]

    def _advance(self, m: Module, request: Request) -> Signal:
        """State of the next column or row of the table; partial sums unused before this column."""
        state, fields = self._state, self._state.fields
        unused = Signal(PARTIALS, name="unused_before")
        m.d.comb += unused.eq(self.unused | state.begins.replicate(PARTIALS))
        with m.If(state.loading):
            with m.If(request.granted):
                m.d.sync += state.x_at.eq(state.x_at + 1)
            with m.If(request.last):
                m.d.sync += state.left.eq(state.left - 1)
        with m.Elif(request.last):
            with self._advance_element(m, state.scale, state.bias, fields.x_stride):
                m.d.sync += [
                    state.dst_at.eq(state.dst_at + fields.dst_stride),
                    state.begins.eq(0),
                ]
                with m.If(fields.sum):
                    m.d.sync += self.unused.eq(unused & ~(1 << state.partial))
        return unused

    def _describe(self, m: Module, scalar: Scalar, request: Request, unused: Value) -> None:
        """Controls of the lanes for the column that is requested, and for the sum."""
        state, fields = self._state, self._state.fields
        column, total = self.column.payload.column, self.total
        function, travel = column.function, column.travel
        with m.If(request.last):
            m.d.sync += [
                travel.kind.eq(
                    Mux(state.scale, Kind.SCALE, Mux(state.bias, Kind.BIAS, Kind.ELEMENT))
                ),
                column.constant.eq(request.constant),
                column.value.eq(scalar.value),
                column.x_format.eq(Mux(scalar.is_next, FP32.code, fields.x_format)),
                function.descriptor.eq(fields.function),
                *(function[name].eq(fields[name]) for name in ("low", "exp", "parity")),
                *(function[name].eq(fields[name]) for name in ("odd", "log")),
                travel.sums.eq(fields.sum & ~scalar.is_next),
                travel.fresh.eq(unused.bit_select(state.partial, 1)),
                travel.partial.eq(state.partial),
                travel.exit.format.eq(fields.format),
                travel.exit.saturate.eq(fields.saturate),
                travel.exit.addr.eq(state.dst_at),
                travel.exit.rows.eq(fields.rows),
                travel.exit.last.eq((state.left == 1) & ~state.finishing & ~scalar.is_next),
            ]
        m.d.comb += [
            total.format.eq(FP32.code),
            total.addr.eq(fields.sum_dst),
            total.rows.eq(fields.rows),
            total.last.eq(1),
        ]
