"""Seeded adversarial operands and fp32 inputs, in the units of what is tested (contract section 7).

Gaussian data proves little: fp32-sequential and exact sums agree on it nearly everywhere. Each
kind here aims at one thing that goes wrong. `operands` draws one operand by itself, `pair` draws
both, for what only their products can show; `cast_inputs` and `cast_boundaries` draw fp32 patterns
around the output's codes.
"""

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.numerics.codes import code_dtype, decode

__all__ = [
    "KINDS",
    "PAIR_KINDS",
    "cast_boundaries",
    "cast_inputs",
    "operands",
    "pair",
]

KINDS = {
    "uniform_codes": "every code equally likely: NaN, infinities and all exponents included",
    "finite_codes": "every finite code equally likely: all exponents, no special",
    "normal": "standard normal numbers (times 4, rounded to codes): what a model holds",
    "extremes": "largest and smallest finite magnitudes, smallest normal, and zeros",
    "mixed_scale": "exponents from both ends of the range, none between: shifts are all or nothing",
    "ladder": "exponents that rise with k: the anchor moves at almost every step",
    "cancel": "row 2j + 1 is row 2j with a random sign: products double or cancel exactly",
    "subnormal": "subnormals, their neighbours among the normals, and zeros",
    "ties": "signed powers of two and ones a code away: sums fall on and beside ties",
    "special": "NaN, infinities, zeros of both signs and finite codes, a quarter of each",
    "sparse_special": "finite codes with one special in about 64: most sums stay finite",
    "zeros": "zeros of both signs and, one in eight, a finite code: anchors are often empty",
    "max": "the largest finite number alone, positive: headroom and renormalisation",
    "integers": "integers of at most 4 bits: sums are exact in every format",
}
"""What `operands` draws, by kind."""

PAIR_KINDS = {
    "cancel": "big products that cancel exactly, in shuffled rows, above a tiny one or two",
    "ties": "sums on a tie of the output format, or one far smaller product beside it",
    "overflow": "products around the largest fp32 number: sums that overflow or come back",
    "underflow": "products around the fp32 subnormals: results that round there or to zero",
}
"""What `pair` draws, by kind; a kind of `operands` is one too, drawn for each side by itself."""

_FP32_FRACTION_BITS = 23


