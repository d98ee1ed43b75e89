"""The activation engine: scratchpad, through a function, to the scratchpad."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out, connect, flipped

from tegula.activation.collector import ResultCollector
from tegula.activation.control_pipeline import ItemPipeline
from tegula.activation.lane import ActivationLane
from tegula.activation.layouts import beats, item_layout
from tegula.activation.sequencer import ColumnSequencer
from tegula.config import TileConfig
from tegula.engine.interface import EngineSignature
from tegula.engine.retirement import Retirement
from tegula.engine.sequencing import connect_sequencer
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.memory.ports import RowReadSignature, row_write_layout

__all__ = ["ActivationEngine"]


class ActivationEngine(wiring.Component):
    """Execute activation instructions: ``sbuf[p, dst + i] = cast(f(x[p, i] * scale + bias))``.

    Throughput: `activation_lanes` elements a cycle, half as many with a sum, at most a column every
    three cycles. Latency: `LaneCycles.WORD` and the way to the scratchpad and back. The lanes stand
    still where a result finds no room.

    Reads run ahead of writes: an instruction whose results lie where it later reads its own
    operands has no defined effect. Instructions see the results of earlier ones, unless they say
    that they need not (`overlap`).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature(config, Engine.ACTIVATION))
        Control.
    row : Out(RowReadSignature)
        Operands, from the scratchpad.
    write : Out(stream of `row_write_layout`)
        Results.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.ACTIVATION)),
                "row": Out(RowReadSignature(config)),
                "write": Out(stream.Signature(row_write_layout(config))),
            }
        )

    def elaborate(self, platform):
        """Sequencer, beats, pipeline and lanes, collector, retirement."""
        m = Module()
        m.submodules.sequencer = sequencer = ColumnSequencer(self._config)
        m.submodules.collector = collector = ResultCollector(self._config)
        retirement = Retirement(self._config, sequencer.entry.shape())
        m.submodules.retirement = ResetInserter(self.engine.stop)(retirement)
        pipeline = ItemPipeline(self._config)
        moving = EnableInserter(collector.advance)
        m.submodules.pipeline = moving(pipeline)
        connect(m, sequencer.row, flipped(self.row.request))
        connect(m, collector.write, flipped(self.write))
        issuing, words = self._issue(m, sequencer, pipeline, collector.advance)
        for index in range(self._config.activation_lanes):
            lane = ActivationLane(self._config)
            m.submodules[f"lane_{index}"] = moving(lane)
            m.d.comb += [
                lane.word.eq(words[index]),
                lane.controls.eq(pipeline.controls),
                lane.write_en.eq(sequencer.write_en),
                lane.write.eq(sequencer.write),
                collector.results[index].eq(lane.result),
            ]
        connect_sequencer(
            m,
            self.engine,
            sequencer,
            retirement,
            drained=~issuing & pipeline.drained & collector.empty,
            done=collector.done | sequencer.table_done,
        )
        m.d.comb += [
            sequencer.row_data.eq(self.row.data),
            sequencer.row_valid.eq(self.row.valid),
            pipeline.finish.eq(sequencer.finish),
            pipeline.total.eq(sequencer.total),
            pipeline.unused.eq(sequencer.unused),
            pipeline.stop.eq(self.engine.stop),
            collector.output.eq(pipeline.output),
            collector.stop.eq(self.engine.stop),
            self.engine.stall.eq(sequencer.denied | ~collector.advance),
            self.engine.busy.eq(~self.engine.idle & ~self.engine.stall),
        ]
        if self._config.trace:
            self._trace(m, sequencer, collector, retirement, issuing)
        return m

    def _trace(
        self,
        m: Module,
        sequencer: ColumnSequencer,
        collector: ResultCollector,
        retirement: Retirement,
        issuing: Value,
    ) -> None:
        """Outputs of a traced tile."""
        trace = self.engine.trace
        m.d.comb += [trace.begin.eq(sequencer.start), trace.complete.eq(retirement.retired)]
        with m.If(~collector.advance):
            m.d.comb += trace.activity.eq(Activity.RESULT)
        with m.Elif(sequencer.denied):
            m.d.comb += trace.activity.eq(Activity.OPERAND)
        with m.Elif(sequencer.idle & ~issuing & ~self.engine.idle):
            m.d.comb += trace.activity.eq(Activity.DRAINING)

    def _issue(
        self, m: Module, sequencer: ColumnSequencer, pipeline: ItemPipeline, advance: Value
    ) -> tuple[Value, list[Value]]:
        """Columns, beat by beat; beats whose results are summed up in even cycles only.

        Then no result meets a later bias in the adder (`LaneCycles.SUM`). Returns whether a column
        is here, and the words of the beat.
        """
        config = self._config
        lanes, count = config.activation_lanes, beats(config)
        here, odd = Signal(), Signal()
        words = Signal(32 * config.n)
        item = Signal(item_layout(config))
        goes, ends = Signal(), Signal()
        m.d.comb += [
            goes.eq(here & advance & ~(item.column.travel.sums & odd) & ~self.engine.stop),
            item.end.eq(item.beat == count - 1),
            ends.eq(goes & item.end),
            pipeline.item.eq(item),
            pipeline.item.valid.eq(goes),
            sequencer.column.ready.eq(~here | ends),
        ]
        with m.If(goes):
            m.d.sync += [
                item.beat.eq(Mux(item.end, 0, item.beat + 1)),
                words.eq(words >> 32 * lanes),
            ]
        with m.If(advance):
            m.d.sync += odd.eq(~odd)
        with m.If(sequencer.column.ready):
            m.d.sync += [
                here.eq(sequencer.column.valid),
                item.column.eq(sequencer.column.payload.column),
                words.eq(Cat(sequencer.column.payload.words)),
            ]
        with m.If(self.engine.stop):
            m.d.sync += [here.eq(0), item.beat.eq(0)]
        return here, [words.word_select(index, 32) for index in range(lanes)]
