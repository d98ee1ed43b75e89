"""Retirement against a list of what has started, with signals that are taken late."""

import random
from collections import deque

import pytest
from amaranth.hdl import Module, ResetInserter, Signal

from tegula.config import preset
from tegula.engine.interface import ticket_layout
from tegula.engine.retirement import Retirement
from verif.support.unit_bench import simulate

CONFIG = preset("tiny")
SEED = 51

TICKETS = {"vector": ("sync", "signal"), "dma": ("pc", "signal"), "tensor": ()}


class RetirementBench:
    """Starts and completions of instructions; their signals must be those of a plain list."""

    def __init__(self, seed, taken, fields=("sync", "signal"), *, depth=8, cycles=None):
        self.rng, self.taken, self.depth, self.cycles = random.Random(seed), taken, depth, cycles
        self.layout = ticket_layout(CONFIG, *fields)
        self.dut = Retirement(CONFIG, self.layout, depth=depth, cycles=cycles)
        self.clear = Signal()
        self.top = Module()
        self.top.submodules.dut = ResetInserter(self.clear)(self.dut)
        self.queue, self.finished, self.signals, self.started = deque(), 0, 0, 0
        self.due = deque()  # with `cycles`: cycles to the completion of each ticket
        self.most = 0

    def head_is_complete(self):
        return bool(self.queue) and (self.queue[0].get("sync") or self.finished > 0)

    def random_ticket(self):
        update = {"sem": self.rng.randrange(CONFIG.semaphores), "value": self.rng.randrange(256)}
        widths = {name: bits for name, bits in self.layout.members.items() if name != "update"}
        flags = {name: self.rng.getrandbits(bits) for name, bits in widths.items()}
        return flags | {"update": update}

    def complete_one(self, ctx):
        """A completion in this cycle, if the oldest incomplete ticket has one."""
        if self.cycles is not None:
            done = bool(self.due) and self.due[0] == 0
            self.due = deque(left - 1 for left in self.due if left)
            return done
        working = sum(not ticket.get("sync") for ticket in self.queue) - self.finished
        done = working > 0 and self.rng.random() < 0.3
        ctx.set(self.dut.done, done)
        return done

    async def cycle(self, ctx, *, clear=False):
        rng, dut = self.rng, self.dut
        assert ctx.get(dut.level) == len(self.queue)
        assert ctx.get(dut.unsent) == (self.finished > 0)
        room = ctx.get(dut.tickets.ready)
        assert room == (len(self.queue) < self.depth)
        done = self.complete_one(ctx)
        push = room and rng.random() < 0.6
        ticket = self.random_ticket()
        ctx.set(dut.tickets.valid, push)
        ctx.set(dut.tickets.payload, ticket)
        ctx.set(self.clear, clear)
        ctx.set(dut.signals.ready, rng.random() < self.taken)
        offers = self.head_is_complete() and self.queue[0].get("signal", 1)
        assert ctx.get(dut.signals.valid) == offers
        if self.queue:
            oldest = ctx.get(dut.oldest)
            assert {name: oldest[name] for name in ticket} == self.queue[0]
        if offers:
            payload = ctx.get(dut.signals.payload)
            assert {"sem": payload.sem, "value": payload.value} == self.queue[0]["update"]
        if self.head_is_complete() and (not offers or ctx.get(dut.signals.ready)):
            gone = self.queue.popleft()
            self.signals += gone.get("signal", 1)
            self.finished -= not gone.get("sync")
        self.finished += done
        self.started += push
        if push:
            self.queue.append(ticket)
            self.due.append((self.cycles or 0) - 1)
        if clear:
            self.queue.clear()
            self.due.clear()
            self.finished = 0
        self.most = max(self.most, len(self.queue))
        await ctx.tick()


@pytest.mark.parametrize("taken", [1.0, 0.4])
@pytest.mark.parametrize("fields", TICKETS.values(), ids=TICKETS)
@pytest.mark.parametrize("depth", [2, Retirement.DEPTH])
def test_signals_are_sent_in_order_each_when_it_and_all_before_are_complete(fields, taken, depth):
    bench = RetirementBench(SEED, taken, fields, depth=depth)

    async def testbench(ctx):
        for _ in range(1500):
            await bench.cycle(ctx)

    simulate(bench.top, testbench)
    assert bench.most == depth
    assert bench.started > 300
    assert bench.signals > 100


@pytest.mark.parametrize("taken", [1.0, 0.2])
@pytest.mark.parametrize("cycles", [1, 2, 9])
def test_a_ticket_is_complete_so_many_cycles_after_its_push(cycles, taken):
    bench = RetirementBench(SEED, taken, (), cycles=cycles)

    async def testbench(ctx):
        for _ in range(1500):
            await bench.cycle(ctx)

    simulate(bench.top, testbench)
    assert bench.signals > 250


@pytest.mark.parametrize(("cycles", "fields"), [(None, ("sync", "signal")), (5, ())])
def test_a_reset_drops_every_ticket_and_every_completion(cycles, fields):
    bench = RetirementBench(SEED + 1, 0.3, fields, cycles=cycles)

    async def testbench(ctx):
        for _ in range(40):
            for _ in range(bench.rng.randrange(2, 40)):
                await bench.cycle(ctx)
            await bench.cycle(ctx, clear=True)

    simulate(bench.top, testbench)
    assert bench.signals > 30
