"""One lane of the activation engine: scale and bias, the function, the cast."""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.cubic import Cubic
from tegula.activation.finish import Finish
from tegula.activation.layouts import beats, controls_layout
from tegula.activation.range_reduction import Argument
from tegula.activation.table import FunctionTable, table_write_layout
from tegula.arith.cast import Cast
from tegula.arith.combine import SLOTS
from tegula.arith.fp32 import Fp32Fields
from tegula.arith.fp_add import FpAdd
from tegula.arith.fp_mul import FpMul
from tegula.arith.pattern import PatternDecode, select_format
from tegula.config import TileConfig
from tegula.lib.delay import delayed, gated, registered
from tegula.lib.storage import add_lut_memory
from tegula.memory.bank import NO_RW_CHECK
from tegula.memory.halves import low_code

__all__ = ["ActivationLane", "LaneCycles"]


class LaneCycles:
    """Cycles from an item at a lane's input to the stages of the lane."""

    SCALE = 1
    """The item is decoded, and enters the multiplier."""

    BIAS = SCALE + FpMul.LATENCY
    """Product and bias are chosen, and enter the adder in the next cycle."""

    ARGUMENT = BIAS + 1 + FpAdd.LATENCY
    TABLE = ARGUMENT + Argument.LATENCY
    CUBIC = TABLE + FunctionTable.LATENCY
    FINISH = CUBIC + Cubic.LATENCY
    RESULT = FINISH + Finish.LATENCY

    SUM = RESULT + 1 + (RESULT - BIAS) % 2
    """The result is chosen instead, an odd number of cycles after its bias: items that come every
    second cycle do not collide there."""

    SUM_READ = SUM - 1
    """Its partial sum is read."""

    SUM_OUT = SUM + 1 + FpAdd.LATENCY
    WORD = RESULT + Cast.LATENCY


class ActivationLane(wiring.Component):
    """``cast(f(x * scale + bias))``, and the sum of such results before the cast.

    It serves ``n / activation_lanes`` partitions in turn. Latency: `LaneCycles.WORD`. Throughput:
    an element a cycle; with a sum one every two cycles, for one adder makes both additions.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    word : In(32)
        An element, as it is in the scratchpad.
    controls : In(controls_layout)
        What to do in this cycle.
    write_en : In(1), write : In(table_write_layout)
        Load the function table.
    result : Out(32)
        The code, in the low bits.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "word": In(32),
                "controls": In(controls_layout(config)),
                "write_en": In(1),
                "write": In(table_write_layout()),
                "result": Out(32),
            }
        )

    def elaborate(self, platform):
        """Decoder, scale, bias, function, sum, cast."""
        m = Module()
        m.submodules.adder = adder = FpAdd()
        m.submodules.cast = cast = Cast(self._config)
        product = self._scale(m)
        result = self._evaluate(m, adder.result)
        self._add(m, adder, product, result)
        to_cast = self.controls.to_cast
        m.d.comb += [
            cast.fp32.eq(Mux(to_cast.total, adder.result, result)),
            cast.format.eq(to_cast.format),
            cast.saturate.eq(to_cast.saturate),
            self.result.eq(cast.code),
        ]
        return m

    def _remember(self, m: Module, name: str, pattern: Value) -> Value:
        """Scalar of this beat's partition, out of the memory of scalars."""
        controls = self.controls[name]
        return add_lut_memory(
            m,
            f"{name}s",
            len(pattern),
            beats(self._config),
            write=(controls.write, controls.beat, pattern),
            read=controls.beat,
        )

    def _scale(self, m: Module) -> Value:
        """The decoded and scaled word; a bias passes as it is."""
        m.submodules.decode = decode = PatternDecode(self._config)
        m.submodules.multiplier = multiplier = FpMul()
        entry, passes = self.controls.entry, self.controls.scale.passes
        arriving = self.word
        if self._config.packed_fp8:
            arriving = low_code(self.word, entry.x_high)
        m.d.comb += [
            decode.word.eq(arriving),
            decode.selection.eq(select_format(entry.x_format, self._config)),
        ]
        # With the hidden bit in front: there is no time to find it before the multiplier.
        word = Cat(decode.pattern, decode.normal)
        constant = Cat(entry.value, Fp32Fields.of(entry.value).normal)
        x = registered(m, Mux(entry.constant, constant, word), name="x")
        scale = self._remember(m, "scale", x)
        pattern = x[:32]
        kept = gated(m, pattern, passes, name="bias")
        m.d.comb += [
            multiplier.a.eq(pattern),
            multiplier.a_normal.eq(x[32]),
            multiplier.b.eq(scale[:32]),
            multiplier.b_normal.eq(scale[32]),
            multiplier.keep.eq(passes),
            multiplier.kept.eq(delayed(m, kept, FpMul.KEPT_CYCLES - 1, name="bias_later")),
        ]
        return multiplier.result

    def _evaluate(self, m: Module, z: Value) -> Value:
        """The function's value at z."""
        m.submodules.argument = argument = Argument()
        m.submodules.table = table = FunctionTable(self._config)
        m.submodules.cubic = cubic = Cubic()
        m.submodules.finish = finish = Finish()
        segment = table.segment
        for part, value in (
            (finish.segment.entry.c0, segment.entry.c0),
            *((finish.segment[name], segment[name]) for name in Finish.FIELDS),
        ):
            m.d.comb += part.eq(delayed(m, Value.cast(value), Cubic.LATENCY, name="segment"))
        m.d.comb += [
            argument.z.eq(z),
            argument.exp.eq(self.controls.exp),
            argument.odd.eq(self.controls.odd),
            table.argument.eq(argument.argument),
            table.function.eq(self.controls.function),
            table.write_en.eq(self.write_en),
            table.write.eq(self.write),
            cubic.segment.eq(table.segment),
            finish.value.eq(cubic.value),
        ]
        return finish.result

    def _add(self, m: Module, adder: FpAdd, product: Value, result: Value) -> None:
        """Sum of product and bias; in cycles without a bias that of a result and a partial sum."""
        controls = self.controls.sum
        bias = self._remember(m, "bias", product)
        m.submodules.sums = sums = memory.Memory(
            shape=32, depth=beats(self._config) * SLOTS, init=[], attrs=NO_RW_CHECK
        )
        read, write = sums.read_port(), sums.write_port()
        partial, fresh = read.data, controls.fresh
        # The one that is held enters in the next cycle, when there is no result.
        held = gated(m, partial, controls.hold & ~fresh, name="held")
        result = delayed(m, result, LaneCycles.SUM - LaneCycles.RESULT - 1, name="result")
        result = gated(m, result, ~controls.hold, name="result_or_held") | held
        partial = partial & (~fresh).replicate(32)
        m.d.comb += [
            read.en.eq(1),
            read.addr.eq(controls.read),
            write.en.eq(controls.write),
            write.addr.eq(controls.write_addr),
            write.data.eq(adder.result),
            *adder.assign_operands(
                registered(m, Mux(controls.enter, result, product), name="a"),
                registered(m, Mux(controls.enter, partial, bias), name="b"),
            ),
        ]
