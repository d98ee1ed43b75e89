"""tegula_golden.numerics.codes against ml_dtypes, gfloat and Fraction, over every code."""

from fractions import Fraction

import numpy as np
import pytest
from gfloat import decode_ndarray

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FORMATS, FP32
from tegula_golden.numerics.codes import (
    FINITE,
    MINUS_INF,
    NAN,
    PLUS_INF,
    code_dtype,
    decode,
    operand_table,
    to_operand,
)
from verif.oracles import numerics as reference
from verif.oracles.packages import GFLOAT, ML_DTYPES

NARROW = (E4M3FN, E5M2, E4M3, E3M4)
OPERANDS = (BF16, *NARROW)


def by_name(fmt):
    return fmt.name


def all_codes(fmt):
    return np.arange(1 << fmt.width).astype(code_dtype(fmt))


def assert_same_values(actual, expected):
    """Equal as IEEE data: values, signs of zeros, NaN for NaN."""
    assert np.array_equal(np.isnan(actual), np.isnan(expected))
    number = ~np.isnan(actual)
    assert number.any()
    assert np.array_equal(actual[number], expected[number])
    assert np.array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_every_code_decodes_as_ml_dtypes_decodes_it(fmt):
    codes = all_codes(fmt)
    expected = codes.view(ML_DTYPES[fmt]).astype(np.float32)
    assert_same_values(decode(codes, fmt), expected)


@pytest.mark.parametrize("fmt", [BF16, E4M3FN, E5M2], ids=by_name)
def test_every_code_decodes_as_gfloat_decodes_it(fmt):
    codes = all_codes(fmt)
    expected = decode_ndarray(GFLOAT[fmt], codes.astype(np.int64)).astype(np.float32)
    assert_same_values(decode(codes, fmt), expected)


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_every_finite_code_decodes_to_its_definition(fmt):
    codes = all_codes(fmt)[:: 1 if fmt.width == 8 else 13]
    checked = 0
    for code, number in zip(codes.tolist(), decode(codes, fmt).tolist(), strict=True):
        expected = reference.value(code, fmt)
        if isinstance(expected, Fraction):
            checked += 1
            assert Fraction(number) == expected, hex(code)
        else:
            assert str(number) == expected.removeprefix("+"), hex(code)
    assert checked > len(codes) * 0.8


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_the_sign_of_a_nan_is_kept(fmt):
    codes = all_codes(fmt)
    values = decode(codes, fmt)
    nan = np.isnan(values)
    assert nan.any()
    negative = codes[nan] >> (fmt.width - 1) == 1
    assert np.array_equal(values.view(np.uint32)[nan] >> 31 == 1, negative)


def test_fp32_codes_are_reinterpreted_with_their_payload():
    bits = np.array([[0x7FA12345, 0x00000001], [0x80000000, 0x3F800000]], dtype=np.uint32)
    assert np.array_equal(decode(bits, FP32).view(np.uint32), bits)


@pytest.mark.parametrize("fmt", OPERANDS, ids=by_name)
def test_every_operand_has_the_value_of_its_code(fmt):
    codes = all_codes(fmt)
    significand, exponent, special = to_operand(codes, fmt)
    classes = {"nan": NAN, "+inf": PLUS_INF, "-inf": MINUS_INF}
    finite = 0
    for code, s, e, kind in zip(
        codes.tolist(), significand.tolist(), exponent.tolist(), special.tolist(), strict=True
    ):
        expected = reference.value(code, fmt)
        if isinstance(expected, str):
            assert kind == classes[expected], hex(code)
            assert s == 0, hex(code)
        else:
            finite += 1
            assert kind == FINITE, hex(code)
            # As Fraction(2) ** (e - 134), without its cost 65,536 times over.
            assert s << e == expected * (1 << 134), hex(code)
            assert abs(s) <= 255, hex(code)
            assert 1 <= e <= 254, hex(code)
    assert finite == 2 * (fmt.max_finite + 1)


@pytest.mark.parametrize("fmt", NARROW, ids=by_name)
def test_8_bit_operands_are_normalised(fmt):
    significand, exponent, special = to_operand(all_codes(fmt), fmt)
    nonzero = (special == FINITE) & (significand != 0)
    assert nonzero.sum() == 2 * fmt.max_finite
    assert np.abs(significand[nonzero]).min() >= 128
    assert np.all(exponent[(special == FINITE) & (significand == 0)] == 1)


def test_bf16_subnormal_operands_are_not_normalised():
    codes = np.array([0x0001, 0x007F, 0x8001, 0x0080], dtype=np.uint16)
    significand, exponent, _ = to_operand(codes, BF16)
    assert significand.tolist() == [1, 127, -1, 128]
    assert exponent.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("fmt", NARROW, ids=by_name)
def test_an_8_bit_operand_equals_that_of_the_bf16_number_of_its_value(fmt):
    codes = all_codes(fmt)
    finite = np.isfinite(decode(codes, fmt))
    bits = decode(codes[finite], fmt).view(np.uint32)
    assert np.all(bits & 0xFFFF == 0), "every finite 8-bit code is a bf16 number"
    narrow = to_operand(codes[finite], fmt)
    wide = to_operand((bits >> 16).astype(np.uint16), BF16)
    assert all(np.array_equal(x, y) for x, y in zip(narrow, wide, strict=True))


@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_a_wrong_dtype_is_named(fmt):
    wrong = np.zeros(3, dtype=np.int64)
    with pytest.raises(ValueError, match=f"{fmt.name} must be uint{fmt.width}, not int64"):
        decode(wrong, fmt)


def test_what_is_not_an_array_is_named():
    with pytest.raises(ValueError, match="must be a uint8 array, not list"):
        decode([1, 2], E5M2)


def test_fp32_is_not_an_operand_format():
    with pytest.raises(ValueError, match="fp32 has 8 exponent and 23 mantissa bits"):
        to_operand(np.zeros(1, dtype=np.uint32), FP32)


def test_tables_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        operand_table(E4M3FN).significand[0] = 1
