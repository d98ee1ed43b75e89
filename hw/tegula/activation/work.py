"""An instruction of the activation engine in work: its codes, and the state of the sequencer."""

from typing import NamedTuple

from amaranth.hdl import Signal, Value
from amaranth.lib import data

from tegula.arith.combine import PARTIALS
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS, SEQUENCER_STATE
from tegula.isa.instructions import Engine, codes

__all__ = ["APPLY", "TABLE", "ActivationCode", "Request", "Scalar", "state_layout"]

ActivationCode = codes(Engine.ACTIVATION)

APPLY = payload_layout("activation.apply")
TABLE = payload_layout("activation.table")


def state_layout() -> data.StructLayout:
    """State of the `ColumnSequencer`: `SEQUENCER_STATE`, and what it adds to that.

    fields
        The `activation.apply` in work.
    scale, bias, running
        Scale and bias are still to come; columns are.
    loading, entries, index
        The table is loaded; with entries; the next index.
    x_at, dst_at
        Addresses of the next column; `x_at` also of the table's next row.
    left
        Columns, or indices of the table, that are left.
    partial, begins
        Partial sum of the next column; no partial sum counts, since that column begins a sum.
    second
        The second row of a column is due.
    in_flight, two
        A column has been requested and is not here; it has two rows.
    got_low
        The first row of a column is here.
    """
    return data.StructLayout(
        {
            **SEQUENCER_STATE,
            "fields": APPLY,
            "scale": 1,
            "bias": 1,
            "running": 1,
            "loading": 1,
            "entries": 1,
            "index": TABLE["first"].shape,
            "x_at": CHECKED_ADDRESS,
            "dst_at": CHECKED_ADDRESS,
            "left": APPLY["columns"].shape,
            "partial": range(PARTIALS),
            "begins": 1,
            "second": 1,
            "in_flight": 1,
            "two": 1,
            "got_low": 1,
        }
    )


class Scalar(NamedTuple):
    """Scale or bias, if one of them is next; `value` may be the address of one a partition."""

    is_next: Value
    value: Signal
    from_partition: Signal


class Request(NamedTuple):
    """The request of a column's row: `granted` in this cycle, or no row is needed (`constant`).

    `last`: it is the column's last.
    """

    granted: Signal
    last: Signal
    constant: Signal
