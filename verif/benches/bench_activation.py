"""The activation engine beside a scratchpad that grants at random, against golden, bit for bit."""

from collections import Counter
from dataclasses import replace

import cocotb
import numpy as np

from tegula.activation.layouts import beats
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import TableKind
from tegula.isa.traps import Trap
from tegula_golden.tile.activation import activation_apply, activation_table
from tegula_golden.tile.state import TileState
from tegula_sw.program.schedule import Op
from verif.benches.engine_port import QueueItem
from verif.benches.lanes_bench import LanesBench
from verif.benches.random_ops import random_engine_ops
from verif.benches.testbench import config, random_source, tests_by_rate
from verif.stimuli.functions import arguments, random_words

GOLDEN = {"activation.apply": activation_apply, "activation.table": activation_table}
ENTRIES, DESCRIPTORS = 64, 256
"""Records that there are in the scratchpad."""

START_CYCLES = 350
"""Most cycles that an instruction takes besides its columns: its way, and that of a sum."""

WAY_CYCLES = 70
"""Most cycles from a column's row to its result, and back to rest."""

_ROUND_TRIP = 3
"""Cycles from the grant of a row to that of the next column's, which is asked for when it has come;
one more where a column has two rows."""


def record_places(cfg: TileConfig) -> dict[TableKind, int]:
    """Addresses of the records: at the end of the scratchpad, which few instructions write."""
    entries = cfg.sbuf_depth - 2 * ENTRIES - DESCRIPTORS
    return {TableKind.ENTRIES: entries, TableKind.DESCRIPTORS: entries + 2 * ENTRIES}


def place_records(words: np.ndarray, cfg: TileConfig, rng: np.random.Generator) -> None:
    """Records of a random table, in the partitions that hold them."""
    entries, descriptors = random_words(rng, ENTRIES, DESCRIPTORS)
    places = record_places(cfg)
    at = places[TableKind.ENTRIES]
    words[:4, at : at + 2 * ENTRIES] = entries.view(np.uint16).reshape(-1, 4).T
    at = places[TableKind.DESCRIPTORS]
    words[:2, at : at + DESCRIPTORS] = descriptors.view(np.uint16).reshape(-1, 2).T


def random_state(rng: np.random.Generator, cfg: TileConfig) -> TileState:
    """Hard arguments as fp32 in the scratchpad, any bits in a quarter of it; records at its end."""
    state = TileState(cfg)
    count = cfg.n * cfg.sbuf_depth // 2
    words = rng.permutation(np.resize(arguments(rng, count), count))
    state.sbuf[:] = words.view(np.uint16).reshape(cfg.n, -1)
    for at in range(0, cfg.sbuf_depth, 256):
        state.sbuf[:, at : at + 64] = rng.integers(0, 1 << 16, (cfg.n, 64))
    place_records(state.sbuf, cfg, rng)
    return state


async def make(dut, name: str) -> LanesBench:
    """A bench out of reset that has loaded a table."""
    cfg, rng = config(), random_source(name)
    bench = LanesBench(dut, cfg, rng, Engine.ACTIVATION, GOLDEN, random_state(rng, cfg))
    await bench.begin()
    bench.shape_traffic(0)
    places = record_places(cfg)
    loads = []
    for first in range(0, cfg.activation_entries, DESCRIPTORS):
        fields = {"kind": TableKind.DESCRIPTORS, "first": first, "count": DESCRIPTORS}
        loads.append(Op("activation.table", fields | {"addr": places[TableKind.DESCRIPTORS]}))
    for first in range(0, cfg.activation_entries, ENTRIES):
        fields = {"kind": TableKind.ENTRIES, "first": first, "count": ENTRIES}
        loads.append(Op("activation.table", fields | {"addr": places[TableKind.ENTRIES]}))
    items = bench.items(loads)
    await bench.run(items, budget(items, cfg))
    bench.done = 0
    return bench


