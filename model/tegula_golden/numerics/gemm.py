"""A whole matrix product as a tile computes it: passes over K, one fp32 reading, one cast."""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Words
from tegula_golden.numerics.accumulate import PartialSums, accumulate_passes, to_fp32_bits
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import check_codes

__all__ = ["gemm"]

_BLOCK_OUTPUTS = 8192
"""Outputs that are computed at a time: their four aligned products (256 KiB) stay in the cache."""


def _packed_spans(depth: int, rows: int) -> list[tuple[int, int, bool]]:
    """Terms from, to, and whether they are packed: an odd rest ends in one that is not."""
    rest = depth % (2 * rows)
    if rest % 2 == 0:
        return [(0, depth, True)]
    alone = depth - 1 if rest > rows else depth - rest
    return [
        (first, last, last == alone) for first, last in ((0, alone), (alone, depth)) if last > first
    ]


def gemm(
    a_codes: Codes,
    b_codes: Codes,
    fmt_a: FloatFormat,
    fmt_b: FloatFormat,
    fmt_out: FloatFormat,
    *,
    saturate: bool = False,
    acc_width: int = 63,
    rows: int = 8,
    packed: bool = False,
    random: Words | None = None,
) -> Codes:
    """``A @ B`` as a tile of `rows` partitions computes it (contract section 3.9).

    Parameters
    ----------
    a_codes, b_codes
        Codes of A (M x K) and B (K x N).
    fmt_a, fmt_b
        Formats of the operands: bf16 or of 8 bits.
    fmt_out
        Format of the result, fp32 included.
    saturate, random
        See `tegula_golden.numerics.cast.cast`; `random` is M x N.
    acc_width
        W, bits of a partial sum's significand.
    rows
        Partitions of a pass, 1 to 32: the N of the tile.
    packed
        Whether the operands are packed: a pass covers ``2 * rows`` of K.

    Returns
    -------
    numpy.ndarray
        Codes of `fmt_out`, M x N.

    Raises
    ------
    ValueError
        If a dtype or shape does not fit, or a number is out of its range.
    """
    check_codes(a_codes, fmt_a, "a_codes")
    check_codes(b_codes, fmt_b, "b_codes")
    if a_codes.ndim != 2 or b_codes.ndim != 2 or a_codes.shape[1] != b_codes.shape[0]:
        raise ValueError(
            "a_codes and b_codes must be M x K and K x N, not of shapes"
            f" {a_codes.shape} and {b_codes.shape}"
        )
    if 0 in a_codes.shape or 0 in b_codes.shape:
        raise ValueError(
            f"M, K and N must be at least 1: shapes are {a_codes.shape} and {b_codes.shape}"
        )
    depth = a_codes.shape[1]
    spans = _packed_spans(depth, rows) if packed else [(0, depth, False)]
    bits = np.empty((a_codes.shape[0], b_codes.shape[1]), dtype=np.uint32)
    block_columns = min(bits.shape[1], _BLOCK_OUTPUTS)
    block_rows = max(1, _BLOCK_OUTPUTS // block_columns)
    for row in range(0, bits.shape[0], block_rows):
        stationary = a_codes[row : row + block_rows].T
        for column in range(0, bits.shape[1], block_columns):
            moving = b_codes[:, column : column + block_columns]
            partial = PartialSums.empty((stationary.shape[1], moving.shape[1]), acc_width)
            for first, last, is_packed in spans:
                partial = accumulate_passes(
                    *(partial, stationary[first:last], moving[first:last], fmt_a, fmt_b, rows),
                    packed=is_packed,
                )
            block = (slice(row, row + block_rows), slice(column, column + block_columns))
            bits[block] = to_fp32_bits(partial)
    return cast(bits, fmt_out, saturate=saturate, random=random)
