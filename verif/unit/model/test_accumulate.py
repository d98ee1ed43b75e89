"""tegula_golden.numerics.accumulate and PSUM words against the reference on Python integers."""

from fractions import Fraction
from functools import partial as bind

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FP32
from tegula_golden.numerics.accumulate import (
    PartialSums,
    accumulate,
    accumulate_passes,
    to_fp32_bits,
)
from verif.oracles import numerics as reference
from verif.stimuli.operands import KINDS, PAIR_KINDS, pair

PAIRINGS = [(BF16, BF16), (E4M3FN, E4M3FN), (E4M3FN, E5M2), (E5M2, E5M2), (BF16, E5M2)]
ALL_KINDS = sorted(KINDS.keys() | PAIR_KINDS.keys())
WIDTHS = (32, 48, 63, 64, 80)
ONE, TWO, HALF = 0x3F80, 0x4000, 0x3F00
INF, NAN = 0x7F80, 0x7FC0
MINUS = 0x8000
MAX, TINY = 0x7F7F, 0x0001

ids = bind(map, lambda pairing: "x".join(fmt.name for fmt in pairing))


def seed_of(*parts):
    return [sum(str(part).encode()) for part in parts]


def column(codes, fmt=BF16):
    return np.array(codes, dtype=f"uint{fmt.width}").reshape(-1, 1)


def run(a, b, *, start=None, width=63, fmt=BF16):
    """One output of one instruction."""
    start = start or PartialSums.empty((1, 1), width)
    return accumulate(start, column(a, fmt), column(b, fmt), fmt, fmt)


def state(sums):
    """(E, m) of the only word."""
    return int(sums.exponent[0, 0]), int(sums.significand[0, 0])


def read(sums):
    return int(to_fp32_bits(sums)[0, 0])


def word(exponent, significand, width=63):
    dtype = object if width > 64 else np.int64
    return PartialSums(
        exponent=np.array([[exponent]]),
        significand=np.array([[significand]], dtype=dtype),
        acc_width=width,
    )


def assert_equals_reference(a, b, fmt_a, fmt_b, width, rows):
    empty = PartialSums.empty((a.shape[1], b.shape[1]), width)
    sums = accumulate_passes(empty, a, b, fmt_a, fmt_b, rows)
    bits = to_fp32_bits(sums)
    for i, left in enumerate(a.T.tolist()):
        for j, right in enumerate(b.T.tolist()):
            expected = reference.dot_words(left, right, fmt_a, fmt_b, width, rows)
            assert (int(sums.exponent[i, j]), int(sums.significand[i, j])) == expected, (i, j)
            assert int(bits[i, j]) == reference.read_fp32(*expected, width), (i, j)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("pairing", PAIRINGS, ids=ids(PAIRINGS))
def test_every_word_and_its_reading_is_that_of_the_reference(pairing, kind):
    rng = np.random.default_rng(seed_of(*pairing, kind))
    for k, rows in ((23, 8), (64, 32), (5, 4)):
        a, b = pair(rng, (k, 3, 4), *pairing, kind)
        assert_equals_reference(a, b, *pairing, 63, rows)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["finite_codes", "ladder", "special", "cancel", "mixed_scale"])
def test_every_width_is_that_of_the_reference(width, kind):
    rng = np.random.default_rng(seed_of(width, kind))
    a, b = pair(rng, (41, 4, 5), BF16, BF16, kind)
    assert_equals_reference(a, b, BF16, BF16, width, 16)


@pytest.mark.parametrize("fmt", [E4M3, E3M4], ids=lambda fmt: fmt.name)
def test_formats_that_are_table_rows_work_alike(fmt):
    rng = np.random.default_rng(seed_of(fmt))
    a, b = pair(rng, (19, 4, 4), fmt, BF16, "uniform_codes")
    assert_equals_reference(a, b, fmt, BF16, 63, 8)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), width=st.sampled_from(WIDTHS))
