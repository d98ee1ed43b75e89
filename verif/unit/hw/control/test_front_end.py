"""The whole front end: programs from doorbell to interrupt, every trap, and what comes after."""

import random

import pytest

from tegula.config import preset
from tegula.control.decoder import DECODE_CYCLES
from tegula.control.front_end import FETCH_REQUEST_CYCLES
from tegula.control.granule_register import GRANULE_CYCLES
from tegula.control.watchdog import QUIET_CYCLES
from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.traps import Trap
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
from verif.support.control_programs import DMA, assert_waits_held, random_program

TENSOR, VECTOR, ACTIVATION, LOAD, STORE = ENGINES
CONFIG = preset("tiny")
WIDE = preset("small", axi_data_width=256, queue_depth=4)


@pytest.mark.parametrize("config", [CONFIG, WIDE], ids=lambda c: f"{c.axi_data_width}")
@pytest.mark.parametrize(("seed", "stall"), [(0, 0.0), (1, 0.3), (2, 0.6)])
def test_random_programs_run_to_their_end(config, seed, stall):
    rng = random.Random(seed)
    waits = 0

    async def scenario(bench):
        nonlocal waits
        for _ in range(3):
            words, order = random_program(rng, config)
            image = [word for _, _, word in words] + [HALT]
            outcome = await bench.run(image, budget=6000, watchdog=1000)
            assert (outcome.status, outcome.trap) == (DONE, NO_TRAP)
            assert outcome.accepted == order
            waits += assert_waits_held(bench.events, words)
            registers = outcome.registers
            assert registers["CYCLES_HIGH"] == 0
            assert registers["CYCLES_LOW"] == outcome.cycles
            beats = -(-16 * (words[-1][0] + 5 if len(words[-1][2]) > 16 else words[-1][0] + 2))
            assert outcome.beats == registers["READ_BEATS"] == -(-beats // config.bus_bytes)
            for engine in ENGINES:
                assert registers[f"{engine.name}_BUSY"] == outcome.busy[engine]
            assert registers["WRITE_BEATS"] == 0

    ControlBench(config, scenario, seed=seed, stall=stall, latency=seed * 10)
    assert waits > 5


ILLEGAL_OPCODE = (0x77).to_bytes(16, "little")
STRAY_BIT = (0x20 | 1 << 127).to_bytes(16, "little")
LONG = encode("load.dma", **DMA)


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize(
    ("tail", "trap"),
    [
        ([ILLEGAL_OPCODE, HALT], (Trap.ILLEGAL_OPCODE, Engine.CONTROL, 32, 0x77)),
        ([STRAY_BIT, HALT], (Trap.ILLEGAL_FIELD, Engine.CONTROL, 32, 0)),
        ([LONG, STRAY_BIT, HALT], (Trap.ILLEGAL_FIELD, Engine.CONTROL, 96, 0)),
        ([], (Trap.PROGRAM_END, Engine.CONTROL, 32, 0)),
        ([LONG], (Trap.PROGRAM_END, Engine.CONTROL, 96, 0)),
        ([LONG[:48]], (Trap.PROGRAM_END, Engine.CONTROL, 80, 0)),
    ],
    ids=["opcode", "field", "field-after-dma", "end", "end-after-dma", "end-in-dma"],
)
def test_decode_traps_come_after_all_earlier_work(tail, trap, stall):
    async def scenario(bench):
        bench.engines[TENSOR].durations = (60,)
        words = [sync(CONFIG, TENSOR, signal=(1, 1)), sync(CONFIG, STORE, wait=(1, 1))]
        outcome = await bench.run(words + tail)
        assert (outcome.status, outcome.trap) == (TRAPPED, trap)
        assert outcome.accepted[TENSOR] == [0] and outcome.accepted[STORE] == [1]
        assert outcome.cycles > 60
        await run_good_program(bench)

    ControlBench(CONFIG, scenario, stall=stall, seed=5)


@pytest.mark.parametrize(
    ("options", "trap"),
    [
        ({"size": 0}, (Trap.ILLEGAL_FIELD, 0)),
        ({"size": 24}, (Trap.ILLEGAL_FIELD, 0)),
        ({"size": (1 << 24) + 16}, (Trap.ILLEGAL_FIELD, 0)),
        ({"program": PROGRAM + 16}, (Trap.ILLEGAL_FIELD, 0)),
        ({"program": WINDOW[0] - 64}, (Trap.MEMORY_WINDOW, WINDOW[0] - 64)),
        ({"window": (PROGRAM, PROGRAM + 30)}, (Trap.MEMORY_WINDOW, PROGRAM)),
        ({"window": (PROGRAM + 1, PROGRAM + 31)}, (Trap.MEMORY_WINDOW, PROGRAM)),
        ({"window": (1 << 47, 0)}, (Trap.MEMORY_WINDOW, PROGRAM)),
        (
            {"program": 1 << 32, "window": (0, (1 << 48) - 1)},
            (Trap.MEMORY_WINDOW, 1 << 32),
        ),
        (
            {"program": 1 << 32, "window": (0, (1 << 32) + 0xFFFF)},
            (Trap.MEMORY_WINDOW, 1 << 32),
        ),
        (
            {"program": (1 << 32) - 64, "size": 80, "window": (0, (1 << 48) - 1)},
            (Trap.MEMORY_WINDOW, (1 << 32) - 64),
        ),
    ],
    ids=[
        "empty",
        "half",
        "long",
        "askew",
        "below",
        "above",
        "before",
        "shut",
        "bus",
        "bus-next",
        "bus-end",
    ],
)
def test_a_program_that_cannot_be_fetched_is_not_begun(options, trap):
    async def scenario(bench):
        outcome = await bench.run([sync(CONFIG, LOAD), HALT], **options)
        cause, address = trap
        assert (outcome.status, outcome.trap) == (TRAPPED, (cause, Engine.CONTROL, 0, address))
        assert outcome.bursts == [] and outcome.registers["READ_BEATS"] == 0
        assert not any(outcome.accepted.values())
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_a_window_that_just_holds_the_program_is_enough():
    async def scenario(bench):
        words = [sync(CONFIG, LOAD), HALT]
        outcome = await bench.run(words, window=(PROGRAM, PROGRAM + 31))
        assert outcome.status == DONE
        last = (1 << 32) - 32
        outcome = await bench.run(words, program=last - 32, window=(0, (1 << 48) - 1))
        assert outcome.status == DONE
        assert bench.ctx.get(bench.dut.window.base) == 0
        assert bench.ctx.get(bench.dut.window.last) == (1 << 32) - 1

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize(("resp", "cause"), [(2, Trap.BUS_SLVERR), (3, Trap.BUS_DECERR)])
@pytest.mark.parametrize("granule", [0, 9, 20])
def test_a_failed_fetch_traps_at_its_granule_with_its_burst(resp, cause, granule):
    async def scenario(bench):
        words = [sync(CONFIG, VECTOR) for _ in range(40)]
        failing = PROGRAM + 16 * granule
        bench.errors = {failing: resp}
        outcome = await bench.run([*words, HALT])
        block = CONFIG.max_burst_beats * CONFIG.bus_bytes
        burst = max(PROGRAM, failing - failing % block)
        assert outcome.trap == (cause, Engine.CONTROL, 16 * granule, burst)
        assert burst in [address for address, _ in outcome.bursts]
        assert outcome.accepted[VECTOR] == list(range(granule))
        await run_good_program(bench)

    ControlBench(CONFIG, scenario, stall=0.2, latency=12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_a_trap_of_an_engine_stops_the_others_and_is_recorded(engine, stall):
    async def scenario(bench):
        bench.engines[engine].traps = {5: (Trap.SBUF_RANGE, 0xABCDE_01234)}
        others = [e for e in ENGINES if e != engine]
        words = [sync(CONFIG, engine)] * 6
        words += [sync(CONFIG, other) for other in others for _ in range(30)]
        for other in others:
            bench.engines[other].durations = (30,)
        outcome = await bench.run([*words, HALT])
        assert outcome.status == TRAPPED
        assert outcome.trap == (Trap.SBUF_RANGE, engine, 5 * 16, 0xABCDE_01234)
        assert sum(len(a) for a in outcome.accepted.values()) < len(words)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario, stall=stall, seed=3)


def test_of_simultaneous_traps_the_first_engine_wins_and_later_ones_are_not_recorded():
    async def scenario(bench):
        # Instructions arrive two cycles apart on this bus: the last comes first by the same.
        for pc, engine in enumerate((STORE, LOAD, VECTOR)):
            bench.engines[engine].traps = {pc: (Trap.BUS_SLVERR, 7)}
            bench.engines[engine].durations = (20 - 2 * pc,)
        words = [sync(CONFIG, engine) for engine in (STORE, LOAD, VECTOR)]
        strobes = [getattr(bench.dut, e.name.lower()).trap_valid for e in (STORE, LOAD, VECTOR)]

        async def watch():
            while not any(values := await bench.tick(*strobes)):
                pass
            assert values == [1, 1, 1], "the traps did not come together"

        outcome = await bench.run([*words, HALT], meanwhile=watch)
        assert outcome.trap == (Trap.BUS_SLVERR, VECTOR, 32, 7)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_a_trap_of_an_earlier_instruction_comes_before_a_fault_of_decode():
    async def scenario(bench):
        bench.engines[STORE].durations = (100,)
        bench.engines[STORE].traps = {0: (Trap.BUS_DECERR, 5)}
        outcome = await bench.run([sync(CONFIG, STORE), ILLEGAL_OPCODE, HALT])
        assert outcome.trap == (Trap.BUS_DECERR, STORE, 0, 5)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_a_fault_of_decode_is_reported_rather_than_the_deadlock_before_it():
    async def scenario(bench):
        words = [sync(CONFIG, LOAD, wait=(0, 1)), ILLEGAL_OPCODE, HALT]
        outcome = await bench.run(words, watchdog=QUIET_CYCLES)
        assert outcome.trap == (Trap.ILLEGAL_OPCODE, Engine.CONTROL, 16, 0x77)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_past_the_width_of_its_semaphore_traps(engine):
    async def scenario(bench):
        words = [sync(CONFIG, engine, signal=(6, 255))] * 17 + [HALT]
        outcome = await bench.run(words)
        assert outcome.trap == (Trap.SEMAPHORE_OVERFLOW, engine, 0, 6)
        outcome = await bench.run([*words[:16], sync(CONFIG, engine, signal=(6, 15)), HALT])
        assert outcome.status == DONE
        # The overflow of the very last signal is not lost to the halt.
        outcome = await bench.run([*words[:16], sync(CONFIG, engine, signal=(6, 16)), HALT])
        assert outcome.trap == (Trap.SEMAPHORE_OVERFLOW, engine, 0, 6)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("watchdog", [40, 300])
def test_a_wait_for_nobody_is_a_deadlock_after_the_watchdogs_time(watchdog):
    async def scenario(bench):
        bench.engines[TENSOR].durations = (80,)
        words = [
            sync(CONFIG, TENSOR, signal=(2, 3)),
            sync(CONFIG, STORE, wait=(2, 4)),
            sync(CONFIG, LOAD, wait=(5, 1)),
            HALT,
        ]
        outcome = await bench.run(words, watchdog=watchdog)
        assert outcome.trap == (Trap.DEADLOCK, LOAD, 32, 5)
        assert 80 + watchdog < outcome.cycles < 80 + watchdog + 50
        assert outcome.registers["STORE_WAIT"] > 80 + watchdog
        assert outcome.registers["LOAD_WAIT"] > 80 + watchdog
        assert outcome.registers["TENSOR_WAIT"] == 0
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_the_host_signals_a_program_that_waits_for_it():
    async def scenario(bench):
        async def signals():
            for _ in range(3):
                # Later than the watchdog allows, had no signal come before.
                for _ in range(80):
                    await bench.tick()
                await bench.write("SIGNAL", 2 << 8 | 5)

        words = [
            sync(CONFIG, LOAD, wait=(5, 6), consume=1, signal=(4, 1)),
            sync(CONFIG, STORE, wait=(4, 1)),
            HALT,
        ]
        outcome = await bench.run(words, meanwhile=signals, watchdog=100)
        assert outcome.status == DONE and outcome.cycles > 240
        assert outcome.accepted[LOAD] == [0] and outcome.accepted[STORE] == [1]
        outcome = await bench.run(words, watchdog=100)
        assert outcome.trap == (Trap.DEADLOCK, LOAD, 0, 5), "a signal outlived its program"
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_a_signal_at_the_end_of_the_watchdogs_time_ends_the_wait_or_comes_too_late():
    """No record of an engine that has just gone on, and no engine that goes on and is stopped."""
    outcomes = set()

    async def scenario(bench):
        words = [sync(CONFIG, VECTOR, wait=(5, 1)), sync(CONFIG, LOAD, wait=(5, 1)), HALT]
        for delay in range(30, 75):

            async def signal(delay=delay):
                for _ in range(delay):
                    await bench.tick()
                await bench.write("SIGNAL", 1 << 8 | 5)

            outcome = await bench.run(words, meanwhile=signal, watchdog=40)
            if outcome.status == DONE:
                assert outcome.accepted[VECTOR] == [0] and outcome.accepted[LOAD] == [1]
            else:
                assert outcome.trap == (Trap.DEADLOCK, VECTOR, 0, 5)
                assert not any(outcome.accepted.values()), "what goes on is no deadlock"
            outcomes.add(outcome.status)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)
    assert outcomes == {DONE, TRAPPED}


