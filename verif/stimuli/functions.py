"""Seeded arguments and tables for the functions of the activation engine (contract section 5.5).

`arguments` aims at what the arithmetic and a table's segments make hard; `random_words` draws
tables that no approximation would ever hold, so that every bit of every field matters.
"""

import numpy as np

__all__ = ["SPECIALS", "arguments", "random_function", "random_words"]

SPECIALS = np.array(
    [
        *(
            0x0000_0000,
            0x0000_0001,
            0x0000_0002,
            0x003F_FFFF,
            0x0040_0000,
            0x007F_FFFF,
            0x0080_0000,
        ),
        *(
            0x0080_0001,
            0x3F7F_FFFF,
            0x3F80_0000,
            0x3F80_0001,
            0x42FF_FFFF,
            0x4300_0000,
            0x437F_FFFF,
        ),
        *(0x4380_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF),
    ],
    dtype=np.uint32,
)
"""Magnitudes: zero, subnormals, ones, the arguments around 2**7 and 2**8, infinity, NaNs."""

_SEGMENT_BITS = 7


def arguments(rng: np.random.Generator, size: int) -> np.ndarray:
    """About `size` fp32 patterns (uint32, one axis), a third from each of three sources.

    The starts of 128 segments of a binade with their neighbours; multiples of ``ln 2 / 32`` with
    theirs, where an exponential changes its segment; and random fractions. Half of the binades are
    any, half of 2**-30 to 2**8, where most functions are not yet constants or lines. Both signs,
    and before them all SPECIALS with both signs.
    """
    third = size // 3
    beside = rng.integers(-1, 2, third)
    segment = rng.integers(0, 1 << _SEGMENT_BITS, third) << 23 - _SEGMENT_BITS
    starts = _binades(rng, third) + segment + beside
    multiples = np.log(2) / 32 * rng.integers(1, 32 * 160, third)
    steps = multiples.astype(np.float32).view(np.uint32) + beside
    fractions = _binades(rng, third) + rng.integers(0, 1 << 23, third)
    magnitude = np.maximum(np.concatenate([starts, steps, fractions]), 0)
    drawn = magnitude | rng.integers(0, 2, magnitude.shape) << 31
    return np.concatenate([SPECIALS, SPECIALS | np.uint32(1 << 31), drawn.astype(np.uint32)])


def _binades(rng: np.random.Generator, size: int) -> np.ndarray:
    field = np.where(
        rng.random(size) < 0.5, rng.integers(0, 255, size), rng.integers(97, 135, size)
    )
    return field << 23


def random_words(
    rng: np.random.Generator, entries: int, descriptors: int
) -> tuple[np.ndarray, np.ndarray]:
    """Records of a table as they are in memory: uint32 (entries, 4) and (descriptors,).

    All bits are random, those of no field too, with three exceptions: a quarter of the coefficients
    has its largest or smallest value or 0, half of the entries an exponent that most gains keep
    within fp32, and seven in eight descriptors no constant.
    """
    words = rng.integers(0, 1 << 32, (entries, 4))
    extremes = np.array([0, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
    words = np.where(rng.random(words.shape) < 0.25, rng.choice(extremes, words.shape), words)
    # E is bits 118:110, of which the last word holds 22:14.
    moderate = rng.integers(-40, 40, entries) & 0x1FF
    last = words[:, 3] & ~(0x1FF << 14) | moderate << 14
    words[:, 3] = np.where(rng.random(entries) < 0.5, last, words[:, 3])
    records = rng.integers(0, 1 << 32, descriptors)
    records = np.where(rng.random(descriptors) < 0.875, records & ~(1 << 17), records)
    return words.astype(np.uint32), records.astype(np.uint32)


def random_function(rng: np.random.Generator, descriptors: int) -> dict:
    """Parameters of a function in a table of so many descriptors, each flag half of the time."""
    parity, odd, log = rng.integers(0, 2, 3).tolist()
    return {
        "descriptor": int(rng.integers(0, descriptors)),
        "reduction": str(rng.choice(["float", "exp"])),
        "low": int(rng.integers(-512, 512) if rng.random() < 0.25 else rng.integers(-40, 10)),
        "parity": bool(parity),
        "odd": bool(odd),
        "log": bool(log),
    }
