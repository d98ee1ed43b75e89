"""One matmul instruction on partial sums (contract section 3).

Significands of up to 64 bits are int64; wider ones are Python integers in object arrays, which take
the same path more slowly.
"""

from functools import cache

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Integers, Mask
from tegula_golden.numerics.codes import (
    FINITE,
    MINUS_INF,
    NAN,
    PLUS_INF,
    check_codes,
    operand_table,
)
from tegula_golden.numerics.partial_sums import (
    MAX_ANCHOR,
    MIN_ACC_WIDTH,
    PartialSums,
    significand_dtype,
    to_fp32_bits,
)

__all__ = [
    "GROUP",
    "MAX_ROWS",
    "PartialSums",
    "accumulate",
    "accumulate_passes",
    "to_fp32_bits",
]

GROUP = 4
"""Consecutive k that are added in one step."""

MAX_ROWS = 32
"""Most rows of a pass: this many products cannot carry a PSUM significand past its sign."""

_NO_ANCHOR = -4096
"""Exponent of a zero or special operand: no sum with another exponent is an anchor."""


@cache
def _lane_tables(fmt: FloatFormat) -> tuple[Integers, Integers]:
    """By code: significand (int64) and exponent (int16; `_NO_ANCHOR` where no product counts)."""
    table = operand_table(fmt)
    exponent = np.where(table.significand == 0, _NO_ANCHOR, table.exponent)
    return table.significand, exponent.astype(np.int16)


def _has_special(codes: Codes, fmt: FloatFormat) -> bool:
    return bool(((codes & fmt.magnitude_mask) > fmt.max_finite).any())


def _special_flags(
    stationary: Codes,
    moving: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
) -> Integers:
    """Sticky flags {ninf, pinf} (M x F) that the products of all rows set."""
    a = _classes(stationary, stationary_fmt)
    b = _classes(moving, moving_fmt)

    def any_product(pairs: list[tuple[str, str]]) -> Mask:
        left = np.concatenate([a[x] for x, _ in pairs]).astype(np.int64)
        right = np.concatenate([b[y] for _, y in pairs]).astype(np.int64)
        return left.T @ right > 0

    plus = any_product([("+inf", "+"), ("-inf", "-"), ("+", "+inf"), ("-", "-inf")])
    minus = any_product([("+inf", "-"), ("-inf", "+"), ("+", "-inf"), ("-", "+inf")])
    nan = any_product([("nan", "any"), ("any", "nan"), ("inf", "zero"), ("zero", "inf")])
    return plus * PLUS_INF | minus * MINUS_INF | nan * NAN


def _classes(codes: Codes, fmt: FloatFormat) -> dict[str, Mask]:
    """Masks of the operands by class; "+" and "-" hold the infinities, not the zeros."""
    table = operand_table(fmt)
    significand, special = table.significand[codes], table.special[codes]
    plus_inf, minus_inf = special == PLUS_INF, special == MINUS_INF
    return {
        "any": np.ones(codes.shape, dtype=bool),
        "nan": special == NAN,
        "+inf": plus_inf,
        "-inf": minus_inf,
        "inf": plus_inf | minus_inf,
        "zero": (special == FINITE) & (significand == 0),
        "+": plus_inf | (significand > 0),
        "-": minus_inf | (significand < 0),
    }


class _Running:
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

    def write(self, flags: Integers | None) -> None:
        """PSUM write step: renormalise, then enter the special states of `flags`."""
        limit = self._write_limit
        over = (self.significand < -limit) | (self.significand >= limit)
        if over.any():
            over = over.astype(bool)
            overflow = over & (self.exponent == MAX_ANCHOR)
            lost = np.where(self.significand < 0, MINUS_INF, PLUS_INF)
            self.significand = np.where(over, self.significand >> 1, self.significand)
            self.exponent = self.exponent + over
            if overflow.any():
                overflow_flags = np.where(overflow, lost, FINITE)
                flags = overflow_flags if flags is None else np.where(flags, flags, overflow_flags)
        if flags is not None:
            self.exponent = np.where(flags, MAX_ANCHOR + flags, self.exponent).astype(np.int16)
            self.significand = np.where(flags, 0, self.significand)


