"""Activation instructions, column by column: row requests, address checks, loads of the table."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from tegula.activation.issue import ROW_CYCLES
from tegula.activation.layouts import Kind, exit_layout, order_layout
from tegula.activation.table import table_write_layout
from tegula.activation.work import APPLY, TABLE, ActivationCode, Request, Scalar, make_state
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.sequencing import SCALAR_ADDRESS_BITS, Sequencer
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import TableKind
from tegula.isa.traps import Trap
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
    ordered : Out(1), order : Out(order_layout), free : In(1), pending : In(1), fields : Out(APPLY)
        See `ColumnIssue`.
    table_done : Out(1)
        An instruction that loads the table is complete.
    write_en : Out(1), write : Out(table_write_layout)
        To the tables.
    total : Out(exit_layout), unused : Out(PARTIALS)
        Destination of the sums; which partial sums have not been written.
    """

    _TO_COME = ("scale", "bias", "running", "finishing", "loading")

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
        unanswered = self._count_rows(m)
        self._accept(m, unanswered)
        scalar = self._next_scalar(m)
        request = Request(*(Signal(name=name) for name in Request._fields))
        fault = self._check(m, scalar, request.granted)
        self._request(m, scalar, request, fault, unanswered)
        self._load(m, unanswered)
        unused = self._advance(m, request)
        self._describe(m, scalar, unused)
        left = state.scale | state.bias | state.running | self.pending | (unanswered != 0)
        self._end(m, fault=fault, left=left)
        return m

    def _count_rows(self, m: Module) -> Signal:
        """Rows that are requested and not here; whether one is late, which was `denied`."""
        accepted = Signal()
        unanswered, late = Signal(range(_UNANSWERED + 1)), Signal(range(_UNANSWERED + 1))
        due = delay(m, accepted, ROW_CYCLES, "due")
        m.d.comb += [
            accepted.eq(self.row.valid & self.row.ready),
            self.denied.eq(late != 0),
        ]
        m.d.sync += [
            unanswered.eq(unanswered + accepted - self.row_valid),
            late.eq(late + due - self.row_valid),
        ]
        return unanswered

    def _accept(self, m: Module, unanswered: Value) -> None:
        """Acceptance of the next instruction once nothing of the last can interfere with it."""
        state, instr = self._state, self.instr.payload
        fields, table = data.View(APPLY, instr.payload), data.View(TABLE, instr.payload)
        busy = Signal()
        applies, loads = instr.op == ActivationCode.APPLY, instr.op == ActivationCode.TABLE
        other_rhythm = fields.sum != state.sums
        waits = loads | (applies & (~fields.overlap | fields.proceed | other_rhythm))
        # Scale and bias are due only while elements are to come.
        working = (
            *(state.running, state.finishing, state.loading, state.trapped),
            *(self.pending, unanswered != 0),
        )
        m.d.comb += [busy.eq(Cat(working).any()), self.fields.eq(state.fields)]
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
            m.d.sync += [state.loading.eq(1), state.table.eq(1), state.low_here.eq(0)]
        # Loaded before it is known that the instruction starts, which enables few registers then.
        with m.If(~busy):
            m.d.sync += [
                state.pc.eq(instr.pc),
                state.fields.eq(fields),
                state.entries.eq(table.kind == TableKind.ENTRIES),
                state.index.eq(table.first),
                state.x_at.eq(Mux(loads, table.addr, fields.scale[:SCALAR_ADDRESS_BITS])),
                state.dst_at.eq(fields.dst),
                state.left.eq(Mux(loads, table.count, fields.columns)),
                state.partial.eq(0),
                state.begins.eq(fields.sum & ~fields.proceed),
            ]

    def _next_scalar(self, m: Module) -> Scalar:
        """The scalar that is due: scale, then bias."""
        state, fields = self._state, self._state.fields
        from_partition = Signal()
        m.d.comb += from_partition.eq(
            Mux(state.scale, fields.scale_partition, fields.bias_partition)
        )
        return Scalar(state.scale | state.bias, from_partition)

    def _check(self, m: Module, scalar: Scalar, granted: Value) -> Signal:
        """1 if the row that is granted fails its checks, whose order is the contract's."""
        state, fields = self._state, self._state.fields
        sbuf_bits = (self._config.sbuf_depth - 1).bit_length()
        x_at, dst_at = state.x_at, state.dst_at
        sum_at = fields.sum_dst
        reads_scalar = scalar.is_next & scalar.from_partition & ~state.second
        element = ~scalar.is_next & state.running & ~state.second
        totals = element & state.finishing & (state.left == 1)
        x_wide, wide = fields.x_format == FP32.code, fields.format == FP32.code
        row = reads_scalar | element | state.loading
        pair = reads_scalar | (element & x_wide)
        checks = (
            (row & x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, x_at),
            (pair & x_at[0], Trap.SBUF_ALIGNMENT, x_at),
            (element & dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, dst_at),
            (element & wide & dst_at[0], Trap.SBUF_ALIGNMENT, dst_at),
            (totals & sum_at[sbuf_bits:].any(), Trap.SBUF_RANGE, sum_at),
            (totals & sum_at[0], Trap.SBUF_ALIGNMENT, sum_at),
        )
        return self._find_fault(m, granted, checks)

    def _request(
        self, m: Module, scalar: Scalar, request: Request, fault: Value, unanswered: Value
    ) -> None:
        """Requests of rows: of the next column when there is room for it, or of the table."""
        state, fields = self._state, self._state.fields
        due, needs_rows, two, reads = Signal(), Signal(), Signal(), Signal()
        sbuf_bits = (self._config.sbuf_depth - 1).bit_length()
        m.d.comb += [
            due.eq(
                (
                    ((scalar.is_next | state.running) & (self.free | state.second))
                    | (state.loading & (state.left != 0))
                )
                & (unanswered != _UNANSWERED)
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
            # A row that comes is the table's, unless it is not there; other rows need an order.
            reads.eq(needs_rows & ~(state.loading & state.x_at[sbuf_bits:].any())),
            # The table's rows are counted one by one; a pair begins at an even address.
            self.row.payload.eq(state.x_at | (state.second & ~state.loading)),
            self.row.valid.eq(due & reads),
            request.granted.eq(due & (~needs_rows | self.row.ready)),
            request.first.eq(request.granted & ~fault & ~state.second),
            request.last.eq(request.granted & ~fault & (state.second | ~two)),
            self.ordered.eq(request.first & ~state.loading),
            self.order.constant.eq(~needs_rows),
            self.order.double.eq(two),
        ]
        with m.If(request.granted & ~fault):
            m.d.sync += state.second.eq(two & ~state.second)

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
            self.table_done.eq(
                self.write_en & state.loading & (state.left == 0) & (unanswered == 1)
            ),
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

    def _advance(self, m: Module, request: Request) -> Signal:
        """State of the next column or row of the table; partial sums unused before this column."""
        state, fields = self._state, self._state.fields
        unused = Signal(PARTIALS, name="unused_before")
        x_step = Signal(fields.x_stride.shape())
        m.d.comb += [
            unused.eq(self.unused | state.begins.replicate(PARTIALS)),
            x_step.eq(Mux(state.loading, 1, fields.x_stride)),
        ]
        with m.If(state.loading):
            with m.If(request.granted):
                m.d.sync += state.x_at.eq(state.x_at + x_step)
            with m.If(request.last):
                m.d.sync += state.left.eq(state.left - 1)
        with m.Elif(request.last):
            with self._advance_element(
                m,
                state.scale,
                state.bias,
                scalar1_at=fields.bias[:SCALAR_ADDRESS_BITS],
                x_addr=fields.x_addr,
                x_stride=x_step,
            ):
                m.d.sync += [
                    state.dst_at.eq(state.dst_at + fields.dst_stride),
                    state.begins.eq(0),
                ]
                with m.If(fields.sum):
                    m.d.sync += self.unused.eq(unused & ~(1 << state.partial))
        return unused

    def _describe(self, m: Module, scalar: Scalar, unused: Value) -> None:
        """The column that is requested, and the destination of the sums."""
        state, fields = self._state, self._state.fields
        order, total = self.order, self.total
        m.d.comb += [
            order.kind.eq(Mux(state.scale, Kind.SCALE, Mux(state.bias, Kind.BIAS, Kind.ELEMENT))),
            order.fresh.eq(unused.bit_select(state.partial, 1)),
            order.partial.eq(state.partial),
            order.addr.eq(state.dst_at),
            order.last.eq((state.left == 1) & ~state.finishing & ~scalar.is_next),
            total.wide.eq(1),
            total.addr.eq(fields.sum_dst),
            total.rows.eq(fields.rows),
            total.last.eq(1),
        ]
