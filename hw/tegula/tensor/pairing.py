"""Pair of formats of a matmul: the anchor of its packed operands, or that they are refused."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.engine.interface import payload_layout

__all__ = ["PackedPair"]


class PackedPair(wiring.Component):
    """Formats of the stationary operands that are packed, and what a matmul makes of them.

    Combinational from `matmul` and `fresh`.

    Parameters
    ----------
    config
        The tile, with `packed_fp8`.

    Members
    -------
    load : In(payload of tensor.load), loads : In(1)
        The operand that enters the chain from now on, and that it does.
    matmul : In(payload of tensor.matmul), fresh : In(1), multiplies : In(1)
        A matmul, whether it takes the operand in the chain, and that it starts.
    anchor : Out(9)
        The least anchor of its sums, 0 unless both operands are packed.
    refused : Out(1)
        Both are packed, in formats that are no pair (numerics, section 3.10).
    """

    def __init__(self, config: TileConfig):
        self.config = config
        super().__init__(
            {
                "load": In(payload_layout("tensor.load")),
                "loads": In(1),
                "matmul": In(payload_layout("tensor.matmul")),
                "fresh": In(1),
                "multiplies": In(1),
                "anchor": Out(9),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        """Operand in the chain, operand in use, and the pair."""
        m = Module()
        formats = self.config.fp8_formats
        in_chain, in_use, stationary = (
            Signal(len(formats), name=name) for name in ("in_chain", "in_use", "stationary")
        )
        m.d.comb += stationary.eq(Mux(self.fresh, in_chain, in_use))
        with m.If(self.loads):
            m.d.sync += in_chain.eq(self._packed_format(self.load))
        with m.If(self.multiplies):
            m.d.sync += in_use.eq(stationary)
        moving = Signal(len(formats))
        m.d.comb += [
            moving.eq(self._packed_format(self.matmul)),
            self.refused.eq(stationary.any() & moving.any()),
        ]
        for (left, right), anchor in self.config.packed_pairs.items():
            with m.If(stationary[formats.index(left)] & moving[formats.index(right)]):
                m.d.comb += [self.anchor.eq(anchor), self.refused.eq(0)]
        return m

    def _packed_format(self, fields: data.View):
        """Format of an instruction's operand, one-hot; 0 if it is not packed."""
        chosen = Cat(fields.format == fmt.code for fmt in self.config.fp8_formats)
        return chosen & fields.packed.replicate(len(self.config.fp8_formats))
