"""Block scaling number by number, in fractions, from its definition (contract section 4.5)."""

from collections.abc import Sequence
from fractions import Fraction

from tegula.formats import FP32, MXFP4_E2M1, MxElement
from tegula.isa.operations import ScaleRule
from verif.oracles.numerics import value

__all__ = ["element_code", "quantise_block", "scale_code"]

_E2M1 = (Fraction(0), Fraction(1, 2), *map(Fraction, (1, Fraction(3, 2), 2, 3, 4, 6)))


def _numbers(element: MxElement) -> dict[int, Fraction]:
    """Magnitude code in the tile -> number, of all finite elements; even codes are even."""
    finite = {}
    for code in range(element.fmt.max_finite + 1):
        number = value(code, element.fmt)
        if element is not MXFP4_E2M1 or number in _E2M1:
            finite[code] = number
    return finite


_TABLES = {}


def _table(element: MxElement) -> list[tuple[Fraction, int]]:
    if element not in _TABLES:
        _TABLES[element] = sorted((n, code) for code, n in _numbers(element).items())
    return _TABLES[element]


def scale_code(block: Sequence[int], element: MxElement, rule: ScaleRule) -> int:
    """The scale of a block of fp32 patterns."""
    numbers = [value(bits, FP32) for bits in block]
    if "nan" in numbers:
        return 255
    largest = _table(element)[-1][0]
    if any(isinstance(number, str) for number in numbers):
        # An infinity counts as 2**128, but for the rule that lets nothing exceed the largest.
        if rule == ScaleRule.RCEIL:
            return 254
        amax = Fraction(2) ** 128
    else:
        amax = max(abs(number) for number in numbers)
    if rule == ScaleRule.RCEIL:
        fits = [s for s in range(255) if amax <= largest * Fraction(2) ** (s - 127)]
        return fits[0]
    power = Fraction(1)
    while power * 2 <= largest:
        power *= 2
    if rule == ScaleRule.CEIL:
        return next(s for s in range(255) if amax <= power * Fraction(2) ** (s - 127))
    below = [s for s in range(255) if power * Fraction(2) ** (s - 127) <= amax]
    return below[-1] if below else 0


def element_code(bits: int, scale: int, element: MxElement) -> int:
    """The code of one element of a block with that scale: the nearest number, the even of two."""
    if scale == 255:
        return 0 if element is MXFP4_E2M1 else element.fmt.nan
    number, sign = value(bits, FP32), bits >> 31 << 7
    table = _table(element)
    if isinstance(number, str):
        return sign | table[-1][1]
    wanted = abs(number) / Fraction(2) ** (scale - 127)
    distance = min(abs(n - wanted) for n, _ in table)
    nearest = [index for index, (n, _) in enumerate(table) if abs(n - wanted) == distance]
    even = nearest[0] if len(nearest) == 1 or nearest[0] % 2 == 0 else nearest[1]
    return sign | table[even][1]


def quantise_block(
    block: Sequence[int], element: MxElement, rule: ScaleRule
) -> tuple[int, list[int]]:
    """Scale and codes of a block."""
    scale = scale_code(block, element, rule)
    return scale, [element_code(bits, scale, element) for bits in block]
