"""plan_work against the rules in plain Python, for every operation, operand and kind."""

import random
from itertools import product

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.config import preset
from tegula.engine.interface import instruction_layout
from tegula.formats import FP32, RAW32
from tegula.isa.codec import encode
from tegula.isa.instructions import PAYLOAD_OFFSET, Engine
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.work import plan_work, work_layout
from verif.support.unit_bench import simulate

CONFIG = preset("tiny")
SEED = 52
WIDE = (FP32.code, RAW32)
UNARY = (Operation.PASS, Operation.ABS)
_ITEM = instruction_layout(Engine.VECTOR)


class Planner(wiring.Component):
    """`plan_work` behind ports."""

    op: In(4)
    payload: In(_ITEM["payload"].width)
    work: Out(work_layout())

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.work.eq(plan_work(m, CONFIG, self.op, self.payload)[0])
        return m


def planned(instructions):
    """The work of each (mnemonic, fields), by simulation."""
    dut, works = Planner(), []

    async def testbench(ctx):
        for mnemonic, fields in instructions:
            word = int.from_bytes(encode(mnemonic, **fields), "little")
            ctx.set(dut.op, word & 0xF)
            ctx.set(dut.payload, word >> PAYLOAD_OFFSET)
            await ctx.delay(1e-9)
            works.append(ctx.get(dut.work))

    simulate(dut, testbench, clocked=False)
    assert len(works) == len(instructions)
    return works


def random_fields(rng):
    formats = {name: rng.randrange(8) for name in ("x_format", "y_format")}
    return formats | {
        "rows": rng.randint(1, CONFIG.n),
        "format": rng.randrange(8),
        "columns": rng.randint(1, 8191),
        "saturate": rng.randrange(2),
        "rounding": rng.choice(list(Rounding)),
        "x_source": rng.choice(list(Source)),
        "x_addr": rng.getrandbits(16),
        "x_stride": rng.randrange(-2048, 2048),
        "y_addr": rng.getrandbits(16),
        "y_stride": rng.randrange(-2048, 2048),
        "overlap": rng.randrange(2),
        "reduction": rng.choice(list(Reduction)),
        "proceed": rng.randrange(2),
        "finish": rng.randrange(2),
        "dst": rng.getrandbits(16),
        "dst_stride": rng.randrange(-2048, 2048),
        "partition": rng.randrange(CONFIG.n),
        "s0": rng.getrandbits(32),
        "s1": rng.getrandbits(32),
    }


def test_every_pair_of_operations_with_some_of_their_operands():
    rng = random.Random(SEED)
    cases = []
    for op0, op1, kind0 in product(Operation, Operation, Operand):
        fields, kind1 = random_fields(rng), rng.choice(list(Operand))
        fields["transpose"] = rng.randrange(2) if fields["format"] not in WIDE else 0
        fields |= {"op0": op0, "op1": op1, "s0_kind": kind0, "s1_kind": kind1}
        cases.append(("vector.compute", fields))
    assert len(cases) == 1024
    for (_, fields), work in zip(cases, planned(cases), strict=True):
        steps = [(fields[f"op{n}"], fields[f"s{n}_kind"], fields[f"s{n}"]) for n in (0, 1)]
        if fields["op0"] == Operation.PASS:  # a lone operation is step 0
            steps = [steps[1], (Operation.PASS, None, None)]
        for number, (op, kind, scalar) in enumerate(steps):
            assert getattr(work.fields, f"op{number}") == op
            if op not in UNARY:
                assert getattr(work.fields, f"s{number}_kind") == kind
                assert getattr(work.fields, f"s{number}") == scalar
        used = [kind for op, kind, _ in steps if op not in UNARY]
        has_scalar = [
            op not in UNARY and kind in (Operand.IMMEDIATE, Operand.PARTITION)
            for op, kind, _ in steps
        ]
        assert [work.scalar0, work.scalar1] == has_scalar
        y_used = Operand.Y in used or fields["rounding"] == Rounding.GIVEN
        assert work.y_used == y_used
        from_partition = Operand.PARTITION in used
        assert work.reads == (fields["x_source"] == Source.SBUF or y_used or from_partition)
        assert work.state == 0
        assert work.writes == (fields["reduction"] == Reduction.NONE)
        moved = {"op0", "op1", "s0", "s1", "s0_kind", "s1_kind"}
        for name in fields.keys() - moved:
            assert getattr(work.fields, name) == fields[name], name


@pytest.mark.parametrize("save", [0, 1])
def test_the_generators_state_is_four_pairs_of_raw_words(save):
    rng = random.Random(SEED + save)
    addresses = [rng.getrandbits(16) for _ in range(200)]
    cases = [("vector.generator", {"save": save, "addr": addr}) for addr in addresses]
    for addr, work in zip(addresses, planned(cases), strict=True):
        fields = work.fields
        assert (work.state, work.writes, work.reads) == (1, save, not save)
        assert (work.scalar0, work.scalar1, work.y_used) == (0, 0, 0)
        assert (work.route.steps, work.interval) == (0, 1)
        assert (fields.columns, fields.rows) == (4, CONFIG.n)
        assert fields.x_source == (Source.RANDOM if save else Source.SBUF)
        assert (fields.x_format, fields.format) == (RAW32, RAW32)
        assert (fields.x_addr, fields.x_stride) == (addr, 2)
        assert (fields.dst, fields.dst_stride) == (addr, 2)
        assert (fields.reduction, fields.rounding, fields.transpose, fields.overlap) == (0, 0, 0, 0)
