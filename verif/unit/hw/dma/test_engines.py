"""Behaviour common to load and store engine, against the meaning of their descriptors."""

from random import Random

import numpy as np
import pytest

from tegula.config import preset
from tegula.dma.engine import DmaControl
from tegula.dma.load import LoadEngine
from tegula.dma.store import StoreEngine
from tegula.isa.instructions import Engine
from verif.support.dma_bench import check, expect
from verif.support.dma_errors import run_and_restart
from verif.support.dma_models import BASE, Command
from verif.support.dma_peers import BUS_CYCLES, LoadBench, StoreBench
from verif.support.dma_programs import (
    SHAPES,
    TRAPS,
    all_lanes,
    line_of_runs,
    random_commands,
    trapping,
)
from verif.support.marks import slow_params

SHAPE_PARAMS = ["tiny", "wide_bus", "one_code", *slow_params(["small", "narrow_bus"])]

BENCHES = {Engine.LOAD: LoadBench, Engine.STORE: StoreBench}

both = pytest.mark.parametrize("engine", BENCHES, ids=lambda engine: engine.name.lower())


def run_checked(engine, config, commands, *, budget, **options):
    """Run of commands, compared with their meaning; returns (outcome, expectation)."""
    bench = BENCHES[engine](config, **options)
    expected = expect(bench, engine, commands)
    outcome = bench.run(commands, budget=budget, gap=0)
    check(bench, engine, expected)
    return outcome, expected


@both
@pytest.mark.parametrize(("stall", "seed"), [(0.0, 0), (0.3, 1), (0.5, 2)])
@pytest.mark.parametrize("shape", SHAPE_PARAMS)
def test_random_programs_move_every_element_once(engine, shape, stall, seed):
    config = preset(**SHAPES[shape])
    rng = Random(f"{engine.name} {shape} {seed}")
    commands = random_commands(rng, config, 8)
    latency = rng.choice((1, 5, 30))
    _, expected = run_checked(
        engine, config, commands, budget=6000, seed=seed, stall=stall, latency=latency
    )
    assert expected.elements > 50


