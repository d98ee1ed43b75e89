"""Loops, registers and relative fields of the functional tile, against unrolled programs."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.instructions import INSTRUCTIONS, LOOP_DEPTH, Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.fetch import FetchedBeats
from tegula_golden.tile.simulator import GoldenTile
from verif.benches.looped_programs import looped_code, looped_ops, table_bytes
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES
from verif.oracles.unrolled import unrolled
from verif.support.loop_programs import DATA, LOOPED, PROGRAM, TRAPPING, image, read

TINY = preset("tiny")
CONTROL = Engine.CONTROL


@pytest.mark.parametrize("name", LOOPED)
def test_a_program_with_loops_does_what_its_unrolled_one_does(name):
    code = assemble(LOOPED[name])
    memory, straight = image(code), image(code)
    result = GoldenTile(TINY).run(memory, program=PROGRAM, program_bytes=len(code))
    assert result.trap is None, result.trap
    plain = unrolled(code, lambda address, size: read(straight, address, size))
    expected = np.append(straight[:PROGRAM], np.frombuffer(plain, np.uint8))
    before = expected[:PROGRAM].copy()
    GoldenTile(TINY).run(expected, program=PROGRAM, program_bytes=len(plain))
    assert (memory[:PROGRAM] == expected[:PROGRAM]).all()
    assert (memory[DATA:PROGRAM] != before[DATA:]).any()


@pytest.mark.parametrize("name", TRAPPING)
def test_a_program_traps_where_its_loop_or_its_sum_is_wrong(name):
    text, expected = TRAPPING[name]
    code = assemble(text)
    memory = image(code)
    before = memory.copy()
    trap = GoldenTile(TINY).run(memory, program=PROGRAM, program_bytes=len(code)).trap
    assert trap is not None
    assert (trap.cause, trap.engine, trap.pc, trap.address) == expected
    assert (memory == before).all()


def test_every_relative_field_has_a_slot():
    counts = {row.mnemonic: len(row.relative_fields) for row in INSTRUCTIONS}
    assert {name: count for name, count in counts.items() if count} == {
        "control.read": 1,
        "tensor.load": 1,
        "tensor.scales": 1,
        "vector.quantise": 5,
        "tensor.matmul": 2,
        "vector.compute": 5,
        "vector.generator": 1,
        "activation.apply": 5,
        "activation.table": 1,
        "load.dma": 2,
        "store.dma": 2,
    }


def test_a_read_sees_the_store_that_it_waits_for():
    """The number of iterations is what an earlier instruction has stored."""
    text = f"""
        load.dma layout=free mem_addr={DATA} run=4 sbuf_addr=0 signal(0+=1)
        store.dma layout=free mem_addr={DATA + 64} run=4 sbuf_addr=0 wait(0>=1) signal(1+=1)
        control.read mem_addr={DATA + 64} bytes8=1 register=2 consume(1>=1)
        control.loop from_register=1 register=2
        control.relative enable0=1 register0=3
        store.dma layout=free mem_addr={DATA + 128} run=1 sbuf_addr=0
        control.add register=3 source=3 value=2
        control.end
        halt"""
    code = assemble(text)
    memory = image(code)
    memory[DATA : DATA + 8] = np.frombuffer((5 | 7 << 48).to_bytes(8, "little"), np.uint8)
    memory[DATA + 64 :][:128] = 0
    result = GoldenTile(TINY).run(memory, program=PROGRAM, program_bytes=len(code))
    assert result.trap is None
    assert memory[DATA + 128 :][:12].view("<u2").tolist() == [5] * 5 + [0]


def test_the_window_holds_what_is_read():
    code = assemble(f"control.read mem_addr={DATA} register=1\nhalt")
    for first, cause in ((DATA, None), (DATA + 1, Trap.MEMORY_WINDOW)):
        tile = GoldenTile(TINY)
        window = (first, PROGRAM + len(code) - 1)
        trap = tile.run(image(code), program=PROGRAM, program_bytes=len(code), window=window).trap
        assert (trap and (trap.cause, trap.engine, trap.pc, trap.address)) == (
            cause and (cause, CONTROL, 0, DATA)
        )


@pytest.mark.parametrize("response", ["slverr", "decerr"])
def test_an_error_of_memory_traps_the_read(response):
    code = assemble(f"load.sync\ncontrol.read mem_addr={DATA + 12} register=1\nhalt")
    tile = GoldenTile(TINY, errors=[(DATA + 8, DATA + 8, response)])
    trap = tile.run(image(code), program=PROGRAM, program_bytes=len(code)).trap
    cause = {"slverr": Trap.BUS_SLVERR, "decerr": Trap.BUS_DECERR}[response]
    assert trap is not None
    assert (trap.cause, trap.engine, trap.pc, trap.address) == (cause, CONTROL, 16, DATA + 12)


def test_beats_of_a_body_that_is_kept_are_fetched_once():
    config = preset("tiny", max_burst_beats=4)
    body = config.body_granules
    for granules, again in ((body, False), (body + 1, True)):
        beats = FetchedBeats(config, 0x40, 2000)
        once = beats.count
        beats.jump(700 + granules - 1, 700)
        assert (beats.count > once) == again
    assert once == 4000


def test_as_many_loops_as_can_be_open_are():
    nested = "control.loop count=2\n" * LOOP_DEPTH + "load.sync signal(0+=1)\n"
    text = nested + "control.end\n" * LOOP_DEPTH + "halt"
    tile = GoldenTile(TINY)
    code = assemble(text)
    assert tile.run(image(code), program=PROGRAM, program_bytes=len(code)).trap is None
    assert tile.semaphores[0] == 2**LOOP_DEPTH


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_do_what_their_unrolled_ones_do(seed):
    rng = np.random.default_rng(seed)
    start = BASE + DATA_BYTES
    code = looped_code(TINY, looped_ops(rng, TINY, 25), start) + table_bytes()
    memory = rng.integers(0, 256, DATA_BYTES + len(code)).astype(np.uint8)
    memory[DATA_BYTES:] = np.frombuffer(code, np.uint8)
    plain = unrolled(code, lambda address, size: read(memory, address - BASE, size))
    straight = np.append(memory[:DATA_BYTES], np.frombuffer(plain, np.uint8))
    tiles = GoldenTile(TINY), GoldenTile(TINY)
    for tile, image_of, size in zip(
        tiles, (memory, straight), (len(code), len(plain)), strict=True
    ):
        assert tile.run(image_of, program=start, program_bytes=size, base=BASE).trap is None
    assert (memory[:DATA_BYTES] == straight[:DATA_BYTES]).all()
    depth = TINY.sbuf_depth
    assert (tiles[0].read_sbuf(0, depth) == tiles[1].read_sbuf(0, depth)).all()
