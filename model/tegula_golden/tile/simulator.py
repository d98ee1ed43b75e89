"""The functional simulator: a tile that runs programs bit for bit, without a notion of time.

Engines take turns, one instruction each, as far as queues and semaphores let them. A program that
is ordered by its semaphores computes the same on any schedule, hence the same as on the hardware.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tegula.config import TileConfig, check_config
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.array_types import Words
from tegula_golden.numerics.partial_sums import PartialSums
from tegula_golden.tile.activation import activation_apply, activation_table
from tegula_golden.tile.bus import Burst, Bus
from tegula_golden.tile.dma import dma_load, dma_store, unsettled_bursts
from tegula_golden.tile.front_end import FrontEnd, Queued, Stop, stop
from tegula_golden.tile.job import Job, Outcome, Runner, check_errors
from tegula_golden.tile.quantise import vector_quantise
from tegula_golden.tile.state import EngineTrap, TileState
from tegula_golden.tile.tensor import tensor_load, tensor_matmul, tensor_scales
from tegula_golden.tile.vector import vector_compute, vector_generator

__all__ = ["COMPUTE", "TRANSFER", "GoldenTile", "TileRun"]


COMPUTE = {
    "tensor.load": tensor_load,
    "tensor.matmul": tensor_matmul,
    "tensor.scales": tensor_scales,
    "vector.compute": vector_compute,
    "vector.quantise": vector_quantise,
    "vector.generator": vector_generator,
    "activation.apply": activation_apply,
    "activation.table": activation_table,
}
"""Instructions that access nothing but the state of the tile."""

_ERROR_TRAPS = {"slverr": Trap.BUS_SLVERR, "decerr": Trap.BUS_DECERR}
_READ = "control.read"
TRANSFER = {"load.dma": dma_load, "store.dma": dma_store}
"""Instructions that also access memory."""


@dataclass(frozen=True, kw_only=True)
class TileRun(Outcome):
    """Outcome of one program on a `GoldenTile`.

    Attributes
    ----------
    unsettled
        Where memory answered a write with an error: the failed burst and those behind it, in order,
        of which memory may have taken any bytes (docs/traps.md). It was left without them.
    """

    unsettled: tuple[Burst, ...] = ()


class GoldenTile(Runner[TileRun]):
    """A tile of `config`, with its scratchpad and PSUM, that runs one program after another.

    As in hardware, the scratchpad, the stationary operand, the function table, partial results of
    reductions and the random generators survive from program to program; semaphores, and the record
    of which PSUM words were written, do not.

    Parameters
    ----------
    config
        Sizes and formats of the tile.
    errors
        (first byte, last byte, "slverr" or "decerr"): beats of memory that touch these bytes fail.

    Attributes
    ----------
    semaphores
        Counts, as the last program left them.

    Raises
    ------
    ValueError
        If `config` is none, or `errors` is malformed.
    """

    def __init__(self, config: TileConfig, *, errors: Sequence[tuple[int, int, str]] = ()):
        self.config = check_config(config)
        self.set_errors(errors)
        self.semaphores = [0] * config.semaphores
        self._state = TileState(config)
        self._queues: dict[Engine, deque[Queued]] = {}

    def set_errors(self, errors: Sequence[tuple[int, int, str]]) -> None:
        """Let these beats of memory fail from the next program on, and no others.

        Raises
        ------
        ValueError
            If `errors` is malformed.
        """
        check_errors(errors)
        self._errors = [(first, last, _ERROR_TRAPS[name]) for first, last, name in errors]

    def read_sbuf(self, addr: int, columns: int) -> Words:
        """Scratchpad words `addr` to `addr + columns - 1` of every partition: uint16, N x columns.

        Raises
        ------
        ValueError
            If an address does not exist.
        """
        self._check_range("scratchpad", addr, columns, self.config.sbuf_depth)
        return self._state.sbuf[:, addr : addr + columns].copy()

    def write_sbuf(self, addr: int, words: Words) -> None:
        """Put `words` (uint16, N x columns) into the scratchpad from `addr` on.

        Raises
        ------
        ValueError
            If an address does not exist.
        """
        self._check_range("scratchpad", addr, words.shape[1], self.config.sbuf_depth)
        self._state.sbuf[:, addr : addr + words.shape[1]] = words

    def read_psum(self, addr: int, columns: int) -> PartialSums:
        """PSUM words `addr` to `addr + columns - 1` of every partition, N x columns.

        It raises as `read_sbuf` does.
        """
        self._check_range("PSUM", addr, columns, self.config.psum_depth)
        words = self._state.psum(slice(addr, addr + columns))
        return PartialSums(
            exponent=words.exponent.copy(),
            significand=words.significand.copy(),
            acc_width=words.acc_width,
        )

    @staticmethod
    def _check_range(what: str, addr: int, columns: int, depth: int) -> None:
        if addr < 0 or addr + columns > depth:
            raise ValueError(f"{what} has addresses 0 to {depth - 1}, not {addr} + {columns} words")

    def _execute(self, job: Job) -> TileRun:
        """Run a job that has been checked; the watchdog has no meaning without a clock."""
        bus = Bus(self.config, job.memory, job.base, job.bounds, self._errors)
        self._state.start()
        self.semaphores = [0] * self.config.semaphores
        self._queues = {engine: deque() for engine in ENGINES}
        trap: TrapRecord | None = None
        unsettled: list[Burst] = []
        try:
            front = FrontEnd(self.config, bus, job.program, job.program_bytes)
            self._dispatch(front, bus, deque(job.signals))
        except Stop as end:
            trap = end.record
            if bus.failed_write is not None:
                stores = self._stores_behind(front)
                unsettled = unsettled_bursts(self._state, bus, stores, self.config.max_writes)
        return TileRun(
            trap=trap,
            read_beats=bus.read_beats,
            write_beats=bus.write_beats,
            unsettled=tuple(unsettled),
        )

    def _stores_behind(self, front: FrontEnd) -> Iterator[dict[str, int]]:
        """Fields of the `store.dma` that are queued, and of those that are not yet dispatched."""
        for queued in self._queues[Engine.STORE]:
            if queued.decoded.mnemonic == "store.dma":
                yield queued.decoded.fields
        with suppress(Stop):
            while (queued := front.peek()).decoded.mnemonic != "halt":
                if queued.decoded.mnemonic == _READ:
                    if not self._take_wait(queued.decoded.fields):
                        return
                    front.read()
                    continue
                if queued.decoded.mnemonic == "store.dma":
                    yield queued.decoded.fields
                front.advance()

    def _dispatch(self, front: FrontEnd, bus: Bus, signals: deque[tuple[int, int]]) -> None:
        """Dispatch and execute until `halt` has seen every queue empty.

        The host's next signal is taken when nothing else can go on; a trap of dispatch, and a
        deadlock, when there is none.
        """
        halted, fault = False, None
        while True:
            progress = False
            while not halted and fault is None:
                try:
                    queued = front.peek()
                    if queued.decoded.mnemonic == _READ:
                        if not self._take_wait(queued.decoded.fields):
                            break
                        front.read()
                        progress = True
                        continue
                except Stop as end:
                    fault = end
                    break
                engine = queued.decoded.instruction.engine
                if engine == Engine.CONTROL:
                    halted = True
                    break
                if len(self._queues[engine]) == self.config.queue_depth:
                    break
                self._queues[engine].append(queued)
                front.advance()
                progress = True
            for engine in ENGINES:
                queue = self._queues[engine]
                if queue and self._take_wait(queue[0].decoded.fields):
                    self._step(engine, queue.popleft(), bus)
                    progress = True
            if halted and not any(self._queues.values()):
                return
            if not progress and signals:
                self._signal(Engine.CONTROL, *signals.popleft())
            elif not progress:
                raise self._deadlock(front) if fault is None else fault

    def _take_wait(self, fields: dict[str, int]) -> bool:
        """True if the instruction may begin; the semaphore is then consumed if it says so."""
        if not fields["wait"]:
            return True
        if self.semaphores[fields["wait_sem"]] < fields["wait_value"]:
            return False
        if fields["consume"]:
            self.semaphores[fields["wait_sem"]] -= fields["wait_value"]
        return True

    def _step(self, engine: Engine, queued: Queued, bus: Bus) -> None:
        decoded = queued.decoded
        try:
            if decoded.mnemonic in COMPUTE:
                COMPUTE[decoded.mnemonic](self._state, decoded.fields)
            elif decoded.mnemonic in TRANSFER:
                TRANSFER[decoded.mnemonic](self._state, bus, decoded.fields)
        except EngineTrap as trap:
            raise stop(trap.cause, engine, queued.pc, trap.address, queued.ordinal) from None
        if decoded.fields["signal"]:
            self._signal(engine, decoded.fields["signal_sem"], decoded.fields["signal_value"])

    def _signal(self, engine: Engine, semaphore: int, value: int) -> None:
        """Add to a semaphore. An overflow has pc 0: the semaphore does not know the instruction."""
        if self.semaphores[semaphore] + value >= 1 << self.config.semaphore_width:
            raise stop(Trap.SEMAPHORE_OVERFLOW, engine, 0, semaphore)
        self.semaphores[semaphore] += value

    def _deadlock(self, front: FrontEnd) -> Stop:
        """The first engine that waits, or control, which then does."""
        engine = next((engine for engine in ENGINES if self._queues[engine]), Engine.CONTROL)
        head = front.peek() if engine == Engine.CONTROL else self._queues[engine][0]
        return stop(Trap.DEADLOCK, engine, head.pc, head.decoded.fields["wait_sem"], head.ordinal)
