"""FpAdd and FpMul against the golden addition and multiplication, bit for bit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_core import FpCore
from tegula.arith.fp_mul import FpMul
from tegula.formats import FP32
from tegula_golden.numerics.fp32 import add, multiply
from verif.stimuli.fp32 import (
    PRODUCT_KINDS,
    SUM_KINDS,
    addends,
    factors,
    special_pairs,
    specials,
)
from verif.support.fp_bench import SEED, check

VECTORS = 6000


@dataclass(frozen=True)
class Core:
    """A unit, what it computes, and where its operands come from: ``draw(rng, count, kind)``."""

    unit: type[FpCore]
    golden: Callable
    draw: Callable

    def check(self, a: np.ndarray, b: np.ndarray, keep: np.ndarray) -> None:
        """The result for each pair of patterns, or that of a where `keep`."""
        dut = self.unit()
        late = np.zeros(dut.KEPT_CYCLES, dtype=np.uint32)
        kept = np.concatenate([late, np.where(keep, a, 0)])
        a, b, keep = (np.concatenate([v, late.astype(v.dtype)]) for v in (a, b, keep))
        expected = np.where(keep, a, self.golden(a, b))
        normal = {f"{name}_normal": (v & FP32.infinity) != 0 for name, v in (("a", a), ("b", b))}
        check(dut, "result", expected, a=a, b=b, keep=keep, kept=kept, **normal)


SUM, PRODUCT = Core(FpAdd, add, addends), Core(FpMul, multiply, factors)
cores = pytest.mark.parametrize("core", [SUM, PRODUCT], ids=["sum", "product"])
KINDS = [(SUM, kind) for kind in SUM_KINDS] + [(PRODUCT, kind) for kind in PRODUCT_KINDS]


@pytest.mark.parametrize(
    ("core", "kind"), KINDS, ids=[f"{core.golden.__name__}-{kind}" for core, kind in KINDS]
)
def test_results_are_those_of_the_golden_model(core, kind):
    a, b = core.draw(np.random.default_rng(SEED), VECTORS, kind)
    core.check(a, b, np.zeros(VECTORS, dtype=bool))


@cores
def test_results_of_special_patterns(core):
    a, b = special_pairs()
    core.check(a, b, np.zeros(a.size, dtype=bool))


@cores
def test_what_is_kept_passes_unchanged_between_results(core):
    rng = np.random.default_rng(SEED)
    a, b = core.draw(rng, VECTORS, "any")
    a = np.concatenate([a, np.repeat(specials(), 20)])
    b = np.concatenate([b, np.resize(specials(), a.size - b.size)])
    core.check(a, b, rng.integers(0, 2, a.size) == 1)
