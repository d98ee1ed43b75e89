"""What instructions take, one behind the other, where the hardware's constants say it."""

import pytest

from tegula.config import PRESETS
from tegula_sw.program.timing.latencies import latencies
from verif.support.predicted import cycles_each

CONFIGS = list(PRESETS.values())
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)

MATMUL = "tensor.matmul rows=4 format=bf16 columns={} addr=64 psum_addr={} accumulate={}\n"
LOAD = "tensor.load rows=4 format=bf16 columns=4 addr=0\n"
VECTOR = (
    "vector.compute rows=4 format=bf16 columns={} x_source=sbuf x_format={} x_addr={} x_stride={}"
    " overlap=1 dst=512"
)


def matmul(columns, psum=0, accumulate=0):
    return MATMUL.format(columns, psum, accumulate)


@configs
def test_matmuls_follow_each_other_without_a_gap(config):
    assert cycles_each(config, matmul(40)) == 40


@configs
def test_an_instruction_reaches_its_engine_every_other_cycle(config):
    assert cycles_each(config, matmul(1)) == 1 + latencies(config).instruction


@configs
def test_a_sum_waits_until_its_word_has_left_the_array(config):
    first = matmul(1)
    assert cycles_each(config, matmul(1, accumulate=1), first) == latencies(config).reuse
    both = matmul(1) + matmul(1, psum=1)
    turns = matmul(1, accumulate=1) + matmul(1, psum=1, accumulate=1)
    assert cycles_each(config, turns, both) == latencies(config).reuse


@configs
def test_a_short_matmul_waits_for_the_next_operand_and_a_long_one_does_not(config):
    period = latencies(config).period
    assert cycles_each(config, LOAD + matmul(1)) == period
    assert cycles_each(config, LOAD + matmul(period + 3)) == period + 3


@configs
@pytest.mark.parametrize(
    ("more", "interval"),
    [("", 1), (" op0=mul op1=mul s1=1", 2), (" op0=sub op1=add reduction=sum", 3)],
)
def test_elements_follow_each_other_at_the_interval_of_their_route(config, more, interval):
    text = VECTOR.format(60, "bf16", 0, 1) + more + "\n"
    scalars = 2 * config.vector_folding if interval > 1 else 0
    items = 60 * config.vector_folding
    taken = cycles_each(config, text)
    # Whole intervals: scalars, the elements, and a cycle between two instructions.
    assert taken == -(-(scalars + (items - 1) * interval + 2) // interval) * interval


@configs
def test_operands_in_the_same_banks_take_two_cycles(config):
    beside = VECTOR.format(60, "fp32", 0, 2) + " op0=add s0_kind=y y_format=fp32 y_stride=2 y_addr="
    same, other = (
        cycles_each(config, beside + f"{addr}\n") for addr in (4096, 4096 + config.bus_words // 2)
    )
    items = 60 * config.vector_folding
    assert 2 * items <= same <= 2 * items + 3
    assert items <= other <= items + 3


@configs
@pytest.mark.parametrize(("summed", "column"), [(0, 1), (1, 2)])
def test_columns_pass_the_lanes_of_the_activation_engine(config, summed, column):
    text = (
        "activation.apply rows=4 format=bf16 columns=50 x_format=bf16 x_addr=0 overlap=1 dst=512"
        f" function=0 low=0 sum={summed} proceed=0\n"
    )
    lat = latencies(config)
    # Of the words of two columns, either is free again two cycles after its row.
    per_column = max(column * lat.beats, (lat.row + 2) / 2)
    assert 50 * per_column <= cycles_each(config, text) <= 50 * per_column + 3 * lat.beats + 4


def transfer(engine, config, runs, beats, more=""):
    """Runs of whole bursts, one behind the other in memory."""
    words = beats * config.bus_words
    return (
        f"{engine}.dma mem_addr=65536 layout=free sbuf_addr=0 run={words} count1={runs}"
        f" mem_stride1={2 * words}{more}\n"
    )


@configs
@pytest.mark.parametrize("engine", ["load", "store"])
def test_long_runs_move_a_beat_a_cycle(config, engine):
    taken = cycles_each(config, transfer(engine, config, 4, 16), mem_latency=1)
    fetched = 64 // config.bus_bytes
    assert 64 <= taken <= 64 + (fetched if engine == "load" else 0) + 2


@configs
@pytest.mark.parametrize(
    ("engine", "limit"), [("load", "max_reads"), ("store", "max_writes")], ids=["load", "store"]
)
def test_no_more_bursts_are_in_flight_than_there_may_be(config, engine, limit):
    latency, count = 500, getattr(config, limit)
    taken = cycles_each(config, transfer(engine, config, 64, 1), mem_latency=latency)
    assert 64 * latency / (count + 1) <= taken <= 64 * (latency + 40) / count


@configs
@pytest.mark.parametrize("engine", ["load", "store"])
def test_sums_take_their_time(config, engine):
    text = transfer(engine, config, 4, 16, " accumulate=bf16")
    taken = cycles_each(config, text, mem_latency=1)
    assert 64 * latencies(config).accumulate <= taken <= 64 * (latencies(config).accumulate + 2)


@configs
def test_a_signal_ends_a_wait_when_the_semaphores_say(config):
    text = "load.sync consume(0>=1) signal(1+=1)\nstore.sync consume(1>=1) signal(0+=1)\n"
    taken = cycles_each(config, text, "tensor.sync signal(0+=1)\n", mem_latency=1)
    # There and back: a signal, the wait, the queue, and the way through an engine.
    assert 2 * latencies(config).signal < taken < 2 * (latencies(config).signal + 12)
