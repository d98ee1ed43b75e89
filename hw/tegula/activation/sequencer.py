"""Activation instructions, column by column: row requests, address checks, loads of the table."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from tegula.activation.issue import ROW_CYCLES
from tegula.activation.layouts import exit_layout, order_layout
from tegula.activation.table import table_write_layout
from tegula.activation.work import (
    APPLY,
    TABLE,
    ActivationCode,
    Request,
    describe_column,
    list_checks,
    make_state,
)
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.sequencing import SCALAR_ADDRESS_BITS, Sequencer
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import TableKind
from tegula.lib.delay import delay

__all__ = ["ColumnSequencer"]

_UNANSWERED = 8
"""Rows that may be requested and not be here: more than the scratchpad holds back."""


class ColumnSequencer(Sequencer):
    """Columns of activation instructions, of those that pass their checks.

    A column is one row of the scratchpad, or two of a 32-bit format; it is checked, and then
    requested, when there are words `free` for it. Scale and bias come first, a column each. An
    instruction follows the one before after one cycle, unless it has to wait until the lanes are
    `drained`: it does not have `overlap` set, or goes on with a sum, or sums up where the one
    before did not (or the other way round), or loads the table. A sum that finishes holds the
    engine until it has been written. Rows for the table are requested one a cycle, and written as
    they come. The ports below are those that not every `Sequencer` has.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    row : Out(stream of range(sbuf_depth)), row_valid : In(1), row_data : In(ArrayLayout(16, n))
        Scratchpad rows; answers in order, at least `ROW_CYCLES` after acceptance.
    ordered : Out(1), order : Out(order_layout), free, pending, remains : In(1), fields : Out(APPLY)
        See `ColumnIssue`.
    table_done : Out(1)
        An instruction that loads the table is complete.
    write_en : Out(1), write : Out(table_write_layout)
        To the tables.
    total : Out(exit_layout), unused : Out(PARTIALS)
        Destination of the sums; which partial sums have not been written.
    """

    _TO_COME = ("scale", "bias", "running", "finishing", "loading", "fetching")

    def __init__(self, config: TileConfig):
        super().__init__(
            config,
            Engine.ACTIVATION,
            {
                "row": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "row_valid": In(1),
                "row_data": In(data.ArrayLayout(16, config.n)),
                "ordered": Out(1),
                "order": Out(order_layout(config)),
                "free": In(1),
                "pending": In(1),
                "remains": In(1),
                "fields": Out(APPLY),
                "table_done": Out(1),
                "write_en": Out(1),
                "write": Out(table_write_layout()),
                "total": Out(exit_layout(config)),
                "unused": Out(PARTIALS, init=(1 << PARTIALS) - 1),
            },
        )

    def elaborate(self, platform):
        """Acceptance, checks, requests, the table, the next column, the end."""
        m = Module()
        self._state = state = make_state()
        unanswered, full = self._count_rows(m)
        self._accept(m, unanswered)
        request = Request(*(Signal(name=name) for name in Request._fields))
        checks = list_checks(state, self._config)
        fault = self._find_fault(m, request.granted, checks)
        self._request(m, request, fault, full)
        self._load(m, unanswered)
        unused = self._advance(m, request, fault)
        m.d.comb += describe_column(state, unused, self.order, self.total)
        self._end(m, fault=fault, left=state.running | self.pending | (unanswered != 0))
        return m

    def _count_rows(self, m: Module) -> tuple[Signal, Signal]:
        """Rows that are requested and not here, and whether these are as many as may be.

        Whether one is late, which was `denied`.
        """
        accepted, full = Signal(), Signal()
        unanswered, late = Signal(range(_UNANSWERED + 1)), Signal(range(_UNANSWERED + 1))
        due = delay(m, accepted, ROW_CYCLES, "due")
        m.d.comb += [
            accepted.eq(self.row.valid & self.row.ready),
            self.denied.eq(late != 0),
        ]
        m.d.sync += [
            unanswered.eq(unanswered + accepted - self.row_valid),
            late.eq(late + due - self.row_valid),
            full.eq(
                ((unanswered == _UNANSWERED) | ((unanswered == _UNANSWERED - 1) & accepted))
                & ~self.row_valid
            ),
        ]
        return unanswered, full

    def _accept(self, m: Module, unanswered: Value) -> None:
        """Acceptance of the next instruction once nothing of the last can interfere with it.

        `busy` knows of a column that is ordered, and of a row that is requested, one cycle late,
        but then columns, or rows for the table, were still to come. `resting` is its complement,
        in a register of its own, for it enables many.
        """
        state, instr = self._state, self.instr.payload
        fields, table = data.View(APPLY, instr.payload), data.View(TABLE, instr.payload)
        busy, resting, works = Signal(), Signal(init=1), Signal()
        applies, loads = instr.op == ActivationCode.APPLY, instr.op == ActivationCode.TABLE
        other_rhythm = fields.sum != state.sums
        waits = loads | (applies & (~fields.overlap | fields.proceed | other_rhythm))
        working = (
            state.running,
            state.finishing & ~(state.combining & self.drained),
            state.loading & ~self.table_done,
            state.trapped,
            self.remains,
        )
        answered = (unanswered == 0) | ((unanswered == 1) & self.row_valid)
        m.d.comb += [
            works.eq(
                (self.start & (applies | loads)) | (Cat(working).any() & ~self.stop) | ~answered
            ),
            self.fields.eq(state.fields),
        ]
        m.d.sync += [busy.eq(works), resting.eq(~works)]
        self._take(m, busy=busy, waits=waits, has_work=applies | loads)
        with m.If(self.start):
            m.d.sync += state.second.eq(0)
        with m.If(self.start & applies):
            m.d.sync += [
                state.scale.eq(1),
                state.bias.eq(1),
                state.running.eq(1),
                state.finishing.eq(fields.sum & fields.finish),
                state.table.eq(0),
                state.sums.eq(fields.sum),
            ]
        with m.If(self.start & loads):
            m.d.sync += [
                state.loading.eq(1),
                state.fetching.eq(1),
                state.table.eq(1),
                state.low_here.eq(0),
            ]
        # Loaded before it is known that the instruction starts, which enables few registers then.
        entries = table.kind == TableKind.ENTRIES
        two = Mux(loads, entries, fields.scale_partition)
        with m.If(resting):
            m.d.sync += [
                state.pc.eq(instr.pc),
                state.fields.eq(fields),
                state.entries.eq(entries),
                state.needs_rows.eq(loads | fields.scale_partition),
                state.two.eq(two),
                state.ends.eq(~two),
                state.element_ends.eq(0),
                state.x_moves.eq(loads | ~two),
                state.index.eq(table.first),
                state.x_at.eq(Mux(loads, table.addr, fields.scale[:SCALAR_ADDRESS_BITS])),
                state.dst_at.eq(fields.dst),
                state.left.eq(Mux(loads, table.count, fields.columns)),
                state.partial.eq(0),
                state.begins.eq(fields.sum & ~fields.proceed),
            ]

    def _request(self, m: Module, request: Request, fault: Value, full: Value) -> None:
        """Requests of rows: of the next column when there is room for it, or of the table."""
        state = self._state
        due, reads = Signal(), Signal()
        sbuf_bits = (self._config.sbuf_depth - 1).bit_length()
        m.d.comb += [
            due.eq(
                ((state.running & (self.free | state.second)) | state.fetching) & ~full & ~self.stop
            ),
            # A row that comes is the table's, unless it is not there; other rows need an order.
            reads.eq(state.needs_rows & ~(state.loading & state.x_at[sbuf_bits:].any())),
            # The table's rows are counted one by one; a pair begins at an even address.
            self.row.payload.eq(state.x_at | (state.second & ~state.loading)),
            self.row.valid.eq(due & reads),
            request.granted.eq(due & (~state.needs_rows | self.row.ready)),
            request.last.eq(request.granted & state.ends),
            self.ordered.eq(request.granted & ~fault & ~state.second & ~state.loading),
            self.order.constant.eq(~state.needs_rows),
            self.order.double.eq(state.two),
        ]

    def _load(self, m: Module, unanswered: Value) -> None:
        """Rows that come, written to the table, whatever has become of the request of later ones.

        After the last one its instruction is complete.
        """
        state = self._state
        row = Cat(self.row_data[p] for p in range(4))
        low, comes = Signal(len(row), reset_less=True), Signal()
        m.d.comb += [
            comes.eq(self.row_valid & state.table),
            self.write_en.eq(comes & (state.low_here | ~state.entries)),
            self.write.entry.eq(state.entries),
            self.write.index.eq(state.index),
            # A descriptor is half a row, and nothing behind it is used.
            self.write.words.eq(Cat(Mux(state.entries, low[:32], row[:32]), low[32:], row)),
            self.table_done.eq(self.write_en & state.loading & ~state.fetching & (unanswered == 1)),
        ]
        with m.If(~state.low_here):
            m.d.sync += low.eq(row)
        with m.If(comes):
            m.d.sync += state.low_here.eq(state.entries & ~state.low_here)
        with m.If(self.write_en):
            m.d.sync += state.index.eq(state.index + 1)
        with m.If(self.table_done):
            m.d.sync += state.loading.eq(0)
        with m.If(self.stop):
            m.d.sync += state.table.eq(0)

    def _advance(self, m: Module, request: Request, fault: Value) -> Signal:
        """State of the next column or row of the table; partial sums unused before this column.

        What a row that fails its checks advances is of no consequence, but for the partial sums.
        """
        state, fields = self._state, self._state.fields
        unused = Signal(PARTIALS, name="unused_before")
        x_step = Signal(fields.x_stride.shape())
        two = Signal(name="two_next")
        m.d.comb += [
            unused.eq(self.unused | state.begins.replicate(PARTIALS)),
            x_step.eq(Mux(state.loading, 1, fields.x_stride)),
            two.eq(
                Mux(
                    state.loading,
                    state.entries,
                    Mux(state.scale, fields.bias_partition, fields.x_format == FP32.code),
                )
            ),
        ]
        x_at = Mux(state.bias, fields.x_addr, state.x_at + x_step)
        with m.If(request.granted):
            m.d.sync += [
                state.second.eq(~state.ends),
                state.ends.eq(~state.ends | ~two),
                state.x_moves.eq(state.loading | ~state.ends | ~two),
                state.element_ends.eq(
                    ~state.loading & Mux(state.ends, ~state.scale & ~two, ~state.bias)
                ),
            ]
        with m.If(request.granted & state.x_moves):
            m.d.sync += state.x_at.eq(Mux(state.scale, fields.bias[:SCALAR_ADDRESS_BITS], x_at))
        with m.If(request.last):
            m.d.sync += [
                state.two.eq(two),
                state.needs_rows.eq(~state.scale | fields.bias_partition),
                state.scale.eq(0),
                state.bias.eq(state.scale),
            ]
            with m.If(~state.bias):
                m.d.sync += [
                    state.left.eq(state.left - 1),
                    state.fetching.eq(state.loading & (state.left != 1)),
                ]
        with m.If(request.granted & state.element_ends):
            m.d.sync += [
                state.running.eq(state.left != 1),
                state.partial.eq(state.partial + 1),
                state.dst_at.eq(state.dst_at + fields.dst_stride),
                state.begins.eq(0),
            ]
            with m.If(fields.sum & ~fault):
                m.d.sync += self.unused.eq(unused & ~(1 << state.partial))
        return unused
