"""Operands of products from users' arrays: casts, MX blocks along K, codes with their scales."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, MX_ELEMENTS, MXFP4_E2M1, MXFP8_E4M3
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.mx import block_scales, e2m1_of_e4m3fn, quantised
from tegula_sw.api import matmul, open_device, to_codes
from tegula_sw.gemm.operands import operand_format, operand_from_array, scale_rule

RNG = np.random.default_rng(1)
FLOATS = (RNG.normal(size=(5, 70)) * 10.0 ** RNG.uniform(-3, 3, (5, 1))).astype(np.float32)


@pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda element: element.name)
@pytest.mark.parametrize("rule", ScaleRule)
def test_floats_are_quantised_along_k(element, rule):
    scales, codes = quantised(FLOATS.view(np.uint32), element, rule)
    along = operand_from_array("A", FLOATS, element, k_axis=1, rule=rule)
    across = operand_from_array("A", np.ascontiguousarray(FLOATS.T), element, k_axis=0, rule=rule)
    assert (along.fmt, across.fmt) == (element.fmt, element.fmt)
    assert np.array_equal(along.codes, codes)
    assert np.array_equal(along.scales, scales)
    assert np.array_equal(across.codes, codes.T)
    assert np.array_equal(across.scales, scales.T)
    assert across.codes.flags.c_contiguous and across.scales.flags.c_contiguous


def test_float64_is_quantised_as_if_it_had_been_rounded_once():
    just_above = np.full((1, 32), 448 * (1 + 2.0**-40))
    found = operand_from_array("A", just_above, MXFP8_E4M3, k_axis=1)
    assert found.scales.tolist() == [[128]], "no element saturates"
    tie = np.full((1, 32), 448.0)
    tie[0, 0] = 1 + 2.0**-4 + 2.0**-40
    assert operand_from_array("A", tie, MXFP8_E4M3, k_axis=1).codes[0, 0] == E4M3FN.one + 1


def test_codes_come_with_their_scales():
    scales, codes = quantised(FLOATS.view(np.uint32), MXFP8_E4M3, ScaleRule.RCEIL)
    found = operand_from_array("A", codes, MXFP8_E4M3, k_axis=1, scales=scales)
    assert found.codes is codes or np.array_equal(found.codes, codes)
    assert np.array_equal(found.scales, scales)
    scales, codes = quantised(FLOATS.view(np.uint32), MXFP4_E2M1, ScaleRule.RCEIL)
    nibbles = e2m1_of_e4m3fn(codes)
    found = operand_from_array("A", nibbles, MXFP4_E2M1, k_axis=1, scales=scales)
    assert np.array_equal(found.codes, codes)


def test_arrays_that_do_not_fit_are_refused():
    scales, codes = quantised(FLOATS.view(np.uint32), MXFP8_E4M3, ScaleRule.RCEIL)
    for array, fmt, given, words in (
        (codes, MXFP8_E4M3, None, "A holds codes of mxfp8_e4m3: their scales must be given"),
        (codes, MXFP8_E4M3, scales.T, r"scales of A must be E8M0 codes, uint8 of shape \(5, 3\)"),
        (codes, MXFP4_E2M1, scales, "codes of e2m1 must be 0 to 15, not"),
        (FLOATS, MXFP8_E4M3, scales, "A holds floats, whose scales are computed"),
        (FLOATS, BF16, scales, "its format must be one of MX, not bf16"),
        (FLOATS.astype(np.int32), MXFP8_E4M3, None, "or mxfp8_e4m3 codes as uint8"),
        (FLOATS[0], MXFP8_E4M3, None, "A must be two-dimensional"),
        (FLOATS[:0], MXFP8_E4M3, None, "A is empty"),
        (codes.astype(np.uint16), MXFP8_E4M3, scales, "e4m3fn codes must be uint8"),
    ):
        with pytest.raises(ValueError, match=words):
            operand_from_array("A", array, fmt, k_axis=1, scales=given)


def test_names_of_formats_and_rules():
    assert operand_format("mxfp4_e2m1") is MXFP4_E2M1
    assert operand_format("bf16") is BF16
    assert operand_format("e5m2", preset("small")) is E5M2
    assert operand_format("mxfp8_e4m3", preset("small")) is MXFP8_E4M3
    with pytest.raises(
        ValueError, match="'mxfp8_e4m3' is unknown: it must be one of bf16, e4m3fn,"
    ):
        operand_format("mxfp8_e4m3", preset("ecp5"))
    assert scale_rule("floor") is ScaleRule.FLOOR
    with pytest.raises(ValueError, match="scale rule 'even' is unknown: it must be one of rceil"):
        scale_rule("even")


def test_matmul_quantises_and_takes_codes():
    device = open_device("golden", "tiny")
    b = RNG.normal(size=(70, 6)).astype(np.float32)
    formats = {"format_a": "mxfp8_e4m3", "format_b": "mxfp4_e2m1", "scale_rule": "floor"}
    from_floats, _ = matmul(device, FLOATS, b, **formats)
    scales, codes = quantised(FLOATS.view(np.uint32), MXFP8_E4M3, ScaleRule.FLOOR)
    from_codes, _ = matmul(device, codes, b, scales_a=scales, **formats)
    assert np.array_equal(from_floats, from_codes)
    exact = FLOATS.astype(float) @ b
    bound = np.abs(FLOATS).astype(float) @ np.abs(b)
    assert (np.abs(from_floats - exact) < bound / 4).all()
    plain, _ = matmul(device, to_codes(FLOATS, "e4m3fn"), b, format_a="e4m3fn", format_b="e5m2")
    assert not np.array_equal(plain, from_floats)


def test_scales_of_a_transposed_operand_lie_as_its_codes():
    device = open_device("golden", "tiny")
    b = RNG.normal(size=(70, 6)).astype(np.float32)
    expected, _ = matmul(device, FLOATS, b, format_a="mxfp8_e5m2", format_b="mxfp8_e5m2")
    turned, _ = matmul(
        *(device, np.ascontiguousarray(FLOATS.T), np.ascontiguousarray(b.T)),
        format_a="mxfp8_e5m2",
        format_b="mxfp8_e5m2",
        transpose_a=True,
        transpose_b=True,
    )
    assert np.array_equal(expected, turned)
    assert block_scales(FLOATS.view(np.uint32), MX_ELEMENTS[1], ScaleRule.RCEIL).shape == (5, 3)
