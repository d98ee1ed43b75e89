"""FpAdd against the golden addition, bit for bit."""

import numpy as np
import pytest

from tegula.arith.fp_add import FpAdd
from tegula_golden.numerics.fp32 import add
from verif.stimuli.fp32 import SUM_KINDS, addends, special_pairs, specials
from verif.support.fp_bench import SEED, check_core

VECTORS = 6000


def check_sums(a, b, keep):
    check_core(FpAdd(), "sum", add, a, b, keep)


@pytest.mark.parametrize("kind", SUM_KINDS)
def test_sums_are_those_of_the_golden_model(kind):
    a, b = addends(np.random.default_rng(SEED), VECTORS, kind)
    check_sums(a, b, np.zeros(VECTORS, dtype=bool))


def test_sums_of_special_patterns():
    a, b = special_pairs()
    check_sums(a, b, np.zeros(a.size, dtype=bool))


def test_what_is_kept_passes_unchanged_between_sums():
    rng = np.random.default_rng(SEED)
    a, b = addends(rng, VECTORS, "any")
    a = np.concatenate([a, np.repeat(specials(), 20)])
    b = np.concatenate([b, np.resize(specials(), a.size - b.size)])
    check_sums(a, b, rng.integers(0, 2, a.size) == 1)
