"""ColumnIssue: the words of every column, beat by beat, however late their rows come."""

import random

import numpy as np
import pytest

from tegula.activation.issue import ROW_CYCLES, ColumnIssue
from tegula.activation.layouts import Kind, beats
from tegula.config import preset
from tegula.formats import BF16, FP32
from verif.support.unit_bench import simulate

CONFIGS = {
    f"{more.get('n', 4)} by {lanes}": preset("tiny", sbuf_depth=256, activation_lanes=lanes, **more)
    for lanes, more in ((1, {}), (2, {}), (4, {}), (2, {"n": 16, "axi_data_width": 256}))
}
SEED = 43
SCALE, BIAS = 0x3F80_1234, 0xBF12_3456


class IssueBench:
    """A sequencer that orders columns as soon as it may, and a scratchpad that answers late."""

    def __init__(self, config, *, gap=0.0, late=0.0, full=0.0, sums=0, double=0.5, constant=0.0):
        self.config, self.gap, self.late, self.full = config, gap, late, full
        self.sums, self.double, self.constant = sums, double, constant
        self.dut, self.rng = ColumnIssue(config), random.Random(SEED)
        self.requests, self.rows, self.in_flight = [], [], [None] * (ROW_CYCLES - 1)
        self.beats, self.expected, self.begun, self.cycle_count = [], [], [], 0

    def draw(self):
        """A column: its order, and its rows; what has to come of it is expected."""
        rng, config = self.rng, self.config
        kind = Kind.ELEMENT if rng.random() >= self.constant else rng.choice(list(Kind))
        constant = int(kind is not Kind.ELEMENT and rng.random() < 0.5)
        double = 0 if constant else int(kind is not Kind.ELEMENT or rng.random() < self.double)
        words = [rng.getrandbits(32) for _ in range(config.n)]
        order = {
            "kind": kind,
            "constant": constant,
            "double": double,
            "fresh": rng.randrange(2),
            "partial": rng.randrange(8),
            "addr": rng.randrange(256),
            "last": rng.randrange(2),
        }
        rows = [] if constant else [[w & 0xFFFF for w in words]]
        rows += [[w >> 16 for w in words]] if double else []
        value = SCALE if kind is Kind.SCALE else BIAS
        mask = 0xFFFF_FFFF if double else 0xFFFF
        for beat in range(beats(config)):
            part = [w & mask for w in words[beat * config.activation_lanes :]]
            self.expected.append((beat, order, value, part[: config.activation_lanes]))
        return order, rows

    def order(self, ctx):
        """Order a column, or request the second row of the one before."""
        dut = self.dut
        ordered = not self.requests and self.wanted > 0 and ctx.get(dut.free)
        ordered = ordered and self.rng.random() >= self.gap
        ctx.set(dut.ordered, ordered)
        if ordered:
            self.wanted -= 1
            order, self.requests = self.draw()
            for name, value in order.items():
                ctx.set(getattr(dut.order, name), value)
        if self.requests:
            self.rows.append((self.cycle_count + ROW_CYCLES, self.requests.pop(0)))

    def answer(self, ctx):
        comes = bool(self.rows) and self.rows[0][0] <= self.cycle_count
        comes = comes and self.rng.random() >= self.late
        ctx.set(self.dut.row_valid, comes)
        row = self.rows.pop(0)[1] if comes else [self.rng.getrandbits(16)] * self.config.n
        ctx.set(self.dut.row_data, row)

    def observe(self, ctx):
        dut = self.dut
        item = ctx.get(dut.item)
        if not item.valid:
            return
        column = item.column
        travel = column.travel
        beat, order, value, words = self.expected[len(self.beats)]
        assert (item.beat, travel.kind, column.constant) == (beat, order["kind"], order["constant"])
        assert (travel.fresh, travel.partial) == (order["fresh"], order["partial"])
        element = order["kind"] is Kind.ELEMENT
        assert travel.sums == (self.sums and element)
        if order["constant"]:
            assert column.value == value
        else:
            assert column.x_format == (BF16 if element else FP32).code
            mask = 0xFFFF_FFFF if order["double"] else 0xFFFF
            assert [int(w) & mask for w in ctx.get(dut.words)] == words
        self.beats.append((self.cycle_count, element, beat))

    async def cycle(self, ctx):
        dut = self.dut
        self.order(ctx)
        self.answer(ctx)
        room = self.rng.random() >= self.full
        ctx.set(dut.room, room)
        self.observe(ctx)
        assert not (room and ctx.get(dut.blocked))
        if ctx.get(dut.enters):
            assert room
            exit_ = ctx.get(dut.exit)
            self.begun.append((exit_.addr, exit_.last, exit_.rows, exit_.wide))
        self.cycle_count += 1
        await ctx.tick()

    async def play(self, ctx, columns):
        dut = self.dut
        fields = {"sum": self.sums, "x_format": BF16.code, "format": FP32.code, "rows": 3}
        fields |= {"scale": SCALE, "bias": BIAS}
        for name, value in fields.items():
            ctx.set(getattr(dut.fields, name), value)
        self.wanted, goal = columns, len(self.beats) + columns * beats(self.config)
        budget = columns * (12 + 2 * beats(self.config)) + 50
        limit = self.cycle_count + budget / (1 - self.late) / (1 - self.full) / (1 - self.gap)
        while len(self.beats) < goal:
            assert self.cycle_count < limit, "it hangs"
            await self.cycle(ctx)
        assert not ctx.get(dut.pending)

    def check(self):
        """All beats came, and the destination of every column of elements once, in order."""
        assert len(self.beats) == len(self.expected)
        elements = [order for beat, order, *_ in self.expected if not beat]
        elements = [order for order in elements if order["kind"] is Kind.ELEMENT]
        assert self.begun == [(order["addr"], order["last"], 3, 1) for order in elements]
        for (before, *_), (now, _, beat) in zip(self.beats, self.beats[1:], strict=False):
            assert beat == 0 or now - before in (1, 2), "a column that has begun goes on"


