"""An engine's queue: order, capacity, and the wait at its head."""

import random
from collections import deque
from functools import partial

import pytest

from tegula.config import preset
from tegula.control.queues import QUEUE_CYCLES, EngineQueue
from tegula.isa.instructions import Engine
from verif.support import unit_bench

CONFIG = preset("tiny")


def simulate(testbench, engine=Engine.TENSOR):
    dut = EngineQueue(CONFIG, engine)
    unit_bench.simulate(dut, partial(testbench, dut=dut))


def offer(ctx, dut, pc, *, waits=0, sem=0, value=0, consume=0):
    item = dut.dispatch.payload
    ctx.set(item.instr.pc, pc)
    ctx.set(item.instr.payload, pc * 0x1_0001)
    ctx.set(item.waits, waits)
    ctx.set(item.wait.sem, sem)
    ctx.set(item.wait.value, value)
    ctx.set(item.wait.consume, consume)
    ctx.set(dut.dispatch.valid, 1)


@pytest.mark.parametrize("engine", [Engine.TENSOR, Engine.STORE])
@pytest.mark.parametrize("seed", range(3))
def test_instructions_leave_in_order_each_after_its_wait(engine, seed):
    rng = random.Random(seed)
    delivered = []

    async def testbench(ctx, dut):
        inside, sent, offered = deque(), 0, None
        granted = False
        for _ in range(3000):
            if offered is None and rng.random() < 0.7:
                offered = {"waits": rng.randrange(2), "sem": rng.randrange(16)}
                offered |= {"value": rng.randrange(4096), "consume": rng.randrange(2)}
                offer(ctx, dut, sent, **offered)
            ctx.set(dut.instr.ready, rng.random() < 0.6)
            grant = ctx.get(dut.wait.valid) and rng.random() < 0.5
            ctx.set(dut.wait.ready, grant)
            sample = await ctx.tick().sample(
                dut.dispatch.ready,
                dut.instr.valid,
                dut.instr.ready,
                dut.instr.payload,
                dut.wait.valid,
                dut.wait.payload,
                dut.empty,
                dut.waiting,
                dut.head_pc,
                dut.head_sem,
            )
            accepted, valid, ready, instr, wants, wait, empty, waiting, pc, sem = sample[2:]
            assert empty == (not inside)
            assert accepted == (len(inside) < CONFIG.queue_depth)
            assert waiting == wants
            if wants or valid:
                first_pc, first = inside[0]
                assert pc == first_pc
            if wants:
                assert first["waits"] and not granted and not valid
                assert sem == first["sem"]
                assert {name: wait[name] for name in ("sem", "value", "consume")} == {
                    name: first[name] for name in ("sem", "value", "consume")
                }
                granted = bool(grant)
            if valid:
                assert granted or not first["waits"]
                assert instr.pc == first_pc and instr.payload == first_pc * 0x1_0001
                if ready:
                    delivered.append(first_pc)
                    inside.popleft()
                    granted = False
            if offered is not None and accepted:
                inside.append((sent, offered))
                sent, offered = sent + 1, None
                ctx.set(dut.dispatch.valid, 0)

    simulate(testbench, engine)
    assert delivered == list(range(len(delivered)))
    assert len(delivered) > 700


def test_it_holds_exactly_its_depth_with_the_waiting_head():
    accepted = 0

    async def testbench(ctx, dut):
        nonlocal accepted
        ctx.set(dut.instr.ready, 1)
        for pc in range(3 * CONFIG.queue_depth):
            offer(ctx, dut, pc, waits=1)
            accepted += (await ctx.tick().sample(dut.dispatch.ready))[2]

    simulate(testbench)
    assert accepted == CONFIG.queue_depth


def test_it_moves_an_instruction_a_cycle_after_its_latency():
    arrivals = []

    async def testbench(ctx, dut):
        ctx.set(dut.instr.ready, 1)
        for cycle in range(40):
            offer(ctx, dut, cycle)
            _, _, valid, instr = await ctx.tick().sample(dut.instr.valid, dut.instr.payload)
            if valid:
                arrivals.append((cycle, instr.pc))

    simulate(testbench)
    assert arrivals == [(cycle, cycle - QUEUE_CYCLES) for cycle in range(QUEUE_CYCLES, 40)]


def test_clear_drops_everything_also_a_wait_that_is_over():
    async def testbench(ctx, dut):
        offer(ctx, dut, 1, waits=1)
        await ctx.tick()
        offer(ctx, dut, 2)
        ctx.set(dut.wait.ready, 1)
        await ctx.tick()
        ctx.set(dut.wait.ready, 0)
        ctx.set(dut.dispatch.valid, 0)
        assert ctx.get(dut.instr.valid)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert ctx.get(dut.empty) and not ctx.get(dut.instr.valid)
        offer(ctx, dut, 9, waits=1)
        await ctx.tick()
        ctx.set(dut.dispatch.valid, 0)
        assert ctx.get(dut.waiting) and ctx.get(dut.head_pc) == 9

    simulate(testbench)
