"""plan_route against the rules in plain Python, for every instruction there is."""

from itertools import product

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.isa.operations import Operation, Reduction
from tegula.vector.lane import UNIT_CYCLES
from tegula.vector.layouts import route_layout
from tegula.vector.work import INTERVAL_BITS, is_unary, plan_route
from verif.support.unit_bench import simulate

ADDS = (Operation.ADD, Operation.SUB, Operation.RSUB)
UNARY = (Operation.PASS, Operation.ABS)
OTHERS = [op for op in Operation if op not in (*ADDS, Operation.MUL)]
INSTRUCTIONS = [
    (op0, op1, reduction)
    for op0, op1, reduction in product(Operation, Operation, Reduction)
    if op0 != Operation.PASS or op1 == Operation.PASS
]


class Planner(wiring.Component):
    """`plan_route` behind ports."""

    op0: In(Operation)
    op1: In(Operation)
    reduction: In(Reduction)
    route: Out(route_layout())
    interval: Out(INTERVAL_BITS)
    unary: Out(1)

    def elaborate(self, platform):
        m = Module()
        op = Signal(4)
        route, interval = plan_route(m, self.op0, self.op1, self.reduction, "planned")
        m.d.comb += [
            op.eq(self.op0),
            self.route.eq(route),
            self.interval.eq(interval),
            self.unary.eq(is_unary(op)),
        ]
        return m


@pytest.fixture(scope="module")
def planned():
    """(units of the steps, interval) and whether op0 is unary, by instruction."""
    dut, results = Planner(), {}

    async def testbench(ctx):
        for op0, op1, reduction in INSTRUCTIONS:
            ctx.set(dut.op0, op0)
            ctx.set(dut.op1, op1)
            ctx.set(dut.reduction, reduction)
            await ctx.delay(1e-9)
            route = ctx.get(dut.route)
            bits = (route.multiplier0, route.multiplier1, 0)
            assert not any(bits[route.steps :]), "a bit of no step"
            units = tuple("mul" if bit else "add" for bit in bits[: route.steps])
            results[op0, op1, reduction] = units, ctx.get(dut.interval), ctx.get(dut.unary)

    simulate(dut, testbench, clocked=False)
    assert len(results) == len(INSTRUCTIONS) == (15 * 16 + 1) * 4
    return results


def units_of(op0, op1, reduction):
    """The unit of each step, by the rules: arithmetic fixes it, others avoid their neighbour's."""
    fixed = dict.fromkeys(ADDS, "add") | {Operation.MUL: "mul"}
    steps = [op for op in (op0, op1) if op != Operation.PASS]
    units = [fixed.get(op) for op in steps]
    reduces = reduction != Reduction.NONE
    for place, unit in enumerate(units):
        if unit is not None:
            continue
        neighbours = [units[i] for i in (place - 1, place + 1) if 0 <= i < len(units)]
        units[place] = "add" if "mul" in neighbours and not reduces else "mul"
    return (*units, *(["add"] * reduces))


def fits(units, interval):
    """Elements that begin in every `interval`-th cycle never need a unit twice at once."""
    for unit in ("add", "mul"):
        phases = [UNIT_CYCLES * step % interval for step, own in enumerate(units) if own == unit]
        if len(set(phases)) != len(phases):
            return False
    return True


def test_every_step_has_the_unit_that_the_rules_give_it(planned):
    for instruction, (units, _, _) in planned.items():
        assert units == units_of(*instruction), instruction


def test_arithmetic_is_done_by_its_own_unit_and_reductions_by_the_adder(planned):
    for (op0, op1, reduction), (units, _, _) in planned.items():
        ops = [op for op in (op0, op1) if op != Operation.PASS]
        assert len(units) == len(ops) + (reduction != Reduction.NONE)
        for op, unit in zip(ops, units, strict=False):
            assert op in OTHERS or unit == ("mul" if op == Operation.MUL else "add")
        assert reduction == Reduction.NONE or units[-1] == "add"


def test_the_interval_is_the_shortest_in_which_no_two_elements_meet(planned):
    for instruction, (units, interval, _) in planned.items():
        best = next(cycles for cycles in (1, 2, 3) if fits(units, cycles))
        assert interval == best, instruction
    assert {interval for _, interval, _ in planned.values()} == {1, 2, 3}


def test_no_other_choice_of_units_would_be_faster(planned):
    for (op0, op1, reduction), (units, interval, _) in planned.items():
        ops = [op for op in (op0, op1) if op != Operation.PASS]
        choices = [("add", "mul") if op in OTHERS else units[i : i + 1] for i, op in enumerate(ops)]
        choices += [("add",)] * (reduction != Reduction.NONE)
        fastest = min(
            cycles for cycles in (1, 2, 3) for other in product(*choices) if fits(other, cycles)
        )
        assert interval == fastest, (op0, op1, reduction)


def test_instructions_of_one_route_use_the_same_units_in_the_same_rhythm(planned):
    """Else they would meet where one follows the other without a wait."""
    rhythms = {}
    for units, interval, _ in planned.values():
        assert rhythms.setdefault(units, interval) == interval
    assert len(rhythms) == 1 + 2 + 4 + 4, "of no, one, two steps, and of two before a reduction"


def test_pass_and_abs_alone_are_unary(planned):
    assert {op0 for (op0, _, _), (_, _, unary) in planned.items() if unary} == set(UNARY)
