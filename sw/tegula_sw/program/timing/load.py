"""The load engine in cycles."""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula_sw.program.timing.bus import Reader, Take
from tegula_sw.program.timing.clock import Clock, Gate, Steps
from tegula_sw.program.timing.dma import Run, Runs, bursts, chunk_addr, chunk_words, read_chunk
from tegula_sw.program.timing.front_end import Queue
from tegula_sw.program.timing.latencies import Latencies
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared

__all__ = ["LoadEngine"]


_PASSED = 2
"""Cycles in which an instruction without work passes the queue of runs and the register behind."""

_RANK = 4
"""Its turn in a cycle: it sees which banks those before it take."""


class _Room:
    """Room for `count` items, each free again from a cycle that is known when it is given."""

    def __init__(self, clock: Clock, count: int):
        self._free: deque[int] = deque([0] * count)
        self._given = Gate(clock)

    def take(self) -> Generator[Gate, None, int]:
        """The cycle from which on there is room."""
        while not self._free:
            yield self._given
        return self._free.popleft()

    def give(self, cycle: int) -> None:
        """Room from `cycle` on."""
        self._free.append(cycle)
        self._given.open(0)


_ROOM = 1
"""Cycles from a chunk's leaving the queue to the flag that there is room for beats."""


_BUFFERED = 2
"""Bursts that are split and not issued: those in a `StreamBuffer`."""


