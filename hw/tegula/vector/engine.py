"""The vector engine: PSUM and scratchpad, through arithmetic and casts, to the scratchpad."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from tegula.arith.codes import is_wide
from tegula.arith.generator import Generator
from tegula.config import TileConfig
from tegula.engine.acceptance import register_port
from tegula.engine.interface import EngineSignature
from tegula.engine.retirement import Retirement
from tegula.engine.sequencing import connect_sequencer
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.lib.fields import copy_fields
from tegula.lib.mux import select
from tegula.memory.halves import kept_fields, placed_code
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
    grants its operands at once and no unit of a lane is needed twice (`plan_route`). Where
    `vector_folding` partitions share a lane, their elements follow one another, and each of them
    reads its operands again, so that an instruction takes so many times as long. Latency from
    issue to write: that of `VectorLane`. A signal is offered `AHEAD_CYCLES` before the scratchpad
    writes the last result. `busy` and `stall` are those of the cycle before; `stop` acts in the
    next.

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
        port = register_port(m, self._config, Engine.VECTOR, self.engine)
        m.submodules.sequencer = sequencer = ElementSequencer(self._config)
        m.submodules.pipeline = pipeline = ElementPipeline(self._config)
        retirement = Retirement(self._config, sequencer.entry.shape())
        m.submodules.retirement = ResetInserter(port.stop)(retirement)
        lanes = self._connect_lanes(m, pipeline)
        beats = self._config.line_beats
        writing = self._write(m, pipeline, lanes, port.stop, beats)
        line_ends = pipeline.ends_with_line
        for beat in range(1, beats):
            before, line_ends = line_ends, Signal(name=f"line_ends_{beat}")
            m.d.sync += line_ends.eq(before & ~port.stop)
        connect_sequencer(
            m,
            port,
            sequencer,
            retirement,
            drained=pipeline.drained & ~writing,
            done=pipeline.ends | line_ends,
        )
        m.d.comb += [
            sequencer.taken.eq(self.x.taken),
            self.x.request.eq(sequencer.x),
            self.x.en.eq(sequencer.x_en),
            self.y.request.eq(sequencer.y),
            self.y.en.eq(sequencer.y_en),
            self.psum.query_addr.eq(sequencer.psum_query),
            self.psum.addr.eq(sequencer.psum_addr),
            self.psum.en.eq(sequencer.psum_en),
            sequencer.psum_written.eq(self.psum.written),
            pipeline.issue_valid.eq(sequencer.issue_valid),
            pipeline.issue.eq(sequencer.issue),
            pipeline.finish.eq(sequencer.finish),
            pipeline.finish_max.eq(sequencer.finish_max),
            pipeline.result.eq(sequencer.result),
            pipeline.stop.eq(port.stop),
        ]
        if self._config.mx:
            m.d.comb += pipeline.block_work.eq(sequencer.block_work)
            for index, lane in enumerate(lanes):
                m.d.comb += [
                    pipeline.stored[index].eq(lane.stored),
                    lane.fetched.eq(pipeline.fetched[index]),
                ]
        m.d.sync += [
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
        m.d.sync += trace.activity.eq(Activity.WORK)
        with m.If(sequencer.denied):
            m.d.sync += trace.activity.eq(Activity.OPERAND)
        with m.Elif(sequencer.idle & ~self.engine.idle):
            m.d.sync += trace.activity.eq(Activity.DRAINING)

    def _connect_lanes(self, m: Module, pipeline: ElementPipeline) -> list[VectorLane]:
        """Lanes and generators: the same controls, but generators start in states of their own.

        Partitions that are `vector_lanes` apart share a lane.
        """
        controls, generators = pipeline.controls, []
        entry, count = controls.entry, self._config.vector_lanes
        lanes = [VectorLane(self._config) for _ in range(count)]
        for p, state in enumerate(stream_states(0, self._config.n)):
            part, index = divmod(p, count)
            m.submodules[f"generator_{p}"] = generator = Generator(state)
            m.d.comb += [
                generator.moves.eq(entry.moves[part]),
                generator.step.eq(entry.step),
                generator.load.eq(entry.load),
                generator.word.eq(lanes[index].state_word),
            ]
            generators.append(generator)
        for index, lane in enumerate(lanes):
            m.submodules[f"lane_{index}"] = lane
            m.d.comb += [
                lane.controls.eq(controls),
                lane.number.eq(select([g.number for g in generators[index::count]], entry.part)),
                *(
                    word.eq(select([data[p] for p in range(index, len(data), count)], part))
                    for word, data, part in (
                        (lane.psum_word, self.psum.data, controls.psum.part),
                        (lane.x_word, self.x.data, controls.arrival.part),
                        (lane.y_word, self.y.data, controls.arrival.part),
                    )
                ),
            ]
        return lanes

    def _placed(self, word: Value, output: data.View) -> Value:
        """A result's word, its low byte in the high one too if the low one is kept."""
        return placed_code(word, output.keep) if self._config.packed_fp8 else word

    def _write(
        self, m: Module, pipeline: ElementPipeline, lanes: list, stop: Value, beats: int
    ) -> Value:
        """The write port, where a line takes so many cycles; 1 if a write is not over."""
        results, output = Signal(vector_write_layout(self._config)), pipeline.output
        m.d.comb += [
            self.write.payload.eq(results),
            results.double.eq(is_wide(output.format)),
            results.line.eq(output.line),
            results.partition.eq(output.partition),
        ]
        enable = Signal(self._config.n)
        for p in range(self._config.n):
            part, index = divmod(p, len(lanes))
            served = pipeline.output_valid & (output.part == part)
            m.d.comb += [
                results.words[p].eq(self._placed(lanes[index].word, output)),
                enable[p].eq(served & (p < output.rows) & ~lanes[index].kept),
            ]
        m.d.comb += [results.addr.eq(output.addr), results.enable.eq(enable)]
        if len(lanes) < self._config.n:
            # Of a line they are some of the words, in one of the groups that a write has.
            words = self._config.row_words
            groups = [enable[at : at + words] for at in range(0, len(enable), words)]
            group = output.part >> (words // len(lanes)).bit_length() - 1
            with m.If(output.line):
                m.d.comb += [
                    results.addr.eq(output.addr | (group * words)),
                    results.enable.eq(reduce(or_, groups)),
                ]
        m.d.comb += copy_fields(results, output, kept_fields(self._config))
        following = Signal()
        if beats == 1:
            return following

        # Of results that are more than a line holds, those of the upper lanes follow.
        words = self._config.row_words
        rest = Signal.like(results, reset_less=True)
        left = Signal(range(beats))
        begins = pipeline.output_valid & output.line
        m.d.comb += following.eq((left != 0) & ~stop)
        with m.If(following):
            m.d.comb += self.write.payload.eq(rest)
            m.d.sync += left.eq(left - 1)
        with m.If(begins):
            m.d.sync += [left.eq(beats - 1), rest.eq(results)]
        with m.If(begins | following):
            now = self.write.payload
            m.d.sync += [
                rest.addr.eq(now.addr + words),
                rest.words.eq(now.words.as_value() >> 32 * words),
                rest.enable.eq(now.enable >> words),
            ]
        with m.If(stop):
            m.d.sync += left.eq(0)
        return following
