"""The front end: fetch, dispatch in order, and the queue of each engine."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from tegula.isa.codec import Decoded, instructions
from tegula.isa.instructions import GRANULE_BYTES, Engine
from tegula_sw.program.timing.bus import Reader
from tegula_sw.program.timing.clock import Clock, Gate, Steps
from tegula_sw.program.timing.shared import Shared

__all__ = ["Fetch", "FrontEnd", "InstructionRegister", "Queue", "until_halt"]


def until_halt(program: bytes) -> list[Decoded]:
    """The instructions up to `halt`.

    Raises
    ------
    ValueError
        If one cannot be decoded, there is no `halt`, or an instruction of control before it.
    """
    found = []
    for offset, decoded in instructions(program):
        found.append(decoded)
        if decoded.mnemonic == "halt":
            return found
        if decoded.instruction.engine is Engine.CONTROL:
            raise ValueError(
                f"{decoded.mnemonic} at byte {offset}: the time of programs with loops and"
                " registers is not predicted"
            )
    raise ValueError("the program has no halt: it would trap at its end")


class Fetch:
    """Reads of the program ahead of the dispatch, in bursts of the greatest length.

    Parameters
    ----------
    shared
        Time, the tile, and its memory.
    address, granules
        Where the program begins, in bytes, and its length.
    """

    def __init__(self, shared: Shared, address: int, granules: int):
        clock, config = shared.clock, shared.config
        self._config, self._latencies = config, shared.latencies
        self._reads = shared.reads
        self._first = address // config.bus_bytes
        self._total = -(-granules * GRANULE_BYTES // config.bus_bytes)
        self._arrivals: list[int] = []
        self._taken = self._loaded = 0
        self._popped = self._filled = -1
        self._arrived, self._room = Gate(clock), Gate(clock)
        clock.start(self._process(clock), self._latencies.fetch_request)

    def _process(self, clock: Clock) -> Steps:
        longest, requested = self._config.max_burst_beats, 0
        while requested < self._total:
            while requested - self._taken > self._latencies.fetch_beats - longest:
                yield self._room
            room = yield from self._reads.room(Reader.FETCH)
            yield room
            beats = longest - (self._first + requested) % longest
            beats = min(beats, self._total - requested)
            self._reads.offer(Reader.FETCH, beats, self._take)
            requested += beats
            yield clock.now + _REQUEST_INTERVAL

    def _take(self, first: int, beats: int) -> Generator[int, None, int]:
        begin = first + self._latencies.bus
        self._arrivals.extend(range(begin, begin + beats))
        self._arrived.open(begin)
        yield first
        return first + beats - 1

    def granule(self, number: int, earliest: int) -> Steps:
        """Wait until granule `number` is taken, not before cycle `earliest`."""
        beat = ((number + 1) * GRANULE_BYTES - 1) // self._config.bus_bytes
        while beat >= len(self._arrivals):
            yield self._arrived
        free = self._popped
        while self._loaded <= beat:
            self._filled = self._load(self._arrivals[self._loaded], free)
            self._loaded += 1
            free = self._filled + 1
        cycle = max(earliest, self._filled + self._latencies.granule)
        yield cycle
        self._popped = cycle
        # With the last granule of a beat the register takes the next.
        left = (number + 1) * GRANULE_BYTES % self._config.bus_bytes
        self._taken = self._loaded + (left == 0)
        self._room.open(cycle + 1)

    def _load(self, arrival: int, free: int) -> int:
        """The cycle in which the register of granules takes a beat: as it passes, or stored."""
        return arrival if free <= arrival else max(free, arrival + _STORED)


_REQUEST_INTERVAL = 2
"""Cycles from a request of the fetch to the next."""

_STORED = 2
"""Cycles that a beat takes longer where it cannot pass the memory of beats by."""


@dataclass(slots=True)
class _Queued:
    """An instruction in a queue, from cycle `arrived` on."""

    decoded: Decoded
    arrived: int


class Queue:
    """`tegula.control.queues.EngineQueue`: instructions, and the wait at its head.

    Parameters
    ----------
    shared, port
        Time, the tile, and which port of the semaphores is the queue's.

    Attributes
    ----------
    valid
        The head's wait is over: the engine may take it.
    offered
        Opened when `valid` rises.
    """

    def __init__(self, shared: Shared, port: int):
        clock = shared.clock
        self._clock = clock
        self._semaphores, self._port = shared.semaphores, port
        self._depth = shared.config.queue_depth
        self._items: deque[_Queued] = deque()
        self._room, self._pushed, self._popped = Gate(clock), Gate(clock), Gate(clock)
        self.offered, self._over = Gate(clock), Gate(clock)
        self.valid = False
        self._waiting = False
        self._full_until = 0
        clock.start(self._process())

    def make_room(self) -> Steps:
        """Wait until an instruction can be dispatched: from the second cycle behind a take on."""
        if len(self._items) >= self._depth or self._full_until > self._clock.now:
            while len(self._items) >= self._depth:
                yield self._room
            yield self._full_until

    @property
    def empty(self) -> bool:
        """True if it holds nothing."""
        return not self._items

    def push(self, decoded: Decoded) -> None:
        """Dispatch an instruction in this cycle."""
        self._items.append(_Queued(decoded, self._clock.now))
        self._pushed.open(self._clock.now)

    def take(self) -> Decoded:
        """Take the head in this cycle."""
        self.valid = False
        self._popped.open(self._clock.now + 1)
        if len(self._items) >= self._depth:
            self._full_until = self._clock.now + _ROOM
            self._room.open(self._full_until)
        return self._items.popleft().decoded

    def head(self) -> Decoded:
        """The instruction at the head."""
        return self._items[0].decoded

    def _end_wait(self) -> None:
        self._waiting = False
        self._over.open(self._clock.now)

    def _process(self) -> Steps:
        while True:
            while not self._items:
                yield self._pushed
            head = self._items[0]
            yield head.arrived
            fields = head.decoded.fields
            if fields["wait"]:
                self._waiting = True
                self._semaphores.wait(self._port, fields, self._end_wait)
                while self._waiting:
                    yield self._over
            self.valid = True
            self.offered.open(self._clock.now)
            while self.valid:
                yield self._popped


_ROOM = 2
"""Cycles from a take of a full queue to its room."""


class InstructionRegister:
    """`tegula.engine.acceptance.InstructionRegister`, between a queue and its engine.

    Parameters
    ----------
    shared, queue
        Time and the tile, and the queue.

    Attributes
    ----------
    valid, offered
        As those of `Queue`.
    """

    def __init__(self, shared: Shared, queue: Queue):
        self._clock, self._latency = shared.clock, shared.latencies.instruction
        self._queue = queue
        self._held: list[Decoded] = []
        self.offered, self._taken = Gate(shared.clock), Gate(shared.clock)
        self.valid = False
        shared.clock.start(self._process())

    def head(self) -> Decoded:
        """The instruction that it holds."""
        return self._held[0]

    def take(self) -> Decoded:
        """Take it in this cycle."""
        self.valid = False
        self._taken.open(self._clock.now + 1)
        return self._held.pop()

    def _process(self) -> Steps:
        while True:
            while not self._queue.valid:
                yield self._queue.offered
            self._held.append(self._queue.take())
            yield self._clock.now + self._latency
            self.valid = True
            self.offered.open(self._clock.now)
            while self.valid:
                yield self._taken


class FrontEnd:
    """Decoder and dispatch, in the order of the program.

    Parameters
    ----------
    shared, fetch, queues, program
        Time and the tile; where granules come from and instructions go to.

    Attributes
    ----------
    halted
        The cycle in which `halt` is reached; None before.
    """

    def __init__(
        self, shared: Shared, fetch: Fetch, queues: dict[Engine, Queue], program: list[Decoded]
    ):
        self.halted: int | None = None
        clock = shared.clock
        self._clock, self._latencies = clock, shared.latencies
        self._collected: deque[tuple[Decoded, int]] = deque()
        self._dispatches: deque[tuple[int, int]] = deque()
        self._whole, self._advanced = Gate(clock), Gate(clock)
        clock.start(self._collect(fetch, program))
        clock.start(self._dispatch(queues))

    def _collect(self, fetch: Fetch, program: list[Decoded]) -> Steps:
        """Granules, which the decoder takes as long as it has room."""
        ends: deque[int] = deque()
        """Positions behind instructions: the granules that follow wait for their dispatch."""
        popped = position = 0
        free = 0
        for decoded in program:
            end = position + decoded.size // GRANULE_BYTES
            for number in range(position, end):
                while ends and number >= ends[0]:
                    while not self._dispatches:
                        yield self._advanced
                    ends.popleft()
                    free = self._dispatches.popleft()[1]
                yield from fetch.granule(number, max(popped + 1, free))
                popped = self._clock.now
            position = end
            ends.append(end)
            self._collected.append((decoded, popped))
            self._whole.open(popped)

    def _dispatch(self, queues: dict[Engine, Queue]) -> Steps:
        clock = self._clock
        position = 0
        while True:
            while not self._collected:
                yield self._whole
            decoded, popped = self._collected.popleft()
            granules = decoded.size // GRANULE_BYTES
            yield popped + self._latencies.decode
            engine = decoded.instruction.engine
            if engine is Engine.CONTROL:
                self.halted = clock.now
                return
            queue = queues[engine]
            yield from queue.make_room()
            dispatched = clock.now
            position += granules
            self._dispatches.append((position, dispatched))
            self._advanced.open(dispatched)
            queue.push(decoded)
