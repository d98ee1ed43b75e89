"""Detection of a tile that is idle or deadlocked."""

from functools import partial

import pytest

from tegula.config import preset
from tegula.control.watchdog import QUIET_CYCLES, STOPPED_CYCLES, Progress
from tegula.isa.instructions import ENGINES, Engine
from verif.support import unit_bench

WAITERS = (*ENGINES, Engine.CONTROL)
ALL = (1 << len(ENGINES)) - 1


def simulate(testbench):
    dut = Progress(preset("tiny"))
    unit_bench.simulate(dut, partial(testbench, dut=dut))


def drive(ctx, dut, **values):
    for name, value in values.items():
        ctx.set(getattr(dut, name), value)


async def cycles_until(ctx, signal, limit=300):
    """Cycles until `signal` is high; None if that is not within `limit`."""
    for cycle in range(limit):
        if ctx.get(signal):
            return cycle
        await ctx.tick()
    return None


@pytest.mark.parametrize(("stopping", "cycles"), [(0, 1), (1, STOPPED_CYCLES)])
def test_drained_takes_all_engines_and_queues_for_its_cycles(stopping, cycles):
    async def testbench(ctx, dut):
        drive(ctx, dut, run=1, idle=ALL, empty=ALL, others=1, stopping=stopping)
        assert await cycles_until(ctx, dut.drained) == cycles
        for i in range(len(ENGINES)):
            for name in ("idle", "empty"):
                drive(ctx, dut, **{name: ALL & ~(1 << i)})
                await ctx.tick()
                assert not ctx.get(dut.drained)
                assert await cycles_until(ctx, dut.drained, 20) is None
                drive(ctx, dut, **{name: ALL})
                assert await cycles_until(ctx, dut.drained) == cycles
        for name in ("run", "others"):
            drive(ctx, dut, **{name: 0})
            await ctx.tick()
            assert not ctx.get(dut.drained)
            drive(ctx, dut, **{name: 1})
            assert await cycles_until(ctx, dut.drained) == cycles

    simulate(testbench)


@pytest.mark.parametrize("limit", [0, QUIET_CYCLES, 100])
@pytest.mark.parametrize("waiting", [0b0001, 0b0110, 0b1000, 0b1111, 0b11_0000, 0b10_0000])
def test_deadlock_names_the_first_engine_that_waits_after_the_limit(limit, waiting):
    async def testbench(ctx, dut):
        drive(ctx, dut, run=1, idle=ALL, waiting=waiting, empty=ALL & ~waiting, stuck=1)
        drive(ctx, dut, limit=limit)
        for i in range(len(WAITERS)):
            ctx.set(dut.head_tag[i], 100 + i)
            ctx.set(dut.head_sem[i], 3 + i)
        quiet = await cycles_until(ctx, dut.quiet)
        assert quiet == QUIET_CYCLES
        cycles = quiet + await cycles_until(ctx, dut.deadlock)
        assert cycles == max(QUIET_CYCLES + 1, limit + 2)
        first = (waiting & -waiting).bit_length() - 1
        assert ctx.get(dut.deadlock_engine) == WAITERS[first]
        assert ctx.get(dut.deadlock_tag) == 100 + first
        assert ctx.get(dut.deadlock_sem) == 3 + first

    simulate(testbench)


@pytest.mark.parametrize("name", ["idle", "stuck", "waiting", "run", "signalled"])
def test_anything_that_moves_begins_the_count_anew(name):
    async def testbench(ctx, dut):
        still = {"run": 1, "idle": ALL, "waiting": 2, "empty": ALL & ~2, "stuck": 1}
        drive(ctx, dut, limit=50, **still)
        for _ in range(10):
            for _ in range(45):
                await ctx.tick()
                assert not ctx.get(dut.deadlock)
            drive(ctx, dut, **{name: int(name == "signalled")})
            await ctx.tick()
            drive(ctx, dut, **{name: still.get(name, 0)})
            await ctx.tick()
            assert not ctx.get(dut.quiet)
        # All but the last begin it by a register.
        assert await cycles_until(ctx, dut.deadlock) == 52 - 1 - (name == "signalled")

    simulate(testbench)


def test_rest_without_a_wait_is_no_deadlock():
    async def testbench(ctx, dut):
        drive(ctx, dut, run=1, idle=ALL, empty=ALL, stuck=1, limit=20)
        assert await cycles_until(ctx, dut.quiet) == QUIET_CYCLES
        assert await cycles_until(ctx, dut.deadlock, 100) is None

    simulate(testbench)
