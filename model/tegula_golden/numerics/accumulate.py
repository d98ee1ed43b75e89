"""One matmul instruction on partial sums (contract section 3).

Significands of up to 64 bits are int64; wider ones are Python integers in object arrays, which take
the same path more slowly.
"""

from functools import cache

import numpy as np

from tegula.formats import MX_BLOCK, FloatFormat
from tegula_golden.array_types import Codes, Integers
from tegula_golden.numerics.block_scales import (
    BASE_ANCHOR,
    check_scales,
    output_scales,
)
from tegula_golden.numerics.codes import (
    NAN,
    check_codes,
    operand_table,
)
from tegula_golden.numerics.packed import packed_anchor, second_sum
from tegula_golden.numerics.partial_sums import (
    MAX_ANCHOR,
    MIN_ACC_WIDTH,
    PartialSums,
    significand_dtype,
    to_fp32_bits,
)
from tegula_golden.numerics.running_sums import RunningSums
from tegula_golden.numerics.special_products import has_special, special_flags

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


def _sticky_flags(exponent: Integers) -> Integers | None:
    """Flags that stored words bring along, or None if there are none."""
    if exponent.size == 0 or exponent.max() <= MAX_ANCHOR:
        return None
    return np.maximum(exponent.astype(np.int64) - MAX_ANCHOR, 0)


def _check_operands(
    partial: PartialSums,
    stationary_codes: Codes,
    moving_codes: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
) -> None:
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


