"""VectorEngine whose registers without reset hold anything, as after a stop in any cycle."""

import random

import pytest

from verif.support.engine_fills import ENDS, check_fills_after
from verif.support.vector_bench import (
    CONFIG,
    VectorPlayer,
    check_vector,
    compute,
    random_program,
    random_state,
)

UNALIGNED = compute(dst=5, format="fp32", columns=4)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_depends_on_what_registers_without_reset_held(seed, end):
    """Random programs after a reset, and others after the first have come to their end."""
    rng = random.Random(f"scrambled {seed} {end}")
    check_fills_after(
        VectorPlayer,
        check_vector,
        random_state(seed=seed),
        [random_program(rng, CONFIG, 4) for _ in range(2)],
        end=end,
        fault=UNALIGNED,
        stop_at=rng.randrange(1, 200),
        stall=0.3 * (seed % 2),
    )
