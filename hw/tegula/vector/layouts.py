"""Layouts of an element of a vector instruction, from issue to result, and of lanes' controls."""

from amaranth.lib import data, enum

from tegula.arith.combine import PARTIALS, SLOTS
from tegula.arith.fp_operation import operation_layout
from tegula.arith.mx import kind_layout
from tegula.arith.pattern import selection_layout
from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.fields import ELEMENT_STEP_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.isa.operations import Operation, Reduction, Source
from tegula.memory.halves import high_fields, kept_fields

__all__ = [
    "BLOCK_SCALES",
    "LOWEST",
    "RANDOM_SLOTS",
    "THIRD_SLOTS",
    "ZERO",
    "Kind",
    "block_controls_layout",
    "block_work_layout",
    "controls_layout",
    "exit_layout",
    "issue_layout",
    "ring_layout",
    "route_layout",
]

THIRD_SLOTS = 16
"""Second operands of step 1 that wait while step 0 is done: one for each cycle of it, and more."""

RANDOM_SLOTS = 16
"""Random words that wait between the operands and the cast: two steps of seven cycles, and more."""

ZERO, LOWEST = SLOTS - 1, SLOTS - 2
"""Words of the memory of partial results that are never written: +0 and -Inf, the identities."""

BLOCK_SCALES = 4
"""Scales that a lane keeps of each partition: of the block that arrives, the one that leaves, and
those between."""

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

    `part`: which of the partitions that share a lane it is for. `keep`: bytes that stay, as in
    `vector_write_layout`. `last`: with it its instruction is complete.
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
            "part": range(config.vector_folding),
            **kept_fields(config),
            "last": 1,
        }
    )


def ring_layout(config: TileConfig) -> data.StructLayout:
    """Controls of an element between its operands and its cast.

    `self0`, `self1`: the second operand of a step is its first. `begin`: the first element of a
    reduction that starts anew; `partial`: the partial result that it belongs to.
    """
    return data.StructLayout(
        {
            "route": route_layout(),
            "op0": Operation,
            "op1": Operation,
            "self0": 1,
            "self1": 1,
            "reduction": Reduction,
            "begin": 1,
            "partial": range(PARTIALS),
            "exit": exit_layout(config),
        }
    )


def issue_layout(config: TileConfig) -> data.StructLayout:
    """An item as it is issued.

    `late`: its x was read in an earlier cycle; it is 1 in all cycles from then until the issue.
    `x_high`: where words may hold two codes, that x is the high one.
    `value`: an immediate, or an index. `y0`, `y1`: the second operand of a step is y, else the
    scalar. `draw`: it takes a random number; `given`: its random bits are those of y.
    """
    return data.StructLayout(
        {
            "kind": Kind,
            "late": 1,
            "x_format": FORMAT_BITS,
            **high_fields(config),
            "y_format": FORMAT_BITS,
            "source": Source,
            "value": 32,
            "y0": 1,
            "y1": 1,
            "draw": 1,
            "given": 1,
            "ring": ring_layout(config),
        }
    )


def block_controls_layout(config: TileConfig) -> data.StructLayout:
    """Controls of a lane's `BlockScaler`.

    `on`: what goes to the cast are its numbers, not the lane's results; `kind`: elements and rule.
    `takes`: a number arrived in the cycle before, the `first` of its block. The scale of the number
    before that one's predecessor goes to `scale_write_addr`. An item of the queue is in the lane:
    its scale is at `scale_read_addr`, and is what is wanted (`is_scale`).
    """
    address = range(BLOCK_SCALES * config.vector_folding)
    return data.StructLayout(
        {
            "on": 1,
            "kind": kind_layout(),
            "takes": 1,
            "first": 1,
            "scale_write": 1,
            "scale_write_addr": address,
            "scale_read_addr": address,
            "is_scale": 1,
        }
    )


def block_work_layout(config: TileConfig) -> data.StructLayout:
    """The vector.quantise whose elements are in flight: what all of them have in common.

    `on`: there is one, and no other instruction's. `begins`: it started in the cycle before.
    """
    return data.StructLayout(
        {
            "on": 1,
            "begins": 1,
            "kind": kind_layout(),
            "scale_addr": range(config.sbuf_depth),
            "scale_step": ELEMENT_STEP_BITS,
        }
    )


def controls_layout(config: TileConfig) -> data.StructLayout:
    """Controls of a lane, grouped by the place where they act.

    Operands and results wait in registers that are 0 unless they are taken, so that what selects
    among them is an OR: `takes` are controls of the cycle before that.

    A `part` says which of the partitions that share the lane is served. `scalar0`, `scalar1` and
    `moves` have a bit for each of these partitions.

    psum
        A PSUM word is here: its `en`.
    arrival
        Words of the scratchpad are here: x is kept, unless an x that is `late` already is; of a
        code that is high (`x_high`), its byte becomes the low one.
    decode
        They are decoded: how `x` and `y` are read; `x` is 0 if it is not the element's source.
    operands
        The `value` that is x; what y becomes: the second operand of step 0 (`y0`) or 1 (`y1`),
        whose scalar is 0 then.
    entry
        The operands are here: x is random (`uniform`), or becomes a scalar; which of adder,
        multiplier and cast takes it, a bit each, or that the number itself goes to the cast
        (`number`); which unit takes the second operand of step 0 (`second`), and that of step 1 of
        an earlier element (`third`), which is read from `third_read`; whether this element's, which
        is written to `third_write`, is y (`y1`); whether the generator `moves`, and how (`step`,
        `load`); whether random bits are kept (`keep`), those `given` or the generator's.
    adder, multiplier
        The `operation` of what enters the unit; its second operand is its first (`same`). The adder
        also takes the absolute value of its first (`magnitude`). `takes` are those of its result:
        adder, multiplier, cast.
    partial
        Memory of partial results: word that is read, and is the adder's second operand (`ZERO` if
        there is none); `hold` it, to be the first operand in the next cycle; what leaves the adder
        is written to `write_addr`.
    to_cast
        What enters the cast has passed `steps`, the last of them `from_adder`.
    blocks
        Those of quantisation (`block_controls_layout`), where the tile has that.
    """
    selection = selection_layout(config)
    unit = {"operation": operation_layout(), "same": 1, "takes": 3}
    parts, part = config.vector_folding, range(config.vector_folding)
    slots = range(config.vector_folding * SLOTS)
    return data.StructLayout(
        {
            "psum": data.StructLayout({"en": 1, "part": part}),
            "arrival": data.StructLayout({"late": 1, "part": part, **high_fields(config)}),
            "decode": data.StructLayout({"x": selection, "y": selection}),
            "operands": data.StructLayout({"value": 32, "y0": 1, "y1": 1, "part": part}),
            "entry": data.StructLayout(
                {
                    "uniform": 1,
                    "part": part,
                    "scalar0": parts,
                    "scalar1": parts,
                    "takes": 3,
                    "number": 1,
                    "second": 2,
                    "third": 2,
                    "third_read": range(THIRD_SLOTS),
                    "third_write": range(THIRD_SLOTS),
                    "y1": 1,
                    "step": 1,
                    "load": 1,
                    "moves": parts,
                    "keep": 1,
                    "given": 1,
                    "slot": _SLOT,
                }
            ),
            "adder": data.StructLayout({**unit, "magnitude": 1}),
            "multiplier": data.StructLayout(unit),
            "partial": data.StructLayout(
                {
                    "addr": slots,
                    "hold": 1,
                    "write": 1,
                    "write_addr": slots,
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
            **({"blocks": block_controls_layout(config)} if config.mx else {}),
        }
    )
