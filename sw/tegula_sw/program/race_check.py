"""Static check of a program: it cannot deadlock, and its result does not depend on timing.

The tile's engines run beside each other; only their queues and the semaphores order them. A program
whose result depends on timing may pass on one device and fail on another. `check_program` follows
each token from its signal to its wait, derives what happens before what (vector clocks: Fidge 1988,
Mattern 1989), and compares every access to the scratchpad and to PSUM with the accesses before it.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import ENGINES, Engine
from tegula.isa.tensor import STATIONARY_LOADS
from tegula_golden.array_types import Integers
from tegula_golden.tile.job import check_signals
from tegula_sw.program.footprint import Storage, WordIndex, accesses
from tegula_sw.program.unroll import Step, unroll

__all__ = ["check_program"]

_TENSOR = ENGINES.index(Engine.TENSOR)
_STATIONARY = len(ENGINES)
"""A thread of its own: `STATIONARY_LOADS` run beside the matmuls before, and signal before them."""
_HOST = -1
"""Sender of signals that come from outside, and of which no engine's work is known."""
_THREADS = (*(engine.name.lower() for engine in ENGINES), "tensor")
"""Names of the engines that instructions run on, by thread."""


@dataclass
class _Semaphore:
    """Sums after each signal, the sender's clock at each, senders, waiters, what is consumed."""

    sums: list[int] = field(default_factory=list)
    clocks: list[Integers] = field(default_factory=list)
    senders: set[int] = field(default_factory=set)
    waiters: set[Engine] = field(default_factory=set)
    consumed: int = 0

    @property
    def total(self) -> int:
        return self.sums[-1] if self.sums else 0

    def clock_of(self, total: int) -> Integers:
        """Clock of the signal that brings the sum to `total`."""
        return self.clocks[bisect_left(self.sums, total)]


class _History:
    """Last read and write of each (partition, address) by each thread, as numbers in its engine."""

    def __init__(self, storage: Storage, shape: tuple[int, int]):
        self._name, self._words = storage.value, shape[1]
        self._reads = np.zeros((len(_THREADS), *shape), np.int32)
        self._writes = np.zeros((len(_THREADS), *shape), np.int32)

    def check_range(self, where: WordIndex, text: str) -> None:
        """An instruction that reaches beyond its storage traps: nothing is defined behind it."""
        words = where[1]
        if isinstance(words, slice):
            first, last = words.start, words.stop - 1
        else:
            first, last = int(words.min(initial=0)), int(words.max(initial=0))
        if first < 0 or last >= self._words:
            raise ValueError(
                f"{text}: reaches {self._name} word {first if first < 0 else last}, which must be 0"
                f" to {self._words - 1}"
            )

    def access(
        self, where: WordIndex, thread: int, clock: Integers, text: str, *, writes: bool
    ) -> None:
        for other, name in enumerate(_THREADS):
            latest = self._writes[other][where].max()
            if writes:
                latest = max(latest, self._reads[other][where].max())
            if other != thread and latest > clock[other]:
                raise ValueError(
                    f"{text}: {'writes' if writes else 'reads'} {self._name} words that instruction"
                    f" {latest} of engine {name} accesses, unordered"
                )
        (self._writes if writes else self._reads)[thread][where] = clock[thread]

    def check_overlap(self, where: WordIndex, engine: int, complete: int, text: str) -> None:
        """An instruction that may overlap must not read what earlier ones may still write."""
        latest = self._writes[engine][where].max()
        if latest > complete:
            raise ValueError(
                f"{text}: may overlap, but reads {self._name} words that instruction {latest} of"
                " its engine writes"
            )


