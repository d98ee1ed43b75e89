"""The front end's side of an engine's port, in cocotb: instructions in, signals and traps out."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cocotb.triggers import RisingEdge

from tegula.config import TileConfig
from tegula.engine.interface import TAG_BITS, instruction_layout, signal_layout
from tegula.isa.codec import encode
from tegula.isa.instructions import PAYLOAD_OFFSET, Engine
from tegula.isa.traps import CAUSE_BITS, Trap, TrapRecord

__all__ = ["EnginePort", "QueueItem"]


@dataclass(frozen=True, kw_only=True)
class QueueItem:
    """An instruction as its queue delivers it; `signal` is (semaphore, value)."""

    mnemonic: str
    fields: dict[str, int]
    pc: int = 0
    signal: tuple[int, int] | None = None

    def word(self, engine: Engine) -> int:
        """The item as the port carries it."""
        code = int.from_bytes(encode(self.mnemonic, **self.fields), "little")
        layout = instruction_layout(engine)
        semaphore, value = self.signal or (0, 0)
        values = {
            "pc": self.pc,
            "op": code & 0xF,
            "signal": int(self.signal is not None),
            "signal_sem": semaphore,
            "signal_value": value,
            "payload": code >> PAYLOAD_OFFSET,
        }
        return sum(values[name] << layout[name].offset for name in layout.members)


class EnginePort:
    """Offers instructions of a queue, takes signals, and stops the engine after a trap.

    Attributes
    ----------
    signals
        (semaphore, value) of every signal that was taken, in order.
    traps
        What the engine reported.
    """

    def __init__(self, dut, config: TileConfig, engine: Engine, rng: np.random.Generator):
        self._dut, self._config, self._engine, self._rng = dut, config, engine, rng
        self._prefix = engine.name.lower()
        self._queue: deque[int] = deque()
        self._rate = 0.0
        self.signals: list[tuple[int, int]] = []
        self.traps: list[TrapRecord] = []

    def shape_traffic(self, rate: float) -> None:
        """Share of cycles in which no instruction is begun, and in which no signal is taken."""
        self._rate = rate

    def push(self, items: Sequence[QueueItem]) -> None:
        """Queue instructions."""
        self._queue.extend(item.word(self._engine) for item in items)

    def _port(self, name: str):
        return getattr(self._dut, f"{self._prefix}__{name}")

    @property
    def idle(self) -> bool:
        """Nothing is queued, and the engine is idle."""
        return not self._queue and bool(self._port("idle").value)

    async def run(self) -> None:
        """Drive the port as the front end does, cycle by cycle."""
        valid, ready, payload = (self._port(f"instr__{x}") for x in ("valid", "ready", "payload"))
        sent, taken, signal = (self._port(f"signals0__{x}") for x in ("valid", "ready", "payload"))
        trap_valid, stop = self._port("trap_valid"), self._port("stop")
        edge = RisingEdge(self._dut.clk)
        valid.value = taken.value = stop.value = 0
        stopping = False
        while True:
            await edge
            if valid.value and ready.value and not stopping:
                self._queue.popleft()
                valid.value = 0
            if sent.value and taken.value:
                self.signals.append(self._signal(int(signal.value)))
            if trap_valid.value:
                assert not stopping, "a trap while stopped"
                self.traps.append(self._trap(int(self._port("trap").value)))
                self._queue.clear()
                valid.value, stop.value, stopping = 0, 1, True
            elif stopping and self._port("idle").value:
                stop.value, stopping = 0, False
            if self._queue and not stopping and self._rng.random() >= self._rate:
                valid.value, payload.value = 1, self._queue[0]
            taken.value = int(self._rng.random() >= self._rate)

    def _signal(self, value: int) -> tuple[int, int]:
        layout = signal_layout(self._config)
        semaphore, amount = (value >> layout[n].offset for n in ("sem", "value"))
        return semaphore & ((1 << layout["sem"].width) - 1), amount & 0xFF

    def _trap(self, value: int) -> TrapRecord:
        return TrapRecord(
            cause=Trap(value & ((1 << CAUSE_BITS) - 1)),
            engine=self._engine,
            pc=value >> CAUSE_BITS & ((1 << TAG_BITS) - 1),
            address=value >> (CAUSE_BITS + TAG_BITS),
        )
