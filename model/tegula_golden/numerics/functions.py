"""Functions of the activation engine by tables of piecewise cubics (contract section 5.5).

Everything is an int64: no intermediate result of the section reaches 2**62.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Self

import numpy as np

from tegula_golden.array_types import Integers, Mask, Patterns, check_array

__all__ = ["Function", "Gain", "Table", "evaluate"]

_FRACTION_BITS = 23
_BIAS = 127
_MIN_EXPONENT = 1 - _BIAS
_MAGNITUDE_MASK = 0x7FFF_FFFF
_SIGN = 0x8000_0000
_INFINITY = 0x7F80_0000
_QUIET_NAN = 0x7FC0_0000

_LOG2_E = 0xB_8AA3_B296
"""log2(e) in units of 2**-35."""

_LN_2 = 744_261_118
"""ln 2 in units of 2**-30."""

_UNIT_BITS = 30
_WINDOW = {"float": 31, "exp": 63}
"""The last index of a descriptor, by reduction."""

_FAR_SHIFT = 48
"""A polynomial's value, below 2**41, is far below half of what this shift keeps."""

_PART = 1 << 14
"""Patterns that are evaluated together: their temporaries stay in a cache."""

_POWERS = 1 << np.arange(62, dtype=np.int64)

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


@dataclass(frozen=True, kw_only=True)
class Function:
    """Mapping of arguments to the descriptors of a function.

    Attributes
    ----------
    descriptor
        The function's first descriptor, D.
    reduction
        "float": exponent and fraction of the argument itself; "exp": integer and fraction of the
        argument times log2(e).
    low
        n of the first descriptor of the window, -512 to 511.
    parity
        The descriptor follows the lowest bit of n, not the window.
    odd
        ``f(-z) = -f(z)``: only positive arguments are looked up.
    log
        ``n * ln 2`` is added to the polynomial.

    Raises
    ------
    ValueError
        If `descriptor` or `low` is out of range, or the reduction unknown.
    """

    descriptor: int
    reduction: str
    low: int
    parity: bool = False
    odd: bool = False
    log: bool = False

    def __post_init__(self) -> None:
        if self.descriptor < 0:
            raise ValueError(f"descriptor must not be negative, and is {self.descriptor}")
        if self.reduction not in _WINDOW:
            raise ValueError(f"reduction must be one of {', '.join(_WINDOW)}, not {self.reduction}")
        if not -512 <= self.low <= 511:
            raise ValueError(f"low must be -512 to 511, not {self.low}")


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
    def _segment_shift(self) -> Integers:
        """Right shift of a fraction that gives the offset of an entry: always 0 for a constant."""
        return np.where(self.constant == 1, 32, 32 - self.k)

    @cached_property
    def _is_constant(self) -> Mask:
        constant: Mask = self.constant == 1
        return constant

    @cached_property
    def _gain_sign(self) -> Integers:
        return _GAIN_SIGN[self.gain]

    @cached_property
    def _gain_shift(self) -> Integers:
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


def evaluate(table: Table, function: Function, z: Patterns) -> Patterns:
    """fp32 patterns of ``f(z)``.

    Parameters
    ----------
    table
        What the engine has loaded.
    function
        Which of the functions in it, and how it is reduced.
    z
        fp32 patterns, uint32, any shape.

    Returns
    -------
    numpy.ndarray
        uint32, shaped like `z`.

    Raises
    ------
    ValueError
        If `z` is not a uint32 array.
    """
    check_array(z, np.uint32, "z")
    if z.size <= _PART:
        return _evaluate(table, function, z)
    patterns = z.reshape(-1)
    results = np.empty_like(patterns)
    for start in range(0, z.size, _PART):
        part = slice(start, start + _PART)
        results[part] = _evaluate(table, function, patterns[part])
    return results.reshape(z.shape)


