"""Seeded blocks of fp32 patterns for MX quantisation, drawn in units of scales and elements.

Gaussian blocks prove little: their largest magnitude is never beside a power of two, no element is
a tie, and nothing is near the ends of the exponent range. Each kind here aims at one of these.
"""

import numpy as np

from tegula.formats import MX_BLOCK, MX_ELEMENTS, MxElement

__all__ = ["BLOCK_KINDS", "blocks", "edge_blocks"]

BLOCK_KINDS = {
    "edge": "the largest is beside a power of two or beside the largest number times one",
    "tie": "elements on midpoints of the element's grid times a power of two, or one bit beside",
    "wide": "exponents from the largest down to 40 binades below",
    "subnormal": "exponents from fp32's subnormals to 20 binades above",
    "special": "infinities, NaNs and zeros among numbers",
    "zero": "zeros of both signs, and at most one other number",
    "any": "any patterns at all",
}
"""What `blocks` draws, by kind."""

_FRACTION_BITS = 23
_HIDDEN = 1 << _FRACTION_BITS
_LARGEST = 0x7F7F_FFFF


def _fractions(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Half random bits, half with few ones at the top."""
    bits = rng.integers(0, _HIDDEN, shape)
    few = bits & ~((1 << rng.integers(16, _FRACTION_BITS + 1, shape)) - 1)
    return np.where(rng.integers(0, 2, shape), bits, few)


def _below(rng: np.random.Generator, top: np.ndarray, apart: int) -> np.ndarray:
    """Magnitudes, blocks x 32, not above `top`: up to `apart` binades below."""
    shape = (len(top), MX_BLOCK)
    field = (top >> _FRACTION_BITS)[:, None] - rng.integers(0, apart + 1, shape)
    return np.minimum(np.maximum(field, 0) << _FRACTION_BITS | _fractions(rng, shape), top[:, None])


def _placed(rng: np.random.Generator, magnitudes: np.ndarray, top: np.ndarray) -> np.ndarray:
    """The largest of each block, `top`, in a place of its own."""
    magnitudes[np.arange(len(top)), rng.integers(0, MX_BLOCK, len(top))] = top
    return magnitudes


def _edges(rng: np.random.Generator, field: np.ndarray, reach: int = 48) -> np.ndarray:
    """Magnitudes beside the edges of their binade that a rule has, up to `reach` ulps away."""
    fractions = np.array([0, *(element.largest_fraction for element in MX_ELEMENTS)])
    size = field.shape
    steps = np.where(
        rng.integers(0, 2, size), rng.integers(-2, 3, size), rng.integers(-reach, reach + 1, size)
    )
    return np.clip((field << _FRACTION_BITS | rng.choice(fractions, size)) + steps, 0, _LARGEST)


def _ties(rng: np.random.Generator, size: int, element: MxElement) -> np.ndarray:
    """Magnitudes, blocks x 32: midpoints and numbers of the element's grid, or one bit beside."""
    shape = (size, MX_BLOCK)
    scale = rng.integers(-10, 260, size)[:, None]
    # In half units of the subnormals' spacing, whose odd multiples are midpoints of them.
    bits = rng.integers(1, element.mantissa_bits + 3, shape)
    odd = rng.integers(0, 1 << 8, shape) % (1 << bits) | 1
    unit = element.min_exponent - element.mantissa_bits - 1
    exponent = unit + rng.integers(0, element.largest_exponent - unit + 1, shape)
    exponent = np.where(rng.integers(0, 3, shape) == 0, unit, exponent)
    number = np.ldexp(odd.astype(np.float64), exponent + scale - 127)
    number = np.clip(number, 0, np.float64(np.finfo(np.float32).max))
    bits32 = number.astype(np.float32).view(np.uint32).astype(np.int64)
    beside = rng.integers(-1, 2, shape) << np.where(
        rng.integers(0, 2, shape), rng.integers(0, _FRACTION_BITS - 4, shape), 0
    )
    return np.clip(bits32 + beside, 0, _LARGEST)


def _special(rng: np.random.Generator, size: int) -> np.ndarray:
    top = rng.integers(0, 255, size) << _FRACTION_BITS | _fractions(rng, (size,))
    magnitudes = _below(rng, top, 60)
    share = rng.choice([0.04, 0.3], size)[:, None]
    chosen = rng.random(magnitudes.shape) < share
    values = np.array([0x7F80_0000, 0x7F80_0000, 0, 0x7FC0_0000, 0x7F80_0001, 0x7FFF_FFFF])
    # A block in four has NaNs.
    limit = np.where(rng.integers(0, 4, size) == 0, len(values), 3)[:, None]
    return np.where(chosen, values[rng.integers(0, limit, magnitudes.shape)], magnitudes)


def blocks(
    rng: np.random.Generator, size: int, kind: str, element: MxElement = MX_ELEMENTS[0]
) -> np.ndarray:
    """`size` blocks (uint32, size x 32) of a kind of `BLOCK_KINDS`; `element` has the ties.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in BLOCK_KINDS:
        raise ValueError(f"kind {kind!r} is unknown: it must be one of {', '.join(BLOCK_KINDS)}")
    shape = (size, MX_BLOCK)
    if kind == "any":
        return rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    if kind == "tie":
        magnitudes = _ties(rng, size, element)
    elif kind == "special":
        magnitudes = _special(rng, size)
    elif kind == "zero":
        magnitudes = np.zeros(shape, dtype=np.int64)
        magnitudes[:, 0] = np.where(rng.integers(0, 2, size), rng.integers(0, 1 << 31, size), 0)
        magnitudes = np.minimum(magnitudes, _LARGEST)
    else:
        high = 20 if kind == "subnormal" else 254
        field = rng.integers(0, high + 1, size)
        top = _edges(rng, field)
        apart = {"edge": 20, "wide": 40, "subnormal": 24}[kind]
        magnitudes = _placed(rng, _below(rng, top, apart), top)
    signs = rng.integers(0, 2, shape) << 31
    return (magnitudes | signs).astype(np.uint32)


def edge_blocks(seed: int) -> np.ndarray:
    """Blocks (uint32) whose largest magnitudes are all edges of all binades, in ascending order.

    Of each fp32 binade and each of its edges (`BLOCK_KINDS`) one block whose largest is the edge,
    one an ulp below and one an ulp above; the other elements are random ones below.
    """
    rng = np.random.default_rng(seed)
    fractions = sorted({0, *(element.largest_fraction for element in MX_ELEMENTS)})
    edges = [field << _FRACTION_BITS | fraction for field in range(255) for fraction in fractions]
    top = np.array([max(edge + step, 0) for edge in edges for step in (-1, 0, 1)])
    magnitudes = _placed(rng, _below(rng, top, 20), top)
    return (magnitudes | rng.integers(0, 2, magnitudes.shape) << 31).astype(np.uint32)
