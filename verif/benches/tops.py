"""Toplevels of the block benches: a block with what it needs around it, behind flat ports."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.decode import OperandDecode
from tegula.array.array import SystolicArray
from tegula.config import TileConfig

__all__ = ["ArrayTop"]


class ArrayTop(wiring.Component):
    """The systolic array behind its operand decoders: codes in, PSUM words out.

    Decoding is combinational, so all latencies are the array's own (`SystolicArray`).

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving, stationary : In(n x 16)
        Codes of a moving column, and of a column of the stationary operand.
    moving_rows, stationary_rows : In(6), moving_format, stationary_format : In(3)
        Rows that take part (the others are zero), and the codes' format.
    swap, shift, words_in, accumulate, words_out
        Of `SystolicArray`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        codes = data.ArrayLayout(16, config.n)
        words = data.ArrayLayout(config.psum_width, config.n)
        super().__init__(
            {
                "moving": In(codes),
                "moving_rows": In(6),
                "moving_format": In(3),
                "swap": In(1),
                "stationary": In(codes),
                "stationary_rows": In(6),
                "stationary_format": In(3),
                "shift": In(1),
                "words_in": In(words),
                "accumulate": In(config.n),
                "words_out": Out(words),
            }
        )

    def elaborate(self, platform):
        """Decode both operands, connect the rest."""
        m = Module()
        m.submodules.array = array = SystolicArray(self._config)
        for side in ("moving", "stationary"):
            codes, operands = getattr(self, side), getattr(array, side)
            for lane in range(self._config.n):
                m.submodules[f"{side}_decode_{lane}"] = decode = OperandDecode(self._config)
                m.d.comb += [
                    decode.code.eq(codes[lane]),
                    decode.format.eq(getattr(self, f"{side}_format")),
                    decode.enable.eq(lane < getattr(self, f"{side}_rows")),
                    operands[lane].eq(decode.operand),
                ]
        m.d.comb += [
            array.swap.eq(self.swap),
            array.shift.eq(self.shift),
            array.words_in.eq(self.words_in),
            array.accumulate.eq(self.accumulate),
            self.words_out.eq(array.words_out),
        ]
        return m
