"""Jobs: a program, the memory that it runs on, and what runs it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import GRANULE_BYTES, SIGNAL_VALUE_BITS
from tegula.isa.traps import TrapRecord
from tegula_golden.arguments import check_integer
from tegula_golden.array_types import Bytes

__all__ = ["ERROR_RESPONSES", "Job", "Outcome", "Runner", "check_errors", "check_signals"]

ERROR_RESPONSES = ("slverr", "decerr")
"""Names of the error responses of a memory (IHI 0022H, A3.4.4)."""

_PROGRAM_ALIGNMENT = 64
_Result = TypeVar("_Result")


def check_errors(errors: Sequence[tuple[int, int, str]]) -> None:
    """Check ranges of memory that fail: (first byte, last byte, one of `ERROR_RESPONSES`) each.

    Raises
    ------
    ValueError
        If one is malformed.
    """
    if not isinstance(errors, Sequence):
        raise ValueError(f"errors must be a sequence of ranges, not {errors!r}")
    for error in errors:
        try:
            first, last, response = error
            valid = 0 <= first <= last and response in ERROR_RESPONSES
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ValueError(
                f"errors must be (first, last >= first, 'slverr' or 'decerr'), not {error!r}"
            )


def check_signals(
    signals: Sequence[tuple[int, int]], config: TileConfig
) -> tuple[tuple[int, int], ...]:
    """Signals of a host, (semaphore, value) each, as integers of Python.

    Raises
    ------
    ValueError
        If one is malformed, or the tile has no such semaphore.
    """
    if not isinstance(signals, Sequence):
        raise ValueError(f"signals must be a sequence of (semaphore, value), not {signals!r}")
    checked = []
    for signal in signals:
        if not isinstance(signal, Sequence) or len(signal) != 2:
            raise ValueError(f"a signal must be (semaphore, value), not {signal!r}")
        semaphore, value = signal
        checked.append(
            (
                check_integer("a signal's semaphore", semaphore, 0, config.semaphores - 1),
                check_integer("a signal's value", value, 1, (1 << SIGNAL_VALUE_BITS) - 1),
            )
        )
    return tuple(checked)


def _check_memory(memory: object) -> None:
    what = "memory must be a one-dimensional uint8 array"
    if not isinstance(memory, np.ndarray):
        raise ValueError(f"{what}, not {type(memory).__name__}")
    if memory.dtype != np.uint8 or memory.ndim != 1:
        raise ValueError(f"{what}, not {memory.dtype} {memory.shape}")
    if not memory.size:
        raise ValueError("memory must have at least 1 byte, not 0")
    if not memory.flags.c_contiguous:
        raise ValueError(f"memory must be contiguous, but its bytes are {memory.strides[0]} apart")
    if not memory.flags.writeable:
        raise ValueError(f"memory of {memory.size} bytes must be writable, and is read-only")


@dataclass(frozen=True, eq=False)
class Job:
    """A program and its memory, as `Runner.run` takes them."""

    memory: Bytes
    program: int
    program_bytes: int
    base: int = 0
    window: tuple[int, int] | None = None
    watchdog: int | None = None
    signals: Sequence[tuple[int, int]] = ()

    @property
    def bounds(self) -> tuple[int, int]:
        """First and last byte of the window: by default those of the memory."""
        return self.window or (self.base, self.base + len(self.memory) - 1)

    def _with_integers(self, config: TileConfig) -> "Job":
        """The same job with integers of Python, which neither wrap nor overflow."""
        window, watchdog = self.window, self.watchdog
        if watchdog is not None:
            watchdog = check_integer("watchdog", watchdog)
        if window is not None:
            if not isinstance(window, Sequence) or len(window) != 2:
                raise ValueError(f"window must be (first, last), not {window!r}")
            first, last = window
            window = (
                check_integer("window's first", first),
                check_integer("window's last", last),
            )
        return Job(
            memory=self.memory,
            program=check_integer("program", self.program),
            program_bytes=check_integer("program_bytes", self.program_bytes),
            base=check_integer("base", self.base),
            window=window,
            watchdog=watchdog,
            signals=check_signals(self.signals, config),
        )

    def checked(self, config: TileConfig) -> "Job":
        """The job with integers of Python, all arguments checked against each other and a tile.

        Raises
        ------
        ValueError
            If one is malformed; the message quotes it.
        """
        _check_memory(self.memory)
        job = self._with_integers(config)
        job._check(config)
        return job

    def _check(self, config: TileConfig) -> None:
        """Check integers against each other, and against a tile."""
        memory = self.memory
        limit = 1 << config.axi_addr_width
        if not 0 <= self.base <= limit - memory.size:
            raise ValueError(f"base must be 0 to {limit - memory.size}, not {self.base}")
        if not 0 <= self.program < limit or self.program % _PROGRAM_ALIGNMENT:
            raise ValueError(f"program must be a multiple of 64 below {limit}, not {self.program}")
        if not 0 <= self.program_bytes < 1 << 32:
            raise ValueError(f"program_bytes must be 0 to 2**32 - 1, not {self.program_bytes}")
        if self.program_bytes % GRANULE_BYTES:
            raise ValueError(f"program_bytes must be a multiple of 16, not {self.program_bytes}")
        first, last = self.bounds
        if not 0 <= first <= last < 1 << 48:
            raise ValueError(f"window must be first <= last, of 48 bits, not {(first, last)}")
        end = self.base + memory.size
        for edge, beyond in ((self.base, first < self.base), (end, last >= end)):
            if beyond and edge % config.bus_bytes:
                raise ValueError(
                    "a window beyond memory needs an edge of memory that is a multiple of"
                    f" {config.bus_bytes}, not {edge:#x}"
                )
        if self.watchdog is not None and not 1 <= self.watchdog < 1 << 32:
            raise ValueError(f"watchdog must be 1 to 2**32 - 1, not {self.watchdog}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one program.

    Attributes
    ----------
    trap
        None where the program reached `halt`.
    read_beats, write_beats
        AXI data beats, program fetch included.
    """

    trap: TrapRecord | None
    read_beats: int
    write_beats: int


