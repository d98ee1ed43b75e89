"""Semaphores in cycles: one operation a cycle, round-robin over the ports of engines."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula_sw.program.timing.clock import LAST, Clock
from tegula_sw.program.timing.latencies import Latencies

__all__ = ["Semaphores"]


@dataclass(frozen=True, slots=True)
class _Operation:
    """An operation that was chosen."""

    port: int
    semaphore: int
    value: int
    consumes: bool


@dataclass(slots=True)
class _Waiter:
    """A wait that is not over."""

    semaphore: int
    value: int
    consumes: bool
    over: Callable[[], None]


class Semaphores:
    """`tegula.control.semaphores.SemaphoreFile`: choice, read and execution, a cycle each.

    A wait is tried again and again, so that it takes a turn of the round. Nothing is computed while
    no try can succeed: then the tries repeat with a period, and only their phase matters.

    Parameters
    ----------
    clock, config, latencies
        Time and the tile.
    waits, signals
        Ports of either kind, in the order of the engines; waits come first in the round.
    """

    def __init__(
        self, clock: Clock, config: TileConfig, latencies: Latencies, waits: int, signals: int
    ):
        self._clock = clock
        self._waits, self._ports = waits, waits + signals
        self._counts = [0] * config.semaphores
        self._waiters: dict[int, _Waiter] = {}
        self._offers: dict[int, deque[tuple[int, int, Callable[[], None]]]] = {}
        self._stages: deque[_Operation | None] = deque([None] * (latencies.signal - 1))
        self._last = self._ports - 1
        self._awake, self._next_cycle = False, 0
        self._in_flight = 0

    def wait(self, port: int, fields: dict[str, int], over: Callable[[], None]) -> None:
        """Try the wait of an instruction from now on; `over` is called in the cycle it ends."""
        self._wake()
        self._waiters[port] = _Waiter(
            fields["wait_sem"], fields["wait_value"], bool(fields["consume"]), over
        )

    def signal(
        self, port: int, cycle: int, fields: dict[str, int], taken: Callable[[], None]
    ) -> None:
        """Offer the signal of an instruction from `cycle` on; `taken` is called when it is."""

        def offer() -> None:
            self._wake()
            self._offers.setdefault(port, deque()).append(
                (fields["signal_sem"], fields["signal_value"], taken)
            )

        self._clock.call(cycle, offer)

    def _wake(self) -> None:
        if self._awake:
            return
        self._awake = True
        now = self._clock.now
        period = max(len(self._stages) + 1, len(self._waiters))
        asleep = now - self._next_cycle
        if self._waiters and asleep > 0:
            for _ in range(min(asleep, 2 * period + asleep % period)):
                self._advance()
        self._clock.call(max(now, self._next_cycle), self._cycle, LAST)

    def _cycle(self) -> None:
        """One cycle, and the next if anything can come of it."""
        self._advance()
        self._next_cycle = self._clock.now + 1
        if self._offers or self._in_flight or self._can_end():
            self._clock.call(self._next_cycle, self._cycle, LAST)
        else:
            self._awake = False

    def _can_end(self) -> bool:
        return any(
            self._counts[waiter.semaphore] >= waiter.value for waiter in self._waiters.values()
        )

    def _advance(self) -> None:
        operation = self._stages.popleft()
        if operation is not None:
            self._execute(operation)
        tried = {stage.port for stage in self._stages if stage is not None}
        if operation is not None:
            tried.add(operation.port)
        chosen = self._choose(tried)
        self._stages.append(chosen)

    def _choose(self, tried: set[int]) -> _Operation | None:
        """The first request behind the port that was chosen last."""
        for step in range(1, self._ports + 1):
            port = (self._last + step) % self._ports
            if port < self._waits:
                waiter = self._waiters.get(port)
                if waiter is None or port in tried:
                    continue
                self._last = port
                return _Operation(port, waiter.semaphore, waiter.value, waiter.consumes)
            offers = self._offers.get(port)
            if offers:
                semaphore, value, taken = offers.popleft()
                if not offers:
                    del self._offers[port]
                self._last = port
                self._in_flight += 1
                taken()
                return _Operation(port, semaphore, value, False)
        return None

    def _execute(self, operation: _Operation) -> None:
        if operation.port >= self._waits:
            self._counts[operation.semaphore] += operation.value
            self._in_flight -= 1
            return
        if self._counts[operation.semaphore] >= operation.value:
            if operation.consumes:
                self._counts[operation.semaphore] -= operation.value
            self._waiters.pop(operation.port).over()
