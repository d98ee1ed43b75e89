"""Layouts of an element of a vector instruction, from issue to result, and of lanes' controls."""

from amaranth.lib import data, enum

from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.isa.operations import Operation, Reduction, Source

__all__ = [
    "RANDOM_SLOTS",
    "Kind",
    "controls_layout",
    "exit_layout",
    "issue_layout",
    "ring_layout",
    "route_layout",
]

RANDOM_SLOTS = 16
"""Random words that wait between the operands and the cast: two steps of seven cycles, and more."""

_SLOT = range(RANDOM_SLOTS)


class Kind(enum.Enum, shape=3):
    """Kind of an issued item."""

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
    """Route of an element through the units.

    `steps`, a reduction included, and for each of the first two whether the multiplier does it; if
    not, or where there is no such step, the bit is 0. A reduction is the adder's.
    """
    return data.StructLayout({"steps": 2, "multiplier0": 1, "multiplier1": 1})


def exit_layout(config: TileConfig) -> data.StructLayout:
    """Cast and destination of a result; of one that is not written, `rows` is 0.

    `last`: with it its instruction is complete.
    """
    return data.StructLayout(
        {
            "format": FORMAT_BITS,
            "saturate": 1,
            "stochastic": 1,
            "addr": range(config.sbuf_depth),
            "line": 1,
            "partition": range(config.n),
            "rows": PARTITION_BITS,
            "last": 1,
        }
    )


def ring_layout(config: TileConfig) -> data.StructLayout:
    """Controls of an element between its operands and its cast.

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
            "partial": range(PARTIALS),
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
            "x_format": FORMAT_BITS,
            "y_format": FORMAT_BITS,
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


def controls_layout() -> data.StructLayout:
    """Controls of a lane, grouped by the place where they act.

    arrival
        The words of the scratchpad are here: `hold` x for later, or take the x that is `late`.
    entry
        The operands are here: where x comes from (`number`: all of a random number), whether it
        becomes a scalar; what the second operands are; what the generator does (`step`, `load`,
        `rotate`); whether random bits are kept (`keep`), those `given` or the generator's.
    adder, multiplier
        What enters the unit: its first operand is that of step 0 (`first`), or else the result of
        the adder (`after_adder`) or of the multiplier; its second that of step 0, else the first
        itself (`twice`), else that of step 1. The adder also takes a partial result for its second
        (`reduce`), the absolute value of its first (`magnitude`), and what is held (`held`).
    partial
        Memory of partial results: word that is read, or the `identity` of the operation instead
        (of the maximum: `lowest`); `hold` it; what leaves the adder is written to `write_addr`.
    to_cast
        What enters the cast: the operand itself, if there are no `steps`, else what leaves a unit.
    """
    unit = {"op": Operation, "first": 1, "after_adder": 1, "twice": 1}
    return data.StructLayout(
        {
            "arrival": data.StructLayout(
                {"hold": 1, "late": 1, "x_format": FORMAT_BITS, "y_format": FORMAT_BITS}
            ),
            "entry": data.StructLayout(
                {
                    "source": Source,
                    "value": 32,
                    "number": 1,
                    "scalar0": 1,
                    "scalar1": 1,
                    "y0": 1,
                    "self0": 1,
                    "y1": 1,
                    "step": 1,
                    "load": 1,
                    "rotate": 1,
                    "keep": 1,
                    "given": 1,
                    "slot": _SLOT,
                }
            ),
            "adder": data.StructLayout({**unit, "reduce": 1, "magnitude": 1, "held": 1}),
            "multiplier": data.StructLayout(unit),
            "partial": data.StructLayout(
                {
                    "addr": range(16),
                    "identity": 1,
                    "lowest": 1,
                    "hold": 1,
                    "write": 1,
                    "write_addr": range(16),
                }
            ),
            "to_cast": data.StructLayout(
                {
                    "steps": 1,
                    "from_adder": 1,
                    "stochastic": 1,
                    "saturate": 1,
                    "format": FORMAT_BITS,
                    "slot": _SLOT,
                }
            ),
        }
    )
