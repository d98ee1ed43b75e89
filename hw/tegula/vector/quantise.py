"""The sequencer's part of vector.quantise: what of its fields differs from vector.compute."""

from typing import NamedTuple

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data

from tegula.arith.mx import kind_layout
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout
from tegula.formats import E5M2, MX_BLOCK
from tegula.isa.operations import Half

__all__ = ["Moves", "hold_block_work", "packed_half", "plan_moves"]


def _quantise_fields(work: data.View) -> data.View:
    """The fields of an instruction in work as those of a vector.quantise."""
    return data.View(payload_layout("vector.quantise"), work.fields.as_value())


def _is_packed(state: data.View) -> Value:
    return state.quantises & _quantise_fields(state.work).packed


def packed_half(state: data.View) -> Value:
    """The half of a word that the next element takes, of any instruction."""
    odd = Mux(state.partial[0], Half.HIGH, Half.LOW)
    return Mux(_is_packed(state), odd, state.work.fields.half)


class Moves(NamedTuple):
    """What an element changes: addresses of `y` (or a scale) and `destination`; the `block`."""

    y: Value
    destination: Value
    block: Value


def plan_moves(m: Module, config: TileConfig, state: data.View) -> Moves:
    """What is another with the element after the next one.

    Of packed elements each second has a destination of its own. A scale's address changes behind
    the last element of a whole block.
    """
    if not config.mx:
        return Moves(Const(1), state.work.writes, Const(0))
    block, destination = Signal(name="block_moves"), Signal(name="destination_moves")
    m.d.comb += [
        block.eq(state.quantises & (state.in_block == MX_BLOCK - 1)),
        destination.eq(state.work.writes & (~_is_packed(state) | state.partial[0])),
    ]
    return Moves(~state.quantises | block, destination, block)


def hold_block_work(
    m: Module,
    state: data.View,
    starts: Value,
    quantises: Value,
    offered: data.View,
    block_work: data.View,
) -> None:
    """What the queue of blocks knows of an instruction, from the cycle after its start on.

    Parameters
    ----------
    starts, quantises, offered
        An instruction with this work starts; it is a vector.quantise.
    block_work
        `block_work_layout`; but for `on` it stays until the next vector.quantise starts.
    """
    fields, begins = _quantise_fields(offered), Signal()
    kind = Signal(kind_layout(), reset_less=True)
    addr = Signal.like(block_work.scale_addr, reset_less=True)
    step = Signal.like(block_work.scale_step, reset_less=True)
    m.d.comb += begins.eq(starts & quantises)
    m.d.sync += block_work.begins.eq(begins)
    with m.If(starts):
        m.d.sync += state.quantises.eq(quantises)
    with m.If(begins):
        m.d.sync += [
            state.in_block.eq(0),
            kind.e2m1.eq(fields.e2m1),
            kind.e5m2.eq(fields.format == E5M2.code),
            kind.rule.eq(fields.rule),
            addr.eq(fields.scale_dst),
            step.eq(fields.scale_stride),
        ]
    m.d.comb += [
        block_work.on.eq(state.quantises),
        block_work.kind.eq(kind),
        block_work.scale_addr.eq(addr),
        block_work.scale_step.eq(step),
    ]
