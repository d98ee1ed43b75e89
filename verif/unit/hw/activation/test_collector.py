"""ResultCollector: beats become rows, in order, none lost where rows are taken late."""

import random

import pytest

from tegula.activation.collector import ResultCollector, columns_under_way
from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import beats
from tegula.config import preset
from verif.support.unit_bench import simulate

CONFIGS = {
    "one lane": preset("tiny", sbuf_depth=256, activation_lanes=1),
    "two lanes": preset("tiny", sbuf_depth=256, activation_lanes=2),
    "as many lanes as partitions": preset("tiny", sbuf_depth=256, activation_lanes=4),
    "many beats": preset("tiny", n=32, axi_data_width=512, sbuf_depth=1024, activation_lanes=1),
}
SEED = 41

FLIGHT = LaneCycles.WORD
"""Cycles from a column's entry into the lanes to its first beat."""


class CollectorBench:
    """Lanes that never stand still, and a scratchpad that takes rows or not, and writes later."""

    def __init__(self, config, *, gap=0.0, deny=0.0, wide=0.5):
        self.config, self.gap, self.deny, self.wide = config, gap, deny, wide
        self.dut, self.rng = ResultCollector(config), random.Random(SEED)
        self.rows, self.expected = [], []
        self.entering, self.flying, self.landing = [], [None] * FLIGHT, [None]
        self.cycles, self.held_back = 0, 0

    def draw(self, count):
        """Columns to enter, and the rows that they have to become: (addr, enable, words, last)."""
        rng, config = self.rng, self.config
        for _ in range(count):
            wide = rng.random() < self.wide
            words = [rng.getrandbits(32) for _ in range(config.n)]
            addr = rng.randrange(config.sbuf_depth // 2) * 2 if wide else rng.randrange(256)
            rows, last = rng.randint(1, config.n), rng.randrange(2)
            self.entering.append(({"wide": wide, "addr": addr, "rows": rows, "last": last}, words))
            halves = [[w & 0xFFFF for w in words], [w >> 16 for w in words]][: 1 + wide]
            self.expected += [
                (addr + half, (1 << rows) - 1, code[:rows], last & (half == wide))
                for half, code in enumerate(halves)
            ]

    def enter(self, ctx):
        """Enter a column if there is room, and if its beats meet none of the one before."""
        dut, lanes = self.dut, self.config.activation_lanes
        free = all(beat is None for beat in self.flying[len(self.flying) - beats(self.config) :])
        wanted = bool(self.entering) and free and self.rng.random() >= self.gap
        enters = wanted and ctx.get(dut.room)
        self.held_back += bool(wanted and not enters)
        ctx.set(dut.enters, enters)
        self.flying.append(None)
        if enters:
            destination, words = self.entering.pop(0)
            ctx.set(dut.exit, destination)
            self.flying += [None] * (FLIGHT + beats(self.config) - len(self.flying))
            for beat in range(beats(self.config)):
                self.flying[FLIGHT + beat - 1] = words[beat * lanes :][:lanes]

    async def cycle(self, ctx):
        dut = self.dut
        self.enter(ctx)
        results = self.flying.pop(0)
        ctx.set(dut.valid, results is not None)
        if results is not None:
            ctx.set(dut.results, results)
        write = dut.write
        written = self.landing.pop(0)
        ctx.set(write.written, written is not None)
        ctx.set(write.request.ready, self.rng.random() >= self.deny)
        assert written is None or not ctx.get(dut.empty)
        if ctx.get(write.request.valid) and ctx.get(write.request.ready):
            row = ctx.get(write.request.payload)
            enabled = int(row.enable)
            words = [int(row.words[p]) for p in range(enabled.bit_length())]
            self.rows.append((int(row.addr), enabled, words, row.last))
        else:
            row = None
        self.landing.append(row)
        self.cycles += 1
        await ctx.tick()

    async def drain(self, ctx):
        """Let all columns enter and be written; nothing is under way once it is empty."""
        budget = 4 * FLIGHT + 8 * beats(self.config) * (len(self.entering) + 4)
        for _ in range(round(budget / (1 - self.deny) / (1 - self.gap))):
            if not self.entering and ctx.get(self.dut.empty):
                assert self.landing == [None] * len(self.landing)
                return
            await self.cycle(ctx)
        raise AssertionError("never empty")


@pytest.mark.parametrize("deny", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_column_is_written_once_in_order_however_late_rows_are_taken(config, deny):
    bench = CollectorBench(config, gap=0.3, deny=deny)

    async def testbench(ctx):
        bench.draw(120)
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert len(bench.rows) == len(bench.expected)
    assert bench.rows == bench.expected


@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_columns_take_as_long_as_their_beats_or_their_rows(config, wide):
    bench, columns = CollectorBench(config, wide=wide), 400 // beats(config)

    async def testbench(ctx):
        bench.draw(columns)
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert len(bench.rows) == columns * (1 + wide)
    assert bench.cycles <= columns * max(beats(config), 1 + wide) + FLIGHT + 10
    assert (bench.held_back > 0) == (1 + wide > beats(config))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_columns_enter_until_the_queue_is_full_and_no_more(config):
    bench = CollectorBench(config, deny=1.0)
    columns = columns_under_way(config)
    assert columns * beats(config) >= FLIGHT + 2 * beats(config), "else the lanes would idle"

    async def testbench(ctx):
        bench.draw(2 * columns)
        for _ in range(FLIGHT + (columns + 2) * beats(config)):
            await bench.cycle(ctx)
        assert columns - 1 <= 2 * columns - len(bench.entering) <= columns
        bench.deny = 0.0
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert bench.rows == bench.expected


def test_it_is_not_empty_before_the_last_row_is_written():
    bench = CollectorBench(CONFIGS["two lanes"], wide=1)
    bench.landing = [None] * 5

    async def testbench(ctx):
        bench.draw(1)
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert bench.rows == bench.expected


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_stop_drops_what_is_held_and_waits_for_what_is_accepted(config):
    bench = CollectorBench(config, deny=0.7, wide=1)

    async def testbench(ctx):
        for length in range(0, 60, 3):
            bench.draw(6)
            for _ in range(FLIGHT + length):
                await bench.cycle(ctx)
            bench.entering, bench.flying = [], [None] * FLIGHT
            ctx.set(bench.dut.stop, 1)
            await bench.cycle(ctx)
            ctx.set(bench.dut.stop, 0)
            taken = len(bench.rows)
            for _ in range(len(bench.landing)):
                await bench.cycle(ctx)
            assert len(bench.rows) == taken, "a row after the stop"
            assert ctx.get(bench.dut.empty)
            bench.rows.clear(), bench.expected.clear()
            bench.draw(3)
            await bench.drain(ctx)
            assert bench.rows == bench.expected
            bench.rows.clear(), bench.expected.clear()

    simulate(bench.dut, testbench)
