"""Costs of the scheduler that restate the hardware are those of the hardware."""

import pytest

from tegula.activation.layouts import beats
from tegula.config import PRESETS
from tegula.dma.accumulate import chunk_steps
from tegula_sw.cli.info import describe
from tegula_sw.program import costs

LATENCIES = {name: describe(config)["latencies_cycles"] for name, config in PRESETS.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_periods_are_those_of_the_hardware(name):
    config = PRESETS[name]
    period = LATENCIES[name]["stationary_load_and_matmul_period"]
    assert costs.load_period_cycles(config) == period
    assert costs.psum_reuse_cycles(config) == LATENCIES[name]["psum_word_reuse"]
    assert costs.activation_lane_cycles(config) == beats(config)
    rates = describe(config)["rates_cycles"]
    assert costs.activation_column_cycles(config) == rates["activation_column"]
    assert costs.accumulated_beat_cycles(config) == chunk_steps(config)


@pytest.mark.parametrize("name", PRESETS)
def test_latencies_of_the_vector_engine_are_those_of_the_hardware(name):
    assert costs.VECTOR_WRITE == LATENCIES[name]["vector_element_to_write"]
    assert costs.VECTOR_STEP == LATENCIES[name]["vector_more_for_each_step"]


@pytest.mark.parametrize(
    ("cost", "figure"),
    [
        (costs.MATMUL_LATENCY, "matmul_last_column_to_signal"),
        (costs.REDUCTION_LATENCY, "activation_sum_finish"),
    ],
)
def test_costs_for_all_presets_are_the_largest_of_them(cost, figure):
    assert cost == max(latencies[figure] for latencies in LATENCIES.values())
