"""VectorEngine whose registers without reset hold anything, as after a stop in any cycle."""

import random

import pytest

from verif.support.engine_bench import Item, check_fills
from verif.support.vector_bench import (
    CONFIG,
    VectorPlayer,
    check_vector,
    compute,
    random_program,
    random_state,
)

UNALIGNED = compute(dst=5, format="fp32", columns=4)
ENDS = ("done", "stopped", "trapped")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_depends_on_what_registers_without_reset_held(seed, end):
    """Random programs after a reset, and others after the first have come to their end."""
    rng = random.Random(f"scrambled {seed} {end}")
    state = random_state(seed=seed)
    program = random_program(rng, CONFIG, 4)
    after = [Item(item.mnemonic, item.fields) for item in random_program(rng, CONFIG, 4)]
    if end == "trapped":
        program.append(UNALIGNED)
    stop_at = rng.randrange(1, 200) if end == "stopped" else None
    how = {"stall": 0.3 * (seed % 2), "stop_at": stop_at, "after": after}
    seen = check_fills(VectorPlayer, program, state, **how)
    assert seen.writes
    assert len(seen.traps) == (end == "trapped")
    if end != "stopped":
        check_vector(program, state, **how)
