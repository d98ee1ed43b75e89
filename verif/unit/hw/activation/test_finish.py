"""Finish against step 6 of section 5.5: exact fractions, rounded once."""

import random
from fractions import Fraction

from tegula.activation.cubic import VALUE_BITS
from tegula.activation.finish import Finish
from tegula.formats import FP32
from verif.oracles.numerics import round_value, value
from verif.support.unit_bench import stream_through

SEED = 23
_QUIET_NAN = 0x7FC0_0000
_NO_ENTRY = {"c1": 0, "c2": 0, "c3": 0, "exponent": 0}


def results(cases):
    """The pattern for each (h, exponent, constant pattern or None, flip, nan), by simulation."""
    inputs = []
    for h, exponent, constant, flip, nan in cases:
        pattern = 0x7F80_0001 if constant is None else constant
        c0 = pattern - (pattern >> 31 << 32)
        segment = {"entry": _NO_ENTRY | {"c0": c0}, "exponent": exponent, "nan": nan}
        segment |= {"constant": constant is not None, "flip": flip, "fraction": 0, "n": 0, "log": 0}
        inputs.append({"segment": segment, "value": h})
    return stream_through(Finish(), inputs, "result", Finish.LATENCY)


def expected(h, exponent, constant, flip, nan):
    if nan or (constant is not None and value(constant, FP32) == "nan"):
        return _QUIET_NAN
    if constant is not None:
        return constant ^ flip << 31
    magnitude = min(round_value(abs(h) * Fraction(2) ** (exponent - 30), FP32), FP32.infinity)
    return ((h < 0) ^ flip) << 31 | magnitude


def check(cases):
    for case, actual in zip(cases, results(cases), strict=True):
        assert actual == expected(*case), case


def a_value(rng):
    """A value of any length, often with a tie or next to one."""
    bits = rng.randrange(1, VALUE_BITS)
    magnitude = rng.getrandbits(bits) | 1 << bits - 1
    if bits > 25 and rng.random() < 0.5:
        magnitude &= -1 << bits - 25
        magnitude |= 1 << bits - 25
        magnitude += rng.randint(-1, 1)
    return rng.choice((-1, 1)) * min(magnitude, (1 << VALUE_BITS - 1) - 1)


def test_values_are_rounded_once_with_subnormals_and_overflow():
    rng = random.Random(SEED)
    near = [range(-190, -100), range(80, 140), range(-30, 30), range(-768, 768)]
    cases = [
        (a_value(rng), rng.choice(rng.choice(near)), None, rng.randrange(2), 0) for _ in range(2500)
    ]
    check(cases)
    magnitudes = [expected(*case) & 0x7FFF_FFFF for case in cases]
    subnormal = sum(0 < magnitude < 0x80_0000 for magnitude in magnitudes)
    assert subnormal > 50
    assert magnitudes.count(0) > 50
    assert magnitudes.count(FP32.infinity) > 50


def test_the_last_bit_of_a_value_decides_a_tie_of_subnormals():
    cases = []
    for right in range(24):
        tie = 1 << 15 + right
        lower = [0, *(1 << bit for bit in range(15 + right))]
        values = [times * tie + low for times in (1, 3) for low in lower]
        cases += [(sign * h, -135 - right, None, 0, 0) for h in values for sign in (1, -1)]
    check(cases)


def test_zero_has_the_sign_of_an_odd_function():
    check([(0, exponent, None, flip, 0) for exponent in (-1024, 0, 1023) for flip in (0, 1)])


def test_exponents_far_beyond_fp32_are_infinite_or_zero():
    ends = (1, -1, (1 << VALUE_BITS - 1) - 1, -(1 << VALUE_BITS - 1))
    check([(h, e, None, 0, 0) for h in ends for e in (-2048, -1024, -500, 500, 1023, 2047)])


def test_constants_keep_their_bits_and_nans_are_quiet():
    patterns = (0, 1 << 31, 0x3F80_0000, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0xFFFF_FFFF, 0x12)
    check([(a, 0, p, flip, 0) for p in patterns for flip in (0, 1) for a in (0, 77, -77)])
    check([(5, 0, constant, flip, 1) for constant in (None, 0x3F80_0000) for flip in (0, 1)])
