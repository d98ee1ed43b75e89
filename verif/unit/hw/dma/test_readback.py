"""Reads of what a store adds to: requested with room for every beat, and early enough."""

import pytest

from tegula.config import preset
from tegula.dma.chunk_adder import chunk_steps
from tegula.isa.instructions import Engine
from verif.support.dma_bench import check, expect
from verif.support.dma_models import BASE, Command
from verif.support.dma_peers import StoreBench
from verif.support.dma_programs import line_of_runs
from verif.support.marks import slow_params


def add(config, fields, *, budget, reads_first=True, **options):
    """Run of one accumulating store; returns its bench."""
    bench = StoreBench(config, memory_bytes=16384, **options)
    bench.reads_first = reads_first
    commands = [Command(fields | {"accumulate": 1}, signal=(1, 1))]
    expected = expect(bench, Engine.STORE, commands)
    bench.run(commands, budget=budget)
    check(bench, Engine.STORE, expected)
    return bench


@pytest.mark.parametrize(
    ("name", "run"), [("tiny", 117), ("small", 233), *slow_params([("medium", 465)])]
)
def test_a_memory_that_takes_no_write_beat_before_a_read_is_answered(name, run):
    """Two bursts and a little more: the beats of a read never wait for those of a write."""
    fields = {"mem_addr": BASE, "run": run, "sbuf_addr": 0, "layout": 0}
    bench = add(preset(name), fields, latency=1, budget=1000)
    assert bench.held_back > 0


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("burst", [1, 256, *slow_params([2, 4, 8, 64])])
def test_every_length_of_bursts_has_room(burst, stall):
    config = preset("tiny", max_burst_beats=burst)
    beats = 2 * burst + burst // 2 + 1
    fields = {"mem_addr": BASE + 6, "run": 4 * beats, "sbuf_addr": 0, "layout": 0}
    bench = add(config, fields, latency=9, stall=stall, seed=burst, budget=20_000)
    assert len(bench.read_bursts) > 2


def test_the_read_of_the_next_burst_hides_behind_the_sums():
    """At most a quarter of a burst is left to add when it is requested: 32 cycles here."""
    config = preset("small")
    fields = line_of_runs(config, runs=1, beats=64, layout=0)
    cycles = [
        add(config, fields, latency=latency, reads_first=False, budget=2000).outcome.cycles
        for latency in (1, 12)
    ]
    assert cycles[0] <= 64 * chunk_steps(config) + 60
    # The first read and the last response are waited for.
    assert cycles[1] - cycles[0] <= 2 * 11 + 2
