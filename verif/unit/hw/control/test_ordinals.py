"""Numbers of instructions that trap, as the front end records them."""

import random

import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.traps import Trap
from verif.support.control_bench import DONE, HALT, ControlBench, run_good_program, sync

TENSOR, VECTOR, ACTIVATION, LOAD, STORE = ENGINES
TINY = preset("tiny")
DEEP = preset("tiny", queue_depth=64)


async def trap_in(bench, words, engine, pc, execution, **options):
    """Run a program whose engine traps at the given execution of `pc`; the ordinal."""
    model, left = bench.engines[engine], execution
    accept = model.accept

    def count(item):
        nonlocal left
        if item.pc == pc:
            if left == 0:
                model.traps = {pc: (Trap.SBUF_RANGE, 7)}
            left -= 1
        accept(item)

    model.accept = count
    outcome = await bench.run(words, **options)
    model.accept, model.traps = accept, {}
    assert outcome.trap == (Trap.SBUF_RANGE, engine, 16 * pc, 7)
    return outcome.registers["TRAP_ORDINAL"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("config", [TINY, DEEP], ids=["tiny", "deep"])
def test_an_engines_trap_has_the_number_of_its_execution(engine, config):
    """The engine holds two instructions and its queue more: those behind the trap do not count."""
    other = LOAD if engine != LOAD else STORE
    found = []

    async def scenario(bench):
        bench.engines[engine].durations = (3,)
        for execution in (0, 1, 2, 84, 85, 86, 120):
            words = [
                sync(config, engine),
                encode("control.loop", count=140),
                sync(config, other),
                sync(config, engine),
                sync(config, engine),
                sync(config, engine),
                encode("control.end"),
                HALT,
            ]
            # The two instructions that the engine has at a time are two of the body.
            ordinal = await trap_in(bench, words, engine, 5, execution, budget=30_000)
            found.append(ordinal - (1 + 3 * execution + 2))
            await run_good_program(bench)

    ControlBench(config, scenario, seed=1)
    assert found == [0] * 7


def test_controls_trap_has_the_number_of_instructions_of_control():
    async def scenario(bench):
        text = (
            "load.sync\ncontrol.loop count=3\ncontrol.add register=1 source=1 value=1\n"
            "control.end\nload.sync\ncontrol.end\nhalt"
        )
        outcome = await bench.run([assemble(text)])
        assert outcome.trap == (Trap.LOOP_NESTING, Engine.CONTROL, 80, 0)
        assert outcome.registers["TRAP_ORDINAL"] == 1 + 3 * 2
        outcome = await bench.run([sync(TINY, LOAD), encode("control.add", register=1), HALT[:8]])
        assert outcome.registers["TRAP_ORDINAL"] == 0  # the program has half a granule: not begun
        outcome = await bench.run([encode("control.add", register=1), sync(TINY, LOAD)])
        assert outcome.trap[0] == Trap.PROGRAM_END
        assert outcome.registers["TRAP_ORDINAL"] == 1
        waits = encode("control.read", mem_addr=0, register=1, wait=1, wait_sem=1, wait_value=1)
        outcome = await bench.run([encode("control.add", register=1), waits, HALT])
        assert outcome.trap == (Trap.DEADLOCK, Engine.CONTROL, 16, 1)
        assert outcome.registers["TRAP_ORDINAL"] == 1

    ControlBench(TINY, scenario)


def test_a_deadlock_has_the_number_of_the_wait():
    async def scenario(bench):
        for count in (1, 5, 300):
            words = [
                encode("control.loop", count=count),
                sync(TINY, VECTOR),
                sync(TINY, STORE),
                encode("control.end"),
                sync(TINY, STORE, wait=(1, 1)),
                sync(TINY, STORE),
                HALT,
            ]
            outcome = await bench.run(words, budget=20_000)
            assert outcome.trap == (Trap.DEADLOCK, STORE, 64, 1)
            assert outcome.registers["TRAP_ORDINAL"] == count

    ControlBench(TINY, scenario)


def test_what_is_no_instructions_trap_has_number_0():
    async def scenario(bench):
        rng = random.Random(1)
        words = [sync(TINY, rng.choice(ENGINES)) for _ in range(20)]
        signals = [sync(TINY, STORE, signal=(6, 255))] * 17
        outcome = await bench.run([*words, *signals, HALT])
        assert outcome.trap == (Trap.SEMAPHORE_OVERFLOW, STORE, 0, 6)
        assert outcome.registers["TRAP_ORDINAL"] == 0

        async def abort():
            for _ in range(60):
                await bench.tick()
            await bench.write("CONTROL", 2)

        bench.engines[LOAD].durations = (300,)
        waiting = [encode("control.add", register=1), *words, sync(TINY, LOAD), HALT]
        outcome = await bench.run(waiting, meanwhile=abort)
        assert outcome.trap == (Trap.ABORTED, Engine.CONTROL, 0, 0)
        assert outcome.registers["TRAP_ORDINAL"] == 0
        outcome = await bench.run([*words, HALT])
        assert outcome.status == DONE and outcome.registers["TRAP_ORDINAL"] == 0

    ControlBench(TINY, scenario)
