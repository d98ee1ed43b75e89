"""Blocks of MX quantised on the golden device: golden's bits, no deadlocks, no races."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.formats import MX_ELEMENTS, MXFP8_E4M3
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.mx import quantised
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.elementwise import quantise as module
from tegula_sw.elementwise.quantise import QuantiseAddresses, build_quantise, quantise_on_device
from tegula_sw.program.race_check import check_program
from verif.stimuli.mx import blocks

CONFIGS = {
    "tiny": preset("tiny"),
    "small": preset("small"),
    "medium": preset("medium"),
    "little scratchpad": preset("tiny", sbuf_depth=512),
    "wide bus": TileConfig(n=4, axi_data_width=512, packed_fp8=True, mx=True),
}


def patterns(shape, kind, element):
    """Hard blocks, cut to a shape."""
    rng = np.random.default_rng(sum(shape))
    count = -(-int(np.prod(shape)) // 32)
    return np.ascontiguousarray(
        blocks(rng, count, kind, element).reshape(-1)[: np.prod(shape)]
    ).reshape(shape)


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
@pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda element: element.name)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_scales_and_codes_are_those_of_golden(config, element, rule):
    for shape, kind in (((1, 1), "edge"), ((5, 33), "wide"), ((2, 9, 100), "edge"), ((64,), "tie")):
        bits = patterns(shape, kind, element)
        scales, codes = quantise_on_device(GoldenDevice(config), bits, element, rule)
        expected_scales, expected_codes = quantised(bits, element, rule)
        assert np.array_equal(scales, expected_scales)
        assert np.array_equal(codes, expected_codes)


@pytest.mark.slow
def test_the_rtl_quantises_as_golden():
    device = RtlDevice(CONFIGS["tiny"])
    for element in MX_ELEMENTS:
        bits = patterns((9, 70), "edge", element)
        found = quantise_on_device(device, bits, element, ScaleRule.RCEIL)
        expected = quantised(bits, element, ScaleRule.RCEIL)
        assert all(np.array_equal(x, y) for x, y in zip(found, expected, strict=True))


def test_rows_of_several_pieces_and_arrays_of_several_programs(monkeypatch):
    monkeypatch.setattr(module, "_MAX_PIECES", 5)
    bits = patterns((70, 300), "edge", MXFP8_E4M3)
    device = GoldenDevice(CONFIGS["little scratchpad"])
    scales, codes = quantise_on_device(device, bits, MXFP8_E4M3, ScaleRule.FLOOR)
    expected = quantised(bits, MXFP8_E4M3, ScaleRule.FLOOR)
    assert np.array_equal(scales, expected[0])
    assert np.array_equal(codes, expected[1])


def test_programs_have_no_race():
    for config in CONFIGS.values():
        where = QuantiseAddresses(source=0, codes=1 << 20, scales=1 << 21)
        program = build_quantise(config, (70, 300), MXFP8_E4M3, ScaleRule.RCEIL, where)
        assert check_program(config, program) >= 3


def test_arrays_that_do_not_fit_are_refused():
    device, bits = GoldenDevice(CONFIGS["tiny"]), np.zeros((2, 40), np.uint32)
    for array, words in (
        (bits.astype(np.int32), "bits must be uint32, not int32"),
        (bits[:, :0], r"along its last axis, not shape \(2, 0\)"),
        (bits.reshape(-1)[0].reshape(()), r"along its last axis, not shape \(\)"),
    ):
        with pytest.raises(ValueError, match=words):
            quantise_on_device(device, array, MXFP8_E4M3, ScaleRule.RCEIL)
    with pytest.raises(ValueError, match="tile 'ecp5' does not quantise to mxfp8_e4m3"):
        quantise_on_device(GoldenDevice(preset("ecp5")), bits, MXFP8_E4M3, ScaleRule.RCEIL)
    where = QuantiseAddresses(source=0, codes=0, scales=0)
    with pytest.raises(ValueError, match=r"must be at least 1, not \(0, 4\)"):
        build_quantise(CONFIGS["tiny"], (0, 4), MXFP8_E4M3, ScaleRule.RCEIL, where)
    no_rows = np.zeros((0, 40), np.uint32)
    scales, codes = quantise_on_device(device, no_rows, MXFP8_E4M3, ScaleRule.RCEIL)
    assert (scales.shape, codes.shape) == ((0, 2), (0, 40))