class _Checker:
    """State of the check between instructions."""

    def __init__(self, config: TileConfig, signals: Sequence[tuple[int, int]]):
        self._config = config
        self._semaphores = [_Semaphore() for _ in range(config.semaphores)]
        limit = (1 << config.semaphore_width) - 1
        for index, value in signals:
            semaphore = self._semaphores[index]
            semaphore.senders.add(_HOST)
            semaphore.sums.append(semaphore.total + value)
            if semaphore.total > limit:
                raise ValueError(
                    f"semaphore {index} gets {semaphore.total} from the host, which may be ahead of"
                    f" all waits, and holds at most {limit}"
                )
            semaphore.clocks.append(np.zeros(len(_THREADS), np.int64))
        self._counts = [0] * len(ENGINES)
        self._known = np.zeros((len(ENGINES), len(_THREADS)), np.int64)
        """By engine: what is complete by its waits, as numbers of each thread."""
        self._complete = [0] * len(ENGINES)
        """By engine: its instructions up to this one are complete when its next begins."""
        depths = {Storage.SCRATCHPAD: config.sbuf_depth, Storage.PSUM: config.psum_depth}
        self._histories = {
            storage: _History(storage, (config.n, depth)) for storage, depth in depths.items()
        }

    def step(self, step: Step) -> None:
        """Take the next instruction in the order of its execution."""
        decoded, text = step.decoded, str(step)
        if decoded.mnemonic == "control.read":
            self._read(decoded.fields, text)
        if decoded.instruction.engine is Engine.CONTROL:
            return
        engine = ENGINES.index(decoded.instruction.engine)
        thread = _STATIONARY if decoded.mnemonic in STATIONARY_LOADS else engine
        self._counts[engine] += 1
        number, known = self._counts[engine], self._known[engine]
        fields = decoded.fields
        if fields["wait"]:
            np.maximum(known, self._wait(fields, ENGINES[engine], text), out=known)
        clock = known.copy()
        clock[thread] = number
        if engine == _TENSOR:
            clock[_STATIONARY] = number
        overlaps = bool(fields.get("overlap"))
        found = list(accesses(decoded, self._config))
        # What reads the scratchpad waits for all before it, unless it may overlap.
        if not overlaps and any(a.storage is Storage.SCRATCHPAD and not a.writes for a in found):
            self._complete[engine] = number - 1
        for access in found:
            history = self._histories[access.storage]
            history.check_range(access.where, text)
            if overlaps and not access.writes:
                history.check_overlap(access.where, engine, self._complete[engine], text)
            history.access(access.where, thread, clock, text, writes=access.writes)
        if fields["signal"]:
            semaphore = self._semaphores[fields["signal_sem"]]
            semaphore.senders.add(thread)
            if len(semaphore.senders) > 1:
                raise ValueError(f"{text}: semaphore {fields['signal_sem']} has two senders")
            semaphore.sums.append(semaphore.total + fields["signal_value"])
            semaphore.clocks.append(clock)

    def _read(self, fields: dict[str, int], text: str) -> None:
        """All engines' instructions behind a read that waits come after what it waited for."""
        if fields["wait"]:
            clock = self._wait(fields, Engine.CONTROL, text)
            np.maximum(self._known, clock, out=self._known)

    def _wait(self, fields: dict[str, int], engine: Engine, text: str) -> Integers:
        """Clock of the signal that ends a wait."""
        name = fields["wait_sem"]
        semaphore = self._semaphores[name]
        needed = semaphore.consumed + fields["wait_value"]
        if needed > semaphore.total:
            raise ValueError(
                f"{text}: waits for {fields['wait_value']} on semaphore {name}, but earlier"
                f" instructions leave only {semaphore.total - semaphore.consumed}"
            )
        semaphore.waiters.add(engine)
        if fields["consume"]:
            semaphore.consumed = needed
        if semaphore.consumed and len(semaphore.waiters) > 1:
            raise ValueError(f"{text}: semaphore {name} is consumed, and two engines wait on it")
        if needed == 0:
            return np.zeros(len(_THREADS), np.int64)
        return semaphore.clock_of(needed)


def check_program(
    config: TileConfig,
    program: bytes,
    *,
    signals: Sequence[tuple[int, int]] = (),
    read: Callable[[int, int], int] | None = None,
) -> int:
    """Check that `program` cannot deadlock and that its result does not depend on timing.

    Two rules are checked: only earlier instructions satisfy a wait (so no queue depth deadlocks,
    see `builder`), and two engines never access the same word of the scratchpad or of PSUM, one of
    them writing, without a chain of signals between them. To follow tokens, a semaphore must have
    one sender and, if it is consumed, one waiting engine. A sender is an engine, and `tensor.load`
    another than the rest of the tensor engine: what it signals says nothing of the matmuls before
    it. Memory is not compared. A program with loops is checked as its unrolled one.

    Parameters
    ----------
    config
        The tile.
    program
        Its bytes.
    signals
        What the host adds to semaphores, as `Device.run` takes it. It is a sender too, comes before
        all instructions, and may be ahead of all waits: their sum must fit the semaphore.
    read
        ``read(address, size_bytes)``: the number that a `control.read` finds in memory.

    Returns
    -------
    int
        Instructions checked, as often as they are executed, `halt` included.

    Raises
    ------
    ValueError
        If a rule is broken, a signal is malformed, an instruction reaches beyond a storage, or the
        program does not end with `halt`; where `unroll` raises it. The message names the
        instruction by its byte offset, and its iteration.
    """
    checker = _Checker(config, check_signals(signals, config))
    for count, step in enumerate(unroll(program, read=read), start=1):
        if step.decoded.mnemonic == "halt":
            return count
        checker.step(step)
    raise ValueError("the program does not end with halt")
