"""Front end whose registers without reset hold anything, as after a stop in any cycle."""

import random

import pytest

from tegula.config import preset
from tegula.control.front_end import Control
from tegula.isa.instructions import ENGINES
from tegula.isa.registers import CONTROL_ABORT
from tegula.isa.traps import Trap
from verif.support.control_bench import DONE, HALT, NO_TRAP, PROGRAM, TRAPPED, ControlBench
from verif.support.control_programs import assert_waits_held, random_program
from verif.support.scrambled import scrambled

CONFIG = preset("tiny")
FRONT_ENDS = [scrambled(Control, seed) for seed in range(2)]
ILLEGAL_OPCODE = (0x77).to_bytes(16, "little")
TRAPS = (Trap.NONE, Trap.ABORTED, Trap.ILLEGAL_OPCODE, Trap.BUS_SLVERR, Trap.SBUF_RANGE)


async def run_program(bench, rng, trap):
    """Run a random program that ends with `trap`; the outcome, and its events.

    Events of one cycle are in an order that the simulator chooses, so they are sorted.
    """
    words, order = random_program(rng, CONFIG, 20)
    image, meanwhile = [word for _, _, word in words], None
    if trap == Trap.ILLEGAL_OPCODE:
        image.insert(rng.randrange(len(image)), ILLEGAL_OPCODE)
    elif trap == Trap.SBUF_RANGE:
        engine = rng.choice([engine for engine in ENGINES if order[engine]])
        bench.engines[engine].traps = {rng.choice(order[engine]): (trap, rng.getrandbits(20))}
    elif trap == Trap.BUS_SLVERR:
        bench.errors = {PROGRAM + 16 * rng.randrange(len(image)): 2}
    elif trap == Trap.ABORTED:
        cycles = rng.randrange(5, 50)

        async def meanwhile():
            for _ in range(cycles):
                await bench.tick()
            await bench.write("CONTROL", CONTROL_ABORT)

    outcome = await bench.run([*image, HALT], meanwhile=meanwhile, budget=6000, watchdog=1000)
    bench.errors = {}
    for engine in bench.engines.values():
        engine.traps = {}
    if trap == Trap.NONE:
        assert (outcome.status, outcome.trap) == (DONE, NO_TRAP)
        assert outcome.accepted == order
        assert_waits_held(bench.events, words)
    else:
        assert (outcome.status, outcome.trap[0]) == (TRAPPED, trap)
    return outcome, sorted(bench.events)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name.lower())
def test_nothing_depends_on_what_registers_without_reset_held(trap):
    """Random programs after a reset, and others after the first have come to their end."""

    def run(front_end):
        rng, seen = random.Random(f"scrambled {trap.name}"), []

        async def scenario(bench):
            seen.extend([await run_program(bench, rng, ends) for ends in (trap, Trap.NONE)])

        ControlBench(CONFIG, scenario, seed=9, stall=0.3, latency=7, front_end=front_end)
        assert len(seen) == 2
        return seen

    usual = run(Control)
    for front_end in FRONT_ENDS:
        assert run(front_end) == usual
