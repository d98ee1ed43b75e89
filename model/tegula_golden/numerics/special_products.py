"""Products with NaN and infinities: the sticky flags that they set (contract section 3.4)."""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Integers, Mask
from tegula_golden.numerics.codes import FINITE, MINUS_INF, NAN, PLUS_INF, operand_table

__all__ = ["has_special", "special_flags"]


def has_special(codes: Codes, fmt: FloatFormat) -> bool:
    """Whether a NaN or an infinity is among the codes."""
    return bool(((codes & fmt.magnitude_mask) > fmt.max_finite).any())


def special_flags(
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
