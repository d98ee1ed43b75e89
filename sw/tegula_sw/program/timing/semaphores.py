"""Semaphores in cycles: one operation a cycle, waits and signals in turns."""

from collections.abc import Callable
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula_sw.program.timing.clock import LAST, Clock

__all__ = ["Semaphores"]


@dataclass(slots=True)
class _Waiter:
    """A wait that is not over; it is tried from cycle `begins` on, where it is `due`."""

    semaphore: int
    value: int
    consumes: bool
    over: Callable[[], None]
    begins: int
    due: bool = True


@dataclass(frozen=True, slots=True)
class _Signal:
    """A signal; `taken` is called when its port's register takes it."""

    semaphore: int
    value: int
    taken: Callable[[], None]


class Semaphores:
    """`tegula.control.semaphores.SemaphoreFile`: registers of signals, choice, execution.

    A wait is tried when it is new, and after each signal to its semaphore. Where waits and signals
    are due they alternate; among either it is round-robin. Nothing is computed while nothing is
    due.

    Parameters
    ----------
    clock, config
        Time and the tile.
    waits, signals
        Ports of either kind, in the order of the engines.

    Attributes
    ----------
    idle
        The cycle from which on no signal is held or being executed.
    """

    def __init__(self, clock: Clock, config: TileConfig, waits: int, signals: int):
        self._clock = clock
        self._ports = {True: waits, False: signals}
        self._counts = [0] * config.semaphores
        self._waiters: dict[int, _Waiter] = {}
        self._offers: dict[int, _Signal] = {}
        self._held: dict[int, _Signal] = {}
        self._executing: _Waiter | _Signal | None = None
        self._executing_port = 0
        self._last = {True: -1, False: -1}
        """The ports whose wait, and whose signal, was chosen last."""
        self._was_signal = False
        self._awake, self._next_cycle = False, 0
        self.idle = 0

    def wait(self, port: int, fields: dict[str, int], over: Callable[[], None]) -> None:
        """Try the wait of an instruction that is new now; `over` is called in the cycle it ends."""
        self._waiters[port] = _Waiter(
            fields["wait_sem"],
            fields["wait_value"],
            bool(fields["consume"]),
            over,
            self._clock.now + 1,
        )
        self._wake()

    def signal(
        self, port: int, cycle: int, fields: dict[str, int], taken: Callable[[], None]
    ) -> None:
        """Offer the signal of an instruction from `cycle` on; `taken` is called when it is."""

        def offer() -> None:
            self._offers[port] = _Signal(fields["signal_sem"], fields["signal_value"], taken)
            self._wake()

        self._clock.call(cycle, offer)

    def _wake(self) -> None:
        if self._awake:
            return
        self._awake = True
        cycle = max(self._clock.now, self._next_cycle)
        if cycle > self._next_cycle:
            self._was_signal, self._last[False] = False, -1
        self._clock.call(cycle, self._cycle, LAST)

    def _cycle(self) -> None:
        """One cycle, and the next if anything is to be done in it."""
        now = self._clock.now
        executing, self._executing = self._executing, None
        if executing is not None:
            self._execute(executing)
        waits = {
            port: waiter
            for port, waiter in self._waiters.items()
            if waiter.due and waiter.begins <= now
        }
        accepts = [port for port in self._offers if port not in self._held]
        waits_go = bool(waits) and (self._was_signal or not self._held)
        self._was_signal = bool(self._held) and not waits_go
        if waits_go:
            port = self._choose(list(waits), waits=True)
            self._executing, self._executing_port = waits[port], port
            waits[port].due = False
        elif self._held:
            signal = self._held.pop(self._choose(list(self._held), waits=False))
            self._executing = signal
            self.idle = now + 2
            for waiter in self._waiters.values():
                waiter.due |= waiter.semaphore == signal.semaphore
        else:
            self._last[False] = -1
        for port in accepts:
            signal = self._offers.pop(port)
            self._held[port] = signal
            signal.taken()
        self._next_cycle = now + 1
        if (
            self._executing is not None
            or self._offers
            or self._held
            or any(waiter.due for waiter in self._waiters.values())
        ):
            self._clock.call(self._next_cycle, self._cycle, LAST)
        else:
            self._awake = False

    def _choose(self, ports: list[int], *, waits: bool) -> int:
        """The first port behind the one that was chosen last."""
        count, last = self._ports[waits], self._last[waits]
        chosen = min(ports, key=lambda port: (port - last - 1) % count)
        self._last[waits] = chosen
        return chosen

    def _execute(self, operation: "_Waiter | _Signal") -> None:
        if isinstance(operation, _Signal):
            self._counts[operation.semaphore] += operation.value
            return
        if self._counts[operation.semaphore] >= operation.value:
            if operation.consumes:
                self._counts[operation.semaphore] -= operation.value
            self._waiters.pop(self._executing_port).over()
