"""The vector engine in cycles: elements, and what waits for those before."""

from collections.abc import Generator
from itertools import product

from tegula.formats import MX_BLOCK
from tegula_sw.program.timing.clock import Steps
from tegula_sw.program.timing.front_end import InstructionRegister
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared
from tegula_sw.program.timing.vector_work import VectorWork, vector_work

__all__ = ["VectorEngine"]

_RANK = 2
"""Its turn in a cycle: it sees which banks those before it take."""


class VectorEngine:
    """`tegula.vector.engine.VectorEngine`.

    Attributes
    ----------
    idle
        The cycle from which on nothing is left to do.
    """

    def __init__(self, shared: Shared, queue: InstructionRegister, port: SignalPort):
        config = shared.config
        self._clock, self._latencies, self._masks = shared.clock, shared.latencies, shared.masks
        self._queue, self._port = queue, port
        self._before = shared.moving, shared.stationary
        self._reads, self._writes = shared.vector_reads, shared.vector_writes
        self._line_words, self._beats = config.row_words, config.line_beats
        self._n, self._parts, self._lanes = config.n, config.vector_folding, config.vector_lanes
        self.idle = 0
        self._drained = self._completes = 0
        self._route: tuple[int, bool, bool] | None = None
        self._quantised = False
        self._clock.start(self._process(), rank=_RANK)

    def _process(self) -> Steps:
        queue, clock = self._queue, self._clock
        while True:
            while not queue.valid:
                yield queue.offered
            decoded = queue.head()
            work = vector_work(decoded, self._n)
            if work is None:
                queue.take()
                # It follows in the order of signals.
                self._completes = max(clock.now, self._completes + 1)
                self._port.complete(self._completes, decoded.fields)
                yield clock.now + 1
                continue
            if (
                (work.reads and not work.overlap)
                or work.route != self._route
                or work.proceeds
                or work.state
                or work.scales
                or self._quantised
            ):
                yield self._drained
            self._route, self._quantised = work.route, work.scales is not None
            queue.take()
            yield from self._execute(work, decoded.fields)

    def _execute(self, work: VectorWork, fields: dict[str, int]) -> Steps:
        """Scalars, elements, and the end of a reduction; until the next may be taken."""
        clock, lat = self._clock, self._latencies
        cycle = clock.now + 1
        for scalar in [scalar for scalar in work.scalars for _ in range(self._parts)]:
            if scalar is not None:
                mask = self._masks.pair(scalar)
                yield cycle
                while self._taken(cycle) & mask:
                    cycle += 1
                    yield cycle
                self._reads.add_single(cycle + lat.vector_bank, mask)
            cycle += 1
        interval = work.interval
        if work.transposed:
            interval = max(interval, self._beats)
        cycle += -cycle % work.interval
        latency = lat.entry + lat.unit * work.steps + lat.cast
        if work.scales is not None:
            last, leaves = yield from self._blocks(work, cycle, interval)
        elif work.x is None and work.y is None:
            last = cycle + (self._parts * work.columns - 1) * interval
            for part in range(self._parts):
                first, apart = cycle + part * interval, self._parts * interval
                self._write(work, first, work.columns, apart, latency, 0, part)
        else:
            last = yield from self._elements(work, cycle, interval, latency)
        if work.scales is None:
            leaves = last + latency
        if work.transposed:
            leaves += self._beats - 1
        busy = last + 1
        if work.finishes:
            finish = leaves + 1
            leaves = finish + lat.combine
            mask = self._masks.element(fields["dst"], True)
            for part in range(self._parts):
                # Results of the partitions that share a lane leave two cycles apart.
                at = leaves - 2 * (self._parts - 1 - part)
                self._writes.add_single(at + lat.vector_write_bank, mask)
            busy = leaves + 2
        self._drained = leaves + 1
        self._completes = leaves - lat.ahead
        self._port.complete(self._completes, fields)
        self.idle = max(self.idle, leaves + 1)
        yield busy

    def _taken(self, cycle: int) -> int:
        moving, stationary = self._before
        cycle += self._latencies.vector_bank
        return moving.at(cycle) | stationary.at(cycle)

    def _write(
        self,
        work: VectorWork,
        first: int,
        count: int,
        interval: int,
        latency: int,
        done: int,
        part: int,
    ) -> None:
        """Results of `count` elements, from number `done` on, that are issued from `first` on.

        `part`: which of the partitions that share a lane they are of.
        """
        if work.destination is None or work.rows <= part * self._lanes:
            return
        addr, stride, wide = work.destination
        first += latency + self._latencies.vector_write_bank
        if count > 1 and not work.transposed:
            self._writes.add(first, count, addr, stride, interval=interval, wide=wide)
            return
        for step in range(done, done + count):
            if work.transposed:
                group = part * self._lanes // self._line_words
                for beat in range(self._beats):
                    line = addr + (group + beat) * self._line_words
                    self._writes.add_single(first + beat, self._masks.line(line))
            else:
                mask = self._masks.element(addr + step * stride, wide)
                self._writes.add_single(first, mask)
            first += interval

    def _blocks(
        self, work: VectorWork, cycle: int, interval: int
    ) -> Generator[int, None, tuple[int, int]]:
        """Elements that leave block by block; the cycles in which the last is issued and leaves."""
        lat, scales = self._latencies, work.scales
        assert scales is not None
        way = lat.entry + lat.unit * work.steps
        beats = self._beats if work.transposed else 1
        free = leaves = 0
        for first in range(0, work.columns, MX_BLOCK):
            block = range(first, min(first + MX_BLOCK, work.columns))
            issued = yield from self._elements(work, cycle, interval, 0, block)
            free = max(free, issued + way + lat.whole)
            after = lat.scaled + lat.cast
            mask = self._masks.element(scales[0] + first // MX_BLOCK * scales[1], False)
            for part in range(self._parts):
                if work.rows > part * self._lanes:
                    at = free + part + after + lat.vector_write_bank
                    self._writes.add_single(at, mask)
            free += self._parts
            for number, part in product(block, range(self._parts)):
                self._write(work, free, 1, 1, after, number, part)
                leaves = free + after
                free += beats
            # The next block begins so much later that its scale finds cycles of its own.
            cycle = issued + max(interval, beats + self._parts)
            cycle += -cycle % work.interval
        return issued, leaves

    def _elements(
        self,
        work: VectorWork,
        cycle: int,
        interval: int,
        latency: int,
        block: range | None = None,
    ) -> Generator[int, None, int]:
        """Elements whose operands share banks with other reads; returns the last one's cycle.

        Of a `block` of them nothing is written yet.
        """
        masks = self._masks
        x, y = work.x, work.y
        issued = cycle
        numbers = range(work.columns) if block is None else block
        for number, part in product(numbers, range(self._parts)):
            x_mask = masks.element(x[0] + number * x[1], x[2]) if x else 0
            y_mask = masks.element(y[0] + number * y[1], y[2]) if y else 0
            while True:
                yield cycle
                taken = self._taken(cycle)
                # An x that is granted is kept until its y is; a y is not.
                x_granted = 0 if x_mask & taken else x_mask
                y_granted = 0 if y_mask & (taken | x_mask) else y_mask
                bank = cycle + self._latencies.vector_bank
                self._reads.add_single(bank, x_granted | y_granted)
                x_mask &= ~x_granted
                if not x_mask and y_granted == y_mask:
                    break
                cycle += work.interval
            issued = cycle
            if block is None:
                self._write(work, issued, 1, 1, latency, number, part)
            cycle += interval
        return issued
