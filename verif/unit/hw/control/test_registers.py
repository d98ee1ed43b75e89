"""The register file against the register table, on an AXI4-Lite port with stalls."""

import random
from functools import partial

import pytest

from tegula.config import preset
from tegula.control.registers import READ_CYCLES, WRITE_CYCLES, RegisterFile
from tegula.isa.registers import IDENTITY, REGISTERS, register_offset
from verif.support import unit_bench

CONFIG = preset("small")
OKAY, SLVERR = 0, 2
READ_ONLY = [r for r in REGISTERS if r.access == "ro" and r.name not in ("IDENTITY", "SHAPE")]
READ_WRITE = [r for r in REGISTERS if r.access == "rw"]
UNKNOWN = [offset for offset in range(0, 256, 4) if offset >= 4 * len(REGISTERS)]


def simulate(testbench, *background):
    dut = RegisterFile(CONFIG)
    others = (partial(process, dut=dut) for process in background)
    unit_bench.simulate(dut, partial(testbench, dut=dut), *others)


async def handshake(ctx, valid, ready, delay=0):
    """Raise `valid` after `delay` cycles until the handshake."""
    for _ in range(delay):
        await ctx.tick()
    ctx.set(valid, 1)
    while not (await ctx.tick().sample(ready))[2]:
        pass
    ctx.set(valid, 0)


async def write(ctx, bus, offset, data, strobe=15, aw_delay=0, w_delay=0, b_delay=0):
    """A whole write; AW and W begin after their own delays. Returns the response."""
    ctx.set(bus.awaddr, offset)
    ctx.set(bus.wdata, data)
    ctx.set(bus.wstrb, strobe)
    pending, cycle = {"aw": aw_delay, "w": w_delay}, 0
    while pending:
        for channel, delay in pending.items():
            ctx.set(getattr(bus, f"{channel}valid"), cycle >= delay)
        _, _, awready, wready = await ctx.tick().sample(bus.awready, bus.wready)
        for channel, ready in (("aw", awready), ("w", wready)):
            if channel in pending and cycle >= pending[channel] and ready:
                del pending[channel]
                ctx.set(getattr(bus, f"{channel}valid"), 0)
        cycle += 1
        assert cycle < 50, "a write channel was never ready"
    for _ in range(b_delay):
        await ctx.tick()
    ctx.set(bus.bready, 1)
    valid = 0
    while not valid:
        _, _, valid, response = await ctx.tick().sample(bus.bvalid, bus.bresp)
    ctx.set(bus.bready, 0)
    return response


async def read(ctx, bus, offset, r_delay=0):
    """A whole read: (data, response)."""
    ctx.set(bus.araddr, offset)
    await handshake(ctx, bus.arvalid, bus.arready)
    for _ in range(r_delay):
        await ctx.tick()
    ctx.set(bus.rready, 1)
    valid = 0
    while not valid:
        _, _, valid, data, response = await ctx.tick().sample(bus.rvalid, bus.rdata, bus.rresp)
    ctx.set(bus.rready, 0)
    return data, response


def test_every_read_only_register_shows_its_input_and_ignores_writes():
    checked = []

    async def testbench(ctx, dut):
        for register in READ_ONLY:
            value = random.Random(register.offset).getrandbits(32)
            ctx.set(getattr(dut, register.name.lower()), value)
            assert await write(ctx, dut.s_axil, register.offset, ~value & 0xFFFF_FFFF) == OKAY
            assert await read(ctx, dut.s_axil, register.offset) == (value, OKAY), register.name
            checked.append(register.name)

    simulate(testbench)
    assert len(checked) == len(READ_ONLY) > 20


def test_constants_and_reset_values_are_those_of_the_configuration():
    expected = dict.fromkeys((r.name for r in REGISTERS), 0) | {
        "IDENTITY": IDENTITY,
        "SHAPE": CONFIG.n
        + (CONFIG.acc_width << 8)
        + (CONFIG.bus_bytes << 16)
        + (CONFIG.semaphores << 24),
        "IRQ_ENABLE": 1,
        "WATCHDOG": CONFIG.watchdog_cycles,
    }
    seen = {}

    async def testbench(ctx, dut):
        for register in REGISTERS:
            seen[register.name], response = await read(ctx, dut.s_axil, register.offset)
            assert response == OKAY

    simulate(testbench)
    assert seen == expected


def test_unknown_offsets_answer_slverr_and_change_nothing():
    answers = []

    async def testbench(ctx, dut):
        for offset in UNKNOWN:
            answers.append(await write(ctx, dut.s_axil, offset, 0xFFFF_FFFF))
            answers.append(await read(ctx, dut.s_axil, offset))
        for register in READ_WRITE:
            value, _ = await read(ctx, dut.s_axil, register.offset)
            assert value == {"IRQ_ENABLE": 1, "WATCHDOG": CONFIG.watchdog_cycles}.get(
                register.name, 0
            )

    simulate(testbench)
    assert answers == [SLVERR, (0, SLVERR)] * len(UNKNOWN)
    assert len(UNKNOWN) == 64 - len(REGISTERS)


