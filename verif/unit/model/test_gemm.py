"""tegula_golden.numerics.gemm: passes, blocks and casts of a whole product."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.accumulate import PartialSums, accumulate, to_fp32_bits
from tegula_golden.numerics.cast import cast, float_to_bits
from tegula_golden.numerics.codes import decode
from tegula_golden.numerics.gemm import gemm
from verif.oracles import numerics as reference
from verif.stimuli.operands import operands, pair

OPERANDS = (BF16, E4M3FN, E5M2)
OUTPUTS = (*OPERANDS, FP32)


def by_name(fmt):
    return fmt.name


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 6)),
    rows=st.sampled_from([4, 8, 16, 32]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_output_is_that_of_the_reference(data, shape, rows, seed):
    fmt_a, fmt_b = (data.draw(st.sampled_from(OPERANDS)) for _ in range(2))
    fmt_out = data.draw(st.sampled_from(OUTPUTS))
    saturate, stochastic = data.draw(st.booleans()), data.draw(st.booleans())
    width = data.draw(st.sampled_from([32, 63, 80]))
    m, k, n = shape
    kind = data.draw(st.sampled_from(["sparse_special", "finite_codes", "extremes", "normal"]))
    rng = np.random.default_rng(seed)
    a, b = pair(rng, (k, m, n), fmt_a, fmt_b, kind)
    random = rng.integers(0, 1 << 16, (m, n)).astype(np.uint16) if stochastic else None
    codes = gemm(
        a.T, b, fmt_a, fmt_b, fmt_out, saturate=saturate, acc_width=width, rows=rows, random=random
    )
    for i in range(m):
        for j in range(n):
            word = reference.dot_words(
                a[:, i].tolist(), b[:, j].tolist(), fmt_a, fmt_b, width, rows
            )
            r = int(random[i, j]) if stochastic else None
            bits = reference.read_fp32(*word, width)
            assert int(codes[i, j]) == reference.cast_code(bits, fmt_out, saturate, r)


@pytest.mark.parametrize("shape", [(40, 9, 300), (3, 5, 9000), (9000, 5, 2), (1, 1, 1)])
def test_blocks_make_no_difference(shape):
    m, k, n = shape
    rng = np.random.default_rng(m)
    a, b = pair(rng, (k, m, n), BF16, BF16, "finite_codes")
    sums = PartialSums.empty((m, n))
    for first in range(0, k, 4):
        rows = slice(first, first + 4)
        sums = accumulate(sums, a[rows], b[rows], BF16, BF16)
    assert np.array_equal(gemm(a.T, b, BF16, BF16, FP32, rows=4), to_fp32_bits(sums))


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_integer_products_are_those_of_integers(fmt):
    rng = np.random.default_rng(fmt.code)
    a = operands(rng, (50, 70), fmt, "integers")
    b = operands(rng, (70, 60), fmt, "integers")
    expected = decode(a, fmt).astype(np.int64) @ decode(b, fmt).astype(np.int64)
    actual = decode(gemm(a, b, fmt, fmt, FP32), FP32)
    assert np.abs(expected).max() > 100
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_the_identity_gives_back_every_code(fmt):
    size = 64
    one = (1 << (fmt.exponent_bits - 1)) - 1 << fmt.mantissa_bits
    identity = (np.eye(size, dtype=np.int64) * one).astype(f"uint{fmt.width}")
    codes = operands(np.random.default_rng(1), (size, size), fmt, "finite_codes")
    expected = np.where(codes & fmt.magnitude_mask == 0, 0, codes)  # a sum of zero is +0
    assert np.array_equal(gemm(codes, identity, fmt, fmt, fmt), expected)
    assert np.array_equal(gemm(identity, codes, fmt, fmt, fmt), expected)


def test_results_are_rounded_twice_as_the_contract_says():
    """1 + 2**-8 + 2**-40 reads as the fp32 number 1 + 2**-8, a tie that goes to 1."""
    a = np.array([[0x3F80, 0x3F80, 0x3580]], dtype=np.uint16)
    b = np.array([[0x3F80], [0x3B80], [0x3580]], dtype=np.uint16)
    assert gemm(a, b, BF16, BF16, FP32).tolist() == [[0x3F80_8000]]
    assert gemm(a, b, BF16, BF16, BF16).tolist() == [[0x3F80]]


def test_saturation_reaches_the_output():
    a = np.full((1, 8), E4M3FN.max_finite, dtype=np.uint8)
    plain = gemm(a, a.T, E4M3FN, E4M3FN, E4M3FN)
    saturated = gemm(a, a.T, E4M3FN, E4M3FN, E4M3FN, saturate=True)
    assert (plain.tolist(), saturated.tolist()) == ([[0x7F]], [[0x7E]])


def test_a_256_cube_of_bf16_takes_seconds():
    rng = np.random.default_rng(256)
    x = rng.standard_normal((2, 256, 256)).astype(np.float32)
    codes = cast(float_to_bits(x), BF16)
    began = time.perf_counter()
    bits = gemm(codes[0], codes[1], BF16, BF16, FP32)
    assert time.perf_counter() - began < 20
    values = decode(codes, BF16).astype(np.float64)
    expected = values[0] @ values[1]
    # Both are within a few fp32 places of the exact sum of terms of this size.
    scale = np.abs(values[0]) @ np.abs(values[1])
    assert np.all(np.abs(decode(bits, FP32) - expected) <= scale * 2.0**-24)


def test_wrong_arguments_are_named():
    a = np.zeros((2, 3), dtype=np.uint16)
    with pytest.raises(ValueError, match="a_codes of e5m2 must be uint8, not uint16"):
        gemm(a, a.T, E5M2, BF16, BF16)
    with pytest.raises(ValueError, match=r"M x K and K x N, not of shapes \(2, 3\) and \(2, 3\)"):
        gemm(a, a, BF16, BF16, BF16)
    with pytest.raises(ValueError, match=r"at least 1: shapes are \(2, 0\) and \(0, 2\)"):
        gemm(a[:, :0], a.T[:0], BF16, BF16, BF16)
    with pytest.raises(ValueError, match="rows must be 1 to 32, not 33"):
        gemm(a, a.T, BF16, BF16, BF16, rows=33)
    with pytest.raises(ValueError, match="at least 29, not 12"):
        gemm(a, a.T, BF16, BF16, BF16, acc_width=12)
    with pytest.raises(ValueError, match="random must have the shape"):
        gemm(a, a.T, BF16, BF16, BF16, random=np.zeros(4, dtype=np.uint16))
