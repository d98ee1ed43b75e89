"""Errors that memory answers: recorded, contained, and the engine usable afterwards."""

from random import Random

import pytest
from unit.dma_models import BASE, Command, Outcome, bursts_of, check, expand, expect
from unit.dma_peers import LoadBench, StoreBench

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap

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


def touched(config, run):
    """First and last byte of the beats of a run."""
    low = run.addr // config.bus_bytes * config.bus_bytes
    return low, (run.addr + run.size - 1) // config.bus_bytes * config.bus_bytes + (
        config.bus_bytes - 1
    )


def failing_run(config, runs, bad):
    """The first run that reads or writes the beat of address `bad`."""
    return next(
        i for i, r in enumerate(runs) if touched(config, r)[0] <= bad <= touched(config, r)[1]
    )


def burst_address(config, run, bad):
    """First byte of the burst of `run` with address `bad`, in the run."""
    span = config.max_burst_beats * config.bus_bytes
    return max(run.addr, bad // span * span)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_failed_read_traps_and_is_not_written(seed, response):
    config, fields, bad = prepare(seed)
    commands = [Command(fields, pc=3, signal=(1, 1)), Command(fields, pc=7, signal=(2, 2))]
    bench = LoadBench(config, stall=0.15 * seed, latency=15, bad=(bad, bad), response=response)
    before = bench.sbuf.copy()
    after = expect(bench, Engine.LOAD, commands[:1]).sbuf
    runs = expand(config, fields, bench.window)
    outcome = bench.run(commands, budget=3000)

    failing = failing_run(config, runs, bad)
    line = bad // config.bus_bytes * config.bus_bytes
    cause = RESPONSES[response]
    assert outcome.trap == (cause, 3, burst_address(config, runs[failing], bad))
    assert outcome.signals == []
    for index, run in enumerate(runs):
        for addr, partition, word in run.elements:
            old, new = before[partition, word], after[partition, word]
            if index < failing:
                assert bench.sbuf[partition, word] == new
            elif index == failing and addr + 1 < line:
                assert bench.sbuf[partition, word] in (old, new)
            else:
                assert bench.sbuf[partition, word] == old


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_failed_write_traps_after_the_writes_before_it(seed, response):
    config, fields, bad = prepare(seed)
    commands = [Command(fields, pc=3, signal=(1, 1)), Command(fields, pc=7, signal=(2, 2))]
    bench = StoreBench(config, stall=0.15 * seed, latency=15, bad=(bad, bad), response=response)
    before = bench.memory.copy()
    after = expect(bench, Engine.STORE, commands[:1]).memory
    runs = expand(config, fields, bench.window)
    outcome = bench.run(commands, budget=3000)

    failing = failing_run(config, runs, bad)
    assert outcome.trap == (RESPONSES[response], 3, burst_address(config, runs[failing], bad))
    assert outcome.signals == []
    until = [b for run in runs[: failing + 1] for b in bursts_of(config, run.addr, run.size)]
    assert len(outcome.bursts) <= len(until) + config.max_writes, "bursts were begun after the trap"
    done = runs[failing].addr - BASE
    assert (bench.memory[:done] == after[:done]).all()
    assert ((bench.memory == before) | (bench.memory == after)).all()


@pytest.mark.parametrize(
    ("bench_type", "engine"), [(LoadBench, Engine.LOAD), (StoreBench, Engine.STORE)]
)
def test_the_engine_runs_on_after_a_bus_error(bench_type, engine):
    config, fields, bad = prepare(0)
    bench = bench_type(config, latency=15, bad=(bad, bad))
    good = [Command(fields, pc=1, signal=(5, 5))]
    expected = []

    def repair():
        assert bench.outcome.trap[0] == Trap.BUS_SLVERR
        bench.outcome, bench.bad = Outcome(), None
        expected.append(expect(bench, engine, good))
        return good

    bench.after_stop = repair
    bench.run(good, budget=3000)
    assert expected
    check(bench, engine, expected[0])
