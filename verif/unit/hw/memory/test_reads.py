"""ScratchpadReads cycle by cycle against the order of readers in plain Python."""

import random
from collections import Counter

import pytest

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.reads import READ_CYCLES, ScratchpadReads
from verif.support.unit_bench import simulate

CONFIGS = {
    "tiny": preset("tiny", sbuf_depth=256),
    "line longer than a row": preset("tiny", sbuf_depth=256, axi_data_width=128),
    "row longer than a line": preset("small", sbuf_depth=256, axi_data_width=64),
}
STREAMS = ("stationary", "x", "y", "activation", "store")
SEED = 32
CYCLES = 450


def word(addr, partition):
    """Content of the scratchpad there."""
    return (addr * 0x2F35 + partition * 0x0481 + 0x1234) & 0xFFFF


class ReadsBench:
    """Asks at random on all ports; plays the banks; knows who is served and what comes back."""

    def __init__(self, config, busy):
        self.config, self.busy = config, busy
        self.dut, self.rng = ScratchpadReads(config), random.Random(SEED)
        self.asked = dict.fromkeys(STREAMS)
        self.line_done = set()
        self.due = []
        self.bank_addr = [0] * config.bus_words
        self.served = Counter()

    def draw(self, name):
        """A request of a port; addresses are close, so that they meet."""
        rng, config = self.rng, self.config
        addr = rng.randrange(3 * config.bus_words)
        if name in ("x", "y"):
            double = rng.randrange(2)
            return {"addr": addr - addr % 2 if double else addr, "double": double}
        if name != "store":
            return addr
        layout = rng.randrange(2)
        if layout == Layout.FREE:
            addr -= addr % config.bus_words
            return {"layout": layout, "addr": addr, "partition": rng.randrange(config.n)}
        partition = rng.randrange(config.n // config.row_words) * config.row_words
        return {"layout": layout, "addr": addr, "partition": partition}

    def banks(self, name):
        request = self.asked[name]
        if name in ("x", "y"):
            first = request["addr"] % self.config.bus_words
            return {first, first + 1} if request["double"] else {first}
        addr = request["addr"] if name == "store" else request
        return {addr % self.config.bus_words}

    def serve(self, moving):
        """Ports served in this cycle, and the line read in each bank."""
        asked, count = self.asked, self.config.bus_words
        reads = {} if moving is None else {moving % count: moving // count}
        granted = set()

        def take(name):
            request, banks = asked[name], self.banks(name)
            if banks & reads.keys():
                return
            addr = request if isinstance(request, int) else request["addr"]
            reads.update(dict.fromkeys(banks, addr // count))
            granted.add(name)

        for name in ("stationary", "x", "y"):
            if asked[name] is not None:
                take(name)
        store = asked["store"]
        if asked["stationary"] is None:
            if asked["activation"] is not None:
                take("activation")
            elif store is not None and store["layout"] == Layout.PARTITION:
                take("store")
        if store is not None and store["layout"] == Layout.FREE:
            now = set(range(count)) - self.line_done - reads.keys()
            reads.update(dict.fromkeys(now, store["addr"] // count))
            self.line_done |= now
            if len(self.line_done) == count:
                granted.add("store")
                self.line_done = set()
        return granted, reads

    def answer(self, name, request):
        """Words by place in the port's data, where they are defined."""
        config = self.config
        if name in ("x", "y"):
            addr = request["addr"]
            low = {p: word(addr, p) for p in range(config.n)}
            if not request["double"]:
                return low, 0xFFFF
            return {p: low[p] | word(addr + 1, p) << 16 for p in low}, 0xFFFF_FFFF
        if name != "store":
            return {p: word(request, p) for p in range(config.n)}, 0xFFFF
        partition, addr = request["partition"], request["addr"]
        if request["layout"] == Layout.FREE:
            return {j: word(addr + j, partition) for j in range(config.bus_words)}, 0xFFFF
        return {j: word(addr, partition + j) for j in range(config.row_words)}, 0xFFFF

    async def run(self, ctx):
        rng, dut, config = self.rng, self.dut, self.config
        for cycle in range(CYCLES):
            moving = rng.randrange(3 * config.bus_words) if rng.random() < self.busy else None
            ctx.set(dut.moving.en, moving is not None)
            ctx.set(dut.moving.addr, rng.randrange(config.sbuf_depth) if moving is None else moving)
            for name in STREAMS:
                if self.asked[name] is None and rng.random() < self.busy:
                    self.asked[name] = self.draw(name)
                request = getattr(dut, name).request
                ctx.set(request.valid, self.asked[name] is not None)
                if self.asked[name] is not None:
                    ctx.set(request.payload, self.asked[name])
            for bank, line in enumerate(self.bank_addr):
                row = [word(line * config.bus_words + bank, p) for p in range(config.n)]
                ctx.set(dut.banks[bank].data, row)
            self.check_answers(ctx, cycle)
            granted, reads = self.serve(moving)
            for name in STREAMS:
                if self.asked[name] is not None:
                    ready = bool(ctx.get(getattr(dut, name).request.ready))
                    assert ready == (name in granted), f"{name} in cycle {cycle}"
            for bank, line in reads.items():
                assert ctx.get(dut.banks[bank].addr) == line, f"bank {bank} in cycle {cycle}"
            self.bank_addr = [ctx.get(bank.addr) for bank in dut.banks]
            if moving is not None:
                self.due.append((cycle + READ_CYCLES, "moving", self.answer("moving", moving)))
            for name in granted:
                answer = self.answer(name, self.asked[name])
                self.due.append((cycle + READ_CYCLES, name, answer))
                self.asked[name] = None
                self.served[name] += 1
            self.served["x and y at once"] += {"x", "y"} <= granted
            self.served["x alone"] += self.asked["y"] is not None and "x" in granted
            await ctx.tick()

    def check_answers(self, ctx, cycle):
        dut = self.dut
        now = {name: answer for at, name, answer in self.due if at == cycle}
        self.due = [entry for entry in self.due if entry[0] > cycle]
        for name in ("stationary", "activation", "store"):
            assert ctx.get(getattr(dut, name).valid) == (name in now), (name, cycle)
        for name, (words, mask) in now.items():
            port = getattr(dut, name)
            actual = {place: ctx.get(port.data[place]) & mask for place in words}
            assert actual == words, f"{name} in cycle {cycle}"


@pytest.mark.parametrize("busy", [0.3, 0.9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_readers_are_served_in_their_order_and_get_their_words(config, busy):
    bench = ReadsBench(config, busy)
    simulate(bench.dut, bench.run)
    assert bench.served["x and y at once"] > 5
    assert bench.served["x alone"] > 5
    assert min(bench.served[name] for name in ("stationary", "x", "y")) > 60
    assert bench.served["store"] + bench.served["activation"] > (40 if busy < 0.5 else 6)


def test_pairs_of_x_and_y_in_different_banks_come_in_every_cycle():
    config = CONFIGS["tiny"]
    dut = ScratchpadReads(config)

    async def testbench(ctx):
        x, y = dut.x.request, dut.y.request
        for request in (x, y):
            ctx.set(request.valid, 1)
        for cycle in range(32):
            ctx.set(x.payload, {"addr": 2 * cycle, "double": 1})
            ctx.set(y.payload, {"addr": 2 * cycle + 2, "double": 1})
            await ctx.tick()
            assert ctx.get(x.ready) and ctx.get(y.ready)
        ctx.set(y.payload, {"addr": 2 * 31 + config.bus_words, "double": 1})
        await ctx.tick()
        assert ctx.get(x.ready) and not ctx.get(y.ready)

    simulate(dut, testbench)
