"""The store engine in cycles."""

from collections import deque
from collections.abc import Generator

from tegula_sw.program.timing.bus import Reader
from tegula_sw.program.timing.clock import Gate, Steps
from tegula_sw.program.timing.dma import Run, Runs, bursts, chunk_words, read_chunk
from tegula_sw.program.timing.front_end import Queue
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared

__all__ = ["StoreEngine"]

_RANK = 5
"""Its turn in a cycle: it sees which banks those before it take."""

_HELD = 3
"""Cycles in which a beat passes the two queues and the register of `ReadBack`."""

_PASSING = 5
"""Beats between the words that enter the packer and the beat that leaves the buffer, and that: the
packer, the aligner and the buffer hold four."""

_ADDRESSED = 3
"""Cycles from a burst to the first in which memory is known to have its address."""


class StoreEngine:
    """`tegula.dma.store.StoreEngine`.

    Attributes
    ----------
    idle
        The cycle from which on nothing is left to do.
    """

    def __init__(self, shared: Shared, queue: Queue, port: SignalPort):
        config, depth = shared.config, shared.latencies.gather_depth
        self._clock, self._config, self._latencies = shared.clock, config, shared.latencies
        self._port, self._reads, self._answers = port, shared.reads, shared.answers
        self._shared = shared
        self._runs = Runs(shared, queue, _RANK)
        self.idle = 0
        self._requested = -1
        """The last chunk's request is accepted."""
        self._reads_at: deque[int] = deque([-1] * 2, maxlen=2)
        """The last chunks, as many as the scratchpad holds requests of, are read."""
        self._split = self._beat_at = -1
        """The last burst enters the buffer of bursts; the last beat is sent."""
        self._issued: deque[int] = deque([-1] * 2, maxlen=2)
        """The last bursts, as many as the buffer holds, are issued."""
        self._left: deque[int] = deque([-1] * _PASSING, maxlen=_PASSING)
        """The last beats leave the buffer of beats."""
        self._open: deque[int] = deque([-1] * config.max_writes, maxlen=config.max_writes)
        """Answers to the bursts that may be in flight."""
        self._taken: deque[int] = deque([-1] * depth, maxlen=depth)
        """Ends of the reads that may be in flight."""
        self._arrivals: deque[int] = deque()
        """Beats to which the next beats are added."""
        room = config.max_burst_beats // 4 + 2
        self._entered: deque[int] = deque([-1] * room, maxlen=room)
        """Beats that entered the adder last: as many as may be held, the one in the register, and
        one."""
        self._ascending, self._top = True, -1
        """No open burst reaches above beat `top` of memory."""
        self._clock.start(self._process(), rank=_RANK)

    def _process(self) -> Steps:
        lat, accepted = self._latencies, -1
        while True:
            fields, run, ready = yield from self._runs.next()
            # Both the reads and the bursts take it.
            accepted = max(ready, self._requested, self._split, accepted + 1)
            self._runs.accept(accepted)
            if run is None:
                done = max(accepted + lat.request - lat.run + 1, self._open[-1] + 1)
                self._port.complete(done, fields)
                self.idle = max(self.idle, done + 2)
            else:
                yield from self._run(fields, run, accepted)
                if run.last:
                    self._port.complete(self._open[-1], fields)
                    self.idle = max(self.idle, self._open[-1] + 2)

    def _run(self, fields: dict[str, int], run: Run, ready: int) -> Steps:
        """Reads of a run, its bursts, and their beats."""
        config, lat = self._config, self._latencies
        words = chunk_words(config, fields)
        parts = config.bus_bytes // (words * (1 if fields["bytes1"] else 2))
        self._requested = ready + lat.gather - 1
        done, chunk_ready = 0, -1
        chunks = -(-run.size_bytes // config.bus_bytes)
        burst_at, chunk = ready + 1, 0
        beat_addr = run.mem_addr // config.bus_bytes
        for beats in bursts(config, run):
            self._split = max(burst_at, self._split + 1, self._issued[0] + 1)
            issued = max(self._split, self._issued[-1]) + 1
            if fields["accumulate"]:
                in_order = chunk == 0 and not (self._ascending and beat_addr > self._top)
                issued = yield from self._read_back(issued, beats, acknowledged=in_order)
            issued = max(issued, self._open[0] + 1)
            self._ascending = issued > self._open[-1] or (self._ascending and beat_addr > self._top)
            beat_addr += beats
            self._top = beat_addr - 1
            self._issued.append(issued)
            burst_at = self._split + 1
            for _ in range(beats):
                if chunk < chunks:
                    for _ in range(parts):
                        if done >= run.elements:
                            break
                        before = self._reads_at
                        self._requested = max(
                            self._requested + 1, before[0] + 1, self._taken[0] + 1
                        )
                        read = max(self._requested + lat.chunk_bank, before[-1] + 1)
                        read = yield from read_chunk(self._shared, fields, run, done, read)
                        before.append(read)
                        done += words
                        chunk_ready = read + lat.read + lat.words_to_beat + lat.bus
                        self._taken.append(-1)
                    chunk += 1
                self._send(fields, chunk_ready, issued)
            self._open.append(self._answers.answer(self._beat_at, beats) + lat.bus)

    def _send(self, fields: dict[str, int], ready: int, issued: int) -> None:
        """A beat, which would be sent in cycle `ready` if nothing held it back."""
        lat = self._latencies
        packed = ready - lat.bus - lat.words_to_beat + 1
        leaves = ready - lat.bus
        if fields["accumulate"]:
            begins = max(leaves, self._arrivals.popleft() + lat.bus + _HELD, self._entered[-1] + 1)
            leaves = begins + lat.accumulate - 1
            self._entered.append(leaves)
            ready = begins + lat.sum + 1
        self._beat_at = max(ready, self._beat_at + 1, issued + lat.request_to_beat + lat.bus)
        self._taken[-1] = max(packed, self._left[0] + 1)
        self._left.append(leaves if fields["accumulate"] else self._beat_at - lat.bus)

    def _read_back(
        self, cycle: int, beats: int, *, acknowledged: bool
    ) -> Generator[int | Gate, None, int]:
        """Read what a burst adds to (`tegula.dma.readback`); when the burst may be issued."""
        cycle = max(cycle, self._issued[-1] + _ADDRESSED, self._entered[0] + 1)
        if acknowledged:
            cycle = max(cycle, self._open[-1] + 1)
        ends: list[int] = []
        arrived = Gate(self._clock)

        def take(first: int, count: int) -> Generator[int, None, int]:
            yield first
            ends.append(first + count - 1)
            self._arrivals.extend(range(first, first + count))
            arrived.open(ends[0])
            return ends[0]

        yield cycle
        self._reads.offer(Reader.STORE, beats, take)
        while not ends:
            yield arrived
        return ends[0] + self._latencies.bus + 1
