"""Engines whose registers without reset hold anything, as after a stop in any cycle."""

from random import Random

import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula.isa.operations import Accumulate
from verif.support.compiled import ONES, ZEROS
from verif.support.dma_bench import check, expect
from verif.support.dma_peers import LoadBench, StoreBench
from verif.support.dma_programs import SHAPES, random_commands

FILLS = {"zeros": ZEROS, "ones": ONES, "random": 2}
BENCHES = {Engine.LOAD: LoadBench, Engine.STORE: StoreBench}


@pytest.mark.parametrize("kind", Accumulate, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("engine", BENCHES, ids=lambda engine: engine.name.lower())
def test_nothing_depends_on_what_registers_without_reset_held(engine, fill, kind):
    """Random programs from reset, whose first instruction that moves data is of each kind."""
    config = preset(**SHAPES["tiny"])
    rng, begun = Random(f"scrambled {engine.name} {fill} {kind.name}"), 0
    while begun < 8:
        commands = random_commands(rng, config, 3)
        first = next((command.fields for command in commands if command.fields), None)
        if first is None or first["accumulate"] != kind:
            continue
        begun += 1
        bench = BENCHES[engine](config, seed=begun, stall=0.2 * (begun % 2), fill=FILLS[fill])
        expected = expect(bench, engine, commands)
        bench.run(commands, budget=4000, gap=0)
        check(bench, engine, expected)
