"""The tensor engine in cycles: stationary loads beside a stream of columns."""

from collections import deque

from tegula.isa.tensor import SCALE_ROW_BITS
from tegula_sw.program.timing.clock import Steps
from tegula_sw.program.timing.front_end import InstructionRegister
from tegula_sw.program.timing.ports import SignalPort
from tegula_sw.program.timing.shared import Shared

__all__ = ["TensorEngine"]

_RECENT = 16
"""Matmuls that are looked at for PSUM words in the array."""

_RANK = 1
"""Its turn in a cycle: it sees which banks those before it take."""


class TensorEngine:
    """`tegula.tensor.engine.TensorEngine`.

    Attributes
    ----------
    idle
        The cycle from which on nothing is left to do.
    columns
        Moving columns so far.
    """

    def __init__(
        self, shared: Shared, queue: InstructionRegister, ports: tuple[SignalPort, SignalPort]
    ):
        self._clock, self._config, self._latencies = shared.clock, shared.config, shared.latencies
        self._queue, (self._matmuls, self._loads) = queue, ports
        self._masks, self._moving, self._stationary = (
            shared.masks,
            shared.moving,
            shared.stationary,
        )
        self.idle = 0
        self.columns = 0
        self._fresh = False
        """The next matmul is the first with the operand in the chain."""
        self._loads_scales = False
        """The last load was one of scales, which every matmul waits for."""
        self._scaled_ends = -1
        """The last column of a matmul that reads scales."""
        self._scale_rows = range(0)
        """Rows of the buffer that it reads."""
        self._loader_idle = 0
        self._operand_used = 0
        """The cycle behind the first column with the operand in the chain."""
        self._stream_ends = -1
        self._recent: deque[tuple[int, int, int]] = deque(maxlen=_RECENT)
        """First cycle, PSUM address and columns of matmuls."""
        self._clock.start(self._process(), rank=_RANK)

    def _process(self) -> Steps:
        queue, clock = self._queue, self._clock
        while True:
            while not queue.valid:
                yield queue.offered
            decoded = queue.head()
            fields = decoded.fields
            match decoded.mnemonic:
                case "tensor.load" | "tensor.scales":
                    yield max(self._loader_idle, self._operand_used)
                    while not self._loads.empty:
                        yield self._loads.sent
                    queue.take()
                    loads_scales = decoded.mnemonic == "tensor.scales"
                    (self._load_scales if loads_scales else self._load)(fields)
                case "tensor.matmul":
                    ready = self._loader_idle if self._fresh or self._loads_scales else 0
                    yield max(self._stream_ends, ready)
                    queue.take()
                    self._multiply(fields)
                case _:
                    yield self.idle
                    while not (self._matmuls.empty and self._loads.empty):
                        yield self._matmuls.sent
                    queue.take()
                    # Its signal takes the way of a matmul's.
                    self._end(clock.now, fields)

    def _end(self, last: int, fields: dict[str, int]) -> None:
        self._matmuls.complete(last + self._latencies.matmul - 1, fields)
        self.idle = max(self.idle, last + self._latencies.written + 1)

    def _load(self, fields: dict[str, int]) -> None:
        """Columns of the operand, each when its bank is free, then zeros."""
        cycle = self._read(fields, self._clock.now + 1)
        self._loaded(cycle + self._config.n - fields["columns"] - 1, fields)
        self._fresh, self._loads_scales = True, False

    def _load_scales(self, fields: dict[str, int]) -> None:
        """Rows of scales, each once no matmul reads it."""
        self._loaded(self._read(fields, self._clock.now + 1, fields["scales"]) - 1, fields)
        self._loads_scales = True

    def _loaded(self, complete: int, fields: dict[str, int]) -> None:
        self._loads.complete(complete + 1, fields)
        self._loader_idle = complete + 1
        self.idle = max(self.idle, complete + 2)

    def _free(self, row: int, cycle: int) -> int:
        """The cycle from which on a row of scales can be written."""
        read = self._scale_rows
        behind = (row - read.start) % (1 << SCALE_ROW_BITS)
        return max(cycle, self._scaled_ends + 1) if behind < len(read) else cycle

    def _read(self, fields: dict[str, int], cycle: int, scales: int | None = None) -> int:
        """Reads of columns from `cycle` on, each when its bank is free; the cycle behind them."""
        bank = self._latencies.tensor_bank
        addr, stride = fields["addr"], fields["stride"]
        start, first_addr, count = cycle, addr, 0
        for number in range(fields["columns"]):
            free = cycle if scales is None else self._free(scales + number, cycle)
            while cycle < free or self._moving.at(cycle + bank) & self._masks.row(addr):
                if count:
                    self._stationary.add(start + bank, count, first_addr, stride, wide=False)
                cycle += 1
                start, first_addr, count = cycle, addr, 0
            count += 1
            addr += stride
            cycle += 1
        if count:
            self._stationary.add(start + bank, count, first_addr, stride, wide=False)
        return cycle

    def _multiply(self, fields: dict[str, int]) -> None:
        """Columns, one a cycle, once no PSUM word to add to is in the array."""
        columns, psum = fields["columns"], fields["psum_addr"]
        first = max(self._clock.now + 1, self._latencies.clear)
        if fields["accumulate"]:
            for start, at, count in self._recent:
                if psum < at + count and at < psum + columns:
                    first = max(first, start + psum - at + self._latencies.reuse)
        last = first + columns - 1
        self._recent.append((first, psum, columns))
        # While it is held back its first column is read again and again.
        bank, held = self._latencies.tensor_bank, first - self._clock.now - 1
        if held:
            self._moving.add(first + bank - held, held, fields["addr"], 0, wide=False)
        self._moving.add(first + bank, columns, fields["addr"], fields["stride"], wide=False)
        if self._fresh:
            self._operand_used = first + 1
        self._fresh = False
        self._stream_ends = last
        if fields["scaled"]:
            self._scaled_ends = last
            rows = (columns - 1) // self._config.n + 1
            self._scale_rows = range(fields["scales"], fields["scales"] + rows)
        self.columns += columns
        self._end(last, fields)
