"""An engine's queue: order, capacity, and the wait at its head."""

import random
from collections import deque
from functools import partial

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from tegula.config import preset
from tegula.control.queues import WAIT_CYCLES, EngineQueue
from tegula.control.semaphores import SemaphoreFile
from tegula.engine.interface import SEQUENCE_BITS, SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.isa.instructions import GRANULE_BITS, PC_BITS, Engine
from verif.support import unit_bench

CONFIG = preset("tiny")
MASK = (1 << GRANULE_BITS) - 1
MARK = 0x5A << 90


def simulate(testbench, engine=Engine.TENSOR):
    dut = EngineQueue(CONFIG, engine)
    unit_bench.simulate(dut, partial(testbench, dut=dut))


def store(ctx, dut, pc, granule=0, *, waits=0, sem=0, value=0, consume=0):
    """Offer a granule of the instruction that is dispatched next."""
    bits = waits << 8 | consume << 9 | sem << 10 | value << 15 | (pc * 0x1_0001) << 48
    ctx.set(dut.part.bits, (bits, MARK + pc)[granule > 0] & ((1 << GRANULE_BITS) - 1))
    ctx.set(dut.part.pc, pc)
    ctx.set(dut.part.store, 1 << granule)


def place(number):
    """What an instruction carries whose position and whose number in its queue are the same."""
    return number | number % (1 << SEQUENCE_BITS) << PC_BITS


async def offer(ctx, dut, pc, **fields):
    """Store an instruction, and offer its dispatch."""
    store(ctx, dut, pc, **fields)
    await ctx.tick()
    ctx.set(dut.part.store, 0)
    ctx.set(dut.dispatch.valid, 1)


@pytest.mark.parametrize("engine", [Engine.TENSOR, Engine.STORE])
@pytest.mark.parametrize("seed", range(3))
def test_instructions_leave_in_order_each_after_its_wait(engine, seed):
    rng = random.Random(seed)
    delivered = []
    granules = 4 if engine == Engine.STORE else 1

    async def testbench(ctx, dut):
        # Instructions inside, the number of granules stored of the next, and its fields.
        inside, sent, stored, offered = deque(), 0, 0, None
        over = popped = False
        for _ in range(6000):
            if offered is None:
                offered = {"waits": rng.randrange(2), "sem": rng.randrange(16)}
                offered |= {"value": rng.randrange(4096), "consume": rng.randrange(2)}
            ctx.set(dut.part.store, 0)
            stores = stored < granules and rng.random() < 0.9
            if stores:
                store(ctx, dut, sent, stored, **offered)
            offers = stored == granules
            ctx.set(dut.dispatch.valid, offers)
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
                dut.head_tag,
                dut.head_sem,
            )
            accepted, valid, ready, instr, wants, wait, empty, waiting, pc, sem = sample[2:]
            assert empty == (not inside)
            assert accepted == (len(inside) + popped < CONFIG.queue_depth)
            popped = valid and ready
            assert waiting == wants
            stored += stores
            if offers and accepted:
                inside.append((sent, offered))
                sent, stored, offered = sent + 1, 0, None
            if wants:
                first_pc, first = inside[0]
                assert first["waits"] and not over
                assert (pc, sem) == (place(first_pc), first["sem"])
                assert {name: wait[name] for name in ("sem", "value", "consume")} == {
                    name: first[name] for name in ("sem", "value", "consume")
                }
                over = bool(grant)
            # What is dispatched, and what has just ended its wait, is offered in the same cycle.
            assert valid == bool(inside and (over or not inside[0][1]["waits"]))
            if valid:
                first_pc, _ = inside[0]
                assert instr.pc == place(first_pc)
                assert instr.payload & 0xFFFF_FFFF == first_pc * 0x1_0001
                if granules > 1:
                    assert instr.payload >> 80 & MASK == MARK + first_pc
                    assert instr.payload >> 208 == MARK + first_pc
                if ready:
                    delivered.append(first_pc)
                    inside.popleft()
                    over = False

    simulate(testbench, engine)
    assert delivered == list(range(len(delivered)))
    assert len(delivered) > 700


