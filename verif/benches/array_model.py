"""Driver, monitor and model of the systolic array's bench."""

from dataclasses import dataclass

import numpy as np
from cocotb.triggers import ReadWrite, RisingEdge

from tegula.config import TileConfig
from tegula.formats import FloatFormat, format_by_code
from tegula.tensor.systolic_array import WORD_IN_CYCLES, result_cycles
from tegula_golden.numerics.accumulate import PartialSums, accumulate
from tegula_golden.numerics.codes import code_dtype
from verif.benches.testbench import split

__all__ = ["ArrayDriver", "ArrayMonitor", "Pass", "Segment", "shortest_pass"]


def shortest_pass(config: TileConfig) -> int:
    """Fewest moving columns between two swaps.

    The chain takes N columns; and a word must have left the array, and been observed, before it
    enters again with the same column of the next pass.
    """
    observed = result_cycles(config) + 2
    return max(config.n, observed - WORD_IN_CYCLES)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A stationary operand (k x m words) and the moving columns (k x f words) that it meets.

    `accumulate` (m x f) says which words start from PSUM, where there is one.
    """

    stationary: np.ndarray
    stationary_format: FloatFormat
    stationary_rows: int
    moving: np.ndarray
    moving_format: FloatFormat
    moving_rows: int
    accumulate: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Inputs of the array from one swap to the next, and its outputs, as observed."""

    stationary: np.ndarray
    stationary_format: FloatFormat
    moving: np.ndarray
    moving_format: FloatFormat
    partial: PartialSums
    accumulated: int
    words_out: np.ndarray

    def expected(self) -> np.ndarray:
        """Outputs by the golden model."""
        return accumulate(
            self.partial,
            self.stationary,
            self.moving,
            self.stationary_format,
            self.moving_format,
        ).words()


class _Plan:
    """Values of every input by cycle, and which words of PSUM enter when."""

    def __init__(self, config: TileConfig, passes: list[Pass]):
        lengths = [p.moving.shape[1] for p in passes]
        starts = np.cumsum([config.n, *lengths])
        self.cycles = int(starts[-1]) + result_cycles(config) + config.n - 1
        names = [name for name in ArrayMonitor.INPUTS if name not in ("words_in", "accumulate")]
        self.values = {name: [0] * self.cycles for name in names}
        self.entries: list[list[tuple[int, int]]] = [[] for _ in range(self.cycles)]
        """By cycle: (column, cycle in which the word left the column)."""
        left: dict[int, int] = {}
        for p, start in zip(passes, starts.tolist(), strict=False):
            self._fill(p, start, config.n)
            for f in range(p.moving.shape[1]):
                for m in np.flatnonzero(p.accumulate[:, f]).tolist() if f in left else ():
                    late = config.n - 1 - m
                    cycle = start + f + WORD_IN_CYCLES + late
                    self.entries[cycle].append((m, left[f] + late))
                    assert left[f] + late + 2 <= cycle, "the word would not have been observed yet"
            left |= {f: start + f + result_cycles(config) for f in range(p.moving.shape[1])}

    def _fill(self, p: Pass, start: int, n: int) -> None:
        chain, stream = slice(start - n, start), slice(start, start + p.moving.shape[1])
        self.values["shift"][chain] = [1] * n
        self.values["first"][chain] = [1] + [0] * (n - 1)
        self.values["swap"][start] = 1
        for side, place in (("stationary", chain), ("moving", stream)):
            words = getattr(p, side).astype("<u2")
            columns = [int.from_bytes(column.tobytes(), "little") for column in words.T]
            self.values[side][place] = columns
            self.values[f"{side}_rows"][place] = [getattr(p, f"{side}_rows")] * len(columns)
            self.values[f"{side}_format"][place] = [getattr(p, f"{side}_format").code] * len(
                columns
            )


