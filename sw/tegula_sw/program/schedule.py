"""Merge the instruction streams of the engines into one program order.

A kernel writes one stream for each engine. Their order inside a stream is fixed; how the streams
interleave is not, and it matters: dispatch is in order, so an instruction that is far from starting
fills its queue and holds back the instructions after it. `merge` runs a coarse model of the engines
and orders the instructions by the time at which each would start with unbounded queues. Then the
queues of the real tile never hold an instruction back for one that starts later, and every wait is
satisfied by instructions earlier in the program, because its signallers complete before it starts.
The method (list scheduling of the recorded streams) is ours; the model needs no precision.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from tegula.config import TileConfig
from tegula.isa.codec import FieldValue
from tegula.isa.instructions import Engine
from tegula_sw.program.costs import transfer_cost
from tegula_sw.program.program import Program, Signal, Wait

__all__ = ["Op", "dma_op", "emit_merged", "merge"]


@dataclass(frozen=True, slots=True)
class Op:
    """An instruction that is not yet in a program.

    Attributes
    ----------
    mnemonic, fields
        As `Program.emit` takes them.
    cycles
        Estimate of how long it occupies its engine.
    latency_cycles
        Estimate of what passes between its last cycle in the engine and its signal.
    wait, signal
        Waits must consume, and one engine waits on a semaphore.
    """

    mnemonic: str
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    cycles: int = 1
    latency_cycles: int = 0
    wait: Wait | None = None
    signal: Signal | None = None

    def synchronised(self, wait: Wait | None, signal: Signal | None) -> "Op":
        """The same instruction with a wait and a signal."""
        return replace(self, wait=wait, signal=signal)


def dma_op(
    config: TileConfig,
    engine: Engine,
    run_cycles: int,
    axes: list[tuple[int, int, int, int]],
    **fields: FieldValue,
) -> Op:
    """A transfer of runs of `run_cycles` cycles each.

    Parameters
    ----------
    config
        The tile.
    engine
        LOAD or STORE.
    axes
        From the fastest on: runs, memory stride (bytes), scratchpad stride (words), partition
        stride.
    fields
        The other fields.
    """
    cycles = run_cycles
    for axis, (count, mem_stride, sbuf_stride, partition_stride) in enumerate(axes, 1):
        cycles *= count
        if count > 1:
            fields |= {
                f"count{axis}": count,
                f"mem_stride{axis}": mem_stride,
                f"sbuf_stride{axis}": sbuf_stride,
                f"partition_stride{axis}": partition_stride,
            }
    cost = transfer_cost(config, engine)
    return Op(f"{engine.name.lower()}.dma", fields, cycles + cost.overhead, cost.latency)


class _Stream:
    """The rest of an engine's stream from `head` on, and the cycle in which the engine is free."""

    def __init__(self, head: Op, rest: Iterator[Op]):
        self.head, self._rest = head, rest
        self.free = 0

    def start(self, tokens: dict[int, deque[int]]) -> int | None:
        """Cycle in which the head can start, or None while its wait is not satisfied."""
        wait = self.head.wait
        if wait is None:
            return self.free
        arrived = tokens.get(wait.semaphore.index, deque())
        if len(arrived) < wait.value:
            return None
        return max(self.free, arrived[wait.value - 1])

    def execute(self, start: int, tokens: dict[int, deque[int]]) -> Op:
        """The head, executed from `start` on: tokens are consumed and signalled."""
        op = self.head
        if op.wait is not None:
            arrived = tokens[op.wait.semaphore.index]
            for _ in range(op.wait.value):
                arrived.popleft()
        self.free = start + op.cycles
        if op.signal is not None:
            done = [self.free + op.latency_cycles] * op.signal.value
            tokens.setdefault(op.signal.semaphore.index, deque()).extend(done)
        return op

    def advance(self) -> bool:
        """Make the next instruction the head; False if there is none."""
        following = next(self._rest, None)
        if following is None:
            return False
        self.head = following
        return True


def merge(streams: Mapping[Engine, Iterable[Op]]) -> Iterator[Op]:
    """The instructions of all streams in program order.

    Ties go to the stream that comes first in `streams`.

    Raises
    ------
    ValueError
        If the streams wait for each other in a circle, or for signals that none of them sends.
    """
    live = []
    for ops in streams.values():
        rest = iter(ops)
        live += [_Stream(head, rest) for head in islice(rest, 1)]
    tokens: dict[int, deque[int]] = {}
    while live:
        starts = [(start, i) for i, s in enumerate(live) if (start := s.start(tokens)) is not None]
        if not starts:
            waits = [(stream.head.mnemonic, stream.head.wait) for stream in live]
            heads = ", ".join(f"{name} on {w.semaphore.name!r}" for name, w in waits if w)
            raise ValueError(f"the streams wait for signals that never come: {heads}")
        start, index = min(starts)
        op = live[index].execute(start, tokens)
        if not live[index].advance():
            del live[index]
        yield op


def emit_merged(program: Program, streams: Mapping[Engine, Iterable[Op]]) -> None:
    """Append the merged streams to `program`."""
    for op in merge(streams):
        program.emit(op.mnemonic, wait=op.wait, signal=op.signal, relative=None, **op.fields)
