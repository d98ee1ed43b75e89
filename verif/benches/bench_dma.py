"""Loads and stores between memory and scratchpad, side by side, against the golden descriptors."""

from collections.abc import Sequence
from dataclasses import replace

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp

from tegula.config import TileConfig
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import Engine, Layout
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.bus import Bus
from tegula_golden.tile.dma import dma_load, dma_store
from tegula_golden.tile.state import EngineTrap, TileState
from verif.benches.axi_memory import AxiMemory
from verif.benches.engine_port import EnginePort, QueueItem
from verif.benches.memory_content import Fault
from verif.benches.random_transfers import random_descriptor
from verif.benches.testbench import config, random_source, start, tests_by_rate

BASE = 0x7_F000
HALF_BYTES = 0x2400
"""Memory that loads use; stores use as much behind it."""

GUARD_BYTES = 64
LATENCIES = (0, 1, 7, 60)


class DmaBench:
    """Both engines with their golden twins; loads and stores use halves of all space in turn."""

    def __init__(self, dut, cfg: TileConfig, rng: np.random.Generator):
        self.cfg, self.rng, self._dut = cfg, rng, dut
        size = 2 * HALF_BYTES + 2 * GUARD_BYTES
        self.memory = AxiMemory(dut, cfg, size, BASE)
        self.memory.content[:] = rng.integers(0, 256, size)
        self.ports = {e: EnginePort(dut, cfg, e, rng) for e in (Engine.LOAD, Engine.STORE)}
        self.state = TileState(cfg)
        self.expected = self.memory.content.copy()
        window = (BASE + GUARD_BYTES, BASE + size - GUARD_BYTES - 1)
        self.bus = Bus(cfg, self.expected, BASE, window)
        dut.window__base.value, dut.window__last.value = window
        self.rate = 0.0

    @classmethod
    async def make(cls, dut, cfg: TileConfig, rng: np.random.Generator) -> "DmaBench":
        """A bench out of reset; the scratchpad is filled with what memory holds."""
        bench = cls(dut, cfg, rng)
        await start(dut, *bench.ports.values())
        await bench.fill()
        return bench

    def shape_traffic(self, rate: float, latency: int) -> None:
        """Pauses of all channels, queues and semaphores; latency of memory; order of effects."""
        self.rate = rate
        self.memory.pause(self.rng, rate)
        self.memory.latency = latency
        eager = self.rng.integers(0, 2, 2).tolist()
        self.memory.reads_eager, self.memory.writes_eager = eager
        for port in self.ports.values():
            port.shape_traffic(rate)

    async def fill(self) -> None:
        """Load memory into all of the scratchpad, over and over: a reset leaves it as it was."""
        cfg = self.cfg
        fields = {
            "mem_addr": BASE + GUARD_BYTES,
            "run": 1024,
            "sbuf_addr": 0,
            "layout": 0,
            "count1": cfg.sbuf_depth // 1024,
            "sbuf_stride1": 1024,
            "mem_stride1": 6,
            "count2": cfg.n,
            "partition_stride2": 1,
            "mem_stride2": 700,
        }
        await self.run({Engine.LOAD: [QueueItem(mnemonic="load.dma", fields=fields)]})

    def fail_reads(self, items: Sequence[QueueItem]) -> None:
        """Let beats from somewhere in the first run of one of the loads on answer SLVERR."""
        self.memory.faults, self.bus.errors = [], ()
        loads = [item.fields for item in items if item.fields]
        if loads:
            fields = loads[int(self.rng.integers(len(loads)))]
            first = fields["mem_addr"] + int(self.rng.integers(fields["run"]))
            fault = Fault(first=first, last=first + 40, response=AxiResp.SLVERR)
            self.memory.faults = [fault]
            self.bus.errors = ((fault.first, fault.last, Trap.BUS_SLVERR),)

    def random_items(self, engine: Engine, half: int, count: int) -> list[QueueItem]:
        """Descriptors of an engine within a half of memory and of the scratchpad, and syncs."""
        base = BASE + GUARD_BYTES + half * HALF_BYTES
        depth = self.cfg.sbuf_depth // 2
        items = []
        for pc in range(count):
            signal = None
            if self.rng.random() < 0.8:
                semaphore = int(self.rng.integers(self.cfg.semaphores))
                signal = (semaphore, int(self.rng.integers(256)))
            mnemonic, fields = f"{engine.name.lower()}.sync", {}
            if self.rng.random() < 0.85:
                mnemonic = f"{engine.name.lower()}.dma"
                fields = random_descriptor(
                    self.rng, self.cfg, engine, base, HALF_BYTES, depth=depth
                )
                fields["sbuf_addr"] += half * depth
            items.append(QueueItem(mnemonic=mnemonic, fields=fields, pc=pc, signal=signal))
        return items

    async def run(self, work: dict[Engine, list[QueueItem]]) -> dict[Engine, TrapRecord | None]:
        """Run both queues at once; compare memory, beats, signals and traps with golden's."""
        memory, bus = self.memory, self.bus
        memory.read_beats = memory.write_beats = bus.read_beats = bus.write_beats = 0
        traps, signals = {}, {}
        for engine, items in work.items():
            traps[engine], signals[engine] = self._expect(engine, items)
            self.ports[engine].signals.clear()
            self.ports[engine].traps.clear()
            self.ports[engine].push(items)
        await self._wait_until_idle(3000 + 60 * (bus.read_beats + bus.write_beats))
        for engine in work:
            port, trap = self.ports[engine], traps[engine]
            assert port.signals == signals[engine]
            assert port.traps == ([] if trap is None else [trap])
        wrong = np.flatnonzero(memory.content != self.expected)
        assert not wrong.size, f"{wrong.size} wrong bytes, the first at {BASE + wrong[0]:#x}"
        if not any(traps.values()):
            assert (memory.read_beats, memory.write_beats) == (bus.read_beats, bus.write_beats)
        return traps

    def _expect(
        self, engine: Engine, items: list[QueueItem]
    ) -> tuple[TrapRecord | None, list[tuple[int, int]]]:
        """Let golden do the work; its trap, and the signals before it."""
        signals = []
        for item in items:
            fields = decode(encode(item.mnemonic, **item.fields)).fields
            try:
                if item.mnemonic == "load.dma":
                    dma_load(self.state, self.bus, fields)
                elif item.mnemonic == "store.dma":
                    dma_store(self.state, self.bus, fields)
            except EngineTrap as t:
                return TrapRecord(
                    cause=t.cause, engine=engine, pc=item.pc, address=t.address
                ), signals
            if item.signal is not None:
                signals.append(item.signal)
        return None, signals

    async def _wait_until_idle(self, budget: int) -> None:
        """Until both engines have been idle for some cycles, but no longer than the budget."""
        budget = int((budget + 100 * self.memory.latency) / (1 - self.rate) ** 2)
        edge, rest = RisingEdge(self._dut.clk), 0
        for _ in range(budget):
            await edge
            rest = rest + 1 if all(port.idle for port in self.ports.values()) else 0
            if rest > 8:
                return
        raise AssertionError(f"not idle after {budget} cycles")


