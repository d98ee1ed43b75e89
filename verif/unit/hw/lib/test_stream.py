"""Streams under random pauses of both sides: order, rate, and what their outputs depend on."""

import random

import pytest

from tegula.engine.acceptance import InstructionRegister
from tegula.isa.instructions import Engine
from tegula.lib.stream import PingPongBuffer, StreamBuffer, StreamQueue, StreamStage
from verif.support.unit_bench import simulate

SEED = 5
ITEMS = 300
PARTS = {
    "stage": (lambda: StreamStage(16), 1),
    "buffer": (lambda: StreamBuffer(16), 1),
    "ping-pong buffer": (lambda: PingPongBuffer(16), 1),
    "queue": (lambda: StreamQueue(16, 4), 1),
    "queue of three": (lambda: StreamQueue(16, 3), 1),
    "instruction register": (lambda: InstructionRegister(Engine.LOAD), 2),
}
"""A part, and the cycles that an item takes it at full rate."""


def pass_items(dut, offered, taken):
    """Items as they leave; `offered` and `taken` say what a side is ready for in a cycle."""
    inputs, outputs, cycles = list(range(1, ITEMS + 1)), [], 0
    held = None

    async def testbench(ctx):
        nonlocal cycles, held
        waiting = list(inputs)
        payload = ctx.get(dut.i.payload)
        is_number = isinstance(payload, int)
        target = dut.i.payload if is_number else dut.i.payload.pc
        source = dut.o.payload if is_number else dut.o.payload.pc
        offering = False
        while len(outputs) < ITEMS:
            offering = bool(waiting) and (offering or offered())
            ctx.set(dut.i.valid, offering)
            ctx.set(target, waiting[0] if offering else 0)
            ctx.set(dut.o.ready, taken())
            *_, accepted, valid, ready, value = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.ready, source
            )
            cycles += 1
            if offering and accepted:
                waiting.pop(0)
                offering = False
            if held is not None:
                assert valid and value == held, "an item that is offered stays"
            held = value if valid and not ready else None
            if valid and ready:
                outputs.append(value)
            assert cycles < 50 * ITEMS

    simulate(dut, testbench)
    assert outputs == inputs
    return cycles


@pytest.mark.parametrize("name", PARTS)
def test_items_keep_their_order_and_none_is_lost_whatever_the_sides_do(name):
    rng = random.Random(SEED)
    make, _ = PARTS[name]
    pass_items(make(), lambda: rng.random() < 0.5, lambda: rng.random() < 0.5)


@pytest.mark.parametrize("name", PARTS)
def test_full_rate(name):
    make, period = PARTS[name]
    assert pass_items(make(), lambda: True, lambda: True) == period * ITEMS + 1 - (period - 1)


@pytest.mark.parametrize("name", [name for name in PARTS if name != "stage"])
def test_no_output_follows_an_input_in_the_same_cycle(name):
    make, _ = PARTS[name]
    dut = make()
    seen = 0

    async def testbench(ctx):
        nonlocal seen
        rng = random.Random(SEED)
        for _ in range(200):
            outputs = set()
            for valid in (0, 1):
                for ready in (0, 1):
                    ctx.set(dut.i.valid, valid)
                    ctx.set(dut.o.ready, ready)
                    outputs.add((ctx.get(dut.i.ready), ctx.get(dut.o.valid)))
            assert len(outputs) == 1
            seen += 1
            ctx.set(dut.i.valid, rng.randrange(2))
            ctx.set(dut.o.ready, rng.randrange(2))
            await ctx.tick()

    simulate(dut, testbench)
    assert seen == 200


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_the_level_of_a_queue_is_what_it_holds(depth):
    dut = StreamQueue(16, depth)
    levels = set()

    async def testbench(ctx):
        rng = random.Random(SEED)
        held = 0
        for _ in range(300):
            valid, ready = rng.randrange(2), rng.randrange(2)
            ctx.set(dut.i.valid, valid)
            ctx.set(dut.o.ready, ready)
            assert ctx.get(dut.level) == held
            assert (ctx.get(dut.i.ready), ctx.get(dut.empty)) == (held < depth, held == 0)
            levels.add(held)
            held += valid * (held < depth) - ready * (held > 0)
            await ctx.tick()

    simulate(dut, testbench)
    assert levels == set(range(depth + 1))


def test_a_flush_drops_the_instruction_that_is_held():
    dut = InstructionRegister(Engine.LOAD)
    seen = []

    async def testbench(ctx):
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.valid, 0)
        seen.append(ctx.get(dut.o.valid))
        ctx.set(dut.flush, 1)
        await ctx.tick()
        seen.append(ctx.get(dut.o.valid))
        seen.append(ctx.get(dut.i.ready))

    simulate(dut, testbench)
    assert seen == [1, 0, 1]
