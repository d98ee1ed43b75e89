"""The scratchpad under traffic on all its ports against a plain array."""

import random
from collections import deque

import pytest
from amaranth.sim import Simulator

from tegula.config import preset
from tegula.isa.instructions import Layout
from tegula.memory.scratchpad import READ_CYCLES, Scratchpad


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
        self.checked = dict.fromkeys(("moving", "stationary", "vector", "store"), 0)
        self.depth = 64

    def row(self, addr):
        return [self.words[p][addr] for p in range(self.config.n)]

    async def write_phase(self, ctx, cycles):
        """Vector rows and DMA writes to disjoint address ranges, at the same time."""
        rng, dut, config = self.random, self.dut, self.config
        load = None
        for _ in range(cycles):
            enable = rng.getrandbits(config.n) if rng.random() < 0.5 else 0
            addr, data = rng.randrange(self.depth), [rng.getrandbits(16) for _ in range(config.n)]
            ctx.set(dut.write_en, enable)
            ctx.set(dut.write_addr, addr)
            ctx.set(dut.write_data, data)
            for p in range(config.n):
                if enable >> p & 1:
                    self.words[p][addr] = data[p]
            if load is None and rng.random() < 0.8:
                load = self.random_load()
            ctx.set(dut.load.valid, load is not None)
            if load is not None:
                ctx.set(dut.load.payload, load)
            _, _, ready = await ctx.tick().sample(dut.load.ready)
            if load is not None and ready:
                self.apply(load)
                load = None
        ctx.set(dut.write_en, 0)
        while load is not None:
            _, _, ready = await ctx.tick().sample(dut.load.ready)
            if ready:
                self.apply(load)
                load = None
        ctx.set(dut.load.valid, 0)
        await ctx.tick().repeat(2)

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
        }

    def apply(self, load):
        for j in range(self.config.bus_words):
            if not load["mask"] >> j & 1:
                continue
            if load["layout"] == Layout.FREE:
                self.words[load["partition"]][load["addr"] + j] = load["data"][j]
            else:
                self.words[load["partition"] + j][load["addr"]] = load["data"][j]

    async def read_phase(self, ctx, cycles):
        """All readers at once; each answer in its order, `READ_CYCLES` after acceptance."""
        rng, dut, config = self.random, self.dut, self.config
        pending = dict.fromkeys(("stationary", "vector", "store"))
        expect = {name: deque() for name in ("moving", "stationary", "vector", "store")}
        for cycle in range(cycles + READ_CYCLES + 40):
            live = cycle < cycles
            moving = live and rng.random() < 0.7
            moving_addr = rng.randrange(2 * self.depth)
            ctx.set(dut.moving_en, moving)
            ctx.set(dut.moving_addr, moving_addr)
            for name in pending:
                if pending[name] is None and live and rng.random() < 0.6:
                    addr = rng.randrange(2 * self.depth)
                    if name == "store":
                        layout = rng.randrange(2)
                        if layout == Layout.FREE:
                            addr -= addr % config.bus_words
                            partition = rng.randrange(config.n)
                        else:
                            groups = config.n // config.row_words
                            partition = rng.randrange(groups) * config.row_words
                        addr = {"layout": layout, "partition": partition, "addr": addr}
                    pending[name] = addr
                ctx.set(getattr(dut, name).valid, pending[name] is not None)
                if pending[name] is not None:
                    ctx.set(getattr(dut, name).payload, pending[name])
            self.check(ctx, cycle, expect)
            _, _, *ready = await ctx.tick().sample(*(getattr(dut, name).ready for name in pending))
            if moving:
                expect["moving"].append((cycle + READ_CYCLES, self.row(moving_addr)))
            for name, took in zip(list(pending), ready, strict=True):
                if pending[name] is not None and took:
                    expect[name].append((cycle + READ_CYCLES, self.answer(name, pending[name])))
                    pending[name] = None
        assert not any(expect.values())
        assert not any(pending.values())

    def answer(self, name, request):
        if name != "store":
            return self.row(request)
        partition, addr = request["partition"], request["addr"]
        if request["layout"] == Layout.FREE:
            return self.words[partition][addr : addr + self.config.bus_words]
        return [self.words[partition + j][addr] for j in range(self.config.row_words)]

    def check(self, ctx, cycle, expect):
        dut = self.dut
        for name, queue in expect.items():
            valid = name == "moving" or ctx.get(getattr(dut, f"{name}_valid"))
            due = bool(queue) and queue[0][0] == cycle
            if name != "moving":
                assert bool(valid) == due, f"{name}_valid in cycle {cycle}"
            if due:
                _, want = queue.popleft()
                port = {"moving": dut.moving_data, "store": dut.store_data}.get(name, dut.row_data)
                assert [ctx.get(port[j]) for j in range(len(want))] == want, name
                self.checked[name] += 1


@pytest.mark.parametrize(
    "config",
    [preset("tiny"), preset("small"), preset("medium", axi_data_width=128)],
    ids=["tiny", "small", "medium-narrow"],
)
def test_every_port_sees_what_was_written(config):
    traffic = Traffic(config, seed=3)

    async def testbench(ctx):
        for _ in range(2):
            await traffic.write_phase(ctx, 300)
            await traffic.read_phase(ctx, 600)

    simulator = Simulator(traffic.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert min(traffic.checked.values()) > 50, traffic.checked


def test_moving_stream_leaves_a_line_read_every_second_cycle():
    config = preset("small")
    dut = Scratchpad(config)
    accepted = []

    async def testbench(ctx):
        ctx.set(dut.store.valid, 1)
        ctx.set(dut.store.payload, {"layout": Layout.FREE, "partition": 1, "addr": 0})
        ctx.set(dut.moving_en, 1)
        for cycle in range(64):
            ctx.set(dut.moving_addr, cycle)
            _, _, ready = await ctx.tick().sample(dut.store.ready)
            accepted.append(ready)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert sum(accepted) == 32
