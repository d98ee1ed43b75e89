"""The tile on memories that make its channels wait for each other, that fail, and that are reset.

Each test runs whole programs to golden equality, and sees that its coupling did hold channels back.
"""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from tegula.formats import BF16, E4M3FN
from tegula.isa.assembly import assemble
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.registers import CONTROL_ABORT
from tegula.isa.traps import Trap
from verif.benches.coupled_memory import CoupledMemory
from verif.benches.couplings import (
    COUPLINGS,
    AddressAfterData,
    AddressWithData,
    Coupling,
    DataAfterAddress,
    Interleaved,
    LateAnswers,
    OneAtATime,
    ReadsFirst,
    Spells,
    WritesFirst,
)
from verif.benches.faulty_programs import random_errors, random_tail
from verif.benches.gemm_runs import run_gemm
from verif.benches.host import ProgramOutcome
from verif.benches.memory_map import BASE
from verif.benches.random_programs import RandomProgram, random_program
from verif.benches.register_traffic import access_registers
from verif.benches.testbench import config, random_source, tests_of
from verif.benches.tile_bench import TileBench

WATCHDOG = 300
ELEMENTS = 117
"""On a bus of 8 bytes: a burst and seven eighths, whose read waits for the first sums."""

COUPLED = {
    "reads_are_served_first": (ReadsFirst(), 200),
    "writes_are_served_first": (WritesFirst(), 200),
    "one_transaction_at_a_time": (OneAtATime(), 1000),
    "an_address_waits_for_the_first_beat": (AddressWithData(), 100),
    "an_address_waits_for_the_last_beat": (AddressAfterData(), 500),
    "a_beat_waits_for_its_address": (DataAfterAddress(), 200),
    "answers_come_thousands_of_cycles_late": (LateAnswers(), 10_000, 4),
    "reads_of_different_ids_interleave": (Interleaved(), 100),
    "channels_rest_for_hundreds_of_cycles": (Spells(), 10_000, 4),
}
"""Tests of `run_coupled`: coupling, least cycles that it must hold back, and programs."""


async def make(dut, name: str) -> tuple[TileBench, np.random.Generator]:
    """A bench whose memory can be coupled, in a known state."""
    rng = random_source(name)
    memory = CoupledMemory(dut, config(), BASE, int(rng.integers(1 << 32)))
    bench = await TileBench.make(dut, config(), rng, memory=memory)
    await bench.settle()
    return bench, rng


async def run(bench: TileBench, code: bytes) -> ProgramOutcome:
    """Run a program on noise; memory must have answered everything when the interrupt comes."""
    program = RandomProgram(code=code)
    image = program.image(bench.noise)
    _, outcome = await bench.run(image, program.start, len(code), watchdog=WATCHDOG)
    assert bench.memory.drained
    return outcome


async def run_well(bench: TileBench, code: bytes) -> None:
    """A program that must reach `halt`."""
    outcome = await run(bench, code)
    assert outcome.trap is None


async def add_to_memory(bench: TileBench) -> None:
    """Load numbers and add them to memory, burst by burst, beside more loads."""
    run_fields = f"layout=free run={ELEMENTS}"
    code = assemble(
        f"load.dma {run_fields} mem_addr={BASE} sbuf_addr=0 signal(0+=1)\n"
        f"load.dma {run_fields} mem_addr={BASE + 512} sbuf_addr=256 count1=3 sbuf_stride1=256"
        " mem_stride1=300\n"
        f"store.dma {run_fields} mem_addr={BASE + 0x1000} sbuf_addr=0 accumulate=bf16"
        " wait(0>=1)\nhalt"
    )
    await run_well(bench, code)


async def multiply(bench: TileBench, rng: np.random.Generator) -> None:
    """A GEMM: as `add_to_memory` it takes nothing from what the tile held before."""
    shape = tuple(int(size) for size in rng.integers(3, 2 * bench.config.n, 3))
    await run_gemm(bench, rng, shape, (BF16, E4M3FN, BF16), kind="normal", saturate=False)
    assert bench.memory.drained


async def begin_random(dut, bench: TileBench, rng: np.random.Generator) -> None:
    """Start a random program, and let some of it pass."""
    program = random_program(rng, bench.config, 60)
    bench.memory.content = program.image(bench.noise)
    window = (BASE, BASE + len(bench.memory.content) - 1)
    await bench.host.start(program.start, len(program.code), window, WATCHDOG)
    await ClockCycles(dut.clk, int(rng.integers(1, 1000)))


