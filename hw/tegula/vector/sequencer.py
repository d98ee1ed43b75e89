"""Vector instructions, element by element: operand requests, address checks, issue to the lanes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import is_wide
from tegula.config import TileConfig
from tegula.engine.sequencing import SCALAR_ADDRESS_BITS, Sequencer
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operand, Reduction, Source
from tegula.isa.traps import Trap
from tegula.memory.grants import is_taken, meet
from tegula.memory.ports import pair_request_layout
from tegula.vector.items import Item, count_rhythms, describe_item, find_written, make_state
from tegula.vector.layouts import block_work_layout, exit_layout, issue_layout
from tegula.vector.quantise import hold_block_work, plan_moves
from tegula.vector.work import VectorCode, plan_work

__all__ = ["ElementSequencer"]


class ElementSequencer(Sequencer):
    """Issue of the elements of vector instructions that pass their checks.

    An item is issued in the cycle in which the last of its operands is granted: a PSUM word always,
    x of the scratchpad when its banks are not taken, y when they are also none of x's. Where x is
    granted and y is not, x waits in the lanes (`late`). Scalars come first, an item each; then
    elements, every one, two or three cycles (`plan_route`; transposed ones at least
    ``n / bus_words``); an instruction follows the one before after one cycle, unless it has to wait
    until the lanes are `drained`:

    - it reads the scratchpad, and does not have `overlap` set;
    - its route is another, or it goes on with a reduction;
    - it loads or saves generators;
    - it quantises, or the one before did.

    A reduction that finishes holds the engine until its result has been written.

    Besides the ports of every `Sequencer` it has those below.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    psum_addr : Out(range(psum_depth)), psum_en : Out(1)
        PSUM read.
    psum_query : Out(range(psum_depth)), psum_written : In(1)
        Address that may be the next one; whether the word at that of the cycle before was written.
    taken : In(bus_words)
        Banks of the scratchpad that others take.
    x, y : Out(`pair_request_layout`), x_en, y_en : Out(1)
        Scratchpad reads, for as long as they are not granted; their words come a fixed time later.
    issue_valid : Out(1), issue : Out(issue_layout)
        An item.
    finish_max : Out(1), result : Out(exit_layout)
        With `finish`: combine by maximum instead of sum; the result's format and destination.
    block_work : Out(block_work_layout)
        Only with `mx`: the vector.quantise that was started last.
    """

    _TO_COME = ("scalar0", "scalar1", "scalar", "running", "finishing")

    def __init__(self, config: TileConfig):
        pair = pair_request_layout(config)
        super().__init__(
            config,
            Engine.VECTOR,
            {
                "psum_addr": Out(range(config.psum_depth)),
                "psum_query": Out(range(config.psum_depth)),
                "psum_en": Out(1),
                "psum_written": In(1),
                "taken": In(config.bus_words),
                "x": Out(pair),
                "x_en": Out(1),
                "y": Out(pair),
                "y_en": Out(1),
                "issue_valid": Out(1),
                "issue": Out(issue_layout(config)),
                "finish_max": Out(1),
                "result": Out(exit_layout(config)),
                **({"block_work": Out(block_work_layout(config))} if config.mx else {}),
            },
        )

    def elaborate(self, platform):
        """Acceptance, requests, checks, the next item, the end."""
        m = Module()
        self._state = make_state(self._config)
        self._accept(m)
        item = self._next_item(m)
        granted = self._request(m, item)
        fault = self._check(m, item, granted)
        m.d.comb += self.issue_valid.eq(granted & ~fault)
        self._advance(m, item, granted)
        self._load(m)
        describe_item(m, self._config, self._state, item, self.issue, self.result)
        m.d.comb += self.finish_max.eq(self._state.work.fields.reduction != Reduction.SUM)
        self._end(m, fault=fault, left=self._state.running)
        return m

    def _accept(self, m: Module) -> None:
        """Acceptance of the next instruction once nothing of the last can interfere with it."""
        state, instr = self._state, self.instr.payload
        offered, plain = plan_work(m, self._config, instr.op, instr.payload)
        self._offered = offered
        busy = state.running | state.finishing | state.trapped
        waits = (
            (plain.reads & ~plain.fields.overlap)
            | (plain.route.as_value() != state.route.as_value())
            | plain.fields.proceed
            | offered.state
        )
        self._resting = ~busy
        is_work = (instr.op == VectorCode.COMPUTE) | (instr.op == VectorCode.GENERATOR)
        if self._config.mx:
            quantises = instr.op == VectorCode.QUANTISE
            is_work, waits = is_work | quantises, waits | quantises | state.quantises
            starts = self.start & is_work
            hold_block_work(m, state, starts, quantises, offered, self.block_work)
        self._take(m, busy=busy, waits=waits & is_work, has_work=is_work)
        fields = offered.fields
        with m.If(self.start & is_work):
            m.d.sync += [
                state.scalar0.eq(offered.scalar0),
                state.scalar1.eq(offered.scalar1),
                state.scalar.eq(offered.scalar0 | offered.scalar1),
                state.running.eq(1),
                state.finishing.eq((fields.reduction != Reduction.NONE) & fields.finish),
                state.route.eq(offered.route),
            ]

    def _load(self, m: Module) -> None:
        """Elements of the instruction that is offered, before it is known that it starts.

        That enables few registers then. Stated behind what elements change, this selects before
        every register, and whether an item is granted, which is known late, enables it only.
        """
        state, instr, offered = self._state, self.instr.payload, self._offered
        fields = offered.fields
        with m.If(self._resting):
            m.d.sync += [
                state.work.eq(offered),
                state.pc.eq(instr.pc),
                state.x_at.eq(
                    Mux(
                        offered.scalar0,
                        fields.s0[:SCALAR_ADDRESS_BITS],
                        Mux(offered.scalar1, fields.s1[:SCALAR_ADDRESS_BITS], fields.x_addr),
                    )
                ),
                state.y_at.eq(fields.y_addr),
                state.dst_at.eq(fields.dst),
                *self._next_reads(offered, offered.scalar0, offered.scalar1),
                state.left.eq(fields.columns),
                state.partial.eq(0),
                state.partition.eq(fields.partition),
                state.first.eq(1),
                state.part.eq(0),
            ]

    def _next_reads(self, work: data.View, scalar0: Value, scalar1: Value) -> list:
        """What the item that is due next reads: one of the scalars, or an element."""
        state, fields = self._state, work.fields
        is_scalar = scalar0 | scalar1
        kind = Mux(scalar0, fields.s0_kind, fields.s1_kind)
        return [
            state.x_reads.eq(
                Mux(is_scalar, kind == Operand.PARTITION, fields.x_source == Source.SBUF)
            ),
            state.x_double.eq(is_scalar | is_wide(fields.x_format)),
            state.y_reads.eq(work.y_used & ~is_scalar),
        ]

    def _next_item(self, m: Module) -> Item:
        """The item that is due: scalars first, then elements."""
        state, fields = self._state, self._state.work.fields
        flags = ("is_scalar", "is_element", "is_last_part")
        item = Item(*(Signal(name=name) for name in flags), value=Signal(32, name="scalar_value"))
        m.d.comb += [
            item.is_scalar.eq(state.scalar),
            item.is_element.eq(state.running & ~state.scalar),
            item.is_last_part.eq(state.part == self._config.vector_folding - 1),
            item.value.eq(Mux(state.scalar0, fields.s0, fields.s1)),
        ]
        return item

    def _request(self, m: Module, item: Item) -> Signal:
        """Requests for the operands of the item; 1 if it has them all."""
        state, fields = self._state, self._state.work.fields
        due, x_due, x_free, y_free = Signal(), Signal(), Signal(), Signal()
        interval = Mux(self._resting, self._offered.interval, state.work.interval)
        count_rhythms(m, state, interval)
        x_has, y_has = Signal(), Signal()
        m.d.comb += [
            due.eq((state.scalar | (state.running & state.in_rhythm)) & ~state.pause[0]),
            self.x.addr.eq(state.x_at),
            self.x.double.eq(state.x_double),
            self.y.addr.eq(state.y_at),
            self.y.double.eq(is_wide(fields.y_format)),
            x_due.eq(state.x_reads & ~state.x_held),
            x_free.eq(~is_taken(self.taken, self.x)),
            y_free.eq(
                ~(is_taken(self.taken, self.y) | (x_due & meet(self.x, self.y, len(self.taken))))
            ),
            self.x_en.eq(due & x_due),
            self.y_en.eq(due & state.y_reads),
            x_has.eq(~x_due | x_free),
            y_has.eq(~state.y_reads | y_free),
            self.denied.eq(due & ~(x_has & y_has)),
            self.psum_addr.eq(state.x_at),
            self.psum_en.eq(item.is_element & (fields.x_source == Source.PSUM)),
            self.issue.late.eq(state.x_held),
        ]
        granted = Signal()
        m.d.comb += granted.eq(due & x_has & y_has & ~self.stop)
        with m.If(due & x_due & x_free & ~y_has):
            m.d.sync += state.x_held.eq(1)
        with m.If(granted | self.stop):
            m.d.sync += state.x_held.eq(0)
        return granted

    def _check(self, m: Module, item: Item, granted: Value) -> Signal:
        """1 if the item fails its checks, whose order is the contract's."""
        state, fields, config = self._state, self._state.work.fields, self._config
        sbuf_bits = (config.sbuf_depth - 1).bit_length()
        psum_bits = (config.psum_depth - 1).bit_length()
        x_at, y_at, dst_at = state.x_at, state.y_at, state.dst_at
        psum = item.is_element & (fields.x_source == Source.PSUM)
        x, y = state.x_reads, state.y_reads
        writes = item.is_element & (state.work.writes | (state.finishing & (state.left == 1)))
        unaligned = Mux(
            fields.transpose,
            dst_at[: (config.n - 1).bit_length()].any(),
            is_wide(fields.format) & dst_at[0],
        )
        written = find_written(
            m,
            state,
            self._offered,
            resting=self._resting,
            advances=granted & item.is_last_part & ~state.scalar,
            query=self.psum_query,
            answer=self.psum_written,
        )
        # A block's scale, in the place of a y: all its elements have the address of the first.
        scale = state.quantises & item.is_element if config.mx else Const(0)
        checks = (
            (psum & x_at[psum_bits:].any(), Trap.PSUM_RANGE, x_at),
            (psum & ~written, Trap.PSUM_UNWRITTEN, x_at),
            (x & x_at[sbuf_bits:].any(), Trap.SBUF_RANGE, x_at),
            (x & state.x_double & x_at[0], Trap.SBUF_ALIGNMENT, x_at),
            ((y | scale) & y_at[sbuf_bits:].any(), Trap.SBUF_RANGE, y_at),
            (y & is_wide(fields.y_format) & y_at[0], Trap.SBUF_ALIGNMENT, y_at),
            (writes & dst_at[sbuf_bits:].any(), Trap.SBUF_RANGE, dst_at),
            (writes & unaligned, Trap.SBUF_ALIGNMENT, dst_at),
        )
        return self._find_fault(m, granted, checks)

    def _advance(self, m: Module, item: Item, granted: Value) -> None:
        """State of the next item, when this one has its operands; after a fault it is not used."""
        state, fields, config = self._state, self._state.work.fields, self._config
        beats = config.line_beats
        m.d.sync += state.pause.eq(state.pause >> 1)
        wraps = state.partition == config.n - 1
        moves = plan_moves(m, config, state)
        with m.If(granted):
            m.d.sync += state.part.eq(state.part + 1)
        with m.If(granted & item.is_last_part):
            m.d.sync += [
                state.scalar.eq(state.scalar0 & state.scalar1),
                *self._next_reads(state.work, Const(0), state.scalar0 & state.scalar1),
            ]
            with self._advance_element(
                m,
                state.scalar0,
                state.scalar1,
                scalar1_at=fields.s1[:SCALAR_ADDRESS_BITS],
                x_addr=fields.x_addr,
                x_stride=fields.x_stride,
            ):
                m.d.sync += state.first.eq(0)
                with m.If(moves.y):
                    m.d.sync += state.y_at.eq(state.y_at + fields.y_stride)
                with m.If(moves.destination):
                    m.d.sync += state.partition.eq(state.partition + 1)
                    with m.If(~fields.transpose | wraps):
                        m.d.sync += state.dst_at.eq(state.dst_at + fields.dst_stride)
                if beats > 1:
                    with m.If(fields.transpose):
                        m.d.sync += state.pause.eq((1 << (beats - 1)) - 1)
                if config.mx:
                    m.d.sync += state.in_block.eq(state.in_block + 1)
                    with m.If(moves.block):
                        line = fields.transpose.replicate(beats - 1)
                        m.d.sync += state.pause.eq(Cat(Const(-1, config.vector_folding), line))
