"""The numerics contract a second time: number by number, on Python integers and fractions.

Slow, and written from docs/numerics.md without an import from the vectorised modules, so that a
mistake would have to be made twice. The section that each function follows is named.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache

from tegula.formats import BF16, FP32, FloatFormat

__all__ = [
    "cast_code",
    "dot_words",
    "exact_dot",
    "exact_word",
    "group_step",
    "operand",
    "packed_anchor",
    "psum_write",
    "read_fp32",
    "round_value",
    "value",
]

Number = Fraction | str
"""An exact value, or "nan", "+inf", "-inf"."""


def _sign(code: int, fmt: FloatFormat) -> int:
    return -1 if code >> (fmt.width - 1) else 1


@cache
def value(code: int, fmt: FloatFormat) -> Number:
    """Section 1.2: the number that a code stands for."""
    magnitude = code & fmt.magnitude_mask
    field, fraction = divmod(magnitude, 1 << fmt.mantissa_bits)
    if fmt.ieee_specials and field == (1 << fmt.exponent_bits) - 1:
        return "nan" if fraction else ("+inf" if _sign(code, fmt) > 0 else "-inf")
    if not fmt.ieee_specials and magnitude == fmt.magnitude_mask:
        return "nan"
    significand = Fraction(fraction, 1 << fmt.mantissa_bits) + (field > 0)
    return _sign(code, fmt) * significand * Fraction(2) ** (max(field, 1) - fmt.bias)


@cache
def operand(code: int, fmt: FloatFormat) -> tuple[int, int] | str:
    """Section 1.3: significand and exponent of an operand, as of the bf16 number equal to it."""
    number = value(code, fmt)
    if isinstance(number, str):
        return number
    if fmt is BF16:
        exponent = max(code >> 7 & 0xFF, 1)
    else:
        exponent = 1
        while abs(number) >= Fraction(2) ** (exponent - 126):
            exponent += 1
    significand = number / Fraction(2) ** (exponent - 134)
    assert significand.denominator == 1
    assert abs(significand) <= 255
    return int(significand), exponent


def _special_product(a: Number | tuple[int, int], b: Number | tuple[int, int]) -> int:
    """Section 3.4: flags {ninf, pinf} of a product with a special operand."""
    if "nan" in (a, b):
        return 3
    factors = []
    for factor in (a, b):
        if isinstance(factor, str):
            factors.append(1 if factor == "+inf" else -1)
        else:
            factors.append((factor[0] > 0) - (factor[0] < 0))
    product = factors[0] * factors[1]
    return {1: 1, -1: 2, 0: 3}[product]


def group_step(
    exponent: int, significand: int, products: Sequence[tuple[int, int]], acc_width: int
) -> tuple[int, int]:
    """Section 3.3: add up to four products ``(P, q)``."""
    guard_bits = acc_width - 29
    products = [(p, q) for p, q in products if p != 0]
    anchor = max([exponent, *(q for _, q in products)])
    total = significand >> (anchor - exponent)
    for p, q in products:
        total += (p << guard_bits) >> (anchor - q)
    assert -(1 << (acc_width - 1)) <= total < 1 << (acc_width - 1), "a partial sum wrapped"
    return anchor, total


def psum_write(exponent: int, significand: int, flags: int, acc_width: int) -> tuple[int, int]:
    """Sections 3.4 and 3.5: the word that a matmul instruction writes."""
    if flags:
        return 508 + flags, 0
    limit = 63 << (acc_width - 7)
    if not -limit <= significand < limit:
        exponent, significand = exponent + 1, significand // 2
    if exponent <= 508:
        return exponent, significand
    return (508 + (significand > 0) + 2 * (significand < 0)), 0


def packed_anchor(fmt_a: FloatFormat, fmt_b: FloatFormat, acc_width: int) -> int:
    """Section 3.10: the anchor whose lowest bit is the product of both smallest numbers."""
    unit = value(1, fmt_a) * value(1, fmt_b)
    (anchor,) = (e for e in range(2, 509) if exact_word(e, 1, acc_width) == unit)
    largest = operand(fmt_a.max_finite, fmt_a)[1] + operand(fmt_b.max_finite, fmt_b)[1]
    assert largest <= anchor, "the pair is not allowed"
    return anchor


def dot_words(
    a: Sequence[int],
    b: Sequence[int],
    fmt_a: FloatFormat,
    fmt_b: FloatFormat,
    acc_width: int,
    rows: int,
    start: tuple[int, int] = (0, 0),
    *,
    packed: bool = False,
    scales: Sequence[tuple[int | None, int | None]] | None = None,
) -> tuple[int, int]:
    """The word of one output after matmul instructions of `rows` partitions each.

    With `packed` (section 3.10) terms 2p and 2p + 1 are the codes of a word. `scales` has the scale
    codes of both columns of each instruction (section 3.11; None: the operand is not scaled).
    """
    exponent, significand = start
    terms = 2 if packed else 1
    anchor = packed_anchor(fmt_a, fmt_b, acc_width) if packed else 0
    for number, first in enumerate(range(0, len(a), terms * rows)):
        flags = exponent - 508 if exponent > 508 else 0
        if flags:
            exponent, significand = 0, 0
        last = min(first + terms * rows, len(a))
        power = 0
        if scales is not None:
            columns = ((a[first:last], fmt_a), (b[first:last], fmt_b))
            nan, power = _block_scale(scales[number], columns)
            flags |= nan
            anchor = packed_anchor(fmt_a, fmt_b, acc_width) if packed else 256
            exponent = exponent - power if exponent else anchor
        if exponent < anchor:
            exponent, significand = anchor, significand >> (anchor - exponent)
        second_sum = Fraction(0)
        for group in range(first, last, 4 * terms):
            products = []
            for k in range(group, min(group + 4 * terms, last)):
                x, y = operand(a[k], fmt_a), operand(b[k], fmt_b)
                if isinstance(x, str) or isinstance(y, str):
                    flags |= _special_product(x, y)
                elif k % terms == 0:
                    products.append((x[0] * y[0], x[1] + y[1]))
                else:
                    second_sum += value(a[k], fmt_a) * value(b[k], fmt_b)
            exponent, significand = group_step(exponent, significand, products, acc_width)
        if packed:
            in_units = second_sum / exact_word(anchor, 1, acc_width)
            assert in_units.denominator == 1
            significand += int(in_units) >> (exponent - anchor)
            assert -(1 << (acc_width - 1)) <= significand < 1 << (acc_width - 1), "it wrapped"
        exponent, significand = psum_write(exponent + power, significand, flags, acc_width)
    return exponent, significand


def _block_scale(
    codes: tuple[int | None, int | None], columns: Sequence[tuple[Sequence[int], FloatFormat]]
) -> tuple[int, int]:
    """Section 3.11: flags of an instruction's scales, and the power of two that they are."""
    flags = 3 if 255 in codes else 0
    power = 0
    for code, (column, fmt) in zip(codes, columns, strict=True):
        if code is None:
            continue
        if all(value(each, fmt) == 0 for each in column):
            return flags, -254
        power += code - 127
    return flags, power


