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
    fetch_beats
        Beats of the program that are fetched ahead at most.
    granule, decode
        From a beat to its granule, and to the dispatch.
    instruction
        From a queue to the tensor, the vector and the activation engine.
    signal
        From a signal to the first end of a wait for it.
    rest, end
        Cycles of rest that end a program, and from there to the interrupt.
    clear
        From the doorbell to the first column that may be written.
    bus
        Between an engine and memory, either way.
    read
        From the cycle in which banks are read to the words.
    tensor_bank, vector_bank, row_bank, chunk_bank
        From a request of the tensor, the vector, the activation and a DMA engine to that cycle.
    vector_write_bank, row_write_bank, chunk_write_bank
        From a result, a row or a chunk to the cycle in which banks are written.
    period
        From one pair of a load and a matmul to the next.
    result
        From the array's moving column to the results of its first column.
    matmul
        From a matmul's last column to its signal, which runs ahead.
    written
        From a column to the last cycle in which words of it are written.
    reuse
        From a column to the first that may be accumulated onto the same PSUM word.
    ahead
        By which a vector instruction's signal runs ahead.
    entry, unit, cast
        Of a vector lane: from an element's issue to its first step, a step, from the last to the
        write.
    combine
        Of a reduction, from its end to its result.
    whole, scaled
        Of a block that is quantised, from its last result to the departure of its scale, and from
        the departure of an item to the cast.
    word
        Of an activation lane: from a beat to its result.
    row
        From an activation engine's request to its row.
    collect
        From a column's last result to the request of its row.
    total
        Of the activation engine's sums, from their end to the last result.
    beats
        Beats of a column of the activation engine.
    run, request
        From an instruction at a DMA engine to its first run, and to its first request.
    beat_to_write
        From a load's beat to its write.
    load_room
        Chunks of a load that wait before memory's beats do.
    gather, words_to_beat, request_to_beat
        From a store's run to its first request, from words to their beat, and from the issue of a
        burst to its first beat.
    gather_depth
        Reads of a store that are in flight or wait.
    accumulate, sum
        Of a DMA engine's adder: from one chunk to the next, and from a chunk to its sums.
    """

    fetch_request: int
    fetch_beats: int
    granule: int
    decode: int
    instruction: int
    signal: int
    rest: int
    end: int
    clear: int
    bus: int
    read: int
    tensor_bank: int
    vector_bank: int
    row_bank: int
    chunk_bank: int
    vector_write_bank: int
    row_write_bank: int
    chunk_write_bank: int
    period: int
    result: int
    matmul: int
    written: int
    reuse: int
    ahead: int
    entry: int
    unit: int
    cast: int
    combine: int
    whole: int
    scaled: int
    word: int
    row: int
    collect: int
    total: int
    beats: int
    run: int
    request: int
    beat_to_write: int
    load_room: int
    gather: int
    words_to_beat: int
    request_to_beat: int
    gather_depth: int
    accumulate: int
    sum: int

    @property
    def column(self) -> int:
        """From one column of the activation engine to the next, of 16 bits, rounded up.

        There are words for two, either of which is free again two cycles after its row.
        """
        return max(self.beats, -(-(self.row + 2) // 2))

    @property
    def column_of_fp32(self) -> int:
        """Likewise of columns of two rows."""
        return max(self.beats, -(-(self.row + 3) // 2))

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
    from tegula.activation.issue import ROW_CYCLES
    from tegula.activation.lane import LaneCycles
    from tegula.activation.layouts import beats
    from tegula.arith.fp_add import FpAdd
    from tegula.bus.arbiter import AxiMaster
    from tegula.control.burst_requests import FETCH_CYCLES
    from tegula.control.decoder import DECODE_CYCLES
    from tegula.control.fetch import fifo_beats
    from tegula.control.front_end import END_CYCLES, FETCH_REQUEST_CYCLES
    from tegula.control.granule_register import GRANULE_CYCLES
    from tegula.control.semaphores import SIGNAL_CYCLES
    from tegula.control.watchdog import DRAINED_CYCLES
    from tegula.dma.align import ReadAligner
    from tegula.dma.chunk_adder import SUM_CYCLES, chunk_steps
    from tegula.dma.engine import DmaControl
    from tegula.dma.gather import Gather
    from tegula.dma.load import LoadEngine
    from tegula.dma.runs import RunGenerator
    from tegula.dma.store import StoreEngine
    from tegula.engine.acceptance import InstructionRegister
    from tegula.lib.stream import StreamBuffer, StreamStage
    from tegula.memory.ports import BANK_READ_CYCLES, PAIR_READ_CYCLES, TENSOR_READ_CYCLES
    from tegula.memory.writes import RESULT_CYCLES
    from tegula.tensor.engine import load_period, signal_cycles, write_end_cycles
    from tegula.tensor.psum import reuse_cycles
    from tegula.tensor.systolic_array import result_cycles
    from tegula.tensor.written_map import clear_cycles
    from tegula.vector.blocks import BlockQueue
    from tegula.vector.control_pipeline import AHEAD_CYCLES
    from tegula.vector.lane import ENTRY_CYCLES, UNIT_CYCLES, VectorLane

    cast = VectorLane.CAST_CYCLES
    return Latencies(
        fetch_request=FETCH_REQUEST_CYCLES,
        fetch_beats=fifo_beats(config),
        granule=GRANULE_CYCLES,
        decode=DECODE_CYCLES,
        instruction=InstructionRegister.LATENCY,
        signal=SIGNAL_CYCLES,
        rest=DRAINED_CYCLES,
        end=END_CYCLES,
        # PSUM is cleared with the start, a cycle before the fetch is told of it.
        clear=FETCH_REQUEST_CYCLES - FETCH_CYCLES + clear_cycles(config),
        bus=AxiMaster.LATENCY,
        read=BANK_READ_CYCLES,
        tensor_bank=TENSOR_READ_CYCLES - BANK_READ_CYCLES,
        vector_bank=PAIR_READ_CYCLES - BANK_READ_CYCLES,
        row_bank=ROW_CYCLES - BANK_READ_CYCLES,
        chunk_bank=StreamBuffer.LATENCY,
        vector_write_bank=RESULT_CYCLES,
        row_write_bank=StreamStage.LATENCY,
        chunk_write_bank=StreamBuffer.LATENCY,
        period=load_period(config),
        result=result_cycles(config),
        matmul=signal_cycles(config),
        written=write_end_cycles(config),
        reuse=reuse_cycles(config),
        ahead=AHEAD_CYCLES,
        entry=ENTRY_CYCLES + 1,
        unit=UNIT_CYCLES,
        cast=cast,
        combine=_combine(UNIT_CYCLES, config.vector_folding) + cast,
        whole=BlockQueue.WHOLE_CYCLES,
        scaled=BlockQueue.SCALED_CYCLES,
        word=LaneCycles.WORD,
        row=ROW_CYCLES,
        collect=ResultCollector.LATENCY,
        total=_combine(FpAdd.LATENCY + 1, beats(config)) + cast,
        beats=beats(config),
        run=RunGenerator.LATENCY,
        request=DmaControl.REQUEST_LATENCY,
        beat_to_write=LoadEngine.BEAT_TO_WRITE,
        load_room=ReadAligner.DEPTH - ReadAligner.ARRIVING,
        gather=Gather.LATENCY,
        words_to_beat=StoreEngine.WORDS_TO_BEAT,
        request_to_beat=StoreEngine.REQUEST_TO_BEAT,
        gather_depth=Gather.DEPTH,
        accumulate=chunk_steps(config),
        sum=config.bus_words + SUM_CYCLES,
    )
