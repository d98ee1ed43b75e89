"""tegula_sw.functions.cubic: what a fit keeps of a function, and what does not fit."""

from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpfr

from tegula_golden.numerics.function_table import Gain, Table
from tegula_golden.numerics.functions import Function, evaluate
from tegula_sw.functions.cubic import Entry, cubics, cubics_within
from tegula_sw.functions.spec import Piece

SEED = 52_300


def polynomial(coefficients, x):
    """The value at x of coefficients from the lowest up, exactly."""
    return sum(Fraction(c) * x**i for i, c in enumerate(coefficients))


def value(entry, x):
    """The value of an entry's cubic, without the floors of its evaluation, in units of 2**-30."""
    return polynomial([entry.c0, entry.c1, entry.c2, 4 * entry.c3], x)


def test_a_cubic_that_an_entry_holds_is_found():
    entry = Entry(-1_234_567_891, 987_654_321, -123_456_789, 98_765, 0)
    exact = [entry.c0, entry.c1, entry.c2, 4 * entry.c3]

    def f(x):
        return (((exact[3] * x + exact[2]) * x + exact[1]) * x + exact[0]) / mpfr(2) ** 30

    assert cubics(f, 0).entries == (entry,)


def test_roundings_of_high_coefficients_are_made_up_for_by_lower_ones():
    """Half of a unit of c3 is two units of h: the three below take all but a sixteenth of them."""
    rng = np.random.default_rng(SEED)
    points = [Fraction(i, 64) for i in range(65)]
    worst = 0
    for _ in range(200):
        exact = [Fraction(int(n), 16) for n in rng.integers(-(1 << 20), 1 << 20, 4)]
        (entry,) = cubics(
            lambda x, e=exact: sum(
                mpfr(gmpy2.mpq(c)) * x**i / mpfr(2) ** 30 for i, c in enumerate(e)
            ),
            0,
            exponent=0,
        ).entries
        worst = max(worst, *(abs(value(entry, x) - polynomial(exact, x)) for x in points))
    assert Fraction(1, 2) < worst < Fraction(7, 8)


def test_the_error_is_levelled_and_known():
    fit = cubics(gmpy2.exp2, 3)
    table = Table(
        **{name: [getattr(entry, name) for entry in fit.entries] for name in Entry._fields},
        first=[0], k=[3], gain=[Gain.NONE], constant=[0],
    )  # fmt: skip
    z = np.arange(0x3F80_0000, 0x4000_0000, 1777, dtype=np.uint32)
    results = evaluate(table, Function(descriptor=0, reduction="float", low=127), z)
    errors = [
        abs(float(r) - gmpy2.exp2(mpfr(x) - 1)) * 2**23
        for x, r in zip(z.view(np.float32).tolist(), results.view(np.float32).tolist(), strict=True)
    ]
    assert 0.25 < fit.error_ulps < 0.35
    assert 0.5 + 0.8 * fit.error_ulps < max(errors) < 0.5 + 1.05 * fit.error_ulps


def test_segments_are_as_few_as_the_tolerance_allows():
    for tolerance, k in ((10.0, 2), (0.5, 3), (0.1, 4), (0.03, 5)):
        fit = cubics_within(gmpy2.exp2, tolerance)
        assert len(fit.entries) == 1 << k
        assert fit.error_ulps <= tolerance < cubics(gmpy2.exp2, k - 1).error_ulps


def test_a_function_that_is_zero_at_its_start_is_exactly_zero_there():
    assert cubics(gmpy2.log1p, 5, exponent=0).entries[0].c0 == 0


def test_exponents_make_room_for_steep_segments():
    """exp(-2 T) has a cubic coefficient of about 1/2, exp(-T / 2**7) one that is in range."""
    (steep,) = cubics(lambda x: gmpy2.exp(-2 * x), 0).entries
    assert steep.exponent == 10
    (flat,) = cubics(lambda x: gmpy2.exp(-x / 128), 0).entries
    assert flat.exponent == 0
    (tiny,) = cubics(lambda x: gmpy2.exp(-x) * mpfr(2) ** -400, 0).entries
    assert tiny.exponent == -256
    assert tiny.c0 == 0


def test_a_coefficient_that_rounds_out_of_its_range_moves_the_exponent():
    (entry,) = cubics(lambda x: mpfr(2) - mpfr(2) ** -40 + 0 * x, 0).entries
    assert entry == Entry(1 << 30, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("power", "limit", "message"),
    [
        (0, 2, r"c0 must fit 32 bits in units of 2\*\*-30, and is 2147483648 of them"),
        (1, 2, r"c1 must fit 32 bits"),
        (2, 2**-3, r"c2 must fit 28 bits in units of 2\*\*-30, and is 134217728 of them"),
        (3, 2**-11, r"c3 must fit 18 bits in units of 2\*\*-28, and is 131072 of them"),
    ],
)
def test_coefficients_out_of_range_are_named(power, limit, message):
    cubics(lambda x: mpfr(limit) * x**power * (1 - mpfr(2) ** -16), 0, exponent=0)
    cubics(lambda x: -mpfr(limit) * x**power, 0, exponent=0)
    with pytest.raises(ValueError, match=message):
        cubics(lambda x: mpfr(limit) * x**power, 0, exponent=0)


def test_what_no_table_holds_is_refused():
    with pytest.raises(
        ValueError, match=r"512 segments have an error of .* ulps, and must have 1e"
    ):
        cubics_within(gmpy2.exp2, 1e-9)
    with pytest.raises(ValueError, match="the exponent must be -256 to 255, and is 256"):
        cubics(lambda x: mpfr(2) ** 256 + x, 0)
    with pytest.raises(ValueError, match="a piece must have a power of two of entries, not 3"):
        Piece((Entry(0),) * 3)
    with pytest.raises(ValueError, match="a constant has one entry, not 2"):
        Piece((Entry(0),) * 2, constant=True)
