"""One lane of the vector engine: operands, an adder, a multiplier, a cast."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.cast import Cast
from tegula.arith.fp_unit import FpUnit
from tegula.arith.pattern import PatternDecode
from tegula.arith.psum_round import PsumRound
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.lib.delay import delayed, registered
from tegula.lib.mux import select
from tegula.lib.storage import add_lut_memory
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.layouts import RANDOM_SLOTS, controls_layout

__all__ = ["ENTRY_CYCLES", "UNIT_CYCLES", "VectorLane"]

PSUM_READ_CYCLES = 1
"""Cycles from a PSUM read to its word."""

ENTRY_CYCLES = PSUM_READ_CYCLES + PsumRound.LATENCY
"""Cycles from the issue of an element until its operands arrive: the latency of a PSUM word."""

UNIT_CYCLES = FpUnit.LATENCY

_LOWEST = FP32.sign_mask | FP32.infinity
"""-Inf, where a maximum begins."""


class VectorLane(wiring.Component):
    """``cast((x op0 s0) op1 s1)`` for one partition, and the reduction of such results.

    An element passes `steps` units, the adder or the multiplier, one after the other; each also
    does the operations that are neither. `controls` drives every part in its own cycle after the
    issue of the element: `arrival` PAIR_READ_CYCLES, `entry` ENTRY_CYCLES; the units
    1 + UNIT_CYCLES * step after that; `to_cast` 1 + UNIT_CYCLES * steps. The state of the lane is
    scalars and partial results, and no more.

    Latency: ``ENTRY_CYCLES + 1 + UNIT_CYCLES * steps + CAST_CYCLES`` from issue to `word`.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    controls : In(controls_layout)
        What to do in this cycle.
    psum_word : In(psum_width)
        A PSUM word, PSUM_READ_CYCLES after the issue of its element.
    x_word, y_word : In(32)
        Words of the scratchpad, PAIR_READ_CYCLES after their request.
    number : In(32), state_word : Out(32)
        The generator beside the lane: what it draws (or shows) at entry, and what it may load.
    word : Out(32), kept : Out(1)
        The result, and whether the destination keeps what it holds.
    """

    CAST_CYCLES = Cast.LATENCY

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "controls": In(controls_layout()),
                "psum_word": In(config.psum_width),
                "x_word": In(32),
                "y_word": In(32),
                "number": In(32),
                "state_word": Out(32),
                "word": Out(32),
                "kept": Out(1),
            }
        )

    def elaborate(self, platform):
        """Arrival, entry, computation, cast."""
        m = Module()
        m.submodules.adder = adder = FpUnit("add")
        m.submodules.multiplier = multiplier = FpUnit("mul")
        x, y = self._arrive(m)
        first, second, third, random_in = self._enter(m, x, y)
        partial = self._reduce(m, adder.result)
        delayed_third = delayed(m, third, UNIT_CYCLES, name="third")
        for unit, controls in (
            (adder, self.controls.adder),
            (multiplier, self.controls.multiplier),
        ):
            before = Mux(controls.after_adder, adder.result, multiplier.result)
            a, b = Signal(32), Signal(32)
            m.d.comb += [
                a.eq(Mux(controls.first, first, before)),
                b.eq(Mux(controls.first, second, Mux(controls.twice, before, delayed_third))),
                unit.op.eq(controls.op),
                unit.a.eq(a),
                unit.b.eq(b),
            ]
            if unit is adder:
                with m.If(controls.reduce):
                    m.d.comb += unit.b.eq(partial)
                with m.If(controls.held):
                    m.d.comb += unit.a.eq(self._held)
                with m.If(controls.magnitude):
                    m.d.comb += unit.a[31].eq(0)
        self._output(m, first, adder, multiplier, random_in)
        return m

    def _arrive(self, m: Module) -> tuple[Value, Value]:
        """Patterns of the words, at entry; where y arrived later than x, x has been held."""
        arrival = self.controls.arrival
        m.submodules.x_decode = x_decode = PatternDecode(self._config)
        m.submodules.y_decode = y_decode = PatternDecode(self._config)
        held = Signal(32, reset_less=True)
        with m.If(arrival.hold):
            m.d.sync += held.eq(self.x_word)
        m.d.comb += [
            x_decode.word.eq(Mux(arrival.late, held, self.x_word)),
            x_decode.format.eq(arrival.x_format),
            y_decode.word.eq(self.y_word),
            y_decode.format.eq(arrival.y_format),
        ]
        cycles = ENTRY_CYCLES - PAIR_READ_CYCLES
        return (
            delayed(m, x_decode.pattern, cycles, name="x"),
            delayed(m, y_decode.pattern, cycles, name="y"),
        )

    def _enter(self, m: Module, x: Value, y: Value) -> tuple[Value, ...]:
        """Registered operands, and the random bits of the element, as they arrive."""
        entry = self.controls.entry
        m.submodules.rounder = rounder = PsumRound(self._config.acc_width)
        uniform = Cat(self.number[9:], C(FP32.one >> FP32.mantissa_bits, 9))
        pattern = Signal(32)
        m.d.comb += [
            rounder.word.eq(self.psum_word),
            self.state_word.eq(x),
            pattern.eq(
                select(
                    [
                        rounder.fp32,
                        x,
                        entry.value,
                        Mux(entry.number, self.number, uniform),
                    ],
                    entry.source,
                )
            ),
        ]
        scalar0, scalar1 = Signal(32, reset_less=True), Signal(32, reset_less=True)
        with m.If(entry.scalar0):
            m.d.sync += scalar0.eq(pattern)
        with m.If(entry.scalar1):
            m.d.sync += scalar1.eq(pattern)
        second = Mux(entry.self0, pattern, Mux(entry.y0, y, scalar0))
        third = Mux(entry.y1, y, scalar1)
        return (
            registered(m, pattern, name="first"),
            registered(m, second, name="second"),
            registered(m, third, name="third_0"),
            Mux(entry.given, y[:16], self.number[:16]),
        )

    def _reduce(self, m: Module, total: Value) -> Value:
        """Memory of partial results; the one with which the adder combines an element."""
        controls = self.controls.partial
        stored = add_lut_memory(
            m,
            "partials",
            32,
            16,
            write=(controls.write, controls.write_addr, total),
            read=controls.addr,
        )
        value = Signal(32)
        self._held = Signal(32, reset_less=True)
        m.d.comb += value.eq(Mux(controls.identity, Mux(controls.lowest, _LOWEST, 0), stored))
        with m.If(controls.hold):
            m.d.sync += self._held.eq(value)
        return value

    def _output(self, m: Module, first: Value, adder, multiplier, random_in: Value) -> None:
        """Cast of the last step's result, with the random bits that were kept at entry."""
        entry, to_cast = self.controls.entry, self.controls.to_cast
        m.submodules.cast = cast = Cast(self._config)
        random = add_lut_memory(
            m,
            "random",
            16,
            RANDOM_SLOTS,
            write=(entry.keep, entry.slot, random_in),
            read=to_cast.slot,
        )
        result = Mux(to_cast.from_adder, adder.result, multiplier.result)
        kept = Mux(to_cast.from_adder, adder.kept, multiplier.kept)
        m.d.comb += [
            cast.fp32.eq(Mux(to_cast.steps, result, first)),
            cast.random.eq(random),
            cast.stochastic.eq(to_cast.stochastic),
            cast.saturate.eq(to_cast.saturate),
            cast.format.eq(to_cast.format),
            self.word.eq(cast.code),
        ]
        m.d.comb += self.kept.eq(delayed(m, to_cast.steps & kept, self.CAST_CYCLES, name="kept"))
