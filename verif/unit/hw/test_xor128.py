"""stream_states against powers of a matrix over GF(2) that this file builds from the paper."""

from functools import cache
from math import prod

import gmpy2
import numpy as np
import pytest

from tegula.xor128 import DEFAULT_STATE, MAX_LANES, MAX_SEED, stream_states

MARSAGLIA = (3701687786, 458299110, 2500872618, 3633119408, 516391518)
"""The first numbers of xor128 from the state that the paper gives."""

ORDER = 2**128 - 1
PRIME_FACTORS = (3, 5, 17, 257, 641, 65537, 274177, 6700417, 67280421310721)
SPACING = 2**64
SEED = 7


def xor128(state):
    """One draw, as Marsaglia 2003 writes it; the state after it, the number drawn last."""
    x, y, z, w = state
    t = x ^ (x << 11) % 2**32
    return y, z, w, (w ^ (w >> 19)) ^ (t ^ (t >> 8))


def bits_of(state):
    """A state as 128 zeros and ones."""
    return np.array([word >> bit & 1 for word in state for bit in range(32)], dtype=np.float32)


def state_of(bits):
    """The state with these 128 bits."""
    words = np.asarray(bits, dtype=int).reshape(4, 32)
    return tuple(sum(int(bit) << place for place, bit in enumerate(word)) for word in words)


@cache
def doubled(k):
    """T^(2^k): column j is the image of bit j. Sums of 128 products are exact in float32."""
    if k == 0:
        return np.stack([bits_of(xor128(state_of(row))) for row in np.eye(128)], axis=1)
    return doubled(k - 1) @ doubled(k - 1) % 2


def power(exponent, bits):
    """T^exponent applied to bits, or to each column of a matrix of them."""
    for k in range(exponent.bit_length()):
        if exponent >> k & 1:
            bits = doubled(k) @ bits % 2
    return bits


def jumped(state, draws):
    """The state so many draws later."""
    return state_of(power(draws, bits_of(state)))


def test_lane_0_of_seed_0_draws_the_numbers_of_the_paper():
    (state,) = stream_states(0, 1)
    assert state == DEFAULT_STATE
    numbers = []
    for _ in MARSAGLIA:
        state = xor128(state)
        numbers.append(state[3])
    assert tuple(numbers) == MARSAGLIA


@pytest.mark.parametrize("draws", [0, 1, 2, 3, 8, 100, 1000])
def test_a_power_of_the_matrix_is_as_many_draws(draws):
    state = stream_states(SEED, 2)[1]
    stepped = state
    for _ in range(draws):
        stepped = xor128(stepped)
    assert jumped(state, draws) == stepped


def test_jumps_add_up():
    (state,) = stream_states(SEED, 1)
    twice = jumped(jumped(state, SPACING), SPACING)
    assert twice == jumped(state, 2 * SPACING)
    assert jumped(jumped(state, SPACING), 8) == jumped(jumped(state, 8), SPACING)


@pytest.mark.parametrize("seed", [0, 1, 2, 12345, 2**31, MAX_SEED - 1, MAX_SEED])
def test_each_stream_starts_where_the_contract_says(seed):
    states = stream_states(seed, MAX_LANES)
    assert len(states) == MAX_LANES
    for lane, state in enumerate(states):
        assert state == jumped(DEFAULT_STATE, (32 * seed + lane) * SPACING), lane


def test_fewer_lanes_are_the_first_lanes():
    for lanes in range(1, MAX_LANES):
        assert stream_states(SEED, lanes) == stream_states(SEED, MAX_LANES)[:lanes]


def test_the_next_lane_after_the_last_is_lane_0_of_the_next_seed():
    last = stream_states(SEED, MAX_LANES)[-1]
    assert (jumped(last, SPACING),) == stream_states(SEED + 1, 1)


def test_the_step_has_order_2_128_minus_1():
    assert all(gmpy2.is_prime(factor) for factor in PRIME_FACTORS)
    assert prod(PRIME_FACTORS) == ORDER
    identity = np.eye(128, dtype=np.float32)
    assert (power(ORDER, identity) == identity).all()
    for prime in PRIME_FACTORS:
        assert (power(ORDER // prime, identity) != identity).any(), prime


def test_no_stream_reaches_the_next_one_in_2_64_draws():
    """The map has one cycle of all nonzero states, so places on it say what is disjoint."""
    streams = MAX_LANES * (MAX_SEED + 1)
    assert streams == 2**37
    assert streams * SPACING < ORDER


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed must be 0 to {MAX_SEED}, not {seed}"):
        stream_states(seed, 1)


@pytest.mark.parametrize("lanes", [0, -1, MAX_LANES + 1])
def test_a_number_of_lanes_out_of_range_is_refused(lanes):
    with pytest.raises(ValueError, match=f"lanes must be 1 to 32, not {lanes}"):
        stream_states(0, lanes)
