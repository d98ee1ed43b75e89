"""What the load and the store engine share: runs of a descriptor, and their bursts."""

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula_sw.program.timing.clock import Gate, Steps
from tegula_sw.program.timing.front_end import Queue
from tegula_sw.program.timing.shared import Shared

__all__ = ["Run", "Runs", "bursts", "chunk_addr", "chunk_words", "read_chunk", "runs"]

_STAGES = 3
"""Runs between the one that begins and the one that is passed on."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run: where it lies in memory and in the scratchpad; `last`: it ends its instruction."""

    mem_addr: int
    size_bytes: int
    sbuf_addr: int
    partition: int
    elements: int
    last: bool


def runs(fields: dict[str, int]) -> Iterator[Run]:
    """The runs of a transfer, axis 1 fastest."""
    elements = fields["run"]
    size = elements * (1 if fields["bytes1"] else 2)
    first, second, third = (range(fields[f"count{axis}"]) for axis in (1, 2, 3))
    left = len(first) * len(second) * len(third)

    def at(name: str, start: int, steps: tuple[int, int, int]) -> int:
        return start + sum(
            step * fields[f"{name}_stride{axis}"] for axis, step in enumerate(steps, 1)
        )

    for k in third:
        for j in second:
            for i in first:
                left -= 1
                steps = (i, j, k)
                yield Run(
                    at("mem", fields["mem_addr"], steps),
                    size,
                    at("sbuf", fields["sbuf_addr"], steps),
                    at("partition", fields["partition"], steps),
                    elements,
                    last=not left,
                )


def bursts(config: TileConfig, run: Run) -> Iterator[int]:
    """Beats of the bursts of a run."""
    first = run.mem_addr // config.bus_bytes
    end = (run.mem_addr + run.size_bytes - 1) // config.bus_bytes + 1
    while first < end:
        after = min(end, (first // config.max_burst_beats + 1) * config.max_burst_beats)
        yield after - first
        first = after


def chunk_words(config: TileConfig, fields: dict[str, int]) -> int:
    """Words that the scratchpad moves in a cycle."""
    return config.row_words if fields["layout"] == Layout.PARTITION else config.bus_words


def chunk_addr(config: TileConfig, fields: dict[str, int], run: Run, done: int) -> int:
    """Scratchpad address of the words of a run from number `done` on."""
    if fields["layout"] == Layout.PARTITION:
        return run.sbuf_addr + done // config.n * fields["sbuf_stride0"]
    return run.sbuf_addr + done


def read_chunk(
    shared: Shared, fields: dict[str, int], run: Run, done: int, cycle: int
) -> Generator[int, None, int]:
    """The cycle from `cycle` on in which a read is granted: behind all other readers."""
    moving, stationary = shared.moving, shared.stationary
    vector, activation = shared.vector_reads, shared.activation_reads
    yield cycle
    if fields["layout"] == Layout.PARTITION:
        mask = shared.masks.row(chunk_addr(shared.config, fields, run, done))
        while (
            stationary.at(cycle)
            or activation.at(cycle)
            or (moving.at(cycle) | vector.at(cycle)) & mask
        ):
            cycle += 1
            yield cycle
        return cycle
    left = shared.masks.all
    while True:
        left &= moving.at(cycle) | stationary.at(cycle) | vector.at(cycle) | activation.at(cycle)
        if not left:
            return cycle
        cycle += 1
        yield cycle


class Runs:
    """`tegula.dma.runs.RunGenerator`: the runs of an engine's instructions, a run a cycle.

    Parameters
    ----------
    shared, queue
        Time and the tile, and where the instructions come from.
    rank
        Of the process.
    """

    def __init__(self, shared: Shared, queue: Queue, rank: int):
        clock = shared.clock
        self._clock, self._latency, self._queue = clock, shared.latencies.run, queue
        self._ready: deque[tuple[dict[str, int], Run | None, int]] = deque()
        self._accepted: deque[int] = deque([0] * _STAGES)
        self._offered, self._passed = Gate(clock), Gate(clock)
        clock.start(self._process(), rank=rank)

    def next(self) -> Generator[Gate, None, tuple[dict[str, int], Run | None, int]]:
        """The next run: fields of its instruction, the run, and the cycle in which it is there.

        None instead of a run: an instruction that has none.
        """
        while not self._ready:
            yield self._offered
        return self._ready.popleft()

    def accept(self, cycle: int) -> None:
        """The last of `next` is passed on in `cycle`."""
        self._accepted.append(cycle)
        self._passed.open(0)

    def _process(self) -> Steps:
        clock, queue = self._clock, self._queue
        while True:
            while not queue.valid:
                yield queue.offered
            decoded = queue.take()
            transfers = decoded.mnemonic.endswith(".dma")
            step = clock.now
            for run in runs(decoded.fields) if transfers else (None,):
                while not self._accepted:
                    yield self._passed
                step = max(step + 1, self._accepted.popleft() + 1)
                yield step
                self._ready.append((decoded.fields, run, step + self._latency - 1))
                self._offered.open(0)
            yield clock.now + 1
