"""State of a tile between instructions, and the traps of its engines."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FloatFormat
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula.isa.traps import Trap
from tegula_golden.array_types import Codes, Integers, Mask
from tegula_golden.numerics.function_table import Table
from tegula_golden.numerics.generator import Generators
from tegula_golden.numerics.partial_sums import PartialSums
from tegula_golden.numerics.reductions import PARTIALS

__all__ = ["Check", "EngineTrap", "TileState", "first_fault", "sbuf_check"]

_SBUF_ADDRESS_MASK = (1 << 20) - 1
"""Trap records hold scratchpad addresses as 20 bits of two's complement."""


class EngineTrap(Exception):
    """An instruction cannot go on. `address` is as the cause defines it."""

    def __init__(self, cause: Trap, address: int):
        super().__init__(f"{cause.name} at {address:#x}")
        self.cause = cause
        self.address = address


@dataclass(frozen=True)
class Check:
    """One check of every step of an instruction: `bad[i]` traps with `cause` and `addresses[i]`."""

    cause: Trap
    bad: Mask
    addresses: Integers


def sbuf_check(addresses: Integers, config: TileConfig) -> Check:
    """Scratchpad addresses must exist."""
    bad = (addresses < 0) | (addresses >= config.sbuf_depth)
    return Check(Trap.SBUF_RANGE, bad, addresses & _SBUF_ADDRESS_MASK)


def first_fault(checks: list[Check]) -> tuple[int, EngineTrap | None]:
    """Number of steps that pass all checks, and the trap of the next one.

    Checks of a step are made in the order of the list; steps in the order of their index.
    """
    bad = np.logical_or.reduce([check.bad for check in checks])
    if not bad.any():
        return len(bad), None
    step = int(bad.argmax())
    check = next(check for check in checks if check.bad[step])
    return step, EngineTrap(check.cause, int(check.addresses[step]))


class TileState:
    """Scratchpad, PSUM and stationary operand of a tile.

    Attributes
    ----------
    sbuf
        uint16, partitions x `sbuf_depth`.
    exponent, significand
        PSUM: int64, partitions x `psum_depth`.
    written
        bool, `psum_depth`: PSUM words that this program has written (in all partitions at once).
    stationary
        Words as they were loaded, uint16, K x M: N x N, zero where no row or column takes part.
    stationary_format, stationary_packed, stationary_rows
        Format in which they were loaded, whether a word is two codes, and how many rows may be
        other than zero.
    stationary_scales
        E8M0 codes of its columns, uint8, N; None where it is not scaled.
    scales
        The scale buffer: uint8, rows x N.
    generators
        The lanes' random generators.
    partials, sums
        Partial results of the vector engine's reductions and of the activation engine's sums:
        uint32, N x 8.
    entries, descriptors
        The activation engine's table as it was loaded: uint32, (entries, 4) and (entries,).
    """

    def __init__(self, config: TileConfig):
        self.config = config
        self.sbuf = np.zeros((config.n, config.sbuf_depth), dtype=np.uint16)
        shape = (config.n, config.psum_depth)
        empty = PartialSums.empty(shape, config.acc_width)
        self.exponent, self.significand = empty.exponent, empty.significand
        self.written = np.zeros(config.psum_depth, dtype=bool)
        self.stationary = np.zeros((config.n, config.n), dtype=np.uint16)
        self.stationary_format: FloatFormat = BF16
        self.stationary_packed = False
        self.stationary_rows = 1
        self.stationary_scales: Codes | None = None
        self.scales = np.zeros((1 << SCALE_ROW_BITS, config.n), dtype=np.uint8)
        self.generators = Generators(config.n)
        self.partials = np.zeros((config.n, PARTIALS), dtype=np.uint32)
        self.sums = np.zeros((config.n, PARTIALS), dtype=np.uint32)
        self.entries = np.zeros((config.activation_entries, 4), dtype=np.uint32)
        self.descriptors = np.zeros(config.activation_entries, dtype=np.uint32)
        self._table: Table | None = None

    @property
    def table(self) -> Table:
        """The table, unpacked."""
        if self._table is None:
            self._table = Table.from_words(self.entries, self.descriptors)
        return self._table

    def forget_table(self) -> None:
        """Unpack the table anew: its words have changed."""
        self._table = None

    def start(self) -> None:
        """Begin a program: no PSUM word counts as written."""
        self.written[:] = False

    def psum(self, columns: slice | Integers) -> PartialSums:
        """PSUM words of all partitions: views, not copies."""
        return PartialSums(
            exponent=self.exponent[:, columns],
            significand=self.significand[:, columns],
            acc_width=self.config.acc_width,
        )
