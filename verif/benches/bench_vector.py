"""The vector engine between memories that grant at random, against golden, bit for bit."""

from collections import Counter

import cocotb
import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FORMATS, MX_BLOCK, RAW32
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, ScaleRule, Source
from tegula.isa.traps import Trap
from tegula_golden.tile.quantise import vector_quantise
from tegula_golden.tile.state import TileState
from tegula_golden.tile.vector import vector_compute, vector_generator
from verif.benches.engine_port import QueueItem
from verif.benches.lanes_bench import LanesBench
from verif.benches.random_ops import random_engine_ops
from verif.benches.testbench import config, random_source, tests_by_rate

GOLDEN = {
    "vector.compute": vector_compute,
    "vector.generator": vector_generator,
    "vector.quantise": vector_quantise,
}
START_CYCLES = 110
"""Most cycles that an instruction takes besides its elements: its way, and that of a reduction."""


def random_state(rng: np.random.Generator, cfg: TileConfig) -> TileState:
    """Any bits in half of the scratchpad, moderate fp32 in the other; PSUM around one."""
    state = TileState(cfg)
    state.sbuf[:] = rng.integers(0, 1 << 16, state.sbuf.shape)
    shape = (cfg.n, cfg.sbuf_depth // 4)
    values = rng.standard_normal(shape) * 2.0 ** rng.integers(-18, 19, shape)
    for at in range(0, cfg.sbuf_depth, 256):
        part = slice(at // 4, at // 4 + 64)
        state.sbuf[:, at : at + 128] = values[:, part].astype(np.float32).view(np.uint16)
    shape, width = (cfg.n, cfg.psum_depth), cfg.acc_width
    bits = rng.integers(1, width - 1, shape)
    magnitude = rng.integers(0, 1 << 62, shape) >> (62 - bits) | 1 << (bits - 1)
    state.exponent[:] = rng.integers(-18, 19, shape) + 240 + width - bits
    state.significand[:] = np.where(rng.random(shape) < 0.5, magnitude, -magnitude)
    empty = rng.random(shape) < 0.1
    state.exponent[empty] = rng.choice([0, 300, 509, 510, 511], empty.sum())
    state.significand[empty] = 0
    return state


async def make(dut, name: str) -> LanesBench:
    """A bench out of reset, with three quarters of PSUM written."""
    cfg, rng = config(), random_source(name)
    state = random_state(rng, cfg)
    limit = cfg.psum_depth * 3 // 4
    state.written[:limit] = True
    dut.psum_limit.value = limit
    bench = LanesBench(dut, cfg, rng, Engine.VECTOR, GOLDEN, state)
    await bench.begin()
    return bench


def random_items(bench: LanesBench, count: int) -> list[QueueItem]:
    written = bench.state.written
    return bench.items(random_engine_ops(bench.rng, bench.config, Engine.VECTOR, count, written))


def budget(items: list[QueueItem]) -> int:
    """Cycles for all of them: at most three an element."""
    return sum(START_CYCLES + 3 * item.fields.get("columns", 4) for item in items)


class Coverage(Counter):
    """Fields and features of the instructions that were executed."""

    def add(self, items: list[QueueItem]) -> None:
        """Count the values of their fields."""
        for item in items:
            self.update(item.fields.items())

    def assert_complete(self) -> None:
        """Every operation, operand, format, rounding, reduction and rule of scales, and lines."""
        formats = [fmt.code for fmt in FORMATS if fmt.code < 4] + [6, 7]
        wanted = [(name, op) for name in ("op0", "op1") for op in Operation]
        wanted += [(f"{name}format", code) for name in ("", "x_", "y_") for code in formats]
        wanted += [("x_source", source) for source in Source]
        wanted += [("rounding", way) for way in Rounding]
        wanted += [(name, kind) for name in ("s0_kind", "s1_kind") for kind in Operand]
        wanted += [("reduction", way) for way in Reduction]
        wanted += [("rule", rule) for rule in ScaleRule]
        wanted += [("transpose", 1), ("overlap", 1), ("packed", 1), ("e2m1", 0), ("e2m1", 1)]
        assert not [what for what in wanted if not self[what]]


async def random_instructions(dut, name: str, rate: float, rounds: int) -> None:
    """Rounds of instructions back to back."""
    bench, coverage = await make(dut, name), Coverage()
    bench.shape_traffic(rate)
    for _ in range(rounds):
        items = random_items(bench, 12)
        await bench.run(items, budget(items))
        coverage.add(items)
    assert bench.done == 12 * rounds
    assert bench.memories.writes > 50 * rounds
    assert bench.memories.lines > 5 * rounds
    assert (bench.memories.denied > 10 * rounds) == (rate > 0)
    coverage.assert_complete()


@cocotb.test()
async def traps_come_after_all_before_them_and_nothing_after_them(dut):
    """A bad address in a random instruction; the next round begins where the trap left the tile."""
    bench = await make(dut, "traps_come_after_all_before_them_and_nothing_after_them")
    wanted = {Trap.SBUF_RANGE: 8, Trap.SBUF_ALIGNMENT: 8, Trap.PSUM_RANGE: 2}
    await bench.run_until_trapped(lambda: random_items(bench, 6), budget, wanted)
    assert bench.done > 3 * bench.causes.total()


@cocotb.test()
async def every_code_enters_as_in_golden(dut):
    """All codes of bf16 and of the 8-bit formats as x and as y, NaNs with their payloads."""
    bench = await make(dut, "every_code_enters_as_in_golden")
    bench.shape_traffic(0)
    cfg, state = bench.config, bench.state
    columns, seen = cfg.sbuf_depth // 4, 0
    target = cfg.sbuf_depth // 2
    for fmt in cfg.operand_formats:
        codes = np.resize(np.arange(1 << fmt.width), max(1 << fmt.width, cfg.n * columns))
        for part in codes.reshape(-1, cfg.n, columns).astype(np.uint16):
            noise = bench.rng.integers(0, 1 << 16, part.shape) >> fmt.width << fmt.width
            words = part | noise.astype(np.uint16)
            for memory in (state.sbuf, bench.memories.words):
                memory[:, :columns], memory[:, columns : 2 * columns] = words, words[:, ::-1]
            fields = {"rows": cfg.n, "columns": columns, "x_source": Source.SBUF, "format": RAW32}
            fields |= {"x_format": fmt.code, "x_addr": 0, "y_format": fmt.code, "y_addr": columns}
            fields |= {"dst": target, "dst_stride": 2}
            select = {"op0": Operation.SELECT, "s0_kind": Operand.Y}
            for extra in ({}, select) if fmt is not BF16 else (select,):
                item = QueueItem(mnemonic="vector.compute", fields=fields | extra)
                # x and y lie in the same banks, so that y comes a cycle after x.
                await bench.run([item], 2 * columns + START_CYCLES)
            seen += part.size
    assert seen >= 1 << 16


RATES = {
    "from PSUM": ({"x_stride": 0}, 1),
    "to fp8, saturating": ({"x_stride": 0, "format": 2, "saturate": 1}, 1),
    "stochastic, to bf16": ({"x_stride": 0, "rounding": Rounding.STOCHASTIC}, 1),
    "fp32 and fp32 to fp32": (
        {"x_source": Source.SBUF, "x_stride": 2, "op0": Operation.MUL, "s0_kind": Operand.Y}
        | {"y_stride": 2, "y_format": 3, "y_addr": 2050, "format": 3, "dst_stride": 2},
        1,
    ),
    "multiply, then add": ({"op0": Operation.MUL, "op1": Operation.ADD, "x_stride": 0}, 1),
    "sum of squares": (
        {"op0": Operation.MUL, "s0_kind": Operand.SELF, "reduction": Reduction.SUM, "x_stride": 0},
        1,
    ),
    "random numbers": ({"x_source": Source.RANDOM}, 1),
    "transposed": ({"x_stride": 0, "transpose": 1}, 1),
    "two products": ({"op0": Operation.MUL, "op1": Operation.MUL, "x_stride": 0}, 2),
    "sum of sums of sums": (
        {"op0": Operation.ADD, "op1": Operation.ADD, "reduction": Reduction.SUM, "x_stride": 0},
        3,
    ),
}


@cocotb.test()
async def elements_follow_each_other_at_the_documented_rate(dut):
    """One element a lane a cycle, where no unit is needed twice; the rest is its way."""
    bench = await make(dut, "elements_follow_each_other_at_the_documented_rate")
    bench.shape_traffic(0)
    columns = 300
    for name, (fields, cycles_each) in RATES.items():
        usual = {"rows": bench.config.n, "columns": columns, "format": BF16.code, "dst": 4096}
        usual |= {"finish": 1} if "reduction" in fields else {}
        usual |= {"dst_stride": bench.config.n} if "transpose" in fields else {}
        item = QueueItem(mnemonic="vector.compute", fields=usual | fields)
        cycles = await bench.run([item], cycles_each * columns + START_CYCLES)
        assert cycles <= cycles_each * columns + (88 if "reduction" in fields else 40), name
    assert bench.memories.denied == 0


@cocotb.test()
async def blocks_follow_each_other_at_the_documented_rate(dut):
    """One element a lane a cycle, and one cycle more for each scale; the last block on its way."""
    bench = await make(dut, "blocks_follow_each_other_at_the_documented_rate")
    bench.shape_traffic(0)
    columns, blocks = 320, 10
    usual = {"rows": bench.config.n, "columns": columns, "x_stride": 0, "format": 1, "dst": 4096}
    usual |= {"scale_dst": 2048}
    for fields in ({}, {"transpose": 1, "packed": 1, "dst_stride": bench.config.n}):
        item = QueueItem(mnemonic="vector.quantise", fields=usual | fields)
        cycles = await bench.run([item], columns + blocks + MX_BLOCK + START_CYCLES)
        assert cycles <= columns + blocks + MX_BLOCK + 50, cycles
    assert bench.memories.denied == 0


globals().update(
    tests_by_rate(
        random_instructions, "random_instructions_{}_denied_grants", {0: 40, 10: 24, 50: 20}
    )
)