def test_a_signal_of_the_host_past_the_width_of_its_semaphore_traps():
    async def scenario(bench):
        async def signals():
            for _ in range(17):
                await bench.write("SIGNAL", 255 << 8 | 6)

        words = [sync(CONFIG, LOAD, wait=(1, 1)), HALT]
        outcome = await bench.run(words, meanwhile=signals)
        assert outcome.trap == (Trap.SEMAPHORE_OVERFLOW, Engine.CONTROL, 0, 6)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("extra", [0, 1])
def test_a_signal_behind_a_full_queue_is_a_deadlock_and_behind_one_less_is_not(extra):
    async def scenario(bench):
        words = [sync(CONFIG, VECTOR, wait=(0, 1))] * (CONFIG.queue_depth + extra)
        words += [sync(CONFIG, LOAD, signal=(0, 1)), HALT]
        outcome = await bench.run(words)
        if extra:
            assert outcome.trap == (Trap.DEADLOCK, VECTOR, 0, 0)
            assert not any(outcome.accepted.values())
        else:
            assert outcome.status == DONE
            assert outcome.accepted[VECTOR] == list(range(CONFIG.queue_depth))
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_slow_fetch_and_slow_engines_are_no_deadlock():
    async def scenario(bench):
        bench.engines[STORE].durations = (150,)
        words = [sync(CONFIG, LOAD, wait=(0, 2)), sync(CONFIG, STORE, signal=(0, 2))]
        words += [sync(CONFIG, VECTOR)] * 40 + [HALT]
        outcome = await bench.run(words, watchdog=QUIET_CYCLES)
        assert outcome.status == DONE

    ControlBench(CONFIG, scenario, latency=100)


