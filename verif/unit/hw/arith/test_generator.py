"""Generator against the golden generators: draws, loads, rotations, and any order of them."""

import numpy as np
import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from tegula.arith.generator import Generator
from tegula.xor128 import MAX_SEED, stream_states
from tegula_golden.numerics.generator import Generators

MOVEMENTS = ("step", "load", "rotate")
SEED = 11


def run(cycles, state):
    """Inputs of each of `cycles`: pairs of a movement and a word; None where nothing moves.

    The movement "reset" is a cycle with the reset of the clock domain active.
    """
    generator = Generator(state)
    reset = Signal()
    numbers = []

    async def testbench(ctx):
        for movement, word in cycles:
            ctx.set(generator.moves, movement in MOVEMENTS)
            for name in ("step", "load"):
                ctx.set(getattr(generator, name), name == movement)
            ctx.set(reset, movement == "reset")
            ctx.set(generator.word, word)
            *_, number = await ctx.tick().sample(generator.number)
            numbers.append(number if movement in MOVEMENTS else None)

    sim = Simulator(ResetInserter(reset)(generator))
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    return numbers


def expected(cycles, state):
    """The same by the golden generators."""
    start = np.array([state], dtype=np.uint32)
    golden = Generators(1)
    golden.set_state(start)
    numbers = []
    for movement, word in cycles:
        if movement == "step":
            numbers.append(int(golden.draw(1)[0, 0]))
            continue
        x, *rest = (int(each) for each in golden.state[0])
        entering = {"load": word, "rotate": x}.get(movement)
        numbers.append(entering)
        if movement == "reset":
            golden.set_state(start)
        elif entering is not None:
            golden.set_state(np.array([[*rest, entering]], dtype=np.uint32))
    return numbers


def steps(count):
    """So many draws, with a word on the port that must not matter."""
    return [("step", 0xFFFF_FFFF)] * count


def loads(state):
    """Four loads, x first."""
    return [("load", word) for word in state]


ROTATIONS = [("rotate", 0xFFFF_FFFF)] * 4


@pytest.mark.parametrize(("seed", "lane"), [(0, 0), (0, 31), (1, 0), (MAX_SEED, 31)])
def test_it_draws_the_stream_of_its_reset_state(seed, lane):
    drawn = run(steps(3000), stream_states(seed, 32)[lane])
    assert drawn == Generators(32, seed).draw(3000)[lane].tolist()


def test_each_bit_of_the_state_has_its_effect():
    """The step is linear: with all of the 128 bits by themselves, the map is known."""
    states = [
        tuple((1 << bit) >> 32 * word & 0xFFFF_FFFF for word in range(4)) for bit in range(128)
    ]
    cycles = [cycle for state in states for cycle in (*loads(state), *steps(6))]
    assert len(cycles) == 1280
    assert run(cycles, stream_states(0, 1)[0]) == expected(cycles, stream_states(0, 1)[0])


def test_four_loads_set_a_state():
    state = stream_states(5, 1)[0]
    numbers = run([*steps(3), *loads(state), *steps(100)], stream_states(0, 1)[0])
    assert numbers[3:7] == list(state)
    assert numbers[7:] == Generators(1, 5).draw(100)[0].tolist()


def test_four_rotations_show_the_state_and_leave_it():
    golden = Generators(1, 5)
    numbers = run([*steps(9), *ROTATIONS, *ROTATIONS, *steps(100)], stream_states(5, 1)[0])
    assert numbers[:9] == golden.draw(9)[0].tolist()
    assert numbers[9:13] == numbers[13:17] == golden.state[0].tolist()
    assert numbers[17:] == golden.draw(100)[0].tolist()


def test_a_saved_state_continues_after_a_load():
    start = stream_states(5, 1)[0]
    first = run([*steps(50), *ROTATIONS, *steps(50)], start)
    assert run([*loads(first[50:54]), *steps(50)], stream_states(0, 1)[0])[4:] == first[54:]


def test_nothing_moves_unless_told_to():
    cycles = [cycle for step in steps(200) for cycle in (step, (None, 0x1234_5678), (None, 0))]
    drawn = run(cycles, stream_states(5, 1)[0])
    assert drawn[::3] == Generators(1, 5).draw(200)[0].tolist()


def test_a_reset_starts_the_stream_again():
    cycles = [*steps(20), ("reset", 0), *steps(20), *loads((1, 2, 3, 4)), ("reset", 0), *steps(20)]
    drawn = run(cycles, stream_states(0, 4)[3])
    assert drawn[:20] == drawn[21:41] == drawn[46:]
    assert drawn[:20] == Generators(4).draw(20)[3].tolist()


def test_zeros_stay_zeros():
    assert not any(run([*loads((0, 0, 0, 0)), *steps(20)], stream_states(0, 1)[0]))


def test_any_order_of_movements():
    rng = np.random.default_rng(SEED)
    kinds = rng.choice([*MOVEMENTS, "none", "reset"], p=(0.6, 0.15, 0.15, 0.095, 0.005), size=6000)
    words = rng.integers(0, 1 << 32, size=kinds.size)
    cycles = list(zip(kinds.tolist(), words.tolist(), strict=True))
    state = stream_states(SEED, 2)[1]
    numbers = run(cycles, state)
    assert sum(number is not None for number in numbers) > 5000
    assert numbers == expected(cycles, state)
