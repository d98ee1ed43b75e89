"""Vector arithmetic on fp32 patterns (contract sections 5.1 and 5.2).

Arrays of uint32 bit patterns go in and come out. numpy's float32 addition and multiplication are
those of IEEE 754 (nearest even, with subnormals); the NaNs of the machine are not used: every NaN
result is `QNAN`.
"""

from collections.abc import Callable

import numpy as np

from tegula.formats import BF16, format_by_code
from tegula.isa.operations import Operation
from tegula_golden.array_types import Codes, Integers, Mask, Patterns
from tegula_golden.numerics.codes import code_dtype, decode

__all__ = [
    "ABS_MASK",
    "MINUS_INF",
    "ONE",
    "QNAN",
    "RAW16",
    "RAW32",
    "SIGN_BIT",
    "add",
    "check_patterns",
    "compare",
    "decode_pattern",
    "keeps",
    "maximum",
    "minimum",
    "multiply",
    "operate",
]

QNAN = np.uint32(0x7FC0_0000)
ONE = np.uint32(0x3F80_0000)
ZERO = np.uint32(0)
SIGN_BIT = np.uint32(0x8000_0000)
ABS_MASK = np.uint32(0x7FFF_FFFF)
MINUS_INF = np.uint32(0xFF80_0000)
_INFINITY = np.uint32(0x7F80_0000)

RAW32, RAW16 = 6, 7
"""Codes of a format field that stand for patterns of 32 and 16 bits and for no numbers."""


def decode_pattern(words: Codes, format_code: int) -> Patterns:
    """The fp32 pattern as which each code enters a lane.

    Parameters
    ----------
    words
        Unsigned integers of any width, any shape; a code is in the low bits, what is above it is
        ignored.
    format_code
        `FloatFormat.code`, `RAW32` or `RAW16`.

    Returns
    -------
    numpy.ndarray
        uint32, shaped like `words`. bf16 is the upper half of its pattern, NaNs included; NaNs of
        8-bit formats become `QNAN` with their sign; patterns of fp32 and of the raw formats are
        unchanged.

    Raises
    ------
    ValueError
        If `words` is not an array of unsigned integers, or no format has the code.
    """
    if not isinstance(words, np.ndarray) or words.dtype.kind != "u":
        raise ValueError(f"words must be an array of unsigned integers, not {words!r:.80}")
    if format_code == RAW32:
        return words.astype(np.uint32)
    if format_code == RAW16:
        return words.astype(np.uint16).astype(np.uint32)
    if format_code == BF16.code:
        return words.astype(np.uint16).astype(np.uint32) << np.uint32(16)
    fmt = format_by_code(format_code)
    return decode(words.astype(code_dtype(fmt)), fmt).view(np.uint32)


def check_patterns(*operands: Patterns) -> None:
    """Check that operands are patterns.

    Raises
    ------
    ValueError
        If one is not a uint32 array.
    """
    for patterns in operands:
        if getattr(patterns, "dtype", None) != np.uint32:
            kind = getattr(patterns, "dtype", type(patterns).__name__)
            raise ValueError(f"operands must be uint32 patterns, not {kind}")


def _is_nan(a: Patterns) -> Mask:
    """Mask of the NaNs."""
    return (a & ABS_MASK) > _INFINITY


def _is_zero(a: Patterns) -> Mask:
    """Mask of the zeros, of either sign."""
    zero: Mask = (a & ABS_MASK) == 0
    return zero


def _arithmetic(function: np.ufunc, a: Patterns, b: Patterns) -> Patterns:
    check_patterns(a, b)
    with np.errstate(all="ignore"):
        result = function(a.view(np.float32), b.view(np.float32)).view(np.uint32)
    return np.where(_is_nan(result), QNAN, result)


def add(a: Patterns, b: Patterns) -> Patterns:
    """``a + b``, rounded to nearest even; ``x - x`` is +0, a NaN result is `QNAN`.

    Parameters
    ----------
    a, b
        uint32 patterns, of shapes that broadcast (as of every function of two operands here).

    Returns
    -------
    numpy.ndarray
        uint32 patterns.

    Raises
    ------
    ValueError
        If an operand is not uint32.
    """
    return _arithmetic(np.add, a, b)


