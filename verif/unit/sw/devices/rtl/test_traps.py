"""The compiled tile against the functional simulator on every trap, without a reset in between."""

import numpy as np
import pytest

from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.registers import CONTROL_ABORT
from tegula.isa.traps import Trap
from tegula_golden.tile.job import Job
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.device import RtlDevice
from verif.support.trap_programs import (
    BASE,
    DATA,
    LOAD,
    MEMORY_BYTES,
    PROGRAM,
    SMALL,
    STORE,
    TRAPS,
    assert_a_good_program_runs,
    assert_trap,
    assert_traps_by_name,
    run,
)

pytestmark = pytest.mark.slow  # the tile `small`; the regression has the same traps on `tiny`


@pytest.fixture(scope="module")
def tile():
    """One tile for the whole module: it must survive all of it."""
    device = RtlDevice(SMALL, mem_latency=20, max_cycles=100_000)
    yield device
    device.close()


@pytest.mark.parametrize("name", TRAPS)
def test_a_trap_is_recorded_and_the_next_program_runs(tile, name):
    assert_traps_by_name(tile, name, watchdog=200)


@pytest.mark.parametrize("text", ["load.sync", "load.sync\ntensor.sync signal(1+=1)"])
def test_a_program_without_halt_ends_behind_its_last_byte(tile, text):
    program = assemble(text)
    assert_trap(run(tile, program), (Trap.PROGRAM_END, Engine.CONTROL, len(program), 0))
    assert_a_good_program_runs(tile)


def test_an_empty_program_is_illegal(tile):
    for device in (GoldenTile(SMALL), tile):
        result = run(device, assemble("halt"), program_bytes=0)
        assert_trap(result, (Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0))
    assert_a_good_program_runs(tile)


@pytest.mark.parametrize("bad_bytes", [8, 24])
def test_a_program_of_half_a_granule_is_refused(tile, bad_bytes):
    for device in (GoldenTile(SMALL), tile):
        with pytest.raises(ValueError, match=f"multiple of 16, not {bad_bytes}"):
            run(device, assemble("load.sync\nhalt"), program_bytes=bad_bytes)
    assert_a_good_program_runs(tile)


def test_a_program_outside_the_window_is_not_fetched(tile):
    window = (BASE, PROGRAM - 1)
    result = run(tile, assemble("halt"), window=window)
    assert_trap(result, (Trap.MEMORY_WINDOW, Engine.CONTROL, 0, PROGRAM))
    assert_a_good_program_runs(tile)


@pytest.mark.parametrize(
    ("kind", "cause"), [("slverr", Trap.BUS_SLVERR), ("decerr", Trap.BUS_DECERR)]
)
@pytest.mark.parametrize(("mnemonic", "engine"), [(LOAD, Engine.LOAD), (STORE, Engine.STORE)])
def test_a_bus_error_has_the_address_of_its_burst_as_in_golden(mnemonic, engine, kind, cause):
    burst_bytes = SMALL.max_burst_beats * SMALL.bus_bytes
    start = DATA + 0x400
    bad = start + 2 * burst_bytes + 40
    errors = [(bad, bad, kind)]
    text = f"{mnemonic} mem_addr={start + 6} run=1000 sbuf_addr=64\nhalt"
    device = RtlDevice(SMALL, mem_latency=7, errors=errors, max_cycles=100_000)
    expected = run(GoldenTile(SMALL, errors=errors), assemble(text)).trap
    assert expected.cause is cause
    result = run(device, assemble(text))
    assert result.trap == expected
    assert result.trap.engine is engine
    assert_a_good_program_runs(device)
    device.close()


@pytest.mark.parametrize("delay", [1, 7, 30, 60, 120, 150])
def test_abort_ends_a_program_at_any_time(tile, delay):
    memory = np.zeros(MEMORY_BYTES, np.uint8)
    program = assemble(
        f"load.dma layout=free mem_addr={DATA} run=2000 sbuf_addr=0 signal(0+=1)\n"
        f"store.dma layout=free mem_addr={DATA} run=2000 sbuf_addr=0 consume(0>=1)\nhalt"
    )
    memory[PROGRAM - BASE :][: len(program)] = np.frombuffer(program, np.uint8)
    tile.start(Job(memory=memory, base=BASE, program=PROGRAM, program_bytes=len(program)))
    tile.step(delay)
    tile.write_register("CONTROL", CONTROL_ABORT)
    result = tile.wait()
    assert_trap(result, (Trap.ABORTED, Engine.CONTROL, 0, 0))
    assert_a_good_program_runs(tile)
