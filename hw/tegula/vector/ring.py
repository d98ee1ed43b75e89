"""Controls of a lane's units by the elements in the ring: steps, results, partial results."""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.arith.combine import PARTIALS, Combiner, is_identity, slot_of
from tegula.arith.fp_operation import decode_operation
from tegula.isa.operations import Operation, Reduction
from tegula.lib.delay import registered
from tegula.vector.lane import THIRD_CYCLES, UNIT_CYCLES
from tegula.vector.layouts import LOWEST, THIRD_SLOTS, ZERO

__all__ = [
    "MAX_STEPS",
    "Stage",
    "address_partials",
    "by_multiplier_at",
    "is_reduction",
    "route_units",
    "select_results",
    "select_thirds",
]

MAX_STEPS = 3
"""Steps of an element at most, its reduction counted."""


class Stage(NamedTuple):
    """Stage of the pipeline."""

    valid: Value
    item: data.View


def route_units(
    m: Module, units: data.View, starting: list[Stage], combiner: Combiner, finish_max: Value
) -> None:
    """Controls of the units a cycle ahead: the steps of elements, and the combiner's.

    Parameters
    ----------
    units
        The layout's "adder" and "multiplier"; `takes` is of `select_results`.
    starting
        By step: what enters the unit in the next cycle, if it has that step.
    """
    adder, multiplier = units.adder, units.multiplier
    adder_op, multiplier_op = Signal(Operation), Signal(Operation)
    for step, stage in enumerate(starting):
        item, route = stage.item, stage.item.route
        due = stage.valid & (route.steps > step)
        by_multiplier = by_multiplier_at(route, step)
        for unit, op, taken in (
            (adder, adder_op, due & ~by_multiplier),
            (multiplier, multiplier_op, due & by_multiplier),
        ):
            with m.If(taken):
                m.d.comb += [
                    op.eq(item.op1 if step else item.op0),
                    unit.same.eq(item.self1 if step else item.self0),
                ]
        with m.If(due & is_reduction(item, step)):
            total = item.reduction == Reduction.SUM
            m.d.comb += [
                adder_op.eq(Mux(total, Operation.ADD, Operation.MAX)),
                adder.same.eq(0),
                adder.magnitude.eq(item.reduction == Reduction.AMAX),
            ]
    with m.If(combiner.enter_ahead):
        m.d.comb += adder_op.eq(Mux(finish_max, Operation.MAX, Operation.ADD))
    m.d.comb += [
        adder.operation.eq(decode_operation(adder_op)),
        multiplier.operation.eq(decode_operation(multiplier_op)),
    ]


def select_thirds(m: Module, entry: data.View, ring: list[Stage]) -> None:
    """Controls of third operands: where they are written and read, and which unit takes one."""
    before = ring[THIRD_CYCLES - 1]
    route = before.item.route
    has_third = (
        before.valid & (route.steps > 1) & ~before.item.self1 & ~is_reduction(before.item, 1)
    )
    write = Signal(range(THIRD_SLOTS))
    read = Signal(range(THIRD_SLOTS), init=-(1 + THIRD_CYCLES) % THIRD_SLOTS)
    takes = Cat(has_third & ~route.multiplier1, has_third & route.multiplier1)
    m.d.sync += [write.eq(write + 1), read.eq(read + 1)]
    m.d.comb += [
        entry.third.eq(registered(m, takes, name="third_taken")),
        entry.third_write.eq(write),
        entry.third_read.eq(read),
    ]


