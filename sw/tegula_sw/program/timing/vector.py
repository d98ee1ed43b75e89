"""The vector engine in cycles: elements, and what waits for those before."""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import product

from tegula.formats import FP32, RAW32
from tegula.isa.codec import Decoded
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula_sw.program.timing.clock import Steps
from tegula_sw.program.timing.front_end import InstructionRegister
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared

__all__ = ["VectorEngine", "VectorWork", "vector_work"]

_UNARY = (Operation.PASS, Operation.ABS)
_SUMS = (Operation.ADD, Operation.SUB, Operation.RSUB)
_STATE_PAIRS = 4
"""Elements of `vector.generator`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorWork:
    """What decides how long an instruction takes (`tegula.vector.work`)."""

    route: tuple[int, bool, bool]
    interval: int
    scalars: tuple[int | None, ...]
    columns: int
    rows: int
    x: tuple[int, int, bool] | None
    y: tuple[int, int, bool] | None
    reads: bool
    proceeds: bool
    state: bool
    overlap: bool
    reduces: bool
    finishes: bool
    destination: tuple[int, int, bool] | None
    transposed: bool

    @property
    def steps(self) -> int:
        """Units that an element passes."""
        return self.route[0]


def _route(op0: int, op1: int, reduces: bool) -> tuple[tuple[int, bool, bool], int]:
    """Steps, which of them are the multiplier's, and the cycles between two elements."""
    has0, has1 = op0 != Operation.PASS, op1 != Operation.PASS
    neutral0 = op0 not in (*_SUMS, Operation.MUL)
    neutral1 = op1 not in (*_SUMS, Operation.MUL)
    mul0, mul1 = op0 == Operation.MUL, op1 == Operation.MUL
    multiplier0 = has0 and (mul0 or (neutral0 and (reduces or not (has1 and mul1))))
    multiplier1 = has1 and (mul1 or (neutral1 and (reduces or not multiplier0)))
    last_adds = not multiplier1 if has1 else has0 and not multiplier0
    if reduces and has1 and not multiplier0:
        interval = 3
    elif (has1 and multiplier0 == multiplier1) or (reduces and last_adds):
        interval = 2
    else:
        interval = 1
    return (has0 + has1 + reduces, multiplier0, multiplier1), interval


def _wide(code: int) -> bool:
    return code in (FP32.code, RAW32)


def vector_work(decoded: Decoded, rows: int) -> VectorWork | None:
    """The work of an instruction of a tile with so many `rows`; None if it has none."""
    f = decoded.fields
    if decoded.mnemonic == "vector.generator":
        state = (f["addr"], 2, True)
        return VectorWork(
            route=(0, False, False),
            interval=1,
            scalars=(),
            columns=_STATE_PAIRS,
            rows=rows,
            x=None if f["save"] else state,
            y=None,
            reads=not f["save"],
            proceeds=False,
            state=True,
            overlap=False,
            reduces=False,
            finishes=False,
            destination=state if f["save"] else None,
            transposed=False,
        )
    if decoded.mnemonic != "vector.compute":
        return None
    steps = [(f["op0"], f["s0_kind"], f["s0"]), (f["op1"], f["s1_kind"], f["s1"])]
    if steps[0][0] == Operation.PASS:
        steps = [steps[1], (Operation.PASS, 0, 0)]
    reduces = f["reduction"] != Reduction.NONE
    route, interval = _route(steps[0][0], steps[1][0], reduces)
    binary = [(kind, value) for op, kind, value in steps if op not in _UNARY]
    y_used = f["rounding"] == Rounding.GIVEN or any(kind == Operand.Y for kind, _ in binary)
    scalars = tuple(
        value & 0xFFFF if kind == Operand.PARTITION else None
        for kind, value in binary
        if kind in (Operand.IMMEDIATE, Operand.PARTITION)
    )
    from_sbuf = f["x_source"] == Source.SBUF
    return VectorWork(
        route=route,
        interval=interval,
        scalars=scalars,
        columns=f["columns"],
        rows=f["rows"],
        x=(f["x_addr"], f["x_stride"], _wide(f["x_format"])) if from_sbuf else None,
        y=(f["y_addr"], f["y_stride"], _wide(f["y_format"])) if y_used else None,
        reads=from_sbuf or y_used or any(value is not None for value in scalars),
        proceeds=bool(f["proceed"]),
        state=False,
        overlap=bool(f["overlap"]),
        reduces=reduces,
        finishes=reduces and bool(f["finish"]),
        destination=None if reduces else (f["dst"], f["dst_stride"], _wide(f["format"])),
        transposed=bool(f["transpose"]),
    )


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
            ):
                yield self._drained
            self._route = work.route
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
        if work.x is None and work.y is None:
            last = cycle + (self._parts * work.columns - 1) * interval
            for part in range(self._parts):
                first, apart = cycle + part * interval, self._parts * interval
                self._write(work, first, work.columns, apart, latency, 0, part)
        else:
            last = yield from self._elements(work, cycle, interval, latency)
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

    def _elements(
        self, work: VectorWork, cycle: int, interval: int, latency: int
    ) -> Generator[int, None, int]:
        """Elements whose operands share banks with other reads; returns the last one's cycle."""
        masks = self._masks
        x, y = work.x, work.y
        issued = cycle
        for number, part in product(range(work.columns), range(self._parts)):
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
            self._write(work, issued, 1, 1, latency, number, part)
            cycle += interval
        return issued
