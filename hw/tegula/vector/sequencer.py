"""Vector instructions, element by element: operand requests, address checks, issue to the lanes."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_wide
from tegula.config import TileConfig
from tegula.engine.sequencing import Sequencer
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operand, Reduction, Rounding, Source
from tegula.isa.traps import Trap
from tegula.memory.ports import pair_request_layout
from tegula.vector.layouts import Kind, exit_layout, issue_layout
from tegula.vector.work import Item, VectorCode, plan_work, state_layout

__all__ = ["ElementSequencer"]


class ElementSequencer(Sequencer):
    """Issue of the elements of vector instructions that pass their checks.

    An item is issued in the cycle in which the last of its operands is granted: a PSUM word always,
    x and y of the scratchpad when their banks are free. Where x is granted and y is not, x waits in
    the lanes (`late`). Scalars come first, an item each; then elements, every one, two or three
    cycles (`plan_route`; transposed ones at least ``n / bus_words``); an instruction follows the
    one before after one cycle, unless it has to wait until the lanes are `drained`:

    - it reads the scratchpad, and does not have `overlap` set;
    - its route is another, or it goes on with a reduction;
    - it loads or saves generators.

    A reduction that finishes holds the engine until its result has been written.

    Besides the ports of every `Sequencer` it has those below.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    psum_addr : Out(range(psum_depth)), psum_en : Out(1), psum_written : In(1)
        PSUM read; the answer, in the same cycle, whether the word was written.
    x, y : Out(stream of `pair_request_layout`)
        Scratchpad reads; their answers come a fixed time after acceptance.
    x_early : Out(1)
        The x that is granted in this cycle waits for its y.
    issue_valid : Out(1), issue : Out(issue_layout)
        An item.
    finish_max : Out(1), result : Out(exit_layout)
        With `finish`: combine by maximum instead of sum; the result's format and destination.
    """

    _TO_COME = ("scalar0", "scalar1", "running", "finishing")

    def __init__(self, config: TileConfig):
        pair = pair_request_layout(config)
        super().__init__(
            config,
            Engine.VECTOR,
            {
                "psum_addr": Out(range(config.psum_depth)),
                "psum_en": Out(1),
                "psum_written": In(1),
                "x": Out(stream.Signature(pair)),
                "y": Out(stream.Signature(pair)),
                "x_early": Out(1),
                "issue_valid": Out(1),
                "issue": Out(issue_layout(config)),
                "finish_max": Out(1),
                "result": Out(exit_layout(config)),
            },
        )

    def elaborate(self, platform):
        """Acceptance, requests, checks, the next item, the end."""
        m = Module()
        self._state = Signal(state_layout(self._config), name="state")
        self._accept(m)
        item = self._next_item(m)
        granted = self._request(m, item)
        fault = self._check(m, item, granted)
        m.d.comb += self.issue_valid.eq(granted & ~fault)
        self._advance(m)
        self._describe(m, item)
        self._end(m, fault=fault, left=self._state.running)
        return m

    def _accept(self, m: Module) -> None:
        """Acceptance of the next instruction once nothing of the last can interfere with it."""
        state, instr = self._state, self.instr.payload
        offered = plan_work(m, self._config, instr.op, instr.payload)
        busy = state.scalar0 | state.scalar1 | state.running | state.finishing | state.trapped
        waits = (
            (offered.reads & ~offered.fields.overlap)
            | (offered.route.as_value() != state.work.route.as_value())
            | offered.fields.proceed
            | offered.state
        )
        is_work = (instr.op == VectorCode.COMPUTE) | (instr.op == VectorCode.GENERATOR)
        begins = Signal()
        self._take(m, busy=busy, waits=waits & is_work, has_work=is_work)
        m.d.comb += begins.eq(self.start & is_work)
        fields = offered.fields
        with m.If(begins):
            m.d.sync += [
                state.work.eq(offered),
                state.pc.eq(instr.pc),
                state.scalar0.eq(offered.scalar0),
                state.scalar1.eq(offered.scalar1),
                state.running.eq(1),
                state.finishing.eq((fields.reduction != Reduction.NONE) & fields.finish),
                state.x_at.eq(fields.x_addr),
                state.y_at.eq(fields.y_addr),
                state.dst_at.eq(fields.dst),
                state.left.eq(fields.columns),
                state.partial.eq(0),
                state.partition.eq(fields.partition),
                state.first.eq(1),
            ]

    def _next_item(self, m: Module) -> Item:
        """The item that is due: scalars first, then elements."""
        state, fields = self._state, self._state.work.fields
        item = Item(
            is_scalar=Signal(name="is_scalar"),
            is_element=Signal(name="is_element"),
            value=Signal(32, name="scalar_value"),
            from_partition=Signal(name="from_partition"),
        )
        kind = Mux(state.scalar0, fields.s0_kind, fields.s1_kind)
        m.d.comb += [
            item.is_scalar.eq(state.scalar0 | state.scalar1),
            item.is_element.eq(state.running & ~item.is_scalar),
            item.value.eq(Mux(state.scalar0, fields.s0, fields.s1)),
            item.from_partition.eq(kind == Operand.PARTITION),
        ]
        return item

    def _request(self, m: Module, item: Item) -> Signal:
        """Requests for the operands of the item; 1 if it has them all."""
        state, fields = self._state, self._state.work.fields
        due, x_requested, y_requested = Signal(), Signal(), Signal()
        m.d.sync += [
            state.second.eq(~state.second),
            state.third.eq(Mux(state.third == 2, 0, state.third + 1)),
        ]
        in_rhythm = Signal()
        with m.Switch(state.work.interval):
            with m.Case(2):
                m.d.comb += in_rhythm.eq(state.second)
            with m.Case(3):
                m.d.comb += in_rhythm.eq(state.third == 0)
            with m.Default():
                m.d.comb += in_rhythm.eq(1)
        x_has, y_has = Signal(), Signal()
        m.d.comb += [
            due.eq((item.is_scalar | (state.running & in_rhythm)) & (state.pause == 0)),
            x_requested.eq(
                Mux(item.is_scalar, item.from_partition, fields.x_source == Source.SBUF)
            ),
            y_requested.eq(item.is_element & state.work.y_used),
            self.x.valid.eq(due & x_requested & ~state.x_held),
            self.x.payload.addr.eq(Mux(item.is_scalar, item.value, state.x_at)),
            self.x.payload.double.eq(item.is_scalar | is_wide(fields.x_format)),
            self.y.valid.eq(due & y_requested),
            self.y.payload.addr.eq(state.y_at),
            self.y.payload.double.eq(is_wide(fields.y_format)),
            x_has.eq(~x_requested | state.x_held | self.x.ready),
            y_has.eq(~y_requested | self.y.ready),
            self.x_early.eq(self.x.valid & self.x.ready & ~y_has),
            self.denied.eq(due & ~(x_has & y_has)),
            self.psum_addr.eq(state.x_at),
            self.psum_en.eq(item.is_element & (fields.x_source == Source.PSUM)),
            self.issue.late.eq(state.x_held),
        ]
        granted = Signal()
        m.d.comb += granted.eq(due & x_has & y_has & ~self.stop)
        with m.If(self.x_early):
            m.d.sync += state.x_held.eq(1)
        with m.If(granted | self.stop):
            m.d.sync += state.x_held.eq(0)
        return granted

    def _check(self, m: Module, item: Item, granted: Value) -> Signal:
        """1 if the item fails its checks, whose order is the contract's."""
        state, fields, config = self._state, self._state.work.fields, self._config
        sbuf_bits, psum_bits = (
            (depth - 1).bit_length() for depth in (config.sbuf_depth, config.psum_depth)
        )
        scalar = item.is_scalar & item.from_partition
        scalar_at = item.value[:16]
        x_at, y_at, dst_at = state.x_at, state.y_at, state.dst_at
        psum = item.is_element & (fields.x_source == Source.PSUM)
        sbuf = item.is_element & (fields.x_source == Source.SBUF)
        y = item.is_element & state.work.y_used
        writes = item.is_element & (state.work.writes | (state.finishing & (state.left == 1)))
        unaligned = Mux(
            fields.transpose,
            dst_at[: (config.n - 1).bit_length()].any(),
            is_wide(fields.format) & dst_at[0],
        )
        x_odd = is_wide(fields.x_format) & x_at[0]
        y_odd = is_wide(fields.y_format) & y_at[0]
        checks = (
            (scalar & scalar_at[sbuf_bits:].any(), Trap.SBUF_RANGE, scalar_at),
            (scalar & scalar_at[0], Trap.SBUF_ALIGNMENT, scalar_at),
            (psum & x_at[psum_bits:].any(), Trap.PSUM_RANGE, x_at),
            (psum & ~self.psum_written, Trap.PSUM_UNWRITTEN, x_at),
            (sbuf & x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, x_at),
            (sbuf & x_odd, Trap.SBUF_ALIGNMENT, x_at),
            (y & y_at[sbuf_bits:].any(), Trap.SBUF_RANGE, y_at),
            (y & y_odd, Trap.SBUF_ALIGNMENT, y_at),
            (writes & dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, dst_at),
            (writes & unaligned, Trap.SBUF_ALIGNMENT, dst_at),
        )
        return self._find_fault(m, granted, checks)

    def _advance(self, m: Module) -> None:
        """State of the next item, when this one is issued."""
        state, fields, config = self._state, self._state.work.fields, self._config
        beats = config.n // config.row_words
        with m.If(state.pause != 0):
            m.d.sync += state.pause.eq(state.pause - 1)
        wraps = state.partition == config.n - 1
        with m.If(self.issue_valid):
            with self._advance_element(m, state.scalar0, state.scalar1, fields.x_stride):
                m.d.sync += [
                    state.y_at.eq(state.y_at + fields.y_stride),
                    state.first.eq(0),
                ]
                with m.If(state.work.writes):
                    m.d.sync += state.partition.eq(state.partition + 1)
                    with m.If(~fields.transpose | wraps):
                        m.d.sync += state.dst_at.eq(state.dst_at + fields.dst_stride)
                if beats > 1:
                    with m.If(fields.transpose):
                        m.d.sync += state.pause.eq(beats - 1)

    def _describe(self, m: Module, item: Item) -> None:
        """Controls of the lanes for the item, and for a reduction's result."""
        state, issue = self._state, self.issue
        fields, work, ring = state.work.fields, state.work, issue.ring
        loads_state = work.state & (fields.x_source == Source.SBUF)
        with m.If(state.scalar0):
            m.d.comb += issue.kind.eq(Kind.SCALAR0)
        with m.Elif(state.scalar1):
            m.d.comb += issue.kind.eq(Kind.SCALAR1)
        with m.Elif(work.state):
            m.d.comb += issue.kind.eq(Mux(loads_state, Kind.STATE_LOAD, Kind.STATE_SAVE))
        m.d.comb += [
            issue.x_format.eq(fields.x_format),
            issue.y_format.eq(fields.y_format),
            issue.source.eq(fields.x_source),
            issue.value.eq(state.x_at[:16] | FP32.unit_spaced),
            issue.y0.eq(fields.s0_kind == Operand.Y),
            issue.self0.eq(fields.s0_kind == Operand.SELF),
            issue.y1.eq(fields.s1_kind == Operand.Y),
            issue.draw.eq(
                item.is_element
                & ~work.state
                & ((fields.x_source == Source.RANDOM) | (fields.rounding == Rounding.STOCHASTIC))
            ),
            issue.given.eq(fields.rounding == Rounding.GIVEN),
            ring.route.eq(work.route),
            ring.op0.eq(fields.op0),
            ring.op1.eq(fields.op1),
            ring.self1.eq(fields.s1_kind == Operand.SELF),
            ring.reduction.eq(fields.reduction),
            ring.begin.eq(state.first & ~fields.proceed),
            ring.partial.eq(state.partial),
        ]
        # A scalar of the scratchpad is read as fp32, an immediate is a value like an index.
        with m.If(item.is_scalar):
            m.d.comb += [
                issue.x_format.eq(FP32.code),
                issue.source.eq(Mux(item.from_partition, Source.SBUF, Source.INDEX)),
                issue.value.eq(item.value),
            ]
        for output in (ring.exit, self.result):
            m.d.comb += [
                output.format.eq(fields.format),
                output.saturate.eq(fields.saturate),
                output.addr.eq(state.dst_at),
                output.line.eq(fields.transpose),
                output.partition.eq(state.partition),
            ]
        m.d.comb += [
            ring.exit.rows.eq(Mux(work.writes, fields.rows, 0)),
            ring.exit.stochastic.eq(work.writes & (fields.rounding != Rounding.NEAREST)),
            ring.exit.last.eq((state.left == 1) & ~state.finishing),
            self.result.rows.eq(fields.rows),
            self.result.last.eq(1),
            self.finish_max.eq(fields.reduction != Reduction.SUM),
        ]
