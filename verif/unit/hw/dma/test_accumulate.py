"""Loads and stores that add to their destination: sums, rate, order, errors."""

from random import Random

import numpy as np
import pytest

from tegula.arith.fp_add import FpAdd
from tegula.config import preset
from tegula.dma.chunk_adder import chunk_steps
from tegula.isa.instructions import Engine
from tegula.isa.operations import Accumulate
from tegula.isa.traps import Trap
from verif.stimuli.fp32 import SUM_KINDS, addends, special_pairs
from verif.support.dma_bench import check, expect
from verif.support.dma_errors import check_failed_write, run_and_restart, run_until_error
from verif.support.dma_models import BASE, Command, bursts_of, expand
from verif.support.dma_peers import LoadBench, StoreBench
from verif.support.dma_programs import SHAPES, line_of_runs, random_commands
from verif.support.marks import slow_params

BENCHES = {Engine.LOAD: LoadBench, Engine.STORE: StoreBench}
FORMATS = (Accumulate.BF16, Accumulate.FP32)

both = pytest.mark.parametrize("engine", BENCHES, ids=lambda engine: engine.name.lower())
formats = pytest.mark.parametrize("accumulate", FORMATS, ids=lambda kind: kind.name.lower())


def run_checked(bench, engine, commands, *, budget):
    """Run of commands, compared with their meaning and, for a store, with what it must read."""
    expected = expect(bench, engine, commands)
    bench.run(commands, budget=budget)
    check(bench, engine, expected)
    if engine == Engine.STORE:
        assert bench.read_bursts == [
            burst
            for command in commands
            if command.fields and command.fields.get("accumulate")
            for run in expand(bench.config, command.fields, bench.window, engine)
            for burst in bursts_of(bench.config, run.addr, run.size)
        ]
    return bench.outcome


@both
@pytest.mark.parametrize("kind", [*SUM_KINDS, "special"])
@formats
def test_sums_are_those_of_the_golden_adder(engine, accumulate, kind):
    config = preset("tiny", sbuf_depth=8192)
    pairs = special_pairs() if kind == "special" else addends(np.random.default_rng(5), 600, kind)
    if accumulate == Accumulate.BF16:
        pairs = [(codes >> 16).astype(np.uint16) for codes in pairs]
    held, incoming = (codes.view(np.uint16) for codes in pairs)
    bench = BENCHES[engine](config, memory_bytes=1 << 14)
    bench.sbuf[0, : len(held)] = held
    bench.memory[: incoming.nbytes] = incoming.view(np.uint8)
    fields = {"mem_addr": BASE, "run": len(held), "sbuf_addr": 0, "layout": 0}
    command = Command(fields | {"accumulate": accumulate}, signal=(1, 1))
    run_checked(bench, engine, [command], budget=9000)


@both
@formats
@pytest.mark.parametrize("name", ["tiny", "small", *slow_params(["medium"])])
def test_a_chunk_is_added_every_chunk_steps(engine, accumulate, name):
    config = preset(name)
    fields = line_of_runs(config, runs=2, beats=48, layout=0) | {"accumulate": accumulate}
    bench = BENCHES[engine](config, latency=12, memory_bytes=16384)
    outcome = run_checked(bench, engine, [Command(fields)], budget=4000)
    assert chunk_steps(config) <= max(8, config.bus_words)
    assert outcome.cycles <= 96 * chunk_steps(config) + 100


def test_a_load_across_the_partitions_adds_a_row_every_chunk_steps():
    config = preset("small")
    fields = line_of_runs(config, runs=4, beats=20, layout=1) | {"accumulate": Accumulate.BF16}
    outcome = run_checked(
        LoadBench(config, latency=12), Engine.LOAD, [Command(fields)], budget=2000
    )
    assert outcome.cycles <= 80 * chunk_steps(config) + 60


def test_a_chunk_is_out_of_the_adder_before_the_one_after_the_next_enters():
    for name in ("tiny", "small", "medium"):
        config = preset(name)
        steps = chunk_steps(config)
        assert steps >= config.bus_words
        assert 2 * steps - 1 > config.bus_words + FpAdd.LATENCY


