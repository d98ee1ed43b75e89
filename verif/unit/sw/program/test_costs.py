"""Costs of the scheduler: sums of the hardware's latencies, and near what instructions take."""

import pytest

from tegula.config import PRESETS, TileConfig
from tegula.isa.instructions import Engine
from tegula_sw.cli.info import describe
from tegula_sw.program import costs
from tegula_sw.program.timing.latencies import latencies
from verif.support.predicted import cycles_each

CONFIGS = [*PRESETS.values(), TileConfig(name="wide", n=32, axi_data_width=512)]

configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


@configs
def test_periods_and_latencies_are_those_that_info_prints(config):
    latencies, rates = (describe(config)[f"{name}_cycles"] for name in ("latencies", "rates"))
    period = latencies["stationary_load_and_matmul_period"]
    assert costs.load_period_cycles(config) == period
    assert costs.psum_reuse_cycles(config) == latencies["psum_word_reuse"]
    assert costs.matmul_latency(config) == latencies["matmul_last_column_to_signal"]
    assert costs.reduction_latency(config) == latencies["vector_reduction_finish"]
    assert costs.activation_sum_latency(config) == latencies["activation_sum_finish"]
    assert costs.vector_element_cycles(config) == rates["vector_element"]
    assert costs.activation_column_cycles(config) == rates["activation_column"]
    assert costs.accumulated_beat_cycles(config) == rates["dma_accumulate_beat"]
    assert costs.drain_cost(config).latency == latencies["vector_element_to_write"]


@configs
def test_the_overhead_of_a_vector_instruction_that_waits_is_what_it_takes(config):
    text = (
        "vector.compute rows=4 format=fp32 columns=64 x_source=sbuf x_addr=0 x_stride=2 op0=abs"
        " dst=1024 dst_stride=2\n"
    )
    elements = 64 * costs.vector_element_cycles(config)
    assert cycles_each(config, text) == elements + costs.vector_cost(config).overhead


@configs
def test_the_overhead_of_a_function_is_what_its_scale_and_bias_take(config):
    text = (
        "activation.apply rows=4 format=bf16 columns=64 x_format=bf16 x_addr=0 overlap=1 dst=512"
        " function=0 low=0\n"
    )
    beyond = cycles_each(config, text) - costs.activation_cost(config).overhead
    column = costs.activation_column_cycles(config)  # rounded up to whole cycles
    assert 64 * (column - 0.5) - 4 <= beyond <= 64 * column + 4


@configs
@pytest.mark.parametrize("engine", [Engine.LOAD, Engine.STORE])
def test_the_latency_of_a_transfer_is_what_one_takes_that_waits_for_the_one_before(config, engine):
    text = (
        f"{engine.name.lower()}.dma consume(0>=1) signal(0+=1) mem_addr=4096 layout=free"
        f" run={config.bus_words} sbuf_addr=0\n"
    )
    taken = cycles_each(config, text, "tensor.sync signal(0+=1)\n")
    signalled = 1 + latencies(config).signal
    # The fetch of the program takes beats in between.
    assert 0 <= taken - costs.transfer_cost(config, engine).latency - signalled <= 8
