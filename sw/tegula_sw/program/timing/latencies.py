"""Latencies of a tile, collected from the constants of its blocks."""

from dataclasses import dataclass
from functools import cache

from tegula.config import TileConfig

__all__ = ["Latencies", "latencies"]


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Cycles, as constants of the hardware's blocks have them, which its tests assert.

    Attributes
    ----------
    fetch_request
        From the doorbell to the fetch's first request.
    fetch
        From room for a burst of the program to its request.
    fetch_beats
        Beats of the program that are fetched ahead at most.
    granule, decode, queue
        From a beat to its granule, to the dispatch, to the engine.
    signal
        From a signal to the first end of a wait for it.
    rest, end
        Cycles of rest that end a program, and from there to the interrupt.
    clear
        From the doorbell to the first column that may be written.
    read
        From a read of the scratchpad to its words.
    swap
        From a matmul's first column to the first in which the stationary operand's chain may move,
        minus one.
    result
        From the array's moving column to the results of its first column.
    matmul
        From a matmul's last column to its completion.
    reuse
        From a column to the first that may be accumulated onto the same PSUM word.
    entry, unit, cast
        Of a vector lane: from an element's issue to its first step, a step, from the last to the
        write.
    combine
        Of a reduction, from its end to its result.
    word
        Of an activation lane: from a beat to its result.
    collect
        From a column's last result to its row.
    total
        Of the activation engine's sums, from their end to the last result.
    beats
        Beats of a column of the activation engine.
    run, request
        From an instruction at a DMA engine to its first run, and to its first request.
    beat_to_write
        From a load's beat to its write.
    gather, read_to_beat, request_to_beat
        From a store's run to its first read, from a read to its beat, and from the issue of a
        burst to its first beat.
    gather_depth
        Reads of a store that are in flight or wait.
    accumulate, sum
        Of a DMA engine's adder: from one chunk to the next, and from a chunk to its sums.
    """

    fetch_request: int
    fetch: int
    fetch_beats: int
    granule: int
    decode: int
    queue: int
    signal: int
    rest: int
    end: int
    clear: int
    read: int
    swap: int
    result: int
    matmul: int
    reuse: int
    entry: int
    unit: int
    cast: int
    combine: int
    word: int
    collect: int
    total: int
    beats: int
    run: int
    request: int
    beat_to_write: int
    gather: int
    read_to_beat: int
    request_to_beat: int
    gather_depth: int
    accumulate: int
    sum: int

    @property
    def vector(self) -> int:
        """From an element's issue to its write, without a step."""
        return self.entry + self.cast


def _combine(adder_latency: int, groups: int = 1) -> int:
    """Cycles in which a `Combiner` makes one result of eight, for each of the groups."""
    from amaranth.hdl import Fragment

    from tegula.arith.combine import Combiner

    combiner = Combiner(adder_latency, groups)
    Fragment.get(combiner, None)  # a component that is never elaborated makes a warning
    return combiner.CYCLES


@cache
def latencies(config: TileConfig) -> Latencies:
    """The latencies of a tile. The first call imports the hardware."""
    from tegula.activation.collector import ResultCollector
    from tegula.activation.lane import LaneCycles
    from tegula.activation.layouts import beats
    from tegula.arith.fp_add import FpAdd
    from tegula.control.decoder import DECODE_CYCLES
    from tegula.control.fetch import FETCH_CYCLES, GRANULE_CYCLES, fifo_beats
    from tegula.control.front_end import END_CYCLES, FETCH_REQUEST_CYCLES
    from tegula.control.queues import QUEUE_CYCLES
    from tegula.control.semaphores import SIGNAL_CYCLES
    from tegula.control.watchdog import DRAINED_CYCLES
    from tegula.dma.accumulate import chunk_steps
    from tegula.dma.engine import DmaControl
    from tegula.dma.gather import Gather
    from tegula.dma.load import LoadEngine
    from tegula.dma.runs import RunGenerator
    from tegula.dma.store import StoreEngine
    from tegula.memory.scratchpad import READ_CYCLES
    from tegula.tensor.engine import complete_cycles
    from tegula.tensor.psum import reuse_cycles
    from tegula.tensor.systolic_array import result_cycles, swap_cycles
    from tegula.tensor.written_map import clear_cycles
    from tegula.vector.lane import ENTRY_CYCLES, UNIT_CYCLES, VectorLane

    cast = VectorLane.CAST_CYCLES
    return Latencies(
        fetch_request=FETCH_REQUEST_CYCLES,
        fetch=FETCH_CYCLES,
        fetch_beats=fifo_beats(config),
        granule=GRANULE_CYCLES,
        decode=DECODE_CYCLES,
        queue=QUEUE_CYCLES,
        signal=SIGNAL_CYCLES,
        rest=DRAINED_CYCLES,
        end=END_CYCLES,
        # PSUM is cleared with the start, a cycle before the fetch is told of it.
        clear=FETCH_REQUEST_CYCLES - FETCH_CYCLES + clear_cycles(config),
        read=READ_CYCLES,
        swap=swap_cycles(config),
        result=result_cycles(config),
        matmul=complete_cycles(config),
        reuse=reuse_cycles(config),
        entry=ENTRY_CYCLES + 1,
        unit=UNIT_CYCLES,
        cast=cast,
        combine=_combine(UNIT_CYCLES) + cast,
        word=LaneCycles.WORD,
        collect=ResultCollector.LATENCY,
        total=_combine(FpAdd.LATENCY + 1, beats(config)) + cast,
        beats=beats(config),
        run=RunGenerator.LATENCY,
        request=DmaControl.REQUEST_LATENCY,
        beat_to_write=LoadEngine.BEAT_TO_WRITE,
        gather=Gather.LATENCY,
        read_to_beat=StoreEngine.READ_TO_BEAT,
        request_to_beat=StoreEngine.REQUEST_TO_BEAT,
        gather_depth=Gather.DEPTH,
        accumulate=chunk_steps(config),
        sum=config.bus_words + FpAdd.LATENCY,
    )
