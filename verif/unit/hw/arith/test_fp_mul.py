"""FpMul against the golden multiplication, bit for bit."""

import numpy as np
import pytest

from tegula.arith.fp_mul import FpMul
from tegula_golden.numerics.fp32 import multiply
from verif.stimuli.fp32 import PRODUCT_KINDS, factors, special_pairs, specials
from verif.support.fp_bench import SEED, check_core

VECTORS = 6000


def check_products(a, b, keep):
    check_core(FpMul(), "product", multiply, a, b, keep)


@pytest.mark.parametrize("kind", PRODUCT_KINDS)
def test_products_are_those_of_the_golden_model(kind):
    a, b = factors(np.random.default_rng(SEED), VECTORS, kind)
    check_products(a, b, np.zeros(VECTORS, dtype=bool))


def test_products_of_special_patterns():
    a, b = special_pairs()
    check_products(a, b, np.zeros(a.size, dtype=bool))


def test_what_is_kept_passes_unchanged_between_products():
    rng = np.random.default_rng(SEED)
    a, b = factors(rng, VECTORS, "any")
    a = np.concatenate([a, np.repeat(specials(), 20)])
    b = np.concatenate([b, np.resize(specials(), a.size - b.size)])
    check_products(a, b, rng.integers(0, 2, a.size) == 1)
