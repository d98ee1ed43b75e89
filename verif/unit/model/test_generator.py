"""Golden generators: the numbers of the paper, and the quality that training needs of them.

The contract fixes every number, so the second half measures rather than samples. Where a test does
not have a bound of its own, `limit` is what a perfect generator would exceed once in a thousand
such tests.
"""

from functools import cache, lru_cache
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN
from tegula.xor128 import MAX_LANES, MAX_SEED, stream_states
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.generator import Generators

MARSAGLIA = (3701687786, 458299110, 2500872618, 3633119408, 516391518)
"""The first numbers of xor128 from the state that the paper gives."""

SEEDS = (0, 1, 12345, MAX_SEED - 1)
LANES = 8
"""Lanes whose pairs are compared; what each lane does by itself is tested on all 32."""

DRAWS = 1 << 18

FRACTIONS = (
    *(16, 64, 256, 655, 1024, 2048, 3277, 4096, 6554, 8192, 9830, 10923, 13107, 16384),
    *(19661, 21845, 26214, 28672, 32767, 32768, 36045, 39322, 43691, 45875, 49152, 58982),
    *(64881, 65520),
)
"""28 discarded fractions d of an ulp: the probability of rounding up is ``d / 2**16``."""

TINY_FRACTIONS = (1, 2, 3, 5)
"""Too rare for the normal distribution in one lane: 4 to 20 expected in `DRAWS`."""


def xor128(state, count):
    """Numbers drawn from a state, as Marsaglia 2003 writes it, in Python integers."""
    x, y, z, w = (int(word) for word in state)
    numbers = []
    for _ in range(count):
        t = x ^ (x << 11) % 2**32
        x, y, z, w = y, z, w, (w ^ (w >> 19)) ^ (t ^ (t >> 8))
        numbers.append(w)
    return numbers


@lru_cache(maxsize=2)
def numbers(seed):
    """uint32 (32, DRAWS): the first numbers of every lane."""
    drawn = Generators(MAX_LANES, seed).draw(DRAWS)
    drawn.flags.writeable = False
    return drawn


def limit(count):
    """Bound that the largest of `count` z-scores exceeds in magnitude once in 1000 times."""
    return NormalDist().inv_cdf(1 - 1e-3 / (2 * count))


def low_halves(drawn):
    """Half of each number that stochastic rounding takes, as float64."""
    return (drawn & np.uint32(0xFFFF)).astype(np.float64)


