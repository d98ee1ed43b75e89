"""ActivationEngine whose registers without reset hold anything, as after a stop in any cycle."""

import random

import pytest

from verif.support.activation_bench import (
    ActivationPlayer,
    apply,
    check_activation,
    random_program,
    random_state,
)
from verif.support.engine_fills import ENDS, check_fills_after

UNALIGNED = apply(dst=301, format="fp32", columns=4)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_depends_on_what_registers_without_reset_held(seed, end):
    """Random programs after a reset, and others after the first have come to their end."""
    rng = random.Random(f"scrambled {seed} {end}")
    check_fills_after(
        ActivationPlayer,
        check_activation,
        random_state(seed),
        [random_program(rng, 4) for _ in range(2)],
        end=end,
        fault=UNALIGNED,
        # From the loads of the table on, which take 130 cycles, to the last columns.
        stop_at=rng.randrange(1, 400),
        stall=0.3 * (seed % 2),
    )
