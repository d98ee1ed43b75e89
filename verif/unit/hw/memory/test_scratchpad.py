"""The scratchpad under traffic on all its ports against a plain array."""

import random
from collections import deque

import pytest

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.ports import BANK_READ_CYCLES, PAIR_READ_CYCLES, TENSOR_READ_CYCLES
from tegula.memory.scratchpad import Scratchpad
from verif.support.marks import slow_params
from verif.support.unit_bench import simulate

BUFFERED = ("activation", "load_read", "store_read")
FIXED = {
    "moving": TENSOR_READ_CYCLES,
    "stationary": TENSOR_READ_CYCLES,
    "x": PAIR_READ_CYCLES,
    "y": PAIR_READ_CYCLES,
}
"""Readers whose words come after so many cycles; those of the others come with `valid`."""


class Traffic:
    """Random requests on every port, a model of the words, and what each reader must see.

    Writers and readers use different halves of the addresses in phases, so that no read depends on
    the order of accesses in one cycle.
    """

    def __init__(self, config, seed):
        self.config = config
        self.dut = Scratchpad(config)
        self.random = random.Random(seed)
        self.words = [[0] * config.sbuf_depth for _ in range(config.n)]
        self.checked = dict.fromkeys((*FIXED, *BUFFERED), 0)
        self.written = {"load": [], "activation_write": []}
        self.depth = 64

    def row(self, addr):
        return [self.words[p][addr] for p in range(self.config.n)]

    async def write_phase(self, ctx, cycles):
        """Results of both engines and DMA writes to disjoint address ranges, at the same time."""
        rng, dut = self.random, self.dut
        load = row = None
        cycle = 0
        open_writes = {"load": deque(), "activation_write": deque()}
        while cycle < cycles or load or row or any(open_writes.values()):
            live = cycle < cycles
            self.write_results(ctx, live)
            if load is None and live and rng.random() < 0.8:
                load = self.random_load()
            if row is None and live and rng.random() < 0.4:
                row = self.random_row()
            for port, item in ((dut.load, load), (dut.activation_write, row)):
                ctx.set(port.request.valid, item is not None)
                if item is not None:
                    ctx.set(port.request.payload, item)
            for name, waiting in open_writes.items():
                port = getattr(dut, name)
                last = bool(ctx.get(port.written)) and waiting.popleft()["last"]
                assert ctx.get(port.written_last) == last
            _, _, loaded, rowed = await ctx.tick().sample(
                dut.load.request.ready, dut.activation_write.request.ready
            )
            if load is not None and loaded:
                self.apply(load)
                open_writes["load"].append(load)
                load = None
            if row is not None and rowed:
                for p in range(self.config.n):
                    if row["enable"] >> p & 1:
                        self.words[p][row["addr"]] = row["words"][p]
                open_writes["activation_write"].append(row)
                row = None
            cycle += 1

    def write_results(self, ctx, live):
        """A result of the vector engine, or none: a row, a pair or a line."""
        rng, config = self.random, self.config
        kind = rng.choice(("row", "pair", "line")) if live else "none"
        enable = rng.getrandbits(config.n) if live and rng.random() < 0.5 else 0
        addr = rng.randrange(self.depth)
        if kind == "pair":
            addr -= addr % 2
        if kind == "line":
            addr -= addr % config.row_words
        partition = rng.randrange(config.n)
        words = [rng.getrandbits(32) for _ in range(config.n)]
        ctx.set(
            self.dut.vector_write.payload,
            {
                "addr": addr,
                "enable": enable,
                "double": kind == "pair",
                "line": kind == "line",
                "partition": partition,
                "words": words,
            },
        )
        for p in range(config.n):
            if not enable >> p & 1:
                continue
            if kind == "line":
                if p < config.row_words:
                    self.words[partition][addr + p] = words[p] & 0xFFFF
                continue
            self.words[p][addr] = words[p] & 0xFFFF
            if kind == "pair":
                self.words[p][addr + 1] = words[p] >> 16

    def random_row(self):
        rng, config = self.random, self.config
        return {
            "addr": 2 * self.depth + rng.randrange(self.depth),
            "enable": rng.getrandbits(config.n),
            "words": [rng.getrandbits(16) for _ in range(config.n)],
            "last": rng.randrange(2),
        }

    def random_load(self):
        rng, config = self.random, self.config
        layout = rng.randrange(2)
        base = self.depth + rng.randrange(self.depth)
        if layout == Layout.FREE:
            base -= base % config.bus_words
            partition = rng.randrange(config.n)
            mask = rng.getrandbits(config.bus_words)
        else:
            partition = rng.randrange(config.n // config.row_words) * config.row_words
            mask = rng.getrandbits(config.row_words)
        data = [rng.getrandbits(16) for _ in range(config.bus_words)]
        return {
            "layout": layout,
            "partition": partition,
            "addr": base,
            "data": data,
            "mask": mask,
            "last": rng.randrange(2),
        }

    def apply(self, load):
        for j in range(self.config.bus_words):
            if not load["mask"] >> j & 1:
                continue
            if load["layout"] == Layout.FREE:
                self.words[load["partition"]][load["addr"] + j] = load["data"][j]
            else:
                self.words[load["partition"] + j][load["addr"]] = load["data"][j]

    async def read_phase(self, ctx, cycles, busy):
        """All readers at once; each gets its answers in their order, some in their cycle."""
        rng, dut = self.random, self.dut
        pending = dict.fromkeys(BUFFERED)
        expect = {name: deque() for name in (*FIXED, *BUFFERED)}
        for cycle in range(cycles + 40):
            live = cycle < cycles
            taken = {
                bank for bank in range(self.config.bus_words) if ctx.get(dut.x.taken) >> bank & 1
            }
            fixed = self.draw_fixed(taken, busy) if live else {}
            for name, late in FIXED.items():
                port, request = getattr(dut, name), fixed.get(name)
                ctx.set(port.en, request is not None)
                if request is not None:
                    ctx.set(port.request if name in ("x", "y") else port.addr, request)
                    expect[name].append((cycle + late, self.answer(name, request)))
            for name in pending:
                if pending[name] is None and live and rng.random() < 0.4:
                    pending[name] = self.draw(name)
                request = getattr(dut, name).request
                ctx.set(request.valid, pending[name] is not None)
                if pending[name] is not None:
                    ctx.set(request.payload, pending[name])
            self.check(ctx, cycle, expect)
            readies = (getattr(dut, name).request.ready for name in pending)
            _, _, *ready = await ctx.tick().sample(*readies)
            for name, took in zip(list(pending), ready, strict=True):
                if pending[name] is not None and took:
                    earliest = cycle + 1 + BANK_READ_CYCLES
                    expect[name].append((earliest, self.answer(name, pending[name])))
                    pending[name] = None
        assert not any(expect.values())
        assert not any(pending.values())

    def banks(self, request):
        count = self.config.bus_words
        if isinstance(request, int):
            return {request % count}
        first = request["addr"] % count
        return {first, first + 1} if request["double"] else {first}

    def draw_fixed(self, taken, busy):
        """Requests of readers that are granted at once, of different banks."""
        rng, fixed = self.random, {}
        operands = set()
        for name in ("moving", "stationary"):
            addr = rng.randrange(3 * self.depth)
            if rng.random() < busy and not self.banks(addr) & operands:
                fixed[name] = addr
                operands |= self.banks(addr)
        for name in ("x", "y"):
            addr, double = rng.randrange(3 * self.depth), rng.randrange(2)
            request = {"addr": addr - addr % 2 if double else addr, "double": double}
            if rng.random() < busy and not self.banks(request) & taken:
                fixed[name] = request
                taken = taken | self.banks(request)
        return fixed

    def draw(self, name):
        rng, config = self.random, self.config
        addr = rng.randrange(3 * self.depth)
        if name == "activation":
            return addr
        layout = rng.randrange(2)
        if layout == Layout.FREE:
            addr -= addr % config.bus_words
            partition = rng.randrange(config.n)
        else:
            partition = rng.randrange(config.n // config.row_words) * config.row_words
        return {"layout": layout, "partition": partition, "addr": addr}

    def answer(self, name, request):
        if name in ("x", "y"):
            low = self.row(request["addr"])
            high = self.row(request["addr"] + 1) if request["double"] else [None] * len(low)
            return list(zip(low, high, strict=True))
        if isinstance(request, int):
            return self.row(request)
        partition, addr = request["partition"], request["addr"]
        if request["layout"] == Layout.FREE:
            return self.words[partition][addr : addr + self.config.bus_words]
        return [self.words[partition + j][addr] for j in range(self.config.row_words)]

    def check(self, ctx, cycle, expect):
        dut = self.dut
        for name, queue in expect.items():
            due = bool(queue) and queue[0][0] == cycle
            if name in BUFFERED:
                due = bool(ctx.get(getattr(dut, name).valid))
            if due:
                at, want = queue.popleft()
                assert cycle >= at, f"{name}.valid in cycle {cycle}"
                words = getattr(dut, name).data
                got = [ctx.get(words[j]) for j in range(len(want))]
                if name in ("x", "y"):
                    got = [
                        (word & 0xFFFF, None if high is None else word >> 16)
                        for word, (_, high) in zip(got, want, strict=True)
                    ]
                assert got == want, name
                self.checked[name] += 1


@pytest.mark.parametrize(
    "config",
    [preset("tiny"), *slow_params([preset("small"), preset("medium", axi_data_width=128)])],
    ids=["tiny", "small", "medium-narrow"],
)
def test_every_port_sees_what_was_written(config):
    traffic = Traffic(config, seed=3)

    async def testbench(ctx):
        for busy in (0.6, 0.2):
            await traffic.write_phase(ctx, 300)
            await traffic.read_phase(ctx, 900, busy)

    simulate(traffic.dut, testbench)
    assert min(traffic.checked.values()) > 50, traffic.checked


def test_moving_stream_leaves_a_line_read_every_second_cycle():
    config = preset("small")
    dut = Scratchpad(config)
    came = []

    async def testbench(ctx):
        ctx.set(dut.store_read.request.valid, 1)
        ctx.set(dut.store_read.request.payload, {"layout": Layout.FREE, "partition": 1, "addr": 0})
        ctx.set(dut.moving.en, 1)
        for cycle in range(64):
            ctx.set(dut.moving.addr, cycle)
            _, _, valid = await ctx.tick().sample(dut.store_read.valid)
            came.append(valid)

    simulate(dut, testbench)
    assert sum(came[8:]) == 28
