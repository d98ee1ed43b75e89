"""Pair of formats of a matmul: the least anchor of its operands, or that they are refused."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import narrow_selection
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout

__all__ = ["OperandPair"]

_SCALED_ANCHOR = 256
"""Least anchor of scaled operands that are not both packed."""


class OperandPair(wiring.Component):
    """What the last operand that was loaded and a matmul make of each other.

    Combinational from `matmul` and `fresh`. A load that does not come to its end changes nothing:
    no matmul multiplies by its operand.

    Parameters
    ----------
    config
        The tile, with `packed_fp8`.

    Members
    -------
    load : In(payload of tensor.load), loads : In(1)
        An operand, and that it is loaded.
    matmul : In(payload of tensor.matmul), multiplies : In(1)
        A matmul, and that it is accepted.
    fresh : In(1)
        With the matmul: it multiplies by the operand that was loaded last.
    anchor : Out(9)
        The least anchor of its sums, 0 unless both operands are packed or one is scaled.
    refused : Out(1)
        Both are packed in formats that are no pair (numerics, section 3.10), or one is scaled and
        one of bf16 (section 3.11).
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "load": In(payload_layout("tensor.load")),
                "loads": In(1),
                "matmul": In(payload_layout("tensor.matmul")),
                "multiplies": In(1),
                "fresh": In(1),
                "anchor": Out(9),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        """Attributes of the operands that were loaded and multiplied last, and the pair."""
        m = Module()
        formats = self.config.fp8_formats
        layout = data.StructLayout({"packed": len(formats), "scaled": 1, "narrow": 1})
        loaded, used = Signal(layout), Signal(layout)
        stationary, moving = Signal(layout), Signal(layout)
        with m.If(self.loads):
            m.d.sync += self._attributes(loaded, self.load)
        with m.If(self.multiplies & self.fresh):
            m.d.sync += used.eq(loaded)
        m.d.comb += [
            stationary.eq(Mux(self.fresh, loaded, used)),
            *self._attributes(moving, self.matmul),
            self.refused.eq(stationary.packed.any() & moving.packed.any()),
        ]
        if self.config.mx:
            scaled = Signal()
            m.d.comb += scaled.eq(stationary.scaled | moving.scaled)
            with m.If(scaled):
                m.d.comb += self.anchor.eq(_SCALED_ANCHOR)
        for (left, right), anchor in self.config.packed_pairs.items():
            with m.If(stationary.packed[formats.index(left)] & moving.packed[formats.index(right)]):
                m.d.comb += [self.anchor.eq(anchor), self.refused.eq(0)]
        if self.config.mx:
            with m.If(scaled & ~(stationary.narrow & moving.narrow)):
                m.d.comb += self.refused.eq(1)
        return m

    def _attributes(self, attributes, fields: data.View):
        """Assignments of an instruction's operand: its format, one-hot, if it is packed."""
        chosen = narrow_selection(fields.format, self.config)
        return [
            attributes.packed.eq(chosen & fields.packed.replicate(len(chosen))),
            attributes.scaled.eq(fields.scaled),
            attributes.narrow.eq(chosen.any()),
        ]
