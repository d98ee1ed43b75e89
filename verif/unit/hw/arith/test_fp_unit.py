"""FpUnit against the golden operations, bit for bit."""

import numpy as np
import pytest
from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_operation import decode_operation
from tegula.arith.fp_unit import FpUnit
from tegula.isa.operations import Operation
from tegula_golden.numerics.fp32 import keeps, operate
from verif.stimuli.fp32 import PRODUCT_KINDS, addends, factors, special_pairs
from verif.support.fp_bench import SEED, check

ARITHMETIC = {"add": (Operation.ADD, Operation.SUB, Operation.RSUB), "mul": (Operation.MUL,)}
SHARED = [op for op in Operation if op not in {*ARITHMETIC["add"], *ARITHMETIC["mul"]}]
UNITS = [(kind, op) for kind, own in ARITHMETIC.items() for op in (*own, *SHARED)]
VECTORS = 250


def pairs(rng):
    """Patterns of all kinds; some equal, some equal but for the sign, some with a zero first."""
    drawn = [special_pairs(), addends(rng, VECTORS, "near"), addends(rng, VECTORS, "cancel")]
    drawn += [factors(rng, VECTORS, kind) for kind in PRODUCT_KINDS]
    a, b = (np.concatenate(column) for column in zip(*drawn, strict=True))
    chance = rng.integers(0, 16, a.size)
    b = np.select([chance == 0, chance == 1], [a, a ^ np.uint32(1 << 31)], b)
    a = np.where(chance == 2, a & np.uint32(1 << 31), a)
    return a, b


class Decoded(wiring.Component):
    """An `FpUnit` behind the decoder of its operation."""

    LATENCY = FpUnit.LATENCY

    def __init__(self, kind):
        self._kind = kind
        super().__init__(
            {"op": In(Operation), "a": In(32), "b": In(32), "result": Out(32), "kept": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = unit = FpUnit(self._kind)
        m.d.comb += [
            unit.operation.eq(decode_operation(self.op)),
            unit.a.eq(self.a),
            unit.b.eq(self.b),
            self.result.eq(unit.result),
            self.kept.eq(unit.kept),
        ]
        return m


def check_operations(kind, operations, a, b):
    """Results and `kept` of operations, one a vector."""
    expected = np.zeros(a.size, dtype=np.uint64)
    for op in np.unique(operations).tolist():
        at = operations == op
        kept = keeps(op, a[at]).astype(np.uint64)
        expected[at] = operate(op, a[at], b[at]) | kept << np.uint64(32)
    dut = Decoded(kind)
    check(dut, Cat(dut.result, dut.kept), expected, op=operations, a=a, b=b)


@pytest.mark.parametrize(("kind", "op"), UNITS)
def test_an_operation_gives_what_the_golden_model_gives(kind, op):
    a, b = pairs(np.random.default_rng(SEED))
    check_operations(kind, np.full(a.size, op), a, b)


@pytest.mark.parametrize("kind", ARITHMETIC)
def test_operations_follow_each_other_in_any_order(kind):
    rng = np.random.default_rng(SEED + 1)
    a, b = pairs(rng)
    check_operations(kind, rng.choice([*ARITHMETIC[kind], *SHARED], a.size), a, b)
