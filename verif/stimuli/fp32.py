"""Seeded adversarial pairs of fp32 patterns, drawn in the units of their sums and products.

Random patterns prove little: most sums are the larger addend, most products overflow or vanish, and
ties never happen. Each kind here aims at one thing that goes wrong.
"""

from itertools import product

import numpy as np

__all__ = ["PRODUCT_KINDS", "SUM_KINDS", "addends", "factors", "special_pairs", "specials"]

SUM_KINDS = {
    "near": "exponents up to 27 apart, significands often with long runs of one bit",
    "tie": "the smaller addend ends in half an ulp of the larger, exactly or one of its places off",
    "cancel": "opposite signs, magnitudes a few places or a binade apart",
    "subnormal": "exponents from subnormal to 2 above, sums of both signs",
    "tiny": "a subnormal or a small normal and a number up to 30 binades above",
    "overflow": "same sign, one large and one up to 26 binades below: around the largest number",
    "any": "any patterns at all",
}
"""What `addends` draws, by kind."""

PRODUCT_KINDS = {
    "near": "products of ordinary size, significands often with long runs of one bit",
    "tie": "products that end in half an ulp, exactly or one of their places off",
    "underflow": "products around and below the smallest normal",
    "underflow_tie": "the last bit of the product is half the smallest subnormal, or beside that",
    "subnormal": "one subnormal factor, the other of any size",
    "overflow": "products around the largest number",
    "any": "any patterns at all",
}
"""What `factors` draws, by kind."""

_FRACTION_BITS = 23
_HIDDEN = 1 << _FRACTION_BITS
_FRACTION_MASK = _HIDDEN - 1
_INFINITE_FIELD = 255


def specials() -> np.ndarray:
    """Zeros, ends of the ranges, infinities, NaNs, ones: uint32, both signs of each."""
    magnitudes = [0, 1, 2, 0x40_0000, 0x7F_FFFF, 0x80_0000, 0x80_0001, 0x100_0000]
    magnitudes += [0x3380_0000, 0x3F00_0000, 0x3F7F_FFFF, 0x3F80_0000, 0x3F80_0001, 0x4000_0000]
    magnitudes += [0x7F00_0000, 0x7F7F_FFFE, 0x7F7F_FFFF, 0x7F80_0000]
    magnitudes += [0x7F80_0001, 0x7FBF_FFFF, 0x7FC0_0000, 0x7FC1_2345, 0x7FFF_FFFF]
    return np.array([*magnitudes, *(m | 1 << 31 for m in magnitudes)], dtype=np.uint32)


def special_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every pair of `specials`."""
    first, second = zip(*product(specials().tolist(), repeat=2), strict=True)
    return np.array(first, dtype=np.uint32), np.array(second, dtype=np.uint32)


def _signs(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(0, 2, size) << 31


def _fractions(rng: np.random.Generator, size: int) -> np.ndarray:
    """A third random bits; a third few ones at the top; a third with a run of ones or zeros."""
    bits = rng.integers(0, _HIDDEN, size)
    low = (1 << rng.integers(0, _FRACTION_BITS + 1, size)) - 1
    few = bits & ~((1 << rng.integers(8, _FRACTION_BITS + 1, size)) - 1)
    run = np.where(rng.integers(0, 2, size), bits | low, bits & ~low)
    return np.choose(rng.integers(0, 3, size), [bits, few, run])


def _patterns(*parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple((part & 0xFFFF_FFFF).astype(np.uint32) for part in parts)


def _field(rng: np.random.Generator, low: int, high: int, size: int) -> np.ndarray:
    """Exponent fields from `low` to `high`, both included."""
    return rng.integers(low, high + 1, size)


def _number(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """Patterns of random sign and fraction with these exponent fields, kept finite."""
    field = np.clip(field, 0, _INFINITE_FIELD - 1)
    return _signs(rng, field.size) | field << _FRACTION_BITS | _fractions(rng, field.size)


def _swapped(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pair in either order."""
    swap = rng.integers(0, 2, a.size) == 1
    return _patterns(np.where(swap, b, a), np.where(swap, a, b))


def _check_kind(kind: str, kinds: dict[str, str]) -> None:
    if kind not in kinds:
        raise ValueError(f"kind {kind!r} is unknown: it must be one of {', '.join(kinds)}")


def _any_pairs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    return _patterns(rng.integers(0, 1 << 32, size), rng.integers(0, 1 << 32, size))


