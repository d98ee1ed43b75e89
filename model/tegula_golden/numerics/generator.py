"""Random bits (contract section 5.4): a generator for each lane, all of them drawing together.

The generator is Marsaglia's xorshift with 128 bits of state, "xor128" (*Xorshift RNGs*, J. Stat.
Softw. 8(14), 2003, section 4). Every number of a stream is a linear function over GF(2) of the
state that it started from, so the next 256 numbers of a lane are the exclusive or of 16 rows of a
table, one for each byte of its state; numpy then has as much to do at once as it needs to be fast.
"""

from functools import cache

import numpy as np

from tegula.xor128 import stream_states
from tegula_golden.array_types import Patterns, check_array

__all__ = ["Generators"]

_BLOCK = 256
"""Numbers in a row of the table, which is 4 MiB then: larger ones gain little."""

_STATE_BYTES = 16


class Generators:
    """One xor128 generator a lane.

    Parameters
    ----------
    lanes
        Number of lanes, 1 to 32.
    seed
        0 to 2**32 - 1: where on the cycle of the generator the lanes start. 0 is a reset.

    Raises
    ------
    ValueError
        If the seed or the number of lanes is out of range.
    """

    def __init__(self, lanes: int, seed: int = 0):
        self._state = np.array(stream_states(seed, lanes), dtype=np.uint32)

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return len(self._state)

    @property
    def state(self) -> Patterns:
        """A copy of the states: uint32 (lanes, 4), words x, y, z, w."""
        return self._state.copy()

    def set_state(self, state: Patterns) -> None:
        """Continue from `state`, of the shape and dtype that the property has.

        Any words will do; but a lane whose words are all zero draws zeros for ever.

        Raises
        ------
        ValueError
            If the shape or the dtype is another.
        """
        check_array(state, np.uint32, "state")
        if state.shape != self._state.shape:
            raise ValueError(f"state must have the shape {self._state.shape}, not {state.shape}")
        self._state = state.copy()

    def copy(self) -> "Generators":
        """Generators that draw the same numbers from here on, by themselves."""
        twin = Generators(self.lanes)
        twin.set_state(self._state)
        return twin

    def draw(self, count: int) -> Patterns:
        """The next `count` numbers of every lane.

        Returns
        -------
        numpy.ndarray
            uint32 (lanes, count), the earliest number first.

        Raises
        ------
        ValueError
            If `count` is negative.
        """
        if count < 0:
            raise ValueError(f"count must be at least 0, not {count}")
        numbers = np.empty((self.lanes, count), dtype=np.uint32)
        table = _block_table()
        byte_places = np.arange(_STATE_BYTES)
        for start in range(0, count, _BLOCK):
            block = numbers[:, start : start + _BLOCK]
            state_bytes = self._state.astype("<u4", copy=False).view(np.uint8)
            rows = table[byte_places, state_bytes, : block.shape[1]]
            np.bitwise_xor.reduce(rows, axis=1, out=block)
            # The state is the last four numbers; of a block of fewer, some are older.
            self._state = np.concatenate([self._state, block[:, -4:]], axis=1)[:, -4:].copy()
        return numbers


@cache
def _block_table() -> Patterns:
    """uint32 (16, 256, 256): what byte i of a state, if it is b, adds to number j from there."""
    bits = np.arange(8 * _STATE_BYTES)
    basis = np.zeros((len(bits), 4), dtype=np.uint32)
    basis[bits, bits // 32] = np.uint32(1) << (bits % 32).astype(np.uint32)
    images = _draw_stepwise(basis, _BLOCK).reshape(_STATE_BYTES, 8, _BLOCK)
    table = np.zeros((_STATE_BYTES, 256, _BLOCK), dtype=np.uint32)
    for bit in range(8):
        table[:, 1 << bit : 2 << bit] = table[:, : 1 << bit] ^ images[:, bit, None]
    return table


def _draw_stepwise(state: Patterns, count: int) -> Patterns:
    """The next `count` numbers from each row of `state`, by the recurrence itself."""
    numbers = np.empty((len(state), count), dtype=np.uint32)
    x, y, z, w = state.T
    for place in range(count):
        t = x ^ (x << np.uint32(11))
        x, y, z, w = y, z, w, w ^ (w >> np.uint32(19)) ^ t ^ (t >> np.uint32(8))
        numbers[:, place] = w
    return numbers
