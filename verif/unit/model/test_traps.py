"""Every trap cause in the functional simulator: its record, what stands, a good program after."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from verif.support.trap_programs import (
    BASE,
    COPY,
    DATA,
    LOAD,
    MEMORY_BYTES,
    OUTSIDE,
    PROGRAM,
    SBUF,
    SMALL,
    STORE,
    TRAPS,
    assert_a_good_program_runs,
    assert_trap,
    assert_traps_by_name,
    run,
)


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_recorded_and_the_next_program_runs(name):
    tile = GoldenTile(SMALL)
    assert_a_good_program_runs(tile)
    assert_traps_by_name(tile, name)


def test_the_table_has_every_cause_that_a_program_alone_can_have():
    elsewhere = {
        Trap.NONE,
        Trap.ABORTED,
        Trap.BUS_SLVERR,
        Trap.BUS_DECERR,
        Trap.PROGRAM_END,
    }
    assert {expected[0] for _, expected in TRAPS.values()} == set(Trap) - elsewhere


@pytest.mark.parametrize("text", ["", "load.sync signal(0+=1)\n"])
def test_a_program_without_halt_ends_behind_its_last_byte(text):
    tile = GoldenTile(SMALL)
    program = assemble(text + "load.sync")
    assert_trap(run(tile, program), (Trap.PROGRAM_END, Engine.CONTROL, len(program), 0))
    assert_a_good_program_runs(tile)


def test_an_instruction_that_the_program_cuts_short_is_its_end():
    program = assemble(f"{LOAD} mem_addr={DATA} run=1 sbuf_addr=0")
    for size in (16, 32, 48):
        result = run(GoldenTile(SMALL), program, program_bytes=size)
        assert_trap(result, (Trap.PROGRAM_END, Engine.CONTROL, size, 0))


def test_what_comes_before_an_end_without_halt_is_done():
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    tile = GoldenTile(SMALL)
    tile.write_sbuf(0, np.full((8, 8), 0x1234, np.uint16))
    result = run(tile, assemble(f"{STORE} mem_addr={DATA} run=4 sbuf_addr=0"), memory)
    assert result.trap.cause is Trap.PROGRAM_END
    assert memory[DATA - BASE :][:8].tobytes() == b"\x34\x12" * 4


@pytest.mark.parametrize("size", [0, (16 << 20) + 16, (1 << 32) - 16])
def test_a_program_that_is_empty_or_above_16_mib_is_illegal(size):
    result = run(GoldenTile(SMALL), assemble("halt"), program_bytes=size)
    assert_trap(result, (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0))
    assert result.read_beats == 0


def test_a_program_outside_the_window_is_not_fetched():
    halt = assemble("load.sync\nhalt")
    for window in ((PROGRAM + 1, OUTSIDE - 1), (BASE, PROGRAM + 30)):
        tile = GoldenTile(SMALL)
        result = run(tile, halt, window=window)
        assert_trap(result, (Trap.MEMORY_WINDOW, Engine.CONTROL, 0, PROGRAM))
        assert result.read_beats == 0
        assert_a_good_program_runs(tile)
    assert run(tile, halt, window=(PROGRAM, PROGRAM + 31)).trap is None


def test_a_fetch_beyond_memory_traps_where_the_program_needs_it():
    tile = GoldenTile(SMALL)
    last = OUTSIDE - 64
    window = (0, (1 << 40) - 1)
    program = assemble("load.sync\n" * 4)
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    memory[-64:] = np.frombuffer(program, np.uint8)
    result = tile.run(memory, program=last, program_bytes=128, base=BASE, window=window)
    assert_trap(result, (Trap.BUS_DECERR, Engine.CONTROL, 64, OUTSIDE))
    memory[-16:] = np.frombuffer(assemble("halt"), np.uint8)
    result = tile.run(memory, program=last, program_bytes=128, base=BASE, window=window)
    assert result.trap is None
    assert_a_good_program_runs(tile)


@pytest.mark.parametrize(("mnemonic", "engine"), [("load", Engine.LOAD), ("store", Engine.STORE)])
def test_a_burst_that_memory_does_not_answer_is_a_decode_error(mnemonic, engine):
    tile = GoldenTile(SMALL)
    program = assemble(f"{mnemonic}.dma layout=free mem_addr={OUTSIDE} run=8 sbuf_addr=0\nhalt")
    result = run(tile, program, window=(0, (1 << 40) - 1))
    assert_trap(result, (Trap.BUS_DECERR, engine, 0, OUTSIDE))
    assert_a_good_program_runs(tile)


@pytest.mark.parametrize("cause", [Trap.BUS_SLVERR, Trap.BUS_DECERR])
@pytest.mark.parametrize(("mnemonic", "engine"), [("load", Engine.LOAD), ("store", Engine.STORE)])
def test_an_error_of_memory_has_the_address_of_its_burst(mnemonic, engine, cause):
    name = {Trap.BUS_SLVERR: "slverr", Trap.BUS_DECERR: "decerr"}[cause]
    burst_bytes = SMALL.max_burst_beats * SMALL.bus_bytes
    bad = BASE + 4 * burst_bytes
    tile = GoldenTile(SMALL, errors=[(bad + 40, bad + 40, name)])
    program = f"{mnemonic}.dma layout=free mem_addr={{}} run=512 sbuf_addr=0\nhalt"
    result = run(tile, assemble(program.format(bad - 100)))
    assert_trap(result, (cause, engine, 0, bad))
    result = run(tile, assemble(program.format(bad + 38)))
    assert_trap(result, (cause, engine, 0, bad + 38))
    assert run(tile, assemble(program.format(bad + 48))).trap is None
    assert_a_good_program_runs(tile)


def test_an_error_of_memory_under_the_program_traps_where_it_is_needed():
    tile = GoldenTile(SMALL, errors=[(PROGRAM + 40, PROGRAM + 40, "slverr")])
    result = run(tile, assemble("load.sync\n" * 3 + "halt"))
    assert_trap(result, (Trap.BUS_SLVERR, Engine.CONTROL, 32, PROGRAM))
    assert run(tile, assemble("load.sync\nhalt")).trap is None
    dma = f"{LOAD} mem_addr={DATA} run=1 sbuf_addr=0"
    result = run(tile, assemble(f"{dma}\nhalt"))
    assert_trap(result, (Trap.BUS_SLVERR, Engine.CONTROL, 32, PROGRAM))


@pytest.mark.parametrize("error", [(2, 1, "slverr"), (-1, 1, "slverr"), (0, 1, "okay")])
def test_malformed_errors_are_refused(error):
    with pytest.raises(ValueError, match=r"errors must be \(first, last >= first"):
        GoldenTile(SMALL, errors=[error])


def test_steps_before_the_trap_stand_and_later_ones_are_not_done():
    tile = GoldenTile(SMALL)
    tile.write_sbuf(0, np.full((8, SBUF), 0x3F80, np.uint16))
    program = f"""tensor.load rows=8 format=bf16 columns=8 addr=0
                  tensor.matmul rows=8 format=bf16 addr={SBUF - 5} columns=9 psum_addr=0
                  halt"""
    assert_trap(run(tile, assemble(program)), (Trap.SBUF_RANGE, Engine.TENSOR, 16, SBUF))
    assert tile.read_psum(0, 9).exponent.astype(bool)[0].tolist() == [True] * 5 + [False] * 4

    copy = f"{COPY} x_source=sbuf x_stride=2 dst={SBUF - 3} columns=5\nhalt"
    assert_trap(run(tile, assemble(copy)), (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF))
    assert (tile.read_sbuf(SBUF - 4, 4)[0] == [0x3F80] * 4).all()
    tile.write_sbuf(0, np.full((8, 8), 0x4000, np.uint16))
    assert_trap(run(tile, assemble(copy)), (Trap.SBUF_RANGE, Engine.VECTOR, 0, SBUF))
    assert (tile.read_sbuf(SBUF - 4, 4)[0] == [0x3F80] + [0x4000] * 3).all()


def test_engines_without_the_trap_do_nothing_after_it():
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    tile = GoldenTile(SMALL)
    tile.write_sbuf(0, np.full((8, 8), 0x1234, np.uint16))
    program = f"""vector.compute rows=1 format=bf16 dst=0 columns=1 signal(0+=1)
                  store.dma layout=free mem_addr={DATA} run=4 sbuf_addr=0 wait(0>=1)
                  halt"""
    assert run(tile, assemble(program), memory).trap.cause is Trap.PSUM_UNWRITTEN
    assert not memory[: PROGRAM - BASE].any()


def test_packed_formats_that_are_no_pair_trap_before_the_first_column():
    tile = GoldenTile(SMALL)
    program = assemble(
        """
        tensor.load rows=8 format=e5m2 packed=1 columns=8 addr=0
        tensor.matmul rows=8 format=e4m3fn packed=1 addr=8 columns=4 psum_addr=0
        tensor.matmul rows=8 format=e5m2 addr=8 columns=4 psum_addr=4
        tensor.matmul rows=8 format=e5m2 packed=1 addr=16383 columns=4 psum_addr=8
        halt
        """
    )
    assert_trap(run(tile, program), (Trap.PACKED_FORMATS, Engine.TENSOR, 48, 16383))


def test_a_tile_without_packed_operands_refuses_them():
    for line in (
        "tensor.load rows=8 format=e5m2 packed=1 columns=8 addr=0",
        "tensor.matmul rows=8 format=e5m2 packed=1 addr=8 columns=4 psum_addr=0",
    ):
        program = assemble(line)
        expected = (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0)
        assert_trap(run(GoldenTile(preset("ecp5")), program), expected)
        wide = assemble(line.replace("e5m2", "bf16"))
        assert_trap(run(GoldenTile(SMALL), wide), expected)
