"""Start addresses of the runs of a descriptor: counters of its three axes, and one adder."""

from typing import NamedTuple

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data

__all__ = ["Base", "add_strides", "choose_base", "count_runs"]


class Base(NamedTuple):
    """Source of the address to which the next step adds a stride: that of the axis that advances.

    moves, starts
        The registers of addresses move; they begin with the offered address.
    is_total, is_third
        The next base is the sum of this cycle; else, unless it `starts`, the address that is kept
        for axis 3, not for axis 2.
    kept
        The address that is found is kept for axis 2, and for axis 3.
    """

    moves: Signal
    starts: Value
    is_total: Signal
    is_third: Value
    kept: tuple[Signal, Signal]


def count_runs(
    m: Module, offered: data.View, fields: data.View, resting: Value, advance: Value
) -> tuple[list[Signal], list[Signal]]:
    """Counters of the runs of each axis, set for the instruction that is offered while none is.

    Returned are, for each axis, that it is at its end, and that it will be behind a step; that of
    the last is not needed.

    Parameters
    ----------
    offered, fields
        The instruction that is offered, and that in work.
    resting, advance
        No instruction is in work; the stages move.
    """
    ends, steps = [], []
    inner = Const(1)
    for axis in (1, 2, 3):
        beyond = Signal(16, reset_less=True, name=f"beyond{axis}")
        """Number of the run behind that after the next, from 0."""
        flags = data.StructLayout(dict.fromkeys(("one", "two"), 1))
        counted = Signal(flags, reset_less=True, name=f"counted{axis}")
        is_last, end = (
            Signal(reset_less=True, name=f"{name}{axis}") for name in ("next_is_last", "end")
        )
        step = Signal(name=f"end{axis}_behind_a_step")
        m.d.comb += step.eq(Mux(inner, Mux(end, counted.one, is_last), end))
        with m.If(resting):
            count = offered[f"count{axis}"]
            m.d.sync += [
                counted.one.eq(count == 1),
                counted.two.eq(count == 2),
                is_last.eq(count == 2),
                beyond.eq(3),
                end.eq(count == 1),
            ]
        with m.Elif(advance):
            m.d.sync += end.eq(step)
            with m.If(inner):
                m.d.sync += [
                    beyond.eq(Mux(end, 3, beyond + 1)),
                    is_last.eq(Mux(end, counted.two, beyond == fields[f"count{axis}"])),
                ]
        ends.append(end)
        steps.append(step)
        inner = inner & end
    return ends, steps[:2]


def choose_base(
    m: Module, ends: list[Signal], behind: list[Signal], resting: Value, advance: Value
) -> Base:
    """The base of the next step, which is known a cycle ahead: a register before the adder.

    Parameters
    ----------
    ends, behind
        Of `count_runs`.
    resting, advance
        No instruction is in work; the stages move.
    """
    moves, is_total = Signal(), Signal()
    kept = Signal(name="keeps2"), Signal(name="keeps3")
    inner, middle = behind
    m.d.comb += [
        moves.eq(resting | advance),
        kept[0].eq(resting | (advance & ends[0])),
        kept[1].eq(resting | (advance & ends[0] & ends[1])),
        is_total.eq(~resting & (~inner | (ends[0] & (ends[1] | ~middle)))),
    ]
    return Base(moves, resting, is_total, middle, kept)


def add_strides(
    m: Module,
    name: str,
    shape: ShapeLike,
    start: Value,
    strides: list[Value],
    ends: list[Signal],
    base: Base,
) -> Signal:
    """Start address of a run, for one of memory, scratchpad and partition.

    Parameters
    ----------
    name, shape
        Of the registers.
    start
        The address that is offered.
    strides
        One for each axis.
    ends
        Of `count_runs`.
    base
        Of `choose_base`.
    """
    at, augend, kept2, kept3 = (
        Signal(shape, reset_less=True, name=f"{name}_{what}")
        for what in ("at", "base", "kept2", "kept3")
    )
    total, result, other = (
        Signal(shape, name=f"{name}_{what}") for what in ("total", "result", "other")
    )
    stride = Mux(ends[0], Mux(ends[1], strides[2], strides[1]), strides[0])
    m.d.comb += [
        total.eq(augend + stride),
        result.eq(Mux(base.starts, start, total)),
        # One multiplexer between adder and register.
        other.eq(Mux(base.starts, start, Mux(base.is_third, kept3, kept2))),
    ]
    with m.If(base.moves):
        m.d.sync += [at.eq(result), augend.eq(Mux(base.is_total, total, other))]
    for register, is_kept in zip((kept2, kept3), base.kept, strict=True):
        with m.If(is_kept):
            m.d.sync += register.eq(result)
    return at
