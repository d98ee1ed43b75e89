"""Bus errors on the compiled tile and in the functional simulator leave the same bits behind."""

from random import Random

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.codec import encode
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.program.ordering import assemble_ordered
from verif.support.dma_models import BASE, expand
from verif.support.dma_programs import random_descriptor

TINY = preset("tiny")
DATA_BYTES = 4096
FAR = 0x10_0000
"""Where programs without errors have their memory."""

PROGRAM = 2 * TINY.n * TINY.sbuf_depth


def run_far(tile, engine, memory):
    """Copy the whole scratchpad from memory or into it."""
    code = assemble_ordered(TINY, [image_transfer(TINY, engine, TINY.sbuf_depth, FAR)])
    memory[PROGRAM:][: len(code)] = np.frombuffer(code, np.uint8)
    result = tile.run(memory, base=FAR, program=FAR + PROGRAM, program_bytes=len(code))
    assert result.trap is None


def run_near(code, errors, seed=0, window=None):
    """Run a program on both devices; (trap, memory, scratchpad) of each, and golden's outcome."""
    rng = np.random.default_rng(seed)
    before = rng.integers(0, 256, DATA_BYTES + 1024).astype(np.uint8)
    before[DATA_BYTES:][: len(code)] = np.frombuffer(code, np.uint8)
    image = rng.integers(0, 256, PROGRAM + 1024).astype(np.uint8)
    golden = GoldenTile(TINY, errors=errors)
    rtl = RtlDevice(TINY, mem_latency=7, stall=0.1, seed=seed, errors=errors, max_cycles=200_000)
    left = []
    for tile in (rtl, golden):
        run_far(tile, Engine.LOAD, image.copy())
        memory, dump = before.copy(), image.copy()
        result = tile.run(
            memory, base=BASE, program=BASE + DATA_BYTES, program_bytes=len(code), window=window
        )
        run_far(tile, Engine.STORE, dump)
        left.append((result.trap, memory, dump))
    rtl.close()
    return left, result, before, image


def assert_alike(left, unsettled=()):
    """Compare what the two devices left behind, but for unsettled bursts."""
    (rtl_trap, rtl_memory, rtl_sbuf), (trap, memory, sbuf) = left
    assert rtl_trap == trap
    settled = np.ones(len(memory), bool)
    for burst in unsettled:
        settled[burst.address - BASE :][: len(burst.data)] = False
    np.testing.assert_array_equal(rtl_memory[settled], memory[settled])
    np.testing.assert_array_equal(rtl_sbuf, sbuf)


@pytest.mark.parametrize(("bad", "words"), [(0x1108, 0), (0x1110, 4), (0x1100, 0)])
def test_a_load_writes_the_chunks_before_the_bad_beat(bad, words):
    text = "load.dma layout=free mem_addr=0x1102 run=8 sbuf_addr=0\nhalt"
    left, _, before, image = run_near(assemble(text), [(bad, bad, "slverr")])
    assert_alike(left)
    sbuf = left[0][2][: 2 * TINY.sbuf_depth]
    np.testing.assert_array_equal(sbuf[: 2 * words], before[0x102:][: 2 * words])
    np.testing.assert_array_equal(sbuf[2 * words :], image[2 * words : 2 * TINY.sbuf_depth])


@pytest.mark.parametrize("engine", [Engine.LOAD, Engine.STORE], ids=lambda engine: engine.name)
def test_memory_that_ends_inside_a_run_is_a_decode_error(engine):
    end = BASE + DATA_BYTES + 1024
    text = f"{engine.name.lower()}.dma layout=free mem_addr={end - 301} run=200 sbuf_addr=0\nhalt"
    left, result, *_ = run_near(assemble(text), [], window=(0, (1 << 48) - 1))
    assert (result.trap.cause, result.trap.address) == (Trap.BUS_DECERR, end)
    assert_alike(left, result.unsettled)


@pytest.mark.parametrize("engine", [Engine.LOAD, Engine.STORE], ids=lambda engine: engine.name)
@pytest.mark.parametrize("seed", range(12))
def test_a_random_transfer_that_fails_leaves_the_same_on_both(engine, seed):
    """Two instructions after each other, the first of which fails somewhere."""
    rng = Random(f"bus error {engine.name} {seed}")
    fields = [random_descriptor(rng, TINY, DATA_BYTES, limit=900) for _ in range(2)]
    runs = expand(TINY, fields[0], (BASE, BASE + DATA_BYTES - 1), engine)
    victim = rng.choice(runs)
    bad = victim.addr + rng.choice((0, victim.size - 1, rng.randrange(victim.size)))
    code = b"".join(encode(f"{engine.name.lower()}.dma", **f) for f in fields) + encode("halt")
    kind = rng.choice(("slverr", "decerr"))
    left, result, *_ = run_near(code, [(bad, bad + rng.randrange(20), kind)], seed)
    assert result.trap is not None
    assert_alike(left, result.unsettled)