def exact_dot(
    a: Sequence[int], b: Sequence[int], fmt_a: FloatFormat, fmt_b: FloatFormat
) -> Fraction:
    """The sum that no machine rounds; finite operands only."""
    return sum((value(x, fmt_a) * value(y, fmt_b) for x, y in zip(a, b, strict=True)), Fraction(0))


def exact_word(exponent: int, significand: int, acc_width: int) -> Fraction:
    """Section 3.1: the value of a word that is empty or has an anchor."""
    return significand * Fraction(2) ** (exponent - 239 - acc_width)


def round_value(number: Fraction, fmt: FloatFormat, random: int | None = None) -> int:
    """Sections 4.1 and 4.2: magnitude code of ``abs(number)``, exponents unbounded above.

    Parameters
    ----------
    random
        None for nearest even, else the 16 random bits.
    """
    magnitude = abs(number)
    if magnitude == 0:
        return 0
    binade = magnitude.numerator.bit_length() - magnitude.denominator.bit_length() - 1
    while magnitude >= Fraction(2) ** (binade + 1):
        binade += 1
    binade = max(binade, 1 - fmt.bias)
    in_ulps = magnitude / Fraction(2) ** (binade - fmt.mantissa_bits)
    if random is None:
        rounded = round(in_ulps)
    else:
        whole = in_ulps.numerator // in_ulps.denominator
        discarded = (in_ulps - whole) * 2**16
        rounded = whole + (discarded.numerator // discarded.denominator + random >= 2**16)
    return (binade + fmt.bias - 1) * 2**fmt.mantissa_bits + rounded


def cast_code(
    bits: int, fmt: FloatFormat, saturate: bool = False, random: int | None = None
) -> int:
    """Section 4.3: the code that a cast makes of an fp32 bit pattern."""
    number = value(bits, FP32)
    sign = 0 if _sign(bits, FP32) > 0 else 1 << (fmt.width - 1)
    if number == "nan":
        return sign | fmt.nan
    if not isinstance(number, str):
        magnitude = round_value(number, fmt, random)
        if magnitude <= fmt.max_finite:
            return sign | magnitude
    if saturate and fmt.width == 8:
        return sign | fmt.max_finite
    return sign | (fmt.nan if fmt.infinity is None else fmt.infinity)


def read_fp32(exponent: int, significand: int, acc_width: int) -> int:
    """Section 3.7: a PSUM word as fp32 bits."""
    if exponent > 508:
        return {509: 0x7F80_0000, 510: 0xFF80_0000, 511: 0x7FC0_0000}[exponent]
    magnitude = round_value(exact_word(exponent, significand, acc_width), FP32)
    return (0x8000_0000 if significand < 0 else 0) | min(magnitude, FP32.infinity)
