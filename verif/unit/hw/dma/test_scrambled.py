"""Engines whose registers without reset hold anything, as after a stop in any cycle."""

from random import Random

import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula.isa.operations import Accumulate
from verif.support.dma_bench import check, expect
from verif.support.dma_peers import LoadBench, StoreBench
from verif.support.dma_programs import SHAPES, random_commands
from verif.support.scrambled import scrambled

SEEDS = range(2)


def benches(bench: type) -> list[type]:
    """`bench`, of engines with different contents."""
    return [
        type(bench.__name__, (bench,), {"engine": scrambled(bench.engine, seed)}) for seed in SEEDS
    ]


BENCHES = {Engine.LOAD: benches(LoadBench), Engine.STORE: benches(StoreBench)}


@pytest.mark.parametrize("kind", Accumulate, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("engine", BENCHES, ids=lambda engine: engine.name.lower())
def test_nothing_depends_on_what_registers_without_reset_held(engine, seed, kind):
    """Random programs from reset, whose first instruction that moves data is of each kind."""
    config = preset(**SHAPES["tiny"])
    rng, begun = Random(f"scrambled {engine.name} {seed} {kind.name}"), 0
    while begun < 8:
        commands = random_commands(rng, config, 3)
        first = next((command.fields for command in commands if command.fields), None)
        if first is None or first["accumulate"] != kind:
            continue
        begun += 1
        bench = BENCHES[engine][seed](config, seed=begun, stall=0.2 * (begun % 2))
        expected = expect(bench, engine, commands)
        bench.run(commands, budget=4000, gap=0)
        check(bench, engine, expected)
