"""State of the functional simulator after memory answers a DMA with an error."""

from random import Random

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.codec import encode
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from verif.support.dma_errors import run_until_error
from verif.support.dma_models import BASE, expand, move
from verif.support.dma_programs import random_descriptor

DATA_BYTES = 4096
CONFIGS = {
    "tiny": preset("tiny", sbuf_depth=512, max_writes=2),
    "small": preset("small", sbuf_depth=1024, max_burst_beats=4),
}
both = pytest.mark.parametrize("engine", [Engine.LOAD, Engine.STORE], ids=lambda e: e.name.lower())


def execute(config, engine, descriptors, errors, seed):
    """Run descriptors; the outcome, and memory and scratchpad after and before.

    `errors`: as the simulator takes them, or one byte that fails.
    """
    errors = [(errors, errors, "slverr")] if isinstance(errors, int) else errors
    rng = np.random.default_rng(seed)
    code = b"".join(encode(f"{engine.name.lower()}.dma", config, **d) for d in descriptors)
    code += encode("halt")
    program = BASE + DATA_BYTES
    memory = rng.integers(0, 256, DATA_BYTES + 1024).astype(np.uint8)
    memory[DATA_BYTES:][: len(code)] = np.frombuffer(code, np.uint8)
    tile = GoldenTile(config, errors=errors)
    tile.write_sbuf(0, rng.integers(0, 1 << 16, (config.n, config.sbuf_depth)).astype(np.uint16))
    before = memory.copy(), tile.read_sbuf(0, config.sbuf_depth)
    result = tile.run(memory, program=program, program_bytes=len(code), base=BASE)
    return result, (memory, tile.read_sbuf(0, config.sbuf_depth)), before


@both
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(40))
def test_what_comes_before_a_failed_beat_is_done_in_whole_units(engine, name, seed):
    config = CONFIGS[name]
    rng = Random(f"{engine.name} {name} {seed}")
    fields = random_descriptor(rng, config, DATA_BYTES)
    runs = expand(config, fields, (BASE, BASE + DATA_BYTES - 1), engine)
    victim = rng.choice(runs)
    bad = victim.addr + rng.choice((0, victim.size - 1, rng.randrange(victim.size)))
    result, (memory, sbuf), before = execute(config, engine, [fields], bad, seed)
    expected_memory, expected_sbuf = (array.copy() for array in before)
    _, failed = run_until_error(config, engine, runs, bad, expected_sbuf, expected_memory)
    assert (result.trap.cause, result.trap.engine) == (Trap.BUS_SLVERR, engine)
    assert result.trap.address == failed
    np.testing.assert_array_equal(memory, expected_memory)
    np.testing.assert_array_equal(sbuf, expected_sbuf)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seed", range(20))
def test_bursts_in_flight_behind_a_failed_write_are_unsettled(name, seed):
    """As many as the tile keeps in flight, over runs and instructions, with what they write."""
    config = CONFIGS[name]
    rng = Random(f"unsettled {name} {seed}")
    copies = [
        random_descriptor(rng, config, DATA_BYTES, limit=60) | {"accumulate": 0} for _ in range(4)
    ]
    window = (BASE, BASE + DATA_BYTES + 1023)
    runs = [run for fields in copies for run in expand(config, fields, window, Engine.STORE)]
    victim = rng.choice(runs[: len(expand(config, copies[0], window, Engine.STORE))])
    bad = victim.addr + rng.randrange(victim.size)
    result, _, (memory, sbuf) = execute(config, Engine.STORE, copies, bad, seed)
    number, failed = run_until_error(config, Engine.STORE, runs, bad, sbuf, memory)

    expected, span = [], config.bus_bytes * config.max_burst_beats
    for run in runs[number:]:
        image = np.zeros_like(memory)
        move(Engine.STORE, run, sbuf, image)
        address = failed if run is runs[number] else run.addr
        while address < run.addr + run.size:
            end = min(address // span * span + span, run.addr + run.size)
            expected.append((address, image[address - BASE : end - BASE].tobytes()))
            address = end
    unsettled = [(burst.address, burst.data) for burst in result.unsettled]
    assert unsettled == expected[: config.max_writes]


def store(**fields):
    """A copy of 16 words to the first bytes of memory, with changes."""
    return {"mem_addr": BASE, "run": 16, "sbuf_addr": 0, "layout": 0} | fields


def test_nothing_is_unsettled_behind_a_run_that_fails_its_checks():
    config = CONFIGS["small"]
    odd = store(sbuf_addr=1)
    result, *_ = execute(config, Engine.STORE, [store(), odd, store()], BASE, 0)
    assert [burst.address for burst in result.unsettled] == [BASE]


def test_sums_in_flight_behind_a_failed_write_are_unsettled_up_to_one_that_cannot_be_read():
    config = CONFIGS["small"]
    away = store(mem_addr=BASE + 256, accumulate=1)
    back = store(accumulate=1)
    result, _, (memory, sbuf) = execute(config, Engine.STORE, [store(), away, back, away], BASE, 0)
    run = expand(config, away, (BASE, BASE + DATA_BYTES), Engine.STORE)[0]
    move(Engine.STORE, run, sbuf, memory)
    first, second = result.unsettled
    assert (first.address, first.data) == (BASE, sbuf[0, :16].tobytes())
    assert (second.address, second.data) == (BASE + 256, memory[256 : 256 + 32].tobytes())


@pytest.mark.parametrize("trap", ["load", "sums", "window"])
def test_nothing_is_unsettled_without_a_failed_write(trap):
    config = CONFIGS["small"]
    engine = Engine.LOAD if trap == "load" else Engine.STORE
    fields = store(accumulate=int(trap == "sums"))
    if trap == "window":
        fields["mem_addr"] = BASE - 64
    result, *_ = execute(config, engine, [fields, store()], BASE, 0)
    assert result.trap is not None
    assert result.unsettled == ()


@pytest.mark.parametrize(
    ("engine", "accumulate", "cause"),
    [
        (Engine.LOAD, 0, Trap.BUS_SLVERR),
        (Engine.STORE, 1, Trap.BUS_SLVERR),
        (Engine.STORE, 0, Trap.BUS_DECERR),
    ],
)
def test_a_read_fails_as_its_first_bad_beat_and_a_write_as_its_worst(engine, accumulate, cause):
    config = CONFIGS["small"]
    errors = [(BASE + 17, BASE + 17, "slverr"), (BASE + 32, BASE + 32, "decerr")]
    fields = store(run=40, accumulate=accumulate)
    assert execute(config, engine, [fields], errors, 0)[0].trap.cause is cause
    assert execute(config, engine, [fields | {"run": 16}], errors, 0)[0].trap.cause is (
        Trap.BUS_SLVERR
    )