def test_the_start_pulse_is_one_cycle_and_the_stages_take_their_named_cycles():
    config = preset("small")
    seen = {}

    async def scenario(bench):
        dut, ctx = bench.dut, bench.ctx
        await bench.prepare([sync(config, VECTOR), HALT])
        ctx.set(dut.s_axil.awaddr, 8)
        ctx.set(dut.s_axil.wdata, 1)
        ctx.set(dut.s_axil.wstrb, 15)
        ctx.set(dut.s_axil.awvalid, 1)
        ctx.set(dut.s_axil.wvalid, 1)
        probes = {
            "start": dut.start,
            "ar": dut.ar.valid,
            "beat": dut.r.valid,
            "instr": dut.vector.instr.valid,
            "idle": dut.vector.idle,
            "irq": dut.irq,
        }
        for cycle in range(60):
            for name, high in zip(probes, await bench.tick(*probes.values()), strict=True):
                if high:
                    seen.setdefault(name, []).append(cycle)
            ctx.set(dut.s_axil.awvalid, 0)
            ctx.set(dut.s_axil.wvalid, 0)
        seen["cycles"] = await bench.read("CYCLES_LOW")

    ControlBench(config, scenario)
    assert len(seen["start"]) == 1
    assert seen["ar"][0] == FETCH_REQUEST_CYCLES
    first_instruction = seen["beat"][0] + GRANULE_CYCLES + DECODE_CYCLES
    assert seen["instr"][0] == first_instruction
    assert seen["cycles"] == seen["irq"][0]
    # All are idle, which is registered, and the interrupt with it.
    idle_again = next(cycle for cycle in seen["idle"] if cycle > first_instruction)
    assert seen["irq"][0] == idle_again + 2
