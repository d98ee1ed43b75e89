"""Form of a vector instruction that the sequencer iterates over, and the route of its elements."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.engine.sequencing import CHECKED_ADDRESS, SEQUENCER_STATE
from tegula.formats import FP32, RAW32
from tegula.isa.instructions import Engine, codes
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.layouts import Kind, route_layout

__all__ = [
    "INTERVAL_BITS",
    "Item",
    "VectorCode",
    "describe_item",
    "is_unary",
    "make_state",
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


def make_state(config: TileConfig) -> data.View:
    """State of the `ElementSequencer`: `SEQUENCER_STATE`, and what it adds to that.

    scalar0, scalar1, running
        Scalars are still to come; elements are, with or behind them.
    pause
        Cycles until the results of another element may be written as lines.
    second, third
        The rhythms of elements that are issued in every second and in every third cycle.
    x_held
        The next element's x waits in the lanes for its y.
    route
        The route of the instruction that was started last.
    work
        The instruction in work.
    x_at, y_at, dst_at
        Addresses of the next element; `x_at` also of a scalar that is due.
    left, first
        Elements that are left; the next is the first.
    partial, partition
        Partial result to which the next element belongs; partition of its result (`transpose`).

    Those from `work` on are meaningful only while the bits before say so, and have no reset.
    """
    work = work_layout()
    control = {
        **SEQUENCER_STATE,
        "scalar0": 1,
        "scalar1": 1,
        "running": 1,
        "pause": range(max(2, config.n // config.row_words)),
        "second": 1,
        "third": range(3),
        "x_held": 1,
        "route": route_layout(),
    }
    element = {
        "work": work,
        "x_at": CHECKED_ADDRESS,
        "y_at": CHECKED_ADDRESS,
        "dst_at": CHECKED_ADDRESS,
        "left": work["fields"].shape["columns"].shape,
        "first": 1,
        "partial": range(PARTIALS),
        "partition": range(config.n),
    }
    bits = Signal(data.StructLayout(control), name="control").as_value()
    rest = Signal(data.StructLayout(element), name="element", reset_less=True).as_value()
    return data.View(data.StructLayout(control | element), Cat(bits, rest))


class Item(NamedTuple):
    """The next item: a scalar, whose `value` may be an address in a partition, or an element."""

    is_scalar: Signal
    is_element: Signal
    value: Signal
    from_partition: Signal


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


def plan_work(m: Module, config: TileConfig, op: Value, payload: Value) -> data.View:
    """Work of an instruction (vector.compute or vector.generator).

    A single operation becomes step 0. vector.generator becomes four elements of raw32:
    words of the scratchpad to the generators, or numbers of the generators to the scratchpad.
    """
    work = Signal(work_layout(), name="offered")
    fields = work.fields
    compute = data.View(payload_layout("vector.compute"), payload)
    state = data.View(payload_layout("vector.generator"), payload)
    m.d.comb += fields.eq(compute)
    with m.If(compute.op0 == Operation.PASS):
        m.d.comb += [
            fields.op0.eq(compute.op1),
            fields.s0.eq(compute.s1),
            fields.s0_kind.eq(compute.s1_kind),
            fields.op1.eq(Operation.PASS),
        ]
    with m.If(op == VectorCode.GENERATOR):
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
        ]
    uses0, uses1 = ~is_unary(fields.op0), ~is_unary(fields.op1)
    reduces = fields.reduction != Reduction.NONE
    route, interval = plan_route(m, fields.op0, fields.op1, fields.reduction, "offered")
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
        work.state.eq(op == VectorCode.GENERATOR),
        work.writes.eq(Mux(work.state, state.save, ~reduces)),
    ]
    return work


def describe_item(
    m: Module, state: data.View, item: Item, issue: data.View, result: data.View
) -> None:
    """Controls of the lanes for the item (`issue_layout`), and for a reduction's result."""
    fields, work, ring = state.work.fields, state.work, issue.ring
    loads_state = work.state & (fields.x_source == Source.SBUF)
    with m.If(state.scalar0):
        m.d.comb += issue.kind.eq(Kind.SCALAR0)
    with m.Elif(state.scalar1):
        m.d.comb += issue.kind.eq(Kind.SCALAR1)
    with m.Elif(work.state):
        m.d.comb += issue.kind.eq(Mux(loads_state, Kind.STATE_LOAD, Kind.STATE_SAVE))
    m.d.comb += [
        issue.x_format.eq(fields.x_format),
        issue.y_format.eq(fields.y_format),
        issue.source.eq(fields.x_source),
        issue.value.eq(state.x_at[:16] | FP32.unit_spaced),
        issue.y0.eq(fields.s0_kind == Operand.Y),
        issue.y1.eq(fields.s1_kind == Operand.Y),
        issue.draw.eq(
            item.is_element
            & ~work.state
            & ((fields.x_source == Source.RANDOM) | (fields.rounding == Rounding.STOCHASTIC))
        ),
        issue.given.eq(fields.rounding == Rounding.GIVEN),
        ring.route.eq(work.route),
        ring.op0.eq(fields.op0),
        ring.op1.eq(fields.op1),
        ring.self0.eq(fields.s0_kind == Operand.SELF),
        ring.self1.eq(fields.s1_kind == Operand.SELF),
        ring.reduction.eq(fields.reduction),
        ring.begin.eq(state.first & ~fields.proceed),
        ring.partial.eq(state.partial),
    ]
    # A scalar of the scratchpad is read as fp32, an immediate is a value like an index.
    with m.If(item.is_scalar):
        m.d.comb += [
            issue.x_format.eq(FP32.code),
            issue.source.eq(Mux(item.from_partition, Source.SBUF, Source.INDEX)),
            issue.value.eq(item.value),
        ]
    for output in (ring.exit, result):
        m.d.comb += [
            output.format.eq(fields.format),
            output.saturate.eq(fields.saturate),
            output.addr.eq(state.dst_at),
            output.line.eq(fields.transpose),
            output.partition.eq(state.partition),
        ]
    m.d.comb += [
        ring.exit.rows.eq(Mux(work.writes, fields.rows, 0)),
        ring.exit.stochastic.eq(work.writes & (fields.rounding != Rounding.NEAREST)),
        ring.exit.last.eq((state.left == 1) & ~state.finishing),
        result.rows.eq(fields.rows),
        result.last.eq(1),
    ]