def test_one_instruction_from_any_stored_word_is_that_of_the_reference(data, width):
    limit = 63 << (width - 7)
    exponent = data.draw(st.sampled_from([0, 509, 510, 511]) | st.integers(2, 508))
    near_limit = st.integers(0, 9).map(lambda n: limit - 1 - n)
    drawn = st.integers(-limit, limit - 1) | near_limit | near_limit.map(lambda m: -m - 1)
    significand = data.draw(drawn) if 2 <= exponent <= 508 else 0
    code = st.sampled_from([0, MINUS, INF, NAN, MAX, MAX | MINUS, TINY, ONE])
    codes = st.lists(code | st.integers(0, 0xFFFF), min_size=1, max_size=9)
    a = data.draw(codes)
    b = data.draw(st.lists(code | st.integers(0, 0xFFFF), min_size=len(a), max_size=len(a)))
    sums = run(a, b, start=word(exponent, significand, width))
    start = (exponent, significand)
    expected = reference.dot_words(a, b, BF16, BF16, width, 32, start)
    assert state(sums) == expected
    assert read(sums) == reference.read_fp32(*expected, width)


def test_every_pair_of_e4m3fn_and_e5m2_codes_multiplies_as_the_reference():
    stationary = np.arange(256).astype(np.uint8).reshape(1, 256)
    for left, right in ((E4M3FN, E4M3FN), (E4M3FN, E5M2), (E5M2, E5M2)):
        sums = accumulate(PartialSums.empty((256, 256)), stationary, stationary.copy(), left, right)
        bits = to_fp32_bits(sums)
        values = [[reference.value(c, fmt) for c in range(256)] for fmt in (left, right)]
        checked = 0
        for i, x in enumerate(values[0]):
            for j, y in enumerate(values[1]):
                if isinstance(x, str) or isinstance(y, str):
                    assert sums.exponent[i, j] > 508
                    continue
                checked += 1
                # Every product has at most 8 bits: the reading is exact.
                assert float(bits[i, j].view(np.float32)) == x * y
        assert checked > 60_000


# The anchor


def test_the_anchor_is_the_largest_exponent_of_a_nonzero_product():
    assert state(run([ONE], [ONE])) == (254, 128 * 128 << 34)
    assert state(run([ONE, TWO], [ONE, TWO]))[0] == 256
    assert state(run([ONE, MAX], [ONE, 0]))[0] == 254
    assert state(run([TINY], [TINY])) == (2, 1 << 34)
    assert state(run([MAX], [MAX])) == (508, 255 * 255 << 34)


def test_products_of_zero_leave_a_sum_empty():
    for zero in (0, MINUS):
        sums = run([zero, MAX, zero], [MAX, zero, zero])
        assert state(sums) == (0, 0)
        assert read(sums) == 0


def test_a_sum_that_cancels_keeps_its_anchor_and_reads_as_plus_zero():
    sums = run([MAX, MAX | MINUS], [MAX, MAX])
    assert state(sums) == (508, 0)
    assert read(sums) == 0


def test_every_shift_rounds_down():
    far = 0x0080  # 2**-126: its product with itself is below every guard bit of 1
    assert state(run([ONE, far], [ONE, far])) == (254, 128 * 128 << 34)
    assert state(run([ONE, far], [ONE, far | MINUS])) == (254, (128 * 128 << 34) - 1)
    twice = run([ONE, far, far], [ONE, far | MINUS, far | MINUS])
    assert state(twice) == (254, (128 * 128 << 34) - 2), "each term by itself"


def test_the_stored_significand_rounds_down_when_the_anchor_rises():
    start = word(100, -1)
    assert state(run([ONE], [ONE], start=start)) == (254, (128 * 128 << 34) - 1)
    assert state(run([ONE], [ONE], start=word(100, 1))) == (254, 128 * 128 << 34)


def test_groups_of_four_begin_at_multiples_of_four():
    # A small term shifted with its group's anchor, or first taken at its own: four at once lose it.
    small, big = 0x3F80, 0x5F80  # 1 and 2**64: 64 is past the 34 + 14 bits below the product
    together = run([small, small, small, big], [small, small | MINUS, small, big])
    apart = run([small, small, small, small, big], [small, small | MINUS, small, small, big])
    assert state(together)[1] == (128 * 128 << 34) - 1, "the negative term took a bit with it"
    assert state(apart)[1] == 128 * 128 << 34