class _Path:
    """From the bus to the scratchpad: a register of a beat, a queue of chunks, a buffer of writes.

    Of a run that does not begin at a bus word, a chunk is whole when the next beat is there, and
    the last beat may hold no chunk of its own (`tegula.dma.align`).

    Attributes
    ----------
    words, parts
        Words that the scratchpad takes in a cycle, and such parts of a chunk.
    done
        Words of the run that are written.
    entered, requested
        The cycles in which the last write entered the buffer, and was requested.
    written
        Cycles of the last two writes.
    """

    def __init__(self, config: TileConfig, latencies: Latencies):
        self._config, self._latencies = config, latencies
        self._latency = latencies.bus + latencies.beat_to_write
        room = latencies.load_room + _ROOM + latencies.bus
        self._passed: deque[int] = deque([-room] * room, maxlen=room)
        """Cycles in which as many chunks as are between memory and the scratchpad left."""
        self._received = self._chunks = self._made = 0
        self._late = False
        self.words = self.parts = 1
        self.done = 0
        self.entered = self.requested = self._before = -1
        self.written: deque[int] = deque([-1, -1], maxlen=2)

    def begin(self, run: Run, words: int, bytes1: bool) -> None:
        """Begin a run."""
        self.words = words
        self.parts = self._config.bus_bytes // (words * (1 if bytes1 else 2))
        self._late = run.mem_addr % self._config.bus_bytes > 0
        self._chunks = -(-run.size_bytes // self._config.bus_bytes)
        self._received = self._made = self.done = 0

    def receive(self, cycle: int) -> int:
        """The cycle from `cycle` on in which a beat is taken: one with room two cycles before."""
        self._received += 1
        while self._passed[0] > cycle - _ROOM - self._latencies.bus:
            cycle = self._passed[0] + _ROOM + self._latencies.bus
        return cycle

    def enter(self, ready: int) -> None:
        """A write that may be requested from `ready` on enters the buffer, of two."""
        self.entered = max(ready - 1, self.entered + 1, self._before + 1)

    def request(self, cycle: int) -> None:
        """The write that entered last is requested."""
        self._before, self.requested = self.requested, cycle

    def pass_on(self) -> None:
        """The last chunk leaves the queue with its last write."""
        self._passed.append(self.entered)

    def leave(self, cycle: int, last: bool) -> Iterator[int]:
        """Cycles from which chunks may be written when a beat, the last or not, comes."""
        if self._late and self._received > 1:
            self._made += 1
            yield cycle + self._latency - 1
        if not self._late or (last and self._made < self._chunks):
            self._made += 1
            yield cycle + self._latency

    def pass_alone(self, first: int, beats: int, last: bool) -> int:
        """The cycle of the last of `beats` beats whose chunks nothing holds back."""
        cycle = first + beats - 1
        self._received += beats
        made = self._chunks if last else self._received - self._late
        if made > self._made:
            completed_late = self._late and made < self._received
            self.requested = max(
                cycle + self._latency - completed_late, self.requested + made - self._made
            )
            self.entered = self._before = self.requested - 1
            end = self.requested + self._latencies.chunk_write_bank
            self.written.extend((end - 1, end))
            self._made = made
        return cycle


@dataclass(slots=True)
class _Sum:
    """A chunk that is added to its destination, and the cycles in which that begins and ends."""

    begins: int
    addr: tuple[int, int]
    last: bool
    written: int = -2


class LoadEngine:
    """`tegula.dma.load.LoadEngine`.

    Attributes
    ----------
    idle
        The cycle from which on nothing is left to do.
    """

    def __init__(self, shared: Shared, queue: Queue, port: SignalPort):
        config = shared.config
        self._clock, self._config, self._latencies = shared.clock, config, shared.latencies
        self._shared, self._port, self._reads = shared, port, shared.reads
        self._masks = shared.masks
        self._writes = shared.vector_writes, shared.activation_writes
        self._runs = Runs(shared, queue, _RANK)
        self.idle = 0
        self._burst_room = _Room(self._clock, config.max_reads)
        # One run more than the queue holds is at work.
        self._run_room = _Room(self._clock, config.max_reads + 1)
        self._path = _Path(config, shared.latencies)
        self._pending = deque([_Sum(-shared.latencies.accumulate, (-1, -1), False)] * 2, maxlen=2)
        """The last chunks that were added to."""
        self._in_flight = 0
        """Bursts that are split and not received."""
        self._syncs: deque[tuple[int, dict[str, int]]] = deque()
        """Instructions without work, and how many bursts come before each."""
        self._buffer: deque[tuple[int, int, Take]] = deque()
        """Bursts that are split and not issued: the first cycle for that, beats, receiver."""
        self._buffer_room = _Room(self._clock, _BUFFERED)
        self._split = Gate(self._clock)
        self._clock.start(self._process(), rank=_RANK)
        self._clock.start(self._issue(), rank=_RANK)

    def _process(self) -> Steps:
        """Runs, and their bursts into the buffer."""
        clock, config = self._clock, self._config
        while True:
            fields, run, ready = yield from self._runs.next()
            room = yield from self._run_room.take()
            yield max(ready, room)
            if run is None:
                self._runs.accept(clock.now)
                self._run_room.give(clock.now + 1)
                self._syncs.append((self._in_flight, fields))
                self._complete_syncs(clock.now + _PASSED)
                continue
            self._runs.accept(clock.now)
            sizes = list(bursts(config, run))
            for number, beats in enumerate(sizes):
                yield clock.now + 1
                room = yield from self._buffer_room.take()
                yield room
                ends_run = number == len(sizes) - 1
                take = partial(self._take, fields, run, number, ends_run)
                self._in_flight += 1
                self._buffer.append((clock.now + 1, beats, take))
                self._split.open(0)

    def _issue(self) -> Steps:
        """Bursts to the bus, at most one a cycle."""
        clock, issued = self._clock, -1
        while True:
            while not self._buffer:
                yield self._split
            ready, beats, take = self._buffer.popleft()
            yield max(ready, issued + 1)
            room = yield from self._burst_room.take()
            yield room
            room = yield from self._reads.room(Reader.LOAD)
            yield room
            issued = clock.now
            self._reads.offer(Reader.LOAD, beats, take)
            self._buffer_room.give(issued + 1)

    def _take(
        self,
        fields: dict[str, int],
        run: Run,
        number: int,
        ends_run: bool,
        first: int,
        beats: int,
    ) -> Generator[int, None, int]:
        """Beats of a burst through the aligner into the scratchpad; the cycle of the last."""
        path, config = self._path, self._config
        if number == 0:
            path.begin(run, chunk_words(config, fields), bool(fields["bytes1"]))
        if path.parts == 1 and not fields["accumulate"] and self._alone(first):
            cycle = path.pass_alone(first, beats, ends_run)
        else:
            cycle = first - 1
            for beat in range(beats):
                cycle = path.receive(cycle + 1)
                for held in path.leave(cycle, ends_run and beat == beats - 1):
                    yield from self._write_chunk(fields, run, held)
        self._burst_room.give(cycle + self._latencies.bus + 1)
        if ends_run:
            self._run_room.give(path.entered + 1)
            if run.last:
                self._complete(path.written[-1], fields)
        self._in_flight -= 1
        self._syncs = deque((before - 1, waiting) for before, waiting in self._syncs)
        self._complete_syncs(path.written[-1] + 1)
        return cycle

    def _complete(self, cycle: int, fields: dict[str, int]) -> None:
        self._port.complete(cycle, fields)
        self.idle = max(self.idle, cycle + 2)

    def _complete_syncs(self, cycle: int) -> None:
        """Complete the instructions without work that no burst is before."""
        while self._syncs and self._syncs[0][0] <= 0:
            self._complete(max(cycle, self._clock.now), self._syncs.popleft()[1])

    def _alone(self, cycle: int) -> bool:
        return all(port.free_from(cycle) for port in self._writes)

    def _write_chunk(
        self, fields: dict[str, int], run: Run, ready: int
    ) -> Generator[int, None, None]:
        """Writes of a chunk that may be requested from cycle `ready` on."""
        path, bank = self._path, self._latencies.chunk_write_bank
        for _ in range(path.parts):
            if path.done >= run.elements:
                break
            words = min(path.words, run.elements - path.done)
            path.enter(ready)
            request = max(ready, path.requested + 1)
            if fields["accumulate"]:
                last = run.last and path.done + path.words >= run.elements
                taken, request = yield from self._add(fields, run, request, last=last)
            else:
                request = max(request, path.written[0] + 1, self._pending[-1].written)
                taken = request
            path.request(taken)
            cycle = max(request + bank, path.written[-1] + 1)
            written = yield from self._write(fields, run, cycle, path.done, words)
            path.written.append(written)
            if fields["accumulate"]:
                self._pending[-1].written = written
            path.done += path.words
        path.pass_on()

    def _add(
        self, fields: dict[str, int], run: Run, cycle: int, *, last: bool
    ) -> Generator[int, None, tuple[int, int]]:
        """Read and sum of a chunk (`tegula.dma.accumulate`).

        Returns the cycle in which it is taken, and that in which its sums are to be written.
        """
        path, lat = self._path, self._latencies
        in_rows = fields["layout"] == Layout.PARTITION
        partition = path.done % self._config.n if in_rows else run.partition
        addr = chunk_addr(self._config, fields, run, path.done), partition
        for before in self._pending:
            if before.last or before.addr == addr:
                cycle = max(cycle, before.written + 1)
        read = cycle + lat.chunk_bank
        read = yield from read_chunk(self._shared, fields, run, path.done, read)
        begins = max(read + lat.read + 1, self._pending[-1].begins + lat.accumulate)
        self._pending.append(_Sum(begins, addr, last))
        return begins, begins + 1 + lat.sum

    def _write(
        self, fields: dict[str, int], run: Run, cycle: int, done: int, words: int
    ) -> Generator[int, None, int]:
        """The cycle in which a chunk is in the scratchpad."""
        vector, activation = self._writes
        # What the vector engine writes is known when it issues an element.
        ahead = self._latencies.vector + self._latencies.vector_write_bank
        in_rows = fields["layout"] == Layout.PARTITION
        if in_rows:
            left = self._masks.row(chunk_addr(self._config, fields, run, done))
        else:
            left = (1 << words) - 1
        while True:
            yield cycle - ahead
            taken, row = vector.at(cycle), activation.at(cycle)
            if in_rows:
                if not row and not self._masks.parity(taken) & left:
                    return cycle
            else:
                left &= taken | row
                if not left:
                    return cycle
            cycle += 1
