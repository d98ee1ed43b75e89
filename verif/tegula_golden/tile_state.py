"""What a tile holds between instructions, and how an engine says that it cannot go on."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FloatFormat
from tegula.isa.traps import Trap
from tegula_golden.partial_sums import PartialSums

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
    bad: np.ndarray
    addresses: np.ndarray


def sbuf_check(addresses: np.ndarray, config: TileConfig) -> Check:
    """Scratchpad addresses must exist."""
    bad = (addresses < 0) | (addresses >= config.sbuf_depth)
    return Check(Trap.SBUF_RANGE, bad, addresses & _SBUF_ADDRESS_MASK)


def first_fault(checks: list[Check]) -> tuple[int, EngineTrap | None]:
    """How many steps pass all checks, and the trap of the next one.

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
    stationary_format, stationary_rows
        Format in which they were loaded, and how many rows may be other than zero.
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
        self.stationary_rows = 1

    def start(self) -> None:
        """Begin a program: no PSUM word counts as written."""
        self.written[:] = False

    def psum(self, columns: slice) -> PartialSums:
        """PSUM words of all partitions: views, not copies."""
        return PartialSums(
            exponent=self.exponent[:, columns],
            significand=self.significand[:, columns],
            acc_width=self.config.acc_width,
        )
