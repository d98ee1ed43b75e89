"""Loops, registers and sums of the whole front end, against the functional one."""

import random

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, PAYLOAD_OFFSET, Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.bus import Bus
from tegula_golden.tile.front_end import FrontEnd, Stop
from verif.support.control_bench import (
    DONE,
    HALT,
    NO_TRAP,
    PROGRAM,
    TRAPPED,
    WINDOW,
    ControlBench,
    run_good_program,
    sync,
)
from verif.support.loop_programs import TRAPPING
from verif.support.loop_stimuli import COUNTS, random_loops

TENSOR, VECTOR, ACTIVATION, LOAD, STORE = ENGINES
TINY = preset("tiny")
TABLE = WINDOW[0]
CONFIGS = {
    bus: preset("tiny", axi_data_width=bus, axi_addr_width=40, max_burst_beats=4, loop_granules=64)
    for bus in (64, 128, 256, 512)
}


def memory_of(config, code):
    """Memory from the window's first byte on: the table, and the program."""
    memory = np.zeros(PROGRAM - TABLE + len(code) + 64, np.uint8)
    table = b"".join(number.to_bytes(4, "little") for number in COUNTS)
    memory[: len(table)] = np.frombuffer(table, np.uint8)
    memory[PROGRAM - TABLE :][: len(code)] = np.frombuffer(code, np.uint8)
    return memory


def expected_of(config, code):
    """(pc, mnemonic, payload) of each engine's instructions, the beats, and the trap."""
    bus = Bus(config, memory_of(config, code), TABLE, WINDOW)
    front, found = FrontEnd(config, bus, PROGRAM, len(code)), {engine: [] for engine in ENGINES}
    try:
        while (queued := front.peek()).decoded.mnemonic != "halt":
            decoded = queued.decoded
            if decoded.mnemonic == "control.read":
                front.read()
                continue
            word = int.from_bytes(encode(decoded.mnemonic, **decoded.fields), "little")
            payload = word >> PAYLOAD_OFFSET
            pc = queued.pc // GRANULE_BYTES
            found[decoded.instruction.engine].append((pc, decoded.size, payload))
            front.advance()
    except Stop as end:
        return found, bus.read_beats, end.record
    return found, bus.read_beats, None


async def run(bench, words, **options):
    """Run a program and compare what engines got; its outcome."""
    config, code = bench.config, b"".join(words)
    got = {engine: [] for engine in ENGINES}
    for engine, model in bench.engines.items():
        accept = type(model).accept

        def note(item, model=model, engine=engine, accept=accept):
            got[engine].append((item.pc, item.payload))
            accept(model, item)

        model.accept = note
    table = {TABLE + i: int(byte) for i, byte in enumerate(memory_of(config, b"")[:64])}
    prepare = bench.prepare

    async def prepare_table(words, **options):
        await prepare(words, **options)
        bench.memory |= table

    bench.prepare = prepare_table
    outcome = await bench.run(words, **options)
    bench.prepare = prepare
    expected, beats, trap = expected_of(config, code)
    for engine, rows in expected.items():
        own = [
            (pc, payload & (1 << 8 * size - PAYLOAD_OFFSET) - 1)
            for (pc, payload), (_, size, _) in zip(got[engine], rows, strict=True)
        ]
        assert own == [(pc, payload) for pc, _, payload in rows]
    if trap is None:
        assert (outcome.status, outcome.trap) == (DONE, NO_TRAP)
        assert outcome.beats == outcome.registers["READ_BEATS"] == beats
    else:
        assert outcome.trap == (trap.cause, trap.engine, trap.pc, trap.address)
    return outcome, sum(map(len, expected.values()))


@pytest.mark.parametrize("bus", CONFIGS)
@pytest.mark.parametrize(("seed", "stall"), [(0, 0.0), (1, 0.3), (2, 0.5)])
def test_random_programs_give_each_engine_the_instructions_of_their_iterations(bus, seed, stall):
    config, rng = CONFIGS[bus], random.Random(f"{bus} {seed}")
    dispatched = 0

    async def scenario(bench):
        nonlocal dispatched
        for model in bench.engines.values():
            model.durations = (0, 1)
        for length in (4, 12, 30):
            words = random_loops(rng, config, TABLE, length)
            outcome, count = await run(bench, words, budget=60_000, watchdog=2000)
            dispatched += count
            assert outcome.registers["WRITE_BEATS"] == 0

    ControlBench(config, scenario, seed=seed, stall=stall, latency=seed * 8)
    assert dispatched > 30