def accumulate_passes(
    partial: PartialSums,
    stationary_codes: Codes,
    moving_codes: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
    rows: int,
    *,
    packed: bool = False,
    stationary_scales: Codes | None = None,
    moving_scales: Codes | None = None,
) -> PartialSums:
    """Consecutive accumulating matmul instructions, each of `rows` partitions (the last: the rest).

    Equal to `accumulate` pass by pass, without packing the words in between.

    Parameters
    ----------
    partial, stationary_codes, moving_codes, stationary_fmt, moving_fmt
        See `accumulate`; K may be anything.
    rows
        Partitions of a pass, 1 to 32: the N of the tile.
    packed
        Whether both operands are packed: rows 2p and 2p + 1 of K are the two codes of a word, and a
        pass covers ``2 * rows`` of them.
    stationary_scales, moving_scales
        E8M0 codes of an operand that is scaled, ceil(K / 32) x M and x F; None: it is not.

    Raises
    ------
    ValueError
        If `rows` is out of range, a pair of packed or scaled formats is not allowed, a pass has
        terms of two blocks, or as `accumulate`.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"rows must be 1 to {MAX_ROWS}, not {rows}")
    _check_operands(partial, stationary_codes, moving_codes, stationary_fmt, moving_fmt)
    terms = rows * (2 if packed else 1)
    blocks = -(-stationary_codes.shape[0] // MX_BLOCK)
    if _check_scales(partial, (blocks,), stationary_scales, moving_scales) and MX_BLOCK % terms:
        raise ValueError(
            f"a pass of scaled operands must divide {MX_BLOCK} terms, not cover {terms}"
        )
    operands = [(stationary_codes, moving_codes)]
    if packed:
        operands = [
            (stationary_codes[::2], moving_codes[::2]),
            (_second_rows(stationary_codes), _second_rows(moving_codes)),
        ]
    return _passes(
        *(partial, operands, stationary_fmt, moving_fmt, rows),
        packed=packed,
        scales=(stationary_scales, moving_scales),
    )


def _check_scales(
    partial: PartialSums,
    blocks: tuple[int, ...],
    stationary: Codes | None,
    moving: Codes | None,
) -> bool:
    """Whether an operand is scaled; if so, each of its columns must have a code in each block."""
    for axis, (name, scales) in enumerate((("stationary", stationary), ("moving", moving))):
        if scales is not None:
            check_scales(scales, (*blocks, partial.exponent.shape[axis]), f"{name}_scales")
    return stationary is not None or moving is not None


def _second_rows(codes: Codes) -> Codes:
    """Rows 1, 3, 5 and so on, with a row of zeros where an even one is the last."""
    zeros = np.zeros((codes.shape[0] % 2, codes.shape[1]), dtype=codes.dtype)
    return np.concatenate([codes[1::2], zeros])


def _passes(
    partial: PartialSums,
    operands: list[tuple[Codes, Codes]],
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
    rows: int,
    *,
    packed: bool,
    scales: tuple[Codes | None, ...],
) -> PartialSums:
    """`accumulate_passes` on first codes and, of packed operands, second ones of as many rows.

    Second products have an anchor where both operands are `packed`; of one only their flags count.
    """
    dtype = significand_dtype(partial.acc_width)
    stationary_codes, moving_codes = operands[0]
    significands, exponents = _lane_tables(stationary_fmt)
    stationary = significands[stationary_codes].astype(dtype) << (partial.acc_width - MIN_ACC_WIDTH)
    stationary_exponent = exponents[stationary_codes]
    significands, exponents = _lane_tables(moving_fmt)
    moving = significands[moving_codes].astype(dtype, copy=False)
    moving_exponent = exponents[moving_codes]
    anchor = packed_anchor(stationary_fmt, moving_fmt, partial.acc_width) if packed else None
    scaled = any(side is not None for side in scales)
    if scaled and not stationary_fmt.width == moving_fmt.width == 8:
        raise ValueError(
            "scaled operands must be of 8-bit formats, both, not"
            f" {stationary_fmt.name} x {moving_fmt.name}"
        )
    special = any(
        has_special(left, stationary_fmt) or has_special(right, moving_fmt)
        for left, right in operands
    )

    running = RunningSums(
        partial.exponent.astype(np.int16), partial.significand.copy(), partial.acc_width
    )
    for first in range(0, len(stationary_codes), rows):
        last = min(first + rows, len(stationary_codes))
        steps = [(left[first:last], right[first:last]) for left, right in operands]
        flags = _sticky_flags(running.exponent)
        for left, right in steps if special else ():
            flags = _merged(flags, special_flags(left, right, stationary_fmt, moving_fmt))
        if scaled:
            block = first * len(steps) // MX_BLOCK
            of_outputs = output_scales(
                *([left for left, _ in steps], [right for _, right in steps]),
                *(stationary_fmt, moving_fmt),
                *(None if side is None else side[block] for side in scales),
            )
            flags = _merged(flags, of_outputs.nans * NAN)
            running.enter_scaled(of_outputs.exponents, BASE_ANCHOR if anchor is None else anchor)
        elif anchor is not None:
            running.raise_to(anchor)
        for row in range(first, last, GROUP):
            group = slice(row, min(row + GROUP, last))
            running.add_group(
                stationary[group],
                moving[group],
                stationary_exponent[group],
                moving_exponent[group],
            )
        if anchor is not None:
            running.add_exact(second_sum(*steps[1], stationary_fmt, moving_fmt), anchor)
        if scaled:
            running.leave_scaled(of_outputs.exponents)
        running.write(flags)
    return PartialSums(
        exponent=running.exponent.astype(np.int64),
        significand=running.significand,
        acc_width=partial.acc_width,
    )


def _merged(flags: Integers | None, new: Integers) -> Integers:
    return new if flags is None else flags | new


def accumulate(
    partial: PartialSums,
    stationary_codes: Codes,
    moving_codes: Codes,
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
    *,
    stationary_second: Codes | None = None,
    moving_second: Codes | None = None,
    stationary_scales: Codes | None = None,
    moving_scales: Codes | None = None,
) -> PartialSums:
    """One matmul instruction: ``partial + stationary.T @ moving``, K products an output.

    Rows are added in groups of four (k = 4g .. 4g + 3), then the PSUM write step renormalises and
    enters the special states. To overwrite, start from `PartialSums.empty`.

    Parameters
    ----------
    partial
        PSUM words, M x F; not changed.
    stationary_codes, moving_codes
        Codes, K x M and K x F, with K from 1 to 32: of packed operands, the first ones.
    stationary_fmt, moving_fmt
        Their formats: bf16 or of 8 bits.
    stationary_second, moving_second
        Second codes of an operand that is packed, shaped like the first; None: it is not.
    stationary_scales, moving_scales
        E8M0 codes (uint8) of an operand that is scaled, M and F; None: it is not.

    Returns
    -------
    PartialSums
        The words that the instruction writes.

    Raises
    ------
    ValueError
        If a dtype or shape does not fit, K is more than 32, both operands are packed in formats
        whose pair is not allowed, or one is scaled and the other not of 8 bits.
    """
    if stationary_codes.ndim == 2 and stationary_codes.shape[0] > MAX_ROWS:
        raise ValueError(
            f"stationary_codes must have at most {MAX_ROWS} rows (one matmul instruction),"
            f" not {stationary_codes.shape[0]}"
        )
    _check_operands(partial, stationary_codes, moving_codes, stationary_fmt, moving_fmt)
    for name, first, second, fmt in (
        ("stationary", stationary_codes, stationary_second, stationary_fmt),
        ("moving", moving_codes, moving_second, moving_fmt),
    ):
        if second is not None:
            check_codes(second, fmt, f"{name}_second")
            if fmt.width != 8 or second.shape != first.shape:
                raise ValueError(
                    f"{name}_second must be of an 8-bit format and shaped as the first codes,"
                    f" {first.shape}, not {fmt.name} of {second.shape}"
                )
    operands = [(stationary_codes, moving_codes)]
    if stationary_second is not None or moving_second is not None:
        # Zeros in place of second codes that are not there.
        operands.append(
            (
                np.zeros_like(stationary_codes) if stationary_second is None else stationary_second,
                np.zeros_like(moving_codes) if moving_second is None else moving_second,
            )
        )
    _check_scales(partial, (), stationary_scales, moving_scales)
    return _passes(
        *(partial, operands, stationary_fmt, moving_fmt, MAX_ROWS),
        packed=stationary_second is not None and moving_second is not None,
        scales=tuple(
            None if side is None else side[None] for side in (stationary_scales, moving_scales)
        ),
    )