def _exponents(fmt: FloatFormat) -> tuple[int, int]:
    """Unbiased exponents of the smallest normal and of the largest finite number."""
    return fmt.min_exponent, (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias


def _power_of_two(exponent: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes of ``2**exponent``; an exponent past an end of the format's range is moved to it."""
    low, high = _exponents(fmt)
    exponent = np.clip(exponent, low - fmt.mantissa_bits, high)
    normal = (exponent + fmt.bias) << fmt.mantissa_bits
    subnormal = 1 << np.clip(exponent - low + fmt.mantissa_bits, 0, fmt.mantissa_bits)
    return np.where(exponent >= low, normal, subnormal)


def _signs(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    return rng.integers(0, 2, shape) << (fmt.width - 1)


def _finite(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    return rng.integers(0, fmt.max_finite + 1, shape) | _signs(rng, shape, fmt)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    """The code below each magnitude of a normal sample: a search among the format's own values."""
    magnitudes = decode(np.arange(fmt.max_finite + 1).astype(code_dtype(fmt)), fmt)
    sample = np.abs(4 * rng.standard_normal(shape)).astype(np.float32)
    return (np.searchsorted(magnitudes, sample, side="right") - 1) | _signs(rng, shape, fmt)


def _special(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    first_nan = fmt.max_finite + 1 + (fmt.infinity is not None)
    nan = rng.integers(first_nan, fmt.magnitude_mask + 1, shape)
    infinity = nan if fmt.infinity is None else np.full(shape, fmt.infinity)
    codes = np.where(rng.integers(0, 2, shape), nan, infinity)
    return codes | _signs(rng, shape, fmt)


def _with_fraction(rng: np.random.Generator, exponent: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Finite codes of the given exponents (clipped to the normal range), random below."""
    low, high = _exponents(fmt)
    field = np.clip(exponent, low, high) + fmt.bias
    fraction = rng.integers(0, 1 << fmt.mantissa_bits, exponent.shape)
    magnitude = np.minimum(field << fmt.mantissa_bits | fraction, fmt.max_finite)
    return magnitude | _signs(rng, exponent.shape, fmt)


def _mixed_scale(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    low, high = _exponents(fmt)
    spread = rng.integers(0, 3, shape)
    exponent = np.where(rng.integers(0, 2, shape), low + spread, high - spread)
    return _with_fraction(rng, exponent, fmt)


def _ladder(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    low, high = _exponents(fmt)
    steps = np.linspace(low, high, shape[0]).astype(np.int64)
    jitter = rng.integers(-1, 2, shape)
    return _with_fraction(rng, steps.reshape(-1, *[1] * (len(shape) - 1)) + jitter, fmt)


def _cancel(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    codes = _finite(rng, shape, fmt)
    rows = shape[0] // 2 * 2
    flips = rng.integers(0, 2, (rows // 2, *[1] * (len(shape) - 1))) << (fmt.width - 1)
    codes[1:rows:2] = codes[0:rows:2] ^ flips
    return codes


def _ties(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    low, high = _exponents(fmt)
    powers = _power_of_two(rng.integers(low - fmt.mantissa_bits, high + 1, shape), fmt)
    beside = rng.choice([0, 0, 0, 1, -1], shape)
    return np.clip(powers + beside, 0, fmt.max_finite) | _signs(rng, shape, fmt)


def operands(
    rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat, kind: str
) -> np.ndarray:
    """Codes of one operand.

    Parameters
    ----------
    rng
        Source of all randomness: the same state gives the same codes.
    shape
        Shape of the result; axis 0 is k.
    fmt
        An operand format.
    kind
        A key of `KINDS`.

    Returns
    -------
    numpy.ndarray
        uint8 or uint16.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    smallest_normal = 1 << fmt.mantissa_bits
    if kind == "uniform_codes":
        codes = rng.integers(0, 1 << fmt.width, shape)
    elif kind == "finite_codes":
        codes = _finite(rng, shape, fmt)
    elif kind == "normal":
        codes = _normal(rng, shape, fmt)
    elif kind == "extremes":
        corners = [fmt.max_finite, fmt.max_finite - 1, 1, smallest_normal, 0]
        codes = rng.choice(corners, shape) | _signs(rng, shape, fmt)
    elif kind == "mixed_scale":
        codes = _mixed_scale(rng, shape, fmt)
    elif kind == "ladder":
        codes = _ladder(rng, shape, fmt)
    elif kind == "cancel":
        codes = _cancel(rng, shape, fmt)
    elif kind == "subnormal":
        codes = rng.integers(0, smallest_normal + 2, shape) | _signs(rng, shape, fmt)
    elif kind == "ties":
        codes = _ties(rng, shape, fmt)
    elif kind in ("special", "sparse_special"):
        zeros = _signs(rng, shape, fmt)
        codes = np.where(rng.integers(0, 2, shape), _finite(rng, shape, fmt), zeros)
        often = rng.integers(0, 2 if kind == "special" else 64, shape) == 0
        if kind == "sparse_special":
            codes = _finite(rng, shape, fmt)
        codes = np.where(often, _special(rng, shape, fmt), codes)
    elif kind == "zeros":
        rare = rng.integers(0, 8, shape) == 0
        codes = np.where(rare, _finite(rng, shape, fmt), _signs(rng, shape, fmt))
    elif kind == "max":
        codes = np.full(shape, fmt.max_finite)
    elif kind == "integers":
        codes = _integers(rng, shape, fmt)
    else:
        raise ValueError(f"kind {kind!r} is unknown: it must be one of {', '.join(KINDS)}")
    return codes.astype(code_dtype(fmt))


def _integers(rng: np.random.Generator, shape: tuple[int, ...], fmt: FloatFormat) -> np.ndarray:
    magnitudes = decode(np.arange(fmt.max_finite + 1).astype(code_dtype(fmt)), fmt)
    (whole,) = np.nonzero((magnitudes == np.rint(magnitudes)) & (magnitudes < 16))
    return rng.choice(whole, shape) | _signs(rng, shape, fmt)


def pair(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    fmt_a: FloatFormat,
    fmt_b: FloatFormat,
    kind: str,
    fmt_out: FloatFormat | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes of both operands: stationary K x M and moving K x F.

    Parameters
    ----------
    shape
        (K, M, F).
    kind
        A key of `PAIR_KINDS`, or of `KINDS`.
    fmt_out
        Format whose ties "ties" aims at; default: that of `fmt_a`.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    k, m, f = shape
    if kind == "cancel":
        return _cancelling_pair(rng, shape, fmt_a, fmt_b)
    if kind == "ties":
        return _tie_pair(rng, shape, fmt_a, fmt_b, fmt_out or fmt_a)
    if kind in ("overflow", "underflow"):
        centre = 127 if kind == "overflow" else -149
        return _scaled_pair(rng, shape, fmt_a, fmt_b, centre)
    if kind not in KINDS:
        known = ", ".join(PAIR_KINDS | KINDS)
        raise ValueError(f"kind {kind!r} is unknown: it must be one of {known}")
    return operands(rng, (k, m), fmt_a, kind), operands(rng, (k, f), fmt_b, kind)


def _cancelling_pair(
    rng: np.random.Generator, shape: tuple[int, int, int], fmt_a: FloatFormat, fmt_b: FloatFormat
) -> tuple[np.ndarray, np.ndarray]:
    k, m, f = shape
    big = (k - 1) // 2
    a, b = (operands(rng, (big, n), fmt, "finite_codes") for n, fmt in ((m, fmt_a), (f, fmt_b)))
    rest = k - 2 * big
    tiny_a = operands(rng, (rest, m), fmt_a, "subnormal")
    tiny_b = operands(rng, (rest, f), fmt_b, "subnormal")
    if fmt_b.exponent_bits == 8:
        # Times a subnormal it would vanish below the guard bits, whatever the machine does.
        tiny_b = operands(rng, (rest, f), fmt_b, "normal")
    sign = np.array(1 << (fmt_b.width - 1), dtype=b.dtype)
    order = rng.permutation(k)
    return (
        np.concatenate([a, a, tiny_a])[order],
        np.concatenate([b, b ^ sign, tiny_b])[order],
    )


def _tie_pair(
    rng: np.random.Generator, shape: tuple[int, int, int], *formats: FloatFormat
) -> tuple[np.ndarray, np.ndarray]:
    """Leading one, last place (or not), half a place, and something far below (or not)."""
    k, m, f = shape
    fmt_a, fmt_b, fmt_out = formats
    places = np.array([0, -fmt_out.mantissa_bits, -fmt_out.mantissa_bits - 1])
    tail = -fmt_out.mantissa_bits - 2 - rng.integers(0, 16, max(k - 3, 0))
    places = np.concatenate([places, tail])[:k]
    (low_a, high_a), (low_b, high_b) = _exponents(fmt_a), _exponents(fmt_b)
    scale_a = rng.integers(max(low_a, -20) // 2, min(high_a, 20) + 1, (1, m))
    scale_b = rng.integers(max(low_b, -20) // 2, min(high_b, 20) + 1, (1, f))
    # As much as possible of a place goes into `b`, the rest into `a`.
    in_b = np.maximum(places[:, None], low_b - fmt_b.mantissa_bits - scale_b.min())
    in_a = places[:, None] - in_b
    a = _power_of_two(in_a + scale_a, fmt_a) | _signs(rng, (k, m), fmt_a)
    b = _power_of_two(in_b + scale_b, fmt_b)
    present = rng.integers(0, 2, (k, m))
    present[0] = 1
    present[2:3] = 1
    return (a * present).astype(code_dtype(fmt_a)), b.astype(code_dtype(fmt_b))


def _scaled_pair(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    fmt_a: FloatFormat,
    fmt_b: FloatFormat,
    centre: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Products within a few binades of ``2**centre``, or as near as the formats come."""
    k, m, f = shape
    (low_a, high_a), (low_b, high_b) = _exponents(fmt_a), _exponents(fmt_b)
    exponent_a = np.clip(centre // 2, low_a, high_a)
    exponent_b = np.clip(centre - exponent_a, low_b, high_b)
    exponent_a = np.clip(centre - exponent_b, low_a, high_a)
    a = _with_fraction(rng, exponent_a + rng.integers(-3, 2, (k, m)), fmt_a)
    b = _with_fraction(rng, exponent_b + rng.integers(-3, 2, (k, f)), fmt_b)
    return a.astype(code_dtype(fmt_a)), b.astype(code_dtype(fmt_b))


def cast_boundaries(fmt: FloatFormat) -> np.ndarray:
    """fp32 patterns where a cast to `fmt` changes its answer, with both neighbours of each.

    Every code, every midpoint between two codes (also that above the largest), zero, the fp32
    subnormals' ends, infinity and NaNs with payloads; both signs. Some 1500 patterns for an 8-bit
    format, some 400,000 for bf16; fp32 has only the ends of its binades.

    Returns
    -------
    numpy.ndarray
        uint32, one-dimensional.
    """
    if fmt.width == 32:  # nothing is rounded: the ends of the binades stand for 2**32 codes
        codes = (np.arange(255) << fmt.mantissa_bits).astype(code_dtype(fmt))
    else:
        codes = np.arange(fmt.max_finite + 1).astype(code_dtype(fmt))
    edges = decode(codes, fmt).view(np.uint32).astype(np.int64)
    # The code after the largest finite one, had the format another binade or place.
    ulp_bits = 1 << (_FP32_FRACTION_BITS - fmt.mantissa_bits)
    beyond = edges[-1] + ulp_bits * np.arange(1, 4)
    edges = np.concatenate([edges, beyond])
    around = np.concatenate([edges, _midpoints(edges)])[:, None] + np.array([-1, 0, 1])
    extra = [0, 1, 2, 0x7F_FFFF, 0x80_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FC0_0000]
    extra += [0x7FBF_FFFF, 0x7FFF_FFFF, 0x7FA5_5A5A, 0x7FD5_A5A5]
    magnitudes = np.unique(np.concatenate([around.ravel(), extra]))
    magnitudes = magnitudes[(magnitudes >= 0) & (magnitudes < 1 << 31)]
    return np.concatenate([magnitudes, magnitudes | 1 << 31]).astype(np.uint32)


def _midpoints(edges: np.ndarray) -> np.ndarray:
    """fp32 patterns halfway between consecutive codes, by value.

    Patterns are linear in the value between consecutive codes, except from 0 to a normal number.
    """
    halves = (edges[:-1] + edges[1:]) // 2
    if edges[1] >= 1 << _FP32_FRACTION_BITS:
        halves[0] = edges[1] - (1 << _FP32_FRACTION_BITS)
    return halves


def cast_inputs(rng: np.random.Generator, size: int, fmt: FloatFormat) -> np.ndarray:
    """Random fp32 patterns in the units of `fmt`: half near a boundary, half anywhere in its range.

    A quarter each: a boundary of `cast_boundaries`; one with the low bits replaced; a value whose
    exponent lies within two binades of the format's range; any pattern at all.

    Returns
    -------
    numpy.ndarray
        uint32 of shape (size,), in random order.
    """
    boundaries = cast_boundaries(fmt)
    near = rng.choice(boundaries, size)
    discarded_bits = _FP32_FRACTION_BITS - fmt.mantissa_bits
    noisy = rng.choice(boundaries, size) ^ rng.integers(0, 1 << discarded_bits, size)
    low, high = _exponents(fmt)
    first = max(low - fmt.mantissa_bits - 2 + 127, 0)
    last = min(high + 2 + 127, 254)
    field = rng.integers(first, last + 1, size)
    ranged = rng.integers(0, 2, size) << 31 | field << 23 | rng.integers(0, 1 << 23, size)
    anything = rng.integers(0, 1 << 32, size)
    return np.choose(rng.integers(0, 4, size), [near, noisy, ranged, anything]).astype(np.uint32)