def random_items(bench: LanesBench, count: int) -> list[QueueItem]:
    """Instructions; a load of the table takes records, most of the time from where they are."""
    rng, cfg = bench.rng, bench.config
    ops = random_engine_ops(rng, cfg, Engine.ACTIVATION, count, bench.state.written)
    chosen = []
    for op in ops:
        if op.mnemonic == "activation.table" and rng.random() < 0.8:
            kind, most = op.fields["kind"], min(ENTRIES, op.fields["count"])
            shift = int(rng.integers(ENTRIES - most + 1))
            shift *= 2 if kind == TableKind.ENTRIES else 1
            at = record_places(cfg)[TableKind(kind)] + shift
            op = replace(op, fields=op.fields | {"addr": at, "count": most})
        chosen.append(op)
    return bench.items(chosen)


def budget(items: list[QueueItem], cfg: TileConfig) -> int:
    """Cycles for all of them."""
    each = max(_ROUND_TRIP + 1, 2 * beats(cfg)) + 2
    counts = [item.fields.get("columns", item.fields.get("count", 0)) for item in items]
    return sum(START_CYCLES + each * count for count in counts)


class Coverage(Counter):
    """Fields and features of the instructions that were executed."""

    FLAGS = ("saturate", "exp", "parity", "odd", "log", "sum", "proceed", "finish", "overlap")

    def add(self, items: list[QueueItem]) -> None:
        """Count the values of their fields."""
        for item in items:
            self.update(item.fields.items())

    def assert_complete(self, cfg: TileConfig) -> None:
        """Every flag, format, table and kind of scalar."""
        formats = [FP32.code, *(fmt.code for fmt in cfg.operand_formats)]
        wanted = [(name, value) for name in self.FLAGS for value in (0, 1)]
        wanted += [(name, value) for name in ("format", "x_format") for value in formats]
        wanted += [(f"{name}_partition", value) for name in ("scale", "bias") for value in (0, 1)]
        wanted += [("kind", int(kind)) for kind in TableKind]
        assert not [what for what in wanted if not self[what] and what != ("overlap", 0)]


async def random_instructions(dut, name: str, rate: float, rounds: int) -> None:
    """Rounds of instructions back to back, the table changing in between."""
    bench, coverage = await make(dut, name), Coverage()
    bench.shape_traffic(rate)
    for number in range(rounds):
        if number % 4 == 3:
            place_records(bench.state.sbuf, bench.config, bench.rng)
            np.copyto(bench.memories.words, bench.state.sbuf)
        items = random_items(bench, 8)
        await bench.run(items, budget(items, bench.config))
        coverage.add(items)
    assert bench.done == 8 * rounds
    assert bench.memories.writes > 60 * rounds
    assert (bench.memories.denied > 10 * rounds) == (rate > 0)
    coverage.assert_complete(bench.config)


@cocotb.test()
async def traps_come_after_all_before_them_and_nothing_after_them(dut):
    """A bad address in a random instruction; the next round begins where the trap left the tile."""
    bench = await make(dut, "traps_come_after_all_before_them_and_nothing_after_them")
    wanted = {Trap.SBUF_RANGE: 6, Trap.SBUF_ALIGNMENT: 4}
    await bench.run_until_trapped(
        lambda: random_items(bench, 4), lambda items: budget(items, bench.config), wanted
    )
    assert bench.done > 2 * bench.causes.total()


@cocotb.test()
async def columns_follow_each_other_at_the_documented_rate(dut):
    """A column takes its beats, or the way to the scratchpad and back where that is longer."""
    bench = await make(dut, "columns_follow_each_other_at_the_documented_rate")
    cfg, columns = bench.config, 200
    for wide in (0, 1):
        for sums in (0, 1):
            fields = {"rows": cfg.n, "columns": columns, "x_addr": 0, "x_stride": 1 + wide}
            fields |= {"x_format": FP32.code if wide else 0, "format": FP32.code if wide else 0}
            fields |= {"dst": 4096, "dst_stride": 1 + wide, "function": 5, "sum": sums}
            item = QueueItem(mnemonic="activation.apply", fields=fields)
            cycles = await bench.run([item], budget([item], cfg))
            each = max(beats(cfg) * (1 + sums), _ROUND_TRIP + wide)
            assert cycles <= each * columns + WAY_CYCLES
    assert bench.memories.denied == 0


globals().update(
    tests_by_rate(
        random_instructions, "random_instructions_{}_denied_grants", {0: 24, 10: 16, 50: 12}
    )
)
