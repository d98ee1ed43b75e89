"""FunctionTable against steps 3 and 4 of section 5.5, in plain Python, while it is loaded."""

import random

import numpy as np

from tegula.activation.table import FunctionTable
from tegula.config import preset
from verif.stimuli.functions import random_words
from verif.support.unit_bench import simulate

CONFIG = preset("tiny", activation_entries=256)
DEPTH = CONFIG.activation_entries
SEED = 24


def signed(bits, width):
    bits &= (1 << width) - 1
    return bits - (bits >> width - 1 << width)


def found(entries, descriptors, argument, function):
    """Expected segment, field by field; None where the contract leaves it open."""
    negative = argument["negative"] and not function["odd"]
    n, t = argument["n"], argument["t"]
    window = 63 if function["exp"] else 31
    if argument["zero"] or argument["infinite"]:
        place = 2 * argument["infinite"] + negative
    else:
        place = 4 + (n & 1 if function["parity"] else min(max(n - function["low"], 0), window))
        place += 32 * (negative and not function["exp"])
    record = descriptors[(function["descriptor"] + place) % DEPTH]
    first, k, gain, constant = record & 1023, record >> 10 & 15, record >> 14 & 7, record >> 17 & 1
    entry = entries[(first + (0 if constant else t >> 32 - k)) % DEPTH]
    gained = {1: n, 2: -n, 3: n >> 1, 4: -(n >> 1)}.get(gain, 0)
    return {
        "c0": signed(entry, 32),
        "c1": signed(entry >> 32, 32),
        "c2": signed(entry >> 64, 28),
        "c3": signed(entry >> 92, 18),
        "fraction": None if constant else (t << k & 0xFFFF_FFFF) >> 8,
        "exponent": signed(entry >> 110, 9) + gained,
        "constant": constant,
        "flip": int(argument["negative"] and function["odd"]),
        "nan": argument["nan"],
        "n": n,
        "log": function["log"],
    }


def random_function(rng):
    function = {name: rng.randrange(2) for name in ("exp", "parity", "odd", "log")}
    function["parity"] &= rng.random() < 0.3
    function["descriptor"] = rng.randrange(1 << 10)
    function["low"] = rng.choice((-512, -150, -20, -3, 0, 5, 511))
    return function


def random_argument(rng, low):
    """An n mostly around the window of the function, where the index is not clamped."""
    argument = dict.fromkeys(("zero", "infinite", "nan"), 0)
    argument |= {"negative": rng.randrange(2), "t": rng.getrandbits(32)}
    argument["n"] = max(-512, min(511, low + rng.randrange(-6, 70)))
    if rng.random() < 0.2:
        argument["n"] = rng.randrange(-512, 512)
    if rng.random() < 0.15:
        argument |= {rng.choice(("zero", "infinite", "nan")): 1, "n": 0, "t": 0}
    return argument


class TableBench:
    """A table with what it has been told, and what each argument has to find."""

    def __init__(self, seed):
        self.rng, self.dut = random.Random(seed), FunctionTable(CONFIG)
        self.entries, self.descriptors = [0] * DEPTH, [0] * DEPTH
        self.checked = {True: 0, False: 0}
        self._due = []

    async def load(self, ctx, entries, descriptors):
        """Write records at indices beyond the table, which wrap."""
        for index, (entry, descriptor) in enumerate(zip(entries, descriptors, strict=True)):
            for is_entry, record in ((1, entry), (0, descriptor)):
                await self.cycle(ctx, None, {"entry": is_entry, "index": index, "words": record})

    async def cycle(self, ctx, question, write=None):
        """One cycle with an argument and its function, or none, and a write, or none."""
        dut = self.dut
        ctx.set(dut.write_en, write is not None)
        if write is not None:
            ctx.set(dut.write, write)
            store = self.entries if write["entry"] else self.descriptors
            store[write["index"] % DEPTH] = write["words"]
        wanted = None
        if question is not None:
            ctx.set(dut.argument, question[0])
            ctx.set(dut.function, question[1])
            wanted = found(self.entries, self.descriptors, *question)
        self._due.append((question, wanted))
        *_, segment = await ctx.tick().sample(dut.segment)
        if len(self._due) > FunctionTable.LATENCY:
            self._check(segment, *self._due.pop(0))

    def _check(self, segment, question, wanted):
        if wanted is None:
            return
        actual = {name: getattr(segment.entry, name) for name in ("c0", "c1", "c2", "c3")}
        actual |= {name: getattr(segment, name) for name in wanted if name not in actual}
        self.checked[bool(wanted["constant"])] += 1
        for name, expected in wanted.items():
            assert expected is None or actual[name] == expected, (name, question)


def test_arguments_find_what_the_contract_says():
    bench = TableBench(SEED)
    rng = bench.rng
    entries, descriptors = random_words(np.random.default_rng(SEED), DEPTH, DEPTH)
    records = [int.from_bytes(row.tobytes(), "little") for row in entries]

    async def testbench(ctx):
        await bench.load(ctx, records, descriptors.tolist())
        for _ in range(1800):
            function = random_function(rng)
            await bench.cycle(ctx, (random_argument(rng, function["low"]), function))
        for _ in range(FunctionTable.LATENCY):
            await bench.cycle(ctx, None)

    simulate(bench.dut, testbench)
    assert bench.checked[False] > 1200
    assert bench.checked[True] > 100


def test_an_argument_sees_what_was_written_in_the_cycle_before():
    bench = TableBench(SEED + 1)
    rng = bench.rng

    async def testbench(ctx):
        # Each record once: an argument on its way may see what is written behind it.
        for record in rng.sample(range(DEPTH), 150):
            index, entry = record + DEPTH * rng.randrange(4), rng.getrandbits(119)
            descriptor = index | rng.randrange(8) << 14
            at = {"index": index + 4}
            await bench.cycle(ctx, None, {"entry": 1, "index": index, "words": entry})
            await bench.cycle(ctx, None, at | {"entry": 0, "words": descriptor})
            function = dict.fromkeys(("exp", "odd", "log", "parity"), 0)
            function |= {"descriptor": index % DEPTH, "low": 3}
            argument = dict.fromkeys(("zero", "infinite", "nan", "negative", "t"), 0) | {"n": 3}
            await bench.cycle(ctx, (argument, function))
        for _ in range(FunctionTable.LATENCY):
            await bench.cycle(ctx, None)

    simulate(bench.dut, testbench)
    assert bench.checked[False] == 150