# PSUM write


@pytest.mark.parametrize("width", WIDTHS)
def test_renormalisation_begins_at_63_of_64_parts_of_the_range(width):
    limit = 63 << (width - 7)
    one = 128 * 128 << (width - 29)
    top = run([ONE], [ONE], start=word(254, limit - 1 - one, width), width=width)
    assert state(top) == (254, limit - 1)
    over = run([ONE], [ONE], start=word(254, limit - one, width), width=width)
    assert state(over) == (255, limit // 2)
    bottom = run([ONE], [ONE | MINUS], start=word(254, -limit + one, width), width=width)
    assert state(bottom) == (254, -limit)
    under = run([ONE], [ONE | MINUS], start=word(254, -limit + one - 1, width), width=width)
    assert state(under) == (255, (-limit - 1) // 2)


def test_renormalising_the_largest_anchor_is_infinity():
    limit = 63 << 56
    assert state(run([MAX], [MAX], start=word(508, limit - 1))) == (509, 0)
    assert state(run([MAX], [MAX | MINUS], start=word(508, -limit))) == (510, 0)
    assert state(run([TINY], [TINY], start=word(508, -limit)))[0] == 508


@pytest.mark.parametrize("width", WIDTHS)
def test_thirty_two_largest_products_never_wrap(width):
    limit = 63 << (width - 7)
    for sign, start in ((0, limit - 1), (MINUS, -limit)):
        sums = run([MAX] * 32, [MAX | sign] * 32, start=word(500, start, width), width=width)
        exponent, significand = state(sums)
        assert exponent == 508
        assert (significand < 0) == bool(sign)


@pytest.mark.parametrize("kind", ["plus", "minus", "both"])
def test_twenty_thousand_largest_terms_are_those_of_the_reference(kind):
    k = 20_000
    largest = E5M2.max_finite
    a = np.full((k, 1), largest, dtype=np.uint8)
    signs = {"plus": [0], "minus": [0x80], "both": [0, 0, 0x80]}[kind]
    b = np.resize(np.array(signs, dtype=np.uint8), (k, 1)) | np.uint8(largest)
    sums = accumulate_passes(PartialSums.empty((1, 1)), a, b, E5M2, E5M2, 8)
    exact = reference.exact_dot(a[:, 0].tolist(), b[:, 0].tolist(), E5M2, E5M2)
    assert reference.exact_word(*state(sums), 63) == exact
    assert state(sums)[0] > 284, "it has been renormalised"
    assert read(sums) == reference.read_fp32(*state(sums), 63)


@pytest.mark.parametrize("width", WIDTHS)
def test_long_sums_of_largest_bf16_products_are_those_of_the_reference(width):
    k = 6000
    a = np.full((k, 1), 0x5FFF, dtype=np.uint16)
    a[k // 2 :: 3] = 0x0101
    sums = accumulate_passes(PartialSums.empty((1, 1), width), a, a, BF16, BF16, 32)
    expected = reference.dot_words(a[:, 0].tolist(), a[:, 0].tolist(), BF16, BF16, width, 32)
    assert state(sums) == expected


# Special states


@pytest.mark.parametrize(
    ("a", "b", "exponent", "bits"),
    [
        ([INF], [ONE], 509, 0x7F80_0000),
        ([INF], [ONE | MINUS], 510, 0xFF80_0000),
        ([INF | MINUS], [INF | MINUS], 509, 0x7F80_0000),
        ([INF], [TINY | MINUS], 510, 0xFF80_0000),
        ([INF], [0], 511, 0x7FC0_0000),
        ([MINUS], [INF], 511, 0x7FC0_0000),
        ([NAN], [ONE], 511, 0x7FC0_0000),
        ([0], [NAN | MINUS], 511, 0x7FC0_0000),
        ([0xFF81], [INF], 511, 0x7FC0_0000),
        ([INF, INF], [ONE, ONE | MINUS], 511, 0x7FC0_0000),
        ([INF, INF, MAX], [ONE, ONE, MAX], 509, 0x7F80_0000),
    ],
)
def test_special_products_set_sticky_states(a, b, exponent, bits):
    sums = run(a, b)
    assert state(sums) == (exponent, 0)
    assert read(sums) == bits


@pytest.mark.parametrize(
    ("stored", "a", "b", "exponent"),
    [
        (509, MAX, MAX | MINUS, 509),
        (510, MAX, MAX, 510),
        (511, ONE, ONE, 511),
        (509, INF, ONE, 509),
        (509, INF | MINUS, ONE, 511),
        (510, INF, ONE, 511),
        (511, INF, ONE, 511),
        (509, 0, 0, 509),
    ],
)
def test_stored_states_stick(stored, a, b, exponent):
    assert state(run([a], [b], start=word(stored, 0))) == (exponent, 0)


def test_a_special_output_does_not_touch_its_neighbours():
    rng = np.random.default_rng(7)
    a, b = pair(rng, (8, 6, 7), BF16, BF16, "normal")
    clean = accumulate(PartialSums.empty((6, 7)), a, b, BF16, BF16)
    a[3, 2] = NAN
    mixed = accumulate(PartialSums.empty((6, 7)), a, b, BF16, BF16)
    assert np.all(mixed.exponent[2] == 511)
    others = np.arange(6) != 2
    assert np.array_equal(mixed.exponent[others], clean.exponent[others])
    assert np.array_equal(mixed.significand[others], clean.significand[others])


# Words and their reading


@pytest.mark.parametrize("width", WIDTHS)
def test_words_pack_the_exponent_above_the_significand(width):
    assert int(word(254, -1, width).words()[0, 0]) == (254 << width) + (1 << width) - 1
    assert int(word(511, 0, width).words()[0, 0]) == 511 << width
    rng = np.random.default_rng(width)
    a, b = pair(rng, (8, 5, 6), BF16, BF16, "sparse_special")
    sums = accumulate(PartialSums.empty((5, 6), width), a, b, BF16, BF16)
    again = PartialSums.from_words(sums.words(), width)
    assert np.array_equal(again.exponent, sums.exponent)
    assert np.array_equal(again.significand, sums.significand)
    assert again.significand.dtype == sums.significand.dtype


@settings(max_examples=600, deadline=None)
@given(data=st.data(), width=st.sampled_from(WIDTHS))
def test_readings_are_rounded_once_as_by_mpfr(data, width):
    limit = 63 << (width - 7)
    exponent = data.draw(st.integers(2, 508) | st.integers(60, 130) | st.integers(350, 420))
    bits = data.draw(st.integers(1, width - 2))
    head = data.draw(st.integers(1, 1 << min(bits, 26)))
    magnitude = head << max(bits - 26, 0)
    magnitude += data.draw(st.sampled_from([-1, 0, 0, 1]))
    significand = min(magnitude, limit - 1) * data.draw(st.sampled_from([1, -1]))
    number = reference.exact_word(exponent, significand, width)
    context = gmpy2.context(precision=24, emin=-148, emax=128, subnormalize=True)
    with gmpy2.context(context):
        rounded = float(gmpy2.mpfr(gmpy2.mpq(number.numerator, number.denominator)))
    bits = read(word(exponent, significand, width))
    expected = int(np.float32(rounded).view(np.uint32))
    if significand == 0:
        expected = 0
    assert bits == expected
    assert bits == reference.read_fp32(exponent, significand, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_readings_at_the_edges_of_fp32(width):
    def at(number):
        """The word of a number, on the largest anchor that holds it exactly."""
        for exponent in range(508, 1, -1):
            significand = Fraction(number) / Fraction(2) ** (exponent - 239 - width)
            if significand.denominator == 1 and abs(significand) < 1 << (width - 2):
                return word(exponent, int(significand), width)
        raise AssertionError(f"no word holds {number}")

    largest = Fraction(2**24 - 1) * 2**104
    tie = largest + 2**103
    assert read(at(largest)) == 0x7F7F_FFFF
    assert read(at(tie)) == 0x7F80_0000
    assert read(at(-tie)) == 0xFF80_0000
    assert read(at(tie - 2**100)) == 0x7F7F_FFFF
    smallest = Fraction(1, 2**149)
    assert read(at(smallest)) == 1
    assert read(at(smallest / 2)) == 0
    assert read(at(-smallest / 2)) == 0x8000_0000
    assert read(at(smallest * Fraction(3, 2))) == 2
    assert read(at(smallest * Fraction(9, 16))) == 1
    assert read(at(smallest * (2**23 - Fraction(1, 2)))) == 0x0080_0000


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_the_last_bit_of_a_significand_decides_a_tie(width, beside):
    head = (1 << 24) + 1
    significand = (head << (width - 28)) + beside
    bits = read(word(254, significand, width))
    assert bits == reference.read_fp32(254, significand, width)
    assert bits & 1 == (beside > 0)


def test_words_beyond_what_a_tile_writes_are_read_alike():
    """Any W-bit significand has a reading, also those that renormalisation excludes."""
    for significand in (-(1 << 63), (1 << 63) - 1, -(1 << 62) - 1):
        for exponent in (2, 104, 105, 153, 154, 155, 400, 508):
            bits = read(word(exponent, significand, 64))
            assert bits == reference.read_fp32(exponent, significand, 64), (exponent, significand)


def test_tiny_nonzero_sums_keep_their_sign():
    assert read(run([TINY], [TINY])) == 0
    assert read(run([TINY], [TINY | MINUS])) == 0x8000_0000


# Arguments


def test_the_partial_sums_that_go_in_are_not_changed():
    start = PartialSums.empty((1, 1))
    run([MAX, INF], [MAX, ONE], start=start)
    assert state(start) == (0, 0)


def test_wrong_arguments_are_named():
    a, b = column([ONE] * 4), column([ONE] * 4)
    empty = PartialSums.empty((1, 1))
    with pytest.raises(ValueError, match=r"at most 32 rows .* not 33"):
        run([ONE] * 33, [ONE] * 33)
    with pytest.raises(ValueError, match="same K >= 1, not 4 and 3"):
        accumulate(empty, a, b[:3], BF16, BF16)
    with pytest.raises(ValueError, match="same K >= 1, not 0 and 0"):
        accumulate(empty, a[:0], b[:0], BF16, BF16)
    with pytest.raises(ValueError, match=r"shape \(1, 1\), not \(1, 2\)"):
        accumulate(PartialSums.empty((1, 2)), a, b, BF16, BF16)
    with pytest.raises(ValueError, match="stationary_codes of e5m2 must be uint8, not uint16"):
        accumulate(empty, a, b, E5M2, BF16)
    with pytest.raises(ValueError, match=r"fp32 has 8 exponent and 23 mantissa"):
        accumulate(empty, a.astype(np.uint32), b, FP32, BF16)
    with pytest.raises(ValueError, match=r"K x M and K x F, not of shapes \(4,\)"):
        accumulate(empty, a[:, 0], b, BF16, BF16)
    with pytest.raises(ValueError, match="rows must be 1 to 32, not 0"):
        accumulate_passes(empty, a, b, BF16, BF16, 0)
    with pytest.raises(ValueError, match="acc_width must be an int of at least 29, not 28"):
        PartialSums.empty((1, 1), 28)
    with pytest.raises(ValueError, match="exponent must be int64, not int16"):
        PartialSums(exponent=np.zeros(1, np.int16), significand=np.zeros(1, np.int64), acc_width=63)
    with pytest.raises(ValueError, match="W = 80 must be object, not int64"):
        PartialSums(exponent=np.zeros(1, np.int64), significand=np.zeros(1, np.int64), acc_width=80)
    with pytest.raises(ValueError, match=r"shape \(1,\) of exponent, not \(2,\)"):
        PartialSums(exponent=np.zeros(1, np.int64), significand=np.zeros(2, np.int64), acc_width=63)
    with pytest.raises(ValueError, match=r"0 to 2\*\*72 - 1, not -1"):
        PartialSums.from_words([-1])
