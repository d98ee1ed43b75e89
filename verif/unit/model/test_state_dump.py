"""The benches' stores of all state: each part of it that differs is seen, where it is."""

import numpy as np
import pytest

from tegula.config import preset
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.program.ordering import assemble_ordered
from verif.benches.memory_map import BASE
from verif.benches.state_dump import StateDump

CONFIG = preset("tiny")


def settled():
    """A tile whose state is random, but for tables that any function can read."""
    tile, rng = GoldenTile(CONFIG), np.random.default_rng(8)
    state = tile._state
    state.sbuf[:] = rng.integers(0, 1 << 16, state.sbuf.shape)
    for partials in (state.partials, state.sums):
        partials[:] = rng.standard_normal(partials.shape).astype(np.float32).view(np.uint32)
    state.entries[:] = rng.integers(0, 1 << 32, state.entries.shape)
    state.descriptors[:] = rng.integers(0, 1 << 32, state.descriptors.shape)
    return tile


def stored(tile, written=None):
    """What the stores leave in memory, and the dump."""
    dump = StateDump(CONFIG, BASE, written)
    code = assemble_ordered(CONFIG, dump.ops)
    memory = np.zeros(dump.size_bytes + len(code), np.uint8)
    memory[dump.size_bytes :] = np.frombuffer(code, np.uint8)
    result = tile.run(memory, program=BASE + dump.size_bytes, program_bytes=len(code), base=BASE)
    assert result.trap is None
    return memory[: dump.size_bytes], dump


def draw(state):
    state.generators.draw(1)


def change_table(state):
    state.entries ^= np.uint32(1 << 20)
    state.descriptors ^= np.uint32(1)
    state.forget_table()


def change(name):
    def flip(state):
        getattr(state, name)[1, 3] ^= np.asarray(0x4000).astype(getattr(state, name).dtype)

    return flip


CHANGES = {
    "scratchpad": (change("sbuf"), "the scratchpad, partition 1 word 3"),
    "partial results": (change("partials"), "the engines, partition 1 word 8"),
    "partial sums": (change("sums"), "the engines, partition 1 word 10"),
    "table": (change_table, "the engines, partition "),
    "generators": (draw, "the engines, partition 0 word 0"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_difference_is_seen_and_placed(name):
    make, place = CHANGES[name]
    expected, dump = stored(settled())
    other = settled()
    make(other._state)
    found, _ = stored(other)
    wrong = np.flatnonzero(found != expected)
    assert wrong.size
    assert dump.place(int(wrong[0])).startswith(place)


def test_equal_states_are_stored_alike():
    np.testing.assert_array_equal(stored(settled())[0], stored(settled())[0])
