"""The store engine where its channels are made to wait for each other."""

from random import Random

import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from verif.support.dma_bench import check, expect
from verif.support.dma_errors import run_and_restart
from verif.support.dma_models import Command
from verif.support.dma_peers import StoreBench
from verif.support.dma_programs import SHAPES, line_of_runs, random_commands

COUPLINGS = {
    "reads_first": ("reads_first",),
    "address_last": ("address_last",),
    "data_last": ("data_last",),
    "reads_first_and_address_last": ("reads_first", "address_last"),
    "reads_first_and_data_last": ("reads_first", "data_last"),
}


@pytest.mark.parametrize("stall", [0.0, 0.3])
@pytest.mark.parametrize("name", COUPLINGS)
@pytest.mark.parametrize("shape", ["tiny", "wide_bus"])
def test_channels_may_wait_for_each_other(shape, name, stall):
    config = preset(**SHAPES[shape])
    bench = StoreBench(config, stall=stall, latency=7, seed=3)
    for coupling in COUPLINGS[name]:
        setattr(bench, coupling, True)
    sums = line_of_runs(config, runs=1, beats=3 * min(config.max_burst_beats, 16), layout=0)
    commands = random_commands(Random(f"{shape} {name}"), config, 12)
    commands.append(Command(sums | {"accumulate": 1}))
    expected = expect(bench, Engine.STORE, commands)
    bench.run(commands, budget=12_000)
    check(bench, Engine.STORE, expected)
    assert bench.held_back > 5


@pytest.mark.parametrize("seed", range(6))
def test_a_stop_completes_what_was_requested_where_addresses_come_last(seed):
    config = preset(**SHAPES["tiny"])
    rng = Random(f"stop {seed}")
    commands, again = (random_commands(rng, config, 6) for _ in range(2))
    bench = StoreBench(config, stall=0.2, latency=20, seed=seed, stop_at=rng.randrange(20, 300))
    bench.reads_first = bench.address_last = True
    run_and_restart(bench, Engine.STORE, commands, again, budget=12_000)
