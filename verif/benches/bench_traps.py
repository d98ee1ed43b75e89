"""Every trap of the tile: recorded as the golden model says, contained, and survived.

The tile is reset once a test. After each bad program a good one runs and is compared in full.
"""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from tegula.isa.assembly import assemble
from tegula.isa.codec import encode
from tegula.isa.instructions import Engine
from tegula.isa.registers import CONTROL_ABORT, Status
from tegula.isa.traps import Trap
from verif.benches.bad_programs import bad_programs, corrupted
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES
from verif.benches.random_programs import RandomProgram, random_program
from verif.benches.random_transfers import random_descriptor
from verif.benches.testbench import config, random_source
from verif.benches.tile_bench import TileBench

WATCHDOG = 300


async def run(
    bench: TileBench, program: RandomProgram, window: tuple[int, int] | None = None, **kw
):
    """Run a program on noise; the outcome."""
    image = program.image(bench.noise)
    _, outcome = await bench.run(
        image, program.start, len(program.code), window=window, watchdog=WATCHDOG, **kw
    )
    return outcome


async def run_good(bench: TileBench, rng: np.random.Generator) -> None:
    """A random program must run well, whatever happened before."""
    outcome = await run(bench, random_program(rng, bench.config, 25))
    assert outcome.trap is None


