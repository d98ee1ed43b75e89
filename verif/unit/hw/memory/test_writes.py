"""ScratchpadWrites cycle by cycle against the order of writers in plain Python."""

import random
from collections import Counter, deque

import pytest

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.writes import ScratchpadWrites
from verif.support.unit_bench import simulate

CONFIGS = {
    "tiny": preset("tiny", sbuf_depth=256),
    "line longer than a row": preset("tiny", sbuf_depth=256, axi_data_width=128),
    "row longer than a line": preset("small", sbuf_depth=256, axi_data_width=64),
    "words of one code": preset("small", sbuf_depth=256, axi_data_width=64, packed_fp8=False),
}
SEED = 33
CYCLES = 500


class WritesBench:
    """Writes at random on all ports; says what each bank must do in each cycle."""

    def __init__(self, config, busy):
        self.config, self.busy = config, busy
        self.dut, self.rng = ScratchpadWrites(config), random.Random(SEED)
        self.row = self.load = self.result = None
        self.rows_held, self.loads_held = deque(), deque()
        self.line_done = set()
        self.count = Counter()

    def words(self, count, bits=16):
        return [self.rng.getrandbits(bits) for _ in range(count)]

    def kept(self):
        """Bytes that a write keeps, where there is such a thing."""
        return {"keep": self.rng.choice((0, 1, 2))} if self.config.packed_fp8 else {}

    def draw_result(self):
        """Write of the vector engine; in half of the cycles none."""
        rng, config = self.rng, self.config
        kind = rng.choice(("row", "pair", "line"))
        unit = {"row": 1, "pair": 2, "line": config.row_words}[kind]
        kept = self.kept()
        return (kept if kind != "pair" else dict.fromkeys(kept, 0)) | {
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
        row = {"addr": addr, "enable": enable, "words": self.words(self.config.n)}
        return row | {"last": self.rng.randrange(2)} | self.kept()

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
        last = {"last": rng.randrange(2)} | self.kept()
        return common | {"data": self.words(config.bus_words)} | last

    def place(self):
        """Words, and what is kept, by (partition, address); whether row and load are written."""
        config, count, result = self.config, self.config.bus_words, self.result
        written = {}
        taken = set()
        line = result["line"] and result["enable"]
        for p in range(config.n):
            if not result["enable"] >> p & 1:
                continue
            low, high = result["words"][p] & 0xFFFF, result["words"][p] >> 16
            if line:
                if p < config.row_words:
                    written[result["partition"], result["addr"] + p] = low, result.get("keep", 0)
                continue
            written[p, result["addr"]] = low, result.get("keep", 0)
            if result["double"]:
                written[p, result["addr"] + 1] = high, 0
        taken = {addr % count for _, addr in written}
        parities = {0, 1} if line else {bank % 2 for bank in taken}
        row = self.rows_held[0] if self.rows_held else None
        row_written, load_written = False, False
        if row is not None:
            row_written = row["addr"] % 2 not in parities
            if row_written:
                for p in range(config.n):
                    if row["enable"] >> p & 1:
                        written[p, row["addr"]] = row["words"][p], row.get("keep", 0)
                taken.add(row["addr"] % count)
        load = self.loads_held[0] if self.loads_held else None
        if load is not None and load["layout"] == Layout.PARTITION:
            load_written = row is None and load["addr"] % 2 not in parities
            for j in range(config.row_words) if load_written else ():
                if load["mask"] >> j & 1:
                    word = load["data"][j], load.get("keep", 0)
                    written[load["partition"] + j, load["addr"]] = word
        elif load is not None:
            wanted = {j for j in range(count) if load["mask"] >> j & 1}
            now = wanted - self.line_done - taken
            for j in now:
                word = load["data"][j], load.get("keep", 0)
                written[load["partition"], load["addr"] + j] = word
            self.line_done |= now
            load_written = self.line_done >= wanted
            self.count["lines that wait"] += not load_written
            if load_written:
                self.line_done = set()
        return written, row_written, load_written

    def seen(self, ctx):
        """Words, and what is kept, by (partition, address), that the banks are told to take."""
        dut, count = self.dut, self.config.bus_words
        packed = self.config.packed_fp8
        return {
            (p, ctx.get(bank.addr) * count + index): (
                ctx.get(bank.data[p]),
                ctx.get(bank.keep) if packed else 0,
            )
            for index, bank in enumerate(dut.banks)
            for p in range(self.config.n)
            if ctx.get(bank.en) >> p & 1
        }

    async def run(self, ctx):
        rng, dut = self.rng, self.dut
        self.result = self.draw_result() | {"enable": 0}
        for cycle in range(CYCLES):
            result = self.draw_result()
            if self.row is None and rng.random() < self.busy / 2:
                self.row = self.draw_row()
            if self.load is None and rng.random() < self.busy:
                self.load = self.draw_load()
            ctx.set(dut.vector_write.payload, result)
            for port, item in ((dut.activation_write, self.row), (dut.load, self.load)):
                ctx.set(port.request.valid, item is not None)
                if item is not None:
                    ctx.set(port.request.payload, item)
            written, row_written, load_written = self.place()
            assert self.seen(ctx) == written, f"cycle {cycle}"
            self.count["words"] += len(written)
            self.accept(ctx, cycle, row_written, load_written)
            self.result = result
            await ctx.tick()

    def accept(self, ctx, cycle, row_written, load_written):
        """Reports of what is written, and acceptance of what is requested, in this cycle."""
        for port, item, done in (
            (self.dut.activation_write, self.rows_held[0] if self.rows_held else None, row_written),
            (self.dut.load, self.loads_held[0] if self.loads_held else None, load_written),
        ):
            assert ctx.get(port.written) == done, f"cycle {cycle}"
            assert ctx.get(port.written_last) == (done and item["last"]), f"cycle {cycle}"
            self.count["last"] += done and item["last"]
        row_ready = len(self.rows_held) < 2
        load_ready = len(self.loads_held) < 2
        assert ctx.get(self.dut.activation_write.request.ready) == row_ready, f"cycle {cycle}"
        assert ctx.get(self.dut.load.request.ready) == load_ready, f"cycle {cycle}"
        if self.rows_held:
            self.count["rows", row_written] += 1
        if self.loads_held:
            self.count["loads", load_written] += 1
        if row_written:
            self.rows_held.popleft()
        if row_ready and self.row is not None:
            self.rows_held.append(self.row)
            self.row = None
        if load_written:
            self.loads_held.popleft()
        if load_ready and self.load is not None:
            self.loads_held.append(self.load)
            self.load = None


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
    assert bench.count["last"] > 20
