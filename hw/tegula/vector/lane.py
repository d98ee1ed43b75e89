"""One lane of the vector engine: operands, an adder, a multiplier, a cast."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.cast import Cast
from tegula.arith.combine import SLOTS
from tegula.arith.fp32 import FRACTION_BITS
from tegula.arith.fp_unit import FpUnit
from tegula.arith.mx import compressed_layout
from tegula.arith.pattern import PatternDecode
from tegula.arith.psum_round import PsumRound
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.lib.delay import delayed, gated, registered
from tegula.lib.mux import select
from tegula.lib.storage import add_lut_memory
from tegula.memory.halves import low_code
from tegula.memory.ports import PAIR_READ_CYCLES
from tegula.vector.layouts import LOWEST, RANDOM_SLOTS, THIRD_SLOTS, ZERO, controls_layout
from tegula.vector.scaler import BlockScaler

__all__ = [
    "DECODE_CYCLES",
    "ENTRY_CYCLES",
    "OPERAND_CYCLES",
    "PSUM_READ_CYCLES",
    "THIRD_CYCLES",
    "UNIT_CYCLES",
    "VectorLane",
]

PSUM_READ_CYCLES = 1
"""Cycles from a PSUM read to its word."""

ENTRY_CYCLES = PSUM_READ_CYCLES + PsumRound.LATENCY
"""Cycles from the issue of an element until its operands arrive: the latency of a PSUM word."""

OPERAND_CYCLES = ENTRY_CYCLES - 1
"""Cycles from the issue of an element to the last register before that."""

DECODE_CYCLES = OPERAND_CYCLES - PatternDecode.LATENCY
"""Cycles from the issue of an element until its words are decoded."""

UNIT_CYCLES = FpUnit.LATENCY

THIRD_CYCLES = UNIT_CYCLES - 2
"""Cycles from the second operand of step 0, in its unit, to the control of that of step 1."""

_LOWEST = FP32.sign_mask | FP32.infinity
"""-Inf, where a maximum begins."""

_ADDER, _MULTIPLIER, _CAST = range(3)
"""Bits of `takes`, and copies of what is taken."""


class VectorLane(wiring.Component):
    """``cast((x op0 s0) op1 s1)`` for one partition, and the reduction of such results.

    It serves `vector_folding` partitions in turn.

    An element passes `steps` units, the adder or the multiplier, one after the other; each also
    does the operations that are neither. `controls` drives every part in its own cycle after the
    issue of the element: `psum` PSUM_READ_CYCLES, `arrival` PAIR_READ_CYCLES, `decode`
    DECODE_CYCLES, `operands` OPERAND_CYCLES, `entry` ENTRY_CYCLES (its `third` 1 + THIRD_CYCLES
    later); the units 1 + UNIT_CYCLES * step after that, their `takes` a cycle before; `to_cast`
    1 + UNIT_CYCLES * steps. The state of the lane is scalars and partial results, and no more.

    Whatever enters a unit or the cast comes out of registers of its own, which are 0 for all other
    cycles: their resets select, an OR joins them, and no multiplexer is needed.

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
    stored : Out(compressed_layout()), fetched : In(compressed_layout())
        Only with `mx`: numbers to and from the queue of blocks (`BlockScaler`).
    """

    CAST_CYCLES = Cast.LATENCY

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "controls": In(controls_layout(config)),
                "psum_word": In(config.psum_width),
                "x_word": In(32),
                "y_word": In(32),
                "number": In(32),
                "state_word": Out(32),
                "word": Out(32),
                "kept": Out(1),
                **(
                    {"stored": Out(compressed_layout()), "fetched": In(compressed_layout())}
                    if config.mx
                    else {}
                ),
            }
        )

    def elaborate(self, platform):
        """Arrival, entry, computation, cast."""
        m = Module()
        m.submodules.adder = adder = FpUnit("add", copies=2)
        m.submodules.multiplier = multiplier = FpUnit("mul", copies=2)
        x, y = self._arrive(m)
        first, second, number, random_in = self._enter(m, x, y)
        partial, held = self._reduce(m, adder.result)
        for unit, index, controls, others in (
            (adder, _ADDER, self.controls.adder, (partial, held)),
            (multiplier, _MULTIPLIER, self.controls.multiplier, (0, 0)),
        ):
            a = first[index] | adder.copies[index] | multiplier.copies[index] | others[1]
            b = (a & controls.same.replicate(32)) | second[index] | others[0]
            m.d.comb += [
                unit.operation.eq(controls.operation),
                unit.a.eq(a),
                unit.b.eq(b),
                unit.takes.eq(Cat(controls.takes[_CAST], controls.takes[:_CAST])),
            ]
        with m.If(self.controls.adder.magnitude):
            m.d.comb += adder.a[31].eq(0)
        self._output(m, first[_CAST] | number, adder, multiplier, random_in)
        return m

    def _arrive(self, m: Module) -> tuple[Value, Value]:
        """Patterns of the words, before their last register; x waits for a y that is later."""
        decode = self.controls.decode
        held = Signal(32, reset_less=True)
        arriving = self.x_word
        if self._config.packed_fp8:
            arriving = low_code(self.x_word, self.controls.arrival.x_high)
        with m.If(~self.controls.arrival.late):
            m.d.sync += held.eq(arriving)
        patterns = []
        for name, word, arrived, selection in (
            ("x", held, PAIR_READ_CYCLES + 1, decode.x),
            ("y", self.y_word, PAIR_READ_CYCLES, decode.y),
        ):
            decoder = PatternDecode(self._config, pipelined=True)
            m.submodules[f"{name}_decode"] = decoder
            m.d.comb += [
                decoder.word.eq(delayed(m, word, DECODE_CYCLES - arrived, name=name)),
                decoder.selection.eq(selection),
            ]
            patterns.append(decoder.pattern)
        return tuple(patterns)

    def _enter(self, m: Module, x: Value, y: Value) -> tuple:
        """Registers of operands, each 0 where it is not taken, and random bits, as they arrive.

        Returned are x by the unit that takes it, the second operand by unit, the random number that
        is a result, and the random bits of the element.
        """
        operands, entry = self.controls.operands, self.controls.entry
        m.submodules.rounder = rounder = PsumRound(self._config.acc_width)
        x = registered(m, x | operands.value, name="x_entry")
        y0 = gated(m, y, operands.y0, name="y0")
        y = registered(m, y, name="y_entry")
        uniform = self.number[32 - FRACTION_BITS :] & entry.uniform.replicate(FRACTION_BITS)
        pattern = Signal(32)
        m.d.comb += [
            rounder.word.eq(self.psum_word),
            rounder.en.eq(self.controls.psum.en),
            self.state_word.eq(x),
            pattern.eq(rounder.fp32 | x | uniform),
        ]
        scalars = []
        for step, (load, clear) in enumerate(
            ((entry.scalar0, operands.y0), (entry.scalar1, operands.y1))
        ):
            of_parts = []
            for part in range(self._config.vector_folding):
                scalar = Signal(32, name=f"scalar{step}_{part}", reset_less=True)
                with m.If(load[part]):
                    m.d.sync += scalar.eq(pattern)
                with m.If(clear & (operands.part == part)):
                    m.d.sync += scalar.eq(0)
                of_parts.append(scalar)
            scalars.append(select(of_parts, entry.part))
        second = y0 | scalars[0]
        third = (y & entry.y1.replicate(32)) | scalars[1]
        third = add_lut_memory(
            m,
            "thirds",
            32,
            THIRD_SLOTS,
            write=(Const(1), entry.third_write, third),
            read=entry.third_read,
        )
        first = [gated(m, pattern, take, name="first") for take in entry.takes]
        return (
            first,
            [
                registered(
                    m,
                    (second & take0.replicate(32)) | gated(m, third, take1, name="third_taken"),
                    name="second",
                )
                for take0, take1 in zip(entry.second, entry.third, strict=True)
            ],
            gated(m, self.number, entry.number, name="number_taken"),
            Mux(entry.given, y[:16], self.number[:16]),
        )

    def _reduce(self, m: Module, total: Value) -> tuple[Value, Value]:
        """Memory of partial results: the one with which the adder combines an element; a held one.

        Two of its words are the identities.
        """
        controls = self.controls.partial
        stored = add_lut_memory(
            m,
            "partials",
            32,
            SLOTS * self._config.vector_folding,
            write=(controls.write, controls.write_addr, total),
            read=controls.addr,
            init={LOWEST: _LOWEST, ZERO: 0},
        )
        return stored, gated(m, stored, controls.hold, name="held")

    def _output(self, m: Module, first: Value, adder, multiplier, random_in: Value) -> None:
        """Cast of the last step's result, with the random bits that were kept at entry.

        `first`: what enters the cast without a step.
        """
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
        kept = Mux(to_cast.from_adder, adder.kept, multiplier.kept)
        result = first | adder.result | multiplier.result
        m.d.comb += [
            cast.fp32.eq(self._scale(m, result) if self._config.mx else result),
            cast.random.eq(random),
            cast.stochastic.eq(to_cast.stochastic),
            cast.saturate.eq(to_cast.saturate),
            cast.format.eq(to_cast.format),
            self.word.eq(cast.code),
        ]
        m.d.comb += self.kept.eq(delayed(m, to_cast.steps & kept, self.CAST_CYCLES, name="kept"))

    def _scale(self, m: Module, result: Value) -> Value:
        """What enters the cast: the result, or that of a block which has its scale."""
        controls = self.controls.blocks
        m.submodules.scaler = scaler = BlockScaler(self._config)
        m.d.comb += [
            scaler.controls.eq(controls),
            scaler.pattern.eq(result),
            self.stored.eq(scaler.stored),
            scaler.fetched.eq(self.fetched),
        ]
        return Mux(controls.on, scaler.number, result)
