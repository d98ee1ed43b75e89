"""Functions as pieces that can lie anywhere in the table of the activation engine."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tegula_golden.numerics.function_table import Gain, Table
from tegula_golden.numerics.functions import Function
from tegula_sw.functions.cubic import Entry

__all__ = ["DESCRIPTORS", "ENTRIES", "FunctionSpec", "Piece", "allocate", "build_table"]

ENTRIES = 1024
DESCRIPTORS = 512
"""The largest table: what the index of a descriptor reaches, and what all functions need."""


@dataclass(frozen=True)
class Piece:
    """The entries and the gain of one descriptor.

    There are as many entries as a power of two, to whose exponents the gain is added; of a constant
    piece the only entry is a pattern.

    Raises
    ------
    ValueError
        If the number of entries is no power of two, or a constant has more than one.
    """

    entries: tuple[Entry, ...]
    gain: Gain = Gain.NONE
    constant: bool = False

    def __post_init__(self) -> None:
        count = len(self.entries)
        if count < 1 or count & (count - 1):
            raise ValueError(f"a piece must have a power of two of entries, not {count}")
        if self.constant and count != 1:
            raise ValueError(f"a constant has one entry, not {count}")

    @classmethod
    def of_pattern(cls, pattern: int) -> Self:
        """The constant with this fp32 pattern."""
        return cls((Entry(pattern - (pattern >> 31 << 32)),), constant=True)

    @property
    def k(self) -> int:
        """Binary logarithm of the number of entries."""
        return len(self.entries).bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """A function of the library, at no fixed address in a table.

    Attributes
    ----------
    name
        The library's name of it.
    pieces
        In the order of its descriptors: of +0, -0, +Inf, -Inf, then those of section 5.5, step 3.
    reduction, low, parity, odd, log
        See `tegula_golden.numerics.functions.Function`.
    """

    name: str
    pieces: tuple[Piece, ...]
    reduction: str
    low: int
    parity: bool = False
    odd: bool = False
    log: bool = False

    @property
    def entry_count(self) -> int:
        """Entries that it needs in a table of its own: equal pieces share theirs."""
        return len(allocate((self,))[0])

    @property
    def descriptor_count(self) -> int:
        """Descriptors that it needs."""
        return len(self.pieces)

    def at(self, descriptor: int) -> Function:
        """The function with its first descriptor there."""
        return Function(
            descriptor=descriptor,
            reduction=self.reduction,
            low=self.low,
            parity=self.parity,
            odd=self.odd,
            log=self.log,
        )


def allocate(specs: tuple[FunctionSpec, ...]) -> tuple[list[Entry], list[tuple[int, Piece]]]:
    """Entries, and descriptors as (first entry, piece), of functions one behind another.

    Pieces with equal entries share them, also those of different functions.
    """
    entries: list[Entry] = []
    descriptors: list[tuple[int, Piece]] = []
    found: dict[tuple[Entry, ...], int] = {}
    for spec in specs:
        for piece in spec.pieces:
            if piece.entries not in found:
                found[piece.entries] = len(entries)
                entries.extend(piece.entries)
            descriptors.append((found[piece.entries], piece))
    return entries, descriptors


def build_table(
    entries: list[Entry],
    descriptors: list[tuple[int, Piece]],
    entry_count: int,
    descriptor_count: int,
) -> Table:
    """The table of allocated functions, filled up with zeros.

    Raises
    ------
    ValueError
        If it does not hold them.
    """
    for what, used, count in (
        ("entries", len(entries), entry_count),
        ("descriptors", len(descriptors), descriptor_count),
    ):
        if used > count:
            raise ValueError(f"the functions need {used} {what}: the table has {count}")
    columns = np.zeros((len(Entry._fields), entry_count), dtype=np.int64)
    columns[:, : len(entries)] = np.array(entries, dtype=np.int64).T
    rows = np.zeros((4, descriptor_count), dtype=np.int64)
    rows[:, : len(descriptors)] = np.array(
        [(first, piece.k, piece.gain, piece.constant) for first, piece in descriptors]
    ).T
    return Table(
        **dict(zip(Entry._fields, columns, strict=True)),
        **dict(zip(("first", "k", "gain", "constant"), rows, strict=True)),
    )
