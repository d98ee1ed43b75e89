"""Counting semaphores that engines wait on and signal."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.instructions import ENGINES, Engine
from tegula.signatures import signal_layout

__all__ = ["SIGNAL_CYCLES", "SIGNAL_PORTS", "SemaphoreFile", "wait_layout"]

SIGNAL_PORTS = {Engine.TENSOR: 2, Engine.VECTOR: 1, Engine.LOAD: 1, Engine.STORE: 1}
"""Signal ports of each engine."""

SIGNAL_CYCLES = 2
"""Cycles from a signal's handshake to the first in which a wait can see its effect."""


def wait_layout(config: TileConfig) -> data.StructLayout:
    """A wait: over when semaphore `sem` is at least `value`, which `consume` then subtracts."""
    return data.StructLayout(
        {"sem": range(config.semaphores), "value": config.semaphore_width, "consume": 1}
    )


class SemaphoreFile(wiring.Component):
    """Counting semaphores: `count[sem] += value` on a signal; `count[sem] >= value` ends a wait.

    One operation a cycle, shared round-robin by all ports: a port that asks is served within as
    many cycles as there are ports (4 waits and 5 signals). A wait that is served and not satisfied
    is tried again in a later round, and holds up nobody.

    Latency: the operation chosen in one cycle reads, compares and writes its count in the next. So
    a signal's handshake comes when it is chosen, a wait's one cycle later; `SIGNAL_CYCLES`.

    Parameters
    ----------
    config
        Gives the number of semaphores and their width.

    Members
    -------
    waits : In(stream of `wait_layout`) x 4
        In the order of `ENGINES`. The handshake is the end of the wait (and its subtraction).
    signals : In(stream of `signal_layout`) x 5
        In the order of `ENGINES`, each engine's `SIGNAL_PORTS` next to each other.
    clear : In(1)
        Sets all counts to zero and forgets the operation under way.
    overflow : Out(1), overflow_engine : Out(4), overflow_sem : Out
        For one cycle: a signal would have carried a semaphore past its width. The count is kept.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        self._signallers = [engine for engine in ENGINES for _ in range(SIGNAL_PORTS[engine])]
        super().__init__(
            {
                "waits": In(stream.Signature(wait_layout(config))).array(len(ENGINES)),
                "signals": In(stream.Signature(signal_layout(config))).array(len(self._signallers)),
                "clear": In(1),
                "overflow": Out(1),
                "overflow_engine": Out(4),
                "overflow_sem": Out(range(config.semaphores)),
            }
        )

    def elaborate(self, platform):
        """Choose an operation; execute it in the next cycle."""
        config = self._config
        m = Module()
        waits, signals = list(self.waits), list(self.signals)
        ports = waits + signals

        # A wait that is being tried does not ask again: it would be granted, and consume, twice.
        tried = Signal(len(ports))
        being_tried = Signal(len(ports))
        asks = Signal(len(ports))
        chosen = Signal(len(ports))
        m.d.comb += being_tried.eq(tried[: len(waits)])
        m.d.comb += asks.eq(Cat(port.valid for port in ports) & ~being_tried)
        self._choose(m, asks, chosen)
        m.d.comb += [port.ready.eq(chosen[len(waits) + i]) for i, port in enumerate(signals)]

        operation = Signal(
            data.StructLayout(
                {
                    "is_wait": 1,
                    "consume": 1,
                    "sem": range(config.semaphores),
                    "value": max(config.semaphore_width, signals[0].payload.value.shape().width),
                    "engine": 4,
                }
            )
        )
        m.d.sync += tried.eq(Mux(self.clear, 0, chosen))
        for i, port in enumerate(ports):
            with m.If(chosen[i]):
                is_wait = i < len(waits)
                engine = ENGINES[i] if is_wait else self._signallers[i - len(waits)]
                m.d.sync += [
                    operation.is_wait.eq(is_wait),
                    operation.consume.eq(port.payload.consume if is_wait else 0),
                    operation.sem.eq(port.payload.sem),
                    operation.value.eq(port.payload.value),
                    operation.engine.eq(engine),
                ]
        self._execute(m, operation, tried)
        return m

    def _choose(self, m: Module, asks, chosen) -> None:
        """Choose the first that asks after the one that was chosen last."""
        later = Signal(len(asks))
        candidates = Signal(len(asks))
        m.d.comb += [
            candidates.eq(Mux((asks & later).any(), asks & later, asks)),
            chosen.eq(candidates & (~candidates + 1)),
        ]
        with m.If(chosen.any()):
            m.d.sync += later.eq(~(chosen | (chosen - 1)))

    def _execute(self, m: Module, operation, tried) -> None:
        config = self._config
        limit = (1 << config.semaphore_width) - 1
        counts = Array(
            Signal(config.semaphore_width, name=f"count{i}") for i in range(config.semaphores)
        )
        count = counts[operation.sem]
        total = count + operation.value
        satisfied = Signal()
        m.d.comb += satisfied.eq(operation.is_wait & (count >= operation.value))
        for i, port in enumerate(self.waits):
            m.d.comb += port.ready.eq(tried[i] & satisfied)

        m.d.sync += [
            self.overflow.eq(0),
            self.overflow_engine.eq(operation.engine),
            self.overflow_sem.eq(operation.sem),
        ]
        with m.If(tried.any()):
            with m.If(operation.is_wait):
                with m.If(satisfied & operation.consume):
                    m.d.sync += count.eq(count - operation.value)
            with m.Elif(total > limit):
                m.d.sync += self.overflow.eq(1)
            with m.Else():
                m.d.sync += count.eq(total)
        with m.If(self.clear):
            m.d.sync += [signal.eq(0) for signal in counts]
            m.d.sync += self.overflow.eq(0)