@both
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("bytes1", [0, 1])
def test_runs_begin_at_every_lane_and_have_every_length(engine, layout, bytes1):
    config = preset("tiny")
    commands = [
        Command(all_lanes(config, elements, layout, bytes1))
        for elements in range(1, 2 * config.bus_bytes // (2 - bytes1) + 2)
    ]
    run_checked(engine, config, commands, budget=3000)


@both
@pytest.mark.parametrize("burst", [1, *slow_params([2, 256])])
def test_bursts_split_at_their_longest_length(engine, burst):
    config = preset("small", max_burst_beats=burst)
    fields = {"mem_addr": BASE + 0xF89, "run": 900, "sbuf_addr": 0, "layout": 0}
    run_checked(engine, config, [Command(fields)], budget=2000, memory_bytes=8192)


@both
@pytest.mark.parametrize(
    ("layout", "beats", "bytes1", "latency", "rate"),
    [
        (0, 8, 0, 20, 0.9),
        (1, 8, 0, 20, 0.9),
        (0, 8, 1, 20, 0.45),
        (0, 1, 0, 6, 0.45),
        (1, 1, 0, 6, 0.45),
    ],
)
def test_short_runs_keep_the_bus_busy(engine, layout, beats, bytes1, latency, rate):
    config = preset("small")
    fields = line_of_runs(config, runs=64, beats=beats, layout=layout, bytes1=bytes1)
    outcome, _ = run_checked(
        engine,
        config,
        [Command(fields, signal=(0, 1))],
        budget=3000,
        latency=latency,
        memory_bytes=16384,
    )
    assert outcome.beats / outcome.cycles >= rate
    assert outcome.cycles - 8 <= outcome.busy + outcome.stall <= outcome.cycles


def test_runs_of_one_beat_hide_a_read_latency_of_twenty():
    config = preset("small")
    fields = line_of_runs(config, runs=64, beats=1, layout=1)
    outcome, _ = run_checked(Engine.LOAD, config, [Command(fields)], budget=300, latency=20)
    assert outcome.beats / outcome.cycles >= 0.45


@both
@pytest.mark.parametrize("latency", [20, 100])
def test_instructions_follow_each_other_within_four_cycles(engine, latency):
    config = preset("small")
    command = Command(line_of_runs(config, runs=1, beats=1, layout=0), signal=(0, 1))
    outcome, _ = run_checked(engine, config, [command] * 8, budget=500, latency=latency)
    gaps = np.diff(outcome.burst_cycles)
    assert len(gaps) == 7
    assert gaps.max() <= 1 + 4


@both
def test_the_first_request_comes_after_the_request_latency(engine):
    config = preset("small")
    command = Command(line_of_runs(config, runs=1, beats=1, layout=0))
    outcome, _ = run_checked(engine, config, [command], budget=100)
    # Cycles are counted from 1, and the instruction is offered in the first.
    assert outcome.burst_cycles == [1 + DmaControl.REQUEST_LATENCY + BUS_CYCLES]


@both
def test_data_pass_an_idle_engine_in_its_latency(engine):
    config = preset("tiny")
    commands = [Command(line_of_runs(config, runs=1, beats=8, layout=0))]
    bench = BENCHES[engine](config)
    expected = expect(bench, engine, commands)
    bench.run(commands, budget=200)
    check(bench, engine, expected)
    latency = LoadEngine.BEAT_TO_WRITE if engine == Engine.LOAD else StoreEngine.WORDS_TO_BEAT
    came, left = bench.moved
    assert [after - before for before, after in zip(came, left, strict=True)] == [latency] * 8


@both
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_answers_that_were_not_requested_are_dropped(engine, stall):
    """They come whenever none of the engine's own is awaited, before, between and after those."""
    config = preset(**SHAPES["tiny"])
    commands = random_commands(Random(f"stray {engine.name} {stall}"), config, 8)
    bench = BENCHES[engine](config, stall=stall, latency=3)
    bench.stray = True
    expected = expect(bench, engine, commands)
    bench.run(commands, budget=6000)
    check(bench, engine, expected)
    assert bench.strays > 10


@pytest.mark.parametrize("latency", [1, 3, 14])
def test_a_load_is_complete_when_its_last_write_is_in_the_scratchpad(latency):
    config = preset("tiny")
    fields = {"mem_addr": BASE + 1, "run": 9, "sbuf_addr": 0, "layout": 0}
    commands = [Command(fields, signal=(1, number)) for number in range(4)]
    bench = LoadBench(config)
    bench.write_latency = latency
    expected = expect(bench, Engine.LOAD, commands)
    outcome = bench.run(commands, budget=400)
    check(bench, Engine.LOAD, expected)
    assert len(outcome.progress) == 4
    assert all(done >= 9 * (number + 1) for number, done in enumerate(outcome.progress))


def test_a_load_signals_behind_its_write_though_a_sync_waits_for_it():
    config = preset("small")
    load = Command(line_of_runs(config, runs=1, beats=1, layout=0), signal=(1, 2))
    outcome, expected = run_checked(Engine.LOAD, config, [load, Command()], budget=100, latency=20)
    assert outcome.signals == [(1, 2)]
    assert expected.progress[0][0] == config.bus_words


@both
@pytest.mark.parametrize(("runs", "beats"), [(2, 3), (1, 1)])
def test_a_sync_signals_after_all_that_came_before(engine, runs, beats):
    config = preset("small")
    move = Command(line_of_runs(config, runs=runs, beats=beats, layout=0))
    commands = [Command(signal=(4, 9)), move, Command(signal=(5, 7)), Command(), move]
    outcome, expected = run_checked(engine, config, commands, budget=500, latency=40)
    assert outcome.signals == [(4, 9), (5, 7)]
    assert 0 in expected.progress[0]
    assert 0 not in expected.progress[1]


@both
@pytest.mark.parametrize("name", TRAPS)
def test_a_bad_run_traps_after_the_good_ones_before_it(engine, name):
    config = preset("small", sbuf_depth=256)
    commands, cause = trapping(config, name)
    _, expected = run_checked(engine, config, commands, budget=1500, stall=0.2)
    assert expected.trap[:2] == (cause, 4)


@both
@pytest.mark.parametrize("name", ["past_the_window", "off_a_line"])
def test_the_engine_runs_on_after_a_trap(engine, name):
    config = preset("small", sbuf_depth=256)
    commands, _ = trapping(config, name)
    bench = BENCHES[engine](config)
    run_and_restart(bench, engine, commands, commands[:1], budget=1000)


@both
@pytest.mark.parametrize("seed", range(8))
def test_a_stop_leaves_the_bus_clean_and_the_engine_usable(engine, seed):
    config = preset(**SHAPES["tiny"])
    rng = Random(f"stop {engine.name} {seed}")
    # The last command alone takes longer than the latest stop.
    long = Command(line_of_runs(config, runs=16, beats=16, layout=1), signal=(3, 1))
    commands = [*random_commands(rng, config, 3), long]
    again = random_commands(rng, config, 3)
    bench = BENCHES[engine](
        config, seed=seed, stall=rng.choice((0, 0.4)), latency=20, stop_at=rng.randrange(6, 160)
    )
    run_and_restart(bench, engine, commands, again, budget=4000)
