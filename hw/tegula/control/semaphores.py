"""Counting semaphores that engines wait on and signal."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES, signal_layout
from tegula.isa.instructions import ENGINE_BITS, ENGINES, SIGNAL_VALUE_BITS, Engine
from tegula.lib.storage import add_lut_memory

__all__ = ["SIGNAL_CYCLES", "SIGNAL_PORTS", "SemaphoreFile", "wait_layout"]

SIGNAL_PORTS = {engine: 2 if engine == Engine.TENSOR else 1 for engine in ENGINES}
"""Signal ports of each engine."""

SIGNAL_CYCLES = SIGNAL_TO_INSTRUCTION_CYCLES - 1
"""Cycles from a signal's handshake to the first in which a wait for it can be over: registered at
the entry, chosen (1), executed while the wait is chosen (2), the wait executed (3)."""


def wait_layout(config: TileConfig) -> data.StructLayout:
    """A wait: over when semaphore `sem` is at least `value`, which `consume` then subtracts."""
    return data.StructLayout(
        {"sem": range(config.semaphores), "value": config.semaphore_width, "consume": 1}
    )


class SemaphoreFile(wiring.Component):
    """Counting semaphores: `count[sem] += value` on a signal; `count[sem] >= value` ends a wait.

    One operation a cycle. Waits share it round-robin, signals too; where a wait and a signal
    request it, they alternate. A wait is tried when it is new, and again after each signal to its
    semaphore, which is all that can end it: it takes no cycle from others meanwhile.

    Latency: an operation is chosen in one cycle, and reads, compares and writes its count in the
    next, a wait's handshake. A signal's handshake puts it into the register of its port, from which
    it is chosen; `SIGNAL_CYCLES`. Throughput of a port: a signal every two cycles.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    waits : In(stream of `wait_layout`) x 6
        In the order of `ENGINES`, then control's. The handshake is the end of the wait (and its
        subtraction).
    signals : In(stream of `signal_layout`) x 7
        In the order of `ENGINES`, each engine's `SIGNAL_PORTS` next to each other, then the host's.
        `ready` is a register.
    clear : In(1)
        While high, signals are dropped. From its rise on, all counts are set to zero, one a cycle,
        and no operation is served until they are.
    idle : Out(1)
        No signal of an engine is held or being executed.
    from_host : Out(1)
        A signal of the host is offered, held or executed, or was executed in the cycle before: the
        waits that it may end are over, if they are, when it falls.
    overflow : Out(1), overflow_engine : Out(ENGINE_BITS)
    overflow_sem : Out(range(semaphores))
        For one cycle: a signal would have carried a semaphore past its width. The count is kept.
        Of the host's signal the engine is CONTROL.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        engines = [engine for engine in ENGINES for _ in range(SIGNAL_PORTS[engine])]
        self._signallers = [*engines, Engine.CONTROL]
        sem, value = range(config.semaphores), max(config.semaphore_width, SIGNAL_VALUE_BITS)
        self._operation = data.StructLayout(
            {"is_wait": 1, "consume": 1, "sem": sem, "value": value, "engine": ENGINE_BITS}
        )
        super().__init__(
            {
                "waits": In(stream.Signature(wait_layout(config))).array(len(ENGINES) + 1),
                "signals": In(stream.Signature(signal_layout(config))).array(len(self._signallers)),
                "clear": In(1),
                "idle": Out(1),
                "from_host": Out(1),
                "overflow": Out(1),
                "overflow_engine": Out(ENGINE_BITS),
                "overflow_sem": Out(range(config.semaphores)),
            }
        )

    def elaborate(self, platform):
        """Registers of signals, choice of an operation, its execution."""
        m = Module()
        waits = list(self.waits)
        operation, valid = Signal(self._operation, reset_less=True), Signal()
        executing = Signal(len(waits))
        sweep, swept = self._sweep(m)
        serves = Signal()
        m.d.comb += serves.eq(swept & ~self.clear)

        count = len(self._signallers)
        taken, first, signal_goes = Signal(count), Signal(count), Signal()
        chosen = Signal(len(waits))
        signals, held = self._receive(m, taken)
        due = self._due(m, signals, first, signal_goes, executing)
        wait, signal, waits_go = self._choose(m, due, held, serves)
        m.d.comb += [
            first.eq(signal),
            signal_goes.eq(serves & ~waits_go),
            chosen.eq(wait & (serves & waits_go).replicate(len(wait))),
            taken.eq(signal & signal_goes.replicate(count)),
        ]
        m.d.sync += [
            valid.eq(serves & (due.any() | held.any())),
            executing.eq(Mux(self.clear, 0, chosen)),
            operation.is_wait.eq(waits_go),
        ]
        self._select(m, operation, signals, wait, signal, waits_go)
        self._execute(m, operation, valid & ~self.clear, executing, sweep, swept)
        of_host = operation.engine == Engine.CONTROL
        m.d.comb += self.idle.eq(~held[:-1].any() & ~(valid & (operation.is_wait | ~of_host)))
        executes, executed = Signal(), Signal()
        m.d.sync += executed.eq(executes)
        m.d.comb += [
            executes.eq(valid & ~operation.is_wait & of_host),
            self.from_host.eq(list(self.signals)[-1].valid | held[-1] | executes | executed),
        ]
        return m

    def _sweep(self, m: Module):
        """Address of the count to set to zero, while not all are since `clear` rose, or reset."""
        sweep, swept, was_clear = Signal(range(self._config.semaphores)), Signal(), Signal()
        m.d.sync += was_clear.eq(self.clear)
        with m.If(self.clear & ~was_clear):
            m.d.sync += [sweep.eq(0), swept.eq(0)]
        with m.Elif(~swept):
            m.d.sync += [sweep.eq(sweep + 1), swept.eq(sweep == self._config.semaphores - 1)]
        return sweep, swept

    def _receive(self, m: Module, taken):
        """The signal that each port holds, until it is `taken`."""
        held, signals = Signal(len(self._signallers)), []
        for i, port in enumerate(self.signals):
            signal = Signal(port.payload.shape(), name=f"signal{i}", reset_less=True)
            m.d.comb += port.ready.eq(~held[i])
            with m.If(~held[i]):
                m.d.sync += [held[i].eq(port.valid), signal.eq(port.payload)]
            with m.If(taken[i] | self.clear):
                m.d.sync += held[i].eq(0)
            signals.append(signal)
        return signals, held

    def _due(self, m: Module, signals, first, goes, executing):
        """Waits to be tried: new ones, and those whose semaphore is being signalled.

        One that was not chosen stays due; one that was is `executing` in the cycle behind. Which
        waits the `first` of the signals concerns is found beside the choice whether it `goes`.
        """
        due = Signal(len(executing))
        for i, wait in enumerate(self.waits):
            untried, signalled = Signal(name=f"untried{i}", init=1), Signal(name=f"signalled{i}")
            matches = Cat(signal.sem == wait.payload.sem for signal in signals)
            m.d.comb += due[i].eq(wait.valid & ((untried & ~executing[i]) | signalled))
            m.d.sync += [
                signalled.eq((matches & first).any() & goes),
                untried.eq(~wait.valid | wait.ready | due[i]),
            ]
        return due

    def _choose(self, m: Module, waits, signals, serves) -> tuple[Signal, Signal, Signal]:
        """The next of `waits` and of `signals`, and whether the former goes, or the latter.

        A wait goes first only right after a signal.
        """
        wait, signal = Signal(len(waits)), Signal(len(signals))
        was_signal, waits_go = Signal(), Signal()
        m.d.comb += waits_go.eq(waits.any() & (was_signal | ~signals.any()))
        m.d.sync += was_signal.eq(signals.any() & ~waits_go)
        _first_after_last(m, waits, wait, serves & waits_go)
        _first_after_last(m, signals, signal, serves & ~waits_go)
        return wait, signal, waits_go

    def _select(self, m: Module, operation, signals, wait, signal, waits_go) -> None:
        """The operation that is chosen, of the next wait and the next signal.

        Each is an OR of gated payloads, and is made beside the choice between them.
        """
        waits = [(bit, port.payload) for bit, port in zip(wait, self.waits, strict=True)]
        updates = list(zip(signal, signals, strict=True))
        for name in ("sem", "value"):
            of_wait, of_signal = (
                Signal(operation[name].shape(), name=f"{name}_of_{kind}")
                for kind in ("wait", "signal")
            )
            m.d.comb += [
                of_wait.eq(_gated((bit, item[name]) for bit, item in waits)),
                of_signal.eq(_gated((bit, item[name]) for bit, item in updates)),
            ]
            m.d.sync += operation[name].eq(Mux(waits_go, of_wait, of_signal))
        m.d.sync += [
            operation.consume.eq(_gated((bit, item.consume) for bit, item in waits)),
            operation.engine.eq(_gated(zip(signal, map(int, self._signallers), strict=True))),
        ]

    def _execute(self, m: Module, operation, valid, executing, sweep, swept) -> None:
        """Read of a count, comparison or sum, and write; or a count set to zero."""
        width = self._config.semaphore_width
        total = Signal(operation.value.shape().width + 1)
        result = Signal(width)
        satisfied, overflows, writes = Signal(), Signal(), Signal()
        count = add_lut_memory(
            m,
            "counts",
            width,
            self._config.semaphores,
            write=(
                writes | ~swept,
                Mux(swept, operation.sem, sweep),
                result & swept.replicate(width),
            ),
            read=operation.sem,
        )
        m.d.comb += [
            satisfied.eq(count >= operation.value),
            total.eq(count + operation.value),
            overflows.eq(total[width:].any()),
            result.eq(Mux(operation.is_wait, count - operation.value, total)),
            writes.eq(valid & Mux(operation.is_wait, satisfied & operation.consume, ~overflows)),
        ]
        for i, port in enumerate(self.waits):
            m.d.comb += port.ready.eq(executing[i] & ~self.clear & satisfied)
        m.d.sync += [
            self.overflow.eq(valid & ~operation.is_wait & overflows),
            self.overflow_engine.eq(operation.engine),
            self.overflow_sem.eq(operation.sem),
        ]


def _first_after_last(m: Module, requests, first, goes) -> None:
    """`first`: the first of `requests` after the one that last did go, round-robin."""
    count = len(requests)
    later, after, behind = Signal(count), Signal(count), Signal(count)
    m.d.comb += after.eq(requests & later)
    # Whether one comes before each port: prefix ORs, shorter than a carry chain; both at once.
    behind_after, behind_any = (
        Cat(candidates[:i].any() for i in range(count)) for candidates in (after, requests)
    )
    m.d.comb += [
        behind.eq(Mux(after.any(), behind_after, behind_any)),
        first.eq(Mux(after.any(), after & ~behind_after, requests & ~behind_any)),
    ]
    with m.If(goes):
        m.d.sync += later.eq(behind)


def _gated(choices):
    """The value whose bit is 1, of (bit, value), or 0."""
    result = Const(0, 1)
    for bit, value in choices:
        value = Value.cast(value)
        result = result | (value & bit.replicate(len(value)))
    return result
