"""Argument against step 2 of section 5.5, in plain Python, on hard arguments by both reductions."""

from fractions import Fraction

import numpy as np
import pytest

from tegula.activation.range_reduction import Argument
from tegula.formats import FP32
from verif.oracles.numerics import value
from verif.stimuli.functions import arguments
from verif.support.unit_bench import stream_through

SEED = 21
_LOG2_E = 0xB_8AA3_B296


def taken_apart(cases):
    """(negative, zero, infinite, nan, n, t) of each (z, exp, odd), by simulation."""
    dut = Argument()
    inputs = [dict(zip(("z", "exp", "odd"), case, strict=True)) for case in cases]
    return [
        (a.negative, a.zero, a.infinite, a.nan, a.n, a.t)
        for a in stream_through(dut, inputs, "argument", Argument.LATENCY)
    ]


def expected(z, exp, odd):
    """The same; n and t of a NaN, which mean nothing, are None."""
    number = value(z, FP32)
    flags = z >> 31, number == 0, isinstance(number, str) and number != "nan", number == "nan"
    if number == "nan":
        return *flags, None, None
    if number == 0 or isinstance(number, str):
        return *flags, 0, 0
    magnitude, n = abs(number), 127
    while magnitude < Fraction(2) ** n:
        n -= 1
    fraction = (magnitude / Fraction(2) ** n - 1) * 2**23
    assert fraction.denominator == 1
    if not exp:
        return *flags, n, int(fraction) << 9
    below = number < 0 and not odd
    if n >= 8:
        return *flags, -512 if below else 511, 0
    exact = (2**23 + fraction) * _LOG2_E * Fraction(2) ** (n - 28)
    units = exact.numerator // exact.denominator
    units = -units if below else units
    return *flags, units >> 30, units % 2**30 << 2


def check(cases):
    for case, actual in zip(cases, taken_apart(cases), strict=True):
        wanted = expected(*case)
        if wanted[-1] is None:
            actual = (*actual[:4], None, None)
        assert actual == wanted, f"z = {case[0]:#010x}, exp = {case[1]}, odd = {case[2]}"


@pytest.mark.parametrize("exp", [0, 1], ids=["float", "exp"])
def test_hard_arguments_one_a_cycle(exp):
    rng = np.random.default_rng(SEED)
    z = rng.permutation(arguments(rng, 1500)).tolist()
    check([(pattern, exp, pattern >> 7 & 1) for pattern in z])


def test_reductions_take_turns():
    rng = np.random.default_rng(SEED + 1)
    z = rng.permutation(arguments(rng, 600)).tolist()
    check([(pattern, *rng.integers(0, 2, 2).tolist()) for pattern in z])


def test_every_exponent_and_every_place_of_a_subnormals_leading_one():
    magnitudes = [field << 23 | fraction for field in range(255) for fraction in (0, 0x7F_FFFF)]
    magnitudes += [(1 << place) + below for place in range(23) for below in (0, (1 << place) - 1)]
    for exp in (0, 1):
        check([(pattern | sign << 31, exp, 0) for pattern in magnitudes for sign in (0, 1)])
