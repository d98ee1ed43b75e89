"""The activation engine in cycles: columns, beat by beat."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from tegula.formats import FP32
from tegula.isa.operations import TableKind
from tegula_sw.program.timing.clock import Gate, Steps
from tegula_sw.program.timing.front_end import Queue
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared

__all__ = ["ActivationEngine"]


_RANK = 3
"""Its turn in a cycle: it sees which banks those before it take."""


@dataclass(frozen=True, slots=True)
class _Column:
    """Results that are written as a row, or as two.

    Attributes
    ----------
    complete
        Cycle of the last of them, had the lanes not stood still since the first instruction.
    rows
        Their addresses; none: an instruction that has no results.
    ends
        Fields of the instruction that ends with them, or None.
    """

    complete: int
    rows: tuple[int, ...]
    ends: dict[str, int] | None


class ActivationEngine:
    """`tegula.activation.engine.ActivationEngine`.

    Attributes
    ----------
    idle
        The cycle from which on nothing is left to do.
    """

    def __init__(self, shared: Shared, queue: Queue, port: SignalPort):
        self._clock, self._latencies, self._masks = shared.clock, shared.latencies, shared.masks
        self._queue, self._port = queue, port
        self._before = shared.moving, shared.stationary, shared.vector_reads
        self._vector_writes = shared.vector_writes
        self._reads, self._writes = shared.activation_reads, shared.activation_writes
        self.idle = 0
        self._drained = 0
        self._sums = 0
        self._stood = 0
        """Cycles in which the lanes stood still."""
        self._beats_from = 0
        """The cycle of the next column's first beat, had they not stood still."""
        self._columns: deque[_Column] = deque()
        self._submitted, self._empty = Gate(self._clock), Gate(self._clock)
        self._clock.start(self._process(), rank=_RANK)
        self._clock.start(self._collect(), rank=_RANK)

    def _process(self) -> Steps:
        queue, clock = self._queue, self._clock
        while True:
            while not queue.valid:
                yield queue.offered
            decoded = queue.head()
            fields = decoded.fields
            match decoded.mnemonic:
                case "activation.apply":
                    if not fields["overlap"] or fields["proceed"] or fields["sum"] != self._sums:
                        yield from self._drain()
                    self._sums = fields["sum"]
                    queue.take()
                    yield from self._apply(fields)
                case "activation.table":
                    yield from self._drain()
                    queue.take()
                    yield from self._load(fields)
                case _:
                    queue.take()
                    self._submit(_Column(clock.now - self._stood, (), fields))
                    yield clock.now + 1

    def _drain(self) -> Steps:
        """Wait until all results are written."""
        while self._columns:
            yield self._empty
        yield self._drained

    def _row(self, cycle: int, addr: int) -> Generator[int, None, int]:
        """The cycle from `cycle` on in which a row is granted."""
        moving, stationary, vector = self._before
        mask = self._masks.row(addr)
        yield cycle
        while stationary.at(cycle) or (moving.at(cycle) | vector.at(cycle)) & mask:
            cycle += 1
            yield cycle
        self._reads.add_single(cycle, mask)
        return cycle

    def _apply(self, fields: dict[str, int]) -> Steps:
        lat, clock = self._latencies, self._clock
        wide, sums = fields["x_format"] == FP32.code, fields["sum"]
        operands: list[tuple[bool, int, bool]] = [
            (bool(fields[f"{name}_partition"]), fields[name] & 0xFFFF, True)
            for name in ("scale", "bias")
        ]
        addr, stride = fields["x_addr"], fields["x_stride"]
        scalars = len(operands)
        operands += [(True, addr + i * stride, wide) for i in range(fields["columns"])]
        finishes = sums and fields["finish"]
        due = clock.now + 1
        for number, (reads, at, double) in enumerate(operands):
            yield due
            if reads:
                granted = yield from self._row(due, at)
                if double:
                    granted = yield from self._row(granted + 1, at | 1)
                arrives = granted + lat.read + 1
            else:
                arrives = due + 1
            # The column moves on with the last beat of the one before.
            taken = max(arrives, self._beats_from - 1 + self._stood)
            is_element = number >= scalars
            first = taken + 1 - self._stood
            step = 2 if sums and is_element else 1
            if step == 2:
                first += first % 2
            last = first + (lat.beats - 1) * step
            self._beats_from = last + 1
            due = taken
            if is_element:
                element = number - scalars
                ends = number == len(operands) - 1 and not finishes
                addr = fields["dst"] + element * fields["dst_stride"]
                rows = (addr, addr | 1) if fields["format"] == FP32.code else (addr,)
                self._submit(_Column(last + lat.word, rows, fields if ends else None))
        yield taken + 1
        if finishes:
            yield from self._drain()
            addr = fields["sum_dst"]
            complete = clock.now + lat.total - self._stood
            self._submit(_Column(complete, (addr, addr | 1), fields))
            yield from self._drain()

    def _submit(self, column: _Column) -> None:
        self._columns.append(column)
        self._submitted.open(0)

    def _collect(self) -> Steps:
        """`tegula.activation.collector`: a column is written while the next is collected."""
        written = 0
        while True:
            while not self._columns:
                yield self._submitted
            column = self._columns[0]
            if column.rows:
                complete = column.complete + self._stood + 1
                moves = max(complete, written)
                self._stood += moves - complete
                cycle = moves + self._latencies.collect - 1
                for addr in column.rows:
                    mask = self._masks.row(addr)
                    yield cycle
                    while self._masks.parity(self._vector_writes.at(cycle)) & mask:
                        cycle += 1
                        yield cycle
                    self._writes.add_single(cycle, mask)
                    written = cycle
                    cycle += 1
            else:
                written = max(written, column.complete + self._stood)
                yield written
            self._columns.popleft()
            self._drained = written + 1
            if column.ends is not None:
                self._port.complete(written, column.ends)
                self.idle = max(self.idle, written + 2)
            if not self._columns:
                self._empty.open(written + 1)

    def _load(self, fields: dict[str, int]) -> Steps:
        lat = self._latencies
        double = fields["kind"] == TableKind.ENTRIES
        cycle, addr = self._clock.now + 1, fields["addr"]
        for _ in range(fields["count"]):
            for _ in range(2 if double else 1):
                cycle = (yield from self._row(cycle, addr)) + 1
                addr += 1
            cycle += lat.read
        self._drained = cycle
        self._port.complete(cycle - 1, fields)
        self.idle = max(self.idle, cycle + 1)
        yield cycle