def select_results(m: Module, units: data.View, ending: list[Stage], to_cast: Value) -> None:
    """Controls, a cycle ahead, of what the units and the cast take in the cycle after.

    Parameters
    ----------
    units
        As of `route_units`.
    ending
        From step 1 on: what has done so many steps two cycles later.
    to_cast
        Something enters the cast without a step.
    """
    adder, multiplier = units.adder, units.multiplier
    for step, stage in enumerate(ending, start=1):
        route = stage.item.route
        after_multiplier = by_multiplier_at(route, step - 1)
        goes_on, ends = stage.valid & (route.steps > step), stage.valid & (route.steps == step)
        if step < MAX_STEPS:
            by_multiplier = by_multiplier_at(route, step)
            for unit, comes in ((adder, ~after_multiplier), (multiplier, after_multiplier)):
                with m.If(goes_on & comes):
                    m.d.comb += unit.takes[:2].eq(Cat(~by_multiplier, by_multiplier))
        with m.If(ends & after_multiplier):
            m.d.comb += multiplier.takes[2].eq(1)
    # Whatever else leaves the adder is a result, a partial one, or of no interest.
    m.d.comb += adder.takes[2].eq(~(multiplier.takes[2] | to_cast))


def address_partials(
    m: Module,
    controls: data.View,
    entering: Stage,
    ring: list[Stage],
    combiner: Combiner,
    stop: Value,
) -> None:
    """Controls of the partial results; which of them is read is known a cycle ahead.

    A partial result that no element of the reduction has reached yet is not in the memory: it
    is the identity of the operation with which the reduction began.

    Parameters
    ----------
    entering
        The stage before the ring.
    """
    partial = controls.partial
    unused, lowest = Signal(PARTIALS, init=(1 << PARTIALS) - 1), Signal()
    slots, last_part = partial.addr.shape(), (1 << len(entering.item.exit.part)) - 1
    addr, addr_ahead = Signal(slots, init=ZERO), Signal(slots, init=ZERO)
    m.d.sync += addr.eq(addr_ahead)
    m.d.comb += [
        partial.addr.eq(addr),
        partial.hold.eq(combiner.hold),
        partial.write.eq(combiner.write),
        partial.write_addr.eq(combiner.write_addr),
    ]
    with m.If(combiner.read_ahead):
        absent = is_identity(combiner.addr_ahead, unused)
        m.d.comb += addr_ahead.eq(Mux(absent, Mux(lowest, LOWEST, ZERO), combiner.addr_ahead))
    for step in range(MAX_STEPS):
        stage = ring[step * UNIT_CYCLES - 1] if step else entering
        item = stage.item
        begins_lowest = Mux(item.begin, item.reduction == Reduction.MAX, lowest)
        begins_unused = unused | item.begin.replicate(PARTIALS)
        with m.If(stage.valid & is_reduction(item, step)):
            absent = begins_unused.bit_select(item.partial, 1)
            m.d.comb += addr_ahead.eq(Mux(absent, Mux(begins_lowest, LOWEST, ZERO), _slot(item)))
            # The partitions that share a lane reach a partial result one behind the other.
            with m.If(item.exit.part == last_part):
                m.d.sync += [
                    unused.eq(begins_unused & ~(1 << item.partial)),
                    lowest.eq(begins_lowest),
                ]
        # What writes into the lanes is known a cycle ahead.
        last, after = ring[(step + 1) * UNIT_CYCLES - 1 :][:2]
        ends = Signal(name=f"ends_{step}")
        m.d.sync += ends.eq(last.valid & is_reduction(last.item, step) & ~stop)
        with m.If(ends):
            m.d.comb += [
                partial.write.eq(~stop),
                partial.write_addr.eq(_slot(after.item)),
            ]


def _slot(item: data.View) -> Value:
    """Word of the partial result of an element; each partition of a lane is a group."""
    return slot_of(item.partial, item.exit.part)


def is_reduction(item: data.View, step: int) -> Value:
    """1 if the step is the last one of a reduced element: the reduction."""
    return (item.reduction != Reduction.NONE) & (item.route.steps == step + 1)


def by_multiplier_at(route: data.View, step: int) -> Value:
    """1 if the multiplier does the step; the third one is a reduction, the adder's."""
    return (route.multiplier0, route.multiplier1, Const(0, 1))[step]
