"""Partial sums on their way through the passes of matmul instructions (contract section 3)."""

import numpy as np

from tegula_golden.array_types import Integers
from tegula_golden.numerics.codes import FINITE, MINUS_INF, PLUS_INF
from tegula_golden.numerics.partial_sums import MAX_ANCHOR

__all__ = ["RunningSums"]


class RunningSums:
    """Partial sums on their way through passes: exponents int16, significands not canonical."""

    def __init__(self, exponent: Integers, significand: Integers, acc_width: int):
        self.exponent = exponent
        self.significand = significand
        self._shift_limit = 63 if significand.dtype != object else acc_width
        """Shifts this long leave only the sign, whatever is shifted."""
        self._write_limit = (1 << (acc_width - 1)) - (1 << (acc_width - 7))

    def add_group(
        self,
        shifted: Integers,
        moving: Integers,
        stationary_exponent: Integers,
        moving_exponent: Integers,
    ) -> None:
        """One group step: up to four rows, `shifted` already multiplied by ``2**G``."""
        q = stationary_exponent[:, :, None] + moving_exponent[:, None, :]
        anchor = np.maximum(q.max(axis=0), self.exponent)
        shifts = np.subtract(anchor, q, out=q)
        np.minimum(shifts, self._shift_limit, out=shifts)
        terms = shifted[:, :, None] * moving[:, None, :]
        terms >>= shifts.astype(terms.dtype)
        raised = np.minimum(anchor - self.exponent, self._shift_limit)
        self.significand >>= raised.astype(self.significand.dtype)
        for term in terms:
            self.significand += term
        self.exponent = anchor

    def raise_to(self, anchor: int) -> None:
        """Raise anchors below `anchor` to it, those of empty sums too (section 3.10)."""
        raised = np.clip(anchor - self.exponent, 0, self._shift_limit)
        self.significand >>= raised.astype(self.significand.dtype)
        self.exponent = np.maximum(self.exponent, anchor).astype(np.int16)

    def add_exact(self, total: Integers, anchor: int) -> None:
        """Add integers in units of the lowest bit of `anchor` (section 3.10)."""
        shift = np.minimum(self.exponent - anchor, self._shift_limit)
        self.significand += total.astype(self.significand.dtype) >> shift.astype(
            self.significand.dtype
        )

    def enter_scaled(self, scales: Integers, base: int) -> None:
        """Let sums enter as multiples of ``2**scales``, at an anchor of at least `base`.

        Section 3.11, step 2.
        """
        relative = np.where(self.exponent == 0, base, self.exponent - scales)
        self.exponent = relative.astype(np.int16)
        self.raise_to(base)

    def leave_scaled(self, scales: Integers) -> None:
        """Let sums count ``2**scales`` times again (section 3.11, step 4)."""
        self.exponent = self.exponent + scales

    def write(self, flags: Integers | None) -> None:
        """PSUM write step: renormalise, then enter the special states of `flags`."""
        limit = self._write_limit
        over = (self.significand < -limit) | (self.significand >= limit)
        if over.any():
            over = over.astype(bool)
            self.significand = np.where(over, self.significand >> 1, self.significand)
            self.exponent = self.exponent + over
        beyond = self.exponent > MAX_ANCHOR
        if beyond.any():
            infinite = np.where(self.significand > 0, PLUS_INF, FINITE)
            infinite = np.where(self.significand < 0, MINUS_INF, infinite)
            overflow_flags = np.where(beyond, infinite, FINITE)
            flags = overflow_flags if flags is None else np.where(flags, flags, overflow_flags)
            self.exponent = np.where(beyond, MAX_ANCHOR, self.exponent)
        if flags is not None:
            self.exponent = np.where(flags, MAX_ANCHOR + flags, self.exponent).astype(np.int16)
            self.significand = np.where(flags, 0, self.significand)
