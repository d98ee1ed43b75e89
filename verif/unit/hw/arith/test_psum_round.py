"""PsumRound against exact rational arithmetic, rounded on integers."""

import random

import pytest

from tegula.arith.psum_round import PsumRound
from verif.support.unit_bench import stream_through

WIDTHS = (32, 33, 40, 56, 57, 58, 63, 64)
ANCHORS = (0, *range(2, 512))
SEED = 20240607


def reference(anchor, significand, width):
    """fp32 bits of a PSUM word, from the contract: integers only."""
    if anchor >= 509:
        return {509: 0x7F80_0000, 510: 0xFF80_0000, 511: 0x7FC0_0000}[anchor]
    sign = 0x8000_0000 if significand < 0 else 0
    magnitude = abs(significand)
    if magnitude == 0:
        return 0
    exponent = anchor - 239 - width  # of the lsb of m
    ulp = max(exponent + magnitude.bit_length() - 24, -149)
    if ulp <= exponent:
        quotient = magnitude << (exponent - ulp)
    else:
        quotient, rest = divmod(magnitude, 1 << (ulp - exponent))
        half = 1 << (ulp - exponent - 1)
        quotient += rest > half or (rest == half and quotient & 1)
    if quotient == 1 << 24:
        quotient, ulp = quotient >> 1, ulp + 1
    if quotient < 1 << 23:
        return sign | quotient
    field = ulp + 150
    return sign | (0x7F80_0000 if field >= 255 else (field << 23) | (quotient & 0x7F_FFFF))


def run(words, width):
    """Results of (anchor, significand) pairs, one a cycle, after the documented latency."""
    dut = PsumRound(width)
    mask = (1 << width) - 1
    inputs = ({"word": anchor << width | significand & mask} for anchor, significand in words)
    return stream_through(dut, inputs, "fp32", dut.LATENCY)


def check(words, width):
    checked = 0
    for (anchor, significand), bits in zip(words, run(words, width), strict=True):
        expected = reference(anchor, significand, width)
        assert bits == expected, (
            f"E={anchor} m={significand:#x} W={width}: {bits:#010x}, expected {expected:#010x}"
        )
        checked += 1
    assert checked == len(words) > 0


def legal(anchor, significand, width):
    """The word, made one that PSUM can hold: no m in a special state or an empty word."""
    limit = 1 << (width - 2)
    return anchor, max(-limit, min(limit, significand)) if 2 <= anchor <= 508 else 0


def around_ties(rng, width, bits):
    """A significand of `bits` bits whose 24-bit rounding is a tie, or one off a tie, or exact."""
    top = rng.getrandbits(24) | 1 << 23
    if bits <= 24:
        return top >> (24 - bits)
    below = bits - 24
    tail = rng.choice((0, 1, (1 << below) - 1, 1 << (below - 1), (1 << (below - 1)) - 1))
    off = rng.choice((0, 0, 1))
    return (top << below | tail) + off


@pytest.mark.parametrize("width", WIDTHS)
def test_random_words_of_every_length_round_to_nearest_even(width):
    rng = random.Random(SEED + width)
    words = []
    for _ in range(1500):
        significand = around_ties(rng, width, rng.randint(1, width - 2))
        words.append(legal(rng.choice(ANCHORS), rng.choice((-1, 1)) * significand, width))
    check(words, width)


@pytest.mark.parametrize("significand", [1, -1, 3, 1 << 61, -(1 << 61), (1 << 61) - 1])
def test_every_anchor_with_one_significand(significand):
    check([legal(anchor, significand, 63) for anchor in ANCHORS], 63)


@pytest.mark.parametrize("width", (32, 63))
def test_results_around_the_subnormal_range_are_aligned_and_keep_their_sign(width):
    rng = random.Random(SEED)
    words = []
    for bits in range(1, width - 1):
        # The top bit from 2**-152 to 2**-124: below half the smallest subnormal to a small normal.
        for power in range(-152, -123):
            anchor = power + 240 + width - bits
            if 2 <= anchor <= 508:
                significand = around_ties(rng, width, bits)
                words += [(anchor, significand), (anchor, -significand)]
                words += [(anchor, -(1 << (bits - 1)))]
    check(words, width)
    results = set(run(words, width))
    assert {0, 0x8000_0000, 1, 0x8000_0001} <= results


def test_overflow_is_infinity_and_the_largest_finite_is_not():
    words = []
    for bits in (30, 61):
        anchor = 127 + 240 + 63 - bits
        ones = (1 << bits) - 1
        largest = ((1 << 24) - 1) << (bits - 24)
        half = 1 << (bits - 25)
        words += [
            (anchor, sign * m)
            for sign in (1, -1)
            for m in (largest, largest + half - 1, largest + half, ones)
        ]
        words += [(anchor + step, 1 << (bits - 1)) for step in (0, 1, 2, 30)]
    check([word for word in words if word[0] <= 508], 63)
    results = run(words, 63)
    assert {0x7F7F_FFFF, 0xFF7F_FFFF, 0x7F80_0000, 0xFF80_0000} <= set(results)


def test_special_states_and_empty_words():
    words = [(509, 0), (510, 0), (511, 0), (0, 0), (2, 0), (508, 0), (300, 0), (150, 0)]
    assert run(words, 63) == [0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0, 0, 0, 0, 0]


def test_powers_of_two_of_both_signs_are_exact():
    words = [(anchor, sign << p) for p in range(62) for sign in (1, -1) for anchor in (250, 300)]
    check(words, 63)
