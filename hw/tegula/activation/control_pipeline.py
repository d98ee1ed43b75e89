"""Pipeline of the controls of the activation engine's lanes: each control in its cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import Kind, beats, controls_layout, item_layout, travel_layout
from tegula.activation.table import function_layout
from tegula.arith.combine import PARTIALS, Combiner, is_identity, slot_of
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.lib.delay import delay, delayed, registered
from tegula.lib.fields import copy_fields
from tegula.memory.halves import high_fields

__all__ = ["ItemPipeline"]

_READ_CYCLES = LaneCycles.SUM - LaneCycles.SUM_READ
"""Cycles from the read of a partial sum until it is chosen for the adder."""


class ItemPipeline(wiring.Component):
    """Registers beside the lanes, a stage a cycle; like the lanes it never stands still.

    Reset drops everything: only what says that an item is there, or is written, has one.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    item : In(item_layout)
        What enters the lanes in this cycle, if it is `valid`.
    finish : In(1), unused : In(PARTIALS)
        Combine the partial sums, for one cycle; which of them have not been written, which stays.
    controls : Out(controls_layout)
        To the lanes.
    valid : Out(1)
        A beat of results, or of sums, leaves the lanes in this cycle.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "item": In(item_layout(config)),
                "finish": In(1),
                "unused": In(PARTIALS),
                "controls": Out(controls_layout(config)),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        """Items in their cycles, controls, sums, results."""
        m = Module()
        combiner = Combiner(LaneCycles.SUM_OUT - LaneCycles.SUM_READ, beats(self._config))
        m.submodules.combiner = combiner
        m.d.comb += combiner.start.eq(self.finish)
        items = self._carry(m)
        self._tap(m, items)
        self._sum(m, items, combiner)
        self._cast(m, items[LaneCycles.RESULT], combiner)
        return m

    def _carry(self, m: Module) -> list[data.View]:
        """Items by the cycles since they entered, without what acts at once or is the function's.

        Of an item that is not valid nothing is used but `travel.kind`, which then does no harm.
        """
        layout = data.StructLayout(
            {"valid": 1, "beat": range(beats(self._config)), "travel": travel_layout()}
        )
        valid, rest = self.item.valid, Cat(self.item.beat, self.item.column.travel)
        items = [data.View(layout, Cat(valid, rest))]
        for cycle in range(1, LaneCycles.SUM_OUT + 1):
            valid = delay(m, valid, 1, f"valid_{cycle}")
            rest = registered(m, rest, name=f"item_{cycle}")
            items.append(data.View(layout, Cat(valid, rest)))
        return items

    def _tap(self, m: Module, items: list[data.View]) -> None:
        """Controls of everything but sums and the cast."""
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
            *copy_fields(controls.entry, first, high_fields(self._config)),
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
        absent = is_identity(combiner.read_addr, self.unused)
        read = Cat(combiner.hold, combiner.enter, absent)
        held, entered, fresh = delayed(m, read, _READ_CYCLES, name="read")
        m.d.comb += [
            control.read.eq(Mux(combiner.active, combiner.read_addr, _slot(reads))),
            control.hold.eq(held),
            control.fresh.eq(Mux(held | entered, fresh, enters.travel.fresh)),
            control.enter.eq(entered | (enters.valid & enters.travel.sums)),
            control.write.eq(combiner.write | (finished.valid & finished.travel.sums)),
            control.write_addr.eq(Mux(combiner.active, combiner.write_addr, _slot(finished))),
        ]

    def _cast(self, m: Module, item: data.View, combiner: Combiner) -> None:
        """Controls of the cast, for results and for the sums of the combiner; what comes of it."""
        to_cast = self.controls.to_cast
        enters = Signal()
        m.d.comb += [
            enters.eq(combiner.is_output | (item.valid & (item.travel.kind == Kind.ELEMENT))),
            to_cast.total.eq(combiner.is_output),
            to_cast.format.eq(Mux(combiner.is_output, FP32.code, item.travel.format)),
            to_cast.saturate.eq(item.travel.saturate),
            self.valid.eq(delay(m, enters, LaneCycles.WORD - LaneCycles.RESULT, "result")),
        ]


def _slot(item: data.View) -> Value:
    """Address of the partial sum of an item."""
    return slot_of(item.travel.partial, item.beat)
