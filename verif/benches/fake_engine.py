"""Engines behind the front end's toplevel, and a journal of what they exchange with it."""

import numpy as np
from cocotb.triggers import RisingEdge

from tegula.config import TileConfig
from tegula.engine.interface import instruction_layout, signal_layout
from tegula.isa.instructions import Engine
from verif.support.engine_model import Accepted, EngineModel

__all__ = ["CocotbEngine", "Journal"]

_DURATIONS = (0, 0, 1, 3, 12, 40)


class Journal:
    """Transfers between the front end and all engines, in order.

    Attributes
    ----------
    events
        `Accepted`, and (semaphore, value) where a signal was taken.
    """

    def __init__(self):
        self.events: list[Accepted | tuple[int, int]] = []

    def accepted(self, engine: Engine) -> list[Accepted]:
        """Instructions that an engine received."""
        return [e for e in self.events if isinstance(e, Accepted) and e.engine == engine]


class CocotbEngine(EngineModel):
    """An engine at the ports of the front end's toplevel."""

    def __init__(
        self,
        dut,
        config: TileConfig,
        engine: Engine,
        journal: Journal,
        rng: np.random.Generator,
    ):
        super().__init__(engine, _DURATIONS, lambda count: int(rng.integers(count)))
        self._dut, self._journal, self._rng = dut, journal, rng
        self._item, self._update = instruction_layout(engine), signal_layout(config)

    def _port(self, name: str):
        return getattr(self._dut, f"{self.engine.name.lower()}__{name}")

    async def run(self) -> None:
        """Cycles for ever."""
        edge = RisingEdge(self._dut.clk)
        for name in ("busy", "stall", "trap_valid", "trap"):
            self._port(name).value = 0
        self._offer(accepts=True)
        self._port("idle").value = 1
        while True:
            await edge
            self._take()
            stop = int(self._port("stop").value)
            trap = self.cycle(stop)
            self._port("trap_valid").value = int(trap is not None)
            if trap is not None:
                self._port("trap").value = trap
            self._port("idle").value = int(self.idle)
            self._offer(accepts=self.has_room and not stop and self._rng.random() < 0.7)

    def _take(self) -> None:
        """Note what was transferred at this edge."""
        for port in range(len(self.outgoing)):
            valid, ready = (self._port(f"signals{port}__{x}") for x in ("valid", "ready"))
            if valid.value and ready.value:
                self._journal.events.append(self.signal_taken(port))
        if self._port("instr__valid").value and self._port("instr__ready").value:
            assert not self._port("stop").value, "an instruction while stopped"
            word = int(self._port("instr__payload").value)
            fields = {
                name: word >> self._item[name].offset & ((1 << self._item[name].width) - 1)
                for name in self._item.members
            }
            item = Accepted(engine=self.engine, place=fields.pop("pc"), **fields)
            self._journal.events.append(item)
            self.accept(item)

    def _offer(self, *, accepts: bool) -> None:
        self._port("instr__ready").value = int(accepts)
        for port, queue in enumerate(self.outgoing):
            self._port(f"signals{port}__valid").value = int(bool(queue))
            if queue:
                semaphore, value = queue[0]
                payload = semaphore << self._update["sem"].offset
                payload |= value << self._update["value"].offset
                self._port(f"signals{port}__payload").value = payload
