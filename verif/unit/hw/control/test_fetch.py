"""Instruction fetch against a memory with latency, stalls and errors."""

import random
from collections import deque
from functools import partial

import pytest

from tegula.config import preset
from tegula.control.burst_requests import FETCH_CYCLES
from tegula.control.fetch import Fetch, fifo_beats
from tegula.control.granule_register import GRANULE_CYCLES
from verif.support import unit_bench

BUSES = (64, 128, 256, 512)
SLVERR, DECERR = 2, 3


def make(bus, burst=16):
    return preset("tiny", axi_data_width=bus, axi_addr_width=40, max_burst_beats=burst)


class Memory:
    """A read-only memory behind the fetch's port, which checks each burst that it is asked for.

    `errors` maps beat addresses to responses. Bytes are a function of their address.
    """

    def __init__(self, config, *, seed=0, stall=0.0, latency=0, errors=None):
        self.config, self.rng, self.stall, self.latency = (
            config,
            random.Random(seed),
            stall,
            latency,
        )
        self.errors = errors or {}
        self.bursts, self.beats = [], 0
        self.first_request = self.first_beat = None

    def word(self, address, width):
        return random.Random(address * 1024 + width).getrandbits(width)

    def granule(self, address):
        """The bits of 16 bytes of memory, whatever the bus."""
        return self.word(address, 64) | self.word(address + 8, 64) << 64

    def beat(self, address):
        return sum(
            self.word(address + 8 * i, 64) << 64 * i for i in range(self.config.bus_bytes // 8)
        )

    async def serve(self, ctx, dut):
        queue, cycle, request = deque(), 0, None
        ctx.set(dut.ar.ready, 0)
        while True:
            sample = await ctx.tick().sample(
                dut.ar.valid, dut.ar.ready, dut.ar.payload, dut.r.ready, dut.r.valid
            )
            ar_valid, ar_ready, ar, r_ready, r_valid = sample[2:]
            if request is not None:
                assert ar_valid and (ar.addr, ar.len) == request, "a request was taken back"
            request = (ar.addr, ar.len) if ar_valid and not ar_ready else None
            if ar_valid and self.first_request is None:
                self.first_request = cycle
            if ar_valid and ar_ready:
                self.bursts.append((ar.addr, ar.len + 1))
                for i in range(ar.len + 1):
                    address = ar.addr + i * self.config.bus_bytes
                    queue.append((cycle + self.latency, address, i == ar.len))
            assert r_ready, "read data was refused"
            if r_valid:
                self.beats += 1
            cycle += 1
            ctx.set(dut.ar.ready, self.rng.random() >= self.stall)
            if queue and queue[0][0] <= cycle and self.rng.random() >= self.stall:
                _, address, last = queue.popleft()
                if self.first_beat is None:
                    self.first_beat = cycle
                ctx.set(dut.r.valid, 1)
                ctx.set(dut.r.payload.data, self.beat(address))
                ctx.set(dut.r.payload.resp, self.errors.get(address, 0))
                ctx.set(dut.r.payload.last, last)
            else:
                ctx.set(dut.r.valid, 0)


def simulate(config, memory, testbench):
    dut = Fetch(config)
    unit_bench.simulate(dut, partial(testbench, dut=dut), partial(memory.serve, dut=dut))


async def begin(ctx, dut, program, granules):
    assert ctx.get(dut.idle)
    ctx.set(dut.program, program)
    ctx.set(dut.granules, granules)
    await ctx.tick()
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)


async def collect(ctx, dut, count, rng, stall, budget):
    """The next `count` granules as (bits, resp)."""
    granules = []
    for _ in range(budget):
        ctx.set(dut.granule.ready, rng.random() >= stall)
        _, _, valid, ready, granule = await ctx.tick().sample(
            dut.granule.valid, dut.granule.ready, dut.granule.payload
        )
        if valid and ready:
            granules.append((granule.bits, granule.resp))
        if len(granules) == count:
            break
    ctx.set(dut.granule.ready, 0)
    assert len(granules) == count, f"{len(granules)} of {count} granules in {budget} cycles"
    return granules