def _sticky_flags(exponent: Integers) -> Integers | None:
    """Flags that stored words bring along, or None if there are none."""
    if exponent.size == 0 or exponent.max() <= MAX_ANCHOR:
        return None
    return np.maximum(exponent.astype(np.int64) - MAX_ANCHOR, 0)


def accumulate_passes(
    partial: PartialSums,
    stationary_codes: Codes,
    moving_codes: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
    rows: int,
) -> PartialSums:
    """Consecutive accumulating matmul instructions, each of `rows` rows of K (the last: the rest).

    Equal to `accumulate` pass by pass, without packing the words in between.

    Parameters
    ----------
    partial, stationary_codes, moving_codes, stationary_fmt, moving_fmt
        See `accumulate`; K may be anything.
    rows
        Rows of a pass, 1 to 32: the N of the tile.

    Raises
    ------
    ValueError
        If `rows` is out of range, or as `accumulate`.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"rows must be 1 to {MAX_ROWS}, not {rows}")
    check_codes(stationary_codes, stationary_fmt, "stationary_codes")
    check_codes(moving_codes, moving_fmt, "moving_codes")
    if stationary_codes.ndim != 2 or moving_codes.ndim != 2:
        raise ValueError(
            "stationary_codes and moving_codes must be K x M and K x F, not of shapes"
            f" {stationary_codes.shape} and {moving_codes.shape}"
        )
    terms = stationary_codes.shape[0]
    if terms != moving_codes.shape[0] or terms == 0:
        raise ValueError(
            "stationary_codes and moving_codes must have the same K >= 1, not"
            f" {terms} and {moving_codes.shape[0]}"
        )
    shape = (stationary_codes.shape[1], moving_codes.shape[1])
    if partial.exponent.shape != shape:
        raise ValueError(f"partial must have the shape {shape}, not {partial.exponent.shape}")

    dtype = significand_dtype(partial.acc_width)
    significands, exponents = _lane_tables(stationary_fmt)
    stationary = significands[stationary_codes].astype(dtype) << (partial.acc_width - MIN_ACC_WIDTH)
    stationary_exponent = exponents[stationary_codes]
    significands, exponents = _lane_tables(moving_fmt)
    moving = significands[moving_codes].astype(dtype, copy=False)
    moving_exponent = exponents[moving_codes]
    special = _has_special(stationary_codes, stationary_fmt) or _has_special(
        moving_codes, moving_fmt
    )

    running = _Running(
        partial.exponent.astype(np.int16), partial.significand.copy(), partial.acc_width
    )
    for first in range(0, terms, rows):
        last = min(first + rows, terms)
        flags = _sticky_flags(running.exponent)
        if special:
            new = _special_flags(
                stationary_codes[first:last], moving_codes[first:last], stationary_fmt, moving_fmt
            )
            flags = new if flags is None else flags | new
        for row in range(first, last, GROUP):
            group = slice(row, min(row + GROUP, last))
            running.add_group(
                stationary[group],
                moving[group],
                stationary_exponent[group],
                moving_exponent[group],
            )
        running.write(flags)
    return PartialSums(
        exponent=running.exponent.astype(np.int64),
        significand=running.significand,
        acc_width=partial.acc_width,
    )


def accumulate(
    partial: PartialSums,
    stationary_codes: Codes,
    moving_codes: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
) -> PartialSums:
    """One matmul instruction: ``partial + stationary.T @ moving``, K products an output.

    Rows are added in groups of four (k = 4g .. 4g + 3), then the PSUM write step renormalises and
    enters the special states. To overwrite, start from `PartialSums.empty`.

    Parameters
    ----------
    partial
        PSUM words, M x F; not changed.
    stationary_codes, moving_codes
        Codes, K x M and K x F, with K from 1 to 32.
    stationary_fmt, moving_fmt
        Their formats: bf16 or of 8 bits.

    Returns
    -------
    PartialSums
        The words that the instruction writes.

    Raises
    ------
    ValueError
        If a dtype or shape does not fit, or K is more than 32.
    """
    if stationary_codes.ndim == 2 and stationary_codes.shape[0] > MAX_ROWS:
        raise ValueError(
            f"stationary_codes must have at most {MAX_ROWS} rows (one matmul instruction),"
            f" not {stationary_codes.shape[0]}"
        )
    return accumulate_passes(
        partial, stationary_codes, moving_codes, stationary_fmt, moving_fmt, MAX_ROWS
    )
