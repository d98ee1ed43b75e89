"""Block-scaled operands (contract section 3.11) against the reference, and what they promise."""

from fractions import Fraction

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
from tegula_golden.numerics.gemm import gemm
from tegula_golden.numerics.packed import pair_allowed
from verif.oracles import numerics as reference
from verif.stimuli.operands import KINDS, PAIR_KINDS, pair

FORMATS = (E4M3FN, E5M2, E4M3, E3M4)
CASES = [
    (a, b, packed)
    for a in FORMATS
    for b in FORMATS
    for packed in (False, True)
    if not packed or pair_allowed(a, b, 63)
]
KINDS_OF_DATA = sorted(KINDS.keys() | PAIR_KINDS.keys())
EDGES = (0, 1, 126, 127, 128, 253, 254, 255)


def drawn_scales(rng, shape):
    """Scale codes: near 1, anywhere, and at the edges."""
    near, any_code = rng.integers(118, 137, shape), rng.integers(0, 255, shape)
    kind = rng.random(shape)
    edges = rng.choice(EDGES, shape)
    codes = np.where(kind < 0.6, near, np.where(kind < 0.9, any_code, edges))
    return codes.astype(np.uint8)


def with_zero_columns(rng, codes, rows):
    """Some columns of some passes are zeros of both signs."""
    codes = codes.copy()
    for first in range(0, len(codes), rows):
        block = codes[first : first + rows]
        zero = rng.random(codes.shape[1]) < 0.15
        block[:, zero] = rng.choice((0, 128), (len(block), int(zero.sum())))
    return codes


def assert_words(sums, expected):
    assert sums.exponent.shape == np.array(expected)[..., 0].shape
    for at in np.ndindex(sums.exponent.shape):
        assert (int(sums.exponent[at]), int(sums.significand[at])) == expected[at[0]][at[1]], at


def reference_words(a, b, fmts, rows, packed, scales, width=63):
    """Words of all outputs; `scales` of A and B, blocks x M and x F, or None."""
    terms = rows * (2 if packed else 1)
    blocks = [first // 32 for first in range(0, len(a), terms)]

    def of_output(i, j):
        columns = zip(scales, (i, j), strict=True)
        codes = [None if side is None else side[:, at].tolist() for side, at in columns]
        return reference.dot_words(
            *(a[:, i].tolist(), b[:, j].tolist(), *fmts, width, rows),
            packed=packed,
            scales=[tuple(None if c is None else c[block] for c in codes) for block in blocks],
        )

    return [[of_output(i, j) for j in range(b.shape[1])] for i in range(a.shape[1])]


@pytest.mark.parametrize("kind", KINDS_OF_DATA)
def test_every_word_is_that_of_the_reference(kind):
    rng = np.random.default_rng([len(kind), *kind.encode()])
    for number, (fmt_a, fmt_b, packed) in enumerate(CASES):
        rows = (4, 8, 16)[number % 3]
        a, b = pair(rng, (70 if packed else 75, 3, 4), fmt_a, fmt_b, kind)
        a, b = (with_zero_columns(rng, x, rows * (1 + packed)) for x in (a, b))
        sides = ((True, True), (True, False), (False, True), (True, True))[number % 4]
        scales = [
            drawn_scales(rng, (3, x.shape[1])) if side else None
            for x, side in zip((a, b), sides, strict=True)
        ]
        sums = accumulate_passes(
            *(PartialSums.empty((3, 4)), a, b, fmt_a, fmt_b, rows),
            packed=packed,
            stationary_scales=scales[0],
            moving_scales=scales[1],
        )
        assert_words(sums, reference_words(a, b, (fmt_a, fmt_b), rows, packed, scales))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), case=st.sampled_from(CASES), width=st.sampled_from([63, 64, 32]))
def test_one_instruction_from_any_stored_word_is_that_of_the_reference(data, case, width):
    *fmts, packed = case
    packed = packed and pair_allowed(*fmts, width)
    limit = 63 << (width - 7)
    near = st.integers(250, 350)
    exponent = data.draw(st.sampled_from([0, 2, 508, 509, 510, 511]) | near | st.integers(2, 508))
    near_limit = st.integers(0, 9).map(lambda n: limit - 1 - n)
    drawn = st.integers(-limit, limit - 1) | near_limit | near_limit.map(lambda m: -m - 1)
    significand = data.draw(drawn) if 2 <= exponent <= 508 else 0
    code = st.just(0) | st.integers(0, 255)
    codes = st.lists(code, min_size=2, max_size=18).filter(lambda x: not len(x) % 2)
    a = data.draw(codes | st.just([0, 128, 0, 0]))
    b = data.draw(st.lists(st.integers(0, 255), min_size=len(a), max_size=len(a)))
    scale = st.none() | st.sampled_from(EDGES) | st.integers(110, 145) | st.integers(0, 255)
    scales = data.draw(scale), data.draw(scale)
    start = PartialSums(
        exponent=np.array([[exponent]]), significand=np.array([[significand]]), acc_width=width
    )
    a_codes, b_codes = (np.array(x, dtype=np.uint8).reshape(-1, 1) for x in (a, b))
    seconds = {}
    if packed:
        seconds = {"stationary_second": a_codes[1::2], "moving_second": b_codes[1::2]}
        a_codes, b_codes = a_codes[::2], b_codes[::2]
    arrays = [None if code is None else np.array([code], dtype=np.uint8) for code in scales]
    sums = accumulate(
        *(start, a_codes, b_codes, *fmts),
        **seconds,
        stationary_scales=arrays[0],
        moving_scales=arrays[1],
    )
    expected = reference.dot_words(
        *(a, b, *fmts, width, 32, (exponent, significand)),
        packed=packed,
        scales=None if scales == (None, None) else [scales],
    )
    assert (int(sums.exponent[0, 0]), int(sums.significand[0, 0])) == expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [4, 8, 16, 32])
