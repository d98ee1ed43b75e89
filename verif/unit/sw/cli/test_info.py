"""Guarantees of `tegula info`, and their limits."""

import json

import numpy as np
import pytest

from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.gemm import gemm
from tegula_sw.cli.info import describe, exact_terms, format_text
from verif.support import activation_bench as activation
from verif.support import vector_bench as vector
from verif.support.engine_bench import Item

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
    for section in ("latencies_cycles", "rates_cycles"):
        assert all(cycles > 0 for cycles in description[section].values())
    text = format_text(describe(config))
    for section, values in description.items():
        assert section in text
        assert all(value in text for value in values)


def write_cycles(seen):
    """Cycles of the writes: one for each element."""
    return np.array([cycle for cycle, _ in seen.writes])


def test_a_vector_element_is_written_when_it_is_said_to_be():
    steps = ({}, {"op0": "add"}, {"op0": "add", "op1": "mul"})
    run = [vector.compute(s0_kind="self", s1_kind="self", **fields) for fields in steps]
    written = [
        write_cycles(vector.check_vector([item], vector.random_state()))[0].item() for item in run
    ]
    latencies = describe(vector.CONFIG)["latencies_cycles"]
    # In the instruction register from cycle 1 on, issued in cycle 2.
    first, more = latencies["vector_element_to_write"], latencies["vector_more_for_each_step"]
    assert written == [2 + first + more * count for count in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "fields"),
    [
        ("vector_element", {"op0": "add", "op1": "mul"}),
        ("vector_element_one_unit_twice", {"op0": "add", "op1": "add"}),
        ("vector_element_transposed", {"transpose": 1, "dst_stride": vector.NARROW.n}),
    ],
)
def test_vector_elements_follow_each_other_at_the_stated_rate(rate, fields):
    config = vector.NARROW
    item = vector.compute(rows=8, columns=16, s0_kind="self", s1_kind="self", **fields)
    seen = vector.check_vector([item], vector.random_state(config=config))
    writes_each = config.n // config.row_words if "transpose" in fields else 1
    first_writes = write_cycles(seen)[::writes_each]
    assert len(first_writes) == 16
    assert (np.diff(first_writes) == describe(config)["rates_cycles"][rate]).all()


@pytest.mark.parametrize(
    ("rate", "fields"),
    [
        ("activation_column", {"x_format": "bf16", "x_stride": 1}),
        ("activation_column_of_fp32", {}),
        ("activation_column_summed", {"x_format": "bf16", "x_stride": 1, "sum": 1}),
    ],
)
def test_activation_columns_follow_each_other_at_the_stated_rate(rate, fields):
    item = activation.apply(columns=24, dst=300, **fields)
    seen = activation.check_activation([*activation.TABLE, item], activation.random_state())
    assert len(seen.writes) == 24
    # Two columns at a time: each has words of its own. Rates are rounded up.
    pairs = np.diff(write_cycles(seen)[::2])
    assert (-(-pairs // 2) == describe(activation.CONFIG)["rates_cycles"][rate]).all()


@pytest.mark.parametrize(("kind", "name"), [("entries", "entry"), ("descriptors", "descriptor")])
def test_the_function_table_is_loaded_at_the_stated_rate(kind, name):
    signalled = []
    for count in (1, 11):
        load = Item("activation.table", {"kind": kind, "addr": 512, "count": count}, (1, 1))
        seen = activation.check_activation([load], activation.random_state())
        signalled.append(seen.signals[0][0])
    rate = describe(activation.CONFIG)["rates_cycles"][f"activation_table_{name}"]
    assert signalled[1] - signalled[0] == 10 * rate