@pytest.mark.parametrize("name", TRAPPING)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_traps_of_loops_and_sums_come_after_all_earlier_work(name, stall):
    text, (cause, engine, pc, address) = TRAPPING[name]
    code = assemble(text)

    async def scenario(bench):
        if cause is Trap.SBUF_RANGE:
            bench.engines[engine].traps = {pc // GRANULE_BYTES: (cause, address)}
        bench.engines[LOAD].durations = (60,)
        outcome = await bench.run([code], watchdog=100)
        assert (outcome.status, outcome.trap) == (TRAPPED, (cause, engine, pc, address))
        await run_good_program(bench)

    ControlBench(TINY, scenario, stall=stall, seed=2)


def test_registers_are_zero_and_no_loop_is_open_when_a_program_starts():
    async def scenario(bench):
        leaving = assemble(
            "control.add register=3 zero=1 value=5\ncontrol.loop count=4\n"
            "control.relative enable0=1 register0=3\n.word 0x77"
        )
        outcome = await bench.run([leaving])
        assert outcome.trap == (Trap.ILLEGAL_OPCODE, Engine.CONTROL, 48, 0x77)
        reading = assemble(
            "control.relative enable0=1 register0=3\ntensor.load rows=1 format=bf16 columns=1"
            " addr=9\nload.sync\ncontrol.loop\n" + "control.loop\n" * 3 + "halt"
        )
        outcome, count = await run(bench, [reading])
        assert outcome.status == DONE and count == 2
        outcome = await bench.run([assemble("control.end\nhalt")])
        assert outcome.trap == (Trap.LOOP_NESTING, Engine.CONTROL, 0, 0)
        await run_good_program(bench)

    ControlBench(TINY, scenario)


@pytest.mark.parametrize("bus", [64, 512])
def test_a_read_waits_and_what_follows_waits_for_it(bus):
    config = CONFIGS[bus]

    async def scenario(bench):
        bench.engines[STORE].durations = (150,)
        words = [
            sync(config, STORE, signal=(2, 3)),
            encode("control.read", mem_addr=TABLE + 8, register=1, wait=1, wait_sem=2,
                   wait_value=2, consume=1),
            encode("control.loop", from_register=1, register=1),
            sync(config, LOAD),
            encode("control.end"),
            sync(config, VECTOR, wait=(2, 1), consume=1),
            HALT,
        ]  # fmt: skip
        outcome, _ = await run(bench, words)
        assert outcome.accepted[LOAD] == [3] * COUNTS[2]
        assert outcome.cycles > 150
        events = [event for event in bench.events if event != ("accept", 0)]
        assert events[0] == ("signal", 2, 3)

    ControlBench(config, scenario, latency=20)


@pytest.mark.parametrize(("resp", "cause"), [(2, Trap.BUS_SLVERR), (3, Trap.BUS_DECERR)])
def test_an_error_of_memory_traps_the_read_after_all_earlier_work(resp, cause):
    async def scenario(bench):
        bench.engines[STORE].durations = (80,)
        bench.errors = {TABLE + 8: resp}
        read = encode("control.read", mem_addr=TABLE + 12, register=1)
        outcome = await bench.run([sync(TINY, STORE), read, sync(TINY, LOAD), HALT])
        assert outcome.trap == (cause, Engine.CONTROL, 16, TABLE + 12)
        assert outcome.accepted[STORE] == [0] and not outcome.accepted[LOAD]
        assert outcome.cycles > 80
        await run_good_program(bench)

    ControlBench(TINY, scenario, latency=9, stall=0.2)


@pytest.mark.parametrize(("last", "bytes8", "traps"), [(3, 0, 0), (2, 0, 1), (7, 1, 0), (6, 1, 1)])
def test_the_window_ends_behind_the_last_byte_that_is_read(last, bytes8, traps):
    async def scenario(bench):
        at = PROGRAM + 32
        words = [encode("control.read", mem_addr=at, bytes8=bytes8, register=1), HALT]
        outcome = await bench.run(words, window=(PROGRAM, at + last))
        record = (Trap.MEMORY_WINDOW, Engine.CONTROL, 0, at) if traps else NO_TRAP
        assert outcome.trap == record

    ControlBench(TINY, scenario)


@pytest.mark.parametrize("granule", [1, 3, 7])
def test_a_failed_fetch_of_an_instruction_with_sums_traps_at_its_granule(granule):
    async def scenario(bench):
        bench.errors = {PROGRAM + 16 * granule: 2}
        fields = {"mem_addr": 0, "run": 1, "sbuf_addr": 0, "layout": 0}
        words = [
            sync(TINY, VECTOR),
            encode("control.loop", count=2),
            encode("control.relative", enable0=1, enable1=1),
            encode("load.dma", **fields),
            sync(TINY, VECTOR),
            encode("control.end"),
            HALT,
        ]
        outcome = await bench.run(words)
        assert outcome.trap[:3] == (Trap.BUS_SLVERR, Engine.CONTROL, 16 * granule)
        assert outcome.accepted[VECTOR] == [0, 7][: 1 + (granule > 7)]
        assert outcome.accepted[LOAD] == [3][: granule == 7]
        await run_good_program(bench)

    ControlBench(TINY, scenario, latency=9, stall=0.2)


def test_an_abort_during_a_read_leaves_the_channel_to_the_next_program():
    async def scenario(bench):
        for delay in range(0, 60, 3):

            async def abort(delay=delay):
                for _ in range(delay):
                    await bench.tick()
                await bench.write("CONTROL", 2)

            read = encode("control.read", mem_addr=TABLE, register=1)
            loop = [encode("control.loop", count=100), read, encode("control.end")]
            outcome = await bench.run([*loop, HALT], meanwhile=abort)
            assert outcome.trap == (Trap.ABORTED, Engine.CONTROL, 0, 0)
            await run_good_program(bench)

    ControlBench(TINY, scenario, latency=15)
