"""ScratchpadReads cycle by cycle against the order of readers in plain Python."""

import random
from collections import Counter, deque

import pytest

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.ports import BANK_READ_CYCLES, PAIR_READ_CYCLES, TENSOR_READ_CYCLES
from tegula.memory.reads import ScratchpadReads
from verif.support.unit_bench import simulate

CONFIGS = {
    "tiny": preset("tiny", sbuf_depth=256),
    "line longer than a row": preset("tiny", sbuf_depth=256, axi_data_width=128),
    "row longer than a line": preset("small", sbuf_depth=256, axi_data_width=64),
}
BUFFERED = ("activation", "load_read", "store_read")
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
        self.asked = dict.fromkeys(BUFFERED)
        self.held = {name: deque() for name in BUFFERED}
        self.operands = deque([{}, {}])
        self.pairs = {}
        self.line_done, self.offered = set(), None
        self.due = []
        self.bank_addr = [0] * config.bus_words
        self.served = Counter()

    def draw_pair(self):
        rng, double = self.rng, self.rng.randrange(2)
        addr = rng.randrange(3 * self.config.bus_words)
        return {"addr": addr - addr % 2 if double else addr, "double": double}

    def draw(self, name):
        """A request of a buffered port; addresses are close, so that they meet."""
        rng, config = self.rng, self.config
        addr = rng.randrange(3 * config.bus_words)
        if name == "activation":
            return addr
        layout = rng.randrange(2)
        if layout == Layout.FREE:
            addr -= addr % config.bus_words
            return {"layout": layout, "addr": addr, "partition": rng.randrange(config.n)}
        partition = rng.randrange(config.n // config.row_words) * config.row_words
        return {"layout": layout, "addr": addr, "partition": partition}

    def banks(self, request):
        """Banks of a row or a pair."""
        count = self.config.bus_words
        if isinstance(request, int):
            return {request % count}
        first = request["addr"] % count
        return {first, first + 1} if request.get("double") else {first}

    def draw_operands(self):
        """Rows of the tensor engine, never of one bank."""
        rng, count = self.rng, self.config.bus_words
        operands = {}
        for name in ("moving", "stationary"):
            if rng.random() < self.busy / (1 if name == "moving" else 2):
                operands[name] = rng.randrange(3 * count)
        if len({addr % count for addr in operands.values()}) < len(operands):
            del operands["stationary"]
        return operands

    def draw_pairs(self, taken):
        """Requests of the vector engine; and those of them that need no bank that is taken."""
        pairs, granted = {}, {}
        for name in ("x", "y"):
            request = self.draw_pair()
            if self.rng.random() < self.busy:
                pairs[name] = request
                if not self.banks(request) & taken:
                    granted[name] = request
                taken = taken | self.banks(request)
        self.served["pairs denied"] += len(pairs) - len(granted)
        return pairs, granted

    def serve(self):
        """Ports served at the banks in this cycle, and the line read in each bank."""
        count, reads, granted = self.config.bus_words, {}, {}

        def read(name, request):
            addr = request if isinstance(request, int) else request["addr"]
            reads.update(dict.fromkeys(self.banks(request), addr // count))
            granted[name] = request

        for name, request in (self.operands[0] | self.pairs).items():
            assert not self.banks(request) & reads.keys()
            read(name, request)
        rows = self.held["activation"]
        if self.offered is None:
            names = [name for name in ("load_read", "store_read") if self.held[name]]
            self.offered = names[0] if names else None
        offered = self.offered
        chunk = self.held[offered][0] if offered else None
        if "stationary" not in granted:
            if rows:
                if not self.banks(rows[0]) & reads.keys():
                    read("activation", rows[0])
            elif chunk and chunk["layout"] == Layout.PARTITION:
                if not self.banks(chunk) & reads.keys():
                    read(offered, chunk)
        if chunk and chunk["layout"] == Layout.FREE:
            now = set(range(count)) - self.line_done - reads.keys()
            reads.update(dict.fromkeys(now, chunk["addr"] // count))
            self.line_done |= now
            self.served["lines that wait"] += len(self.line_done) < count
            if len(self.line_done) == count:
                granted[offered] = chunk
                self.line_done = set()
        if offered in granted or offered == "load_read":
            self.offered = None if offered in granted else offered
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
        if isinstance(request, int):
            return {p: word(request, p) for p in range(config.n)}, 0xFFFF
        partition, addr = request["partition"], request["addr"]
        if request["layout"] == Layout.FREE:
            return {j: word(addr + j, partition) for j in range(config.bus_words)}, 0xFFFF
        return {j: word(addr, partition + j) for j in range(config.row_words)}, 0xFFFF

    async def run(self, ctx):
        rng, dut, config = self.rng, self.dut, self.config
        for cycle in range(CYCLES):
            early = self.operands[1]
            taken = set().union(*map(self.banks, early.values()))
            for port in (dut.x, dut.y):
                assert ctx.get(port.taken) == sum(1 << bank for bank in taken), cycle
            operands, (pairs, granted_pairs) = self.draw_operands(), self.draw_pairs(taken)
            for name in ("moving", "stationary"):
                port = getattr(dut, name)
                ctx.set(port.en, name in operands)
                ctx.set(port.addr, operands.get(name, rng.randrange(config.sbuf_depth)))
            for name in ("x", "y"):
                port = getattr(dut, name)
                ctx.set(port.en, name in pairs)
                ctx.set(port.request, pairs.get(name, self.draw_pair()))
            for name in BUFFERED:
                if self.asked[name] is None and rng.random() < self.busy:
                    self.asked[name] = self.draw(name)
                request = getattr(dut, name).request
                ctx.set(request.valid, self.asked[name] is not None)
                if self.asked[name] is not None:
                    ctx.set(request.payload, self.asked[name])
                ready = bool(ctx.get(request.ready))
                assert ready == (len(self.held[name]) < 2), f"{name} in cycle {cycle}"
            for bank, line in enumerate(self.bank_addr):
                row = [word(line * config.bus_words + bank, p) for p in range(config.n)]
                ctx.set(dut.banks[bank].data, row)
            self.check_answers(ctx, cycle)
            granted, reads = self.serve()
            for bank, line in reads.items():
                assert ctx.get(dut.banks[bank].addr) == line, f"bank {bank} in cycle {cycle}"
            self.bank_addr = [ctx.get(bank.addr) for bank in dut.banks]
            for name, request in granted.items():
                answer = self.answer(name, request)
                self.due.append((cycle + BANK_READ_CYCLES, name, answer))
                self.served[name] += 1
            self.served["x and y at once"] += {"x", "y"} <= granted.keys()
            for name in BUFFERED:
                accepts = len(self.held[name]) < 2
                if name in granted:
                    self.held[name].popleft()
                if self.asked[name] is not None and accepts:
                    self.held[name].append(self.asked[name])
                    self.asked[name] = None
            self.operands.popleft()
            self.operands.append(operands)
            self.pairs = granted_pairs
            await ctx.tick()

    def check_answers(self, ctx, cycle):
        dut = self.dut
        now = {name: answer for at, name, answer in self.due if at == cycle}
        self.due = [entry for entry in self.due if entry[0] > cycle]
        for name in BUFFERED:
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
    assert bench.served["lines that wait"] > 5
    assert bench.served["pairs denied"] > 20
    assert min(bench.served[name] for name in ("moving", "stationary", "x", "y")) > 30
    chunks = bench.served["store_read"] + bench.served["load_read"]
    assert chunks + bench.served["activation"] > (40 if busy < 0.5 else 6)


def test_words_follow_requests_after_the_cycles_of_each_port():
    config = CONFIGS["tiny"]
    dut, came = ScratchpadReads(config), {}

    async def testbench(ctx):
        ctx.set(dut.moving.en, 1)
        ctx.set(dut.moving.addr, 1)
        ctx.set(dut.x.en, 1)
        ctx.set(dut.x.request, {"addr": 2, "double": 1})
        ctx.set(dut.activation.request.valid, 1)
        for bank in dut.banks:
            ctx.set(bank.data, [7] * config.n)
        for cycle in range(8):
            for name, port in (("moving", dut.moving), ("x", dut.x), ("row", dut.activation)):
                valid = ctx.get(port.valid) if name == "row" else ctx.get(port.data[0])
                if valid:
                    came.setdefault(name, cycle)
            await ctx.tick()

    simulate(dut, testbench)
    assert came == {"moving": TENSOR_READ_CYCLES, "x": PAIR_READ_CYCLES, "row": 3}
