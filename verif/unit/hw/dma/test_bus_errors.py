"""Errors that memory answers: recorded, contained, and the engine usable afterwards."""

from random import Random

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from verif.support.dma_errors import check_failed_write, run_and_restart, run_until_error
from verif.support.dma_models import BASE, Command, expand
from verif.support.dma_peers import LoadBench, StoreBench
from verif.support.dma_programs import SHAPES, random_descriptor
from verif.support.marks import slow_params

SEEDS = [1, 2, 13, 14, *slow_params(seed for seed in range(24) if seed % 12 not in (1, 2))]
"""Seeds of `random_failure`, which has twelve configurations; the first are of two."""

RESPONSES = {2: Trap.BUS_SLVERR, 3: Trap.BUS_DECERR}


def prepare(seed: int):
    """A configuration, a descriptor of 30 runs of 60 bytes, and the address that fails."""
    config = preset("small")
    rng = Random(f"bus error {seed}")
    fields = {
        "mem_addr": BASE + rng.randrange(16),
        "run": 30,
        "count1": 30,
        "mem_stride1": 64,
        "sbuf_addr": 0,
        "sbuf_stride1": 32,
        "layout": 0,
    }
    return config, fields, BASE + 64 * 20 + rng.randrange(300)


def random_failure(seed: int, accumulate: bool):
    """A configuration, a random descriptor, and an address in it that fails."""
    rng = Random(f"random failure {seed} {accumulate}")
    config = preset(**SHAPES[sorted(SHAPES)[seed % len(SHAPES)]], max_writes=2 << seed % 3)
    while True:
        fields = random_descriptor(rng, config, 4096, limit=400)
        if bool(fields["accumulate"]) == accumulate:
            break
    victim = rng.choice(expand(config, fields, (BASE, BASE + 4095), Engine.STORE))
    offset = rng.choice((0, victim.size - 1, rng.randrange(victim.size)))
    return config, fields, victim.addr + offset


def run_into_error(bench, engine, fields, budget=6000):
    """Run of a descriptor, twice; returns what it must leave behind, the failed run and burst."""
    config, bad = bench.config, bench.bad[0]
    runs = expand(config, fields, bench.window, engine)
    sbuf, memory = bench.sbuf.copy(), bench.memory.copy()
    failed = run_until_error(config, engine, runs, bad, sbuf, memory)
    commands = [Command(fields, pc=3, signal=(1, 1)), Command(fields, pc=7, signal=(2, 2))]
    outcome = bench.run(commands, budget=budget)
    assert outcome.trap == (RESPONSES[bench.response], 3, failed[1])
    assert outcome.signals == []
    return sbuf, memory, failed, runs


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_failed_read_traps_and_is_not_written(seed, response):
    config, fields, bad = prepare(seed)
    bench = LoadBench(config, stall=0.15 * seed, latency=15, bad=(bad, bad), response=response)
    sbuf, *_ = run_into_error(bench, Engine.LOAD, fields)
    np.testing.assert_array_equal(bench.sbuf, sbuf)


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_load_writes_the_chunks_whose_beats_all_came(seed, accumulate):
    """In every layout, from every byte lane, with the first, the last or any beat failing."""
    config, fields, bad = random_failure(seed, accumulate)
    bench = LoadBench(config, stall=0.2 * (seed % 3), latency=9, bad=(bad, bad), seed=seed)
    sbuf, *_ = run_into_error(bench, Engine.LOAD, fields)
    np.testing.assert_array_equal(bench.sbuf, sbuf)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_failed_write_traps_after_the_writes_before_it(seed, response):
    config, fields, bad = prepare(seed)
    bench = StoreBench(config, stall=0.15 * seed, latency=15, bad=(bad, bad), response=response)
    before = bench.memory.copy()
    _, _, failed, runs = run_into_error(bench, Engine.STORE, fields)
    assert check_failed_write(bench, runs + runs, failed, before) > 0


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_keeps_writing_until_the_error_comes_back(seed, accumulate):
    config, fields, bad = random_failure(seed, accumulate)
    bench = StoreBench(config, stall=0.2 * (seed % 3), latency=9, bad=(bad, bad), seed=seed)
    bench.bad_reads = False
    before = bench.memory.copy()
    _, _, failed, runs = run_into_error(bench, Engine.STORE, fields, budget=12_000)
    check_failed_write(bench, runs + runs, failed, before)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_store_writes_no_burst_that_it_could_not_read(seed):
    config, fields, bad = random_failure(seed, True)
    bench = StoreBench(config, stall=0.2 * (seed % 3), latency=9, bad=(bad, bad), seed=seed)
    _, memory, *_ = run_into_error(bench, Engine.STORE, fields, budget=12_000)
    np.testing.assert_array_equal(bench.memory, memory)


@pytest.mark.parametrize(
    ("bench_type", "engine"), [(LoadBench, Engine.LOAD), (StoreBench, Engine.STORE)]
)
def test_the_engine_runs_on_after_a_bus_error(bench_type, engine):
    config, fields, bad = prepare(0)
    bench = bench_type(config, latency=15, bad=(bad, bad))
    good = [Command(fields, pc=1, signal=(5, 5))]

    def inspect():
        assert bench.outcome.trap[0] == Trap.BUS_SLVERR

    run_and_restart(bench, engine, good, good, budget=3000, inspect=inspect)
