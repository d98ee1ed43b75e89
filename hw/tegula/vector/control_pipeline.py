"""Pipeline of the lanes' controls: each control in its cycle, and the writeback of results."""

from itertools import pairwise
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.combine import PARTIALS, Combiner, is_identity
from tegula.arith.fp_operation import decode_operation
from tegula.arith.pattern import select_format
from tegula.config import TileConfig
from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.formats import FP32
from tegula.isa.operations import Operation, Reduction, Source
from tegula.lib.delay import gated, registered
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.lane import (
    DECODE_CYCLES,
    ENTRY_CYCLES,
    OPERAND_CYCLES,
    PSUM_READ_CYCLES,
    THIRD_CYCLES,
    UNIT_CYCLES,
    VectorLane,
)
from tegula.vector.layouts import (
    LOWEST,
    RANDOM_SLOTS,
    THIRD_SLOTS,
    ZERO,
    Kind,
    controls_layout,
    exit_layout,
    issue_layout,
)

__all__ = ["AHEAD_CYCLES", "ElementPipeline"]

AHEAD_CYCLES = SIGNAL_TO_INSTRUCTION_CYCLES - 1
"""Cycles by which an instruction's signal comes before the last of its results is written, which is
in the cycle after that in which it leaves: a retirement offers it a cycle late as well."""

_MAX_STEPS = 3


class _Stage(NamedTuple):
    """Stage of the pipeline."""

    valid: Value
    item: data.View


