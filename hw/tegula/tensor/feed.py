"""Rows of the scratchpad on their way into the array."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.lib.delay import delayed
from tegula.memory.ports import TENSOR_READ_CYCLES
from tegula.tensor.operand import OperandRow, operand_layout
from tegula.tensor.packed import SecondRow, second_code_layout

__all__ = ["FEED_CYCLES", "OperandFeed"]

FEED_CYCLES = TENSOR_READ_CYCLES + 1
"""Cycles from a row's request to the array: scratchpad, and the register behind the decoders."""


class OperandFeed(wiring.Component):
    """Row of words to operands, in time with the scratchpad.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    rows : In(PARTITION_BITS), format : In(FORMAT_BITS), packed : In(1)
        With the request of a row: how many lanes take part, their `FloatFormat.code`, and whether
        their words are two codes each (ignored without `packed_fp8`).
    codes : In(ArrayLayout(16, n))
        The row, `TENSOR_READ_CYCLES` later.
    operands : Out(ArrayLayout(operand_layout, n))
        Its operands, `FEED_CYCLES` after the request.
    seconds : Out(ArrayLayout(second_code_layout(config), n))
        Its second codes, with them; only with `packed_fp8`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        seconds = {}
        if config.packed_fp8:
            seconds["seconds"] = Out(data.ArrayLayout(second_code_layout(config), config.n))
        super().__init__(
            {
                "rows": In(PARTITION_BITS),
                "format": In(FORMAT_BITS),
                "packed": In(1),
                "codes": In(data.ArrayLayout(16, config.n)),
                "operands": Out(data.ArrayLayout(operand_layout, config.n)),
                **seconds,
            }
        )

    def elaborate(self, platform):
        """Attributes as late as the row, and its rows of codes."""
        m = Module()
        attributes = delayed(
            m, Cat(self.rows, self.format, self.packed), TENSOR_READ_CYCLES - 1, name="attributes"
        )
        rows, fmt, packed = (
            attributes[:PARTITION_BITS],
            attributes[PARTITION_BITS:-1],
            attributes[-1],
        )
        m.submodules.first = first = OperandRow(self._config)
        m.d.comb += [
            first.codes.eq(self.codes),
            first.rows.eq(rows),
            first.format.eq(fmt),
            self.operands.eq(first.operands),
        ]
        if self._config.packed_fp8:
            m.submodules.second = second = SecondRow(self._config)
            m.d.comb += [
                second.codes.eq(self.codes),
                second.rows.eq(rows),
                second.format.eq(fmt),
                second.packed.eq(packed),
                self.seconds.eq(second.seconds),
            ]
        return m
