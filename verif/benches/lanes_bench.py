"""An engine of lanes, vector or activation, beside its golden twin."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from cocotb.triggers import RisingEdge

from tegula.config import TileConfig
from tegula.formats import FP32, RAW32
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.state import EngineTrap, TileState
from tegula_sw.program.footprint import overwrites_operand
from tegula_sw.program.ordering import order
from tegula_sw.program.program import Program
from tegula_sw.program.schedule import Op
from verif.benches.engine_port import EnginePort, QueueItem
from verif.benches.lane_memories import ActivationMemories, VectorMemories
from verif.benches.testbench import start

__all__ = ["LanesBench"]

_REST_CYCLES = 6
"""Cycles of rest after which nothing more is awaited."""

_FORMAT_OF = {"x_addr": "x_format", "y_addr": "y_format", "dst": "format"}

Golden = Callable[[TileState, dict[str, int]], None]


class LanesBench:
    """Runs instructions back to back on the engine and on golden; both live through all of them.

    Attributes
    ----------
    done, causes
        Instructions that were executed to their end, and traps that were met by cause, so far.
    """

    def __init__(
        self,
        dut,
        config: TileConfig,
        rng: np.random.Generator,
        engine: Engine,
        golden: dict[str, Golden],
        state: TileState,
    ):
        self.config, self.rng, self.state = config, rng, state
        self._dut, self._engine, self._golden = dut, engine, golden
        memories = {Engine.VECTOR: VectorMemories, Engine.ACTIVATION: ActivationMemories}[engine]
        self.memories = memories(dut, config, rng, state)
        self.port = EnginePort(dut, config, engine, rng)
        self.done, self.causes = 0, Counter()

    async def begin(self) -> None:
        """Out of reset."""
        await start(self._dut, self.memories, self.port)

    def shape_traffic(self, rate: float) -> None:
        """Share of cycles in which a grant, an instruction, or a signal's place is withheld."""
        self._rate = rate
        self.memories.shape_traffic(rate)
        self.port.shape_traffic(rate)

    def items(self, ops: Sequence[Op]) -> list[QueueItem]:
        """`ops` with signals at random; those that may overlap say so."""
        ordered = order(Program(self.config), ops)[self._engine]
        assert len(ordered) == len(ops)
        items = []
        for pc, op in enumerate(ordered):
            signal = None
            if self.rng.random() < 0.7:
                semaphore = int(self.rng.integers(self.config.semaphores))
                signal = (semaphore, int(self.rng.integers(256)))
            items.append(QueueItem(mnemonic=op.mnemonic, fields=op.fields, pc=pc, signal=signal))
        return items

    async def run(self, items: Sequence[QueueItem], budget_cycles: int) -> int:
        """Run `items`; compare scratchpad, signals and trap with golden's. Cycles that it took."""
        trap, signals = self._expect(items)
        port = self.port
        port.signals.clear()
        port.traps.clear()
        port.push(items)
        cycles = await self._wait_until_idle(int(budget_cycles / (1 - self._rate) ** 2))
        assert port.traps == ([] if trap is None else [trap])
        assert port.signals == signals
        wrong = np.argwhere(self.memories.words != self.state.sbuf)
        assert not wrong.size, (
            f"{len(wrong)} wrong words, the first (partition, address) {wrong[0]}"
        )
        self.done += len(items) if trap is None else trap.pc
        self.causes.update(trap.cause for trap in port.traps)
        return cycles

    def _expect(
        self, items: Sequence[QueueItem]
    ) -> tuple[TrapRecord | None, list[tuple[int, int]]]:
        """Let golden do the work; its trap, and the signals before it."""
        signals = []
        for item in items:
            fields = decode(encode(item.mnemonic, **item.fields)).fields
            try:
                if item.mnemonic in self._golden:
                    self._golden[item.mnemonic](self.state, fields)
            except EngineTrap as trap:
                where = {"engine": self._engine, "pc": item.pc}
                return TrapRecord(cause=trap.cause, address=trap.address, **where), signals
            if item.signal is not None:
                signals.append(item.signal)
        return None, signals

    async def run_until_trapped(
        self,
        random_items: Callable[[], list[QueueItem]],
        budget_of: Callable[[list[QueueItem]], int],
        wanted: dict[Trap, int],
    ) -> None:
        """Rounds with a bad address each, until each cause has been met as often as is wanted."""
        for number in range(400):
            if all(self.causes[cause] >= count for cause, count in wanted.items()):
                return
            self.shape_traffic((0, 0.1, 0.5)[number % 3])
            items = spoiled(random_items(), self.rng, self.config)
            await self.run(items, budget_of(items))
        raise AssertionError(f"only {self.causes}")

    async def _wait_until_idle(self, budget: int) -> int:
        """Until the engine has been idle for some cycles; how long it was not."""
        edge, rest = RisingEdge(self._dut.clk), 0
        for cycle in range(budget + _REST_CYCLES):
            await edge
            rest = rest + 1 if self.port.idle else 0
            if rest == _REST_CYCLES:
                return cycle + 1 - _REST_CYCLES
        raise AssertionError(f"not idle after {budget} cycles")


def spoiled(
    items: Sequence[QueueItem], rng: np.random.Generator, config: TileConfig
) -> list[QueueItem]:
    """`items`, one of which has an address that is not there or not aligned: it may trap."""
    where = int(rng.integers(len(items)))
    while not items[where].fields:
        where = int(rng.integers(len(items)))
    before, bad, *after = items[:where], items[where], *items[where + 1 :]
    while True:
        fields = dict(bad.fields)
        names = [name for name in ("x_addr", "y_addr", "dst", "sum_dst", "addr") if name in fields]
        name = str(rng.choice(names))
        wide = fields.get(_FORMAT_OF.get(name, ""), FP32.code) in (FP32.code, RAW32)
        if wide and rng.random() < 0.7:
            fields[name] = int(fields[name]) | 1
        else:
            fields[name] = config.sbuf_depth - int(rng.integers(0, 40))
        if overwrites_operand(decode(encode(bad.mnemonic, config, **fields)), config) is None:
            break
    # What followed may not overlap with results that are elsewhere now.
    changed = [replace(bad, fields=fields), *after]
    return [*before, *(replace(item, fields=item.fields | _waits(item)) for item in changed)]


def _waits(item: QueueItem) -> dict[str, int]:
    return {"overlap": 0} if "overlap" in item.fields else {}
