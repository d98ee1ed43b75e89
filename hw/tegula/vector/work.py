"""Form of a vector instruction that the sequencer iterates over, and the route of its elements."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.formats import RAW32
from tegula.isa.instructions import Engine, codes
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.layouts import route_layout

__all__ = [
    "INTERVAL_BITS",
    "VectorCode",
    "is_unary",
    "plan_route",
    "plan_work",
    "work_layout",
]

VectorCode = codes(Engine.VECTOR)

INTERVAL_BITS = 2

_STATE_PAIRS = 4
"""Pairs of words that are the state of a generator."""


def work_layout() -> data.StructLayout:
    """An instruction in work: its fields, and what follows from them.

    `scalar0`, `scalar1`: a step has a scalar operand; `y_used`: an element has a y; `reads`: the
    scratchpad is read; `state`: the elements are the generators' state; `writes`: results are
    written element by element.
    """
    return data.StructLayout(
        {
            "fields": payload_layout("vector.compute"),
            "route": route_layout(),
            "interval": INTERVAL_BITS,
            "scalar0": 1,
            "scalar1": 1,
            "y_used": 1,
            "reads": 1,
            "state": 1,
            "writes": 1,
        }
    )


def is_unary(op: Value) -> Value:
    """1 if an operation has no second operand."""
    return (op == Operation.PASS) | (op == Operation.ABS)


def _adds(op: Value) -> Value:
    return (op == Operation.ADD) | (op == Operation.SUB) | (op == Operation.RSUB)


def plan_route(
    m: Module, op0: Value, op1: Value, reduction: Value, name: str
) -> tuple[data.View, Signal]:
    """The route of an instruction's elements, and the cycles between two of them.

    A lane has one adder and one multiplier, each with a latency of seven cycles; either can do the
    operations that are neither addition nor multiplication. Such an operation goes to the unit that
    its neighbour does not need; before a reduction, which is the adder's, to the multiplier. Where
    a unit is needed twice, seven or fourteen cycles apart, elements begin in every second or third
    cycle, and in no others: then no two need a unit at once, since 7 = 1 mod 2, and 7 = 1 and
    14 = 2 mod 3.

    The route assigns each step to a unit, and that decides the interval: elements of one route
    never need a unit at once, whatever their instructions.

    Parameters
    ----------
    op0, op1, reduction
        Of the instruction; `op0` is PASS only if `op1` is (a single operation is step 0).
    """
    route = Signal(route_layout(), name=f"{name}_route")
    interval = Signal(INTERVAL_BITS, name=f"{name}_interval")
    has0, has1 = op0 != Operation.PASS, op1 != Operation.PASS
    reduces = reduction != Reduction.NONE
    neutral0, neutral1 = (
        ~(_adds(op0) | (op0 == Operation.MUL)),
        ~(_adds(op1) | (op1 == Operation.MUL)),
    )
    by_mul0, by_mul1 = op0 == Operation.MUL, op1 == Operation.MUL
    m.d.comb += [
        route.steps.eq(has0 + has1 + reduces),
        route.multiplier0.eq(has0 & (by_mul0 | (neutral0 & (reduces | ~(has1 & by_mul1))))),
        route.multiplier1.eq(has1 & (by_mul1 | (neutral1 & (reduces | ~route.multiplier0)))),
    ]
    same01 = has1 & (route.multiplier0 == route.multiplier1)
    last_adds = Mux(has1, ~route.multiplier1, has0 & ~route.multiplier0)
    first_adds_too = has1 & ~route.multiplier0
    with m.If(reduces & first_adds_too):
        m.d.comb += interval.eq(3)
    with m.Elif(same01 | (reduces & last_adds)):
        m.d.comb += interval.eq(2)
    with m.Else():
        m.d.comb += interval.eq(1)
    return route, interval


def plan_work(
    m: Module, config: TileConfig, op: Value, payload: Value
) -> tuple[data.View, data.View]:
    """Work of an instruction: what it is, and what a vector.compute with this payload would be.

    A single operation becomes step 0. vector.generator becomes four elements of raw32:
    words of the scratchpad to the generators, or numbers of the generators to the scratchpad.
    The second is known earlier, as it does not depend on the operation.
    """
    plain, work = (Signal(work_layout(), name=name) for name in ("computed", "offered"))
    compute = data.View(payload_layout("vector.compute"), payload)
    state = data.View(payload_layout("vector.generator"), payload)
    _plan_compute(m, plain, compute)
    m.d.comb += work.eq(plain)
    with m.If(op == VectorCode.GENERATOR):
        fields = work.fields
        zeroed = ("op0", "op1", "reduction", "rounding", "transpose", "overlap")
        m.d.comb += [
            *(fields[name].eq(0) for name in zeroed),
            fields.columns.eq(_STATE_PAIRS),
            fields.rows.eq(config.n),
            fields.format.eq(RAW32),
            fields.x_source.eq(Mux(state.save, Source.RANDOM, Source.SBUF)),
            fields.x_format.eq(RAW32),
            fields.x_addr.eq(state.addr),
            fields.x_stride.eq(2),
            fields.dst.eq(state.addr),
            fields.dst_stride.eq(2),
            *(work[name].eq(0) for name in ("route", "scalar0", "scalar1", "y_used")),
            work.interval.eq(1),
            work.reads.eq(~state.save),
            work.state.eq(1),
            work.writes.eq(state.save),
        ]
    return work, plain


def _plan_compute(m: Module, work: data.View, compute: data.View) -> None:
    """Work of a vector.compute."""
    fields = work.fields
    m.d.comb += fields.eq(compute)
    with m.If(compute.op0 == Operation.PASS):
        m.d.comb += [
            fields.op0.eq(compute.op1),
            fields.s0.eq(compute.s1),
            fields.s0_kind.eq(compute.s1_kind),
            fields.op1.eq(Operation.PASS),
        ]
    uses0, uses1 = ~is_unary(fields.op0), ~is_unary(fields.op1)
    route, interval = plan_route(m, fields.op0, fields.op1, fields.reduction, "computed")
    m.d.comb += [
        work.route.eq(route),
        work.interval.eq(interval),
        work.scalar0.eq(uses0 & ~fields.s0_kind[1]),
        work.scalar1.eq(uses1 & ~fields.s1_kind[1]),
        work.y_used.eq(
            (uses0 & (fields.s0_kind == Operand.Y))
            | (uses1 & (fields.s1_kind == Operand.Y))
            | (fields.rounding == Rounding.GIVEN)
        ),
        work.reads.eq(
            (fields.x_source == Source.SBUF)
            | work.y_used
            | (work.scalar0 & fields.s0_kind[0])
            | (work.scalar1 & fields.s1_kind[0])
        ),
        work.state.eq(0),
        work.writes.eq(fields.reduction == Reduction.NONE),
    ]
