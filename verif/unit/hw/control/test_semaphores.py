"""The semaphore file against a list of integers."""

import random
from functools import partial

import pytest

from tegula.config import preset
from tegula.control.semaphores import SIGNAL_CYCLES, SIGNAL_PORTS, SemaphoreFile
from tegula.isa.instructions import ENGINES, Engine
from verif.support import unit_bench

CONFIG = preset("tiny", semaphores=4, semaphore_width=6)
LIMIT = (1 << CONFIG.semaphore_width) - 1
SIGNALLERS = [engine for engine in ENGINES for _ in range(SIGNAL_PORTS[engine])] + [Engine.CONTROL]
"""The host's port is the last."""
WAITERS = [*ENGINES, Engine.CONTROL]
PORTS = len(WAITERS) + len(SIGNALLERS)
SERVED_CYCLES = 2 * len(SIGNALLERS) + 2
"""All signals in turn, a wait between each two; choice and execution."""


def simulate(testbench):
    dut = SemaphoreFile(CONFIG)
    unit_bench.simulate(dut, partial(testbench, dut=dut))


def ask(ctx, port, **payload):
    for name, value in payload.items():
        ctx.set(getattr(port.payload, name), value)
    ctx.set(port.valid, 1)


async def until_swept(ctx):
    """Cycles in which counts are set to zero after a reset or a clear."""
    await ctx.tick().repeat(CONFIG.semaphores + 1)


async def until_ready(ctx, port, limit=20):
    """Cycles until the handshake, counting from 0; None if there is none."""
    for cycle in range(limit):
        if (await ctx.tick().sample(port.ready))[2]:
            ctx.set(port.valid, 0)
            return cycle
    return None


@pytest.mark.parametrize("seed", range(4))
def test_random_traffic_matches_the_model_and_everyone_is_served(seed):
    rng = random.Random(seed)
    served = {"wait": 0, "signal": 0, "consume": 0}

    async def testbench(ctx, dut):
        counts = [0] * CONFIG.semaphores
        waits, signals = list(dut.waits), list(dut.signals)
        asked = [None] * PORTS
        age = [0] * PORTS
        # Signals that may not be executed yet: what a wait that is tried now may not see.
        under_way = [[]] * (2 * len(SIGNALLERS) + SIGNAL_CYCLES - 1)
        await until_swept(ctx)
        for _ in range(4000):
            for i, port in enumerate(waits + signals):
                if asked[i] is None and rng.random() < 0.4:
                    asked[i] = request = {"sem": rng.randrange(CONFIG.semaphores)}
                    if i < len(waits):
                        request["value"] = rng.choice((0, 1, 2, 5, rng.randrange(20)))
                        request["consume"] = rng.randrange(4) > 0
                    else:
                        # Stay under the limit, whatever the other ports have under way.
                        room = max(0, LIMIT - counts[request["sem"]]) // (2 * len(SIGNALLERS))
                        request["value"] = rng.randrange(min(room, 6) + 1)
                    ask(ctx, port, **request)
            sample = await ctx.tick().sample(*[p.ready for p in waits + signals], dut.overflow)
            *ready, overflow = sample[2:]
            assert not overflow
            assert sum(ready[: len(waits)]) <= 1
            for i in range(PORTS):
                if asked[i] is None:
                    continue
                request = asked[i]
                unseen = sum(v for cycle in under_way for sem, v in cycle if sem == request["sem"])
                visible = counts[request["sem"]] - unseen
                satisfied = i >= len(waits) or visible >= request["value"]
                age[i] = age[i] + 1 if satisfied else 0
                assert age[i] <= SERVED_CYCLES, "a port that could be served was passed over"
            under_way = [*under_way[1:], []]
            for i in range(PORTS):
                request = asked[i]
                if not ready[i] or request is None:
                    assert not ready[i] or i >= len(waits)
                    continue
                asked[i], age[i] = None, 0
                if i < len(waits):
                    assert counts[request["sem"]] >= request["value"]
                    served["wait"] += 1
                    if request["consume"]:
                        counts[request["sem"]] -= request["value"]
                        served["consume"] += 1
                else:
                    counts[request["sem"]] += request["value"]
                    under_way[-1].append((request["sem"], request["value"]))
                    served["signal"] += 1
                ctx.set((waits + signals)[i].valid, 0)

    simulate(testbench)
    assert min(served.values()) > 100, served