def test_it_holds_exactly_its_depth_with_the_waiting_head():
    accepted = 0

    async def testbench(ctx, dut):
        nonlocal accepted
        ctx.set(dut.instr.ready, 1)
        await offer(ctx, dut, 0, waits=1)
        store(ctx, dut, 0, waits=1)
        for _ in range(3 * CONFIG.queue_depth):
            accepted += (await ctx.tick().sample(dut.dispatch.ready))[2]

    simulate(testbench)
    assert accepted == CONFIG.queue_depth


def test_it_moves_an_instruction_a_cycle_without_latency():
    arrivals = []

    async def testbench(ctx, dut):
        ctx.set(dut.instr.ready, 1)
        for cycle in range(40):
            # Stored in the cycle in which the instruction before it is dispatched.
            store(ctx, dut, cycle)
            ctx.set(dut.dispatch.valid, cycle > 0)
            _, _, valid, instr = await ctx.tick().sample(dut.instr.valid, dut.instr.payload)
            if valid:
                arrivals.append((cycle, instr.pc))

    simulate(testbench)
    assert arrivals == [(cycle, place(cycle - 1)) for cycle in range(1, 40)]


@pytest.mark.parametrize("satisfied", [0, 1])
def test_an_instruction_that_waits_takes_its_cycles_and_leaves_as_the_wait_ends(satisfied):
    """The queue with the semaphores behind it: from dispatch, or from the last signal."""
    cycles = []

    async def testbench(ctx, dut):
        ctx.set(dut.queue.instr.ready, 1)
        for _ in range(CONFIG.semaphores + 2):
            await ctx.tick()
        signal = dut.semaphores.signals[0]
        for turn in range(3):
            ctx.set(signal.payload, {"sem": 5, "value": 2})
            ctx.set(signal.valid, satisfied)
            await offer(ctx, dut.queue, turn, waits=1, sem=5, value=2, consume=1)
            ctx.set(signal.valid, 0)
            if satisfied:
                ctx.set(dut.queue.dispatch.valid, 0)
                await ctx.tick().repeat(5)
                ctx.set(dut.queue.dispatch.valid, 1)
            else:
                await ctx.tick()
                ctx.set(dut.queue.dispatch.valid, 0)
                await ctx.tick().repeat(9 + turn)
                ctx.set(signal.valid, 1)
            cycle = 0
            while not (await ctx.tick().sample(dut.queue.instr.valid))[2]:
                ctx.set(dut.queue.dispatch.valid, 0)
                ctx.set(signal.valid, 0)
                cycle += 1
            cycles.append(cycle)
            await ctx.tick().repeat(2)

    unit_bench.simulate(dut := QueueAndSemaphores(), partial(testbench, dut=dut))
    assert cycles == [WAIT_CYCLES if satisfied else SIGNAL_TO_INSTRUCTION_CYCLES - 1] * 3


class QueueAndSemaphores(wiring.Component):
    """A queue at its port of the semaphores."""

    def __init__(self):
        self.queue = EngineQueue(CONFIG, Engine.VECTOR)
        self.semaphores = SemaphoreFile(CONFIG)
        super().__init__({})

    def elaborate(self, platform):
        """One connection."""
        m = Module()
        m.submodules.queue, m.submodules.semaphores = self.queue, self.semaphores
        wiring.connect(m, self.queue.wait, self.semaphores.waits[1])
        return m


def test_clear_drops_everything_also_a_wait_that_is_over():
    async def testbench(ctx, dut):
        await offer(ctx, dut, 1, waits=1)
        store(ctx, dut, 2)
        await ctx.tick()
        ctx.set(dut.part.store, 0)
        ctx.set(dut.wait.ready, 1)
        await ctx.tick()
        ctx.set(dut.wait.ready, 0)
        ctx.set(dut.dispatch.valid, 0)
        assert ctx.get(dut.instr.valid)
        ctx.set(dut.clear, 1)
        assert not ctx.get(dut.instr.valid)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert ctx.get(dut.empty) and not ctx.get(dut.instr.valid)
        await offer(ctx, dut, 9, waits=1)
        await ctx.tick()
        ctx.set(dut.dispatch.valid, 0)
        assert ctx.get(dut.waiting) and ctx.get(dut.head_tag) == 9

    simulate(testbench)
