"""tegula_golden.numerics.mx against fractions, ml_dtypes and torchao's recorded answers."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tegula.formats import (
    E4M3FN,
    E5M2,
    FP32,
    MX_BLOCK,
    MX_ELEMENTS,
    MXFP4_E2M1,
    MXFP8_E4M3,
    MXFP8_E5M2,
)
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import decode
from tegula_golden.numerics.mx import (
    NAN_SCALE,
    block_scales,
    dequantise,
    e2m1_of_e4m3fn,
    e4m3fn_of_e2m1,
    quantised,
    scaled_elements,
)
from verif.oracles import mx as reference
from verif.oracles.mx_torchao import CASES, RECORDED, differences
from verif.oracles.numerics import value
from verif.stimuli.mx import BLOCK_KINDS, blocks, edge_blocks

SEED = 9_032
IDS = [f"{element.name} {rule.name.lower()}" for element, rule in CASES]

cases = pytest.mark.parametrize(("element", "rule"), CASES, ids=IDS)
elements = pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda e: e.name)


def pattern(number):
    return int(np.float32(number).view(np.uint32))


def block_of(*numbers):
    """A block that begins with these numbers; the others are zeros."""
    bits = np.zeros(MX_BLOCK, dtype=np.uint32)
    bits[: len(numbers)] = [pattern(number) for number in numbers]
    return bits


def test_elements_are_those_of_the_specification():
    assert [(e.largest_exponent, e.min_exponent) for e in MX_ELEMENTS] == [
        (8, -6),
        (15, -14),
        (2, 0),
    ]
    largest = [(1 + e.largest_fraction / 2**23) * 2.0**e.largest_exponent for e in MX_ELEMENTS]
    assert largest == [448, 57344, 6]


@cases
def test_blocks_of_every_kind_are_those_of_fractions(element, rule):
    rng = np.random.default_rng(SEED)
    drawn = [blocks(rng, 6, kind, element) for kind in BLOCK_KINDS]
    bits = np.concatenate([*drawn, edge_blocks(SEED)[:: 3 * 61]])
    scales, codes = quantised(bits, element, rule)
    assert scales.shape == (len(bits), 1)
    for row, block in enumerate(bits.tolist()):
        scale, wanted = reference.quantise_block(block, element, rule)
        assert scales[row, 0] == scale, f"block {row}"
        assert codes[row].tolist() == wanted, f"block {row}"
    assert len({int(scale) for scale in scales.flat}) > 20


@cases
def test_scales_at_the_edges_of_every_binade_are_those_of_fractions(element, rule):
    bits = edge_blocks(SEED)
    scales = block_scales(bits, element, rule)[:, 0]
    largest = (bits & 0x7FFF_FFFF).max(axis=1)
    assert np.all(np.diff(largest.astype(np.int64)) >= 0)
    wanted = [reference.scale_code([int(top)], element, rule) for top in largest[::5].tolist()]
    assert scales[::5].tolist() == wanted
    assert np.all(np.diff(scales.astype(np.int64)) >= 0)


@cases
def test_answers_are_those_recorded_of_torchao(element, rule):
    recorded = np.load(RECORDED)
    bits, number = recorded["bits"], CASES.index((element, rule))
    scales, codes = recorded[f"scales_{number}"], recorded[f"codes_{number}"]
    want, unlike = differences(bits, scales, codes, element, rule)
    assert len(bits) > 350
    assert unlike == 0
    own_scales, own_codes = quantised(bits, element, rule)
    same = ~want.by_logarithm & ~want.smallest & (scales != NAN_SCALE)
    assert same.sum() > len(bits) // 2
    assert np.array_equal(own_scales[same, 0], scales[same])
    assert np.array_equal(own_codes[same], codes[same])
    # A rounded logarithm is one too small, and only rceil has one.
    assert np.array_equal(own_scales[:, 0].astype(int) - scales, want.by_logarithm.astype(int))
    assert want.by_logarithm.any() == (rule == ScaleRule.RCEIL)
    assert want.smallest.any() and (scales == NAN_SCALE).any()


def test_a_difference_from_torchao_is_found():
    recorded = np.load(RECORDED)
    bits, scales, codes = recorded["bits"], recorded["scales_0"], recorded["codes_0"]
    case = CASES[0]
    finite = int(np.flatnonzero(scales != NAN_SCALE)[7])
    for changed in (scales, codes):
        before = changed[finite].copy()
        changed[finite] ^= 1
        assert differences(bits, scales, codes, *case)[1] == 1
        changed[finite] = before
    assert differences(bits, scales, codes, *case)[1] == 0


def test_the_rules_differ_where_the_largest_is_beside_an_edge():
    def scales(number):
        bits = block_of(number)
        return [int(block_scales(bits, MXFP8_E4M3, rule)[0]) - 127 for rule in ScaleRule]

    up = np.nextafter(np.float32(448), np.float32(500))
    assert scales(256) == [0, 0, 0]
    assert scales(np.nextafter(np.float32(256), np.float32(300))) == [0, 0, 1]
    assert scales(448) == [0, 0, 1]
    assert scales(up) == [1, 0, 1]
    assert scales(512) == [1, 1, 1]


def test_floor_saturates_what_exceeds_the_largest_number():
    bits = block_of(510, -500, 448, -1)
    scales, codes = quantised(bits, MXFP8_E4M3, ScaleRule.FLOOR)
    assert scales.tolist() == [127]
    assert decode(codes[:4], E4M3FN).tolist() == [448, -448, 448, -1]


@elements
def test_infinities_saturate_and_their_scale_is_the_rules(element):
    bits = block_of(np.inf, -np.inf, 2.0**127, 1)
    at_most = 255 - element.largest_exponent
    for rule, scale in zip(ScaleRule, (254, at_most, at_most), strict=True):
        scales, codes = quantised(bits, element, rule)
        assert scales.tolist() == [scale]
        limit = dequantise(np.array([127], dtype=np.uint8), codes, element)
        assert limit[0] == -limit[1] == decode(codes[:1], element.fmt)[0]
        assert limit[2] == 2.0**127 / 2.0 ** (scale - 127)


@elements
def test_a_nan_makes_the_whole_block_nan_and_no_other(element):
    bits = np.stack([block_of(1, np.nan, -2, -np.inf), block_of(1, -2)]).reshape(-1)
    for rule in ScaleRule:
        scales, codes = quantised(bits, element, rule)
        assert scales[0] == NAN_SCALE and scales[1] < NAN_SCALE
        nan = 0 if element is MXFP4_E2M1 else element.fmt.nan
        assert codes[:MX_BLOCK].tolist() == [nan] * MX_BLOCK
        numbers = dequantise(scales, codes, element)
        assert np.isnan(numbers[:MX_BLOCK]).all()
        assert numbers[MX_BLOCK : MX_BLOCK + 2].tolist() == [1, -2]


@elements
def test_zeros_keep_their_signs_and_have_the_smallest_scale(element):
    bits = block_of(0.0, -0.0)
    for rule in ScaleRule:
        scales, codes = quantised(bits, element, rule)
        assert scales.tolist() == [0]
        assert codes[:3].tolist() == [0, 0x80, 0]


@elements
def test_subnormals_of_fp32_are_honoured(element):
    bits = np.zeros(MX_BLOCK, dtype=np.uint32)
    bits[:3] = 0x0040_0000, 0x8060_0000, 0x0010_0000  # 2**-127, -1.5 * 2**-127, 2**-129
    scales, codes = quantised(bits, element, ScaleRule.RCEIL)
    assert scales.tolist() == [0]
    quarter = 0.0 if element is MXFP4_E2M1 else 0.25
    assert decode(codes[:3], element.fmt).tolist() == [1, -1.5, quarter]


def test_a_last_block_may_be_shorter():
    rng = np.random.default_rng(SEED)
    bits = blocks(rng, 3, "wide").reshape(1, -1)[:, :70]
    scales, codes = quantised(bits, MXFP8_E4M3, ScaleRule.RCEIL)
    assert scales.shape == (1, 3) and codes.shape == (1, 70)
    padded = np.pad(bits, ((0, 0), (0, 26)))
    whole = quantised(padded, MXFP8_E4M3, ScaleRule.RCEIL)
    assert np.array_equal(scales, whole[0])
    assert np.array_equal(codes, whole[1][:, :70])


@pytest.mark.parametrize("element", [MXFP8_E4M3, MXFP8_E5M2], ids=lambda e: e.name)
def test_elements_of_scale_one_are_those_of_the_saturating_cast(element):
    rng = np.random.default_rng(SEED)
    bits = np.concatenate([blocks(rng, 400, kind, element) for kind in BLOCK_KINDS])
    bits = bits[(bits & 0x7FFF_FFFF).max(axis=1) <= 0x7F80_0000]
    scales = np.full((len(bits), 1), 127, dtype=np.uint8)
    codes = scaled_elements(bits, scales, element)
    assert np.array_equal(codes, cast(bits, element.fmt, saturate=True))


@elements
def test_what_is_dequantised_is_the_product(element):
    rng = np.random.default_rng(SEED)
    bits = np.concatenate([blocks(rng, 12, kind, element) for kind in BLOCK_KINDS])
    scales, codes = quantised(bits, element, ScaleRule.RCEIL)
    numbers = dequantise(scales, codes, element)
    assert numbers.dtype == np.float32
    checked = 0
    for row, scale in enumerate(scales[:, 0].tolist()):
        if scale == NAN_SCALE:
            continue
        for code, number in zip(codes[row].tolist(), numbers[row].tolist(), strict=True):
            exact = value(code, element.fmt) * Fraction(2) ** (scale - 127)
            if abs(exact) < Fraction(2) ** 128:
                assert Fraction(number) == exact
                checked += 1
            else:
                assert np.isinf(number) and (number > 0) == (exact > 0)
    assert checked > 1000


def test_quantising_what_was_dequantised_changes_nothing():
    rng = np.random.default_rng(SEED)
    bits = np.concatenate([blocks(rng, 100, kind, MXFP8_E4M3) for kind in ("edge", "wide")])
    scales, codes = quantised(bits, MXFP8_E4M3, ScaleRule.RCEIL)
    numbers = dequantise(scales, codes, MXFP8_E4M3)
    finite = np.isfinite(numbers).all(axis=1)
    assert finite.sum() > 150
    again = quantised(numbers[finite].view(np.uint32), MXFP8_E4M3, ScaleRule.RCEIL)
    second = dequantise(*again, MXFP8_E4M3)
    assert np.array_equal(second.view(np.uint32), numbers[finite].view(np.uint32))


def test_e2m1_codes_are_those_of_ml_dtypes():
    codes = np.arange(16, dtype=np.uint8)
    numbers = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    wide = e4m3fn_of_e2m1(codes)
    assert decode(wide, E4M3FN).tobytes() == numbers.tobytes()
    assert np.array_equal(e2m1_of_e4m3fn(wide), codes)


def test_wrong_arguments_are_told():
    bits, scales = np.zeros((2, 33), dtype=np.uint32), np.zeros((2, 2), dtype=np.uint8)
    with pytest.raises(ValueError, match="bits must be uint32, not int64"):
        block_scales(bits.astype(np.int64), MXFP8_E4M3, ScaleRule.FLOOR)
    with pytest.raises(ValueError, match=r"not shape \(2, 0\)"):
        block_scales(bits[:, :0], MXFP8_E4M3, ScaleRule.FLOOR)
    with pytest.raises(ValueError, match=r"scales must have the shape \(2, 2\) .*, not \(2, 1\)"):
        scaled_elements(bits, scales[:, :1], MXFP8_E4M3)
    with pytest.raises(ValueError, match="scales must be uint8, not uint32"):
        dequantise(scales.astype(np.uint32), bits.astype(np.uint8), MXFP8_E4M3)
    with pytest.raises(ValueError, match="must be 0 to 15, not 16"):
        e4m3fn_of_e2m1(np.array([1, 16], dtype=np.uint8))
    with pytest.raises(ValueError, match="not 0x31 of e4m3fn"):
        e2m1_of_e4m3fn(np.array([48, 49], dtype=np.uint8))
    with pytest.raises(ValueError, match="kind 'none' is unknown"):
        blocks(np.random.default_rng(0), 1, "none")


def test_codes_are_those_of_the_tiles_formats():
    assert [element.fmt for element in MX_ELEMENTS] == [E4M3FN, E5M2, E4M3FN]
    assert all(element.mantissa_bits < FP32.mantissa_bits for element in MX_ELEMENTS)
