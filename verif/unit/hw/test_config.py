"""The configuration: its limits, its messages, its presets, and that each preset elaborates."""

import struct
from dataclasses import FrozenInstanceError
from math import inf

import pytest

from tegula.backend.rtlil import emit_rtlil
from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import (
    BF16,
    E3M4,
    E4M3FN,
    E5M2,
    FORMATS,
    FP32,
    MXFP4_E2M1,
    MXFP8_E4M3,
    RAW16,
    RAW32,
    FloatFormat,
    format_by_code,
    format_by_name,
)
from tegula.tile import Tile


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 6),
        ("n", 64),
        ("n", 8.0),
        ("acc_width", 31),
        ("acc_width", 65),
        ("sbuf_depth", 3000),
        ("sbuf_depth", 1 << 17),
        ("psum_banks", 3),
        ("psum_bank_words", 2048),
        ("axi_data_width", 96),
        ("axi_addr_width", 49),
        ("max_burst_beats", 512),
        ("max_reads", 3),
        ("max_writes", 0),
        ("queue_depth", 1),
        ("loop_granules", 32),
        ("loop_granules", 1000),
        ("semaphores", 64),
        ("semaphore_width", 13),
        ("watchdog_cycles", 1),
    ],
)
def test_a_value_out_of_range_is_named_with_its_limit(field, value):
    with pytest.raises(ValueError, match=rf"{field}.*{value}"):
        TileConfig(**{field: value})


def test_limits_that_join_fields_are_checked():
    with pytest.raises(ValueError, match="at most 2048, not 4096"):
        TileConfig(psum_banks=8, psum_bank_words=512)
    with pytest.raises(ValueError, match="4 KiB"):
        TileConfig(axi_data_width=512, max_burst_beats=128)
    with pytest.raises(ValueError, match=r"loop_granules must be at least 128, .* not 64"):
        TileConfig(axi_data_width=512, loop_granules=64)
    with pytest.raises(ValueError, match="8 bits wide, not bf16"):
        TileConfig(fp8_formats=(BF16,))
    with pytest.raises(ValueError, match="repeat"):
        TileConfig(fp8_formats=(E4M3FN, E4M3FN))


@pytest.mark.parametrize("mantissa_bits", [0, 1, 5, 6])
def test_formats_whose_subnormals_are_not_decoded_are_refused(mantissa_bits):
    fmt = FloatFormat(
        name="odd",
        code=6,
        exponent_bits=7 - mantissa_bits,
        mantissa_bits=mantissa_bits,
        ieee_specials=True,
    )
    with pytest.raises(ValueError, match=rf"2 to 4 mantissa bits, not odd \({mantissa_bits}\)"):
        TileConfig(fp8_formats=(fmt,))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"vector_folding": 0}, "vector_folding must be 1 to 8, not 0"),
        ({"vector_folding": 3}, "vector_folding must be a power of two, not 3"),
        ({"vector_folding": 16}, "vector_folding must be 1 to 8, not 16"),
        (
            {"n": 32, "axi_data_width": 64, "vector_folding": 4},
            r"vector_folding must be 1 or at least 8 \(n / row_words\), not 4",
        ),
    ],
)
def test_lanes_that_are_shared_write_a_line_at_once(more, message):
    with pytest.raises(ValueError, match=message):
        TileConfig(**more)
    least = TileConfig(n=32, axi_data_width=64, vector_folding=8)
    assert (least.vector_lanes, least.line_beats) == (4, 1)
    assert (TileConfig().vector_lanes, TileConfig(axi_data_width=64).line_beats) == (8, 2)


def test_blocks_are_quantised_where_a_format_of_mx_is():
    with pytest.raises(ValueError, match=r"mx must be False .* among fp8_formats \(e3m4\)"):
        TileConfig(packed_fp8=True, mx=True, fp8_formats=(E3M4,))
    with pytest.raises(ValueError, match="mx must be False where packed_fp8 is"):
        TileConfig(mx=True)
    elements = TileConfig(packed_fp8=True, mx=True, fp8_formats=(E5M2, E3M4)).mx_elements
    assert [element.name for element in elements] == ["mxfp8_e5m2"]
    assert preset("small").mx and preset("small", n=4).mx
    assert not preset("small", fp8_formats=(E3M4,)).mx
    assert not preset("small", packed_fp8=False).mx
    assert preset("small", fp8_formats=(E4M3FN,), mx=True).mx_elements == (MXFP8_E4M3, MXFP4_E2M1)


def test_a_configuration_is_frozen_and_keyword_only():
    with pytest.raises(FrozenInstanceError):
        TileConfig().n = 4
    with pytest.raises(TypeError):
        TileConfig("small")


def test_unknown_presets_fields_and_formats_are_named():
    with pytest.raises(
        ValueError, match="'huge' is unknown: it must be one of tiny, small, medium, ecp5"
    ):
        preset("huge")
    with pytest.raises(ValueError, match="no field colour"):
        preset("small", colour=1)
    with pytest.raises(ValueError, match="'e9m9' is unknown"):
        format_by_name("e9m9")
    assert [format_by_name(fmt.name) for fmt in FORMATS] == list(FORMATS)


def test_a_code_is_that_of_one_format_or_of_none():
    assert [format_by_code(fmt.code) for fmt in FORMATS] == list(FORMATS)
    for code in (RAW16, RAW32, -1):
        with pytest.raises(ValueError, match=f"no format has the code {code}"):
            format_by_code(code)


def test_named_codes_of_fp32_are_those_of_their_numbers():
    largest = float.fromhex("0x1.fffffep127")
    numbers = (
        (FP32.one, 1.0),
        (FP32.unit_spaced, 2.0**23),
        (FP32.sign_mask, -0.0),
        (FP32.max_finite, largest),
        (FP32.infinity, inf),
    )
    for code, number in numbers:
        assert struct.pack("<I", code) == struct.pack("<f", number)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_keep_the_ratio_of_scratchpad_to_psum(name):
    config = preset(name)
    assert 12 <= config.sbuf_bytes / config.psum_bytes <= 16
    assert config.psum_width == 72
    assert config.guard_bits == 34


@pytest.mark.slow  # the compiled tile of other tests is `tiny`
@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_elaborates(name):
    source = emit_rtlil(Tile(preset(name)), f"tegula_{name}")
    assert source.count("\nmodule ") > 30
