"""Controls that accompany the elements of an activation instruction, and those of the lanes."""

from amaranth.lib import data, enum

from tegula.activation.table import function_layout
from tegula.arith.combine import PARTIALS, SLOTS
from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.memory.halves import high_fields, kept_fields

__all__ = [
    "Kind",
    "beats",
    "column_layout",
    "controls_layout",
    "exit_layout",
    "item_layout",
    "order_layout",
    "travel_layout",
]


class Kind(enum.Enum, shape=2):
    """Kind of a column."""

    ELEMENT = 0
    SCALE = 1
    BIAS = 2


def beats(config: TileConfig) -> int:
    """Beats of a column, which are the partitions that a lane serves."""
    return config.n // config.activation_lanes


def order_layout(config: TileConfig) -> data.StructLayout:
    """A column that has been requested; what its instruction says is the same for all of them.

    `constant`: all elements are the instruction's scale or bias, and no row is read; `double`: two
    rows are. `partial`, `fresh`: see `travel_layout`. `addr`: destination of its results; `last`:
    with them the instruction is complete.
    """
    return data.StructLayout(
        {
            "kind": Kind,
            "constant": 1,
            "double": 1,
            "fresh": 1,
            "partial": range(PARTIALS),
            "addr": range(config.sbuf_depth),
            "last": 1,
        }
    )


def exit_layout(config: TileConfig) -> data.StructLayout:
    """Destination of the results of a column: a row, or if they are `wide` (fp32) two.

    `keep`: bytes that stay, as in `row_write_layout`. `last`: with it its instruction is complete.
    """
    return data.StructLayout(
        {
            "wide": 1,
            "addr": range(config.sbuf_depth),
            "rows": PARTITION_BITS,
            **kept_fields(config),
            "last": 1,
        }
    )


def travel_layout() -> data.StructLayout:
    """Controls of a column from the lanes' entry to their cast.

    `sums`: results are added to the partial sum number `partial`, or to +0 if that is `fresh`.
    `format`, `saturate`: the cast.
    """
    return data.StructLayout(
        {
            "kind": Kind,
            "sums": 1,
            "fresh": 1,
            "partial": range(PARTIALS),
            "format": FORMAT_BITS,
            "saturate": 1,
        }
    )


def column_layout(config: TileConfig) -> data.StructLayout:
    """A column: an element of every partition.

    `constant`: all elements are `value`, and none was read.
    """
    return data.StructLayout(
        {
            "constant": 1,
            "value": 32,
            "x_format": FORMAT_BITS,
            **high_fields(config),
            "function": function_layout(),
            "travel": travel_layout(),
        }
    )


def item_layout(config: TileConfig) -> data.StructLayout:
    """A beat of a column: `activation_lanes` elements."""
    return data.StructLayout(
        {"valid": 1, "beat": range(beats(config)), "column": column_layout(config)}
    )


def controls_layout(config: TileConfig) -> data.StructLayout:
    """Controls of all lanes, each part in its own cycle after the item's (`LaneCycles`).

    entry
        The word is here: its format (`x_high`: its code is the high byte), or the `value` that
        stands for it if `constant`.
    scale, bias
        The number enters the multiplier, or comes out: it is written as a scalar of partition
        `beat`, or meets that scalar. A bias `passes` the multiplier.
    exp, odd, function
        How the argument is reduced, and looked up.
    sum
        Memory of partial sums: the word that is read, for the next cycle; by then, whether it
        is `fresh`, is put aside until the next cycle (`hold`) or enters the adder (`enter`), with
        what was put aside or else a result. What leaves the adder is written.
    to_cast
        What enters the cast is what leaves the adder, if `total`, else the function's value.
    """
    slots = range(beats(config) * SLOTS)
    beat = range(beats(config))
    return data.StructLayout(
        {
            "entry": data.StructLayout(
                {"x_format": FORMAT_BITS, **high_fields(config), "constant": 1, "value": 32}
            ),
            "scale": data.StructLayout({"write": 1, "beat": beat, "passes": 1}),
            "bias": data.StructLayout({"write": 1, "beat": beat}),
            "exp": 1,
            "odd": 1,
            "function": function_layout(),
            "sum": data.StructLayout(
                {
                    "read": slots,
                    "fresh": 1,
                    "hold": 1,
                    "enter": 1,
                    "write": 1,
                    "write_addr": slots,
                }
            ),
            "to_cast": data.StructLayout({"total": 1, "format": FORMAT_BITS, "saturate": 1}),
        }
    )