def test_write_strobes_select_bytes_of_every_writable_register():
    checked = 0

    async def testbench(ctx, dut):
        nonlocal checked
        for register in READ_WRITE:
            for strobe in range(16):
                await write(ctx, dut.s_axil, register.offset, 0x1122_3344)
                await write(ctx, dut.s_axil, register.offset, 0xAABB_CCDD, strobe)
                mask = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1)
                expected = (0x1122_3344 & ~mask) | (0xAABB_CCDD & mask)
                assert ctx.get(getattr(dut, register.name.lower())) == expected
                checked += 1

    simulate(testbench)
    assert checked == 16 * len(READ_WRITE)


@pytest.mark.parametrize(("aw_delay", "w_delay"), [(0, 0), (0, 5), (5, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("b_delay", [0, 4])
def test_address_and_data_come_in_any_order(aw_delay, w_delay, b_delay):
    offset = register_offset("PROGRAM_LOW")
    done = False

    async def testbench(ctx, dut):
        nonlocal done
        for value in (1, 2, 0xDEAD_BEEF):
            delays = {"aw_delay": aw_delay, "w_delay": w_delay, "b_delay": b_delay}
            assert await write(ctx, dut.s_axil, offset, value, **delays) == OKAY
            assert await read(ctx, dut.s_axil, offset, r_delay=b_delay) == (value, OKAY)
        done = True

    simulate(testbench)
    assert done


def test_a_response_that_is_held_back_stays_and_holds_back_the_next_write():
    observed = []

    async def testbench(ctx, dut):
        bus = dut.s_axil
        ctx.set(bus.awaddr, UNKNOWN[0])
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        await ctx.tick()
        ctx.set(bus.awaddr, register_offset("WATCHDOG"))
        ctx.set(bus.wdata, 77)
        ctx.set(bus.wstrb, 15)
        await ctx.tick()
        for _ in range(6):
            _, _, valid, response, value = await ctx.tick().sample(
                bus.bvalid, bus.bresp, dut.watchdog
            )
            observed.append((valid, response, value))
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        ctx.set(bus.bready, 1)
        await ctx.tick().repeat(2)
        _, _, valid, response, value = await ctx.tick().sample(bus.bvalid, bus.bresp, dut.watchdog)
        assert (valid, response, value) == (1, OKAY, 77)

    simulate(testbench)
    assert observed == [(1, SLVERR, CONFIG.watchdog_cycles)] * 6


def test_while_busy_only_control_and_interrupt_registers_are_writable():
    kept = []

    async def testbench(ctx, dut):
        ctx.set(dut.busy, 1)
        for register in READ_WRITE:
            before = ctx.get(getattr(dut, register.name.lower()))
            assert await write(ctx, dut.s_axil, register.offset, 0x5A5A_5A5A) == OKAY
            if ctx.get(getattr(dut, register.name.lower())) == before:
                kept.append(register.name)

    simulate(testbench)
    assert kept == [r.name for r in READ_WRITE if r.name != "IRQ_ENABLE"]


@pytest.mark.parametrize("busy", [0, 1])
def test_a_write_to_control_is_a_pulse_of_one_cycle(busy):
    pulses = []

    async def watch(ctx, dut):
        while True:
            _, _, value = await ctx.tick().sample(dut.control)
            if value:
                pulses.append(value)

    async def testbench(ctx, dut):
        ctx.set(dut.busy, busy)
        offset = register_offset("CONTROL")
        await write(ctx, dut.s_axil, offset, 2)
        await write(ctx, dut.s_axil, offset, 1, strobe=0b1110)
        await write(ctx, dut.s_axil, offset, 1)
        assert await read(ctx, dut.s_axil, offset) == (0, OKAY)

    simulate(testbench, watch)
    assert pulses == [2, 1]


SIGNAL = register_offset("SIGNAL")


def test_a_signal_is_answered_when_the_one_before_has_been_taken():
    taken = []

    async def take(ctx, dut):
        payload = dut.signal.payload
        inputs = (dut.signal.valid, dut.signal.ready, payload.sem, payload.value)
        cycle = 0
        async for _, _, valid, ready, sem, value in ctx.tick().sample(*inputs):
            if valid and ready:
                taken.append((sem, value))
            cycle += 1
            ctx.set(dut.signal.ready, cycle % 23 in (0, 1, 5))

    answered = []

    async def testbench(ctx, dut):
        ctx.set(dut.running, 1)
        for number in range(12):
            data = (255 - number) << 8 | number % CONFIG.semaphores
            assert await write(ctx, dut.s_axil, SIGNAL, data, b_delay=number % 3) == OKAY
            answered.append(len(taken))
            assert await read(ctx, dut.s_axil, SIGNAL) == (0, OKAY)
        await ctx.tick().repeat(40)

    simulate(testbench, take)
    assert taken == [(number % CONFIG.semaphores, 255 - number) for number in range(12)]
    assert all(count >= number for number, count in enumerate(answered)), answered


@pytest.mark.parametrize(
    ("data", "strobe", "running"),
    [
        (0x100, 15, 0),
        (0x000, 15, 1),
        (0x100 | CONFIG.semaphores, 15, 1),
        (0x1FF, 15, 1),
        (0x1_0100, 15, 1),
        (0x8000_0100, 15, 1),
        (0x100, 0b1101, 1),
    ],
)
def test_what_cannot_be_a_signal_is_refused(data, strobe, running):
    async def watch(ctx, dut):
        async for _, _, valid in ctx.tick().sample(dut.signal.valid):
            assert not valid

    async def testbench(ctx, dut):
        ctx.set(dut.running, running)
        assert await write(ctx, dut.s_axil, SIGNAL, data, strobe) == SLVERR
        await ctx.tick().repeat(5)

    simulate(testbench, watch)


def test_a_signal_that_waits_is_dropped_with_the_program():
    answers = []

    async def stop(ctx, dut):
        ctx.set(dut.running, 1)
        await ctx.tick().repeat(20)
        ctx.set(dut.running, 0)

    async def testbench(ctx, dut):
        answers.append(await write(ctx, dut.s_axil, SIGNAL, 0x101))
        answers.append(await write(ctx, dut.s_axil, SIGNAL, 0x102))
        assert not ctx.get(dut.signal.valid)
        ctx.set(dut.running, 1)
        answers.append(await write(ctx, dut.s_axil, SIGNAL, 0x103))
        assert ctx.get(dut.signal.valid) and ctx.get(dut.signal.payload.sem) == 3

    simulate(testbench, stop)
    assert answers == [OKAY, SLVERR, OKAY]


def test_writing_one_clears_the_interrupt_and_setting_wins():
    values = []

    async def testbench(ctx, dut):
        offset = register_offset("IRQ")

        async def show():
            values.append((await read(ctx, dut.s_axil, offset))[0])

        ctx.set(dut.irq_set, 1)
        await ctx.tick()
        ctx.set(dut.irq_set, 0)
        await show()
        await write(ctx, dut.s_axil, offset, 0)
        await show()
        await write(ctx, dut.s_axil, offset, 1, strobe=0b1110)
        await show()
        await write(ctx, dut.s_axil, offset, 1)
        await show()
        ctx.set(dut.irq_set, 1)
        await write(ctx, dut.s_axil, offset, 1)
        ctx.set(dut.irq_set, 0)
        await show()

    simulate(testbench)
    assert values == [1, 1, 1, 0, 1]


def test_latencies_are_the_named_constants():
    async def testbench(ctx, dut):
        bus = dut.s_axil
        ctx.set(bus.awaddr, register_offset("CONTROL"))
        ctx.set(bus.wdata, 1)
        ctx.set(bus.wstrb, 15)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        await ctx.tick()
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        cycles = 1
        while not (await ctx.tick().sample(dut.control))[2]:
            cycles += 1
        assert cycles == WRITE_CYCLES + 1

        ctx.set(bus.arvalid, 1)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        cycles = 1
        while not (await ctx.tick().sample(bus.rvalid))[2]:
            cycles += 1
        assert cycles == READ_CYCLES

    simulate(testbench)


def test_random_traffic_matches_a_dictionary():
    rng = random.Random(20)
    reads = 0

    async def testbench(ctx, dut):
        nonlocal reads
        model = {register.offset: 0 for register in READ_WRITE}
        model |= {
            register_offset("IRQ_ENABLE"): 1,
            register_offset("WATCHDOG"): CONFIG.watchdog_cycles,
        }
        for _ in range(300):
            offset = rng.choice(list(model)) | rng.randrange(4)
            if rng.random() < 0.5:
                data, strobe = rng.getrandbits(32), rng.getrandbits(4)
                delays = {f"{c}_delay": rng.choice((0, 0, 1, 3)) for c in ("aw", "w", "b")}
                assert await write(ctx, dut.s_axil, offset, data, strobe, **delays) == OKAY
                mask = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1)
                word = offset & ~3
                model[word] = (model[word] & ~mask) | (data & mask)
            else:
                answer = await read(ctx, dut.s_axil, offset, r_delay=rng.choice((0, 0, 2)))
                assert answer == (model[offset & ~3], OKAY)
                reads += 1

    simulate(testbench)
    assert reads > 100
