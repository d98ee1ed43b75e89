"""verif.stimuli.operands: each kind is what it says, for the same seed always the same."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FP32
from tegula_golden.numerics.accumulate import PartialSums, accumulate, to_fp32_bits
from tegula_golden.numerics.codes import FINITE, code_dtype, decode, to_operand
from verif.oracles import numerics as reference
from verif.stimuli.operands import KINDS, PAIR_KINDS, cast_boundaries, cast_inputs, operands, pair

OPERANDS = (BF16, E4M3FN, E5M2, E4M3, E3M4)
SHAPE = (64, 40)
formats = pytest.mark.parametrize("fmt", OPERANDS, ids=lambda fmt: fmt.name)


def draw(fmt, kind, shape=SHAPE, seed=3):
    return operands(np.random.default_rng(seed), shape, fmt, kind)


@pytest.mark.parametrize("kind", KINDS)
@formats
def test_codes_have_the_right_type_and_repeat_with_their_seed(fmt, kind):
    codes = draw(fmt, kind)
    assert codes.dtype == code_dtype(fmt)
    assert codes.shape == SHAPE
    assert np.array_equal(codes, draw(fmt, kind))
    assert draw(fmt, kind, (5,)).shape == (5,)
    assert draw(fmt, kind, (1, 1)).shape == (1, 1)
    if kind != "max":
        assert not np.array_equal(codes, draw(fmt, kind, seed=4))


@pytest.mark.parametrize("kind", KINDS)
@formats
def test_only_kinds_that_say_so_hold_specials(fmt, kind):
    special = np.mean(to_operand(draw(fmt, kind), fmt)[2] != FINITE)
    if kind == "special":
        assert 0.3 < special < 0.7
    elif kind == "sparse_special":
        assert 0 < special < 0.05
    elif kind == "uniform_codes" and fmt is not BF16:
        assert special > 0
    elif kind != "uniform_codes":
        assert special == 0


@formats
def test_specials_are_nans_and_infinities_of_both_signs(fmt):
    values = decode(draw(fmt, "special"), fmt)
    assert {False, True} == set(np.signbit(values[np.isnan(values)]).tolist())
    assert {False, True} == set(np.signbit(values[values == 0]).tolist())
    infinities = set() if fmt.infinity is None else {np.inf, -np.inf}
    assert set(values[np.isinf(values)].tolist()) == infinities


@formats
def test_mixed_scales_come_from_both_ends_and_not_from_between(fmt):
    exponent = to_operand(draw(fmt, "mixed_scale"), fmt)[1]
    low, high = 127 + fmt.min_exponent, 127 + (fmt.max_finite >> fmt.mantissa_bits) - fmt.bias
    at_low, at_high = exponent <= low + 2, exponent >= high - 2
    assert 0.3 < at_low.mean() < 0.9
    assert 0.3 < at_high.mean() < 0.9
    assert np.all(at_low | at_high)


@formats
def test_a_ladder_climbs_the_whole_range(fmt):
    exponent = to_operand(draw(fmt, "ladder"), fmt)[1].mean(axis=1)
    assert exponent[0] < exponent[len(exponent) // 2] < exponent[-1]
    assert exponent[-1] - exponent[0] > 0.9 * ((fmt.max_finite >> fmt.mantissa_bits) - 3)


@formats
def test_subnormals_are_most_of_their_kind(fmt):
    magnitude = draw(fmt, "subnormal") & fmt.magnitude_mask
    smallest_normal = 1 << fmt.mantissa_bits
    assert np.mean((magnitude > 0) & (magnitude < smallest_normal)) > 0.5
    assert magnitude.max() <= smallest_normal + 1
    assert magnitude.min() == 0


@formats
def test_extremes_are_all_there(fmt):
    magnitudes = set((draw(fmt, "extremes") & fmt.magnitude_mask).ravel().tolist())
    smallest_normal = 1 << fmt.mantissa_bits
    assert magnitudes == {fmt.max_finite, fmt.max_finite - 1, 1, smallest_normal, 0}


@formats
def test_cancelling_rows_are_equal_but_for_a_sign(fmt):
    codes = draw(fmt, "cancel", (65, 30))
    difference = codes[1:64:2] ^ codes[0:64:2]
    signs = [set(row.tolist()) for row in difference]
    assert all(len(row) == 1 for row in signs)
    assert set().union(*signs) == {0, 1 << (fmt.width - 1)}


@formats
def test_normal_numbers_have_the_spread_they_should(fmt):
    values = decode(draw(fmt, "normal", (10_000,)), fmt).astype(np.float64)
    assert 3 < values.std() < 4.2
    assert abs(values.mean()) < 0.2


@pytest.mark.parametrize("fmt_b", OPERANDS, ids=lambda fmt: fmt.name)
@formats
def test_cancelling_pairs_leave_a_sum_far_below_their_terms(fmt, fmt_b):
    rng = np.random.default_rng(5)
    a, b = pair(rng, (33, 6, 6), fmt, fmt_b, "cancel")
    assert (a.shape, b.shape) == ((33, 6), (33, 6))
    for i in range(6):
        left, right = a[:, i].tolist(), b[:, i].tolist()
        exact = reference.exact_dot(left, right, fmt, fmt_b)
        largest = max(
            abs(reference.value(x, fmt) * reference.value(y, fmt_b))
            for x, y in zip(left, right, strict=True)
        )
        assert abs(exact) < largest


@pytest.mark.parametrize("fmt_out", [BF16, E4M3FN, E5M2, FP32], ids=lambda fmt: fmt.name)
def test_tie_pairs_fall_on_ties_of_the_output_and_beside_them(fmt_out):
    rng = np.random.default_rng(6)
    on, beside = 0, 0
    for _ in range(20):
        a, b = pair(rng, (5, 4, 4), BF16, BF16, "ties", fmt_out)
        for i in range(4):
            for j in range(4):
                exact = reference.exact_dot(a[:, i].tolist(), b[:, j].tolist(), BF16, BF16)
                places = abs(exact)
                while places >= 2:
                    places /= 2
                while places < 1:
                    places *= 2
                halves = places * 2 ** (fmt_out.mantissa_bits + 1)
                odd = Fraction(2 * (int(halves) // 2) + 1)
                on += halves == odd
                beside += halves != odd and abs(halves - odd) < Fraction(1, 2)
    assert on > 30
    assert beside > 30


def test_scaled_pairs_reach_the_ends_of_fp32():
    rng = np.random.default_rng(8)
    results = {}
    for kind in ("overflow", "underflow"):
        a, b = pair(rng, (8, 30, 30), BF16, BF16, kind)
        sums = accumulate(PartialSums.empty((30, 30)), a, b, BF16, BF16)
        results[kind] = np.abs(to_fp32_bits(sums).view(np.float32))
    assert 0.02 < np.mean(np.isinf(results["overflow"])) < 0.98
    subnormal = (results["underflow"] > 0) & (results["underflow"] < 2.0**-126)
    assert np.mean(subnormal) > 0.2
    assert np.any(results["underflow"] == 0)


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_pairs_of_every_format_and_shape_are_codes(kind):
    for fmt_a in OPERANDS:
        for fmt_b in OPERANDS:
            for k in (1, 2, 3, 8):
                a, b = pair(np.random.default_rng(k), (k, 2, 3), fmt_a, fmt_b, kind)
                assert (a.shape, a.dtype) == ((k, 2), code_dtype(fmt_a))
                assert (b.shape, b.dtype) == ((k, 3), code_dtype(fmt_b))


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2, E4M3, E3M4], ids=lambda fmt: fmt.name)
def test_boundaries_hold_every_code_and_midpoint_with_neighbours(fmt):
    patterns = set(cast_boundaries(fmt).tolist())
    values = [reference.value(code, fmt) for code in range(fmt.max_finite + 1)]
    edges = values + [(low + high) / 2 for low, high in pairwise(values)]
    edges.append(values[-1] + (values[-1] - values[-2]) / 2)
    for edge in edges:
        bits = int(np.float32(float(edge)).view(np.uint32))
        assert reference.value(bits, FP32) == edge
        assert {bits, bits + 1, bits | 1 << 31} <= patterns
        assert bits == 0 or bits - 1 in patterns


def test_boundaries_of_bf16_hold_the_tie_above_the_largest_number():
    patterns = set(cast_boundaries(BF16).tolist())
    assert {0x7F7F_7FFF, 0x7F7F_8000, 0x7F7F_8001, 0x8000, 0x8001, 0x7FFF} <= patterns
    assert len(patterns) > 380_000


@pytest.mark.parametrize("fmt", [*OPERANDS, FP32], ids=lambda fmt: fmt.name)
def test_cast_inputs_repeat_and_are_not_all_overflows(fmt):
    bits = cast_inputs(np.random.default_rng(1), 5000, fmt)
    assert bits.dtype == np.uint32
    assert np.array_equal(bits, cast_inputs(np.random.default_rng(1), 5000, fmt))
    largest = decode(np.array([fmt.max_finite]).astype(code_dtype(fmt)), fmt)[0]
    inside = np.abs(bits.view(np.float32)) <= largest
    assert inside.mean() > 0.4


def test_unknown_kinds_are_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="kind 'gauss' is unknown: it must be one of uniform_"):
        operands(rng, (1,), BF16, "gauss")
    with pytest.raises(ValueError, match="kind 'gauss' is unknown: it must be one of cancel"):
        pair(rng, (1, 1, 1), BF16, BF16, "gauss")
