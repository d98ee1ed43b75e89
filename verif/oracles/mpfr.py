"""The functions of the activation engine as mathematics has them, by MPFR, and errors against them.

A value comes as a float64 that is rounded to odd: towards zero, and with its lowest bit set if that
was inexact. Rounding it once more, to fp32 or bf16, then gives what rounding the exact value gives
(S. Boldo, G. Melquiond, *Emulation of FMA and correctly rounded sums*, IEEE Trans. Comput. 57(4),
2008). float64 only stores; it computes no value.
"""

from collections.abc import Callable

import gmpy2
import numpy as np
from gmpy2 import mpfr

from tegula.formats import BF16, FloatFormat
from tegula_golden.numerics.cast import cast

__all__ = ["SPECIAL_RESULTS", "bf16_steps", "exact", "nearest_bf16", "nearest_fp32", "ulp_errors"]

_PRECISION_BITS = 110

_PLUS_ZERO, _MINUS_ZERO, _HALF, _ONE = 0, 0x8000_0000, 0x3F00_0000, 0x3F80_0000
_PLUS_INF, _MINUS_INF, _NAN = 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000
_LARGEST_POWER = 0x7F00_0000

SPECIAL_RESULTS: dict[str, tuple[int, int, int, int]] = {
    "exp": (_ONE, _ONE, _PLUS_INF, _PLUS_ZERO),
    "ln": (_MINUS_INF, _MINUS_INF, _PLUS_INF, _NAN),
    "recip": (_PLUS_INF, _MINUS_INF, _PLUS_ZERO, _MINUS_ZERO),
    "rsqrt": (_PLUS_INF, _MINUS_INF, _PLUS_ZERO, _NAN),
    "sqrt": (_PLUS_ZERO, _MINUS_ZERO, _PLUS_INF, _NAN),
    "sigmoid": (_HALF, _HALF, _ONE, _PLUS_ZERO),
    "tanh": (_PLUS_ZERO, _MINUS_ZERO, _ONE, 0x8000_0000 | _ONE),
    "gelu": (_PLUS_ZERO, _MINUS_ZERO, _PLUS_INF, _MINUS_ZERO),
    "gelu_grad": (_HALF, _HALF, _ONE, _MINUS_ZERO),
    "relu": (_PLUS_ZERO, _PLUS_ZERO, _PLUS_INF, _PLUS_ZERO),
    "pow2_recip": (_LARGEST_POWER, _LARGEST_POWER, _PLUS_ZERO, _PLUS_ZERO),
}
"""Patterns of f(+0), f(-0), f(+Inf), f(-Inf): limits, with the sign from which they are reached.

IEEE 754-2019 section 9.2.1 has those of exp, log, rSqrt and tanh. `pow2_recip` stays at 2**127, so
that a zero divided by its scale is a zero.
"""


def _sigmoid(x: mpfr) -> mpfr:
    if abs(x) < 1:
        return gmpy2.tanh(x / 2) / 2 + 0.5
    if x < 0:
        return 1 / (1 + gmpy2.exp(-x))
    return 1 - 1 / (1 + gmpy2.exp(x))


def _gelu(x: mpfr) -> mpfr:
    scaled = x * gmpy2.rec_sqrt(mpfr(2))
    if abs(x) < 1:
        return x / 2 + x * gmpy2.erf(scaled) / 2
    return x * gmpy2.erfc(-scaled) / 2


def _gelu_grad(x: mpfr) -> mpfr:
    scaled = x * gmpy2.rec_sqrt(mpfr(2))
    slope = x * gmpy2.exp(-scaled * scaled) * gmpy2.rec_sqrt(2 * gmpy2.const_pi())
    if abs(x) < 1:
        return (gmpy2.erf(scaled) / 2 + slope) + 0.5
    return gmpy2.erfc(-scaled) / 2 + slope


def _pow2_recip(x: mpfr) -> mpfr:
    return gmpy2.exp2(min(1 - gmpy2.get_exp(x), 127))


_DEFINITIONS: dict[str, Callable[[mpfr], mpfr]] = {
    "exp": gmpy2.exp,
    "ln": gmpy2.log,
    "recip": lambda x: 1 / x,
    "rsqrt": gmpy2.rec_sqrt,
    "sqrt": gmpy2.sqrt,
    "sigmoid": _sigmoid,
    "tanh": gmpy2.tanh,
    "gelu": _gelu,
    "gelu_grad": _gelu_grad,
    "relu": lambda x: gmpy2.maxnum(x, mpfr(0)),
    "pow2_recip": _pow2_recip,
}
"""Where the last operation is inexact its error is the value's only one that matters."""


def exact(name: str, bits: np.ndarray) -> np.ndarray:
    """The function's values, rounded to odd as float64; NaN where it has none.

    Parameters
    ----------
    name
        A function of `SPECIAL_RESULTS`.
    bits
        fp32 patterns of nonzero finite arguments, uint32, one axis.
    """
    f = _DEFINITIONS[name]
    nearest = np.empty(bits.shape, dtype=np.float64)
    beyond = np.empty(bits.shape, dtype=np.int8)
    with gmpy2.context(precision=_PRECISION_BITS):
        for i, x in enumerate(bits.view(np.float32).tolist()):
            value = f(mpfr(x))
            nearest[i] = rounded = float(value)
            # Which side of `rounded` the value is on; its own rounding decides if on neither.
            rest = value - rounded
            beyond[i] = (rest > 0) - (rest < 0) or -value.rc
    below = np.where(np.signbit(nearest), beyond > 0, beyond < 0)
    patterns = nearest.view(np.uint64) - below
    return np.where(np.isfinite(nearest), (patterns | (beyond != 0)).view(np.float64), nearest)


def nearest_fp32(values: np.ndarray) -> np.ndarray:
    """fp32 patterns of values rounded to odd, to nearest even; NaNs quiet and positive."""
    with np.errstate(over="ignore", under="ignore"):
        patterns = values.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(values), np.uint32(_NAN), patterns)


def nearest_bf16(values: np.ndarray) -> np.ndarray:
    """bf16 codes of values rounded to odd, to nearest even."""
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
        back = single.astype(np.float64)
    away = np.abs(back) > np.abs(values)
    odd = single.view(np.uint32) - away.astype(np.uint32) | (back != values).astype(np.uint32)
    return cast(np.where(np.isnan(values), np.uint32(_NAN), odd), BF16)


def ulp_errors(results: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Distances of fp32 patterns from values, in ulps of the value's nearest fp32 number.

    Infinity counts as 2**128, and a value beyond that as 2**128. Both NaN: 0; one: infinity.
    """
    top = 2.0**128
    nearest = nearest_fp32(values)
    field = np.clip(nearest >> 23 & 0xFF, 1, 254).astype(np.int64)
    ulp = np.ldexp(1.0, field - 150)
    got = results.view(np.float32).astype(np.float64)
    distance = np.abs(np.clip(got, -top, top) - np.clip(values, -top, top)) / ulp
    nan = np.isnan(got).astype(np.int64) + np.isnan(values)
    return np.select([nan == 2, nan == 1], [0.0, np.inf], distance)


def bf16_steps(results: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Number of bf16 codes between the casts of fp32 patterns and the nearest bf16 numbers."""
    got, expected = _ordinal(cast(results, BF16), BF16), _ordinal(nearest_bf16(values), BF16)
    return np.abs(got - expected)


def _ordinal(codes: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    magnitude = codes.astype(np.int64) & fmt.magnitude_mask
    return np.where(codes >> (fmt.width - 1), -magnitude, magnitude)
