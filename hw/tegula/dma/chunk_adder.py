"""The adder of a DMA engine: a word of a chunk after the other, sums side by side."""

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_add import FpAdd
from tegula.config import TileConfig
from tegula.lib.delay import delay, delayed, gated, registered
from tegula.lib.mux import select

__all__ = ["SUM_CYCLES", "ChunkAdder", "chunk_steps"]

SUM_CYCLES = 1 + FpAdd.LATENCY
"""Cycles from a word, or the second half of one, to its sum: it is selected, then added."""


def chunk_steps(config: TileConfig) -> int:
    """Cycles from one chunk of `bus_words` words in an adder to the next.

    The sums of a chunk are all there before the last step of the next: see `ChunkAdder`.
    """
    return max(config.bus_words, (config.bus_words + SUM_CYCLES + 2) // 2)


class ChunkAdder(wiring.Component):
    """``sum = cast(held + incoming)`` on chunks of numbers of one word, or of two, low one first.

    Addition and cast are those of sections 5.2 and 4 of the contract, to nearest even. A chunk
    enters word by word and is taken with the last of its `chunk_steps`; its sums are output
    `bus_words` + `SUM_CYCLES` cycles after its first word.

    A chunk that has begun never waits, and one begins only if no sums wait at the output. So while
    those of one chunk wait there, at most one more is in the adder, for which the register that
    collects sums has room.

    Parameters
    ----------
    config : TileConfig
    context : ShapeLike
        What goes with a chunk.

    Members
    -------
    i : In(stream of {held, incoming, fp32, context})
        Words of bf16 numbers or, if `fp32`, halves of fp32 numbers. `ready` is a register.
    o : Out(stream of {words, context})
        Sums. Registers.
    summing : Out(1), summed : Out(context)
        A chunk was taken from `i` whose sums are not at `o`; its context.
    """

    def __init__(self, config: TileConfig, context: ShapeLike):
        self._config, self._context = config, context
        words = data.ArrayLayout(16, config.bus_words)
        chunks = {"held": words, "incoming": words, "fp32": 1, "context": context}
        sums = {"words": words, "context": context}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(chunks))),
                "o": Out(stream.Signature(data.StructLayout(sums))),
                "summing": Out(1),
                "summed": Out(context),
            }
        )

    def elaborate(self, platform):
        """Word selection, pairs of halves, addition, rounding, collection."""
        m = Module()
        count, steps = self._config.bus_words, chunk_steps(self._config)
        chunk = self.i.payload
        m.submodules.add = add = FpAdd()

        step, begun, last, moves = Signal(range(steps)), Signal(), Signal(), Signal()
        m.d.comb += [
            moves.eq(self.i.valid & (begun | ~self.o.valid)),
            self.i.ready.eq(last),
        ]
        with m.If(moves):
            m.d.sync += [
                step.eq(Mux(last, 0, step + 1)),
                begun.eq(~last),
                last.eq(step == steps - 2),
            ]

        word = Signal(data.StructLayout({"held": 16, "incoming": 16}))
        index = step[: (count - 1).bit_length()]
        m.d.comb += [
            word[name].eq(select(list(chunk[name]), index)) for name in ("held", "incoming")
        ]
        enters = moves & (step < count)
        high = {
            name: registered(m, word[name], name=f"{name}_high") for name in word.shape().members
        }
        low = {name: gated(m, half, chunk.fp32, name=f"{name}_low") for name, half in high.items()}
        m.d.comb += add.assign_operands(
            *(Cat(low[name], high[name]) for name in ("held", "incoming"))
        )
        lands = delay(m, enters & (step[0] | ~chunk.fp32), SUM_CYCLES, "lands")
        fp32 = delayed(m, chunk.fp32, SUM_CYCLES, name="fp32")
        collected = self._collect(m, add.result, lands, fp32)
        summed = Signal(self._context, reset_less=True)
        with m.If(self.i.valid & last):
            m.d.sync += [summed.eq(chunk.context), self.summing.eq(1)]
        with m.Elif(collected):
            m.d.sync += self.summing.eq(0)
        m.d.comb += self.summed.eq(summed)
        return m

    def _collect(self, m, total, lands, fp32):
        """Sums, rounded to bf16 if that is their format, as words side by side, and output.

        Returns 1 while those of a chunk go to the output.
        """
        count = self._config.bus_words
        bf16 = total[16:] + (total[15] & (total[:15].any() | total[16]))
        position = Signal(range(count))
        sums = Signal(self.o.payload.words.shape(), reset_less=True)
        output = Signal(self.o.payload.shape(), reset_less=True)
        whole, waiting, moves = Signal(), Signal(), Signal()
        """The last sum of a chunk lands; all have, while `output` was not free."""
        with m.If(lands):
            m.d.sync += position.eq(position + Mux(fp32, 2, 1))
        m.d.comb += [
            whole.eq(lands & (position >= Mux(fp32, count - 2, count - 1))),
            moves.eq((whole | waiting) & ~self.o.valid),
            self.o.payload.eq(output),
        ]
        m.d.sync += [
            waiting.eq((whole | waiting) & self.o.valid),
            self.o.valid.eq(moves | (self.o.valid & ~self.o.ready)),
        ]
        for word in range(count):
            half = total[16:] if word % 2 else total[:16]
            landing = Mux(fp32, half, bf16[:16])
            here = Mux(fp32, position[1:] == word >> 1, position == word)
            with m.If(lands & here):
                m.d.sync += sums[word].eq(landing)
            landed = sums[word]
            if word == count - 1:
                landed = Mux(waiting, sums[word], landing)
            elif word == count - 2:
                landed = Mux(waiting | ~fp32, sums[word], half)
            with m.If(moves):
                m.d.sync += output.words[word].eq(landed)
        with m.If(moves):
            m.d.sync += output.context.eq(self.summed)
        return moves