def test_a_whole_product_is_read_as_the_reference_reads_it(rows, packed):
    rng = np.random.default_rng([rows, packed])
    for depth in (1, 31, 32, 41, 96, 127):
        a, b = pair(rng, (depth, 3, 2), E4M3FN, E5M2, "normal")
        scales_a, scales_b = (drawn_scales(rng, (-(-depth // 32), n)) for n in (3, 2))
        result = gemm(
            *(np.ascontiguousarray(a.T), b, E4M3FN, E5M2, FP32),
            rows=rows,
            packed=packed,
            scales_a=np.ascontiguousarray(scales_a.T),
            scales_b=scales_b,
        )
        for i in range(3):
            for j in range(2):
                word = (0, 0)
                for block in range(len(scales_a)):
                    span = slice(32 * block, min(32 * block + 32, depth))
                    x, y = a[span, i].tolist(), b[span, j].tolist()
                    for terms, pairs in instructions(len(x), rows, packed):
                        left, right = [x[k] for k in terms], [y[k] for k in terms]
                        word = reference.dot_words(
                            *(left, right, E4M3FN, E5M2, 63, 32, word),
                            packed=pairs,
                            scales=[(int(scales_a[block, i]), int(scales_b[block, j]))],
                        )
                assert int(result[i, j]) == reference.read_fp32(*word, 63)


def instructions(terms, rows, packed):
    """Instructions of a block by section 3.9: terms in their order, and whether they are packed."""
    covered = min(2 * rows, 32) if packed else rows
    at = 0
    while at < terms:
        rest = min(covered, terms - at)
        numbers = list(range(at, at + rest))
        if packed and rest % 2 and rest > covered // 2:
            half = (rest + 1) // 2
            pairs = [numbers[p::half] for p in range(half)]
            yield [k for pair in pairs for k in pair], True
        else:
            yield numbers, packed and rest % 2 == 0
        at += rest


@pytest.mark.parametrize("packed", [False, True])
def test_a_block_alone_is_exact_and_zero_columns_change_no_reading(packed):
    rng = np.random.default_rng([7, packed])
    exact_sums = 0
    for fmt_a, fmt_b in ((E4M3FN, E4M3FN), (E4M3FN, E5M2)):
        a, b = pair(rng, (32, 5, 6), fmt_a, fmt_b, "extremes")
        scales = [drawn_scales(rng, (1, n)) % 255 for n in (5, 6)]
        empty = PartialSums.empty((5, 6))
        sums = accumulate_passes(
            *(empty, a, b, fmt_a, fmt_b, 16 if packed else 32),
            packed=packed,
            stationary_scales=scales[0],
            moving_scales=scales[1],
        )
        read = to_fp32_bits(sums)
        for i in range(5):
            for j in range(6):
                exact = reference.exact_dot(a[:, i].tolist(), b[:, j].tolist(), fmt_a, fmt_b)
                exact *= Fraction(2) ** (int(scales[0][0, i]) + int(scales[1][0, j]) - 254)
                magnitude = min(reference.round_value(exact, FP32), FP32.infinity)
                assert int(read[i, j]) & 0x7FFF_FFFF == magnitude
                exact_sums += 0 < magnitude < FP32.infinity
        zeros = rng.choice((0, 128), a.shape).astype(np.uint8)
        for code in range(255):
            after = accumulate_passes(
                *(sums, zeros, b, fmt_a, fmt_b, 16 if packed else 32),
                packed=packed,
                stationary_scales=np.full((1, 5), code, dtype=np.uint8),
                moving_scales=scales[1],
            )
            assert (to_fp32_bits(after) == read).all()
    assert exact_sums > 20


def test_operands_that_cannot_be_scaled_are_refused():
    codes, wide = np.zeros((4, 2), dtype=np.uint8), np.zeros((4, 2), dtype=np.uint16)
    empty, scales = PartialSums.empty((2, 2)), np.zeros(2, dtype=np.uint8)
    with pytest.raises(ValueError, match="must be of 8-bit formats, both, not e4m3fn x bf16"):
        accumulate(empty, codes, wide, E4M3FN, BF16, stationary_scales=scales)
    with pytest.raises(ValueError, match=r"moving_scales must be E8M0 codes, uint8 of shape \(2,"):
        accumulate(empty, codes, codes, E4M3FN, E4M3FN, moving_scales=scales[:1])
    with pytest.raises(ValueError, match="stationary_scales must be E8M0 codes"):
        accumulate(empty, codes, codes, E4M3FN, E4M3FN, stationary_scales=[127, 127])
    with pytest.raises(ValueError, match="must divide 32 terms, not cover 24"):
        accumulate_passes(
            *(empty, codes, codes, E4M3FN, E4M3FN, 12), packed=True, moving_scales=scales[None]
        )
    with pytest.raises(ValueError, match=r"scales_b must be E8M0 codes, uint8 of shape \(1, 2\)"):
        gemm(codes[:2], codes[:2], E4M3FN, E4M3FN, FP32, scales_b=scales)
