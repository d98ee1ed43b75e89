"""Pair of formats of a matmul: the anchor of its packed operands, or that they are refused."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.codes import narrow_selection
from tegula.config import TileConfig
from tegula.engine.interface import payload_layout

__all__ = ["PackedPair"]


class PackedPair(wiring.Component):
    """Format of the stationary operand, if it is packed, and what a matmul makes of it.

    A matmul multiplies by the operand that was loaded last. Combinational from `matmul`.

    Parameters
    ----------
    config
        The tile, with `packed_fp8`.

    Members
    -------
    load : In(payload of tensor.load), loads : In(1)
        An operand, and that it is loaded.
    matmul : In(payload of tensor.matmul)
        A matmul.
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
                "anchor": Out(9),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        """Format of the operand that was loaded last, and the pair."""
        m = Module()
        formats = self.config.fp8_formats
        stationary, moving = Signal(len(formats)), Signal(len(formats))
        with m.If(self.loads):
            m.d.sync += stationary.eq(self._packed_format(self.load))
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
        chosen = narrow_selection(fields.format, self.config)
        return chosen & fields.packed.replicate(len(chosen))
