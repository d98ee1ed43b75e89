"""Element by element: operands asked for, addresses checked, items issued to the lanes."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_wide
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.interface import instruction_layout, ticket_layout, trap_layout
from tegula.formats import FP32
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operand, Reduction, Rounding, Source
from tegula.isa.traps import Trap
from tegula.memory.ports import pair_request_layout
from tegula.vector.layouts import Kind, exit_layout, issue_layout
from tegula.vector.work import VectorCode, plan_work, work_layout

__all__ = ["ElementSequencer"]

_ADDRESS_BITS = 20
"""One step (2**11) away from a checked address, with sign; trap records hold as many bits."""


class ElementSequencer(wiring.Component):
    """Walk the elements of vector instructions; issue those that pass their checks.

    An item is issued in the cycle in which the last of its operands is granted: a PSUM word always,
    x and y of the scratchpad when their banks are free. Where x is granted and y is not, x waits in
    the lanes (`late`). Scalars come first, an item each; then elements, every one, two or three
    cycles (`plan_route`; transposed ones at least ``n / bus_words``); an instruction follows the
    one before after one cycle, unless it has to wait until the lanes are `drained`:

    - it reads the scratchpad, and is not told that it may `overlap`;
    - its route is another, or it goes on with a reduction;
    - it loads or saves generators.

    A reduction that finishes holds the engine until its result has left the lanes.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    instr : In(stream of `instruction_layout(Engine.VECTOR)`)
        Instructions.
    start : Out(1), entry : Out(ticket_layout(config, "sync", "signal")), room : In(1)
        An instruction starts; how it will be signalled; whether that can be remembered.
    psum_addr : Out(range(psum_depth)), psum_en : Out(1), psum_written : In(1)
        PSUM read; the answer, in the same cycle, whether the word was written.
    x, y : Out(stream of `pair_request_layout`)
        Scratchpad reads; their answers come a fixed time after acceptance.
    x_early : Out(1)
        The x that is granted in this cycle waits for its y.
    issue_valid : Out(1), issue : Out(issue_layout)
        An item.
    finish : Out(1), finish_max : Out(1), result : Out(exit_layout)
        For one cycle, with the lanes drained: combine the partial results, by maximum instead of
        sum, and let what comes out leave as `result` says.
    drained : In(1), alone : In(1)
        No item is under way; no other instruction's signal is pending.
    stop : In(1)
        Drop everything.
    trap : Out(trap_layout), trap_valid : Out(1)
        Pulsed when all elements before the violation, and all earlier instructions, are complete.
    denied : Out(1), idle : Out(1)
        An operand was asked for and not granted; nothing is pending here.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        pair = pair_request_layout(config)
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(Engine.VECTOR))),
                "start": Out(1),
                "entry": Out(ticket_layout(config, "sync", "signal")),
                "room": In(1),
                "psum_addr": Out(range(config.psum_depth)),
                "psum_en": Out(1),
                "psum_written": In(1),
                "x": Out(stream.Signature(pair)),
                "y": Out(stream.Signature(pair)),
                "x_early": Out(1),
                "issue_valid": Out(1),
                "issue": Out(issue_layout(config)),
                "finish": Out(1),
                "finish_max": Out(1),
                "result": Out(exit_layout(config)),
                "drained": In(1),
                "alone": In(1),
                "stop": In(1),
                "trap": Out(trap_layout(config)),
                "trap_valid": Out(1),
                "denied": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        """Accept, ask, check, walk, finish, trap."""
        m = Module()
        self._declare()
        self._accept(m)
        granted = self._ask(m)
        violation = self._check(m, granted)
        m.d.comb += self.issue_valid.eq(granted & ~violation)
        self._walk(m)
        self._describe(m)
        self._end(m, violation)
        return m

    def _declare(self) -> None:
        """The state of the walk."""
        self._work = Signal(work_layout())
        self._fields = self._work.fields
        self._pc = Signal.like(self.instr.payload.pc)
        self._scalar0, self._scalar1 = Signal(), Signal()
        """Scalars that are still to come."""
        self._running = Signal()
        """Elements are still to come."""
        self._finishing = Signal()
        """The result of the reduction is still to come, or under way."""
        self._trapped = Signal()
        address = signed(_ADDRESS_BITS)
        self._x_at = Signal(address)
        self._y_at = Signal(address)
        self._dst_at = Signal(address)
        self._left = Signal(self._fields.columns.shape())
        self._partial = Signal(range(PARTIALS))
        self._partition = Signal(range(self._config.n))
        self._first = Signal()
        self._pause = Signal(range(max(2, self._config.n // self._config.row_words)))
        """Cycles until the results of another element may be written as lines."""

    def _accept(self, m: Module) -> None:
        """Take the next instruction once nothing of the last can meet it."""
        instr = self.instr.payload
        offered = plan_work(m, self._config, instr.op, instr.payload)
        busy = self._scalar0 | self._scalar1 | self._running | self._finishing | self._trapped
        waits = (
            (offered.reads & ~offered.fields.overlap)
            | (offered.route.as_value() != self._work.route.as_value())
            | offered.fields.proceed
            | offered.state
        )
        is_work = (instr.op == VectorCode.COMPUTE) | (instr.op == VectorCode.GENERATOR)
        begins = Signal()
        m.d.comb += [
            self.instr.ready.eq(
                ~busy & ~self.stop & self.room & (self.drained | ~(waits & is_work))
            ),
            self.start.eq(self.instr.valid & self.instr.ready),
            begins.eq(self.start & is_work),
            self.entry.sync.eq(~is_work),
            self.entry.signal.eq(instr.signal),
            self.entry.update.sem.eq(instr.signal_sem),
            self.entry.update.value.eq(instr.signal_value),
            self.idle.eq(~busy),
        ]
        fields = offered.fields
        with m.If(begins):
            m.d.sync += [
                self._work.eq(offered),
                self._pc.eq(instr.pc),
                self._scalar0.eq(offered.scalar0),
                self._scalar1.eq(offered.scalar1),
                self._running.eq(1),
                self._finishing.eq((fields.reduction != Reduction.NONE) & fields.finish),
                self._x_at.eq(fields.x_addr),
                self._y_at.eq(fields.y_addr),
                self._dst_at.eq(fields.dst),
                self._left.eq(fields.columns),
                self._partial.eq(0),
                self._partition.eq(fields.partition),
                self._first.eq(1),
            ]

    def _ask(self, m: Module) -> Signal:
        """Ask for the operands of the next item; whether it has them all."""
        fields = self._fields
        self._is_scalar, self._is_element = Signal(), Signal()
        self._scalar_value, self._from_partition = Signal(32), Signal()
        m.d.comb += [
            self._is_scalar.eq(self._scalar0 | self._scalar1),
            self._is_element.eq(self._running & ~self._is_scalar),
            self._scalar_value.eq(Mux(self._scalar0, fields.s0, fields.s1)),
            self._from_partition.eq(
                Mux(self._scalar0, fields.s0_kind, fields.s1_kind) == Operand.PARTITION
            ),
        ]
        due, x_asks, y_asks = Signal(), Signal(), Signal()
        second, third = Signal(), Signal(2)
        m.d.sync += [second.eq(~second), third.eq(Mux(third == 2, 0, third + 1))]
        in_rhythm = Signal()
        with m.Switch(self._work.interval):
            with m.Case(2):
                m.d.comb += in_rhythm.eq(second)
            with m.Case(3):
                m.d.comb += in_rhythm.eq(third == 0)
            with m.Default():
                m.d.comb += in_rhythm.eq(1)
        x_held, x_has, y_has = Signal(), Signal(), Signal()
        m.d.comb += [
            due.eq((self._is_scalar | (self._running & in_rhythm)) & (self._pause == 0)),
            x_asks.eq(Mux(self._is_scalar, self._from_partition, fields.x_source == Source.SBUF)),
            y_asks.eq(self._is_element & self._work.y_used),
            self.x.valid.eq(due & x_asks & ~x_held),
            self.x.payload.addr.eq(Mux(self._is_scalar, self._scalar_value, self._x_at)),
            self.x.payload.double.eq(self._is_scalar | is_wide(fields.x_format)),
            self.y.valid.eq(due & y_asks),
            self.y.payload.addr.eq(self._y_at),
            self.y.payload.double.eq(is_wide(fields.y_format)),
            x_has.eq(~x_asks | x_held | self.x.ready),
            y_has.eq(~y_asks | self.y.ready),
            self.x_early.eq(self.x.valid & self.x.ready & ~y_has),
            self.denied.eq(due & ~(x_has & y_has)),
            self.psum_addr.eq(self._x_at),
            self.psum_en.eq(self._is_element & (fields.x_source == Source.PSUM)),
            self.issue.late.eq(x_held),
        ]
        granted = Signal()
        m.d.comb += granted.eq(due & x_has & y_has & ~self.stop)
        with m.If(self.x_early):
            m.d.sync += x_held.eq(1)
        with m.If(granted | self.stop):
            m.d.sync += x_held.eq(0)
        return granted

    def _check(self, m: Module, granted: Value) -> Signal:
        """Whether the item fails its checks; cause and address of the first that it fails.

        The order is the contract's. The address is registered whether it is needed or not.
        """
        fields, config = self._fields, self._config
        is_last = self._left == 1
        sbuf_bits, psum_bits = (
            (depth - 1).bit_length() for depth in (config.sbuf_depth, config.psum_depth)
        )
        scalar = self._is_scalar & self._from_partition
        scalar_at = self._scalar_value[:16]
        psum = self._is_element & (fields.x_source == Source.PSUM)
        sbuf = self._is_element & (fields.x_source == Source.SBUF)
        y = self._is_element & self._work.y_used
        writes = self._is_element & (self._work.writes | (self._finishing & is_last))
        unaligned = Mux(
            fields.transpose,
            self._dst_at[: (config.n - 1).bit_length()].any(),
            is_wide(fields.format) & self._dst_at[0],
        )
        x_odd = is_wide(fields.x_format) & self._x_at[0]
        y_odd = is_wide(fields.y_format) & self._y_at[0]
        checks = (
            (scalar & scalar_at[sbuf_bits:].any(), Trap.SBUF_RANGE, scalar_at),
            (scalar & scalar_at[0], Trap.SBUF_ALIGNMENT, scalar_at),
            (psum & self._x_at[psum_bits:].any(), Trap.PSUM_RANGE, self._x_at),
            (psum & ~self.psum_written, Trap.PSUM_UNWRITTEN, self._x_at),
            (sbuf & self._x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, self._x_at),
            (sbuf & x_odd, Trap.SBUF_ALIGNMENT, self._x_at),
            (y & self._y_at[sbuf_bits:].any(), Trap.SBUF_RANGE, self._y_at),
            (y & y_odd, Trap.SBUF_ALIGNMENT, self._y_at),
            (writes & self._dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, self._dst_at),
            (writes & unaligned, Trap.SBUF_ALIGNMENT, self._dst_at),
        )
        cause, address, violation = Signal(Trap), Signal(_ADDRESS_BITS), Signal()
        for index, (fails, trap, where) in enumerate(checks):
            with m.If(fails) if index == 0 else m.Elif(fails):
                m.d.comb += [cause.eq(trap), address.eq(where)]
        m.d.comb += violation.eq(granted & (cause != Trap.NONE))
        with m.If(~self._trapped):
            m.d.sync += self.trap.address.eq(address)
        with m.If(violation):
            m.d.sync += [self.trap.cause.eq(cause), self.trap.pc.eq(self._pc)]
        return violation

    def _walk(self, m: Module) -> None:
        """Step to the next item."""
        fields, config = self._fields, self._config
        beats = config.n // config.row_words
        with m.If(self._pause != 0):
            m.d.sync += self._pause.eq(self._pause - 1)
        wraps = self._partition == config.n - 1
        with m.If(self.issue_valid):
            with m.If(self._scalar0):
                m.d.sync += self._scalar0.eq(0)
            with m.Elif(self._scalar1):
                m.d.sync += self._scalar1.eq(0)
            with m.Else():
                m.d.sync += [
                    self._x_at.eq(self._x_at + fields.x_stride),
                    self._y_at.eq(self._y_at + fields.y_stride),
                    self._left.eq(self._left - 1),
                    self._running.eq(self._left != 1),
                    self._partial.eq(self._partial + 1),
                    self._first.eq(0),
                ]
                with m.If(self._work.writes):
                    m.d.sync += self._partition.eq(self._partition + 1)
                    with m.If(~fields.transpose | wraps):
                        m.d.sync += self._dst_at.eq(self._dst_at + fields.dst_stride)
                if beats > 1:
                    with m.If(fields.transpose):
                        m.d.sync += self._pause.eq(beats - 1)

    def _describe(self, m: Module) -> None:
        """What the lanes are told of the item, and of a reduction's result."""
        fields, work, issue = self._fields, self._work, self.issue
        ring = issue.ring
        is_last = self._left == 1
        loads_state = work.state & (fields.x_source == Source.SBUF)
        with m.If(self._scalar0):
            m.d.comb += issue.kind.eq(Kind.SCALAR0)
        with m.Elif(self._scalar1):
            m.d.comb += issue.kind.eq(Kind.SCALAR1)
        with m.Elif(work.state):
            m.d.comb += issue.kind.eq(Mux(loads_state, Kind.STATE_LOAD, Kind.STATE_SAVE))
        m.d.comb += [
            issue.x_format.eq(fields.x_format),
            issue.y_format.eq(fields.y_format),
            issue.source.eq(fields.x_source),
            issue.value.eq(self._x_at[:16] | FP32.unit_spaced),
            issue.y0.eq(fields.s0_kind == Operand.Y),
            issue.self0.eq(fields.s0_kind == Operand.SELF),
            issue.y1.eq(fields.s1_kind == Operand.Y),
            issue.draw.eq(
                self._is_element
                & ~work.state
                & ((fields.x_source == Source.RANDOM) | (fields.rounding == Rounding.STOCHASTIC))
            ),
            issue.given.eq(fields.rounding == Rounding.GIVEN),
            ring.route.eq(work.route),
            ring.op0.eq(fields.op0),
            ring.op1.eq(fields.op1),
            ring.self1.eq(fields.s1_kind == Operand.SELF),
            ring.reduction.eq(fields.reduction),
            ring.begin.eq(self._first & ~fields.proceed),
            ring.partial.eq(self._partial),
        ]
        # A scalar of the scratchpad is read as fp32, an immediate is a value like an index.
        with m.If(self._is_scalar):
            m.d.comb += [
                issue.x_format.eq(FP32.code),
                issue.source.eq(Mux(self._from_partition, Source.SBUF, Source.INDEX)),
                issue.value.eq(self._scalar_value),
            ]
        for leaving in (ring.exit, self.result):
            m.d.comb += [
                leaving.format.eq(fields.format),
                leaving.saturate.eq(fields.saturate),
                leaving.addr.eq(self._dst_at),
                leaving.line.eq(fields.transpose),
                leaving.partition.eq(self._partition),
            ]
        m.d.comb += [
            ring.exit.rows.eq(Mux(work.writes, fields.rows, 0)),
            ring.exit.stochastic.eq(work.writes & (fields.rounding != Rounding.NEAREST)),
            ring.exit.last.eq(is_last & ~self._finishing),
            self.result.rows.eq(fields.rows),
            self.result.last.eq(1),
            self.finish_max.eq(fields.reduction != Reduction.SUM),
        ]

    def _end(self, m: Module, violation: Value) -> None:
        """Let a reduction finish; hold a trap until all before it is complete; stop."""
        reported, combining = Signal(), Signal()
        m.d.comb += [
            self.finish.eq(
                self._finishing & ~combining & ~self._running & self.drained & ~self.stop
            ),
            self.trap_valid.eq(self._trapped & ~reported & self.drained & self.alone & ~self.stop),
        ]
        with m.If(self.finish):
            m.d.sync += combining.eq(1)
        with m.If(combining & self.drained):
            m.d.sync += [combining.eq(0), self._finishing.eq(0)]
        quiet = [
            signal.eq(0)
            for signal in (self._scalar0, self._scalar1, self._running, self._finishing)
        ]
        with m.If(violation):
            m.d.sync += [*quiet, self._trapped.eq(1)]
        with m.If(self.trap_valid):
            m.d.sync += reported.eq(1)
        with m.If(self.stop):
            m.d.sync += [*quiet, combining.eq(0), self._trapped.eq(0), reported.eq(0)]