@cocotb.test()
async def every_cause_is_recorded_and_survived(dut):
    """One bad program after the other, without reset, each followed by a good one."""
    bench, rng = await TileBench.make_settled(dut, "every_cause_is_recorded_and_survived")
    causes = set()
    for number, bad in enumerate(bad_programs(bench.config)):
        bench.shape_traffic((0, 0.1)[number % 2], (0, 30)[number // 2 % 2])
        outcome = await run(bench, RandomProgram(code=bad.code), bad.window)
        assert outcome.trap is not None, f"{bad.name}: no trap"
        found = (outcome.trap.cause, outcome.trap.engine)
        assert found == (bad.cause, bad.engine), f"{bad.name}: {outcome.trap}"
        causes.add(bad.cause)
        await run_good(bench, rng)
    await bench.check_state()
    elsewhere = {Trap.NONE, Trap.ABORTED, Trap.BUS_SLVERR, Trap.BUS_DECERR}
    if not bench.config.packed_fp8:
        elsewhere.add(Trap.PACKED_FORMATS)
    assert causes == set(Trap) - elsewhere


@cocotb.test()
async def corrupted_programs_end_as_in_golden(dut):
    """Random programs with a bit flipped somewhere; most trap, and the record is golden's."""
    bench, rng = await TileBench.make_settled(dut, "corrupted_programs_end_as_in_golden")
    for number in range(150):
        bench.shape_traffic((0, 0.2)[number % 2], (0, 30)[number // 2 % 2])
        program = corrupted(rng, bench.config, random_program(rng, bench.config, 15, serial=True))
        outcome = await run(bench, program)
        cocotb.log.info("%s", outcome.trap)
        if number % 10 == 9:
            await run_good(bench, rng)
    await bench.check_state()
    assert bench.traps > 40 and bench.programs > 40


@cocotb.test()
async def a_trap_of_an_earlier_instruction_comes_first(dut):
    """Loads of the tensor engine run beside its matmuls; a slow trap still comes before a quick."""
    bench, rng = await TileBench.make_settled(dut, "a_trap_of_an_earlier_instruction_comes_first")
    depth = bench.config.sbuf_depth
    for columns in range(2, 40, 3):
        program = assemble(
            "tensor.load rows=1 format=bf16 columns=1 addr=0\n"
            f"tensor.matmul rows=1 format=bf16 addr={depth - columns + 1} columns={columns}"
            " psum_addr=0\n"
            f"tensor.load rows=1 format=bf16 columns=2 addr={depth - 1}\nhalt"
        )
        outcome = await run(bench, RandomProgram(code=program))
        assert outcome.trap is not None and outcome.trap.pc == 16
        await run_good(bench, rng)


@cocotb.test()
async def bus_errors_have_the_address_of_their_burst(dut):
    """Loads and stores at random across beats that answer SLVERR or DECERR, and beyond memory."""
    bench, rng = await TileBench.make_settled(dut, "bus_errors_have_the_address_of_their_burst")
    errors = [(BASE + 0x2A00, BASE + 0x2AC0, "slverr"), (BASE + 0x2D08, BASE + 0x2D90, "decerr")]
    bench.set_errors(errors)
    causes, engines = (Trap.BUS_SLVERR, Trap.BUS_DECERR), (Engine.LOAD, Engine.STORE)
    wanted = {(cause, engine) for cause in causes for engine in engines}
    seen = set()
    for number in range(400):
        if number >= 60 and seen == wanted:
            break
        bench.shape_traffic((0, 0.2)[number % 2], (0, 1, 30)[number % 3])
        engine = engines[number % 2]
        fields = random_descriptor(rng, bench.config, engine, BASE + 0x2900, 0x800)
        code = encode(f"{engine.name.lower()}.dma", **fields) + assemble("halt")
        program = RandomProgram(code=code, start=BASE)
        outcome = await run_around(bench, program)
        if outcome.trap is not None:
            seen.add((outcome.trap.cause, outcome.trap.engine))
            await run_around(bench, RandomProgram(code=assemble("load.sync\nhalt"), start=BASE))
    assert seen == wanted
    assert bench.programs > 5 and bench.unsettled > 5
    bench.set_errors(())
    await bench.check_state()


async def run_around(bench: TileBench, program: RandomProgram):
    """Run a program that lies before the data, in memory that ends inside the window."""
    image = bench.noise(DATA_BYTES)
    image[: len(program.code)] = np.frombuffer(program.code, np.uint8)
    window = (BASE, BASE + 2 * DATA_BYTES)
    _, outcome = await bench.run(image, BASE, len(program.code), window=window, watchdog=WATCHDOG)
    return outcome


@cocotb.test()
async def a_fetch_that_fails_stops_behind_the_last_good_instruction(dut):
    """Programs that run into a bad beat, at every distance."""
    rng = random_source("a_fetch_that_fails_stops_behind_the_last_good_instruction")
    bad = BASE + 0x1000
    bench = await TileBench.make(dut, config(), rng, [(bad, bad + 3, "slverr")])
    causes = set()
    for granules in range(0, 48, 3):
        bench.shape_traffic((0, 0.2)[granules % 2], (0, 30)[granules // 2 % 2])
        start = (bad - 16 * granules) // 64 * 64
        image = bench.noise(0x1400)
        code = assemble("load.sync signal(0+=1)\n" * 60 + "halt")
        image[start - BASE :][: len(code)] = np.frombuffer(code, np.uint8)
        _, outcome = await bench.run(image, start, len(code), watchdog=WATCHDOG)
        assert outcome.trap is not None and outcome.trap.cause is Trap.BUS_SLVERR
        code = assemble("load.sync\nhalt")
        image[: len(code)] = np.frombuffer(code, np.uint8)
        _, outcome = await bench.run(image, BASE, len(code), watchdog=WATCHDOG)
        assert outcome.trap is None
        causes.add(granules)
    assert len(causes) == bench.traps == bench.programs == 16


@cocotb.test()
async def abort_stops_a_program_at_any_time(dut):
    """Whatever is under way, the tile comes to rest, and the next programs run well."""
    rng = random_source("abort_stops_a_program_at_any_time")
    bench = await TileBench.make(dut, config(), rng)
    aborted = 0
    for number in range(12):
        bench.shape_traffic((0, 0.2, 0.4)[number % 3], (0, 5, 50)[number // 3 % 3])
        program = random_program(rng, bench.config, 40)
        image = program.image(bench.noise)
        memory = bench.memory
        memory.content = image.copy()
        window = (BASE, BASE + len(image) - 1)
        await bench.host.start(program.start, len(program.code), window, WATCHDOG)
        await ClockCycles(dut.clk, int(rng.integers(1, 1500)))
        await bench.host.write("CONTROL", CONTROL_ABORT)
        await bench.host.wait(5000)
        outcome = await bench.host.outcome()
        if outcome.trap is not None:
            assert (outcome.trap.cause, outcome.trap.engine) == (Trap.ABORTED, Engine.CONTROL)
            aborted += 1
        else:
            size = len(program.code)
            bench.golden.run(image, program=program.start, program_bytes=size, base=BASE)
            assert (memory.content == image).all()
        assert (memory.content[DATA_BYTES:] == image[DATA_BYTES:]).all()
        assert not await bench.host.read("STATUS") >> Status.BUSY & 1
        bench.shape_traffic(0, 0)
        await bench.settle()
        await run_good(bench, rng)
    assert aborted > 6
