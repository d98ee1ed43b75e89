"""CompletionQueue against a list of what has started, with signals that are taken late."""

import random
from collections import deque

import pytest

from tegula.config import preset
from tegula.engine.retirement import CompletionQueue
from verif.support.unit_bench import simulate

CONFIG = preset("tiny")
SEED = 51


class CompletionBench:
    """Starts and completes instructions; the queue's signals must be those of a plain list."""

    def __init__(self, seed, taken):
        self.dut, self.rng, self.taken = CompletionQueue(CONFIG), random.Random(seed), taken
        self.queue, self.finished, self.signals, self.started = deque(), 0, 0, 0
        self.most = 0

    def head_is_complete(self):
        return bool(self.queue) and (self.queue[0]["sync"] or self.finished > 0)

    async def cycle(self, ctx, *, clear=False):
        rng, dut = self.rng, self.dut
        assert ctx.get(dut.level) == len(self.queue)
        room = ctx.get(dut.room)
        assert room == (len(self.queue) < CompletionQueue.DEPTH)
        working = sum(not entry["sync"] for entry in self.queue) - self.finished
        done = working > 0 and rng.random() < 0.3
        push = room and rng.random() < 0.6
        update = {"sem": rng.randrange(CONFIG.semaphores), "value": rng.randrange(256)}
        entry = {"sync": rng.randrange(2), "signal": rng.randrange(2), "update": update}
        ctx.set(dut.push, push)
        ctx.set(dut.entry, entry)
        ctx.set(dut.done, done)
        ctx.set(dut.clear, clear)
        ctx.set(dut.signals.ready, rng.random() < self.taken)
        offers = self.head_is_complete() and self.queue[0]["signal"]
        assert ctx.get(dut.signals.valid) == offers
        if offers:
            payload = ctx.get(dut.signals.payload)
            assert {"sem": payload.sem, "value": payload.value} == self.queue[0]["update"]
        if self.head_is_complete() and (not offers or ctx.get(dut.signals.ready)):
            gone = self.queue.popleft()
            self.signals += gone["signal"]
            self.finished -= not gone["sync"]
        self.finished += done
        self.started += push
        if push:
            self.queue.append(entry)
        if clear:
            self.queue.clear()
            self.finished = 0
        self.most = max(self.most, len(self.queue))
        await ctx.tick()


@pytest.mark.parametrize("taken", [1.0, 0.4])
def test_signals_are_sent_in_order_each_when_it_and_all_before_are_complete(taken):
    bench = CompletionBench(SEED, taken)

    async def testbench(ctx):
        for _ in range(1500):
            await bench.cycle(ctx)

    simulate(bench.dut, testbench)
    assert bench.most == CompletionQueue.DEPTH
    assert bench.started > 400
    assert bench.signals > 150


def test_clear_forgets_everything():
    bench = CompletionBench(SEED + 1, 0.3)

    async def testbench(ctx):
        for _ in range(40):
            for _ in range(bench.rng.randrange(2, 40)):
                await bench.cycle(ctx)
            await bench.cycle(ctx, clear=True)

    simulate(bench.dut, testbench)
    assert bench.signals > 30
