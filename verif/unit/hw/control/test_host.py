"""The host's side of the front end: starts, aborts, interrupts, addresses, protected registers."""

import pytest

from tegula.config import preset
from tegula.isa.instructions import Engine
from tegula.isa.registers import CONTROL_ABORT, CONTROL_START
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

CONFIG = preset("tiny")
WHOLE = (0, (1 << 48) - 1)
ABORTED = (Trap.ABORTED, Engine.CONTROL, 0, 0)
TENSOR, LOAD = Engine.TENSOR, Engine.LOAD


class Pins:
    """Counts of starts that were taken, and of rising edges of the interrupt pin."""

    def __init__(self, bench):
        self.starts = self.edges = self._irq = 0
        self._bench, self._tick = bench, bench.tick
        bench.tick = self.tick

    async def tick(self, *signals):
        """A cycle of the bench, watched."""
        dut = self._bench.dut
        *values, start, irq = await self._tick(*signals, dut.start, dut.irq)
        self.starts += start
        self.edges += irq and not self._irq
        self._irq = irq
        return values

    async def after(self, cycles):
        """Both counts, some cycles later."""
        for _ in range(cycles):
            await self.tick()
        return self.starts, self.edges


@pytest.mark.parametrize("delay", [0, 1, 5, 30, 80])
def test_abort_stops_a_program_at_any_time(delay):
    async def scenario(bench):
        async def abort():
            for _ in range(delay):
                await bench.tick()
            await bench.write("CONTROL", CONTROL_ABORT)

        bench.engines[TENSOR].durations = (1000,)
        words = [sync(CONFIG, TENSOR)] * 60 + [HALT]
        outcome = await bench.run(words, meanwhile=abort)
        assert (outcome.status, outcome.trap) == (TRAPPED, (Trap.ABORTED, Engine.CONTROL, 0, 0))
        assert outcome.cycles < delay + 100
        beats = bench.beats
        for _ in range(60):
            await bench.tick()
        assert bench.beats == beats == sum(count for _, count in bench.bursts)
        bench.engines[TENSOR].durations = (3,)
        bench.beats = 0
        await run_good_program(bench)

    ControlBench(CONFIG, scenario, latency=20)


def test_a_start_clears_the_interrupt_so_every_end_is_an_edge():
    """A host that listens to edges and never acknowledges hears of every program."""

    async def scenario(bench):
        pins = Pins(bench)
        await bench.prepare([HALT])
        for count in range(1, 6):
            await bench.write("CONTROL", CONTROL_START)
            assert await pins.after(60) == (count, count)
            assert await bench.read("IRQ") == 1
            assert await bench.read("STATUS") == DONE
        await bench.write("IRQ", 1)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario)


def test_a_doorbell_near_the_end_of_a_program_is_ignored_or_starts_one_with_its_own_edge():
    starts = set()

    async def scenario(bench):
        await bench.prepare([HALT])
        for delay in range(40):
            pins = Pins(bench)
            await bench.write("CONTROL", CONTROL_START)
            await pins.after(delay)
            await bench.write("CONTROL", CONTROL_START)
            counts = await pins.after(60)
            assert counts[0] == counts[1]
            assert await bench.read("STATUS") == DONE
            starts.add(counts[0])
            await bench.write("IRQ", 1)

    ControlBench(CONFIG, scenario)
    assert starts == {1, 2}


@pytest.mark.parametrize("wait", range(6))
def test_an_abort_while_idle_does_nothing_to_the_next_program(wait):
    async def scenario(bench):
        pins = Pins(bench)
        await bench.prepare([HALT])
        await bench.write("CONTROL", CONTROL_ABORT)
        await pins.after(wait)
        await bench.write("CONTROL", CONTROL_START)
        assert await pins.after(60) == (1, 1)
        assert await bench.read("STATUS") == DONE

    ControlBench(CONFIG, scenario)


def test_start_and_abort_in_one_write_trap_before_the_first_instruction():
    async def scenario(bench):
        pins = Pins(bench)
        await bench.prepare([sync(CONFIG, TENSOR)] * 8 + [HALT])
        await bench.write("CONTROL", CONTROL_START | CONTROL_ABORT)
        assert await pins.after(80) == (1, 1)
        outcome = await bench.outcome(None)
        assert (outcome.status, outcome.trap) == (TRAPPED, ABORTED)
        assert outcome.accepted[TENSOR] == []
        assert bench.beats == sum(count for _, count in bench.bursts)
        await bench.write("IRQ", 1)
        await run_good_program(bench)

    ControlBench(CONFIG, scenario, latency=5)


def test_start_and_abort_in_one_write_stop_a_program_that_runs():
    async def scenario(bench):
        bench.engines[TENSOR].durations = (500,)

        async def both():
            await bench.write("CONTROL", CONTROL_START | CONTROL_ABORT)

        outcome = await bench.run([sync(CONFIG, TENSOR)] * 8 + [HALT], meanwhile=both)
        assert (outcome.status, outcome.trap) == (TRAPPED, ABORTED)
        assert await Pins(bench).after(100) == (0, 0), "a start was kept"
        assert await bench.read("STATUS") == TRAPPED

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("bit", range(48, 64))
def test_a_program_above_48_bits_is_outside_of_any_window(bit):
    async def scenario(bench):
        outcome = await bench.run([HALT], program=PROGRAM | 1 << bit, window=WHOLE)
        assert outcome.trap == (Trap.MEMORY_WINDOW, Engine.CONTROL, 0, PROGRAM)
        assert outcome.bursts == []

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("bit", range(48, 64))
def test_a_window_that_begins_above_48_bits_has_no_byte(bit):
    async def scenario(bench):
        for base in (1 << bit, WINDOW[0] | 1 << bit):
            outcome = await bench.run([HALT], window=(base, WHOLE[1] | 1 << bit))
            assert outcome.trap == (Trap.MEMORY_WINDOW, Engine.CONTROL, 0, PROGRAM)
            assert outcome.bursts == []
            first, last = (
                bench.ctx.get(port) for port in (bench.dut.window.base, bench.dut.window.last)
            )
            assert first > last

    ControlBench(CONFIG, scenario)


@pytest.mark.parametrize("bit", [32, 47, 48, 63])
def test_a_window_that_ends_above_the_bus_ends_with_the_bus(bit):
    async def scenario(bench):
        outcome = await bench.run([HALT], window=(0, 1 << bit))
        assert (outcome.status, outcome.trap) == (DONE, NO_TRAP)
        assert bench.ctx.get(bench.dut.window.last) == (1 << CONFIG.axi_addr_width) - 1

    ControlBench(CONFIG, scenario)


def test_strobes_select_the_byte_of_a_doorbell_and_of_an_acknowledgement():
    async def scenario(bench):
        pins = Pins(bench)
        await bench.prepare([HALT])
        await bench.write("CONTROL", 0x0101_0101, strobe=0b1110)
        assert await pins.after(60) == (0, 0)
        await bench.write("CONTROL", 0xFF00_0001, strobe=0b0001)
        assert await pins.after(60) == (1, 1)
        await bench.write("IRQ", 0x0101_0101, strobe=0b1110)
        assert await bench.read("IRQ") == 1
        await bench.write("IRQ", 1, strobe=0b0001)
        assert await bench.read("IRQ") == 0

    ControlBench(CONFIG, scenario)
