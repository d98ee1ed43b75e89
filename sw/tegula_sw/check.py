"""Static check of a program: it cannot deadlock, and its result does not depend on timing.

The tile's engines run beside each other; only their queues and the semaphores order them. A program
whose result depends on timing may pass on one device and fail on another. `check_program` follows
each token from its signal to its wait, derives what happens before what (vector clocks: Fidge 1988,
Mattern 1989), and compares every access to the scratchpad and to PSUM with the accesses before it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, RAW32
from tegula.isa.codec import Decoded, decode
from tegula.isa.instructions import ENGINES, Engine, Layout
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source, TableKind

__all__ = ["check_program"]

_STATE_WORDS = 8
"""Words of a generator's state."""


@dataclass
class _Semaphore:
    """Sums after each signal, the sender's clock at each, who sends and waits, what is consumed."""

    sums: list[int] = field(default_factory=list)
    clocks: list[np.ndarray] = field(default_factory=list)
    senders: set[Engine] = field(default_factory=set)
    waiters: set[Engine] = field(default_factory=set)
    consumed: int = 0

    @property
    def total(self) -> int:
        return self.sums[-1] if self.sums else 0

    def clock_of(self, total: int) -> np.ndarray:
        """Clock of the signal that brings the sum to `total`."""
        return self.clocks[bisect_left(self.sums, total)]


class _Storage:
    """Last read and write of each (partition, address), as instruction numbers of each engine."""

    def __init__(self, name: str, shape: tuple[int, int]):
        self._name = name
        self._reads = np.zeros((len(ENGINES), *shape), np.int32)
        self._writes = np.zeros((len(ENGINES), *shape), np.int32)

    def access(
        self, where: tuple, engine: int, clock: np.ndarray, text: str, *, writes: bool
    ) -> None:
        for other in range(len(ENGINES)):
            latest = self._writes[other][where].max()
            if writes:
                latest = max(latest, self._reads[other][where].max())
            if other != engine and latest > clock[other]:
                raise ValueError(
                    f"{text}: {'writes' if writes else 'reads'} {self._name} words that instruction"
                    f" {latest} of engine {ENGINES[other].name.lower()} accesses, unordered"
                )
        (self._writes if writes else self._reads)[engine][where] = clock[engine]

    def check_overlap(self, where: tuple, engine: int, complete: int, text: str) -> None:
        """An instruction that may overlap must not read what earlier ones may still write."""
        latest = self._writes[engine][where].max()
        if latest > complete:
            raise ValueError(
                f"{text}: may overlap, but reads {self._name} words that instruction {latest} of"
                " its engine writes"
            )


