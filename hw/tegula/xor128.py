"""Start states of the lanes' random streams, for every seed.

The generator is Marsaglia's xorshift with 128 bits of state, "xor128" (*Xorshift RNGs*, J. Stat.
Softw. 8(14), 2003, section 4). Its step is a linear map T over GF(2), of order ``2**128 - 1``, so
that any number of steps is a power of T. Contract section 5.4 says where each stream starts on that
one cycle; that choice is ours.
"""

from functools import cache, lru_cache
from operator import index

__all__ = ["DEFAULT_STATE", "MAX_LANES", "MAX_SEED", "State", "stream_states"]

State = tuple[int, int, int, int]
"""The words x, y, z and w, 32 bits each."""

DEFAULT_STATE: State = (123456789, 362436069, 521288629, 88675123)
"""The state that Marsaglia's paper starts from; here lane 0 under seed 0."""

MAX_LANES = 32
"""Streams of a seed."""

MAX_SEED = (1 << 32) - 1

_SPACING_LOG2 = 64
"""Neighbouring streams start ``2**64`` draws apart."""

_WORD_BITS = 32
_STATE_BITS = 4 * _WORD_BITS
_MASK = (1 << _WORD_BITS) - 1

_Matrix = tuple[int, ...]
"""A linear map of packed states: the image of each of the 128 bits, the lowest of x first."""


def _pack(state: State) -> int:
    return sum(word << _WORD_BITS * place for place, word in enumerate(state))


def _unpack(packed: int) -> State:
    x, y, z, w = (packed >> _WORD_BITS * place & _MASK for place in range(4))
    return x, y, z, w


def _step(packed: int) -> int:
    """T: the state after one draw."""
    x, y, z, w = _unpack(packed)
    t = x ^ (x << 11 & _MASK)
    return _pack((y, z, w, w ^ w >> 19 ^ t ^ t >> 8))


def _apply(matrix: _Matrix, packed: int) -> int:
    """The image of a state: the exclusive or of those of its bits."""
    image = 0
    while packed:
        lowest = packed & -packed
        image ^= matrix[lowest.bit_length() - 1]
        packed ^= lowest
    return image


@cache
def _doubled(k: int) -> _Matrix:
    """T^(2^k), by k squarings."""
    if k == 0:
        return tuple(_step(1 << bit) for bit in range(_STATE_BITS))
    root = _doubled(k - 1)
    return tuple(_apply(root, column) for column in root)


@lru_cache(maxsize=1024)
def stream_states(seed: int, lanes: int) -> tuple[State, ...]:
    """States (x, y, z, w) of lanes 0 to `lanes` - 1 under `seed`.

    Lane p starts at ``T^((32 * seed + p) * 2**64)`` applied to `DEFAULT_STATE` (contract section
    5.4), with 0 <= seed <= `MAX_SEED` and 1 <= lanes <= `MAX_LANES`. No two lanes of any seeds
    share a number's place in their first ``2**64`` draws.

    Raises
    ------
    ValueError
        If the seed or the number of lanes is out of range.
    """
    seed, lanes = index(seed), index(lanes)
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be 0 to {MAX_SEED}, not {seed}")
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"lanes must be 1 to {MAX_LANES}, not {lanes}")
    first = MAX_LANES * seed
    packed = _pack(DEFAULT_STATE)
    for bit in range(first.bit_length()):
        if first >> bit & 1:
            packed = _apply(_doubled(_SPACING_LOG2 + bit), packed)
    states = [packed]
    while len(states) < lanes:
        states.append(_apply(_doubled(_SPACING_LOG2), states[-1]))
    return tuple(map(_unpack, states))