async def run_coupled(dut, name: str, coupling: Coupling, least: int, programs: int = 16) -> None:
    """Sums in memory, random programs, an abort and a GEMM, all on a coupled memory."""
    bench, rng = await make(dut, name)
    bench.memory.coupling = coupling
    for number in range(programs):
        bench.shape_traffic((0, 0.2)[number % 2], (0, 12)[number // 2 % 2])
        await add_to_memory(bench)
        await run_well(bench, random_program(rng, bench.config, 30).code)
    await begin_random(dut, bench, rng)
    await bench.host.write("CONTROL", CONTROL_ABORT)
    await bench.host.wait(5000 * coupling.slowness)
    assert bench.memory.drained
    await bench.host.outcome()
    await multiply(bench, rng)
    await add_to_memory(bench)
    assert bench.programs == 2 * programs + 3
    cocotb.log.info("%d cycles were coupled", bench.memory.coupled)
    assert bench.memory.coupled >= least, f"only {bench.memory.coupled} cycles were coupled"


globals().update(tests_of(run_coupled, COUPLED))


@cocotb.test()
async def random_beats_fail(dut):
    """Loads, sums, stores and fetches: record, memory and state are golden's."""
    bench, rng = await make(dut, "random_beats_fail")
    quick = [coupling for coupling in COUPLINGS if coupling.slowness < 10]
    causes, engines = (
        (Trap.BUS_SLVERR, Trap.BUS_DECERR),
        (Engine.CONTROL, Engine.LOAD, Engine.STORE),
    )
    wanted, seen = {(cause, engine) for cause in causes for engine in engines}, set()
    for number in range(400):
        if number >= 60 and seen == wanted:
            break
        bench.memory.coupling = quick[number % len(quick)]()
        bench.shape_traffic((0, 0.2)[number % 2], (0, 1, 30)[number % 3])
        program = random_program(rng, bench.config, 12, serial=True)
        bench.set_errors(random_errors(rng, program.code, program.start))
        outcome = await run(bench, program.code)
        if outcome.trap is not None:
            seen.add((outcome.trap.cause, outcome.trap.engine))
        if number % 20 == 19:
            bench.set_errors(())
            await bench.check_state()
    assert seen == wanted
    assert bench.unsettled > 5 and bench.traps > 40


@cocotb.test()
async def reset_is_possible_at_any_time(dut):
    """Tile and memory are reset amid a program; the next ones do not see any of it."""
    bench, rng = await make(dut, "reset_is_possible_at_any_time")
    busy = 0
    for number in range(36):
        bench.memory.coupling = COUPLINGS[number % len(COUPLINGS)]()
        bench.shape_traffic((0, 0.2)[number % 2], (0, 12)[number // 2 % 2])
        await begin_random(dut, bench, rng)
        busy += not bench.memory.drained
        dut.rst.value = 1
        await ClockCycles(dut.clk, 2)
        dut.rst.value = 0
        await ClockCycles(dut.clk, 1)
        assert bench.memory.drained and not dut.irq.value
        bench.memory.coupling = Coupling()
        await (add_to_memory(bench) if number % 2 else multiply(bench, rng))
    assert busy > 7


@cocotb.test()
async def registers_are_accessed_while_programs_run(dut):
    """The host reads and writes every register and rings the doorbell: nothing comes of it."""
    bench, rng = await make(dut, "registers_are_accessed_while_programs_run")
    for number in range(6):
        bench.shape_traffic((0, 0.2)[number % 2], (0, 12)[number // 2 % 2])
        traffic = cocotb.start_soon(access_registers(bench.host, rng))
        await run_well(bench, random_program(rng, bench.config, 60).code)
        assert traffic.done()
        await traffic


@cocotb.test()
async def random_bytes_end_as_in_golden(dut):
    """Random bytes behind a few good instructions, and alone."""
    bench, rng = await make(dut, "random_bytes_end_as_in_golden")
    causes = set()
    free_semaphores = range(len(ENGINES), bench.config.semaphores)
    for number in range(60):
        bench.memory.coupling = (Coupling, OneAtATime, Interleaved, ReadsFirst)[number % 4]()
        bench.shape_traffic((0, 0.2)[number % 2], (0, 30)[number // 2 % 2])
        code = random_program(rng, bench.config, 4, serial=True).code if number % 3 else b""
        outcome = await run(bench, code[:-16] + random_tail(rng, free_semaphores))
        causes.add(outcome.trap.cause)
    await bench.check_state()
    assert causes >= {Trap.ILLEGAL_OPCODE, Trap.ILLEGAL_FIELD, Trap.PROGRAM_END, Trap.DEADLOCK}