def standard(rows):
    """Rows with mean 0 and length 1: their products are correlations."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def packed_bits(drawn):
    """uint64 (32 * rows, DRAWS / 64): each bit of the numbers of each row, 64 draws a word."""
    places = np.arange(32, dtype=np.uint32)[:, None]
    bits = (drawn[:, None, :] >> places & np.uint32(1)).astype(np.uint8)
    return np.packbits(bits, axis=2).view(np.uint64).reshape(-1, DRAWS // 64)


def bit_scores(bit, others):
    """z-scores of the correlation of a packed bit with each of the others."""
    unequal = np.bitwise_count(bit ^ others).sum(axis=1, dtype=np.int64)
    return (DRAWS - 2 * unequal) / np.sqrt(DRAWS)


def test_the_default_state_draws_the_numbers_of_the_paper():
    assert tuple(Generators(1).draw(5)[0]) == MARSAGLIA
    assert tuple(xor128(stream_states(0, 1)[0], 5)) == MARSAGLIA


@pytest.mark.parametrize("seed", [0, 3, MAX_SEED])
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_every_lane_draws_by_the_recurrence(seed, lanes):
    drawn = Generators(lanes, seed).draw(1500)
    assert drawn.shape == (lanes, 1500) and drawn.dtype == np.uint32
    for lane, state in enumerate(stream_states(seed, lanes)):
        assert drawn[lane].tolist() == xor128(state, 1500)


def test_draws_of_any_sizes_continue_each_other():
    sizes = [0, 1, 2, 3, 4, 5, 255, 256, 257, 258, 259, 260, 511, 512, 513, 1, 1, 1, 700]
    generators = Generators(LANES, 9)
    parts = [generators.draw(size) for size in sizes]
    assert [part.shape[1] for part in parts] == sizes
    assert (np.concatenate(parts, axis=1) == Generators(LANES, 9).draw(sum(sizes))).all()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 256, 257])
def test_the_state_continues_where_it_was_saved(count):
    generators = Generators(LANES, 9)
    start = generators.state
    assert start.tolist() == [list(state) for state in stream_states(9, LANES)]
    generators.draw(count)
    saved = generators.state
    expected = generators.draw(300)
    assert (generators.state == expected[:, -4:]).all()
    generators.set_state(saved)
    assert (generators.draw(300) == expected).all()
    generators.set_state(start)
    assert (generators.draw(count + 300)[:, count:] == expected).all()


def test_a_copy_draws_by_itself():
    generators = Generators(LANES, 9)
    generators.draw(10)
    twin = generators.copy()
    expected = generators.draw(20)
    assert (twin.draw(20) == expected).all()


def test_the_caller_shares_no_memory_with_the_state():
    generators = Generators(LANES, 9)
    state = generators.state
    generators.set_state(state)
    state[:] = 0
    generators.state[:] = 0
    assert (generators.draw(9) == Generators(LANES, 9).draw(9)).all()


def test_a_lane_of_zeros_stays_there():
    generators = Generators(2, 9)
    state = generators.state
    state[1] = 0
    generators.set_state(state)
    drawn = generators.draw(300)
    assert drawn[0].all() and not drawn[1].any()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([[0] * 4] * 2, "uint32 array, not list"),
        (np.zeros((2, 4), dtype=np.int64), "uint32, not int64"),
        (np.zeros((4, 2), dtype=np.uint32), r"the shape \(2, 4\), not \(4, 2\)"),
    ],
)
def test_a_state_of_another_kind_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        Generators(2).set_state(state)


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="count must be at least 0, not -1"):
        Generators(2).draw(-1)


@cache
def rounds_up(fmt, fractions):
    """uint8 (fractions, 65536): 1 where the cast rounds up, for each d and each random operand."""
    below_r = 23 - fmt.mantissa_bits - 16
    every_r = np.arange(1 << 16, dtype=np.uint16)
    one = fmt.bias << fmt.mantissa_bits
    rows = []
    for d in fractions:
        # 1 and a fraction of an ulp: bits of it below d are set, and shall make no difference.
        pattern = 0x3F80_0000 | d << below_r | (1 << below_r) - 1
        codes = cast(np.full(every_r.shape, pattern, dtype=np.uint32), fmt, random=every_r)
        assert set(codes.tolist()) == {one, one + 1}
        rows.append(codes - one)
    return np.array(rows, dtype=np.uint8)


def round_up_scores(drawn, fmt, fractions):
    """z-scores (rows, fractions) of how often the numbers of each row round up.

    The cast looks at each r by itself, so that how often each r occurs says how often it rounds up.
    """
    occurrences = np.array(
        [np.bincount(row & np.uint32(0xFFFF), minlength=1 << 16) for row in drawn]
    )
    ups = occurrences @ rounds_up(fmt, fractions).T.astype(np.int64)
    draws = drawn.shape[1]
    probability = np.array(fractions) / 2**16
    return (ups - draws * probability) / np.sqrt(draws * probability * (1 - probability))


@pytest.mark.parametrize("fmt", [BF16, E4M3FN], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_stochastic_rounding_is_unbiased_in_every_lane(seed, fmt):
    z = round_up_scores(numbers(seed), fmt, FRACTIONS)
    assert z.shape == (MAX_LANES, 28)
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("fmt", [BF16, E4M3FN], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("seed", SEEDS)
def test_stochastic_rounding_is_unbiased_over_all_lanes(seed, fmt):
    """Here 1 in 65536 can be told from 0 and from 2: 128 are expected."""
    z = round_up_scores(numbers(seed).reshape(1, -1), fmt, TINY_FRACTIONS + FRACTIONS)
    assert z.shape == (1, 32)
    assert np.abs(z).max() < 4.5


@pytest.mark.parametrize("seed", SEEDS)
def test_lanes_and_neighbouring_seeds_are_uncorrelated(seed):
    rows = standard(
        np.concatenate([low_halves(numbers(each)[:LANES]) for each in (seed, seed + 1)])
    )
    z = [(a * b).sum() * np.sqrt(DRAWS) for a, b in combinations(rows, 2)]
    assert len(z) == 120
    assert max(map(abs, z)) < limit(len(z))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bit_says_anything_of_another_bit_or_lane(seed):
    """All pairs of the 256 bits that 8 lanes draw at a time, those of one number among them."""
    bits = packed_bits(numbers(seed)[:LANES])
    z = np.concatenate([bit_scores(bit, bits[place + 1 :]) for place, bit in enumerate(bits)])
    assert z.size == 256 * 255 // 2
    assert np.abs(z).max() < limit(z.size)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_bit_says_anything_of_the_same_lane_under_the_next_seed(seed):
    shape = (LANES, 32, DRAWS // 64)
    here, there = (packed_bits(numbers(each)[:LANES]).reshape(shape) for each in (seed, seed + 1))
    z = np.array(
        [bit_scores(here[lane, i], there[lane]) for lane in range(LANES) for i in range(32)]
    )
    assert z.size == LANES * 32 * 32
    assert np.abs(z).max() < limit(z.size)


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_of_a_lane_are_uncorrelated_with_later_ones(seed):
    rows = standard(low_halves(numbers(seed)))
    z = np.array(
        [(rows[:, :-lag] * rows[:, lag:]).sum(axis=1) * np.sqrt(DRAWS) for lag in range(1, 9)]
    )
    assert z.shape == (8, MAX_LANES)
    assert np.abs(z).max() < limit(z.size)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_byte_is_uniform(seed):
    """Chi-square over 256 bins, as a z-score (Wilson and Hilferty, PNAS 17(12), 1931)."""
    expected = DRAWS / 256
    spread = 2 / (9 * 255)
    z = []
    for lane in numbers(seed).view(np.uint8).reshape(MAX_LANES, DRAWS, 4):
        for place in range(4):
            counts = np.bincount(lane[:, place], minlength=256)
            chi_square = ((counts - expected) ** 2 / expected).sum()
            z.append(((chi_square / 255) ** (1 / 3) - (1 - spread)) / np.sqrt(spread))
    assert len(z) == 4 * MAX_LANES
    assert max(map(abs, z)) < limit(len(z))


def test_no_two_streams_meet():
    """Four numbers in a row are a state: a state met twice would be one stream run twice."""
    seeds = (0, 1, 2, 3, 255, 256, 1 << 31, MAX_SEED)
    drawn = np.concatenate([Generators(LANES, seed).draw(1 << 12) for seed in seeds])
    assert len(drawn) == 64
    windows = np.lib.stride_tricks.sliding_window_view(drawn, 4, axis=1)
    states = np.ascontiguousarray(windows).view(np.dtype((np.void, 16)))
    assert states.size == 64 * ((1 << 12) - 3)
    assert len(np.unique(states)) == states.size
