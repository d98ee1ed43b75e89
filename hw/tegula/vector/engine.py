"""The vector engine: PSUM and scratchpad, through arithmetic and casts, to the scratchpad."""

from amaranth.hdl import Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from tegula.arith.codes import is_wide
from tegula.arith.generator import Generator
from tegula.config import TileConfig
from tegula.engine.interface import EngineSignature
from tegula.engine.retirement import Retirement
from tegula.engine.sequencing import connect_sequencer
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.memory.ports import (
    PairReadSignature,
    PsumReadSignature,
    VectorWriteSignature,
    vector_write_layout,
)
from tegula.vector.control_pipeline import ElementPipeline
from tegula.vector.lane import VectorLane
from tegula.vector.sequencer import ElementSequencer
from tegula.xor128 import stream_states

__all__ = ["VectorEngine"]


class VectorEngine(wiring.Component):
    """Execute vector instructions: ``sbuf[p, dst + i] = cast((x[p, i] op0 s0) op1 s1)``.

    Throughput: an element a lane a cycle, of whatever source and format, where the scratchpad
    grants its operands at once and no unit of a lane is needed twice (`plan_route`). Latency from
    issue to write: that of `VectorLane`; a signal is offered one cycle after the last write.

    Reads run ahead of writes by up to that latency: an instruction whose results lie where it later
    reads its own operands has no defined effect. Instructions see the results of earlier ones,
    unless they say that they need not (`overlap`).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature(config, Engine.VECTOR))
        Control.
    psum : Out(PsumReadSignature)
        Operands, from PSUM.
    x, y : Out(PairReadSignature)
        Operands, from the scratchpad.
    write : Out(VectorWriteSignature)
        Results.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.VECTOR)),
                "psum": Out(PsumReadSignature(config)),
                "x": Out(PairReadSignature(config)),
                "y": Out(PairReadSignature(config)),
                "write": Out(VectorWriteSignature(config)),
            }
        )

    def elaborate(self, platform):
        """Sequencer, pipeline, lanes, write port, retirement."""
        m = Module()
        m.submodules.sequencer = sequencer = ElementSequencer(self._config)
        m.submodules.pipeline = pipeline = ElementPipeline(self._config)
        retirement = Retirement(self._config, sequencer.entry.shape())
        m.submodules.retirement = ResetInserter(self.engine.stop)(retirement)
        connect(m, sequencer.x, flipped(self.x.request))
        connect(m, sequencer.y, flipped(self.y.request))
        lanes = self._connect_lanes(m, pipeline)
        done, writing = self._write(m, pipeline, lanes)
        connect_sequencer(
            m,
            self.engine,
            sequencer,
            retirement,
            drained=pipeline.drained & ~writing,
            done=done,
        )
        m.d.comb += [
            self.psum.addr.eq(sequencer.psum_addr),
            self.psum.en.eq(sequencer.psum_en),
            sequencer.psum_written.eq(self.psum.written),
            pipeline.issue_valid.eq(sequencer.issue_valid),
            pipeline.issue.eq(sequencer.issue),
            pipeline.x_early.eq(sequencer.x_early),
            pipeline.finish.eq(sequencer.finish),
            pipeline.finish_max.eq(sequencer.finish_max),
            pipeline.result.eq(sequencer.result),
            pipeline.stop.eq(self.engine.stop),
            self.engine.stall.eq(sequencer.denied),
            self.engine.busy.eq(~self.engine.idle & ~sequencer.denied),
        ]
        if self._config.trace:
            self._trace(m, sequencer, retirement)
        return m

    def _trace(self, m: Module, sequencer: ElementSequencer, retirement: Retirement) -> None:
        """Outputs of a traced tile."""
        trace = self.engine.trace
        m.d.comb += [trace.begin.eq(sequencer.start), trace.complete.eq(retirement.retired)]
        with m.If(sequencer.denied):
            m.d.comb += trace.activity.eq(Activity.OPERAND)
        with m.Elif(sequencer.idle & ~self.engine.idle):
            m.d.comb += trace.activity.eq(Activity.DRAINING)

    def _connect_lanes(self, m: Module, pipeline: ElementPipeline) -> list[VectorLane]:
        """Lanes and generators: the same controls, but generators start in states of their own."""
        lanes = []
        entry = pipeline.controls.entry
        for p, state in enumerate(stream_states(0, self._config.n)):
            m.submodules[f"lane_{p}"] = lane = VectorLane(self._config)
            m.submodules[f"generator_{p}"] = generator = Generator(state)
            m.d.comb += [generator.step.eq(entry.step), generator.load.eq(entry.load)]
            m.d.comb += [generator.rotate.eq(entry.rotate), generator.word.eq(lane.state_word)]
            m.d.comb += [
                lane.number.eq(generator.number),
                lane.controls.eq(pipeline.controls),
                lane.psum_word.eq(self.psum.data[p]),
                lane.x_word.eq(self.x.data[p]),
                lane.y_word.eq(self.y.data[p]),
            ]
            lanes.append(lane)
        return lanes

    def _write(self, m: Module, pipeline: ElementPipeline, lanes: list) -> tuple[Value, Value]:
        """The write port; 1 if an instruction is complete, and 1 if a write is not over."""
        results, output = Signal(vector_write_layout(self._config)), pipeline.output
        m.d.comb += [
            self.write.payload.eq(results),
            results.addr.eq(output.addr),
            results.double.eq(is_wide(output.format)),
            results.line.eq(output.line),
            results.partition.eq(output.partition),
        ]
        for p, lane in enumerate(lanes):
            enabled = pipeline.output_valid & (p < output.rows) & ~lane.kept
            m.d.comb += [results.words[p].eq(lane.word), results.enable[p].eq(enabled)]
        complete = pipeline.output_valid & output.last
        beats = self._config.n // self._config.row_words
        if beats == 1:
            return complete, Const(0)

        # Of results that are more than a line holds, those of the upper lanes follow.
        words = self._config.row_words
        rest, left, last = Signal.like(results), Signal(range(beats)), Signal()
        following = (left != 0) & ~self.engine.stop
        begins = pipeline.output_valid & output.line
        with m.If(following):
            m.d.comb += self.write.payload.eq(rest)
            m.d.sync += left.eq(left - 1)
        with m.If(begins):
            m.d.sync += [left.eq(beats - 1), rest.eq(results), last.eq(complete)]
        with m.If(begins | following):
            now = self.write.payload
            m.d.sync += [
                rest.addr.eq(now.addr + words),
                rest.words.eq(now.words.as_value() >> 32 * words),
                rest.enable.eq(now.enable >> words),
            ]
        with m.If(self.engine.stop):
            m.d.sync += left.eq(0)
        return Mux(begins, 0, complete | ((left == 1) & last)), following
