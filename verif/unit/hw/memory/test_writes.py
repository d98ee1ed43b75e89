"""ScratchpadWrites cycle by cycle against the order of writers in plain Python."""

import random
from collections import Counter

import pytest

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.writes import ScratchpadWrites
from verif.support.unit_bench import simulate

CONFIGS = {
    "tiny": preset("tiny", sbuf_depth=256),
    "line longer than a row": preset("tiny", sbuf_depth=256, axi_data_width=128),
    "row longer than a line": preset("small", sbuf_depth=256, axi_data_width=64),
}
SEED = 33
CYCLES = 500


class WritesBench:
    """Writes at random on all ports; says what each bank must do a cycle later."""

    def __init__(self, config, busy):
        self.config, self.busy = config, busy
        self.dut, self.rng = ScratchpadWrites(config), random.Random(SEED)
        self.row = self.load = None
        self.line_done = set()
        self.count = Counter()

    def words(self, count, bits=16):
        return [self.rng.getrandbits(bits) for _ in range(count)]

    def draw_result(self):
        """Write of the vector engine; in half of the cycles none."""
        rng, config = self.rng, self.config
        kind = rng.choice(("row", "pair", "line"))
        unit = {"row": 1, "pair": 2, "line": config.row_words}[kind]
        return {
            "addr": rng.randrange(4 * config.bus_words) // unit * unit,
            "enable": rng.getrandbits(config.n) if rng.random() < self.busy / 2 else 0,
            "double": int(kind == "pair"),
            "line": int(kind == "line"),
            "partition": rng.randrange(config.n),
            "words": self.words(config.n, 32),
        }

    def draw_row(self):
        addr = self.rng.randrange(4 * self.config.bus_words)
        enable = self.rng.getrandbits(self.config.n)
        return {"addr": addr, "enable": enable, "words": self.words(self.config.n)}

    def draw_load(self):
        rng, config = self.rng, self.config
        layout, addr = rng.randrange(2), rng.randrange(4 * config.bus_words)
        if layout == Layout.FREE:
            addr, partition = addr // config.bus_words * config.bus_words, rng.randrange(config.n)
            mask = rng.getrandbits(config.bus_words)
        else:
            partition = rng.randrange(config.n // config.row_words) * config.row_words
            mask = rng.getrandbits(config.row_words)
        common = {"layout": layout, "addr": addr, "partition": partition, "mask": mask}
        return common | {"data": self.words(config.bus_words)}

    def place(self, result):
        """Words by (partition, address) of this cycle; whether row and load are accepted."""
        config, count = self.config, self.config.bus_words
        written = {}
        taken = set()
        line = result["line"] and result["enable"]
        for p in range(config.n):
            if not result["enable"] >> p & 1:
                continue
            low, high = result["words"][p] & 0xFFFF, result["words"][p] >> 16
            if line:
                if p < config.row_words:
                    written[result["partition"], result["addr"] + p] = low
                continue
            written[p, result["addr"]] = low
            if result["double"]:
                written[p, result["addr"] + 1] = high
        if result["enable"]:
            width = config.row_words if line else 1 + result["double"]
            taken = {(result["addr"] + j) % count for j in range(width)}
        parities = {bank % 2 for bank in taken}
        row_taken, load_taken = False, False
        if self.row is not None:
            row_taken = not line and self.row["addr"] % 2 not in parities
            if row_taken:
                for p in range(config.n):
                    if self.row["enable"] >> p & 1:
                        written[p, self.row["addr"]] = self.row["words"][p]
                taken.add(self.row["addr"] % count)
        load = self.load
        if load is not None and load["layout"] == Layout.PARTITION:
            load_taken = self.row is None and not line and load["addr"] % 2 not in parities
            for j in range(config.row_words) if load_taken else ():
                if load["mask"] >> j & 1:
                    written[load["partition"] + j, load["addr"]] = load["data"][j]
        elif load is not None:
            wanted = {j for j in range(count) if load["mask"] >> j & 1}
            now = wanted - self.line_done - taken
            for j in now:
                written[load["partition"], load["addr"] + j] = load["data"][j]
            self.line_done |= now
            load_taken = self.line_done >= wanted
            self.count["lines that wait"] += not load_taken
            if load_taken:
                self.line_done = set()
        return written, row_taken, load_taken

    def seen(self, ctx):
        """Words by (partition, address) that the banks are told to take."""
        dut, count = self.dut, self.config.bus_words
        return {
            (p, ctx.get(bank.addr) * count + index): ctx.get(bank.data[p])
            for index, bank in enumerate(dut.banks)
            for p in range(self.config.n)
            if ctx.get(bank.en) >> p & 1
        }

    async def run(self, ctx):
        rng, dut = self.rng, self.dut
        for cycle in range(CYCLES):
            result = self.draw_result()
            if self.row is None and rng.random() < self.busy / 2:
                self.row = self.draw_row()
            if self.load is None and rng.random() < self.busy:
                self.load = self.draw_load()
            ctx.set(dut.vector_write.payload, result)
            for port, item in ((dut.activation_write, self.row), (dut.load, self.load)):
                ctx.set(port.valid, item is not None)
                if item is not None:
                    ctx.set(port.payload, item)
            written, row_taken, load_taken = self.place(result)
            if self.row is not None:
                assert ctx.get(dut.activation_write.ready) == row_taken, f"cycle {cycle}"
                self.count["rows", row_taken] += 1
            if self.load is not None:
                assert ctx.get(dut.load.ready) == load_taken, f"cycle {cycle}"
                self.count["loads", load_taken] += 1
            await ctx.tick()
            assert self.seen(ctx) == written, f"cycle {cycle}"
            self.count["words"] += len(written)
            self.row = None if row_taken else self.row
            self.load = None if load_taken else self.load


@pytest.mark.parametrize("busy", [0.4, 1.0])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_writers_get_their_banks_in_their_order_and_nothing_else_is_written(config, busy):
    bench = WritesBench(config, busy)
    simulate(bench.dut, bench.run)
    assert bench.count["words"] > CYCLES
    for what in ("rows", "loads"):
        assert bench.count[what, True] > 30
        assert bench.count[what, False] > 5
    assert bench.count["lines that wait"] > 10
