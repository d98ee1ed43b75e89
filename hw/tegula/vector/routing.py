"""Which unit of a lane does which operation of a vector instruction, and how often it can begin."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.isa.operations import Operation, Reduction
from tegula.vector.layouts import route_layout

__all__ = ["INTERVAL_BITS", "is_unary", "plan_route"]

INTERVAL_BITS = 2


def is_unary(op: Value) -> Value:
    """Whether an operation has no second operand."""
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
    cycle, and in no others: then no two meet, since 7 = 1 mod 2, and 7 = 1 and 14 = 2 mod 3.

    The route says which unit has each step, and that decides the interval: elements of one route
    never meet, whatever their instructions.

    Parameters
    ----------
    op0, op1, reduction
        Of the instruction; `op0` is PASS only if `op1` is (a lone operation is step 0).
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
