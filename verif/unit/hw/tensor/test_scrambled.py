"""TensorEngine whose registers without reset hold anything, as after a stop in any cycle."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16
from tegula.isa.traps import Trap
from tegula.tensor.engine import TensorEngine
from verif.stimuli.operands import operands
from verif.support.scrambled import scrambled
from verif.support.tensor_bench import Run, matmul, random_passes

TINY = preset("tiny")
ENGINES = [scrambled(TensorEngine, seed) for seed in range(2)]
DEPTH = 8


@pytest.mark.parametrize("end", ["done", "stopped", "trapped"])
@pytest.mark.parametrize("seed", range(2))
def test_nothing_depends_on_what_registers_without_reset_held(seed, end):
    """Random programs after a reset, and others after the first have come to their end."""
    rng = np.random.default_rng((seed, len(end)))
    sbuf = operands(rng, (TINY.n, 64), BF16, "uniform_codes")
    program, _ = random_passes(rng, TINY, sbuf, 4, DEPTH)
    after, sums = random_passes(rng, TINY, sbuf, 4, DEPTH)
    if end == "trapped":
        program.append(matmul(0, 4, 4, DEPTH, 1))
    how = {"stop_at": int(rng.integers(1, 60)) if end == "stopped" else None, "after": after}
    runs = [
        Run(TINY, sbuf, program, DEPTH, engine=engine, **how) for engine in (TensorEngine, *ENGINES)
    ]
    for run in runs:
        assert (run.psum == sums.words()).all()
        assert run.traps == ([(Trap.PSUM_UNWRITTEN, 8, DEPTH)] if end == "trapped" else [])
        assert (run.cycles, run.signals) == (runs[0].cycles, runs[0].signals)
