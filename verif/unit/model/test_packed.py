"""Packed operands (contract section 3.10) against the reference, and the exactness they promise."""

from functools import partial as bind

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FP32
from tegula_golden.numerics.accumulate import (
    PartialSums,
    accumulate,
    accumulate_passes,
    to_fp32_bits,
)
from tegula_golden.numerics.packed import packed_anchor, pair_allowed, second_sum
from verif.oracles import numerics as reference
from verif.stimuli.operands import KINDS, PAIR_KINDS, pair

FORMATS = (E4M3FN, E5M2, E4M3, E3M4)
PAIRS = [(a, b) for a in FORMATS for b in FORMATS if (a, b) != (E5M2, E5M2)]
ALL_KINDS = sorted(KINDS.keys() | PAIR_KINDS.keys())

ids = bind(map, lambda pairing: "x".join(fmt.name for fmt in pairing))


def seed_of(*parts):
    return [sum(str(part).encode()) for part in parts]


def assert_equals_reference(a, b, fmts, width, rows):
    empty = PartialSums.empty((a.shape[1], b.shape[1]), width)
    sums = accumulate_passes(empty, a, b, *fmts, rows, packed=True)
    for i, left in enumerate(a.T.tolist()):
        for j, right in enumerate(b.T.tolist()):
            expected = reference.dot_words(left, right, *fmts, width, rows, packed=True)
            assert (int(sums.exponent[i, j]), int(sums.significand[i, j])) == expected, (i, j)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("fmts", PAIRS, ids=ids(PAIRS))
def test_every_word_is_that_of_the_reference(fmts, kind):
    rng = np.random.default_rng(seed_of(*fmts, kind))
    for k, rows in ((46, 8), (128, 32), (9, 4), (1, 4)):
        a, b = pair(rng, (k, 3, 4), *fmts, kind)
        assert_equals_reference(a, b, fmts, 63, rows)


@pytest.mark.parametrize("width", [49, 63, 64, 80])
@pytest.mark.parametrize("kind", ["finite_codes", "ladder", "special", "max", "mixed_scale"])
def test_every_width_is_that_of_the_reference(width, kind):
    rng = np.random.default_rng(seed_of(width, kind))
    for fmts in ((E4M3FN, E4M3FN), (E5M2, E4M3FN), (E5M2, E5M2)):
        if pair_allowed(*fmts, width):
            a, b = pair(rng, (300, 4, 5), *fmts, kind)
            assert_equals_reference(a, b, fmts, width, 32)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), fmts=st.sampled_from(PAIRS), width=st.sampled_from([63, 64]))
def test_one_instruction_from_any_stored_word_is_that_of_the_reference(data, fmts, width):
    limit = 63 << (width - 7)
    anchor = packed_anchor(*fmts, width)
    near = st.integers(anchor - 2, anchor + 66)
    exponent = data.draw(st.sampled_from([0, 508, 509, 510, 511]) | near | st.integers(2, 508))
    near_limit = st.integers(0, 9).map(lambda n: limit - 1 - n)
    drawn = st.integers(-limit, limit - 1) | near_limit | near_limit.map(lambda m: -m - 1)
    significand = data.draw(drawn) if 2 <= exponent <= 508 else 0
    codes = st.lists(st.integers(0, 255), min_size=2, max_size=18).filter(lambda x: not len(x) % 2)
    a = data.draw(codes)
    b = data.draw(st.lists(st.integers(0, 255), min_size=len(a), max_size=len(a)))
    start = PartialSums(
        exponent=np.array([[exponent]]), significand=np.array([[significand]]), acc_width=width
    )
    a_codes, b_codes = (np.array(x, dtype=np.uint8).reshape(-1, 1) for x in (a, b))
    seconds = {"stationary_second": a_codes[1::2], "moving_second": b_codes[1::2]}
    sums = accumulate(start, a_codes[::2], b_codes[::2], *fmts, **seconds)
    expected = reference.dot_words(a, b, *fmts, width, 32, (exponent, significand), packed=True)
    assert (int(sums.exponent[0, 0]), int(sums.significand[0, 0])) == expected


@pytest.mark.parametrize("fmts", [(E4M3FN, E4M3FN), (E4M3FN, E5M2), (E5M2, E4M3FN)])
def test_single_and_double_rate_in_any_mixture_read_the_same_bits(fmts):
    rng = np.random.default_rng(seed_of(*fmts, "mixture"))
    for kind in ("finite_codes", "extremes", "cancel", "normal", "ladder"):
        a, b = pair(rng, (2048, 3, 5), *fmts, kind)
        readings = []
        for rows, cut in ((8, 0), (8, 2048), (32, 1024), (4, 500), (16, 1500)):
            sums = PartialSums.empty((3, 5))
            if cut:
                sums = accumulate_passes(sums, a[:cut], b[:cut], *fmts, rows, packed=True)
            if cut < len(a):
                sums = accumulate_passes(sums, a[cut:], b[cut:], *fmts, rows)
            readings.append(to_fp32_bits(sums))
        order = rng.permutation(len(a))
        sums = accumulate_passes(
            PartialSums.empty((3, 5)), a[order], b[order], *fmts, 8, packed=True
        )
        readings.append(to_fp32_bits(sums))
        for reading in readings[1:]:
            assert (reading == readings[0]).all(), kind
        for i, left in enumerate(a.T.tolist()):
            for j, right in enumerate(b.T.tolist()):
                exact = reference.exact_dot(left, right, *fmts)
                magnitude = min(reference.round_value(exact, FP32), FP32.infinity)
                assert int(readings[0][i, j]) & 0x7FFF_FFFF == magnitude


