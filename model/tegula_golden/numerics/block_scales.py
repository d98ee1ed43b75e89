"""Scale codes of block-scaled operands, and what they make of an output (contract section 3.11)."""

from dataclasses import dataclass

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Integers, Mask
from tegula_golden.numerics.codes import FINITE, operand_table
from tegula_golden.numerics.mx import NAN_SCALE

__all__ = ["BASE_ANCHOR", "UNIT_SCALE", "OutputScales", "check_scales", "output_scales"]

UNIT_SCALE = 127
"""E8M0 code of 1, which every column has whose operand is not scaled."""

BASE_ANCHOR = 256
"""Least anchor of scaled operands that are not both packed."""

_LEAST_SUM = -2 * UNIT_SCALE
"""Sum of the scales of a zero column: no value that can be read is below what it keeps."""


@dataclass(frozen=True)
class OutputScales:
    """Scales of the outputs of one instruction, M x F.

    Attributes
    ----------
    exponents
        sigma: the products of an output count ``2**sigma`` times; int16.
    nans
        Outputs of which a scale is NaN.
    """

    exponents: Integers
    nans: Mask


def check_scales(scales: Codes, shape: tuple[int, ...], name: str) -> None:
    """Scale codes must be uint8 of this shape.

    Raises
    ------
    ValueError
        If they are not.
    """
    if not isinstance(scales, np.ndarray) or scales.dtype != np.uint8 or scales.shape != shape:
        kind = f"{scales.dtype} of {scales.shape}" if isinstance(scales, np.ndarray) else scales
        raise ValueError(f"{name} must be E8M0 codes, uint8 of shape {shape}, not {kind!r}")


def _zero_columns(codes: list[Codes], fmt: FloatFormat) -> Mask:
    table = operand_table(fmt)
    zero = (table.significand == 0) & (table.special == FINITE)
    zeros: Mask = np.logical_and.reduce([zero[each].all(axis=0) for each in codes])
    return zeros


def output_scales(
    stationary: list[Codes],
    moving: list[Codes],
    stationary_fmt: FloatFormat,
    moving_fmt: FloatFormat,
    stationary_scales: Codes | None,
    moving_scales: Codes | None,
) -> OutputScales:
    """Scales of the outputs of one instruction.

    Parameters
    ----------
    stationary, moving
        Operands, K x M and K x F: the first codes and, of packed operands, the second ones.
    stationary_fmt, moving_fmt
        Their formats.
    stationary_scales, moving_scales
        E8M0 codes of their columns, M and F; None: the operand is not scaled.
    """
    sides = []
    for codes, fmt, scales in (
        (stationary, stationary_fmt, stationary_scales),
        (moving, moving_fmt, moving_scales),
    ):
        columns = codes[0].shape[1]
        if scales is None:
            sides.append((np.full(columns, UNIT_SCALE, np.int16), np.zeros(columns, dtype=bool)))
        else:
            sides.append((scales.astype(np.int16), _zero_columns(codes, fmt)))
    (left, left_zero), (right, right_zero) = sides
    total = left[:, None] + right[None, :] - 2 * UNIT_SCALE
    either_zero = left_zero[:, None] | right_zero[None, :]
    return OutputScales(
        exponents=np.where(either_zero, _LEAST_SUM, total).astype(np.int16),
        nans=(left == NAN_SCALE)[:, None] | (right == NAN_SCALE)[None, :],
    )
