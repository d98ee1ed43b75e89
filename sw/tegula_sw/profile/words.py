"""The words of a traced tile's port over time."""

import numpy as np
from numpy.typing import NDArray

from tegula_golden.array_types import Integers

__all__ = ["Words"]


class Words:
    """Words that hold from their start to the next one's.

    Parameters
    ----------
    starts : integers, shape (changes,)
        Cycles, rising.
    words : uint64, shape (changes,)
        The words.
    fields
        Name -> bits of each field, the first in the least significant bits.
    """

    def __init__(self, starts: Integers, words: NDArray[np.uint64], fields: dict[str, int]):
        self.starts, self.words = starts, words
        self._places, offset = {}, 0
        for name, width in fields.items():
            self._places[name] = (offset, (1 << width) - 1)
            offset += width

    def field(self, name: str, cycles: Integers) -> Integers:
        """The field in each of `cycles`."""
        offset, mask = self._places[name]
        words = self.words[np.searchsorted(self.starts, cycles, side="right") - 1]
        return (words >> np.uint64(offset) & np.uint64(mask)).astype(np.int64)

    def events(self, name: str, bit: int, stop: int) -> Integers:
        """Each cycle before `stop` in which bit `bit` of the field is 1."""
        high = self.field(name, self.starts) >> bit & 1 == 1
        starts, lengths = self.starts[high], np.diff(self.starts, append=stop)[high]
        first_of_each = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        return first_of_each + np.arange(len(first_of_each))
