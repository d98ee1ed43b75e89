"""An instruction of the activation engine in work: its codes, and the state of the sequencer."""

from typing import NamedTuple

from amaranth.hdl import Cat, Mux, Signal, Value
from amaranth.lib import data

from tegula.activation.layouts import Kind
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS, SEQUENCER_STATE, Check
from tegula.formats import FP32
from tegula.isa.instructions import Engine, codes
from tegula.isa.traps import Trap

__all__ = [
    "APPLY",
    "TABLE",
    "ActivationCode",
    "Request",
    "describe_column",
    "list_checks",
    "make_state",
]

ActivationCode = codes(Engine.ACTIVATION)

APPLY = payload_layout("activation.apply")
TABLE = payload_layout("activation.table")


_CONTROL = {
    **SEQUENCER_STATE,
    "scale": 1,
    "bias": 1,
    "running": 1,
    "loading": 1,
    "fetching": 1,
    "table": 1,
    "low_here": 1,
    "second": 1,
    "sums": 1,
}

_DATA = {
    "fields": APPLY,
    "entries": 1,
    "needs_rows": 1,
    "two": 1,
    "ends": 1,
    "element_ends": 1,
    "x_moves": 1,
    "index": TABLE["first"].shape,
    "x_at": CHECKED_ADDRESS,
    "dst_at": CHECKED_ADDRESS,
    "left": APPLY["columns"].shape,
    "partial": range(PARTIALS),
    "begins": 1,
}


def make_state() -> data.View:
    """State of the `ColumnSequencer`: `SEQUENCER_STATE`, and what it adds to that.

    scale, bias, running
        Scale is still to be requested; bias is, behind it; columns are, behind both.
    loading, fetching, table
        Rows for the table are still to be requested or to come; are still to be requested; rows
        that come are for the table.
    low_here
        The first row of an entry is here.
    second
        The second row of a column, or of an entry, is due.
    sums
        The `activation.apply` that was started last sums up.
    fields
        The `activation.apply` in work.
    entries, index
        The table is loaded with entries; the next index.
    needs_rows, two, ends
        Of the next column or entry: rows are read; two of them are; no row is due after the next.
    element_ends, x_moves
        `ends`, and a column of elements is next; `ends`, or a row for the table is next.
    x_at, dst_at
        Addresses of the next column; `x_at` also of scale or bias while they are due, and of the
        table's next row.
    left
        Columns, or indices of the table, that are left.
    partial, begins
        Partial sum of the next column; no partial sum counts, since that column begins a sum.

    Those from `fields` on are meaningful only while others say so, and have no reset.
    """
    control = Signal(data.StructLayout(_CONTROL), name="control")
    work = Signal(data.StructLayout(_DATA), name="work", reset_less=True)
    layout = data.StructLayout(_CONTROL | _DATA)
    return data.View(layout, Cat(control.as_value(), work.as_value()))


class Request(NamedTuple):
    """The request of a row: `granted` in this cycle, or a column that needs none is.

    `last`: it is the last of its column or entry. Either may fail its checks.
    """

    granted: Signal
    last: Signal


def list_checks(state: data.View, config: TileConfig) -> tuple[Check, ...]:
    """Checks of the row that is due, in the order of the contract."""
    fields = state.fields
    sbuf_bits = (config.sbuf_depth - 1).bit_length()
    x_at, dst_at = state.x_at, state.dst_at
    sum_at = fields.sum_dst
    reads_scalar = state.bias & state.needs_rows & ~state.second
    element = ~state.bias & state.running & ~state.second
    totals = element & state.finishing & (state.left == 1)
    x_wide, wide = fields.x_format == FP32.code, fields.format == FP32.code
    row = reads_scalar | element | state.loading
    pair = reads_scalar | (element & x_wide)
    return (
        (row & x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, x_at),
        (pair & x_at[0], Trap.SBUF_ALIGNMENT, x_at),
        (element & dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, dst_at),
        (element & wide & dst_at[0], Trap.SBUF_ALIGNMENT, dst_at),
        (totals & sum_at[sbuf_bits:].any(), Trap.SBUF_RANGE, sum_at),
        (totals & sum_at[0], Trap.SBUF_ALIGNMENT, sum_at),
    )


def describe_column(state: data.View, unused: Value, order: data.View, total: data.View) -> list:
    """The column that is requested, and the destination of the sums.

    `unused`: partial sums that have not been written before it.
    """
    fields = state.fields
    return [
        order.kind.eq(Mux(state.scale, Kind.SCALE, Mux(state.bias, Kind.BIAS, Kind.ELEMENT))),
        order.fresh.eq(unused.bit_select(state.partial, 1)),
        order.partial.eq(state.partial),
        order.addr.eq(state.dst_at),
        order.last.eq((state.left == 1) & ~state.finishing & ~state.bias),
        total.wide.eq(1),
        total.addr.eq(fields.sum_dst),
        total.rows.eq(fields.rows),
        total.last.eq(1),
        *([total.keep.eq(0)] if "keep" in total.shape().members else []),
    ]
