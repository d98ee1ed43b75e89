"""The vector engine: PSUM or scratchpad, through the casts, to the scratchpad."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.arith.psum_round import PsumRound
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.signatures import EngineSignature
from tegula.vector.completion import CompletionQueue
from tegula.vector.lane import VectorLane
from tegula.vector.sequencer import ColumnSequencer, column_layout

__all__ = ["PSUM_READ_LATENCY", "VectorEngine"]

PSUM_READ_LATENCY = 1
"""Cycles from `psum_en` to `psum_data`."""


class VectorEngine(wiring.Component):
    """Execute vector.sync and vector.copy: ``sbuf[p, dst + i] = cast(fp32(src[p, i]))``.

    The lanes have no flow control. What travels beside a column (destination, rows, format) goes
    through a chain of registers of the same length: a column of PSUM enters its head, a column of
    the scratchpad its middle, where the cast begins.

    Latency: `PSUM_WRITE_LATENCY` cycles from a PSUM read to its write, and a signal is offered one
    cycle after the last write. Throughput: one column a cycle from PSUM (fp32 results: one every
    two cycles; stochastic: as the random rows are granted); from the scratchpad one for every two
    rows granted, three with random bits. Between instructions: see `ColumnSequencer`.

    Reads run ahead of writes by up to that latency: an instruction whose results lie where it later
    reads its own operands has no defined effect. Instructions see the results of earlier ones.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature)
        Control.
    psum_addr : Out, psum_en : Out(1), psum_data : In(ArrayLayout(psum_width, n))
        PSUM read, always granted, data `PSUM_READ_LATENCY` later.
    psum_written : In(1)
        Whether the word at `psum_addr` was written, in the same cycle.
    row_read : Out(stream of an address), row_data : In(ArrayLayout(16, n)), row_valid : In(1)
        Scratchpad rows: answers in order, a fixed 1 to `ROW_LATENCY_MAX` cycles after acceptance.
    row_write_en : Out(n), row_write_addr : Out, row_write_data : Out(ArrayLayout(16, n))
        Results, always accepted.
    """

    PSUM_WRITE_LATENCY = PSUM_READ_LATENCY + VectorLane.PSUM_LATENCY

    ROW_LATENCY_MAX = PSUM_READ_LATENCY + PsumRound.LATENCY - 1
    """The random bits of a PSUM column must be there when its rounded word is."""

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.VECTOR)),
                "psum_addr": Out(range(config.psum_depth)),
                "psum_en": Out(1),
                "psum_data": In(data.ArrayLayout(config.psum_width, config.n)),
                "psum_written": In(1),
                "row_read": Out(stream.Signature((config.sbuf_depth - 1).bit_length())),
                "row_data": In(data.ArrayLayout(16, config.n)),
                "row_valid": In(1),
                "row_write_en": Out(config.n),
                "row_write_addr": Out(range(config.sbuf_depth)),
                "row_write_data": Out(data.ArrayLayout(16, config.n)),
            }
        )

    def elaborate(self, platform):
        """Sequencer, the chain beside the lanes, lanes, write port, completions."""
        m = Module()
        m.submodules.sequencer = sequencer = ColumnSequencer(self._config)
        m.submodules.completions = completions = CompletionQueue(self._config)
        connect(m, flipped(self.engine.instr), sequencer.instr)
        connect(m, sequencer.row_read, flipped(self.row_read))
        connect(m, completions.signals, flipped(self.engine.signals[0]))
        entering, leaving, valids = self._carry(m, sequencer)
        second, done = self._write(m, leaving)
        drained = ~Cat(*valids, second.valid).any()
        quiet = sequencer.idle & drained
        self._connect_lanes(m, sequencer, entering, second.valid, quiet)
        m.d.comb += [
            self.psum_addr.eq(sequencer.psum_addr),
            self.psum_en.eq(sequencer.psum_en),
            sequencer.psum_written.eq(self.psum_written),
            sequencer.row_valid.eq(self.row_valid),
            sequencer.room.eq(completions.room),
            sequencer.drained.eq(drained),
            sequencer.alone.eq(completions.level == 1),
            sequencer.stop.eq(self.engine.stop),
            completions.push.eq(sequencer.start),
            completions.entry.eq(sequencer.entry),
            completions.done.eq(done),
            completions.clear.eq(self.engine.stop),
            self.engine.trap.eq(sequencer.trap),
            self.engine.trap_valid.eq(sequencer.trap_valid),
            self.engine.idle.eq(quiet & (completions.level == 0)),
            self.engine.stall.eq(sequencer.denied),
            self.engine.busy.eq(~self.engine.idle & ~sequencer.denied),
        ]
        return m

    def _carry(self, m: Module, sequencer: ColumnSequencer) -> tuple[Signal, Signal, list[Signal]]:
        """The chain: what enters the cast, what leaves it, and all valid bits of the chain."""
        carried = data.StructLayout(
            {"valid": 1, "direct": 1, "column": column_layout(self._config)}
        )
        chain = [
            Signal(carried, name=f"column_{stage}") for stage in range(self.PSUM_WRITE_LATENCY)
        ]
        middle = PSUM_READ_LATENCY + PsumRound.LATENCY - 1
        for stage, item in enumerate(chain):
            if stage == 0:
                source = Signal(carried, name="launched")
                m.d.comb += [
                    source.valid.eq(sequencer.launch & ~sequencer.direct),
                    source.direct.eq(0),
                    source.column.eq(sequencer.column),
                ]
            else:
                source = chain[stage - 1]
            m.d.sync += item.eq(source)
            if stage == middle:
                with m.If(sequencer.launch & sequencer.direct):
                    m.d.sync += [
                        item.valid.eq(1),
                        item.direct.eq(1),
                        item.column.eq(sequencer.column),
                    ]
            with m.If(self.engine.stop):
                m.d.sync += item.valid.eq(0)
        return chain[middle], chain[-1], [item.valid for item in chain]

    def _connect_lanes(
        self, m: Module, sequencer: ColumnSequencer, entering: Signal, second: Value, quiet: Value
    ) -> None:
        """All lanes do the same; random bits go around a ring of slots."""
        slot_in = Signal(range(VectorLane.RANDOM_SLOTS))
        slot_out = Signal(range(VectorLane.RANDOM_SLOTS))
        with m.If(sequencer.capture_random):
            m.d.sync += slot_in.eq(slot_in + 1)
        with m.If(entering.valid & entering.column.stochastic):
            m.d.sync += slot_out.eq(slot_out + 1)
        with m.If(quiet):
            m.d.sync += [slot_in.eq(0), slot_out.eq(0)]
        for p in range(self._config.n):
            m.submodules[f"lane_{p}"] = lane = VectorLane(self._config)
            m.d.comb += [
                lane.psum_word.eq(self.psum_data[p]),
                lane.row_word.eq(self.row_data[p]),
                lane.capture_low.eq(sequencer.capture_low),
                lane.capture_high.eq(sequencer.capture_high),
                lane.capture_random.eq(sequencer.capture_random),
                lane.random_slot_in.eq(slot_in),
                lane.random_slot_out.eq(slot_out),
                lane.direct.eq(entering.direct),
                lane.stochastic.eq(entering.column.stochastic),
                lane.saturate.eq(entering.column.saturate),
                lane.format.eq(entering.column.format),
                lane.second.eq(second),
                self.row_write_data[p].eq(lane.word),
            ]

    def _write(self, m: Module, leaving: Signal) -> tuple[Signal, Value]:
        """The write port: the result, and a cycle later the upper halves of an fp32 result."""
        second = Signal(leaving.shape())
        m.d.sync += second.eq(leaving)
        m.d.sync += [
            second.valid.eq(leaving.valid & _double(leaving.column)),
            second.column.addr.eq(leaving.column.addr + 1),
        ]
        written = Mux(second.valid, second.as_value(), leaving.as_value())
        written = data.View(leaving.shape(), written)
        for p in range(self._config.n):
            m.d.comb += self.row_write_en[p].eq(
                written.valid & (p < written.column.rows) & ~self.engine.stop
            )
        m.d.comb += self.row_write_addr.eq(written.column.addr)
        complete = written.valid & written.column.last & (second.valid | ~_double(written.column))
        return second, complete


def _double(column: data.View) -> Value:
    """Whether the results of this column are two words each."""
    return column.format == FP32.code
