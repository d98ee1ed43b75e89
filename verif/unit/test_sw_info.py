"""What `tegula info` guarantees holds, and stops holding where it says."""

import json

import numpy as np
import pytest

from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.gemm import gemm
from tegula_sw.info import describe, exact_terms, format_text

SMALL = preset("small")


def recovered(terms, config, fmt_a, fmt_b):
    """The smallest product after `terms` largest ones have come and gone: exact, or lost."""
    ones = np.full(terms, fmt_a.max_finite, np.uint8)
    smallest = np.ones(1, np.uint8)
    a_codes = np.concatenate([ones, smallest, ones | 0x80])[None, :]
    b_ones = np.full(terms, fmt_b.max_finite, np.uint8)
    b_codes = np.concatenate([b_ones, smallest, b_ones])[:, None]
    result = gemm(a_codes, b_codes, fmt_a, fmt_b, FP32, acc_width=config.acc_width)
    unit = fmt_a.min_exponent - fmt_a.mantissa_bits + fmt_b.min_exponent - fmt_b.mantissa_bits
    return result.view(np.float32)[0, 0] == np.float32(2.0) ** unit


@pytest.mark.parametrize(
    ("width", "fmt_a", "fmt_b"),
    [(63, E4M3FN, E5M2), (49, E4M3FN, E4M3FN), (50, E4M3FN, E4M3FN)],
)
def test_sums_are_exact_up_to_the_stated_length_and_not_much_longer(width, fmt_a, fmt_b):
    config = TileConfig(acc_width=width)
    terms = exact_terms(config, fmt_a, fmt_b)
    assert terms > 2000
    assert recovered(terms // 8 * 8 - 8, config, fmt_a, fmt_b)
    assert not recovered(terms + 8, config, fmt_a, fmt_b)


def test_no_exactness_is_stated_where_alignment_loses_bits():
    assert exact_terms(SMALL, BF16, BF16) is None
    assert exact_terms(SMALL, E5M2, E5M2) is None
    assert exact_terms(TileConfig(acc_width=48), E4M3FN, E4M3FN) is None


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described(name):
    config = preset(name)
    description = json.loads(json.dumps(describe(config)))
    assert description["configuration"]["name"] == name
    assert description["sizes"]["sbuf_bytes"] == config.sbuf_bytes
    assert description["widths"]["psum_word_bits"] == 72
    assert all(cycles > 0 for cycles in description["latencies_cycles"].values())
    text = format_text(describe(config))
    for section, values in description.items():
        assert section in text
        assert all(value in text for value in values)