class ArrayMonitor:
    """Recorder of every input and output word, cycle by cycle."""

    INPUTS = (
        *("moving", "moving_rows", "moving_format", "swap"),
        *("stationary", "stationary_rows", "stationary_format", "shift", "first"),
        *("words_in", "accumulate"),
    )

    def __init__(self, dut, config: TileConfig):
        self._dut, self._config = dut, config
        self._inputs: list[tuple[int, ...]] = []
        self.words_out: list[int] = []

    async def run(self) -> None:
        """Sample at every rising edge."""
        edge = RisingEdge(self._dut.clk)
        ports = [getattr(self._dut, name) for name in self.INPUTS]
        words = self._dut.words_out
        while True:
            await edge
            self._inputs.append(tuple(int(port.value) for port in ports))
            self.words_out.append(int(words.value))

    def segments(self) -> list[Segment]:
        """All that happened, but what followed the last swap without all its words having left."""
        n = self._config.n
        trace = dict(zip(self.INPUTS, zip(*self._inputs, strict=True), strict=True))
        swaps = [cycle for cycle, swap in enumerate(trace["swap"]) if swap]
        shifts = [cycle for cycle, shift in enumerate(trace["shift"]) if shift]
        last = len(self._inputs) - result_cycles(self._config) - n + 1
        segments = []
        for before, start, stop in zip([0, *swaps], swaps, [*swaps[1:], last], strict=False):
            chain = [cycle for cycle in shifts if before <= cycle < start]
            assert len(chain) == n
            segments.append(self._segment(trace, chain, list(range(start, stop))))
        return segments

    def _segment(self, trace, chain: list[int], stream: list[int]) -> Segment:
        n, width = self._config.n, self._config.psum_width
        stationary, stationary_format = _operand(trace, "stationary", chain, n)
        moving, moving_format = _operand(trace, "moving", stream, n)
        words = np.zeros((n, len(stream)), dtype=object)
        accumulated = 0
        for f, cycle in enumerate(stream):
            for m in range(n):
                entry = cycle + WORD_IN_CYCLES + n - 1 - m
                if trace["accumulate"][entry] >> m & 1:
                    words[m, f] = trace["words_in"][entry] >> (m * width) & ((1 << width) - 1)
                    accumulated += 1
        out = np.array(
            [
                [
                    split(self.words_out[c + result_cycles(self._config) + n - 1 - m], width, n)[m]
                    for c in stream
                ]
                for m in range(n)
            ],
            dtype=object,
        )
        return Segment(
            stationary=stationary,
            stationary_format=stationary_format,
            moving=moving,
            moving_format=moving_format,
            partial=PartialSums.from_words(words, self._config.acc_width),
            accumulated=accumulated,
            words_out=out,
        )


def _operand(trace, side: str, cycles: list[int], n: int) -> tuple[np.ndarray, FloatFormat]:
    """Codes (k x columns) that a side took in those cycles; rows without part are zero."""
    formats = {trace[f"{side}_format"][cycle] for cycle in cycles}
    assert len(formats) == 1
    fmt = format_by_code(formats.pop())
    words = np.array([split(trace[side][cycle], 16, n) for cycle in cycles]).T
    rows = np.array([trace[f"{side}_rows"][cycle] for cycle in cycles])
    words = np.where(np.arange(n)[:, None] < rows, words, 0)
    return (words & ((1 << fmt.width) - 1)).astype(code_dtype(fmt)), fmt


class ArrayDriver:
    """Drives passes without a gap; words to accumulate on come from a model of PSUM.

    PSUM word f of a column is the last word that left it for moving column f, as the monitor saw
    it.
    """

    def __init__(self, dut, config: TileConfig, monitor: ArrayMonitor):
        self._dut, self._config, self._monitor = dut, config, monitor

    async def run(self, passes: list[Pass]) -> None:
        """Drive all passes, and go on until the last word has left."""
        dut, width = self._dut, self._config.psum_width
        plan = _Plan(self._config, passes)
        ports = [(getattr(dut, name), values) for name, values in plan.values.items()]
        edge = RisingEdge(dut.clk)
        await edge
        await ReadWrite()  # the monitor has now sampled this edge
        origin = len(self._monitor.words_out)
        mask = (1 << width) - 1
        for cycle in range(plan.cycles):
            for port, values in ports:
                if cycle == 0 or values[cycle] != values[cycle - 1]:
                    port.value = values[cycle]
            entering, enabled = 0, 0
            for column, left in plan.entries[cycle]:
                word = self._monitor.words_out[origin + left] >> (column * width) & mask
                entering |= word << (column * width)
                enabled |= 1 << column
            dut.words_in.value = entering
            dut.accumulate.value = enabled
            await edge
        await ReadWrite()
