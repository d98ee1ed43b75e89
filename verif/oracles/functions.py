"""Contract section 5.5 a second time: number by number, on Python integers and fractions.

Slow, and written from docs/numerics.md without an import from the vectorised module. Table records
are taken as they are in memory, as integers of 128 and 32 bits.
"""

from collections.abc import Sequence
from fractions import Fraction

from tegula.formats import FP32
from verif.oracles.numerics import round_value, value

__all__ = ["evaluate_one"]

_QUIET_NAN = 0x7FC0_0000


def _twos_complement(bits: int, width: int) -> int:
    bits %= 1 << width
    return bits - (1 << width) if bits >= 1 << (width - 1) else bits


def _split(number: Fraction) -> tuple[int, int]:
    """The n and F of ``abs(number) = 1.F * 2**n``."""
    magnitude = abs(number)
    n = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** n:
        n -= 1
    fraction = (magnitude / Fraction(2) ** n - 1) * 2**23
    assert fraction.denominator == 1
    return n, int(fraction)


def _reduce_exp(n: int, fraction: int, positive: bool) -> tuple[int, int]:
    """Step 2 of reduction `exp`: the new n, and t."""
    if n >= 8:
        return (511 if positive else -512), 0
    exact = (2**23 + fraction) * 0xB8AA3B296 * Fraction(2) ** (n - 28)
    units = exact.numerator // exact.denominator
    if not positive:
        units = -units
    return units >> 30, units % 2**30 * 4


def _gain(code: int, n: int) -> int:
    return {1: n, 2: -n, 3: n // 2, 4: -(n // 2)}.get(code, 0)


def _round(number: Fraction) -> int:
    """Magnitude of the fp32 pattern nearest to `number`."""
    return min(round_value(number, FP32), FP32.infinity)


def evaluate_one(
    entries: Sequence[int],
    descriptors: Sequence[int],
    bits: int,
    *,
    descriptor: int,
    reduction: str,
    low: int,
    parity: bool = False,
    odd: bool = False,
    log: bool = False,
) -> int:
    """The pattern of ``f(z)`` for the pattern `bits` of z; the parameters are those of a function.

    Parameters
    ----------
    entries
        Records of 128 bits; their number is a power of two.
    descriptors
        Records of 32 bits; their number is a power of two.
    """
    # Step 1.
    number = value(bits, FP32)
    if number == "nan":
        return _QUIET_NAN
    minus = bits >= 1 << 31
    s = int(odd and minus)
    if odd:
        minus = False

    # Steps 2 and 3.
    if number == 0 or isinstance(number, str):
        n = t = 0
        place = (0 if number == 0 else 2) + minus
    else:
        n, fraction = _split(number)
        t = fraction * 2**9
        if reduction == "exp":
            n, t = _reduce_exp(n, fraction, not minus)
        last = {"float": 31, "exp": 63}[reduction]
        place = 4 + (n % 2 if parity else min(max(n - low, 0), last))
        if reduction == "float" and minus:
            place += 32
    record = descriptors[(descriptor + place) % len(descriptors)]
    first, k, gain, constant = record % 2**10, record >> 10 & 15, record >> 14 & 7, record >> 17 & 1

    # Step 4.
    if constant:
        pattern = entries[first % len(entries)] % 2**32
        if value(pattern, FP32) == "nan":
            return _QUIET_NAN
        return pattern ^ s << 31
    entry = entries[(first + t // 2 ** (32 - k)) % len(entries)]
    fine = (t * 2**k % 2**32) // 2**8

    # Step 5.
    c0, c1 = _twos_complement(entry, 32), _twos_complement(entry >> 32, 32)
    c2, c3 = _twos_complement(entry >> 64, 28), _twos_complement(entry >> 92, 18)
    h = c2 + c3 * (fine // 2**7) // 2**15
    h = c1 + h * fine // 2**24
    h = c0 + h * fine // 2**24
    if log:
        h += n * 744261118

    # Step 6.
    exponent = _twos_complement(entry >> 110, 9) + _gain(gain, n) - 30
    return ((h < 0) ^ s) << 31 | _round(h * Fraction(2) ** exponent)
