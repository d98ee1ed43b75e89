"""A whole matrix product as a tile computes it: passes over K, one fp32 reading, one cast."""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from tegula.formats import MX_BLOCK, FloatFormat
from tegula_golden.array_types import Codes, Integers, Words
from tegula_golden.numerics.accumulate import PartialSums, accumulate_passes, to_fp32_bits
from tegula_golden.numerics.block_scales import check_scales
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import check_codes

__all__ = ["gemm"]

_BLOCK_OUTPUTS = 8192
"""Outputs that are computed at a time: their four aligned products (256 KiB) stay in the cache."""


@dataclass(frozen=True)
class _Span:
    """Terms of K that are multiplied alike: their indices, and whether they are packed."""

    terms: Integers
    packed: bool


def _spans(first: int, last: int, rows: int, packed: bool) -> list[_Span]:
    """Spans of some terms: if they are packed, an odd rest is one by itself.

    Its first codes are its first half, the middle one included, or it is not packed.
    """
    terms = np.arange(first, last)
    rest = len(terms) % (2 * rows)
    if not packed or rest % 2 == 0:
        return [_Span(terms, packed)]
    whole, tail = np.split(terms, [len(terms) - rest])
    if rest > rows:
        middle = rest // 2
        turned = np.append(np.stack([tail[:middle], tail[middle + 1 :]], axis=1), tail[middle])
        spans = [_Span(whole, packed=True), _Span(turned, packed=True)]
    else:
        spans = [_Span(whole, packed=True), _Span(tail, packed=False)]
    return [span for span in spans if span.terms.size]


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
    scales_a: Codes | None = None,
    scales_b: Codes | None = None,
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
    scales_a, scales_b
        E8M0 codes (uint8) of an operand that is scaled by blocks of 32 terms of K (contract
        section 3.11), M x ceil(K / 32) and ceil(K / 32) x N; None: it is not. A pass then covers at
        most 32 terms.

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
    bits = np.empty((a_codes.shape[0], b_codes.shape[1]), dtype=np.uint32)
    blocks = -(-depth // MX_BLOCK)
    if scales_a is not None:
        check_scales(scales_a, (bits.shape[0], blocks), "scales_a")
    if scales_b is not None:
        check_scales(scales_b, (blocks, bits.shape[1]), "scales_b")
    if scales_a is None and scales_b is None:
        spans = _spans(0, depth, rows, packed)
    else:
        rows = min(rows, MX_BLOCK // 2) if packed else rows
        starts = range(0, depth, MX_BLOCK)
        blocks_of = (_spans(at, min(at + MX_BLOCK, depth), rows, packed) for at in starts)
        spans = list(chain.from_iterable(blocks_of))
    block_columns = min(bits.shape[1], _BLOCK_OUTPUTS)
    block_rows = max(1, _BLOCK_OUTPUTS // block_columns)
    for row in range(0, bits.shape[0], block_rows):
        rows_of = slice(row, row + block_rows)
        stationary = a_codes[rows_of].T
        for column in range(0, bits.shape[1], block_columns):
            columns_of = slice(column, column + block_columns)
            moving = b_codes[:, columns_of]
            partial = PartialSums.empty((stationary.shape[1], moving.shape[1]), acc_width)
            for span in spans:
                terms, block = span.terms, span.terms[0] // MX_BLOCK
                partial = accumulate_passes(
                    *(partial, stationary[terms], moving[terms], fmt_a, fmt_b, rows),
                    packed=span.packed,
                    stationary_scales=None if scales_a is None else scales_a[rows_of, block][None],
                    moving_scales=None if scales_b is None else scales_b[block, columns_of][None],
                )
            bits[rows_of, columns_of] = to_fp32_bits(partial)
    return cast(bits, fmt_out, saturate=saturate, random=random)
