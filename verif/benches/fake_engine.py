"""Engines for the front end's bench: they take instructions, dawdle, signal, and may trap."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from cocotb.triggers import RisingEdge

from tegula.config import TileConfig
from tegula.control.semaphores import SIGNAL_PORTS
from tegula.engine.interface import instruction_layout, signal_layout
from tegula.isa.instructions import PC_BITS, Engine
from tegula.isa.traps import Trap

__all__ = ["Accepted", "FakeEngine", "Journal"]

_TENSOR_LOAD = 1
"""Operation whose signal goes out on the tensor engine's second port."""

_DURATIONS = (0, 0, 1, 3, 12, 40)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An instruction as an engine received it; `pc` counts granules."""

    engine: Engine
    pc: int
    op: int
    signal: int
    signal_sem: int
    signal_value: int
    payload: int


class Journal:
    """What happened between the front end and all engines, in order.

    Attributes
    ----------
    events
        `Accepted`, and (semaphore, value) where a signal was taken.
    completed
        Instructions that were complete and signalled, of all engines.
    """

    def __init__(self):
        self.events: list[Accepted | tuple[int, int]] = []
        self.completed = 0

    def accepted(self, engine: Engine) -> list[Accepted]:
        """What an engine received."""
        return [e for e in self.events if isinstance(e, Accepted) and e.engine == engine]


class FakeEngine:
    """Plays one engine; works on instructions in order, each for a random time.

    Attributes
    ----------
    trap_at
        pc -> (cause, address): instructions that trap.
    """

    def __init__(
        self,
        dut,
        config: TileConfig,
        engine: Engine,
        journal: Journal,
        rng: np.random.Generator,
    ):
        self._dut, self._engine, self._journal, self._rng = dut, engine, journal, rng
        self._item, self._update = instruction_layout(engine), signal_layout(config)
        self._work: deque[list] = deque()
        self._outgoing = [deque() for _ in range(SIGNAL_PORTS[engine])]
        self.trap_at: dict[int, tuple[Trap, int]] = {}

    def _port(self, name: str):
        return getattr(self._dut, f"{self._engine.name.lower()}__{name}")

    async def run(self) -> None:
        """Play, cycle by cycle."""
        edge = RisingEdge(self._dut.clk)
        stop, idle = self._port("stop"), self._port("idle")
        for name in ("busy", "stall", "trap_valid", "trap"):
            self._port(name).value = 0
        trapped, lingering = False, 0
        self._offer(accepts=True)
        idle.value = 1
        while True:
            await edge
            self._take()
            self._port("trap_valid").value = 0
            if stop.value:
                lingering = int(self._rng.integers(0, 6)) if self._work else max(0, lingering - 1)
                self._work.clear()
                for queue in self._outgoing:
                    queue.clear()
                trapped = False
            elif self._work and not trapped:
                trapped = self._progress()
            pending = self._work or any(self._outgoing) or trapped or lingering
            idle.value = int(not pending)
            accepts = len(self._work) < 2 and not trapped and not stop.value
            self._offer(accepts=accepts and self._rng.random() < 0.7)

    def _take(self) -> None:
        """Note what was transferred at this edge."""
        for port, queue in enumerate(self._outgoing):
            valid, ready = (self._port(f"signals{port}__{x}") for x in ("valid", "ready"))
            if valid.value and ready.value:
                self._journal.events.append(queue.popleft())
                self._journal.completed += 1
        if self._port("instr__valid").value and self._port("instr__ready").value:
            assert not self._port("stop").value, "an instruction while stopped"
            word = int(self._port("instr__payload").value)
            fields = {
                name: word >> self._item[name].offset & ((1 << self._item[name].width) - 1)
                for name in self._item.members
            }
            item = Accepted(engine=self._engine, **fields)
            self._journal.events.append(item)
            self._work.append([int(self._rng.choice(_DURATIONS)), item])

    def _progress(self) -> bool:
        """A cycle of work; whether the instruction traps."""
        self._work[0][0] -= 1
        if self._work[0][0] >= 0:
            return False
        item = self._work[0][1]
        if item.pc in self.trap_at:
            if any(self._outgoing):
                return False  # signals of earlier instructions come first
            cause, address = self.trap_at[item.pc]
            self._port("trap_valid").value = 1
            self._port("trap").value = cause | item.pc << 4 | address << (4 + PC_BITS)
            return True
        self._work.popleft()
        if item.signal:
            second = self._engine == Engine.TENSOR and item.op == _TENSOR_LOAD
            self._outgoing[int(second)].append((item.signal_sem, item.signal_value))
        else:
            self._journal.completed += 1
        return False

    def _offer(self, *, accepts: bool) -> None:
        self._port("instr__ready").value = int(accepts)
        for port, queue in enumerate(self._outgoing):
            self._port(f"signals{port}__valid").value = int(bool(queue))
            if queue:
                semaphore, value = queue[0]
                payload = semaphore << self._update["sem"].offset
                payload |= value << self._update["value"].offset
                self._port(f"signals{port}__payload").value = payload