async def transfers(dut, name: str, rate: float, rounds: int) -> None:
    """Rounds of loads in one half beside stores from the other; halves change places."""
    bench = await DmaBench.make(dut, config(), random_source(name))
    done = 0
    for number in range(rounds):
        bench.shape_traffic(rate, LATENCIES[number % len(LATENCIES)])
        half = number % 2
        work = {
            Engine.LOAD: bench.random_items(Engine.LOAD, half, 8),
            Engine.STORE: bench.random_items(Engine.STORE, 1 - half, 8),
        }
        traps = await bench.run(work)
        assert not any(traps.values())
        done += sum(len(items) for items in work.values())
    assert done == 16 * rounds
    # Stores that accumulate read one burst at a time.
    assert 1 < bench.memory.most_reads <= bench.cfg.max_reads + 1
    assert 1 < bench.memory.most_writes <= bench.cfg.max_writes


globals().update(tests_by_rate(transfers, "transfers_{}_pauses", {0: 32, 1: 16, 10: 16, 50: 16}))


def spoiled(item: QueueItem, rng: np.random.Generator, cfg: TileConfig, half: int) -> QueueItem:
    """A descriptor that may trap; where it goes astray it does so away from the other half."""
    fields = dict(item.fields)
    ways = [lambda: fields.update(mem_addr=fields["mem_addr"] + away * shift)]
    away, shift = 2 * half - 1, int(rng.integers(1, HALF_BYTES))
    if half == 1:
        ways.append(lambda: fields.update(sbuf_addr=fields["sbuf_addr"] + cfg.sbuf_depth // 4))
    if fields["layout"] == Layout.FREE:
        ways.append(lambda: fields.update(sbuf_addr=fields["sbuf_addr"] + 1))
        ways.append(lambda: fields.update(partition_stride1=cfg.n - 1))
    ways[int(rng.integers(len(ways)))]()
    return replace(item, fields=fields)


@cocotb.test()
async def a_trap_of_one_engine_leaves_the_other_alone(dut):
    """Bad descriptors in one queue or in both, and read errors; the other queue goes on."""
    rng = random_source("a_trap_of_one_engine_leaves_the_other_alone")
    bench = await DmaBench.make(dut, config(), rng)
    ways = (Trap.MEMORY_WINDOW, Trap.SBUF_RANGE, Trap.SBUF_ALIGNMENT)
    wanted = {(cause, engine) for cause in ways for engine in (Engine.LOAD, Engine.STORE)}
    wanted |= {(Trap.BUS_SLVERR, Engine.LOAD), (Trap.MEMORY_ALIGNMENT, Engine.STORE)}
    causes, failures = set(), 0
    for number in range(400):
        if number >= 60 and causes == wanted:
            break
        bench.shape_traffic((0, 0.2)[number % 2], LATENCIES[number % len(LATENCIES)])
        half = number // 2 % 2
        halves = {Engine.LOAD: half, Engine.STORE: 1 - half}
        work = {engine: bench.random_items(engine, h, 6) for engine, h in halves.items()}
        for engine, items in work.items():
            for index, item in enumerate(items):
                if item.fields and rng.random() < 0.15:
                    items[index] = spoiled(item, rng, bench.cfg, halves[engine])
        bench.fail_reads(work[Engine.LOAD] if number % 3 == 0 else ())
        traps = await bench.run(work)
        causes |= {(trap.cause, trap.engine) for trap in traps.values() if trap is not None}
        failed = traps[Engine.LOAD]
        if failed is not None and failed.cause is Trap.BUS_SLVERR:
            # What the load has written, and what not, is stored and compared.
            bench.fail_reads(())
            item = work[Engine.LOAD][failed.pc]
            fields = item.fields | {"accumulate": 0}
            await bench.run({Engine.STORE: [QueueItem(mnemonic="store.dma", fields=fields)]})
            failures += 1
    assert causes == wanted and failures > 8