@pytest.mark.parametrize("late", [0.0, 0.6])
@pytest.mark.parametrize("sums", [0, 1])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_words_of_every_column_come_once_in_order(config, sums, late):
    bench = IssueBench(config, gap=0.2, late=late, full=0.2, sums=sums, constant=0.4)

    async def testbench(ctx):
        await bench.play(ctx, 80)

    simulate(bench.dut, testbench)
    bench.check()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_beats_that_are_summed_up_come_in_every_second_cycle(config):
    bench = IssueBench(config, late=0.4, full=0.2, sums=1, constant=0.4)

    async def testbench(ctx):
        await bench.play(ctx, 60)

    simulate(bench.dut, testbench)
    bench.check()
    assert len({cycle % 2 for cycle, element, _ in bench.beats if element}) == 1


@pytest.mark.parametrize("double", [0, 1])
@pytest.mark.parametrize("sums", [0, 1])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_columns_take_as_long_as_their_beats_or_half_the_way_of_their_rows(config, sums, double):
    bench, columns = IssueBench(config, sums=sums, double=double), 60

    async def testbench(ctx):
        await bench.play(ctx, columns)

    simulate(bench.dut, testbench)
    bench.check()
    first = [cycle for cycle, _, beat in bench.beats if beat == 0]
    cycles = max(beats(config) * (1 + sums), (ROW_CYCLES + 2 + double) / 2)
    if sums:
        cycles = 2 * np.ceil(cycles / 2)
    assert (first[-1] - first[3]) / (columns - 4) <= cycles + 1 / (columns - 4)


def test_a_column_that_could_begin_waits_for_room():
    bench = IssueBench(CONFIGS["4 by 2"], full=1.0 - 1e-9)

    async def testbench(ctx):
        bench.wanted = 2
        for name in ("sum", "x_format"):
            ctx.set(getattr(bench.dut.fields, name), 0)
        for _ in range(20):
            await bench.cycle(ctx)
        assert not bench.beats
        assert ctx.get(bench.dut.blocked)

    simulate(bench.dut, testbench)


def test_rows_that_are_no_columns_change_nothing():
    bench = IssueBench(CONFIGS["4 by 1"], double=0)

    async def testbench(ctx):
        await bench.play(ctx, 3)
        bench.wanted = 1
        while len(bench.beats) < len(bench.expected) or bench.wanted:
            await bench.cycle(ctx)
            # Only the answer to a request that no column was ordered for comes so late.
            if not bench.rows and not bench.wanted:
                bench.rows.append((0, [0xDEAD] * bench.config.n))
        bench.rows.clear()
        await bench.play(ctx, 3)

    simulate(bench.dut, testbench)
    bench.check()
