"""What travels beside an element of a vector instruction, from its issue to its result."""

from amaranth.lib import data, enum

from tegula.config import TileConfig
from tegula.isa.operations import Operation, Reduction, Source

__all__ = ["Kind", "exit_layout", "issue_layout", "ring_layout", "route_layout"]


class Kind(enum.Enum, shape=3):
    """What an issued item is to the lanes."""

    ELEMENT = 0
    SCALAR0 = 1
    """Becomes the scalar operand of step 0."""

    SCALAR1 = 2
    """Becomes the scalar operand of step 1."""

    STATE_LOAD = 3
    """Shifted into the state of the random generators."""

    STATE_SAVE = 4
    """An element that is a word of that state."""


def route_layout() -> data.StructLayout:
    """The way of an element through the units.

    `steps`, a reduction included, and for each of the first two whether the multiplier does it; if
    not, or where there is no such step, the bit is 0. A reduction is the adder's.
    """
    return data.StructLayout({"steps": 2, "multiplier0": 1, "multiplier1": 1})


def exit_layout(config: TileConfig) -> data.StructLayout:
    """What becomes of a result: how it is cast, and where it is written (or that it is not).

    `last`: with it its instruction is complete.
    """
    return data.StructLayout(
        {
            "format": 3,
            "saturate": 1,
            "stochastic": 1,
            "addr": range(config.sbuf_depth),
            "line": 1,
            "partition": range(config.n),
            "rows": 6,
            "last": 1,
        }
    )


def ring_layout(config: TileConfig) -> data.StructLayout:
    """What an element goes through between its operands and its exit.

    `self1`: the second operand of step 1 is the first. `begin`: the first element of a reduction
    that starts anew; `partial`: the partial result that it belongs to.
    """
    return data.StructLayout(
        {
            "route": route_layout(),
            "op0": Operation,
            "op1": Operation,
            "self1": 1,
            "reduction": Reduction,
            "begin": 1,
            "partial": 3,
            "exit": exit_layout(config),
        }
    )


def issue_layout(config: TileConfig) -> data.StructLayout:
    """An item as it is issued.

    `late`: its x was read in an earlier cycle. `value`: an immediate, or an index. `y0`, `y1`: the
    second operand of a step is y, else the scalar; `self0`: it is x. `draw`: it takes a random
    number; `given`: its random bits are those of y.
    """
    return data.StructLayout(
        {
            "kind": Kind,
            "late": 1,
            "x_format": 3,
            "y_format": 3,
            "source": Source,
            "value": 32,
            "y0": 1,
            "self0": 1,
            "y1": 1,
            "draw": 1,
            "given": 1,
            "ring": ring_layout(config),
        }
    )
