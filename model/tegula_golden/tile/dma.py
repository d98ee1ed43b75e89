"""DMA instructions: runs of memory to and from the scratchpad of a tile.

Whole descriptors are moved with index arrays, those that accumulate run by run: runs may meet at
their destination. Runs are checked in order; the effect is that of moving each before the next is
checked. The state after a bus error is specified in docs/traps.md.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, dropwhile, takewhile

import numpy as np

from tegula.formats import BF16
from tegula.isa.instructions import Layout
from tegula.isa.operations import Accumulate, Half
from tegula.isa.traps import Trap
from tegula_golden.array_types import Bytes, Integers, Words
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.fp32 import add, decode_pattern
from tegula_golden.tile.bus import Burst, Bus, FailedWrite
from tegula_golden.tile.halves import replaced
from tegula_golden.tile.state import Check, EngineTrap, TileState, first_fault, sbuf_check

__all__ = ["dma_load", "dma_store", "unsettled_bursts"]

_ADDRESS_MASK = (1 << 48) - 1
"""Trap records hold memory addresses as 48 bits."""

_CHUNK_ELEMENTS = 1 << 20
"""Elements that are moved at a time: bounds the memory that index arrays take."""


@dataclass(frozen=True)
class _Runs:
    """Consecutive runs of a descriptor: addresses of their first elements."""

    memory: Integers
    sbuf: Integers
    partition: Integers

    def __getitem__(self, selection: slice) -> "_Runs":
        return _Runs(self.memory[selection], self.sbuf[selection], self.partition[selection])


class _Transfer:
    """Execution of a descriptor."""

    def __init__(self, state: TileState, bus: Bus, fields: dict[str, int], *, store: bool):
        self.state, self.bus, self.fields, self.store = state, bus, fields, store
        self.run = fields["run"]
        self.total = fields["count1"] * fields["count2"] * fields["count3"]
        self.element_bytes = 1 if fields["bytes1"] else 2
        self.by_partition = fields["layout"] == Layout.PARTITION
        self.accumulate = Accumulate(fields["accumulate"])
        self.half = Half(fields["half"])

    def execute(self) -> None:
        chunk = max(1, _CHUNK_ELEMENTS // self.run)
        for first in range(0, self.total, chunk):
            runs = self._runs(np.arange(first, min(first + chunk, self.total)))
            good, trap = first_fault(self._run_checks(runs) + self._bus_checks(runs))
            if good:
                self._move(runs[:good], self.run)
            if trap is None:
                continue
            if trap.cause in (Trap.BUS_SLVERR, Trap.BUS_DECERR):
                self._move_until_error(first + good, trap.address)
                if self.store and not self.accumulate:
                    self.bus.failed_write = FailedWrite(self.fields, first + good, trap.address)
            raise trap

    def bursts(self, first_run: int) -> Iterator[Burst]:
        """Bursts that a store writes from run `first_run` on, in order.

        Raises `EngineTrap` at a run that fails its checks, and at a burst that cannot be read.
        """
        for index in range(first_run, self.total):
            runs = self._runs(np.array([index]))
            _, trap = first_fault(self._run_checks(runs))
            if trap is not None:
                raise trap
            address, size = int(runs.memory[0]), self.run * self.element_bytes
            failure = self.bus.first_failure(address, size) if self.accumulate else None
            if failure is not None:
                size = self.bus.burst(address, failure[0]) - address
            data = self._store_bytes(runs, size // self.element_bytes)
            while data:
                head = self.bus.burst_bytes - address % self.bus.burst_bytes
                yield Burst(address, data[:head])
                address, data = address + head, data[head:]
            if failure is not None:
                raise EngineTrap(failure[1], address)

    def _store_bytes(self, run: _Runs, elements: int) -> bytes:
        """Bytes that the first `elements` elements of a run of a store write."""
        words: Words = self.state.sbuf.reshape(-1)[self._sbuf_words(run, elements)[0]]
        if self.element_bytes == 1:
            return self._codes(words).tobytes()
        if self.accumulate:
            held = self.bus.memory[int(run.memory[0]) - self.bus.base :][: 2 * elements]
            words = self._sums(held.copy().view("<u2"), words)
        return words.astype("<u2").tobytes()

    def _codes(self, words: Words) -> Bytes:
        """Elements of one byte that a store takes from words."""
        return (words >> np.uint16(8) if self.half == Half.HIGH else words).astype(np.uint8)

    def _runs(self, index: Integers) -> _Runs:
        """The runs with these numbers, axis 1 counting fastest."""
        fields = self.fields
        steps = (
            index % fields["count1"],
            index // fields["count1"] % fields["count2"],
            index // (fields["count1"] * fields["count2"]),
        )

        def traversed(start: int, stride: str) -> Integers:
            offsets = np.zeros_like(index)
            for axis, step in enumerate(steps, start=1):
                offsets += step * fields[f"{stride}{axis}"]
            return start + offsets

        return _Runs(
            memory=traversed(fields["mem_addr"], "mem_stride"),
            sbuf=traversed(fields["sbuf_addr"], "sbuf_stride"),
            partition=traversed(fields["partition"], "partition_stride"),
        )

    def _run_checks(self, runs: _Runs) -> list[Check]:
        bus, config = self.bus, self.state.config
        last_byte = runs.memory + self.run * self.element_bytes - 1
        outside = (runs.memory < bus.first) | (last_byte > bus.last)
        checks = [Check(Trap.MEMORY_WINDOW, outside, runs.memory & _ADDRESS_MASK)]

        first_word = sbuf_check(runs.sbuf, config)
        if self.by_partition:
            last_word = runs.sbuf + (self.run - 1) // config.n * self.fields["sbuf_stride0"]
        else:
            last_word = runs.sbuf + self.run - 1
        bad = first_word.bad | sbuf_check(last_word, config).bad
        if not self.by_partition:
            bad |= runs.partition >= config.n
        checks.append(Check(Trap.SBUF_RANGE, bad, first_word.addresses))
        if not self.by_partition:
            unaligned = runs.sbuf % config.bus_words != 0
            if self.accumulate == Accumulate.FP32:
                unaligned |= self.run % 2 != 0
            checks.append(Check(Trap.SBUF_ALIGNMENT, unaligned, runs.sbuf))

        if self.store and self.accumulate:
            size = 4 if self.accumulate == Accumulate.FP32 else 2
            where = runs.memory & _ADDRESS_MASK
            checks.append(Check(Trap.MEMORY_ALIGNMENT, runs.memory % size != 0, where))
        return checks

    def _bus_checks(self, runs: _Runs) -> list[Check]:
        """The check that the first run that fails on the bus fails; later ones do not matter."""
        size = self.run * self.element_bytes
        fails = self.bus.may_fail(runs.memory, size)
        if not fails.any():
            return []
        index = int(fails.argmax())
        address = int(runs.memory[index])
        failure = self.bus.first_failure(address, size)
        assert failure is not None, "a run that may fail does"
        beat, cause = failure
        if self.store and not self.accumulate:
            cause = self.bus.write_failure(address, size, beat)
        bad = np.arange(len(runs.memory)) == index
        return [Check(cause, bad, np.where(bad, self.bus.burst(address, beat), 0))]

    def _move_until_error(self, index: int, failed: int) -> None:
        """Move what comes before the error in a run, whose burst at `failed` crosses the bus.

        A load: the chunks of a bus width, counted from the run's first byte, whose beats all came.
        A store: the bursts before.
        """
        bus, run = self.bus, self._runs(np.array([index]))
        address, size = int(run.memory[0]), self.run * self.element_bytes
        if self.store:
            with suppress(EngineTrap):
                for burst in takewhile(lambda burst: burst.address < failed, self.bursts(index)):
                    at = burst.address - bus.base
                    bus.memory[at : at + len(burst.data)] = np.frombuffer(burst.data, np.uint8)
        else:
            failure = bus.first_failure(address, size)
            assert failure is not None, "the run was found to fail"
            done = max(failure[0] - address, 0) // bus.beat_bytes * bus.beat_bytes
            if done:
                self._move(run, done // self.element_bytes, count=False)
        burst_end = failed // bus.burst_bytes * bus.burst_bytes + bus.burst_bytes
        self._count(run, min(size, burst_end - address))

    def _count(self, runs: _Runs, size: int) -> None:
        beats = self.bus.beats(runs.memory, size)
        if self.store:
            self.bus.write_beats += beats
        if not self.store or self.accumulate:
            self.bus.read_beats += beats

    def _move(self, runs: _Runs, elements: int, *, count: bool = True) -> None:
        """Move the first `elements` elements of each run."""
        if count:
            self._count(runs, elements * self.element_bytes)
        words = self._sbuf_words(runs, elements)
        if self.accumulate:
            for address, row in zip((runs.memory - self.bus.base).tolist(), words, strict=True):
                self._accumulate(address, row)
            return
        bytes_at = (runs.memory - self.bus.base)[:, None]
        sbuf = self.state.sbuf.reshape(-1)
        memory = self.bus.memory
        element = np.arange(elements)
        if self.element_bytes == 1:
            at = bytes_at + element
            if self.store:
                memory[at] = self._codes(sbuf[words])
            else:
                sbuf[words] = replaced(sbuf[words], memory[at], self.half)
        elif not (bytes_at & 1).any():
            at = (bytes_at >> 1) + element
            if self.store:
                self.bus.words[at] = sbuf[words]
            else:
                sbuf[words] = self.bus.words[at]
        else:
            at = bytes_at + 2 * element
            if self.store:
                pairs = sbuf[words].astype("<u2")[..., None].view(np.uint8)
                memory[at[..., None] + np.arange(2)] = pairs
            else:
                sbuf[words] = memory[at] | memory[at + 1].astype(np.uint16) << np.uint16(8)

    def _accumulate(self, address: int, words: Integers) -> None:
        """Add a run whose first byte has the offset `address` in memory: destination + source."""
        sbuf = self.state.sbuf.reshape(-1)
        memory = self.bus.memory[address : address + 2 * len(words)]
        if self.store:
            sums = self._sums(memory.copy().view("<u2"), sbuf[words])
            memory[:] = sums.astype("<u2").view(np.uint8)
            return
        incoming = memory.copy().view("<u2")
        n = self.state.config.n
        # A word that a run meets again N elements later holds the sum by then.
        step = n if self.by_partition and self.fields["sbuf_stride0"] == 0 else len(words)
        for first in range(0, len(words), step):
            at = words[first : first + step]
            sbuf[at] = self._sums(sbuf[at], incoming[first : first + step])

    def _sums(self, held: Words, incoming: Words) -> Words:
        """Words of the sums of two runs of numbers (contract, section 5.7)."""
        if self.accumulate == Accumulate.FP32:
            held, incoming = (np.ascontiguousarray(a).view("<u4") for a in (held, incoming))
            return add(held.astype(np.uint32), incoming.astype(np.uint32)).view(np.uint16)
        sums = add(decode_pattern(held, BF16.code), decode_pattern(incoming, BF16.code))
        return cast(sums, BF16)

    def _sbuf_words(self, runs: _Runs, elements: int) -> Integers:
        """Indices of the elements in the flattened scratchpad, runs x elements."""
        config = self.state.config
        element = np.arange(elements)
        if self.by_partition:
            step = element // config.n * self.fields["sbuf_stride0"]
            within = element % config.n * config.sbuf_depth + step
            return runs.sbuf[:, None] + within
        return (runs.partition * config.sbuf_depth + runs.sbuf)[:, None] + element


def dma_load(state: TileState, bus: Bus, fields: dict[str, int]) -> None:
    """load.dma: memory to scratchpad. Raises `EngineTrap` after the runs that went well."""
    _Transfer(state, bus, fields, store=False).execute()


def dma_store(state: TileState, bus: Bus, fields: dict[str, int]) -> None:
    """store.dma: scratchpad to memory. Raises `EngineTrap` after the runs that went well."""
    _Transfer(state, bus, fields, store=True).execute()


def unsettled_bursts(
    state: TileState, bus: Bus, following: Iterable[dict[str, int]], limit: int
) -> list[Burst]:
    """The failed burst of a store, and those behind it that may be in flight, `limit` in all.

    Memory may have taken any of their bytes when the error came back; `bus.memory` has none.

    Parameters
    ----------
    following
        Fields of the `store.dma` that come after the failed one, in order. Their bytes are those
        that the scratchpad holds now.
    """
    failed = bus.failed_write
    if failed is None:
        return []
    later = (_Transfer(state, bus, fields, store=True).bursts(0) for fields in following)
    of_failed = _Transfer(state, bus, failed.fields, store=True).bursts(failed.run)
    bursts = chain(
        dropwhile(lambda burst: burst.address != failed.address, of_failed),
        chain.from_iterable(later),
    )
    unsettled = []
    with suppress(EngineTrap):
        for burst in bursts:
            unsettled.append(burst)
            if len(unsettled) == limit:
                break
    return unsettled
