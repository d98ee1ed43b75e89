"""Scales of the columns of block-scaled operands: contract section 3.11."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.isa.tensor import SCALE_ROW_BITS
from tegula.lib.delay import delayed, registered
from tegula.memory.bank import NO_RW_CHECK
from tegula.memory.ports import TENSOR_READ_CYCLES
from tegula.tensor.operand import operand_layout
from tegula.tensor.packed import second_code_layout

__all__ = [
    "LEAST_SUM",
    "SUM_BITS",
    "ColumnScale",
    "ScaleElement",
    "ScaleReader",
    "ScaleRow",
    "scale_layout",
]

_UNIT_CODE = 127
_NAN_CODE = 255

LEAST_SUM = -254
"""Sum of the scales of a zero column."""

SUM_BITS = 10
"""Bits of a sum of two scales: -254 to 254."""

scale_layout = data.StructLayout({"power": signed(8), "zero": 1, "nan": 1})
"""Scale of a column: ``2**power``; `zero` says that it is a zero column, `nan` that it is NaN.

All zeros where the operand is not scaled; of NaN, `power` is undefined.
"""


class ScaleRow(wiring.Signature):
    """Write of a row of the scale buffer.

    Members
    -------
    en : Out(1), row : Out(SCALE_ROW_BITS), codes : Out(ArrayLayout(8, n))
        The row, and its E8M0 codes.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "en": Out(1),
                "row": Out(SCALE_ROW_BITS),
                "codes": Out(data.ArrayLayout(8, config.n)),
            }
        )


class ScaleReader(wiring.Component):
    """Copy of the scale buffer, read column by column of one operand.

    Column i of an operand has lane ``i mod N`` of row ``row + i div N``. One column a cycle.
    Latency: ``TENSOR_READ_CYCLES + 1`` from a column's request to its code, as of its operands.

    Parameters
    ----------
    config
        The tile, with `mx`.

    Members
    -------
    write : In(ScaleRow(config))
        A row of the buffer; columns that are requested after it find it.
    column : In(1), first : In(1)
        A column is requested in this cycle; the first of its operand.
    row : In(SCALE_ROW_BITS)
        With the first column: its row.
    code : Out(8)
        The code of the column.
    """

    def __init__(self, config: TileConfig):
        self._n = config.n
        super().__init__(
            {
                "write": In(ScaleRow(config)),
                "column": In(1),
                "first": In(1),
                "row": In(SCALE_ROW_BITS),
                "code": Out(8),
            }
        )

    def elaborate(self, platform):
        """Place of the next column, the row, and its lane."""
        m = Module()
        lane_bits = (self._n - 1).bit_length()
        place, following = Signal(SCALE_ROW_BITS + lane_bits), Signal(SCALE_ROW_BITS + lane_bits)
        # N is a power of two: a row is followed by lane 0 of the next one.
        m.d.comb += place.eq(Mux(self.first, self.row << lane_bits, following))
        with m.If(self.column):
            m.d.sync += following.eq(place + 1)
        late = delayed(m, place, TENSOR_READ_CYCLES, name="place")
        m.submodules.rows = rows = memory.Memory(
            shape=self.write.codes.shape(), depth=1 << SCALE_ROW_BITS, init=[], attrs=NO_RW_CHECK
        )
        read, write = rows.read_port(), rows.write_port()
        lane = registered(m, late[:lane_bits], name="lane")
        m.d.comb += [
            write.en.eq(self.write.en),
            write.addr.eq(self.write.row),
            write.data.eq(self.write.codes),
            read.addr.eq(late[lane_bits:]),
            self.code.eq(read.data[lane]),
        ]
        return m


class ColumnScale(wiring.Component):
    """Scale of a column of an operand, whose codes say whether it is a zero column.

    Combinational: latency 0.

    Parameters
    ----------
    config
        The tile, with `mx`.

    Members
    -------
    operands : In(ArrayLayout(operand_layout, n))
    seconds : In(ArrayLayout(second_code_layout(config), n))
        The column.
    scaled : In(1), code : In(8), absent : In(1)
        Whether its operand is scaled, its E8M0 code, and whether it has none, which is one of 1.
    scale : Out(scale_layout)
        What the array adds.
    """

    def __init__(self, config: TileConfig):
        self._n = config.n
        super().__init__(
            {
                "operands": In(data.ArrayLayout(operand_layout, config.n)),
                "seconds": In(data.ArrayLayout(second_code_layout(config), config.n)),
                "scaled": In(1),
                "code": In(8),
                "absent": In(1),
                "scale": Out(scale_layout),
            }
        )

    def elaborate(self, platform):
        """Zeros of all lanes; the code without its bias."""
        m = Module()
        counts = []
        for lane in range(self._n):
            operand, second = self.operands[lane], self.seconds[lane]
            counts += [~operand.zero | operand.special]
            counts += [second.selection.any() & second.code[:-1].any()]
        with m.If(self.scaled):
            m.d.comb += self.scale.zero.eq(~Cat(counts).any())
        with m.If(self.scaled & ~self.absent):
            m.d.comb += [
                self.scale.power.eq((self.code - _UNIT_CODE)[:8]),
                self.scale.nan.eq(self.code == _NAN_CODE),
            ]
        return m


class ScaleElement(wiring.Component):
    """Scale of the outputs of a column of the array, above its first PE and in time with it.

    One moving column a cycle: its scale reaches the next column after one, as its operands do.
    The sum follows the moving scale by two cycles.

    Members
    -------
    moving_in : In(scale_layout), moving_out : Out(scale_layout)
        Scale of the moving column, with the head of its operands, and the same a cycle later.
    swap : In(1)
        With a moving column: it and later ones meet the scale in the shift chain.
    shift : In(1)
        The chain of stationary scales takes what is at its input.
    stationary_in : In(scale_layout), stationary_out : Out(scale_layout)
        The chain; the output is a register.
    sum : Out(signed(SUM_BITS)), nan : Out(1)
        sigma of the output, and whether a scale is NaN.
    """

    def __init__(self):
        super().__init__(
            {
                "moving_in": In(scale_layout),
                "moving_out": Out(scale_layout),
                "swap": In(1),
                "shift": In(1),
                "stationary_in": In(scale_layout),
                "stationary_out": Out(scale_layout),
                "sum": Out(signed(SUM_BITS)),
                "nan": Out(1),
            }
        )

    def elaborate(self, platform):
        """Registers of both scales, and their sum."""
        m = Module()
        moving, chain, stationary = (
            Signal(scale_layout, name=name, reset_less=True)
            for name in ("moving", "chain", "stationary")
        )
        total = Signal(signed(SUM_BITS), reset_less=True)
        nan = Signal(reset_less=True)
        with m.If(self.shift):
            m.d.sync += chain.eq(self.stationary_in)
        with m.If(self.swap):
            m.d.sync += stationary.eq(chain)
        m.d.sync += [
            moving.eq(self.moving_in),
            total.eq(
                Mux(moving.zero | stationary.zero, LEAST_SUM, moving.power + stationary.power)
            ),
            nan.eq(moving.nan | stationary.nan),
        ]
        m.d.comb += [
            self.moving_out.eq(moving),
            self.stationary_out.eq(chain),
            self.sum.eq(total),
            self.nan.eq(nan),
        ]
        return m