def multiply(a: Patterns, b: Patterns) -> Patterns:
    """``a * b``, rounded to nearest even; a NaN result is `QNAN`. As `add`."""
    return _arithmetic(np.multiply, a, b)


def _order(a: Patterns) -> Integers:
    """int32 keys in the order of the numbers, with -0 right below +0. NaNs are at the ends."""
    signed = a.view(np.int32)
    return signed ^ ((signed >> np.int32(31)) & np.int32(ABS_MASK))


def _either_nan(a: Patterns, b: Patterns) -> Mask:
    return _is_nan(a) | _is_nan(b)


def maximum(a: Patterns, b: Patterns) -> Patterns:
    """IEEE 754-2019 section 9.6 maximum: +0 above -0; `QNAN` if an operand is a NaN. As `add`."""
    check_patterns(a, b)
    larger = np.where(_order(a) >= _order(b), a, b)
    return np.where(_either_nan(a, b), QNAN, larger)


def minimum(a: Patterns, b: Patterns) -> Patterns:
    """IEEE 754-2019 section 9.6 minimum: -0 below +0; `QNAN` if an operand is a NaN. As `add`."""
    check_patterns(a, b)
    smaller = np.where(_order(a) <= _order(b), a, b)
    return np.where(_either_nan(a, b), QNAN, smaller)


_COMPARISONS = {
    Operation.EQ: np.equal,
    Operation.NE: np.not_equal,
    Operation.LT: np.less,
    Operation.LE: np.less_equal,
    Operation.GT: np.greater,
    Operation.GE: np.greater_equal,
}


def compare(op: Operation, a: Patterns, b: Patterns) -> Patterns:
    """`ONE` where the comparison `op` holds, else +0: zeros are equal, with a NaN only `NE` holds.

    Raises
    ------
    ValueError
        If an operand is not uint32 or `op` is no comparison.
    """
    check_patterns(a, b)
    if op not in _COMPARISONS:
        raise ValueError(f"{op!r} is not a comparison")
    with np.errstate(invalid="ignore"):
        holds = _COMPARISONS[op](a.view(np.float32), b.view(np.float32))
    return np.where(holds, ONE, ZERO)


def _select(a: Patterns, b: Patterns) -> Patterns:
    check_patterns(a, b)
    return np.where(_is_zero(a), ZERO, b)


def _pass(a: Patterns, b: Patterns) -> Patterns:
    check_patterns(a, b)
    return a | b & ZERO


_OPERATIONS: dict[Operation, Callable[[Patterns, Patterns], Patterns]] = {
    Operation.PASS: _pass,
    Operation.ADD: add,
    Operation.SUB: lambda a, b: add(a, b ^ SIGN_BIT),
    Operation.RSUB: lambda a, b: add(b, a ^ SIGN_BIT),
    Operation.MUL: multiply,
    Operation.MAX: maximum,
    Operation.MIN: minimum,
    Operation.SELECT: _select,
    Operation.MERGE: _select,
    Operation.ABS: lambda a, b: _pass(a, b) & ABS_MASK,
}


def operate(op: Operation, a: Patterns, b: Patterns) -> Patterns:
    """``a op b`` for every operation of section 5.2.

    The value of `MERGE` is that of `SELECT`; `keeps` says where it is not written.

    Operands and results are those of `add`; `op` is an operation or its number.

    Raises
    ------
    ValueError
        If an operand is not uint32, or `op` is no operation.
    """
    op = Operation(op)
    if op in _COMPARISONS:
        return compare(op, a, b)
    return _OPERATIONS[op](a, b)


def keeps(op: Operation, a: Patterns) -> Mask:
    """Mask of results that are not written: `MERGE` with an `a` of zero. bool, shaped as `a`.

    Raises
    ------
    ValueError
        If `a` is not uint32, or `op` is no operation.
    """
    check_patterns(a)
    return _is_zero(a) & (Operation(op) == Operation.MERGE)