def test_every_pair_of_codes_is_an_integer_of_the_pairs_unit():
    codes = np.arange(256, dtype=np.uint8).reshape(1, 256)
    checked = 0
    for fmts in PAIRS:
        sums = second_sum(codes, codes, *fmts)
        unit = reference.value(1, fmts[0]) * reference.value(1, fmts[1])
        values = [[reference.value(code, fmt) for code in range(256)] for fmt in fmts]
        for i, x in enumerate(values[0]):
            for j, y in enumerate(values[1]):
                special = isinstance(x, str) or isinstance(y, str)
                assert int(sums[i, j]) == (0 if special else x * y / unit)
                checked += not special
    finite = {fmt: 2 * (fmt.max_finite + 1) for fmt in FORMATS}
    assert checked == sum(finite[a] * finite[b] for a, b in PAIRS)


@pytest.mark.parametrize("width", [49, 60, 62, 63, 64])
def test_the_tiles_pairs_and_anchors_are_those_of_the_contract(width):
    config = preset("small", acc_width=width, fp8_formats=FORMATS, packed_fp8=True)
    allowed = {}
    for a in FORMATS:
        for b in FORMATS:
            if pair_allowed(a, b, width):
                allowed[a, b] = packed_anchor(a, b, width)
                assert allowed[a, b] == reference.packed_anchor(a, b, width)
            else:
                with pytest.raises(ValueError, match=f"{a.name} x {b.name} need an accumulator of"):
                    packed_anchor(a, b, width)
    assert config.packed_pairs == allowed
    assert ((E4M3FN, E5M2) in allowed) == (width >= 63)
    assert (E5M2, E5M2) not in allowed


def test_second_codes_without_a_partner_only_count_for_flags():
    one, nan, inf = E4M3FN.one, E4M3FN.nan, E5M2.infinity
    bf16_one = np.array([[BF16.one]], dtype=np.uint16)
    for second, fmt, exponent in ((one, E4M3FN, 254), (nan, E4M3FN, 511), (inf, E5M2, 511)):
        first = np.array([[fmt.one]], dtype=np.uint8)
        pair_of = np.array([[second]], dtype=np.uint8)
        sums = accumulate(
            PartialSums.empty((1, 1)), bf16_one, first, BF16, fmt, moving_second=pair_of
        )
        assert int(sums.exponent[0, 0]) == exponent
        sums = accumulate(
            PartialSums.empty((1, 1)), first, bf16_one, fmt, BF16, stationary_second=pair_of
        )
        assert int(sums.exponent[0, 0]) == exponent


def test_operands_that_cannot_be_packed_are_refused():
    empty = PartialSums.empty((1, 1))
    narrow, wide = np.zeros((2, 1), dtype=np.uint8), np.zeros((2, 1), dtype=np.uint16)
    with pytest.raises(ValueError, match="moving_second must be of an 8-bit format"):
        accumulate(empty, narrow, wide, E4M3FN, BF16, moving_second=wide)
    with pytest.raises(ValueError, match=r"stationary_second .* \(2, 1\), not e4m3fn of \(1, 1\)"):
        accumulate(empty, narrow, narrow, E4M3FN, E5M2, stationary_second=narrow[:1])
    with pytest.raises(ValueError, match="must be of 8-bit formats, not bf16"):
        accumulate_passes(empty, wide, narrow, BF16, E4M3FN, 8, packed=True)
    with pytest.raises(ValueError, match="need an accumulator of 77 bits, not 63"):
        accumulate_passes(empty, narrow, narrow, E5M2, E5M2, 8, packed=True)
    with pytest.raises(ValueError, match=r"no pair of formats \(e4m3\) fits acc_width 46"):
        preset("small", acc_width=46, packed_fp8=True, fp8_formats=(E4M3,))
    with pytest.raises(ValueError, match=r"no pair of formats \(none\)"):
        preset("small", packed_fp8=True, fp8_formats=())


def test_a_changed_preset_packs_where_its_formats_and_width_allow_it():
    assert preset("small").packed_fp8
    assert preset("small", n=4).packed_fp8
    assert not preset("small", acc_width=48).packed_fp8
    assert preset("small", acc_width=49).packed_fp8
    assert not preset("small", fp8_formats=()).packed_fp8
    assert not preset("small", packed_fp8=False, acc_width=49).packed_fp8