def expected_bursts(config, program, granules):
    """Bursts of the contract: split at multiples of the longest, to the last byte's beat."""
    beats = -(-granules * 16 // config.bus_bytes)
    size = config.max_burst_beats
    address, bursts = program // config.bus_bytes, []
    while beats:
        count = min(size - address % size, beats)
        bursts.append((address * config.bus_bytes, count))
        address, beats = address + count, beats - count
    return bursts


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_programs_arrive_whole_and_in_order(bus, stall):
    config = make(bus, burst=random.Random(bus).choice((4, 8)))
    memory = Memory(config, seed=bus, stall=stall, latency=7)
    rng = random.Random(bus)
    fetched = 0

    async def testbench(ctx, dut):
        nonlocal fetched
        for _ in range(8):
            program = 64 * rng.randrange(1 << 30)
            granules = rng.choice((1, 2, 3, 5, 17, 60, 130))
            memory.bursts.clear()
            await begin(ctx, dut, program, granules)
            budget = 200 + granules * 20
            got = await collect(ctx, dut, granules, rng, stall, budget)
            assert got == [(memory.granule(program + 16 * i), 0) for i in range(granules)]
            assert memory.bursts == expected_bursts(config, program, granules)
            await ctx.tick()
            assert ctx.get(dut.idle)
            for _ in range(5):
                _, _, valid = await ctx.tick().sample(dut.granule.valid)
                assert not valid
            fetched += granules

    simulate(config, memory, testbench)
    assert fetched > 30


@pytest.mark.parametrize("burst", [1, 2, 64, 256])
def test_bursts_of_any_length_stay_in_their_aligned_block(burst):
    config = make(64, burst)
    memory = Memory(config, latency=3)
    bursts = []

    async def testbench(ctx, dut):
        program, granules = 0x1_0FC0, 150
        await begin(ctx, dut, program, granules)
        got = await collect(ctx, dut, granules, random.Random(1), 0.0, 900)
        assert got == [(memory.granule(program + 16 * i), 0) for i in range(granules)]
        bursts.extend(expected_bursts(config, program, granules))

    simulate(config, memory, testbench)
    assert memory.bursts == bursts
    for address, count in memory.bursts:
        assert address // 4096 == (address + count * config.bus_bytes - 1) // 4096


def test_a_stalled_program_reserves_room_before_it_asks():
    config = make(128, 16)
    memory = Memory(config)

    async def testbench(ctx, dut):
        await begin(ctx, dut, 0, 1000)
        for _ in range(400):
            await ctx.tick()
        assert memory.beats == fifo_beats(config)
        assert not ctx.get(dut.idle)
        got = await collect(ctx, dut, 1000, random.Random(1), 0.0, 2000)
        assert got == [(memory.granule(16 * i), 0) for i in range(1000)]

    simulate(config, memory, testbench)
    assert memory.beats == 1000


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("burst", [1, 8])
def test_a_failed_beat_marks_its_granules_and_the_first_burst_to_fail_is_kept(bus, burst):
    config = make(bus, burst)
    program, granules = 0x8040, 64
    bursts = expected_bursts(config, program, granules)
    beats = [(a + i * config.bus_bytes, a) for a, count in bursts for i in range(count)]
    rng = random.Random(bus + burst)
    errors = {address: rng.choice((SLVERR, DECERR)) for address, _ in rng.sample(beats[1:], 5)}
    errors[program] = SLVERR
    memory = Memory(config, stall=0.2, errors=errors)
    failed = 0

    async def testbench(ctx, dut):
        nonlocal failed
        await begin(ctx, dut, program, granules)
        got = await collect(ctx, dut, granules, rng, 0.2, 2000)
        for i, (bits, resp) in enumerate(got):
            first, last = program + 16 * i, program + 16 * i + 15
            touched = [b for b in beats if b[0] <= last and b[0] + config.bus_bytes > first]
            wrong = [errors[b] for b, _ in touched if b in errors]
            if wrong:
                assert resp == wrong[0]
                assert ctx.get(dut.failed_burst) == program
                failed += 1
            else:
                assert (bits, resp) == (memory.granule(first), 0)

    simulate(config, memory, testbench)
    assert failed >= len(errors) * bus // 128


@pytest.mark.parametrize("bus", [64, 512])
@pytest.mark.parametrize("seed", range(3))
def test_stop_throws_away_what_is_under_way_and_leaves_nothing(bus, seed):
    config = make(bus, 4)
    memory = Memory(config, seed=seed, stall=0.3, latency=9)
    rng = random.Random(seed)
    programs = 0

    async def testbench(ctx, dut):
        nonlocal programs
        for _ in range(6):
            await begin(ctx, dut, 64 * rng.randrange(1000), 500)
            await collect(ctx, dut, rng.randrange(1, 9), rng, 0.0, 300)
            for _ in range(rng.randrange(20)):
                await ctx.tick()
            ctx.set(dut.stop, 1)
            idle = cycles = 0
            while not idle:
                _, _, idle, valid = await ctx.tick().sample(dut.idle, dut.granule.valid)
                assert not valid or cycles == 0
                cycles += 1
                assert cycles < 400
            beats = memory.beats
            for _ in range(20):
                await ctx.tick()
            assert memory.beats == beats == sum(count for _, count in memory.bursts)
            ctx.set(dut.stop, 0)
            program = 64 * rng.randrange(1000)
            await begin(ctx, dut, program, 9)
            got = await collect(ctx, dut, 9, rng, 0.0, 300)
            assert got == [(memory.granule(program + 16 * i), 0) for i in range(9)]
            await ctx.tick()
            programs += 1

    simulate(config, memory, testbench)
    assert programs == 6


@pytest.mark.parametrize("bus", BUSES)
def test_latency_and_throughput_are_as_stated(bus):
    config = make(bus, 8)
    memory = Memory(config)
    seen = {}

    async def testbench(ctx, dut):
        ctx.set(dut.granule.ready, 1)
        await begin(ctx, dut, 0, 200)
        # The start is the second cycle of the memory's count.
        cycle, arrivals = 2, []
        while len(arrivals) < 200:
            if (await ctx.tick().sample(dut.granule.valid))[2]:
                arrivals.append(cycle)
            cycle += 1
            assert cycle < 600
        seen["first"], seen["span"] = arrivals[0], arrivals[-1] - arrivals[20]

    simulate(config, memory, testbench)
    assert memory.first_request == 1 + FETCH_CYCLES
    last_beat_of_first = memory.first_beat + (1 if bus == 64 else 0)
    assert seen["first"] == last_beat_of_first + GRANULE_CYCLES
    assert seen["span"] == 179 * (2 if bus == 64 else 1)