def addends(rng: np.random.Generator, size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """`size` pairs of fp32 patterns (uint32) of a kind of `SUM_KINDS`, or a ValueError."""
    _check_kind(kind, SUM_KINDS)
    if kind == "any":
        return _any_pairs(rng, size)
    if kind == "tie":
        return _swapped(rng, *_tied_addends(rng, size))
    if kind == "cancel":
        a = _number(rng, _field(rng, 0, 254, size))
        scale = 1 << rng.integers(0, _FRACTION_BITS, size)
        steps = rng.integers(-3, 4, size) * np.where(rng.integers(0, 2, size), 1, scale)
        binade = rng.integers(-1, 2, size) << _FRACTION_BITS
        near = np.clip((a & 0x7FFF_FFFF) + steps + binade, 0, 0x7F7F_FFFF)
        return _swapped(rng, a, near | ~a & 1 << 31)
    if kind == "tiny":
        small = _field(rng, 0, 2, size)
        return _swapped(rng, _number(rng, small), _number(rng, small + rng.integers(0, 31, size)))
    if kind == "overflow":
        large = _number(rng, _field(rng, 253, 254, size))
        large = np.where(rng.integers(0, 2, size), large, large & 0x8000_000F | 0x7F7F_FFF0)
        other = _number(rng, _field(rng, 228, 254, size))
        return _swapped(rng, large, other & 0x7FFF_FFFF | large & 1 << 31)
    low, high = (0, 3) if kind == "subnormal" else (0, 254)
    field = _field(rng, low, high, size)
    apart = rng.integers(0, high + 1 if kind == "subnormal" else 28, size)
    return _swapped(rng, _number(rng, field), _number(rng, np.maximum(field - apart, 0)))


def _tied_addends(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The larger addend, and one up to 25 binades below with a chosen tail below its ulp."""
    field = _field(rng, 27, 254, size)
    apart = rng.integers(1, 26, size)
    kept = _HIDDEN | _fractions(rng, size)
    tail_bits = np.minimum(apart, _FRACTION_BITS + 1)
    half = 1 << (tail_bits - 1)
    tail = np.clip(half + rng.integers(-1, 2, size), 0, (1 << tail_bits) - 1)
    # At 24 binades the hidden bit is the half; at 25 it is a quarter, no tie but near one.
    significand = (kept >> tail_bits << tail_bits) | tail | np.where(apart >= 24, _HIDDEN, 0)
    significand = np.where(apart < 24, significand, significand & (_HIDDEN | 3))
    smaller = field - apart << _FRACTION_BITS | significand & _FRACTION_MASK
    larger = field << _FRACTION_BITS | _fractions(rng, size)
    return larger | _signs(rng, size), smaller | _signs(rng, size)


def factors(rng: np.random.Generator, size: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """`size` pairs of fp32 patterns (uint32) of a kind of `PRODUCT_KINDS`, or a ValueError."""
    _check_kind(kind, PRODUCT_KINDS)
    if kind == "any":
        return _any_pairs(rng, size)
    if kind == "subnormal":
        small = _number(rng, np.zeros(size, dtype=np.int64))
        return _swapped(rng, small, _number(rng, _field(rng, 100, 254, size)))
    if kind == "tie":
        return _swapped(rng, *_tied_factors(rng, size))
    if kind == "underflow_tie":
        return _swapped(rng, *_tiny_factors(rng, size))
    # With fields a and b a product of significands of 1 to 2 has the field a + b - 127.
    low, high = {"near": (1, 253), "underflow": (-25, 2), "overflow": (252, 256)}[kind]
    result = _field(rng, low, high, size)
    first = rng.integers(np.maximum(result - 127, 1), np.minimum(result + 126, 254) + 1)
    return _swapped(rng, _number(rng, first), _number(rng, result + 127 - first))


def _tied_factors(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Significands whose product modulo 2**23 is 2**22 (2**23: 0), or one place beside that.

    The discarded half of a product has 23 bits, or 24 if it is 2 or more: then half of these hit.
    """
    a = rng.integers(_HIDDEN // 2, _HIDDEN, size) * 2 + 1
    inverse = a.copy()
    for _ in range(5):  # Newton, modulo 2**23: 3 bits are right at first, then twice as many
        inverse = inverse * ((2 - a * inverse) & _FRACTION_MASK) & _FRACTION_MASK
    target = rng.choice([0, 1 << (_FRACTION_BITS - 1)], size) + rng.integers(-1, 2, size)
    b = _HIDDEN | target * inverse & _FRACTION_MASK
    fields = _field(rng, 64, 190, size), _field(rng, 64, 190, size)
    return tuple(
        _signs(rng, size) | field << _FRACTION_BITS | significand & _FRACTION_MASK
        for field, significand in zip(fields, (a, b), strict=True)
    )


def _tiny_factors(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Short odd significands, with a last bit of the product of 2**-151, 2**-150 or 2**-149."""
    last = -150 + rng.integers(-1, 2, size)
    first = rng.integers(-120, -29, size)
    pair = []
    for exponent in (first, last - first):
        length = rng.integers(1, 15, size)
        significand = rng.integers(0, 1 << 14, size) & ((1 << length) - 1) | 1 << (length - 1) | 1
        field = exponent + length - 1 + 127
        fraction = significand << (_FRACTION_BITS + 1 - length) & _FRACTION_MASK
        pair.append(_signs(rng, size) | field << _FRACTION_BITS | fraction)
    return pair[0], pair[1]