def test_a_wait_that_is_not_over_holds_up_nobody():
    latencies = []

    async def testbench(ctx, dut):
        for port in list(dut.waits)[:3]:
            ask(ctx, port, sem=1, value=1, consume=1)
        for _ in range(50):
            ask(ctx, dut.waits[3], sem=0, value=0, consume=0)
            latencies.append(await until_ready(ctx, dut.waits[3]))
            ask(ctx, dut.signals[4], sem=2, value=0)
            latencies.append(await until_ready(ctx, dut.signals[4]))
            assert not any(ctx.get(port.ready) for port in list(dut.waits)[:3])

    simulate(testbench)
    assert len(latencies) == 100
    assert max(latencies) <= PORTS


def test_a_wait_is_tried_once_though_nothing_else_is_due():
    endings = []

    async def testbench(ctx, dut):
        await until_swept(ctx)
        ask(ctx, dut.signals[0], sem=1, value=7)
        assert await until_ready(ctx, dut.signals[0]) is not None
        await ctx.tick().repeat(10)
        for port in dut.waits:
            ask(ctx, port, sem=1, value=1, consume=1)
            assert await until_ready(ctx, port) is not None
            ready = [port.ready for port in dut.waits]
            endings.extend([(await ctx.tick().sample(*ready))[2:] for _ in range(10)])
        # What is left of seven.
        ask(ctx, dut.waits[0], sem=1, value=7 - len(dut.waits), consume=1)
        assert await until_ready(ctx, dut.waits[0]) is not None

    simulate(testbench)
    assert len(endings) == 10 * len(WAITERS) and not any(map(any, endings))


def test_a_consuming_wait_takes_what_one_signal_gave_once():
    winners = 0

    async def testbench(ctx, dut):
        nonlocal winners
        for port in dut.waits:
            ask(ctx, port, sem=3, value=2, consume=1)
        ask(ctx, dut.signals[0], sem=3, value=2)
        assert await until_ready(ctx, dut.signals[0]) is not None
        for _ in range(60):
            sample = await ctx.tick().sample(*[port.ready for port in dut.waits])
            winners += sum(sample[2:])

    simulate(testbench)
    assert winners == 1


@pytest.mark.parametrize("port", range(len(SIGNALLERS)))
def test_an_overflow_names_the_signaller_and_keeps_the_count(port):
    seen = []

    async def testbench(ctx, dut):
        async def signal(value):
            ask(ctx, dut.signals[port], sem=2, value=value)
            assert await until_ready(ctx, dut.signals[port]) is not None
            for _ in range(4):
                _, _, overflow, engine, sem = await ctx.tick().sample(
                    dut.overflow, dut.overflow_engine, dut.overflow_sem
                )
                if overflow:
                    seen.append((value, Engine(engine), sem))

        await signal(LIMIT - 1)
        await signal(1)
        await signal(1)
        await signal(255)
        await signal(0)
        ask(ctx, dut.waits[0], sem=2, value=LIMIT, consume=1)
        assert await until_ready(ctx, dut.waits[0]) is not None

    simulate(testbench)
    assert seen == [(1, SIGNALLERS[port], 2), (255, SIGNALLERS[port], 2)]


@pytest.mark.parametrize("port", range(len(SIGNALLERS)))
def test_a_signal_of_the_host_keeps_nobody_from_resting(port):
    seen = []

    async def testbench(ctx, dut):
        await until_swept(ctx)
        ask(ctx, dut.signals[port], sem=1, value=1)
        assert await until_ready(ctx, dut.signals[port]) == 0
        seen.extend([(await ctx.tick().sample(dut.idle, dut.from_host))[2:] for _ in range(4)])

    simulate(testbench)
    if SIGNALLERS[port] == Engine.CONTROL:
        assert seen == [(1, 1), (1, 1), (1, 1), (1, 0)]
    else:
        assert seen == [(0, 0), (0, 0), (1, 0), (1, 0)]


def test_clear_sets_every_count_to_zero():
    refused = 0

    async def testbench(ctx, dut):
        nonlocal refused
        for sem in range(CONFIG.semaphores):
            ask(ctx, dut.signals[0], sem=sem, value=3)
            await until_ready(ctx, dut.signals[0])
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        for sem in range(CONFIG.semaphores):
            ask(ctx, dut.waits[0], sem=sem, value=1, consume=0)
            refused += await until_ready(ctx, dut.waits[0]) is None

    simulate(testbench)
    assert refused == CONFIG.semaphores


def test_a_signal_is_visible_after_the_named_latency():
    cycles = []

    async def testbench(ctx, dut):
        await until_swept(ctx)
        ask(ctx, dut.signals[0], sem=0, value=1)
        assert await until_ready(ctx, dut.signals[0]) == 0
        # Asked in the cycle after the signal's handshake: chosen at once, executed two later.
        ask(ctx, dut.waits[1], sem=0, value=1, consume=0)
        cycles.append(1 + await until_ready(ctx, dut.waits[1]))

    simulate(testbench)
    assert cycles == [SIGNAL_CYCLES]
