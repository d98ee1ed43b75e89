"""The adder of a DMA engine: a word of a chunk after the other, sums side by side."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_add import FpAdd
from tegula.config import TileConfig
from tegula.lib.delay import delay, delayed
from tegula.lib.mux import select

__all__ = ["ChunkAdder", "chunk_steps"]


def chunk_steps(config: TileConfig) -> int:
    """Cycles from one chunk of `bus_words` words in an adder to the next.

    The sums of a chunk are taken before the last step of the next: see `ChunkAdder`.
    """
    return max(config.bus_words, (config.bus_words + FpAdd.LATENCY + 3) // 2)


class ChunkAdder(wiring.Component):
    """``sum = cast(held + incoming)`` on chunks of numbers of one word, or of two, low one first.

    Addition and cast are those of sections 5.2 and 4 of the contract, to nearest even. A chunk
    enters word by word and is taken after `chunk_steps` cycles; its sums are output `bus_words` +
    `FpAdd.LATENCY` cycles after its first word.

    The adder never waits: a chunk waits in its last step until the sums of the one before are
    taken. So while one chunk's sums are output, at most one more is in the adder, for which the
    register that collects sums has room.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    i : In(stream of {held, incoming, fp32})
        Words of bf16 numbers or, if `fp32`, halves of fp32 numbers. `ready` is a register.
    o : Out(stream of ArrayLayout(16, bus_words))
    summing : Out(1)
        A chunk was taken from `i` whose sums are not taken from `o`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        words = data.ArrayLayout(16, config.bus_words)
        chunks = data.StructLayout({"held": words, "incoming": words, "fp32": 1})
        super().__init__(
            {
                "i": In(stream.Signature(chunks)),
                "o": Out(stream.Signature(words)),
                "summing": Out(1),
            }
        )

    def elaborate(self, platform):
        """Word selection, pairs of halves, addition, rounding, collection."""
        m = Module()
        count, steps = self._config.bus_words, chunk_steps(self._config)
        chunk = self.i.payload
        m.submodules.add = add = FpAdd()

        step, last, moves = Signal(range(steps)), Signal(), Signal()
        ends, sums = Signal(), Signal()
        """`last` and `summing` of the next cycle."""
        m.d.comb += [
            moves.eq(self.i.valid & (~last | self.i.ready)),
            ends.eq(Mux(moves, step == steps - 2, last)),
            sums.eq((moves & last) | (self.summing & ~(self.o.valid & self.o.ready))),
        ]
        m.d.sync += [
            last.eq(ends),
            self.summing.eq(sums),
            self.i.ready.eq(ends & ~sums),
        ]
        with m.If(moves):
            m.d.sync += step.eq(Mux(last, 0, step + 1))

        halves = data.StructLayout({"held": 16, "incoming": 16})
        word, low = Signal(halves), Signal(halves)
        index = step[: (count - 1).bit_length()]
        m.d.comb += [
            word[name].eq(select(list(chunk[name]), index)) for name in ("held", "incoming")
        ]
        enters = moves & (step < count)
        with m.If(moves):
            # It is zero whenever a number of one word enters: after a reset between halves, too.
            m.d.sync += low.eq(0)
            with m.If(enters & chunk.fp32 & ~step[0]):
                m.d.sync += low.eq(word)
        m.d.comb += add.assign_operands(Cat(low.held, word.held), Cat(low.incoming, word.incoming))
        lands = delay(m, enters & (step[0] | ~chunk.fp32), FpAdd.LATENCY, "lands")
        fp32 = delayed(m, chunk.fp32, FpAdd.LATENCY, name="fp32")
        self._collect(m, add.result, lands, fp32)
        return m

    def _collect(self, m, total, lands, fp32):
        """Sums, rounded to bf16 if that is their format, as words side by side, and output."""
        count = self._config.bus_words
        bf16 = total[16:] + (total[15] & (total[:15].any() | total[16]))
        position = Signal(range(count))
        sums = Signal(self.o.payload.shape(), reset_less=True)
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
                m.d.sync += output[word].eq(landed)
