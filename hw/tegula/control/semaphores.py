"""Counting semaphores that engines wait on and signal."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import signal_layout
from tegula.isa.instructions import ENGINE_BITS, ENGINES, SIGNAL_VALUE_BITS, Engine

__all__ = ["SIGNAL_CYCLES", "SIGNAL_PORTS", "SemaphoreFile", "wait_layout"]

SIGNAL_PORTS = {engine: 2 if engine == Engine.TENSOR else 1 for engine in ENGINES}
"""Signal ports of each engine."""

SIGNAL_CYCLES = 3
"""Cycles from a signal's handshake to the first in which a wait for it can be over."""


def wait_layout(config: TileConfig) -> data.StructLayout:
    """A wait: over when semaphore `sem` is at least `value`, which `consume` then subtracts."""
    return data.StructLayout(
        {"sem": range(config.semaphores), "value": config.semaphore_width, "consume": 1}
    )


class SemaphoreFile(wiring.Component):
    """Counting semaphores: `count[sem] += value` on a signal; `count[sem] >= value` ends a wait.

    One operation a cycle, shared round-robin by all ports: a request is served within as many
    cycles as there are ports (5 waits and 6 signals). A wait that is served and not satisfied
    is tried again in a later round, and delays no other port.

    Latency: the operation chosen in one cycle reads its count in the next, and compares and writes
    it in the third. A signal's handshake comes when it is chosen, a wait's in the third cycle, when
    its port may request again; `SIGNAL_CYCLES`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    waits : In(stream of `wait_layout`) x 5
        In the order of `ENGINES`. The handshake is the end of the wait (and its subtraction).
    signals : In(stream of `signal_layout`) x 6
        In the order of `ENGINES`, each engine's `SIGNAL_PORTS` next to each other.
    clear : In(1)
        Sets all counts to zero and drops the operation in progress.
    overflow : Out(1), overflow_engine : Out(ENGINE_BITS)
    overflow_sem : Out(range(semaphores))
        For one cycle: a signal would have carried a semaphore past its width. The count is kept.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        self._signallers = [engine for engine in ENGINES for _ in range(SIGNAL_PORTS[engine])]
        sem, value = range(config.semaphores), max(config.semaphore_width, SIGNAL_VALUE_BITS)
        self._operation = data.StructLayout(
            {"is_wait": 1, "consume": 1, "sem": sem, "value": value, "engine": ENGINE_BITS}
        )
        super().__init__(
            {
                "waits": In(stream.Signature(wait_layout(config))).array(len(ENGINES)),
                "signals": In(stream.Signature(signal_layout(config))).array(len(self._signallers)),
                "clear": In(1),
                "overflow": Out(1),
                "overflow_engine": Out(ENGINE_BITS),
                "overflow_sem": Out(range(config.semaphores)),
            }
        )

    def elaborate(self, platform):
        """Choice of an operation, read of its count, execution: a cycle each."""
        m = Module()
        waits, signals = list(self.waits), list(self.signals)
        ports = waits + signals

        # A wait that is being tried requests nothing: it would be granted, and consume, twice.
        reading, executing = Signal(len(ports)), Signal(len(ports))
        being_tried = Signal(len(ports))
        requests = Signal(len(ports))
        chosen = Signal(len(ports))
        m.d.comb += [
            being_tried.eq((reading | executing)[: len(waits)]),
            requests.eq(Cat(port.valid for port in ports) & ~being_tried),
        ]
        self._choose(m, requests, chosen)
        m.d.comb += [port.ready.eq(chosen[len(waits) + i]) for i, port in enumerate(signals)]
        m.d.sync += [
            reading.eq(Mux(self.clear, 0, chosen)),
            executing.eq(Mux(self.clear, 0, reading)),
        ]

        to_read = Signal(self._operation)
        for i, port in enumerate(ports):
            with m.If(chosen[i]):
                is_wait = i < len(waits)
                engine = ENGINES[i] if is_wait else self._signallers[i - len(waits)]
                m.d.sync += [
                    to_read.is_wait.eq(is_wait),
                    to_read.consume.eq(port.payload.consume if is_wait else 0),
                    to_read.sem.eq(port.payload.sem),
                    to_read.value.eq(port.payload.value),
                    to_read.engine.eq(engine),
                ]
        self._execute(m, to_read, executing)
        return m

    def _choose(self, m: Module, requests, chosen) -> None:
        """The first request after the one that was chosen last, round-robin."""
        later = Signal(len(requests))
        candidates = Signal(len(requests))
        m.d.comb += candidates.eq(Mux((requests & later).any(), requests & later, requests))
        # Whether a candidate comes before each port: prefix ORs, shorter than a carry chain.
        behind = Cat(candidates[:i].any() for i in range(len(requests)))
        m.d.comb += chosen.eq(candidates & ~behind)
        with m.If(requests.any()):
            m.d.sync += later.eq(behind)

    def _execute(self, m: Module, to_read, executing) -> None:
        """Read of a count, or of what is being written to it; then comparison and write."""
        config = self._config
        width = config.semaphore_width
        counts = Array(Signal(width, name=f"count{i}") for i in range(config.semaphores))
        operation = Signal(self._operation)
        count = Signal(width)
        total = Signal(operation.value.shape().width + 1)
        result = Signal(width)
        satisfied, overflows, writes = Signal(), Signal(), Signal()

        m.d.comb += [
            satisfied.eq(operation.is_wait & (count >= operation.value)),
            total.eq(count + operation.value),
            overflows.eq(~operation.is_wait & total[width:].any()),
            result.eq(Mux(operation.is_wait, count - operation.value, total)),
            writes.eq(
                executing.any() & Mux(operation.is_wait, satisfied & operation.consume, ~overflows)
            ),
        ]
        for i, port in enumerate(self.waits):
            m.d.comb += port.ready.eq(executing[i] & satisfied)

        forwarded = writes & (operation.sem == to_read.sem)
        m.d.sync += [
            operation.eq(to_read),
            count.eq(Mux(forwarded, result, counts[to_read.sem])),
            self.overflow.eq(executing.any() & overflows & ~self.clear),
            self.overflow_engine.eq(operation.engine),
            self.overflow_sem.eq(operation.sem),
        ]
        with m.If(writes):
            m.d.sync += counts[operation.sem].eq(result)
        with m.If(self.clear):
            m.d.sync += [signal.eq(0) for signal in counts]
