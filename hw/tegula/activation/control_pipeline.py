"""Pipeline of the controls of the activation engine's lanes: each control in its cycle."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import (
    Kind,
    beats,
    controls_layout,
    exit_layout,
    item_layout,
    output_layout,
    travel_layout,
)
from tegula.activation.table import function_layout
from tegula.arith.combine import PARTIALS, SLOTS, Combiner, is_identity
from tegula.arith.fp_add import FpAdd
from tegula.config import TileConfig
from tegula.lib.delay import delay, delayed

__all__ = ["ItemPipeline"]

_READ_CYCLES = LaneCycles.SUM - LaneCycles.SUM_READ
"""Cycles from the read of a partial sum until it enters the adder."""


class ItemPipeline(wiring.Component):
    """Registers beside the lanes, a stage a cycle. It moves with the lanes, and only then.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    item : In(item_layout)
        What enters the lanes in this cycle, if it is `valid`.
    finish : In(1), total : In(exit_layout), unused : In(PARTIALS)
        Combine the partial sums, for one cycle; what becomes of their sums, and which partial
        sums have not been written. Both stay.
    stop : In(1)
        Drop everything.
    controls : Out(controls_layout)
        To the lanes.
    output : Out(output_layout)
        What leaves the lanes in this cycle.
    drained : Out(1)
        Nothing is under way.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "item": In(item_layout(config)),
                "finish": In(1),
                "total": In(exit_layout(config)),
                "unused": In(PARTIALS),
                "stop": In(1),
                "controls": Out(controls_layout(config)),
                "output": Out(output_layout(config)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        """Items in their cycles, controls, sums, the output."""
        m = Module()
        combiner = Combiner(_READ_CYCLES + FpAdd.LATENCY, beats(self._config))
        m.submodules.combiner = combiner
        m.d.comb += [combiner.start.eq(self.finish), combiner.stop.eq(self.stop)]
        items = self._carry(m, "item", self._enter(m), LaneCycles.SUM_OUT)
        self._tap(m, items)
        self._sum(m, items, combiner)
        exits = self._output(m, items[LaneCycles.RESULT], combiner)
        stages = [*items[1:], *exits[1:]]
        m.d.comb += self.drained.eq(~(Cat(item.valid for item in stages).any() | combiner.active))
        return m

    def _enter(self, m: Module) -> data.View:
        """Part of an item that later stages need; the rest acts at once, or is the function's."""
        item = Signal(
            data.StructLayout(
                {
                    "valid": 1,
                    "beat": range(beats(self._config)),
                    "end": 1,
                    "travel": travel_layout(self._config),
                }
            )
        )
        m.d.comb += [
            item.valid.eq(self.item.valid),
            item.beat.eq(self.item.beat),
            item.end.eq(self.item.end),
            item.travel.eq(self.item.column.travel),
        ]
        return item

    def _carry(self, m: Module, name: str, item: data.View, cycles: int) -> list[data.View]:
        """`item`, and the same 1, 2 ... cycles later."""
        items = [item]
        items += [Signal(item.shape(), name=f"{name}_{cycle + 1}") for cycle in range(cycles)]
        m.d.sync += [after.eq(before) for before, after in pairwise(items)]
        with m.If(self.stop):
            m.d.sync += [after.valid.eq(0) for after in items[1:]]
        return items

    def _tap(self, m: Module, items: list[data.View]) -> None:
        """Controls of everything but sums."""
        controls = self.controls
        for name, kind, cycle in (
            ("scale", Kind.SCALE, LaneCycles.SCALE),
            ("bias", Kind.BIAS, LaneCycles.BIAS),
        ):
            item, control = items[cycle], controls[name]
            m.d.comb += [
                control.write.eq(item.valid & (item.travel.kind == kind)),
                control.beat.eq(item.beat),
            ]
        first = self.item.column
        function = first.function.as_value()
        reduced = delayed(m, function, LaneCycles.ARGUMENT, name="function")
        looked_up = delayed(m, reduced, LaneCycles.TABLE - LaneCycles.ARGUMENT, name="looked_up")
        reduction = data.View(function_layout(), reduced)
        m.d.comb += [
            controls.entry.x_format.eq(first.x_format),
            controls.entry.constant.eq(first.constant),
            controls.entry.value.eq(first.value),
            controls.scale.passes.eq(items[LaneCycles.SCALE].travel.kind == Kind.BIAS),
            controls.exp.eq(reduction.exp),
            controls.odd.eq(reduction.odd),
            controls.function.eq(looked_up),
        ]

    def _sum(self, m: Module, items: list[data.View], combiner: Combiner) -> None:
        """Controls of partial sums: items in their cycles, or the combiner."""
        control = self.controls.sum
        reads, enters, finished = (
            items[cycle] for cycle in (LaneCycles.SUM_READ, LaneCycles.SUM, LaneCycles.SUM_OUT)
        )
        slot = combiner.read_addr[: (SLOTS - 1).bit_length()]
        read = Cat(combiner.hold, combiner.enter, is_identity(slot, self.unused))
        held, entered, fresh = delay(m, read, _READ_CYCLES, "read")
        m.d.comb += [
            control.read.eq(Mux(combiner.active, combiner.read_addr, _slot(reads))),
            control.hold.eq(held),
            control.held.eq(entered),
            control.fresh.eq(Mux(held | entered, fresh, enters.travel.fresh)),
            control.enter.eq(entered | (enters.valid & enters.travel.sums)),
            control.write.eq(
                (combiner.write | (finished.valid & finished.travel.sums)) & ~self.stop
            ),
            control.write_addr.eq(Mux(combiner.active, combiner.write_addr, _slot(finished))),
        ]

    def _output(self, m: Module, item: data.View, combiner: Combiner) -> list[data.View]:
        """Controls of the cast; results, and the sums of the combiner, for the writeback."""
        output = Signal(output_layout(self._config))
        beat = Signal(range(beats(self._config)))
        with m.If(combiner.is_output):
            m.d.sync += beat.eq(beat + 1)
        with m.If(self.finish):
            m.d.sync += beat.eq(0)
        m.d.comb += [
            output.valid.eq(item.valid & (item.travel.kind == Kind.ELEMENT)),
            output.end.eq(item.end),
            output.exit.eq(item.travel.exit),
        ]
        with m.If(combiner.is_output):
            m.d.comb += [
                output.valid.eq(1),
                output.end.eq(beat == beats(self._config) - 1),
                output.exit.eq(self.total),
            ]
        to_cast = self.controls.to_cast
        m.d.comb += [
            to_cast.total.eq(combiner.is_output),
            to_cast.format.eq(output.exit.format),
            to_cast.saturate.eq(output.exit.saturate),
        ]
        exits = self._carry(m, "exit", output, LaneCycles.WORD - LaneCycles.RESULT)
        m.d.comb += self.output.eq(exits[-1])
        return exits


def _slot(item: data.View) -> Value:
    """Address of the partial sum of an item."""
    return Cat(item.travel.partial, Const(0, 1), item.beat)