@both
@formats
@pytest.mark.parametrize("stall", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("places", [1, 2, 3])
def test_runs_that_meet_at_their_destination_all_add_to_it(engine, accumulate, places, stall):
    """Each run begins `places` lines further on than the one before, four times over."""
    config = preset("tiny")
    line = config.bus_words
    fields = {"mem_addr": BASE + 16, "run": 2 * line, "count1": places, "count2": 4}
    fields |= {"sbuf_addr": line, "layout": 0, "accumulate": accumulate}
    strides = {"sbuf_stride1": line, "mem_stride2": 48}
    if engine == Engine.STORE:
        strides = {"sbuf_stride2": 4 * line, "mem_stride1": 2 * line}
    bench = BENCHES[engine](config, stall=stall, latency=15, seed=places)
    run_checked(bench, engine, [Command(fields | strides, signal=(2, 1))], budget=6000)


@pytest.mark.parametrize("places", [1, 2, 3])
@pytest.mark.parametrize("write_latency", [10, 30])
def test_a_load_waits_for_writes_however_long_they_take(places, write_latency):
    config = preset("tiny")
    line = config.bus_words
    fields = {"mem_addr": BASE + 16, "run": 2 * line, "count1": places, "count2": 4}
    fields |= {"sbuf_addr": line, "sbuf_stride1": line, "mem_stride2": 48}
    bench = LoadBench(config)
    bench.write_latency = write_latency
    command = Command(fields | {"layout": 0, "accumulate": Accumulate.BF16}, signal=(2, 1))
    run_checked(bench, Engine.LOAD, [command], budget=3000)


@pytest.mark.parametrize("write_latency", [10, 60])
def test_sums_wait_for_a_scratchpad_that_takes_one_write_after_the_other(write_latency):
    """Those of a chunk at the adder's output, those of the next behind them, and no more."""
    config = preset("tiny")
    fields = {"mem_addr": BASE, "run": 8 * config.bus_words, "sbuf_addr": 0, "layout": 0}
    bench = LoadBench(config)
    bench.write_latency, bench.most_writes = write_latency, 1
    run_checked(
        bench, Engine.LOAD, [Command(fields | {"accumulate": Accumulate.BF16})], budget=1000
    )


@pytest.mark.parametrize("stride0", [0, 1, -1])
def test_a_load_across_the_partitions_may_meet_itself(stride0):
    config = preset("small")
    fields = {"mem_addr": BASE + 3, "run": 77, "sbuf_addr": 40, "sbuf_stride0": stride0}
    fields |= {"layout": 1, "accumulate": Accumulate.BF16}
    run_checked(LoadBench(config), Engine.LOAD, [Command(fields)], budget=1000)


@both
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_instructions_see_what_earlier_ones_wrote(engine, stall):
    """Copies and sums of both formats take turns at one destination."""
    config = preset("tiny")
    base = {"mem_addr": BASE + 8, "run": 12, "sbuf_addr": 8, "layout": 0}
    kinds = (0, 1, 1, 0, 2, 2, 1, 0, 0, 2)
    sources = {"sbuf_addr": 16} if engine == Engine.STORE else {"mem_addr": BASE + 72}
    commands = [
        Command(base | {"accumulate": kind} | (sources if number % 3 else {}), signal=(number, 1))
        for number, kind in enumerate(kinds)
    ]
    bench = BENCHES[engine](config, stall=stall, latency=20)
    run_checked(bench, engine, commands, budget=6000)


def test_a_load_adds_from_every_byte_lane():
    config = preset("tiny")
    commands = [
        Command(
            {
                "mem_addr": BASE + lane,
                "run": run,
                "sbuf_addr": 8 * lane,
                "layout": 0,
                "accumulate": kind,
            }
        )
        for lane in range(config.bus_bytes)
        for run in (2, 6, 10)
        for kind in FORMATS
    ]
    run_checked(LoadBench(config), Engine.LOAD, commands, budget=9000)


@pytest.mark.parametrize(
    ("accumulate", "lane"), [(1, 1), (2, 1), (2, 2), (2, 3)], ids=lambda value: str(value)
)
def test_a_store_that_adds_off_its_numbers_size_traps(accumulate, lane):
    config = preset("tiny")
    good = {"mem_addr": BASE, "run": 8, "sbuf_addr": 0, "layout": 0, "accumulate": accumulate}
    bad = good | {"mem_addr": BASE + 64, "count1": 3, "mem_stride1": 16 + lane}
    commands = [Command(good, signal=(0, 1)), Command(bad, pc=4, signal=(1, 1))]
    bench = StoreBench(config)
    expected = expect(bench, Engine.STORE, commands)
    assert expected.trap == (Trap.MEMORY_ALIGNMENT, 4, BASE + 80 + lane)
    bench.run(commands, budget=1000)
    check(bench, Engine.STORE, expected)


@both
def test_an_odd_number_of_halves_traps(engine):
    config = preset("tiny")
    fields = {"mem_addr": BASE, "run": 7, "sbuf_addr": 8, "layout": 0, "accumulate": 2}
    bench = BENCHES[engine](config)
    expected = expect(bench, engine, [Command(fields, pc=9)])
    assert expected.trap == (Trap.SBUF_ALIGNMENT, 9, 8)
    bench.run([Command(fields, pc=9)], budget=500)
    check(bench, engine, expected)


@both
@pytest.mark.parametrize("response", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_a_failed_read_traps_and_is_not_added(engine, seed, response):
    """What came before stays, as docs/traps.md has it; the engine goes on."""
    config = preset("small")
    rng = Random(f"failed read {seed}")
    fields = {"mem_addr": BASE + 4, "run": 200, "count1": 4, "mem_stride1": 420, "layout": 0}
    fields |= {"sbuf_addr": 0, "sbuf_stride1": 256, "accumulate": 1 + seed % 2}
    bad = BASE + 4 + 420 * 2 + rng.randrange(400)
    bench = BENCHES[engine](
        config, stall=0.15 * (seed % 3), latency=15, bad=(bad, bad), response=response
    )
    runs = expand(config, fields, bench.window, engine)
    commands = [Command(fields, pc=3, signal=(1, 1))]
    sbuf, memory = bench.sbuf.copy(), bench.memory.copy()
    number, failed = run_until_error(config, engine, runs, bad, sbuf, memory)
    assert number == 2

    def inspect():
        cause = Trap.BUS_SLVERR if response == 2 else Trap.BUS_DECERR
        assert bench.outcome.trap == (cause, 3, failed)
        assert not bench.outcome.signals
        np.testing.assert_array_equal(bench.memory, memory)
        np.testing.assert_array_equal(bench.sbuf, sbuf)

    run_and_restart(bench, engine, commands, commands, budget=9000, inspect=inspect)


def test_a_store_whose_write_fails_traps_and_goes_on():
    config = preset("tiny")
    fields = {"mem_addr": BASE, "run": 8, "count1": 9, "mem_stride1": 16, "layout": 0}
    fields |= {"sbuf_addr": 0, "accumulate": 1}
    bench = StoreBench(config, bad=(BASE + 50, BASE + 50))
    bench.bad_reads = False
    before = bench.memory.copy()
    runs = expand(config, fields, bench.window, Engine.STORE)
    commands = [Command(fields)]

    def inspect():
        assert bench.outcome.trap == (Trap.BUS_SLVERR, 0, BASE + 48)
        check_failed_write(bench, runs, (3, BASE + 48), before)

    run_and_restart(bench, Engine.STORE, commands, commands, budget=3000, inspect=inspect)


@both
@pytest.mark.parametrize("seed", range(12))
def test_a_stop_leaves_the_bus_clean_and_the_engine_usable(engine, seed):
    config = preset(**SHAPES["tiny"])
    rng = Random(f"stop {engine.name} {seed}")
    long = line_of_runs(config, runs=8, beats=16, layout=0) | {"accumulate": 1 + seed % 2}
    commands = [Command(long, signal=(3, 1)), *random_commands(rng, config, 3)]
    again = random_commands(rng, config, 3)
    bench = BENCHES[engine](
        config, seed=seed, stall=rng.choice((0, 0.4)), latency=20, stop_at=rng.randrange(6, 400)
    )
    run_and_restart(bench, engine, commands, again, budget=9000)


@both
@pytest.mark.parametrize("chunk", range(2))
def test_a_stop_between_the_halves_of_a_number_leaves_none_in_the_adder(engine, chunk):
    """In each step of a chunk; a half that stayed would be the low half of the first sum after."""
    config = preset("tiny")
    steps, words = chunk_steps(config), 64
    fields = {"run": words, "layout": 0}
    halves = fields | {"mem_addr": BASE, "sbuf_addr": 0, "accumulate": Accumulate.FP32}
    ones = {"mem_addr": BASE + 2 * words, "sbuf_addr": words, "accumulate": Accumulate.BF16}
    for stop_at in range(40 + chunk * steps, 40 + (chunk + 1) * steps):
        bench = BENCHES[engine](config, stop_at=stop_at)
        memory = bench.memory.view(np.uint16)
        for content in (memory, bench.sbuf[0]):
            content[0:words:2], content[1 : 2 * words : 2] = 0xFFFF, 0x3F80
            content[words : 2 * words] = 0x3F80
        run_and_restart(bench, engine, [Command(halves)], [Command(fields | ones)], budget=2000)