def _evaluate(table: Table, function: Function, z: Patterns) -> Patterns:
    pattern = z.astype(np.int64)
    magnitude = pattern & _MAGNITUDE_MASK
    sign = pattern ^ magnitude
    negative = np.zeros_like(pattern) if function.odd else pattern >> 31

    n, t, special = _reduce(magnitude, negative, function.reduction)
    offset = np.where(special, 2 * (magnitude != 0) + negative, 4 + _index(n, negative, function))
    descriptor = function.descriptor + offset & len(table.first) - 1
    entry = table.first.take(descriptor) + (t >> table._segment_shift.take(descriptor))
    entry &= len(table.c0) - 1

    c0 = table.c0.take(entry)
    h = _polynomial(table, entry, c0, (t << table.k.take(descriptor) & 0xFFFF_FFFF) >> 8)
    if function.log:
        h += n * _LN_2
    gain = table._gain_sign.take(descriptor) * (n >> table._gain_shift.take(descriptor))
    result = _round(h, table.exponent.take(entry) + (gain - _UNIT_BITS))
    result = np.where(table._is_constant.take(descriptor), c0 & 0xFFFF_FFFF, result)
    if function.odd:
        result = result ^ sign
    nan = (magnitude > _INFINITY) | (result & _MAGNITUDE_MASK > _INFINITY)
    return np.where(nan, _QUIET_NAN, result).astype(np.uint32)


def _bit_length(x: Integers) -> Integers:
    return _POWERS.searchsorted(x, side="right")


def _reduce(
    magnitude: Integers, negative: Integers, reduction: str
) -> tuple[Integers, Integers, Mask]:
    """Step 2: n, t, and where the argument is a zero or an infinity."""
    field = magnitude >> _FRACTION_BITS
    up = np.where(field == 0, _FRACTION_BITS + 1 - _bit_length(magnitude), 0)
    n = np.maximum(field, 1) - up - _BIAS
    fraction = magnitude << up & ((1 << _FRACTION_BITS) - 1)
    special = (magnitude == 0) | (magnitude == _INFINITY)
    if reduction == "float":
        t = fraction << 9
    else:
        far = n >= 8
        shift = np.minimum(np.maximum(28 - n, 0), 62)
        units = (fraction + (1 << _FRACTION_BITS)) * _LOG2_E >> shift
        units = np.where(negative, -units, units)
        n = np.where(far, np.where(negative, -512, 511), units >> _UNIT_BITS)
        t = np.where(far, 0, (units & ((1 << _UNIT_BITS) - 1)) << 2)
    return np.where(special, 0, n), np.where(special, 0, t), special


def _index(n: Integers, negative: Integers, function: Function) -> Integers:
    """Step 3: the descriptor of a nonzero finite argument, beyond D + 4."""
    if function.parity:
        index = n & 1
    else:
        index = np.minimum(np.maximum(n - function.low, 0), _WINDOW[function.reduction])
    return index + 32 * negative if function.reduction == "float" else index


def _polynomial(table: Table, entry: Integers, c0: Integers, t: Integers) -> Integers:
    """Step 5 without the logarithm: the cubic at `t`, 24 bits of the segment's coordinate."""
    h = table.c2.take(entry) + (table.c3.take(entry) * (t >> 7) >> 15)
    h = table.c1.take(entry) + (h * t >> 24)
    return c0 + (h * t >> 24)


def _round(h: Integers, exponent: Integers) -> Integers:
    """Step 6 with s = 0: patterns of ``h * 2**exponent``."""
    magnitude = np.abs(h)
    binade = np.maximum(exponent + _bit_length(magnitude) - 1, _MIN_EXPONENT)
    shift = binade - _FRACTION_BITS - exponent
    # One bit more than the ulp, so that there is always a bit to round away.
    doubled = magnitude << np.maximum(1 - shift, 1)
    drop = np.minimum(np.maximum(shift + 1, 1), _FAR_SHIFT)
    even = doubled >> drop & 1
    quotient = doubled + (np.int64(1) << drop - 1) - 1 + even >> drop
    code = (binade - _MIN_EXPONENT << _FRACTION_BITS) + quotient
    code = np.where(magnitude == 0, 0, np.minimum(code, _INFINITY))
    return np.where(h < 0, code | _SIGN, code)
