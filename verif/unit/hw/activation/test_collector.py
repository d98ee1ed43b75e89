"""ResultCollector: beats become rows, in order, none lost where rows are taken late."""

import random

import pytest

from tegula.activation.collector import ResultCollector
from tegula.activation.layouts import beats
from tegula.config import preset
from tegula.formats import BF16, FP32
from verif.support.unit_bench import simulate

CONFIGS = {
    "one lane": preset("tiny", sbuf_depth=256, activation_lanes=1),
    "two lanes": preset("tiny", sbuf_depth=256, activation_lanes=2),
    "as many lanes as partitions": preset("tiny", sbuf_depth=256, activation_lanes=4),
}
SEED = 41


class CollectorBench:
    """Lanes that stand still when they are told to, and a scratchpad that takes rows or not."""

    def __init__(self, config, *, gap=0.0, deny=0.0, wide=0.5):
        self.config, self.gap, self.deny, self.wide = config, gap, deny, wide
        self.dut, self.rng = ResultCollector(config), random.Random(SEED)
        self.rows, self.done, self.expected, self.expected_done = [], [], [], []
        self.held_back = 0

    def draw(self, count):
        """Columns as their beats, and the rows that they have to become."""
        rng, config = self.rng, self.config
        items = []
        for _ in range(count):
            wide = rng.random() < self.wide
            words = [rng.getrandbits(32) for _ in range(config.n)]
            addr = rng.randrange(config.sbuf_depth // 2) * 2 if wide else rng.randrange(256)
            rows, last = rng.randint(1, config.n), rng.randrange(2)
            column = {"addr": addr, "rows": rows, "last": last}
            column["format"] = FP32.code if wide else BF16.code
            for beat in range(beats(config)):
                end = beat == beats(config) - 1
                results = words[beat * config.activation_lanes :][: config.activation_lanes]
                items.append(({"valid": 1, "end": end, "exit": column}, results))
            halves = ([w & 0xFFFF for w in words], [w >> 16 for w in words])
            self.expected += [
                (addr + half, (1 << rows) - 1, halves[half][:rows]) for half in range(1 + wide)
            ]
            self.expected_done += [0] * wide + [last]
        return items

    async def cycle(self, ctx, item):
        """Offer an item, or none; whether the lanes advanced."""
        dut, rng = self.dut, self.rng
        output, results = item or ({"valid": 0}, None)
        for name in ("valid", "end"):
            ctx.set(getattr(dut.output, name), output.get(name, rng.randrange(2)))
        for name, value in output.get("exit", {"last": 1, "rows": 1}).items():
            ctx.set(getattr(dut.output.exit, name), value)
        if results is not None:
            ctx.set(dut.results, results)
        ctx.set(dut.write.ready, rng.random() >= self.deny)
        advance = ctx.get(dut.advance)
        done = ctx.get(dut.done)
        if ctx.get(dut.write.valid) and ctx.get(dut.write.ready):
            row = ctx.get(dut.write.payload)
            enabled = int(row.enable)
            words = [int(row.words[p]) for p in range(enabled.bit_length())]
            self.rows.append((int(row.addr), enabled, words))
            self.done.append(done)
        else:
            assert not done
        self.held_back += not advance
        await ctx.tick()
        return advance

    async def play(self, ctx, items):
        for item in items:
            while self.rng.random() < self.gap:
                await self.cycle(ctx, None)
            while not await self.cycle(ctx, item):
                pass

    async def drain(self, ctx):
        for _ in range(100):
            if ctx.get(self.dut.empty):
                return
            await self.cycle(ctx, None)
        raise AssertionError("never empty")


@pytest.mark.parametrize("deny", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_column_is_written_once_in_order_however_late_rows_are_taken(config, deny):
    bench = CollectorBench(config, gap=0.3, deny=deny)

    async def testbench(ctx):
        await bench.play(ctx, bench.draw(120))
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert bench.rows == bench.expected
    assert bench.done == bench.expected_done


@pytest.mark.parametrize("wide", [0, 1])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_lanes_are_held_back_only_where_rows_are_more_than_beats(config, wide):
    bench, columns = CollectorBench(config, wide=wide), 30
    cycles = max(beats(config), 1 + wide)

    async def testbench(ctx):
        await bench.play(ctx, bench.draw(columns))
        await bench.drain(ctx)

    simulate(bench.dut, testbench)
    assert len(bench.rows) == columns * (1 + wide)
    assert bench.held_back <= columns * (cycles - beats(config))
    assert (bench.held_back > 0) == (cycles > beats(config))


def test_stop_drops_what_is_held():
    config = CONFIGS["two lanes"]
    bench = CollectorBench(config, deny=0.7, wide=1)

    async def testbench(ctx):
        for length in range(1, 12):
            await bench.play(ctx, bench.draw(6)[:length])
            ctx.set(bench.dut.stop, 1)
            taken = len(bench.rows)
            await bench.cycle(ctx, None)
            assert len(bench.rows) == taken, "a row while stopped"
            ctx.set(bench.dut.stop, 0)
            assert ctx.get(bench.dut.empty)
            bench.rows.clear(), bench.expected.clear()
            await bench.play(ctx, bench.draw(3))
            await bench.drain(ctx)
            assert bench.rows == bench.expected
            bench.rows.clear(), bench.expected.clear()

    simulate(bench.dut, testbench)
