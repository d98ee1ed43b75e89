"""Routes of vector instructions as the model of time has them, beside those of the hardware."""

from itertools import product

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import preset
from tegula.engine.interface import instruction_layout
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import PAYLOAD_OFFSET, Engine
from tegula.isa.operations import Operand, Operation, Reduction, Source
from tegula.vector.work import VectorCode, plan_work, work_layout
from tegula_sw.program.timing.vector_work import vector_work
from verif.support.unit_bench import simulate

CONFIG = preset("tiny")


class Planner(wiring.Component):
    """`plan_work` behind ports."""

    payload: In(instruction_layout(Engine.VECTOR)["payload"].width)
    work: Out(work_layout())

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.work.eq(plan_work(m, CONFIG, VectorCode.COMPUTE, self.payload)[0])
        return m


def planned(codes):
    """What the hardware makes of instructions: (steps, interval, scalars, reads)."""
    planner, found = Planner(), []

    async def bench(ctx):
        for code in codes:
            ctx.set(planner.payload, int.from_bytes(code, "little") >> PAYLOAD_OFFSET)
            await ctx.delay(1e-9)
            work = ctx.get(planner.work)
            scalars = work.scalar0 + work.scalar1
            found.append((work.route.steps, work.interval, scalars, bool(work.reads)))

    simulate(planner, bench, clocked=False)
    return found


@pytest.mark.parametrize("reduction", [Reduction.NONE, Reduction.SUM, Reduction.MAX])
def test_every_pair_of_operations_has_the_steps_and_the_interval_of_the_hardware(reduction):
    kinds = list(product(Operand, Operand))
    codes = []
    for number, (op0, op1) in enumerate(product(Operation, Operation)):
        s0_kind, s1_kind = kinds[number % len(kinds)]
        operands = {"s0_kind": s0_kind, "s1_kind": s1_kind, "s0": 32, "s1": 64}
        fields = {"op0": op0, "op1": op1, "x_source": list(Source)[number % len(Source)]}
        fields |= operands | {"rows": 4, "format": 3, "columns": 8, "dst": 16}
        codes.append(encode("vector.compute", CONFIG, **fields, reduction=reduction))
    works = [vector_work(decode(code), 4) for code in codes]
    expected = [(w.steps, w.interval, len(w.scalars), w.reads) for w in works]
    assert planned(codes) == expected
    assert {interval for _, interval, _, _ in expected} >= {1, 2}
