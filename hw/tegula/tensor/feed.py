"""Rows of the scratchpad on their way into the array."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.instructions import PARTITION_BITS
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula.lib.delay import delayed
from tegula.memory.ports import TENSOR_READ_CYCLES
from tegula.tensor.operand import OperandRow, operand_layout
from tegula.tensor.packed import SecondRow, second_code_layout
from tegula.tensor.scales import ColumnScale, ScaleReader, ScaleRow, scale_layout

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
    column : In(1), first : In(1), absent : In(1)
        With the request, and only with `mx`, as the rest: it is a column of an operand; the first
        one; one that takes no part and has no code.
    scaled : In(1), scale_row : In(SCALE_ROW_BITS)
        Whether the operand is scaled, and the row of its first codes.
    scale_write : In(ScaleRow(config))
        A row of the scale buffer.
    scale : Out(scale_layout)
        Scale of the column, with its operands.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        seconds = {}
        if config.packed_fp8:
            seconds["seconds"] = Out(data.ArrayLayout(second_code_layout(config), config.n))
        scales = {
            "column": In(1),
            "first": In(1),
            "absent": In(1),
            "scaled": In(1),
            "scale_row": In(SCALE_ROW_BITS),
            "scale_write": In(ScaleRow(config)),
            "scale": Out(scale_layout),
        }
        super().__init__(
            {
                "rows": In(PARTITION_BITS),
                "format": In(FORMAT_BITS),
                "packed": In(1),
                "codes": In(data.ArrayLayout(16, config.n)),
                "operands": Out(data.ArrayLayout(operand_layout, config.n)),
                **seconds,
                **(scales if config.mx else {}),
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
        if self._config.mx:
            self._add_scale(m)
        return m

    def _add_scale(self, m):
        """The column's code, and what it is worth, in time with its operands."""
        m.submodules.reader = reader = ScaleReader(self._config)
        m.submodules.scale = scale = ColumnScale(self._config)
        connect(m, flipped(self.scale_write), reader.write)
        m.d.comb += [
            reader.column.eq(self.column),
            reader.first.eq(self.first),
            reader.row.eq(self.scale_row),
            scale.code.eq(reader.code),
            scale.scaled.eq(delayed(m, self.scaled, FEED_CYCLES, name="scaled")),
            scale.absent.eq(delayed(m, self.absent, FEED_CYCLES, name="absent")),
            scale.operands.eq(self.operands),
            scale.seconds.eq(self.seconds),
            self.scale.eq(scale.scale),
        ]
