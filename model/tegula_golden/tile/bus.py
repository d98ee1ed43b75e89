"""Memory behind a tile's bus: bytes, a window, beats that fail, and bursts."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from tegula.config import TileConfig
from tegula.isa.traps import Trap
from tegula_golden.array_types import Bytes, Integers, Mask

__all__ = ["Burst", "Bus", "FailedWrite"]


@dataclass(frozen=True)
class Burst:
    """A burst of a store: address of its first byte, and its bytes."""

    address: int
    data: bytes


@dataclass(frozen=True)
class FailedWrite:
    """Position of a store whose burst memory answered with an error: run, address of the burst."""

    fields: dict[str, int]
    run: int
    address: int


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

    Attributes
    ----------
    read_beats, write_beats
        Beats that crossed the bus.
    failed_write
        Position of a store whose write failed; see `unsettled_bursts`.
    """

    def __init__(
        self,
        config: TileConfig,
        memory: Bytes,
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
        self.failed_write: FailedWrite | None = None

    def beats(self, addresses: Integers, size: int) -> int:
        """Beats of runs of `size` bytes: the aligned bus words that each touches."""
        last = (addresses + size - 1) // self.beat_bytes
        return int((last - addresses // self.beat_bytes + 1).sum())

    def in_window(self, address: int, size: int) -> bool:
        """True if `size` bytes from `address` on are inside the window."""
        return self.first <= address and address + size - 1 <= self.last

    def may_fail(self, addresses: Integers, size: int) -> Mask:
        """Mask of runs of `size` bytes that memory does not answer with OKAY throughout."""
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

    def write_failure(self, address: int, size: int, beat: int) -> Trap:
        """Cause of the failure of a run's burst that holds the failing beat at `beat`.

        Memory answers a write once a burst: with DECERR if it would any of its beats.
        """
        end = min(address + size, (beat // self.burst_bytes + 1) * self.burst_bytes)
        start, causes = max(address, beat), []
        while start < end and (failure := self.first_failure(start, end - start)) is not None:
            beat, cause = failure
            causes.append(cause)
            start = beat + self.beat_bytes
        return max(causes)

    def burst(self, address: int, beat: int) -> int:
        """Address of the burst of a run at `address` that holds the beat at `beat`."""
        return max(address, beat // self.burst_bytes * self.burst_bytes)
