"""Samples as the tile takes them: codes, in fp8 with a power of two as their scale."""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Floats
from tegula_sw.arrays import float_codes
from tegula_sw.kernels.scaling import LIMIT_EXPONENT, target_exponent

__all__ = ["scaled_codes"]


def scaled_codes(inputs: Floats, fmt: FloatFormat, *, each: bool) -> tuple[Codes, Floats]:
    """Codes of samples times a scale, and the inverse of each sample's scale.

    bf16 has the range of float32 and a scale of 1. In an 8-bit format the scale is that of
    `kernels.scaling` for the largest finite magnitude, and 1 for zeros: no finite number saturates,
    but those beyond the format's largest times ``2 ** LIMIT_EXPONENT``, which become NaN, as
    infinities do. A step with a NaN is skipped: nothing is clipped without a word.

    Parameters
    ----------
    inputs
        float32, (samples, inputs).
    fmt
        The operand's format.
    each
        Whether every sample has a scale of its own, or all have one.

    Returns
    -------
    codes, inverses
        uint8 or uint16, (samples, inputs), and float32, (samples,).
    """
    count = len(inputs)
    if fmt.width > 8:
        return float_codes("samples", inputs, fmt), np.ones(count, np.float32)
    finite = np.where(np.isfinite(inputs), np.abs(inputs), 0)
    largest = finite.max(1) if each else np.full(count, finite.max())
    # frexp is of [0.5, 1): an exponent one above that of 1.F.
    exponent = target_exponent(fmt) - (np.frexp(largest)[1] - 1)
    exponent = np.where(largest == 0, 0, np.clip(exponent, -LIMIT_EXPONENT, LIMIT_EXPONENT))
    scaled = np.ldexp(inputs, exponent[:, None])
    scaled = np.where(np.abs(scaled) < 2.0 ** (target_exponent(fmt) + 1), scaled, np.nan)
    inverses = np.ldexp(np.float32(1), -exponent)
    return float_codes("samples", scaled.astype(inputs.dtype), fmt), inverses.astype(np.float32)
