"""An instruction of the vector engine, brought into the form that the sequencer walks."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.formats import FP32, RAW32
from tegula.isa.instructions import by_mnemonic
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.layouts import route_layout
from tegula.vector.routing import INTERVAL_BITS, is_unary, plan_route

__all__ = ["COMPUTE", "GENERATOR", "is_wide", "plan_work", "work_layout"]

COMPUTE = by_mnemonic("vector.compute").opcode & 0xF
GENERATOR = by_mnemonic("vector.generator").opcode & 0xF

_STATE_PAIRS = 4
"""Pairs of words that are the state of a generator."""


def is_wide(code: Value) -> Value:
    """Whether a format has two words an element."""
    return (code == FP32.code) | (code == RAW32)


def work_layout() -> data.StructLayout:
    """An instruction in work: its fields, and what follows from them.

    `scalar0`, `scalar1`: a step has a scalar operand; `y_used`: an element has a y; `reads`: the
    scratchpad is read; `state`: the elements are the generators' state; `writes`: results are
    written element by element.
    """
    return data.StructLayout(
        {
            "fields": payload_layout("vector.compute"),
            "route": route_layout(),
            "interval": INTERVAL_BITS,
            "scalar0": 1,
            "scalar1": 1,
            "y_used": 1,
            "reads": 1,
            "state": 1,
            "writes": 1,
        }
    )


def plan_work(m: Module, config: TileConfig, op: Value, payload: Value) -> data.View:
    """What an instruction (vector.compute or vector.generator) has to do.

    An operation that stands alone becomes step 0. vector.generator becomes four elements of raw32:
    words of the scratchpad to the generators, or numbers of the generators to the scratchpad.
    """
    work = Signal(work_layout(), name="offered")
    fields = work.fields
    compute = data.View(payload_layout("vector.compute"), payload)
    state = data.View(payload_layout("vector.generator"), payload)
    m.d.comb += fields.eq(compute)
    with m.If(compute.op0 == Operation.PASS):
        m.d.comb += [
            fields.op0.eq(compute.op1),
            fields.s0.eq(compute.s1),
            fields.s0_kind.eq(compute.s1_kind),
            fields.op1.eq(Operation.PASS),
        ]
    with m.If(op == GENERATOR):
        zeroed = ("op0", "op1", "reduction", "rounding", "transpose", "overlap")
        m.d.comb += [
            *(fields[name].eq(0) for name in zeroed),
            fields.columns.eq(_STATE_PAIRS),
            fields.rows.eq(config.n),
            fields.format.eq(RAW32),
            fields.x_source.eq(Mux(state.save, Source.RANDOM, Source.SBUF)),
            fields.x_format.eq(RAW32),
            fields.x_addr.eq(state.addr),
            fields.x_stride.eq(2),
            fields.dst.eq(state.addr),
            fields.dst_stride.eq(2),
        ]
    uses0, uses1 = ~is_unary(fields.op0), ~is_unary(fields.op1)
    reduces = fields.reduction != Reduction.NONE
    route, interval = plan_route(m, fields.op0, fields.op1, fields.reduction, "offered")
    m.d.comb += [
        work.route.eq(route),
        work.interval.eq(interval),
        work.scalar0.eq(uses0 & ~fields.s0_kind[1]),
        work.scalar1.eq(uses1 & ~fields.s1_kind[1]),
        work.y_used.eq(
            (uses0 & (fields.s0_kind == Operand.Y))
            | (uses1 & (fields.s1_kind == Operand.Y))
            | (fields.rounding == Rounding.GIVEN)
        ),
        work.reads.eq(
            (fields.x_source == Source.SBUF)
            | work.y_used
            | (work.scalar0 & fields.s0_kind[0])
            | (work.scalar1 & fields.s1_kind[0])
        ),
        work.state.eq(op == GENERATOR),
        work.writes.eq(Mux(work.state, state.save, ~reduces)),
    ]
    return work
