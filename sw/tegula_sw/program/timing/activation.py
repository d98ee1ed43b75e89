"""The activation engine in cycles: columns, beat by beat."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from tegula.formats import FP32
from tegula.isa.operations import TableKind
from tegula_sw.program.timing.clock import Gate, Steps
from tegula_sw.program.timing.front_end import InstructionRegister
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
        Cycle of the last of them.
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

    def __init__(self, shared: Shared, queue: InstructionRegister, port: SignalPort):
        self._clock, self._latencies, self._masks = shared.clock, shared.latencies, shared.masks
        self._queue, self._port = queue, port
        self._before = shared.moving, shared.stationary, shared.vector_reads
        self._vector_writes = shared.vector_writes
        self._reads, self._writes = shared.activation_reads, shared.activation_writes
        self.idle = 0
        self._drained = 0
        self._sums = 0
        self._beats_from = 0
        """The cycle from which on the next column may begin."""
        self._slots: deque[int] = deque([0, 0], maxlen=2)
        """Cycles from which on there are words for a column."""
        self._banks: deque[int] = deque([-1, -1], maxlen=2)
        """Cycles in which the last rows are read."""
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
                    self._submit(_Column(clock.now, (), fields))
                    yield clock.now + 1

    def _drain(self) -> Steps:
        """Wait until all results are written."""
        while self._columns:
            yield self._empty
        yield self._drained

    def _row(self, cycle: int, addr: int) -> Generator[int, None, tuple[int, int]]:
        """The cycle from `cycle` on in which a row's request is accepted, and that of its read."""
        lat, banks = self._latencies, self._banks
        moving, stationary, vector = self._before
        mask = self._masks.row(addr)
        accepted = max(cycle, banks[0] + 1)
        cycle = max(accepted + lat.row_bank, banks[1] + 1)
        yield cycle
        while stationary.at(cycle) or (moving.at(cycle) | vector.at(cycle)) & mask:
            # A row of DMA waits behind it.
            self._reads.add_single(cycle, self._masks.none)
            cycle += 1
            yield cycle
        self._reads.add_single(cycle, mask)
        banks.append(cycle)
        return accepted, cycle

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
        due, begins = clock.now + 1, 0
        for number, (reads, at, double) in enumerate(operands):
            due = max(due, self._slots[0])
            if reads:
                due, bank = yield from self._row(due, at)
                if double:
                    due, bank = yield from self._row(due + 1, at | 1)
                whole = bank + lat.read
            else:
                whole = due
            due += 1
            is_element = number >= scalars
            step = 2 if sums and is_element else 1
            begins = max(whole + 1, self._beats_from)
            if step == 2:
                begins += begins % 2
            last = begins + (lat.beats - 1) * step
            self._beats_from = last + 1
            # The words of a column are free so early that its successor's do not come before.
            kept = max(0, lat.beats - 1 - (lat.row + 1) // step)
            self._slots.append(begins + kept * step + 1)
            if is_element:
                element = number - scalars
                ends = number == len(operands) - 1 and not finishes
                addr = fields["dst"] + element * fields["dst_stride"]
                rows = (addr, addr | 1) if fields["format"] == FP32.code else (addr,)
                self._submit(_Column(last + 1 + lat.word, rows, fields if ends else None))
        yield max(begins, due) + 1
        if finishes:
            yield from self._drain()
            addr = fields["sum_dst"]
            self._submit(_Column(clock.now + lat.total, (addr, addr | 1), fields))
            yield from self._drain()
            yield clock.now + 1

    def _submit(self, column: _Column) -> None:
        self._columns.append(column)
        self._submitted.open(0)

    def _collect(self) -> Steps:
        """`tegula.activation.collector`: a column is written while the next is collected."""
        lat = self._latencies
        first = requested = written = completes = -1
        while True:
            while not self._columns:
                yield self._submitted
            column = self._columns[0]
            if column.rows:
                # What waits comes a beat a cycle, once the column before has gone.
                whole = max(column.complete, first + lat.beats - 1, requested + lat.beats - 2)
                cycle = whole + lat.collect
                for number, addr in enumerate(column.rows):
                    requested = max(cycle, written, requested + 1)
                    if not number:
                        first = requested
                    written = requested + lat.row_write_bank
                    mask = self._masks.row(addr)
                    yield written
                    while self._masks.parity(self._vector_writes.at(written)) & mask:
                        written += 1
                        yield written
                    self._writes.add_single(written, mask)
                    cycle = requested + 1
                completes = written
            else:
                completes = max(completes + 1, column.complete)
                yield completes
            self._columns.popleft()
            self._drained = written + 1
            if column.ends is not None:
                self._port.complete(completes, column.ends)
                self.idle = max(self.idle, completes + 2)
            if not self._columns:
                self._empty.open(written + 1)

    def _load(self, fields: dict[str, int]) -> Steps:
        lat = self._latencies
        rows = fields["count"] * (2 if fields["kind"] == TableKind.ENTRIES else 1)
        due, bank = self._clock.now + 1, 0
        for addr in range(fields["addr"], fields["addr"] + rows):
            due, bank = yield from self._row(due, addr)
            due += 1
        complete = bank + lat.read
        self._drained = complete + 1
        self._port.complete(complete, fields)
        self.idle = max(self.idle, complete + 2)
        yield complete + 1
