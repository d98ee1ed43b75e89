"""DMA instructions: runs of memory to and from the scratchpad of a tile.

Whole descriptors are moved with index arrays, those that accumulate run by run: runs may meet at
their destination. Runs are checked in order, and each is moved before the next is checked, as far
as anybody can tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16
from tegula.isa.instructions import Layout
from tegula.isa.operations import Accumulate
from tegula.isa.traps import Trap
from tegula_golden.cast import cast
from tegula_golden.fp32 import add, decode_pattern
from tegula_golden.tile_state import Check, TileState, first_fault, sbuf_check

__all__ = ["Bus", "dma_load", "dma_store"]

_ADDRESS_MASK = (1 << 48) - 1
"""Trap records hold memory addresses as 48 bits."""

_CHUNK_ELEMENTS = 1 << 20
"""Elements that are moved at a time: bounds the memory that index arrays take."""


class Bus:
    """A tile's memory, the window in it, and the beats that crossed the bus.

    Bytes that are in the window but not in the array answer DECERR, beats that touch a range of
    `errors` as that says.

    Parameters
    ----------
    memory
        uint8, one-dimensional; byte i is at address `base + i`.
    window
        First and last byte that may be accessed. Addresses that `axi_addr_width` bits cannot
        express are never inside.
    errors
        (first byte, last byte, BUS_SLVERR or BUS_DECERR).
    """

    def __init__(
        self,
        config: TileConfig,
        memory: np.ndarray,
        base: int,
        window: tuple[int, int],
        errors: Sequence[tuple[int, int, Trap]] = (),
    ):
        self.beat_bytes = config.bus_bytes
        self.burst_bytes = config.max_burst_beats * config.bus_bytes
        self.memory = memory
        self.words = memory[: len(memory) // 2 * 2].view("<u2")
        self.base = base
        self.end = base + len(memory)
        self.first = window[0]
        self.last = min(window[1], (1 << config.axi_addr_width) - 1)
        self.errors = tuple(errors)
        self.read_beats = 0
        self.write_beats = 0

    def beats(self, addresses: np.ndarray, size: int) -> int:
        """Beats of runs of `size` bytes: the aligned bus words that each touches."""
        last = (addresses + size - 1) // self.beat_bytes
        return int((last - addresses // self.beat_bytes + 1).sum())

    def in_window(self, address: int, size: int) -> bool:
        """Whether `size` bytes from `address` on are inside the window."""
        return self.first <= address and address + size - 1 <= self.last

    def may_fail(self, addresses: np.ndarray, size: int) -> np.ndarray:
        """Whether memory does not answer runs of `size` bytes with OKAY throughout."""
        fails = (addresses < self.base) | (addresses + size > self.end)
        for first, last, _ in self.errors:
            first_beat = addresses // self.beat_bytes
            last_beat = (addresses + size - 1) // self.beat_bytes
            fails |= (first_beat <= last // self.beat_bytes) & (
                last_beat >= first // self.beat_bytes
            )
        return fails

    def first_failure(self, address: int, size: int) -> tuple[int, Trap] | None:
        """Address and cause of the first beat of a run that memory does not answer with OKAY."""
        failures = []
        run_beat = address // self.beat_bytes
        for first, last, cause in self.errors:
            beat = max(first // self.beat_bytes, run_beat)
            if beat <= min(last, address + size - 1) // self.beat_bytes:
                failures.append((beat, cause))
        if address < self.base or address + size > self.end:
            byte = address if not self.base <= address < self.end else self.end
            failures.append((byte // self.beat_bytes, Trap.BUS_DECERR))
        if not failures:
            return None
        beat, cause = min(failures, key=itemgetter(0))
        return beat * self.beat_bytes, cause

    def burst(self, address: int, beat: int) -> int:
        """Address of the burst of a run at `address` that holds the beat at `beat`."""
        return max(address, beat // self.burst_bytes * self.burst_bytes)


@dataclass(frozen=True)
class _Runs:
    """Consecutive runs of a descriptor: where each begins, by address in memory and scratchpad."""

    memory: np.ndarray
    sbuf: np.ndarray
    partition: np.ndarray

    def __getitem__(self, selection: slice) -> "_Runs":
        return _Runs(self.memory[selection], self.sbuf[selection], self.partition[selection])


class _Transfer:
    """A descriptor on its way."""

    def __init__(self, state: TileState, bus: Bus, fields: dict[str, int], *, store: bool):
        self.state, self.bus, self.fields, self.store = state, bus, fields, store
        self.run = fields["run"]
        self.element_bytes = 1 if fields["bytes1"] else 2
        self.by_partition = fields["layout"] == Layout.PARTITION
        self.accumulate = Accumulate(fields["accumulate"])

    def execute(self) -> None:
        total = self.fields["count1"] * self.fields["count2"] * self.fields["count3"]
        chunk = max(1, _CHUNK_ELEMENTS // self.run)
        for first in range(0, total, chunk):
            runs = self._runs(np.arange(first, min(first + chunk, total)))
            good, trap = first_fault(self._checks(runs))
            if good:
                self._move(runs[:good], self.run)
            if trap is None:
                continue
            if trap.cause in (Trap.BUS_SLVERR, Trap.BUS_DECERR):
                self._move_until_error(runs[good : good + 1])
            raise trap

    def _runs(self, index: np.ndarray) -> _Runs:
        """The runs with these numbers, axis 1 counting fastest."""
        fields = self.fields
        steps = (
            index % fields["count1"],
            index // fields["count1"] % fields["count2"],
            index // (fields["count1"] * fields["count2"]),
        )

        def walk(start: int, stride: str) -> np.ndarray:
            return start + sum(
                step * fields[f"{stride}{axis}"] for axis, step in enumerate(steps, start=1)
            )

        return _Runs(
            memory=walk(fields["mem_addr"], "mem_stride"),
            sbuf=walk(fields["sbuf_addr"], "sbuf_stride"),
            partition=walk(fields["partition"], "partition_stride"),
        )

    def _checks(self, runs: _Runs) -> list[Check]:
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

        if (fails := bus.may_fail(runs.memory, self.run * self.element_bytes)).any():
            checks += self._bus_check(runs, int(fails.argmax()))
        return checks

    def _bus_check(self, runs: _Runs, index: int) -> list[Check]:
        """The check that the first run that fails on the bus fails; later ones do not matter."""
        address = int(runs.memory[index])
        beat, cause = self.bus.first_failure(address, self.run * self.element_bytes)
        bad = np.arange(len(runs.memory)) == index
        return [Check(cause, bad, np.where(bad, self.bus.burst(address, beat), 0))]

    def _move_until_error(self, run: _Runs) -> None:
        """Move what lies before the failing beat; all beats of its burst cross the bus."""
        address = int(run.memory[0])
        size = self.run * self.element_bytes
        beat, _ = self.bus.first_failure(address, size)
        done = max(beat - address, 0) // self.element_bytes
        if self.accumulate == Accumulate.FP32:
            done -= done % 2
        if done:
            self._move(run, done, count=False)
        burst_end = self.bus.burst(address, beat) // self.bus.burst_bytes + 1
        self._count(run, min(size, burst_end * self.bus.burst_bytes - address))

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
                memory[at] = sbuf[words].astype(np.uint8)
            else:
                sbuf[words] = memory[at]
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

    def _accumulate(self, address: int, words: np.ndarray) -> None:
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

    def _sums(self, held: np.ndarray, incoming: np.ndarray) -> np.ndarray:
        """Words of the sums of two runs of numbers (contract, section 5.7)."""
        if self.accumulate == Accumulate.FP32:
            held, incoming = (np.ascontiguousarray(a).view("<u4") for a in (held, incoming))
            return add(held.astype(np.uint32), incoming.astype(np.uint32)).view(np.uint16)
        sums = add(decode_pattern(held, BF16.code), decode_pattern(incoming, BF16.code))
        return cast(sums, BF16)

    def _sbuf_words(self, runs: _Runs, elements: int) -> np.ndarray:
        """Places of the elements in the flattened scratchpad, runs x elements."""
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
