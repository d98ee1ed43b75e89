"""Cubic against step 5 of section 5.5, on Python integers, with coefficients at their limits."""

import random

import pytest

from tegula.activation.cubic import VALUE_BITS, Cubic
from verif.support.unit_bench import stream_through

SEED = 22
WIDTHS = {"c0": 32, "c1": 32, "c2": 28, "c3": 18}
FRACTIONS = (0, 1, 0x7F, 0x80, 0x80_0000, 0xFF_FF7F, 0xFF_FFFF)
EXPONENTS = (-512, -149, -1, 0, 1, 127, 511)


def values(cases):
    """The value of each (coefficients by name, fraction, n, log), by simulation."""
    inputs = [
        {
            "segment": {
                "entry": coefficients | {"exponent": 0},
                "fraction": fraction,
                "n": n,
                "log": log,
                "exponent": 0,
                "constant": 0,
                "flip": 0,
                "nan": 0,
            }
        }
        for coefficients, fraction, n, log in cases
    ]
    return stream_through(Cubic(), inputs, "value", Cubic.LATENCY)


def expected(coefficients, fraction, n, log):
    c0, c1, c2, c3 = (coefficients[name] for name in ("c0", "c1", "c2", "c3"))
    h = c2 + ((c3 * (fraction >> 7)) >> 15)
    h = c1 + ((h * fraction) >> 24)
    h = c0 + ((h * fraction) >> 24)
    return h + n * 744_261_118 if log else h


def check(cases):
    wanted = [expected(*case) for case in cases]
    assert all(-(1 << VALUE_BITS - 1) <= h < 1 << VALUE_BITS - 1 for h in wanted)
    assert values(cases) == wanted


def limits(width):
    return (-(1 << width - 1), -1, 0, 1, (1 << width - 1) - 1)


@pytest.mark.parametrize("extreme", [0.1, 0.9], ids=["mostly random", "mostly at the limits"])
def test_random_segments_one_a_cycle(extreme):
    rng = random.Random(SEED)

    def draw(few, low, high):
        return rng.choice(few) if rng.random() < extreme else rng.randrange(low, high)

    check(
        [
            (
                {n: draw(limits(w), -(1 << w - 1), 1 << w - 1) for n, w in WIDTHS.items()},
                draw(FRACTIONS, 0, 1 << 24),
                draw(EXPONENTS, -512, 512),
                rng.randrange(2),
            )
            for _ in range(2500)
        ]
    )


def test_the_largest_values_there_are_fit():
    """All coefficients of one sign, t just below 1, and the logarithm of the farthest n."""
    top = {name: (1 << width - 1) - 1 for name, width in WIDTHS.items()}
    bottom = {name: -(1 << width - 1) for name, width in WIDTHS.items()}
    cases = [
        (coefficients, fraction, n, 1)
        for coefficients in (top, bottom)
        for fraction in (0xFF_FFFF, 0)
        for n in (511, -512)
    ]
    check(cases)
