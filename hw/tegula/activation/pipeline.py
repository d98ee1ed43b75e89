"""The way of items through the lanes of the activation engine: what they are told when."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import Kind, beats, column_layout, controls_layout, item_layout
from tegula.arith.combine import SLOTS, Combiner
from tegula.arith.fp_add import FpAdd
from tegula.config import TileConfig

__all__ = ["ItemPipeline"]


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
    finish : In(1), total : In(column_layout), unused : In(8)
        Combine the partial sums, for one cycle; what their sums are as columns, and which partial
        sums have not been written. Both stay.
    stop : In(1)
        Drop everything.
    controls : Out(controls_layout)
        To the lanes.
    leaving : Out(item_layout)
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
                "total": In(column_layout(config)),
                "unused": In(8),
                "stop": In(1),
                "controls": Out(controls_layout(config)),
                "leaving": Out(item_layout(config)),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        """Carry items; tap them; lead sums out."""
        m = Module()
        # What is read is in the adder a cycle later.
        combiner = Combiner(FpAdd.LATENCY + 1, beats(self._config))
        m.submodules.combiner = combiner
        m.d.comb += [combiner.start.eq(self.finish), combiner.stop.eq(self.stop)]
        items = self._carry(m, "item", self.item, LaneCycles.SUM_OUT)
        self._tap(m, items)
        self._sum(m, items, combiner)
        exits = self._leave(m, items[LaneCycles.RESULT], combiner)
        stages = [*items[1:], *exits[1:]]
        m.d.comb += self.drained.eq(~(Cat(item.valid for item in stages).any() | combiner.active))
        return m

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
                control.write.eq(item.valid & (item.column.kind == kind)),
                control.beat.eq(item.beat),
            ]
        first = items[0].column
        m.d.comb += [
            controls.entry.x_format.eq(first.x_format),
            controls.entry.constant.eq(first.constant),
            controls.entry.value.eq(first.value),
            controls.scale.passes.eq(items[LaneCycles.SCALE].column.kind == Kind.BIAS),
            controls.exp.eq(items[LaneCycles.ARGUMENT].column.function.exp),
            controls.odd.eq(items[LaneCycles.ARGUMENT].column.function.odd),
            controls.function.eq(items[LaneCycles.TABLE].column.function),
        ]

    def _sum(self, m: Module, items: list[data.View], combiner: Combiner) -> None:
        """Controls of partial sums: items in their cycles, or the combiner."""
        control = self.controls.sum
        reads, enters, leaves = (
            items[cycle] for cycle in (LaneCycles.SUM - 1, LaneCycles.SUM, LaneCycles.SUM_OUT)
        )
        slot = combiner.read_addr[: (SLOTS - 1).bit_length()]
        unused = (slot < len(self.unused)) & self.unused.bit_select(slot[:3], 1)
        held, entered, fresh = Signal(), Signal(), Signal()
        m.d.sync += [held.eq(combiner.hold), entered.eq(combiner.enter), fresh.eq(unused)]
        m.d.comb += [
            control.read.eq(Mux(combiner.active, combiner.read_addr, _slot(reads))),
            control.hold.eq(held),
            control.held.eq(entered),
            control.fresh.eq(Mux(held | entered, fresh, enters.column.fresh)),
            control.enter.eq(entered | (enters.valid & enters.column.sums)),
            control.write.eq((combiner.write | (leaves.valid & leaves.column.sums)) & ~self.stop),
            control.write_addr.eq(Mux(combiner.active, combiner.write_addr, _slot(leaves))),
        ]

    def _leave(self, m: Module, item: data.View, combiner: Combiner) -> list[data.View]:
        """Controls of the cast; results, and the sums that the combiner makes, on their way out."""
        leaving = Signal(item_layout(self._config))
        beat = Signal(range(beats(self._config)))
        with m.If(combiner.leaves):
            m.d.sync += beat.eq(beat + 1)
        with m.If(self.finish):
            m.d.sync += beat.eq(0)
        m.d.comb += leaving.eq(item)
        m.d.comb += leaving.valid.eq(item.valid & (item.column.kind == Kind.ELEMENT))
        with m.If(combiner.leaves):
            m.d.comb += [
                leaving.valid.eq(1),
                leaving.beat.eq(beat),
                leaving.end.eq(beat == beats(self._config) - 1),
                leaving.column.eq(self.total),
            ]
        leave = self.controls.leave
        m.d.comb += [
            leave.total.eq(combiner.leaves),
            leave.format.eq(leaving.column.format),
            leave.saturate.eq(leaving.column.saturate),
        ]
        exits = self._carry(m, "exit", leaving, LaneCycles.WORD - LaneCycles.RESULT)
        m.d.comb += self.leaving.eq(exits[-1])
        return exits


def _slot(item: data.View) -> Value:
    """Address of the partial sum of an item."""
    return Cat(item.column.partial, Const(0, 1), item.beat)