def _dma_words(fields: dict[str, int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Partitions and addresses of a transfer, element by element."""
    starts, partitions = np.array(fields["sbuf_addr"]), np.array(fields["partition"])
    for axis in (1, 2, 3):
        steps = np.arange(fields[f"count{axis}"])
        starts = starts[..., None] + steps * fields[f"sbuf_stride{axis}"]
        partitions = partitions[..., None] + steps * fields[f"partition_stride{axis}"]
    element = np.arange(fields["run"])
    if fields["layout"] == Layout.FREE:
        words = np.broadcast_arrays(partitions[..., None], starts[..., None] + element)
    else:
        address = starts[..., None] + element // n * fields["sbuf_stride0"]
        words = np.broadcast_arrays(element % n, address)
    return words[0].reshape(-1), words[1].reshape(-1)


def _columns(first: int, count: int, step: int = 1) -> np.ndarray:
    return first + np.arange(count) * step


def _words(first: int, count: int, step: int, code: int) -> np.ndarray:
    """Addresses of elements of a format, each word of them."""
    addresses = _columns(first, count, step)
    if code in (FP32.code, RAW32):
        return np.stack([addresses, addresses + 1], axis=1).reshape(-1)
    return addresses


def _vector_accesses(decoded: Decoded, config: TileConfig) -> Iterator[tuple[str, tuple, bool]]:
    """Reads, then writes, of an instruction of the vector engine."""
    fields = decoded.fields
    everywhere = slice(config.n)
    if decoded.mnemonic == "vector.generator":
        words = _columns(fields["addr"], _STATE_WORDS)
        yield "scratchpad", (everywhere, words), bool(fields["save"])
        return
    rows, count = slice(fields["rows"]), fields["columns"]
    y_used = fields["rounding"] == Rounding.GIVEN
    for number in (0, 1):
        if fields[f"op{number}"] in (Operation.PASS, Operation.ABS):
            continue
        kind, value = fields[f"s{number}_kind"], fields[f"s{number}"] & 0xFFFF
        y_used |= kind == Operand.Y
        if kind == Operand.PARTITION:
            yield "scratchpad", (rows, _words(value, 1, 0, FP32.code)), False
    first, step, code = fields["x_addr"], fields["x_stride"], fields["x_format"]
    if fields["x_source"] == Source.PSUM:
        yield "PSUM", (rows, _columns(first, count, step)), False
    elif fields["x_source"] == Source.SBUF:
        yield "scratchpad", (rows, _words(first, count, step, code)), False
    if y_used:
        words = _words(fields["y_addr"], count, fields["y_stride"], fields["y_format"])
        yield "scratchpad", (rows, words), False
    if fields["reduction"] != Reduction.NONE:
        count = 1 if fields["finish"] else 0
    if not count:
        return
    if fields["transpose"]:
        group, partition = np.divmod(fields["partition"] + np.arange(count), config.n)
        start = fields["dst"] + group * fields["dst_stride"]
        lines = start[:, None] + np.arange(fields["rows"])
        yield "scratchpad", (np.broadcast_to(partition[:, None], lines.shape), lines), True
    else:
        words = _words(fields["dst"], count, fields["dst_stride"], fields["format"])
        yield "scratchpad", (rows, words), True


def _activation_accesses(decoded: Decoded, config: TileConfig) -> Iterator[tuple[str, tuple, bool]]:
    """Reads, then writes, of an instruction of the activation engine."""
    fields = decoded.fields
    if decoded.mnemonic == "activation.table":
        count = fields["count"] * (2 if fields["kind"] == TableKind.ENTRIES else 1)
        yield "scratchpad", (slice(4), _columns(fields["addr"], count)), False
        return
    rows, count = slice(fields["rows"]), fields["columns"]
    for name in ("scale", "bias"):
        if fields[f"{name}_partition"]:
            words = _words(fields[name] & 0xFFFF, 1, 0, FP32.code)
            yield "scratchpad", (rows, words), False
    words = _words(fields["x_addr"], count, fields["x_stride"], fields["x_format"])
    yield "scratchpad", (rows, words), False
    words = _words(fields["dst"], count, fields["dst_stride"], fields["format"])
    yield "scratchpad", (rows, words), True
    if fields["sum"] and fields["finish"]:
        yield "scratchpad", (rows, _words(fields["sum_dst"], 1, 0, FP32.code)), True


def _accesses(decoded: Decoded, config: TileConfig) -> Iterator[tuple[str, tuple, bool]]:
    """(storage, index, writes) of an instruction."""
    fields = decoded.fields
    match decoded.mnemonic:
        case "tensor.load" | "tensor.matmul":
            words = _columns(fields["addr"], fields["columns"], fields["stride"])
            yield "scratchpad", (slice(fields["rows"]), words), False
            if decoded.mnemonic == "tensor.matmul":
                yield "PSUM", (slice(None), _columns(fields["psum_addr"], fields["columns"])), True
        case "vector.compute" | "vector.generator":
            yield from _vector_accesses(decoded, config)
        case "activation.apply" | "activation.table":
            yield from _activation_accesses(decoded, config)
        case "load.dma" | "store.dma":
            writes = decoded.mnemonic == "load.dma"
            yield "scratchpad", _dma_words(fields, config.n), writes


class _Checker:
    """State of the check between instructions."""

    def __init__(self, config: TileConfig):
        self._config = config
        self._semaphores = [_Semaphore() for _ in range(config.semaphores)]
        self._clocks = np.zeros((len(ENGINES), len(ENGINES)), np.int64)
        self._complete = np.zeros(len(ENGINES), np.int64)
        """By engine: its instructions up to this one are complete when its next begins."""
        self._storages = {
            "scratchpad": _Storage("scratchpad", (config.n, config.sbuf_depth)),
            "PSUM": _Storage("PSUM", (config.n, config.psum_depth)),
        }

    def step(self, decoded: Decoded, offset: int) -> None:
        """Take the next instruction in program order."""
        text = f"{decoded.mnemonic} at byte {offset}"
        engine = ENGINES.index(decoded.instruction.engine)
        clock = self._clocks[engine]
        clock[engine] += 1
        fields = decoded.fields
        if fields["wait"]:
            np.maximum(clock, self._wait(fields, ENGINES[engine], text), out=clock)
        overlaps = bool(fields.get("overlap"))
        accesses = list(_accesses(decoded, self._config))
        # What reads the scratchpad waits for all before it, unless it may overlap.
        if not overlaps and ("scratchpad", False) in {(a[0], a[2]) for a in accesses}:
            self._complete[engine] = clock[engine] - 1
        for storage, where, writes in accesses:
            if overlaps and not writes:
                self._storages[storage].check_overlap(where, engine, self._complete[engine], text)
            self._storages[storage].access(where, engine, clock, text, writes=writes)
        if fields["signal"]:
            semaphore = self._semaphores[fields["signal_sem"]]
            semaphore.senders.add(ENGINES[engine])
            if len(semaphore.senders) > 1:
                raise ValueError(f"{text}: semaphore {fields['signal_sem']} has two senders")
            semaphore.sums.append(semaphore.total + fields["signal_value"])
            semaphore.clocks.append(clock.copy())

    def _wait(self, fields: dict[str, int], engine: Engine, text: str) -> np.ndarray:
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
            return np.zeros(len(ENGINES), np.int64)
        return semaphore.clock_of(needed)


def check_program(config: TileConfig, program: bytes) -> int:
    """Check that `program` cannot deadlock and that its result does not depend on timing.

    Two rules are checked: only earlier instructions satisfy a wait (so no queue depth deadlocks,
    see `builder`), and two engines never access the same word of the scratchpad or of PSUM, one of
    them writing, without a chain of signals between them. To follow tokens, a semaphore must have
    one sending engine and, if it is consumed, one waiting engine. Memory is not compared.

    Parameters
    ----------
    config
        The tile.
    program
        Its bytes.

    Returns
    -------
    int
        Instructions checked, `halt` included.

    Raises
    ------
    ValueError
        If a rule is broken or the program does not end with `halt`; the message names the
        instruction by its byte offset.
    """
    checker = _Checker(config)
    offset = count = 0
    while offset < len(program):
        decoded = decode(program, offset)
        count += 1
        if decoded.mnemonic == "halt":
            return count
        checker.step(decoded, offset)
        offset += decoded.size
    raise ValueError("the program does not end with halt")