class Runner(ABC, Generic[_Result]):
    """A tile that runs jobs, one after the other."""

    config: TileConfig

    def run(
        self,
        memory: Bytes,
        *,
        program: int,
        program_bytes: int,
        base: int = 0,
        window: tuple[int, int] | None = None,
        watchdog: int | None = None,
        signals: Sequence[tuple[int, int]] = (),
    ) -> _Result:
        """Run the program at address `program` and return when it is done or has trapped.

        Parameters
        ----------
        memory
            uint8, shape (bytes,), C-contiguous and writable; changed in place. Byte i is at address
            `base + i`.
        program, program_bytes
            Address (a multiple of 64) and size (a multiple of 16, of 32 bits) of the program; one
            of no bytes, or of more than 16 MiB, traps with ILLEGAL_FIELD.
        window
            First and last byte that the tile may access; default: all of `memory`. Bytes inside the
            window that `memory` does not hold answer DECERR; where it goes beyond `memory`, that
            must begin or end with a beat of the bus.
        watchdog
            Cycles without progress that count as a deadlock; default: the configuration's. A tile
            without a clock detects a deadlock at once.
        signals
            (semaphore, value), value 1 to 255: what the host adds to semaphores while the program
            runs, in this order; those that are left when it ends are dropped. A tile with a clock
            gets them from its start on, one without a clock when nothing else can go on. So what
            is signalled and not yet consumed must fit the semaphore, however slow the program is.

        Raises
        ------
        ValueError
            If an argument is malformed. A trap is not an exception here: it is in the result.
        """
        return self.execute(Job(memory, program, program_bytes, base, window, watchdog, signals))

    def execute(self, job: Job) -> _Result:
        """Run a job; see `run`."""
        return self._execute(job.checked(self.config))

    @abstractmethod
    def _execute(self, job: Job) -> _Result:
        """Run a job that has been checked."""
