"""The table of the activation engine: entries and descriptors, as fields and as words.

The layout of both is in section 5.5 of the contract.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Self

import numpy as np

from tegula_golden.array_types import Integers, Mask, Patterns

__all__ = ["Gain", "Table"]

_ENTRY_FIELDS = (
    ("c0", 0, 32),
    ("c1", 32, 32),
    ("c2", 64, 28),
    ("c3", 92, 18),
    ("exponent", 110, 9),
)
"""Name, lowest bit and width of the two's complement fields of an entry's 128 bits."""

_DESCRIPTOR_FIELDS = (("first", 0, 10), ("k", 10, 4), ("gain", 14, 3), ("constant", 17, 1))
"""Name, lowest bit and width of the unsigned fields of a descriptor's 32 bits."""


class Gain(IntEnum):
    """Term that a descriptor adds to the exponent of its entries; the codes 5 to 7 add nothing."""

    NONE = 0
    N = 1
    MINUS_N = 2
    HALF_N = 3
    MINUS_HALF_N = 4


_GAIN_SIGN = np.array([0, 1, -1, 1, -1, 0, 0, 0])
_GAIN_SHIFT = np.array([0, 0, 0, 1, 1, 0, 0, 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The contents of the engine's table: int64 arrays, one element an entry or a descriptor.

    Attributes
    ----------
    c0, c1, c2, c3
        Coefficients in units of 2**-30, 2**-30, 2**-30 and 2**-28. Of a constant, `c0` is the
        pattern as a two's complement number, and the others mean nothing.
    exponent
        E of an entry, -256 to 255.
    first, k, gain, constant
        A descriptor: index of its first entry, binary logarithm of the number of its entries, code
        of its gain, and 1 for a constant.

    Raises
    ------
    ValueError
        If a field is out of range, or the number of entries or descriptors not a power of two.
    """

    c0: Integers
    c1: Integers
    c2: Integers
    c3: Integers
    exponent: Integers
    first: Integers
    k: Integers
    gain: Integers
    constant: Integers

    def __post_init__(self) -> None:
        for field in fields(self):
            values = np.array(getattr(self, field.name), dtype=np.int64)
            values.setflags(write=False)
            object.__setattr__(self, field.name, values)
        _check_fields(self, "entries", _ENTRY_FIELDS, signed=True)
        _check_fields(self, "descriptors", _DESCRIPTOR_FIELDS, signed=False)

    @classmethod
    def from_words(cls, entries: Patterns, descriptors: Patterns) -> Self:
        """The table that the records in memory describe; the bits of no field are ignored.

        Parameters
        ----------
        entries
            uint32, (number of entries, 4): 128 bits each, the low word first.
        descriptors
            uint32, (number of descriptors,).

        Raises
        ------
        ValueError
            If a dtype or shape is wrong, or a length not a power of two.
        """
        if entries.dtype != np.uint32 or entries.ndim != 2 or entries.shape[1] != 4:
            raise ValueError(f"entries must be uint32 (n, 4), not {entries.dtype} {entries.shape}")
        if descriptors.dtype != np.uint32 or descriptors.ndim != 1:
            raise ValueError(
                f"descriptors must be uint32 (n,), not {descriptors.dtype} {descriptors.shape}"
            )
        unsigned = _unpack(entries, _ENTRY_FIELDS)
        signed = {
            name: unsigned[name] - ((unsigned[name] >> width - 1) << width)
            for name, _, width in _ENTRY_FIELDS
        }
        return cls(**signed, **_unpack(descriptors[:, None], _DESCRIPTOR_FIELDS))

    def entry_words(self) -> Patterns:
        """The entries as `from_words` takes them: uint32, (number of entries, 4)."""
        return _pack(self, _ENTRY_FIELDS, 4)

    def descriptor_words(self) -> Patterns:
        """The descriptors as `from_words` takes them: uint32, (number of descriptors,)."""
        return _pack(self, _DESCRIPTOR_FIELDS, 1)[:, 0]

    @cached_property
    def segment_shift(self) -> Integers:
        """Right shift of a fraction that gives the offset of an entry: always 0 for a constant."""
        return np.where(self.constant == 1, 32, 32 - self.k)

    @cached_property
    def is_constant(self) -> Mask:
        """Mask of the descriptors of constants."""
        constant: Mask = self.constant == 1
        return constant

    @cached_property
    def gain_sign(self) -> Integers:
        """Sign of the term that a descriptor adds to the exponent; 0 if none."""
        return _GAIN_SIGN[self.gain]

    @cached_property
    def gain_shift(self) -> Integers:
        """Right shift of n in that term."""
        return _GAIN_SHIFT[self.gain]


def _check_fields(
    table: Table, what: str, layout: tuple[tuple[str, int, int], ...], *, signed: bool
) -> None:
    shape = getattr(table, layout[0][0]).shape
    if len(shape) != 1 or shape[0] < 1 or shape[0] & (shape[0] - 1):
        raise ValueError(f"the number of {what} must be a power of two, not {shape}")
    for name, _, width in layout:
        values = getattr(table, name)
        if values.shape != shape:
            raise ValueError(f"{name} has {values.shape} {what}, {layout[0][0]} {shape}")
        low = -(1 << width - 1) if signed else 0
        wrong = np.flatnonzero((values < low) | (values >= low + (1 << width)))
        if wrong.size:
            raise ValueError(
                f"{name}[{wrong[0]}] must be {low} to {low + (1 << width) - 1},"
                f" not {values[wrong[0]]}"
            )


def _unpack(words: Patterns, layout: tuple[tuple[str, int, int], ...]) -> dict[str, Integers]:
    """Unsigned fields of rows of 32-bit words; a field may reach into the next word."""
    row = np.concatenate([words, np.zeros_like(words[:, :1])], axis=1).astype(np.int64)
    unpacked = {}
    for name, start, width in layout:
        word, bit = divmod(start, 32)
        two_words = row[:, word] >> bit | row[:, word + 1] << (32 - bit)
        unpacked[name] = two_words & ((1 << width) - 1)
    return unpacked


def _pack(table: Table, layout: tuple[tuple[str, int, int], ...], count: int) -> Patterns:
    rows = np.zeros((len(getattr(table, layout[0][0])), count + 1), dtype=np.int64)
    for name, start, width in layout:
        word, bit = divmod(start, 32)
        value = (getattr(table, name) & ((1 << width) - 1)) << bit
        rows[:, word] |= value & 0xFFFF_FFFF
        rows[:, word + 1] |= value >> 32
    return rows[:, :count].astype(np.uint32)
