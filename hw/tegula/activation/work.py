"""An instruction of the activation engine in work: its codes, and the state of the sequencer."""

from typing import NamedTuple

from amaranth.hdl import Cat, Signal, Value
from amaranth.lib import data

from tegula.arith.combine import PARTIALS
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS, SEQUENCER_STATE
from tegula.isa.instructions import Engine, codes

__all__ = ["APPLY", "TABLE", "ActivationCode", "Request", "Scalar", "make_state"]

ActivationCode = codes(Engine.ACTIVATION)

APPLY = payload_layout("activation.apply")
TABLE = payload_layout("activation.table")


_CONTROL = {
    **SEQUENCER_STATE,
    "scale": 1,
    "bias": 1,
    "running": 1,
    "loading": 1,
    "table": 1,
    "low_here": 1,
    "second": 1,
    "sums": 1,
}

_DATA = {
    "fields": APPLY,
    "entries": 1,
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
        Scale and bias are still to be requested; columns are, behind them.
    loading, table
        Rows for the table are still to be requested or to come; rows that come are for the table.
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


class Scalar(NamedTuple):
    """Scale or bias, if one of them is next, and whether it is one a partition."""

    is_next: Value
    from_partition: Signal


class Request(NamedTuple):
    """The request of a row: `granted` in this cycle, or a column that needs none is.

    `first`, `last`: it is the first or the last of its column or entry, and passes its checks.
    """

    granted: Signal
    first: Signal
    last: Signal
