"""Jumps of the fetch: what the ring holds is not fetched again, what it has lost is."""

import random

import pytest

from tegula.config import preset
from tegula.control.fetch import JUMP_CYCLES, fifo_beats, ring_beats
from tegula_golden.tile.fetch import FetchedBeats
from verif.unit.hw.control.test_fetch import BUSES, SLVERR, Memory, begin, collect, simulate

PROGRAM = 0x1_0040


def make(bus, burst=4, granules=64):
    return preset(
        "tiny",
        axi_data_width=bus,
        axi_addr_width=40,
        max_burst_beats=burst,
        loop_granules=granules,
    )


async def jump(ctx, dut, config, end, target):
    """Jump from the granule `end`, which was taken last; the cycles until it is done."""
    ctx.set(dut.jump.payload.target, target)
    ctx.set(dut.jump.payload.again, end + 1 - target > config.body_granules)
    await ctx.tick()
    ctx.set(dut.jump.valid, 1)
    for cycle in range(400):
        if (await ctx.tick().sample(dut.jump.ready))[2]:
            ctx.set(dut.jump.valid, 0)
            return cycle
    raise AssertionError("no jump in 400 cycles")


def walk(rng, granules, longest, jumps):
    """(last granule, target) of jumps forward through a program, bodies up to `longest`."""
    at = 0
    for _ in range(jumps):
        at = min(granules - 1, at + rng.randrange(1, longest))
        for _ in range(rng.randrange(1, 3)):
            yield at, max(0, at + 1 - rng.randrange(1, longest + 1))


