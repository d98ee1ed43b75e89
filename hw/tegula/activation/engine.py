"""The activation engine: scratchpad, through a function, to the scratchpad."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped

from tegula.activation.collector import ResultCollector
from tegula.activation.control_pipeline import ItemPipeline
from tegula.activation.issue import ColumnIssue
from tegula.activation.lane import ActivationLane
from tegula.activation.sequencer import ColumnSequencer
from tegula.config import TileConfig
from tegula.engine.acceptance import register_port
from tegula.engine.interface import EngineSignature
from tegula.engine.retirement import Retirement
from tegula.engine.sequencing import connect_sequencer
from tegula.engine.trace import Activity
from tegula.isa.instructions import Engine
from tegula.memory.ports import RowReadSignature, RowWriteSignature

__all__ = ["ActivationEngine"]


class ActivationEngine(wiring.Component):
    """Execute activation instructions: ``sbuf[p, dst + i] = cast(f(x[p, i] * scale + bias))``.

    Throughput: `activation_lanes` elements a cycle, half as many with a sum; a column of one row
    takes at least 2.5 cycles, one of two rows 3. Latency: `LaneCycles.WORD` and the way to the
    scratchpad and back. The lanes never stand still: a column enters them when there is room for
    its results.

    Reads run ahead of writes: an instruction whose results lie where it later reads its own
    operands has no defined effect. Instructions see the results of earlier ones, unless they say
    that they need not (`overlap`).

    All outputs are functions of registers alone. `stop` acts a cycle later; rows that the
    scratchpad has accepted are still written.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    engine : Out(EngineSignature(config, Engine.ACTIVATION))
        Control. `busy` and `stall` are those of the cycle before.
    row : Out(RowReadSignature)
        Operands, from the scratchpad.
    write : Out(RowWriteSignature)
        Results.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "engine": Out(EngineSignature(config, Engine.ACTIVATION)),
                "row": Out(RowReadSignature(config)),
                "write": Out(RowWriteSignature(config)),
            }
        )

    def elaborate(self, platform):
        """Sequencer, issue, pipeline and lanes, collector, retirement."""
        m = Module()
        port = register_port(m, self._config, Engine.ACTIVATION, self.engine)
        sequencer, issue = ColumnSequencer(self._config), ColumnIssue(self._config)
        pipeline, collector = ItemPipeline(self._config), ResultCollector(self._config)
        retirement = Retirement(self._config, sequencer.entry.shape())
        stopped = ResetInserter(port.stop)
        m.submodules.sequencer = sequencer
        m.submodules.issue = stopped(issue)
        m.submodules.pipeline = stopped(pipeline)
        m.submodules.collector = collector
        m.submodules.retirement = stopped(retirement)
        connect(m, sequencer.row, flipped(self.row.request))
        connect(m, collector.write, flipped(self.write))
        for index in range(self._config.activation_lanes):
            m.submodules[f"lane_{index}"] = lane = ActivationLane(self._config)
            m.d.comb += [
                lane.word.eq(issue.words[index]),
                lane.controls.eq(pipeline.controls),
                lane.write_en.eq(sequencer.write_en),
                lane.write.eq(sequencer.write),
                collector.results[index].eq(lane.result),
            ]
        connect_sequencer(
            m,
            port,
            sequencer,
            retirement,
            drained=collector.empty,
            done=self.write.written_last | sequencer.table_done,
        )
        m.d.comb += [
            sequencer.row_data.eq(self.row.data),
            sequencer.row_valid.eq(self.row.valid),
            sequencer.free.eq(issue.free),
            sequencer.pending.eq(issue.pending),
            sequencer.remains.eq(issue.remains),
            issue.row_data.eq(self.row.data),
            issue.row_valid.eq(self.row.valid),
            issue.ordered.eq(sequencer.ordered),
            issue.order.eq(sequencer.order),
            issue.fields.eq(sequencer.fields),
            issue.room.eq(collector.room),
            pipeline.item.eq(issue.item),
            pipeline.finish.eq(sequencer.finish),
            pipeline.unused.eq(sequencer.unused),
            collector.enters.eq(issue.enters | sequencer.finish),
            collector.exit.eq(Mux(sequencer.finish, sequencer.total, issue.exit)),
            collector.valid.eq(pipeline.valid),
            collector.stop.eq(port.stop),
        ]
        stalled = sequencer.denied | issue.blocked
        m.d.sync += [
            self.engine.stall.eq(stalled),
            self.engine.busy.eq(~self.engine.idle & ~stalled),
        ]
        if self._config.trace:
            self._trace(m, sequencer, issue, retirement)
        return m

    def _trace(
        self, m: Module, sequencer: ColumnSequencer, issue: ColumnIssue, retirement: Retirement
    ) -> None:
        """Outputs of a traced tile."""
        trace = self.engine.trace
        m.d.comb += [trace.begin.eq(sequencer.start), trace.complete.eq(retirement.retired)]
        activity = Signal(Activity)
        with m.If(issue.blocked):
            m.d.comb += activity.eq(Activity.RESULT)
        with m.Elif(sequencer.denied):
            m.d.comb += activity.eq(Activity.OPERAND)
        with m.Elif(sequencer.idle & ~self.engine.idle):
            m.d.comb += activity.eq(Activity.DRAINING)
        m.d.sync += trace.activity.eq(activity)
