"""Items of a vector instruction: the sequencer's state, rhythms, controls of the lanes."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.arith.codes import is_narrow
from tegula.arith.combine import PARTIALS
from tegula.config import TileConfig
from tegula.engine.sequencing import CHECKED_ADDRESS, SEQUENCER_STATE
from tegula.formats import FP32, MX_BLOCK
from tegula.isa.operations import Operand, Rounding, Source
from tegula.memory.halves import kept_bytes
from tegula.vector.layouts import Kind, route_layout
from tegula.vector.quantise import packed_half
from tegula.vector.work import work_layout

__all__ = ["Item", "count_rhythms", "describe_item", "find_written", "make_state"]


def make_state(config: TileConfig) -> data.View:
    """State of the `ElementSequencer`: `SEQUENCER_STATE`, and what it adds to that.

    scalar0, scalar1, scalar, running
        Scalars are still to come, one of them is; elements are, with or behind them.
    part
        Which of the partitions that share a lane the item is for.
    pause
        As many ones, from bit 0 on, as cycles until another element's lines may be written.
    second, third, in_rhythm
        The rhythms of elements that are issued in every second and in every third cycle; this is
        a cycle of the instruction in work.
    x_held
        The next element's x waits in the lanes for its y.
    route
        The route of the instruction that was started last.
    quantises
        That is a vector.quantise; only with `mx`.
    work
        The instruction in work.
    x_at, y_at, dst_at
        Addresses of the next element; `x_at` also of a scalar that is due.
    x_reads, x_double, y_reads
        The next item reads x, and its rows are pairs; it reads y.
    left, first
        Elements that are left; the next is the first.
    partial, partition
        Partial result to which the next element belongs; partition of its result (`transpose`).
    in_block
        Elements of its block before the next one; only with `mx`.

    Those from `work` on are meaningful only while the bits before say so, and have no reset.
    """
    work = work_layout()
    control = {
        **SEQUENCER_STATE,
        "scalar0": 1,
        "scalar1": 1,
        "scalar": 1,
        "running": 1,
        "pause": max(1, config.line_beats - 1 + (config.vector_folding if config.mx else 0)),
        "second": 1,
        "third": range(3),
        "in_rhythm": 1,
        "x_held": 1,
        "route": route_layout(),
        **({"quantises": 1} if config.mx else {}),
    }
    element = {
        "work": work,
        "x_at": CHECKED_ADDRESS,
        "y_at": CHECKED_ADDRESS,
        "dst_at": CHECKED_ADDRESS,
        "x_reads": 1,
        "x_double": 1,
        "y_reads": 1,
        "left": work["fields"].shape["columns"].shape,
        "first": 1,
        "part": range(config.vector_folding),
        "partial": range(PARTIALS),
        "partition": range(config.n),
        **({"in_block": range(MX_BLOCK)} if config.mx else {}),
    }
    bits = Signal(data.StructLayout(control), name="control").as_value()
    rest = Signal(data.StructLayout(element), name="element", reset_less=True).as_value()
    return data.View(data.StructLayout(control | element), Cat(bits, rest))


class Item(NamedTuple):
    """The next item: a scalar, whose `value` may be an address in a partition, or an element.

    Where partitions share a lane, each of them has an item of its own, one behind the other.
    """

    is_scalar: Signal
    is_element: Signal
    is_last_part: Signal
    value: Signal


def count_rhythms(m: Module, state: data.View, interval: Value) -> None:
    """The rhythms of a sequencer's state; `in_rhythm` for the next cycle, from its `interval`."""
    m.d.sync += [
        state.second.eq(~state.second),
        state.third.eq(Mux(state.third == 2, 0, state.third + 1)),
    ]
    with m.Switch(interval):
        with m.Case(2):
            m.d.sync += state.in_rhythm.eq(~state.second)
        with m.Case(3):
            m.d.sync += state.in_rhythm.eq(state.third == 2)
        with m.Default():
            m.d.sync += state.in_rhythm.eq(1)


def find_written(
    m: Module,
    state: data.View,
    offered: data.View,
    *,
    resting: Value,
    advances: Value,
    query: Value,
    answer: Value,
) -> Signal:
    """1 if the word of PSUM at `x_at` was written.

    Asked is the address that follows, whether it does or not: so that nothing that decides on
    it leaves for PSUM. Where it does not follow, the answer for the present one is kept.

    Parameters
    ----------
    offered, resting
        The work that is next, and that it may start.
    advances
        The element that follows is due in the next cycle.
    query, answer
        The address asked for, and what was said of that of the cycle before.
    """
    written, kept, follows = Signal(), Signal(), Signal()
    following = state.x_at + state.work.fields.x_stride
    m.d.comb += [
        query.eq(Mux(resting, offered.fields.x_addr, following)),
        written.eq(Mux(follows, answer, kept)),
    ]
    m.d.sync += [follows.eq(resting | advances), kept.eq(written)]
    return written


def describe_item(
    m: Module,
    config: TileConfig,
    state: data.View,
    item: Item,
    issue: data.View,
    result: data.View,
) -> None:
    """Controls of the lanes for the item (`issue_layout`), and for a reduction's result."""
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
        ring.self0.eq(fields.s0_kind == Operand.SELF),
        ring.self1.eq(fields.s1_kind == Operand.SELF),
        ring.reduction.eq(fields.reduction),
        ring.begin.eq(state.first & ~fields.proceed),
        ring.partial.eq(state.partial),
    ]
    if config.packed_fp8:
        m.d.comb += issue.x_high.eq(
            fields.x_high & item.is_element & is_narrow(fields.x_format, config)
        )
    # A scalar of the scratchpad is read as fp32, an immediate is a value like an index.
    with m.If(item.is_scalar):
        m.d.comb += [
            issue.x_format.eq(FP32.code),
            issue.source.eq(Mux(state.x_reads, Source.SBUF, Source.INDEX)),
            issue.value.eq(item.value),
        ]
    for output in (ring.exit, result):
        m.d.comb += [
            output.format.eq(fields.format),
            output.saturate.eq(fields.saturate),
            output.addr.eq(state.dst_at),
            output.line.eq(fields.transpose),
            output.partition.eq(state.partition),
        ]
        if config.packed_fp8:
            narrow = is_narrow(fields.format, config).replicate(2)
            half = packed_half(state) if config.mx else fields.half
            m.d.comb += output.keep.eq(kept_bytes(half) & narrow)
    m.d.comb += [
        ring.exit.rows.eq(Mux(work.writes, fields.rows, 0)),
        ring.exit.stochastic.eq(work.writes & (fields.rounding != Rounding.NEAREST)),
        ring.exit.part.eq(state.part),
        ring.exit.last.eq((state.left == 1) & ~state.finishing & item.is_last_part),
        result.rows.eq(fields.rows),
        result.last.eq(1),
    ]