class ElementPipeline(wiring.Component):
    """Registers beside the lanes, a stage a cycle; no flow control.

    An item is at `arrival` PAIR_READ_CYCLES after its issue and at `entry` ENTRY_CYCLES after it.
    From the next cycle on an element is in the ring: at position ``UNIT_CYCLES * j`` it enters the
    unit of step j or, after its last step, the cast; a reduced element ends with its last step. The
    sequencer sees to it that no two elements need a unit, or the cast, in the same cycle.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    issue_valid : In(1), issue : In(issue_layout)
        An item is issued.
    finish : In(1), finish_max : In(1), result : In(exit_layout)
        Combine partial results; `result` stays for as long as that takes.
    stop : In(1)
        Drop everything.
    controls : Out(controls_layout)
        To the lanes.
    output_valid : Out(1), output : Out(exit_layout)
        A result leaves the lanes in this cycle (or an element without one, whose `rows` is 0).
    ends : Out(1), ends_with_line : Out(1)
        The last result of an instruction leaves the lanes in `AHEAD_CYCLES`; as a line.
    drained : Out(1)
        Nothing is under way.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "issue_valid": In(1),
                "issue": In(issue_layout(config)),
                "finish": In(1),
                "finish_max": In(1),
                "result": In(exit_layout(config)),
                "stop": In(1),
                "controls": Out(controls_layout(config)),
                "output_valid": Out(1),
                "output": Out(exit_layout(config)),
                "ends": Out(1),
                "ends_with_line": Out(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        """Front, ring, partial results, exit."""
        m = Module()
        m.submodules.combiner = combiner = Combiner(UNIT_CYCLES)
        m.d.comb += [combiner.start.eq(self.finish), combiner.stop.eq(self.stop)]
        front = self._chain(m, "front", self.issue_valid, self.issue, ENTRY_CYCLES)
        self._arrive(m, front)
        entering = self._enter(m, front)
        ring = self._chain(m, "ring", entering, front[-1].item.ring, _MAX_STEPS * UNIT_CYCLES + 1)
        self._route(m, ring, combiner)
        self._take(m, ring)
        self._reduce(m, ring, combiner)
        is_output, output = self._output(m, ring, combiner)
        exits = self._chain(m, "exit", is_output, output, VectorLane.CAST_CYCLES)
        ahead = exits[-1 - AHEAD_CYCLES]
        ends = ahead.valid & ahead.item.last & ~self.stop
        stages = [stage.valid for chain in (front, ring, exits) for stage in chain]
        m.d.comb += [
            self.output_valid.eq(exits[-1].valid & ~self.stop),
            self.output.eq(exits[-1].item),
            self.ends.eq(ends & ~ahead.item.line),
            self.ends_with_line.eq(ends & ahead.item.line),
            self.drained.eq(~(Cat(stages).any() | combiner.active)),
        ]
        return m

    def _chain(self, m: Module, name: str, valid: Value, item: data.View, length: int) -> list:
        """Stages behind `item`, a cycle each; what they hold counts where it is valid."""
        stages = [
            _Stage(
                valid=Signal(name=f"{name}_valid_{index}"),
                item=Signal(item.shape(), name=f"{name}_{index}", reset_less=True),
            )
            for index in range(length)
        ]
        for before, after in pairwise([_Stage(valid, item), *stages]):
            m.d.sync += [after.valid.eq(before.valid), after.item.eq(before.item)]
        with m.If(self.stop):
            m.d.sync += [stage.valid.eq(0) for stage in stages]
        return stages

    def _arrive(self, m: Module, front: list) -> None:
        """Controls of words and operands, until entry."""
        decode, operands = self.controls.decode, self.controls.operands
        early, late = front[DECODE_CYCLES - 2].item, front[OPERAND_CYCLES - 2].item
        at_operands = front[OPERAND_CYCLES - 1]
        x = select_format(early.x_format, self._config)
        value = registered(m, late.value, name="value")
        with m.If(late.source == Source.RANDOM):
            m.d.sync += value.eq(FP32.one)
        with m.Elif(late.source != Source.INDEX):
            m.d.sync += value.eq(0)
        m.d.comb += [
            self.controls.psum.en.eq(front[PSUM_READ_CYCLES - 1].item.source == Source.PSUM),
            self.controls.arrival.late.eq(front[PAIR_READ_CYCLES - 1].item.late),
            decode.x.eq(gated(m, x, early.source == Source.SBUF, name="x_selection")),
            decode.y.eq(
                registered(m, select_format(early.y_format, self._config), name="y_selection")
            ),
            operands.value.eq(value),
            operands.y0.eq(at_operands.valid & at_operands.item.y0),
            operands.y1.eq(at_operands.valid & at_operands.item.y1),
        ]

    def _enter(self, m: Module, front: list) -> Value:
        """Controls of entry; 1 if an element enters the ring."""
        item, entry = front[-1].item, self.controls.entry
        route = item.ring.route
        valid = front[-1].valid & ~self.stop
        is_scalar = (item.kind == Kind.SCALAR0) | (item.kind == Kind.SCALAR1)
        keeps = valid & ~is_scalar & item.ring.exit.stochastic
        slot = Signal(range(RANDOM_SLOTS))
        with m.If(self.drained):
            m.d.sync += slot.eq(0)
        with m.Elif(keeps):
            m.d.sync += slot.eq(slot + 1)
        saves = item.kind == Kind.STATE_SAVE
        enters = front[-1].valid & ~is_scalar
        calculates = enters & (route.steps != 0)
        has_second = calculates & ~item.ring.self0 & ~_is_reduction(item.ring, 0)
        m.d.comb += [
            entry.uniform.eq(item.source == Source.RANDOM),
            entry.scalar0.eq(valid & (item.kind == Kind.SCALAR0)),
            entry.scalar1.eq(valid & (item.kind == Kind.SCALAR1)),
            entry.takes.eq(
                Cat(
                    calculates & ~route.multiplier0,
                    calculates & route.multiplier0,
                    enters & (route.steps == 0) & ~saves,
                )
            ),
            entry.number.eq(enters & saves),
            entry.second.eq(Cat(has_second & ~route.multiplier0, has_second & route.multiplier0)),
            entry.y1.eq(item.y1),
            entry.step.eq(valid & item.draw),
            entry.load.eq(valid & (item.kind == Kind.STATE_LOAD)),
            entry.rotate.eq(valid & saves),
            entry.keep.eq(keeps),
            entry.given.eq(item.given),
            entry.slot.eq(slot),
        ]
        return enters

    def _route(self, m: Module, ring: list, combiner: Combiner) -> None:
        """Controls of the units: the steps of elements that are due, and the combiner's."""
        adder, multiplier = self.controls.adder, self.controls.multiplier
        adder_op, multiplier_op = Signal(Operation), Signal(Operation)
        for step in range(_MAX_STEPS):
            stage = ring[step * UNIT_CYCLES]
            item, route = stage.item, stage.item.route
            due = stage.valid & (route.steps > step)
            by_multiplier = _by_multiplier(route, step)
            for unit, op, taken in (
                (adder, adder_op, due & ~by_multiplier),
                (multiplier, multiplier_op, due & by_multiplier),
            ):
                with m.If(taken):
                    m.d.comb += [
                        op.eq(item.op1 if step else item.op0),
                        unit.same.eq(item.self1 if step else item.self0),
                    ]
            with m.If(due & _is_reduction(item, step)):
                total = item.reduction == Reduction.SUM
                m.d.comb += [
                    adder_op.eq(Mux(total, Operation.ADD, Operation.MAX)),
                    adder.same.eq(0),
                    adder.magnitude.eq(item.reduction == Reduction.AMAX),
                ]
        with m.If(combiner.enter):
            m.d.comb += adder_op.eq(Mux(self.finish_max, Operation.MAX, Operation.ADD))
        m.d.comb += [
            adder.operation.eq(decode_operation(adder_op)),
            multiplier.operation.eq(decode_operation(multiplier_op)),
        ]

    def _take(self, m: Module, ring: list) -> None:
        """Controls of what the units and the cast take in the next cycle, and of third operands."""
        adder, multiplier, entry = (
            self.controls.adder,
            self.controls.multiplier,
            self.controls.entry,
        )
        third = ring[THIRD_CYCLES].item
        has_third = (
            ring[THIRD_CYCLES].valid
            & (third.route.steps > 1)
            & ~third.self1
            & ~_is_reduction(third, 1)
        )
        cycle = Signal(range(THIRD_SLOTS))
        m.d.sync += cycle.eq(cycle + 1)
        m.d.comb += [
            entry.third.eq(
                Cat(has_third & ~third.route.multiplier1, has_third & third.route.multiplier1)
            ),
            entry.third_write.eq(cycle),
            entry.third_read.eq(cycle - (1 + THIRD_CYCLES)),
        ]
        to_cast = entry.takes[2] | entry.number
        for step in range(1, _MAX_STEPS + 1):
            stage = ring[step * UNIT_CYCLES - 1]
            route = stage.item.route
            after_multiplier = _by_multiplier(route, step - 1)
            goes_on, ends = stage.valid & (route.steps > step), stage.valid & (route.steps == step)
            if step < _MAX_STEPS:
                by_multiplier = _by_multiplier(route, step)
                for unit, comes in ((adder, ~after_multiplier), (multiplier, after_multiplier)):
                    with m.If(goes_on & comes):
                        m.d.comb += unit.takes[:2].eq(Cat(~by_multiplier, by_multiplier))
            with m.If(ends & after_multiplier):
                m.d.comb += multiplier.takes[2].eq(1)
        # Whatever else leaves the adder is a result, a partial one, or of no interest.
        m.d.comb += adder.takes[2].eq(~(multiplier.takes[2] | to_cast))

    def _reduce(self, m: Module, ring: list, combiner: Combiner) -> None:
        """Controls of the partial results.

        A partial result that no element of the reduction has reached yet is not in the memory: it
        is the identity of the operation with which the reduction began.
        """
        partial = self.controls.partial
        unused, lowest = Signal(PARTIALS, init=(1 << PARTIALS) - 1), Signal()
        identity = Mux(lowest, LOWEST, ZERO)
        m.d.comb += [
            partial.addr.eq(ZERO),
            partial.hold.eq(combiner.hold),
            partial.write.eq(combiner.write),
            partial.write_addr.eq(combiner.write_addr),
        ]
        with m.If(combiner.hold | combiner.enter):
            absent = is_identity(combiner.read_addr, unused)
            m.d.comb += partial.addr.eq(Mux(absent, identity, combiner.read_addr))
        for step in range(_MAX_STEPS):
            stage, after = ring[step * UNIT_CYCLES], ring[(step + 1) * UNIT_CYCLES]
            item = stage.item
            begins_lowest = Mux(item.begin, item.reduction == Reduction.MAX, lowest)
            begins_unused = unused | item.begin.replicate(PARTIALS)
            with m.If(stage.valid & _is_reduction(item, step)):
                absent = begins_unused.bit_select(item.partial, 1)
                identity = Mux(begins_lowest, LOWEST, ZERO)
                m.d.comb += partial.addr.eq(Mux(absent, identity, item.partial))
                m.d.sync += [
                    unused.eq(begins_unused & ~(1 << item.partial)),
                    lowest.eq(begins_lowest),
                ]
            with m.If(after.valid & _is_reduction(after.item, step)):
                m.d.comb += [
                    partial.write.eq(~self.stop),
                    partial.write_addr.eq(after.item.partial),
                ]

    def _output(self, m: Module, ring: list, combiner: Combiner) -> tuple[Value, data.View]:
        """Controls of the cast; the output of the ring or of the combiner in this cycle."""
        to_cast = self.controls.to_cast
        is_output, output = Signal(), Signal(exit_layout(self._config))
        slot = Signal(range(RANDOM_SLOTS))
        for steps in range(_MAX_STEPS + 1):
            stage = ring[steps * UNIT_CYCLES]
            route = stage.item.route
            with m.If(stage.valid & (route.steps == steps)):
                if steps < _MAX_STEPS:
                    m.d.sync += ring[steps * UNIT_CYCLES + 1].valid.eq(0)
                m.d.comb += [
                    is_output.eq(1),
                    output.eq(stage.item.exit),
                    to_cast.steps.eq(steps > 0),
                    to_cast.from_adder.eq(~_by_multiplier(route, steps - 1) if steps else 0),
                ]
        with m.If(combiner.is_output):
            m.d.comb += [
                is_output.eq(1),
                output.eq(self.result),
                to_cast.steps.eq(1),
                to_cast.from_adder.eq(1),
            ]
        with m.If(self.drained):
            m.d.sync += slot.eq(0)
        with m.Elif(is_output & output.stochastic):
            m.d.sync += slot.eq(slot + 1)
        m.d.comb += [
            to_cast.stochastic.eq(output.stochastic),
            to_cast.saturate.eq(output.saturate),
            to_cast.format.eq(output.format),
            to_cast.slot.eq(slot),
        ]
        return is_output, output


def _is_reduction(item: data.View, step: int) -> Value:
    """1 if the step is the last one of a reduced element: the reduction."""
    return (item.reduction != Reduction.NONE) & (item.route.steps == step + 1)


def _by_multiplier(route: data.View, step: int) -> Value:
    """1 if the multiplier does the step; the third one is a reduction, the adder's."""
    return (route.multiplier0, route.multiplier1, Const(0, 1))[step]
