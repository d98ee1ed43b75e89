"""Controls of a lane's operands, from the issue of an item to its entry."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data

from tegula.arith.pattern import select_format
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.operations import Source
from tegula.lib.delay import delay, gated, registered
from tegula.lib.fields import copy_fields
from tegula.memory.halves import high_fields
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.lane import DECODE_CYCLES, OPERAND_CYCLES, PSUM_READ_CYCLES
from tegula.vector.layouts import RANDOM_SLOTS, Kind
from tegula.vector.ring import Stage, is_reduction

__all__ = ["Taken", "control_entry", "control_operands", "take_operands"]


class Taken(NamedTuple):
    """Controls of an item's entry, as of `controls_layout`, a cycle ahead."""

    takes: Signal
    number: Signal
    second: Signal


def control_operands(
    m: Module, controls: data.View, config: TileConfig, front: list[Stage]
) -> None:
    """Controls of words and operands, by the stages from issue to entry."""
    decode, operands = controls.decode, controls.operands
    early, late = front[DECODE_CYCLES - 2].item, front[OPERAND_CYCLES - 2].item
    at_operands = front[OPERAND_CYCLES - 1]
    x = select_format(early.x_format, config)
    value = registered(m, late.value, name="value")
    with m.If(late.source == Source.RANDOM):
        m.d.sync += value.eq(FP32.one)
    with m.Elif(late.source != Source.INDEX):
        m.d.sync += value.eq(0)
    m.d.comb += [
        controls.psum.en.eq(front[PSUM_READ_CYCLES - 1].item.source == Source.PSUM),
        controls.psum.part.eq(front[PSUM_READ_CYCLES - 1].item.ring.exit.part),
        controls.arrival.late.eq(front[PAIR_READ_CYCLES - 1].item.late),
        controls.arrival.part.eq(front[PAIR_READ_CYCLES - 1].item.ring.exit.part),
        *copy_fields(controls.arrival, front[PAIR_READ_CYCLES - 1].item, high_fields(config)),
        decode.x.eq(gated(m, x, early.source == Source.SBUF, name="x_selection")),
        decode.y.eq(registered(m, select_format(early.y_format, config), name="y_selection")),
        operands.value.eq(value),
        operands.y0.eq(at_operands.valid & at_operands.item.y0),
        operands.y1.eq(at_operands.valid & at_operands.item.y1),
        operands.part.eq(at_operands.item.ring.exit.part),
    ]


def take_operands(m: Module, before: Stage) -> Taken:
    """What takes the operands of the item that enters in the next cycle unless it is stopped."""
    item = before.item
    route = item.ring.route
    enters, saves, calculates = Signal(), Signal(), Signal()
    has_second = calculates & ~item.ring.self0 & ~is_reduction(item.ring, 0)
    taken = Taken(
        takes=Signal(3, name="takes_ahead"),
        number=Signal(name="number_ahead"),
        second=Signal(2, name="second_ahead"),
    )
    unit = Cat(~route.multiplier0, route.multiplier0)
    m.d.comb += [
        enters.eq(before.valid & (item.kind != Kind.SCALAR0) & (item.kind != Kind.SCALAR1)),
        saves.eq(item.kind == Kind.STATE_SAVE),
        calculates.eq(enters & (route.steps != 0)),
        taken.takes.eq(Cat(unit & calculates.replicate(2), enters & (route.steps == 0) & ~saves)),
        taken.number.eq(enters & saves),
        taken.second.eq(unit & has_second.replicate(2)),
    ]
    return taken


def control_entry(
    m: Module,
    entry: data.View,
    before: Stage,
    stage: Stage,
    taken: Taken,
    *,
    stop: Value,
    drained: Value,
) -> Value:
    """Controls of entry; 1 if an element enters the ring.

    What goes to many registers of all lanes is known a cycle ahead. An item that enters as it is
    stopped still sets its scalar or turns the generators.

    Parameters
    ----------
    entry
        Those controls.
    before, stage
        The item that enters in the next cycle unless it is stopped, and the one that does in this.
    taken
        Of `take_operands`.
    stop, drained
        As of `ElementPipeline`.
    """
    item = stage.item
    is_scalar = (item.kind == Kind.SCALAR0) | (item.kind == Kind.SCALAR1)
    enters = stage.valid & ~is_scalar
    keeps = enters & ~stop & item.ring.exit.stochastic
    slot = Signal(range(RANDOM_SLOTS))
    with m.If(drained):
        m.d.sync += slot.eq(0)
    with m.Elif(keeps):
        m.d.sync += slot.eq(slot + 1)
    ahead = before.item
    parts = len(entry.moves)
    moves = ahead.draw | (ahead.kind == Kind.STATE_LOAD) | (ahead.kind == Kind.STATE_SAVE)
    m.d.comb += [
        entry.uniform.eq(registered(m, ahead.source == Source.RANDOM, name="uniform")),
        entry.takes.eq(delay(m, taken.takes, 1, "takes")),
        entry.number.eq(delay(m, taken.number, 1, "number")),
        entry.second.eq(registered(m, taken.second, name="second")),
        *(
            entry[name].eq(delay(m, before.valid & condition, 1, name))
            for name, condition in (
                ("step", ahead.draw),
                ("load", ahead.kind == Kind.STATE_LOAD),
            )
        ),
        *(
            entry[name][part].eq(
                delay(
                    m,
                    before.valid & condition & (ahead.ring.exit.part == part),
                    1,
                    f"{name}_{part}",
                )
            )
            for name, condition in (
                ("scalar0", ahead.kind == Kind.SCALAR0),
                ("scalar1", ahead.kind == Kind.SCALAR1),
                ("moves", moves),
            )
            for part in range(parts)
        ),
        entry.part.eq(item.ring.exit.part),
        entry.y1.eq(item.y1),
        entry.keep.eq(keeps),
        entry.given.eq(item.given),
        entry.slot.eq(slot),
    ]
    return enters
