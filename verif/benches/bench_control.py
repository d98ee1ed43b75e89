"""The front end between a host, a program in memory, and modelled engines."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from tegula.config import TileConfig
from tegula.isa.assembly import assemble
from tegula.isa.codec import decodable_instructions
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, Engine
from tegula.isa.registers import CONTROL_ABORT
from tegula.isa.traps import Trap, TrapRecord
from verif.benches.axi_memory import AxiMemory
from verif.benches.fake_engine import CocotbEngine, Journal
from verif.benches.host import Host, ProgramOutcome
from verif.benches.memory_content import Fault
from verif.benches.random_programs import waiting_for_host
from verif.benches.sync_programs import SyncProgram, random_sync_program
from verif.benches.testbench import config, random_source, start
from verif.support.engine_model import Accepted

BASE = 0x4_0000
MEMORY_BYTES = 0x8000
PROGRAM = BASE + 0x40
LATENCIES = (0, 3, 40)


class ControlBench:
    """The front end with its peers; checks what every program must keep."""

    def __init__(self, dut, cfg: TileConfig, rng: np.random.Generator):
        self.cfg, self.rng = cfg, rng
        self.memory = AxiMemory(dut, cfg, MEMORY_BYTES, BASE)
        self.host = Host(dut)
        self.journal = Journal()
        self.engines = {e: CocotbEngine(dut, cfg, e, self.journal, rng) for e in ENGINES}
        self._rate = 0.0

    @classmethod
    async def make(cls, dut, name: str) -> tuple["ControlBench", np.random.Generator]:
        """A bench out of reset, and the random numbers of the test `name`."""
        rng = random_source(name)
        bench = cls(dut, config(), rng)
        await start(dut, *bench.engines.values())
        return bench, rng

    @property
    def completed(self) -> int:
        """Instructions of the program that are complete and signalled."""
        return sum(engine.completed for engine in self.engines.values())

    def shape_traffic(self, rate: float, latency: int) -> None:
        """Pauses of memory and host, and latency of memory."""
        self._rate = rate
        self.memory.pause(self.rng, rate)
        self.host.pause(self.rng, rate)
        self.memory.latency = latency

    async def begin(self, code: bytes, watchdog: int = 500) -> None:
        """Start a program amid noise."""
        self.journal.events.clear()
        for engine in self.engines.values():
            engine.completed = 0
        self.memory.content[:] = self.rng.integers(0, 256, MEMORY_BYTES)
        at = PROGRAM - BASE
        self.memory.content[at : at + len(code)] = np.frombuffer(code, np.uint8)
        self.memory.read_beats = 0
        window = (BASE, BASE + MEMORY_BYTES - 1)
        await self.host.start(PROGRAM, len(code), window, watchdog)

    async def run(self, code: bytes, watchdog: int = 500) -> ProgramOutcome:
        """Run a program to its end, and check order and counts."""
        await self.begin(code, watchdog)
        budget = 2000 + watchdog + (100 + self.memory.latency) * len(code) // GRANULE_BYTES
        await self.host.wait(int(budget / (1 - self._rate) ** 2))
        outcome = await self.host.outcome()
        assert outcome.read_beats == self.memory.read_beats
        check_journal(code, self.journal)
        return outcome

    async def run_well(self, program: SyncProgram) -> None:
        """A program that must reach `halt` with every instruction done."""
        outcome = await self.run(program.code)
        assert outcome.trap is None, str(outcome.trap)
        assert self.completed == program.count
        assert sum(isinstance(event, Accepted) for event in self.journal.events) == program.count


def check_journal(code: bytes, journal: Journal) -> None:
    """Every engine got its instructions complete and in program order, none before its wait."""
    counts: dict[int, int] = {}
    expected = {engine: [] for engine in ENGINES}
    for offset, decoded in decodable_instructions(code):
        if decoded.instruction.engine in expected:
            expected[decoded.instruction.engine].append((offset, decoded))
    arrived = {engine: iter(rows) for engine, rows in expected.items()}
    for event in journal.events:
        if not isinstance(event, Accepted):
            counts[event[0]] = counts.get(event[0], 0) + event[1]
            continue
        offset, decoded = next(arrived[event.engine])
        fields = decoded.fields
        word = int.from_bytes(code[offset : offset + decoded.size], "little")
        assert event.pc == offset // GRANULE_BYTES
        own = (1 << 8 * decoded.size - 48) - 1  # bits that only larger instructions have are noise
        assert (event.op, event.payload & own) == (word & 0xF, word >> 48)
        assert event.signal == fields["signal"]
        if event.signal:
            sent = (event.signal_sem, event.signal_value)
            assert sent == (fields["signal_sem"], fields["signal_value"])
        if fields["wait"]:
            count = counts.get(fields["wait_sem"], 0)
            assert count >= fields["wait_value"], f"byte {offset} did not wait"
            if fields["consume"]:
                counts[fields["wait_sem"]] = count - fields["wait_value"]


@cocotb.test()
async def random_programs_keep_order_and_count(dut):
    """Waits, signals and consumption between all engines; every instruction once, none early."""
    bench, rng = await ControlBench.make(dut, "random_programs_keep_order_and_count")
    for number in range(24):
        bench.shape_traffic((0, 0.1, 0.5)[number % 3], LATENCIES[number // 3 % 3])
        await bench.run_well(random_sync_program(rng, bench.cfg, 120))


@cocotb.test()
async def the_host_signals_programs_that_wait_for_it(dut):
    """Waits for the host among others: it is late, or early, on a port that rests, or does not."""
    bench, rng = await ControlBench.make(dut, "the_host_signals_programs_that_wait_for_it")
    sent = 0
    for number in range(12):
        bench.shape_traffic((0, 0.3)[number % 2], LATENCIES[number % 3])
        program = random_sync_program(rng, bench.cfg, 80)
        code, signals = waiting_for_host(rng, bench.cfg, program.code)
        assert signals
        await bench.begin(code, watchdog=2000)
        for semaphore, value in signals:
            await ClockCycles(dut.clk, int(rng.choice((1, 1, 300))))
            bench.journal.events.append((semaphore, value))
            assert await bench.host.signal(semaphore, value), "the program did not wait"
            sent += 1
        await bench.host.wait(50_000)
        assert (await bench.host.outcome()).trap is None
        check_journal(code, bench.journal)
        assert bench.completed > program.count
        assert not await bench.host.signal(0, 1), "no program runs"
    assert sent > 40


@cocotb.test()
async def traps_of_the_front_end_come_after_all_earlier_work(dut):
    """A random program that ends badly: all of it has run, and the record says where it ended."""
    bench, rng = await ControlBench.make(dut, "traps_of_the_front_end_come_after_all_earlier_work")
    top = (1 << bench.cfg.semaphore_width) - 1
    control, spare = Engine.CONTROL, bench.cfg.semaphores - 1
    endings = {
        Trap.ILLEGAL_OPCODE: (".word 0x7e", control, 0, 0x7E),
        Trap.ILLEGAL_FIELD: (f".word {0x40 | 1 << 45:#x}", control, 0, 0),
        Trap.PROGRAM_END: ("", control, 0, 0),
        Trap.DEADLOCK: (f"load.sync wait({spare}>=1)\nhalt", Engine.LOAD, 0, spare),
        Trap.SEMAPHORE_OVERFLOW: (
            f"store.sync signal({spare}+=255)\n" * (top // 255 + 1) + "halt",
            *(Engine.STORE, None, spare),
        ),
    }
    for number, (cause, (text, engine, pc, address)) in enumerate(list(endings.items()) * 2):
        bench.shape_traffic((0, 0.2)[number % 2], LATENCIES[number % 3])
        program = random_sync_program(rng, bench.cfg, 60, halts=False)
        outcome = await bench.run(program.code + assemble(text))
        where = len(program.code) if pc is not None else 0
        record = {"cause": cause, "engine": engine, "pc": where, "address": address}
        if cause is Trap.DEADLOCK:
            record["ordinal"] = sum(each == engine for _, each in program.places)
        assert outcome.trap == TrapRecord(**record)
        assert bench.completed >= program.count
        await bench.run_well(random_sync_program(rng, bench.cfg, 30))


@cocotb.test()
async def traps_of_engines_stop_the_program(dut):
    """Any instruction may trap; the record is the engine's, nothing goes on, the next runs."""
    bench, rng = await ControlBench.make(dut, "traps_of_engines_stop_the_program")
    for number in range(24):
        bench.shape_traffic((0, 0.2)[number % 2], LATENCIES[number % 3])
        program = random_sync_program(rng, bench.cfg, 60)
        offset, engine = program.places[int(rng.integers(len(program.places)))]
        cause, address = Trap(int(rng.integers(3, 10))), int(rng.integers(1 << 48))
        bench.engines[engine].traps = {offset // GRANULE_BYTES: (cause, address)}
        outcome = await bench.run(program.code)
        before = sum(each == engine for at, each in program.places if at < offset)
        assert outcome.trap == TrapRecord(
            cause=cause, engine=engine, pc=offset, address=address, ordinal=before
        )
        bench.engines[engine].traps = {}
        await bench.run_well(random_sync_program(rng, bench.cfg, 30))


@cocotb.test()
async def a_failed_fetch_traps_at_its_granule(dut):
    """Beats that answer SLVERR or DECERR: what comes before them runs."""
    bench, rng = await ControlBench.make(dut, "a_failed_fetch_traps_at_its_granule")
    bus_bytes = bench.cfg.bus_bytes
    for number in range(16):
        bench.shape_traffic((0, 0.2)[number % 2], LATENCIES[number % 3])
        program = random_sync_program(rng, bench.cfg, 40)
        bad = PROGRAM + int(rng.integers(0, len(program.code)))
        cause = (Trap.BUS_SLVERR, Trap.BUS_DECERR)[number % 2]
        response = (AxiResp.SLVERR, AxiResp.DECERR)[number % 2]
        bench.memory.faults = [Fault(first=bad, last=bad, response=response)]
        outcome = await bench.run(program.code)
        assert outcome.trap is not None
        assert (outcome.trap.cause, outcome.trap.engine) == (cause, Engine.CONTROL)
        beat = bad // bus_bytes * bus_bytes
        assert outcome.trap.pc == (beat - PROGRAM) // GRANULE_BYTES * GRANULE_BYTES
        span = bench.cfg.max_burst_beats * bus_bytes
        assert outcome.trap.address == max(PROGRAM, beat // span * span)
        ends = [offset for offset, _ in program.places[1:]]
        assert bench.completed >= sum(end <= outcome.trap.pc for end in ends)
        bench.memory.faults = []
        await bench.run_well(random_sync_program(rng, bench.cfg, 30))


@cocotb.test()
async def abort_and_start_work_at_any_time(dut):
    """A second start and new register values are ignored while busy; an abort ends the program."""
    bench, rng = await ControlBench.make(dut, "abort_and_start_work_at_any_time")
    aborted = 0
    for number in range(24):
        bench.shape_traffic((0, 0.2)[number % 2], LATENCIES[number % 3])
        program = random_sync_program(rng, bench.cfg, 400)
        await bench.begin(program.code)
        await ClockCycles(dut.clk, int(rng.integers(1, 400)))
        await bench.host.write("PROGRAM_LOW", 0)
        await bench.host.write("CONTROL", 1)
        await bench.host.write("CONTROL", CONTROL_ABORT)
        await bench.host.wait(2000)
        outcome = await bench.host.outcome()
        check_journal(program.code, bench.journal)
        if outcome.trap is not None:
            assert (outcome.trap.cause, outcome.trap.engine) == (Trap.ABORTED, Engine.CONTROL)
            aborted += 1
        await bench.run_well(random_sync_program(rng, bench.cfg, 30))
    assert aborted > 12
