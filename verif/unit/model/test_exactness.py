"""The theorems of docs/numerics.md, sections 8 and 9, against integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.formats import BF16, E4M3FN, E5M2
from tegula_golden.numerics.accumulate import (
    PartialSums,
    accumulate,
    accumulate_passes,
    to_fp32_bits,
)
from tegula_golden.numerics.codes import decode
from tegula_golden.numerics.gemm import gemm
from verif.oracles import numerics as reference
from verif.stimuli.operands import operands, pair

EXACT = {(E4M3FN, E4M3FN): -18, (E4M3FN, E5M2): -25}
"""Pairing -> z: every product is an integer multiple of 2**z."""

UNIT = {E4M3FN: 9, E5M2: 16}
"""Format -> bits below the point of its smallest subnormal."""

KINDS = (
    "finite_codes",
    "extremes",
    "mixed_scale",
    "cancel",
    "subnormal",
    "ladder",
    "ties",
    "zeros",
)
MAX_E4, MAX_E5, MINUS = E4M3FN.max_finite, E5M2.max_finite, 0x80
pairings = pytest.mark.parametrize(
    "pairing", EXACT, ids=["x".join(fmt.name for fmt in pairing) for pairing in EXACT]
)


def as_integers(codes, fmt):
    """Values in units of the smallest subnormal, int64: fp8 values are exact in float64."""
    scaled = decode(codes, fmt).astype(np.float64) * 2.0 ** UNIT[fmt]
    integers = scaled.astype(np.int64)
    assert np.array_equal(integers, scaled)
    return integers


def exact_sums(a, b, pairing):
    """``A.T @ B`` in units of 2**z; at most 5300 * 2**50 in magnitude: int64 holds it."""
    assert len(a) <= 5300
    return as_integers(a, pairing[0]).T @ as_integers(b, pairing[1])


def word_values(sums, unit_bits):
    """Values of the words as multiples of 2**-unit_bits, exact (Fraction only where it must be)."""
    lsb = sums.exponent - 239 - sums.acc_width + unit_bits
    scaled = [
        int(m) << s if s >= 0 else Fraction(int(m), 1 << -s)
        for m, s in zip(sums.significand.flat, lsb.ravel().tolist(), strict=True)
    ]
    return np.array(scaled, dtype=object).reshape(sums.exponent.shape)


def assert_exact(sums, a, b, pairing):
    z = EXACT[pairing]
    expected = exact_sums(a, b, pairing)
    assert np.array_equal(word_values(sums, -z), expected)
    rounded = [
        reference.round_value(Fraction(n) * Fraction(2) ** z, reference.FP32) | (n < 0) << 31
        for n in expected.ravel().tolist()
    ]
    assert to_fp32_bits(sums).ravel().tolist() == rounded


def total(a, b, pairing, rows=8, width=63):
    empty = PartialSums.empty((a.shape[1], b.shape[1]), width)
    return accumulate_passes(empty, a, b, *pairing, rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 64, 1000, 4096])
@pairings
def test_fp8_sums_are_exact(pairing, k, kind):
    rng = np.random.default_rng([k, len(kind), *(fmt.code for fmt in pairing)])
    a, b = pair(rng, (k, 6, 7), *pairing, kind) if k > 2 else pair(rng, (k, 6, 7), *pairing, "max")
    assert_exact(total(a, b, pairing), a, b, pairing)


@pytest.mark.parametrize("kind", [*KINDS, "max"])
def test_e4m3fn_sums_of_4096_terms_are_exact(kind):
    rng = np.random.default_rng(len(kind))
    a, b = pair(rng, (4096, 6, 7), E4M3FN, E4M3FN, kind)
    assert_exact(total(a, b, (E4M3FN, E4M3FN)), a, b, (E4M3FN, E4M3FN))


@pytest.mark.parametrize("place", [0, 1, 1337, -2, -1])
@pytest.mark.parametrize("sign", [0, MINUS])
@pytest.mark.parametrize(
    ("pairing", "k"), [((E4M3FN, E4M3FN), 4096), ((E4M3FN, E5M2), 5266)], ids=["4096", "5266"]
)
def test_one_smallest_product_among_largest_ones_is_not_lost(pairing, k, sign, place):
    a = np.full((k, 1), pairing[0].max_finite, dtype=np.uint8)
    b = np.full((k, 1), pairing[1].max_finite, dtype=np.uint8)
    a[place], b[place] = 1, 1 | sign
    assert_exact(total(a, b, pairing), a, b, pairing)


@pytest.mark.parametrize("rows", [1, 4, 7, 8, 16, 32])
@pairings
def test_exactness_does_not_depend_on_the_length_of_passes(pairing, rows):
    rng = np.random.default_rng(rows)
    for kind in ("extremes", "cancel"):
        a, b = pair(rng, (600, 5, 5), *pairing, kind)
        assert_exact(total(a, b, pairing, rows), a, b, pairing)


def test_4096_terms_of_e4m3fn_by_e5m2_are_exact_while_sums_stay_below_2_to_the_36():
    rng = np.random.default_rng(36)
    k = 4096
    a = np.full((k, 2), MAX_E4, dtype=np.uint8)
    b = np.full((k, 2), MAX_E5, dtype=np.uint8)
    b[1337:, :] |= np.uint8(MINUS)  # up to half of the bound, and down past zero
    tiny = rng.choice(k, 500, replace=False)
    a[tiny, 1] = 1
    b[tiny, :] = rng.integers(1, 4, (500, 2))
    assert_exact(total(a, b, (E4M3FN, E5M2)), a, b, (E4M3FN, E5M2))


def test_the_limit_of_5266_terms_is_sharp():
    """After 5267 largest products the word renormalises, and the smallest product is lost."""
    maxima = 5267
    one_half_ulp = [(0x58, 0x5C), (1, 1)]  # 16 * 256 = 2**12 and 2**-9 * 2**-16
    a = np.array([MAX_E4] * maxima + [x for x, _ in one_half_ulp], dtype=np.uint8)
    b = np.array([MAX_E5] * maxima + [y for _, y in one_half_ulp], dtype=np.uint8)
    sums = total(a[:, None], b[:, None], (E4M3FN, E5M2))
    exact = reference.exact_dot(a.tolist(), b.tolist(), E4M3FN, E5M2)
    value = reference.exact_word(int(sums.exponent[0, 0]), int(sums.significand[0, 0]), 63)
    assert value == exact - Fraction(1, 2**25)
    # It decided a tie: the fp32 reading is not the correctly rounded sum.
    correct = reference.round_value(exact, reference.FP32)
    assert int(to_fp32_bits(sums)[0, 0]) == correct - 1
    # One bit more holds it.
    wider = total(a[:, None], b[:, None], (E4M3FN, E5M2), width=64)
    assert int(to_fp32_bits(wider)[0, 0]) == correct


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_order_splits_and_pass_lengths_change_no_fp8_bit(data, seed, kind):
    pairing = data.draw(st.sampled_from(sorted(EXACT, key=str)))
    k = data.draw(st.integers(3, 90))
    rng = np.random.default_rng(seed)
    a, b = pair(rng, (k, 4, 5), *pairing, kind)
    expected = total(a, b, pairing)
    order = rng.permutation(k)
    rows = data.draw(st.integers(1, 32))
    cut = data.draw(st.integers(1, k - 1))
    shuffled = total(a[order], b[order], pairing, rows)
    first = total(a[:cut], b[:cut], pairing, rows)
    split = accumulate_passes(first, a[cut:], b[cut:], *pairing, 8)
    for other in (shuffled, split):
        assert np.array_equal(other.words(), expected.words())
        assert np.array_equal(to_fp32_bits(other), to_fp32_bits(expected))


@pytest.mark.parametrize("out", [E4M3FN, E5M2, BF16], ids=lambda fmt: fmt.name)
def test_whole_products_have_the_same_bits_on_every_array_size(out):
    rng = np.random.default_rng(out.code)
    a = operands(rng, (9, 130), E4M3FN, "extremes")
    b = operands(rng, (130, 11), E5M2, "mixed_scale")
    random = rng.integers(0, 1 << 16, (9, 11)).astype(np.uint16)
    order = rng.permutation(130)
    codes = [
        gemm(x, y, E4M3FN, E5M2, out, rows=rows, random=random).tobytes()
        for rows in (4, 8, 16, 32)
        for x, y in ((a, b), (a[:, order], b[order]))
    ]
    assert len(codes) == 8
    assert len(set(codes)) == 1


# The bf16 error bound

BF16_KINDS = (
    "finite_codes", "normal", "mixed_scale", "ladder", "cancel", "ties", "extremes", "subnormal",
    "overflow", "underflow", "integers",
)  # fmt: skip


def terms_of(a, b):
    return [reference.value(x, BF16) * reference.value(y, BF16) for x, y in zip(a, b, strict=True)]


def assert_within_bound(a, b, exponent, significand, width):
    """Section 9: floor errors, counted in the final LSB; and the size of that LSB."""
    terms = [t for t in terms_of(a, b) if t != 0]
    if not terms:
        assert (exponent, significand) == (0, 0)
        return None
    operand_pairs = [
        (reference.operand(x, BF16), reference.operand(y, BF16)) for x, y in zip(a, b, strict=True)
    ]
    top = max(x[1] + y[1] for x, y in operand_pairs if x[0] * y[0])
    lsb = Fraction(2) ** (exponent - 239 - width)
    error = reference.exact_word(exponent, significand, width) - sum(terms)
    assert -(len(terms) + 2) * lsb < error <= 0
    size = sum(abs(t) for t in terms)
    assert lsb <= max(Fraction(2) ** (top - 239), 16 * size) / 2**width
    if len(terms) <= 2048:
        assert exponent == top
        if all(128 <= abs(s) for x, y in operand_pairs for s in (x[0], y[0]) if s):
            assert lsb <= max(abs(t) for t in terms) * Fraction(2) ** (15 - width)
    return error


@pytest.mark.parametrize("width", [32, 48, 63, 64, 80])
@pytest.mark.parametrize("kind", BF16_KINDS)
def test_the_bf16_error_bound_holds(kind, width):
    rng = np.random.default_rng([width, len(kind)])
    errors = []
    for k, rows in ((6, 4), (40, 8), (130, 32)):
        a, b = pair(rng, (k, 3, 3), BF16, BF16, kind)
        sums = total(a, b, (BF16, BF16), rows, width)
        for i in range(3):
            for j in range(3):
                e, m = int(sums.exponent[i, j]), int(sums.significand[i, j])
                if e > 508:
                    pytest.fail(f"finite operands of kind {kind} overflowed PSUM")
                errors.append(assert_within_bound(a[:, i].tolist(), b[:, j].tolist(), e, m, width))
    assert len(errors) == 27
    if kind in ("finite_codes", "mixed_scale"):
        assert any(errors), "the stimuli reach the guard bits"


@pytest.mark.parametrize("sign", [0, 0x8000])
def test_the_bf16_error_bound_holds_for_long_sums_that_renormalise(sign):
    k, width = 9000, 63
    rng = np.random.default_rng(9)
    a = np.full((k, 1), 0x42FF, dtype=np.uint16)
    b = np.full((k, 1), 0x42FF | sign, dtype=np.uint16)
    tiny = rng.choice(k, 3000, replace=False)
    b[tiny] = rng.integers(0x2A80, 0x3000, (3000, 1))
    sums = total(a, b, (BF16, BF16), 8, width)
    e, m = int(sums.exponent[0, 0]), int(sums.significand[0, 0])
    error = assert_within_bound(a[:, 0].tolist(), b[:, 0].tolist(), e, m, width)
    assert e > 2 * 0x85
    assert error < 0


def test_the_bound_of_one_lsb_a_term_is_nearly_reached():
    """Each of 7 tiny negative terms costs one LSB: the bound is (8 + 2) of them."""
    a = np.array([[0x3F80]] + [[0x2000]] * 7, dtype=np.uint16)
    b = np.array([[0x3F80]] + [[0xA000]] * 7, dtype=np.uint16)
    sums = accumulate(PartialSums.empty((1, 1)), a, b, BF16, BF16)
    assert sums.significand[0, 0] == (128 * 128 << 34) - 7


def test_bf16_order_may_change_the_last_guard_bits():
    """Section 10: what is not guaranteed, so that nobody takes it for granted."""
    a = np.array([[0x3F80], [0x3F80], [0x2000]], dtype=np.uint16)
    b = np.array([[0x3F80], [0xBF80], [0xA000]], dtype=np.uint16)
    late = total(a, b, (BF16, BF16), 1)
    order = [2, 0, 1]
    early = total(a[order], b[order], (BF16, BF16), 1)
    assert int(late.significand[0, 0]) == -1
    assert np.array_equal(late.words(), early.words()), "alone it makes no difference"
    twice = [0, 1, 2, 2]
    together = accumulate(PartialSums.empty((1, 1)), a[twice], b[twice], BF16, BF16)
    first = [2, 2, 0, 1]
    apart = total(a[first], b[first], (BF16, BF16), 2)
    assert int(together.significand[0, 0]) == -2
    assert int(apart.significand[0, 0]) == -1
    assert not np.array_equal(to_fp32_bits(together), to_fp32_bits(apart))