def run(config, memory, granules, jumps, rng, stall=0.0):
    """Take the program with its jumps, to its end; the beats that the contract says it takes."""
    expected = FetchedBeats(config, PROGRAM, granules)
    again = 0

    async def testbench(ctx, dut):
        nonlocal again
        await begin(ctx, dut, PROGRAM, granules)
        at = 0
        for end, target in [*jumps, (granules - 1, None)]:
            got = await collect(ctx, dut, end + 1 - at, rng, stall, 4000)
            assert got == [(memory.granule(PROGRAM + 16 * i), 0) for i in range(at, end + 1)]
            if target is not None:
                again += end + 1 - target > config.body_granules
                await jump(ctx, dut, config, end, target)
                expected.jump(end, target)
                at = target
        await ctx.tick()
        assert ctx.get(dut.idle)

    simulate(config, memory, testbench)
    return expected.count, again


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize(("stall", "latency"), [(0.0, 1), (0.4, 9)])
def test_bodies_in_the_ring_are_not_fetched_again(bus, stall, latency):
    config = make(bus, burst=2)
    rng = random.Random(bus)
    memory = Memory(config, seed=bus, stall=stall, latency=latency)
    granules = 5 * config.loop_granules + 3
    jumps = list(walk(rng, granules, config.body_granules, 40))
    assert any(end + 1 - target == config.body_granules for end, target in jumps)
    beats, again = run(config, memory, granules, jumps, rng, stall)
    assert again == 0
    assert memory.beats == beats == -(-16 * granules // config.bus_bytes)


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("burst", [1, 8])
@pytest.mark.parametrize(("stall", "latency"), [(0.0, 1), (0.4, 9)])
def test_longer_bodies_are_fetched_again_and_their_number_of_beats_is_known(
    bus, burst, stall, latency
):
    config = make(bus, burst, granules=128)
    rng = random.Random(bus + burst)
    memory = Memory(config, seed=bus, stall=stall, latency=latency)
    granules = 3 * config.loop_granules + 5
    starts, jumps = [0], []
    for end, target in walk(rng, granules, 2 * config.loop_granules, 12):
        if end + 1 - target > config.body_granules or target >= starts[-1]:
            jumps.append((end, target))
            starts.append(target)
    beats, again = run(config, memory, granules, jumps, rng, stall)
    assert again > 4
    assert memory.beats == beats


def test_a_body_of_one_granule_more_than_is_kept_is_fetched_again():
    config = make(128)
    found = []
    for body in (config.body_granules, config.body_granules + 1):
        memory = Memory(config)
        end = 3 * config.loop_granules
        jumps = [(end, end + 1 - body)]
        found.append(run(config, memory, end + 200, jumps, random.Random(1)))
        assert memory.beats == found[-1][0]
    assert [again for _, again in found] == [0, 1]
    assert found[0][0] == 3 * config.loop_granules + 200


def test_a_jump_that_fetches_again_waits_until_all_that_may_be_ahead_has_come():
    config = make(128, granules=128)
    memory = Memory(config, latency=20)
    seen = {}

    async def testbench(ctx, dut):
        await begin(ctx, dut, PROGRAM, 1000)
        await collect(ctx, dut, 110, random.Random(1), 0.0, 2000)
        cycles = await jump(ctx, dut, config, 109, 2)
        seen["cycles"], seen["beats"] = cycles, memory.beats
        got = await collect(ctx, dut, 110, random.Random(1), 0.0, 2000)
        assert got == [(memory.granule(PROGRAM + 16 * i), 0) for i in range(2, 112)]

    simulate(config, memory, testbench)
    # The burst of a jump is whole: blocks of four beats, the program's first beat in a block's.
    assert seen["cycles"] > 10
    assert 111 + fifo_beats(config) - config.max_burst_beats < seen["beats"]
    assert seen["beats"] <= 111 + fifo_beats(config)


@pytest.mark.parametrize("bus", BUSES)
def test_an_error_ahead_of_a_loop_is_kept_and_one_inside_is_found_again(bus):
    config = make(bus, granules=128)
    granules, end = 400, 200
    bad = PROGRAM + 16 * 152
    memory = Memory(config, latency=5, errors={bad: SLVERR})
    block = config.max_burst_beats * config.bus_bytes
    marked = []

    async def testbench(ctx, dut):
        await begin(ctx, dut, PROGRAM, granules)
        rng = random.Random(1)
        got = await collect(ctx, dut, 140, rng, 0.0, 2000)
        await jump(ctx, dut, config, 139, 130)
        got += await collect(ctx, dut, end + 1 - 130, rng, 0.0, 2000)
        for _ in range(2):
            await jump(ctx, dut, config, end, 60)
            got += await collect(ctx, dut, end + 1 - 60, rng, 0.0, 2000)
            assert ctx.get(dut.failed_burst) == bad // block * block
        order = [*range(140), *range(130, end + 1), *range(60, end + 1), *range(60, end + 1)]
        for i, (bits, resp) in zip(order, got, strict=True):
            address = PROGRAM + 16 * i
            if address + 16 > bad and address < bad + config.bus_bytes:
                assert resp == SLVERR
                marked.append(i)
            else:
                assert (bits, resp) == (memory.granule(address), 0)

    simulate(config, memory, testbench)
    assert marked.count(152) == 3


def test_a_stop_after_a_jump_leaves_nothing():
    config = make(64, granules=64)
    memory = Memory(config, latency=9)
    programs = 0

    async def testbench(ctx, dut):
        nonlocal programs
        for body in (3, 50):
            await begin(ctx, dut, PROGRAM, 300)
            await collect(ctx, dut, 60, random.Random(1), 0.0, 2000)
            await jump(ctx, dut, config, 59, 60 - body)
            await ctx.tick().repeat(body)
            ctx.set(dut.stop, 1)
            await ctx.tick()
            for _ in range(200):
                await ctx.tick()
            assert ctx.get(dut.idle) and not ctx.get(dut.granule.valid)
            ctx.set(dut.stop, 0)
            await begin(ctx, dut, 0x8000, 9)
            got = await collect(ctx, dut, 9, random.Random(1), 0.0, 300)
            assert got == [(memory.granule(0x8000 + 16 * i), 0) for i in range(9)]
            await ctx.tick()
            programs += 1

    simulate(config, memory, testbench)
    assert programs == 2


@pytest.mark.parametrize("bus", BUSES)
def test_a_jump_takes_its_cycles(bus):
    config = make(bus, granules=128)
    memory = Memory(config)
    count = max(1, bus // 128)
    found = []

    async def testbench(ctx, dut):
        await begin(ctx, dut, PROGRAM, 100)
        await collect(ctx, dut, 30, random.Random(1), 0.0, 300)
        for target in range(20, 30):
            assert await jump(ctx, dut, config, 29, target) == 0
            cycle = 1
            while not ctx.get(dut.granule.valid):
                await ctx.tick()
                cycle += 1
            found.append((cycle, target % count))
            got = await collect(ctx, dut, 30 - target, random.Random(1), 0.0, 300)
            assert got[0] == (memory.granule(PROGRAM + 16 * target), 0)

    simulate(config, memory, testbench)
    assert ring_beats(config) == 128 * 16 // config.bus_bytes
    assert [cycle for cycle, _ in found] == [
        JUMP_CYCLES + (bus == 64) + before for _, before in found
    ]
