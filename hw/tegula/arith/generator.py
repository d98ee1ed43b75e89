"""The random number generator of one lane."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.xor128 import State

__all__ = ["Generator"]


class Generator(wiring.Component):
    """Generator of 32 random bits a cycle: Marsaglia's xorshift with 128 bits of state.

    The state is four words x, y, z, w. Where it `moves`, ``x, y, z, w = y, z, w, number``, and
    what enters says which of three movements it is:

    - `step`: ``number = w ^ (w >> 19) ^ t ^ (t >> 8)`` with ``t = x ^ (x << 11)``, a draw of
      "xor128" (*Xorshift RNGs*, J. Stat. Softw. 8(14), 2003, section 4; contract section 5.4);
    - `load`: ``number = word``; four loads set a state, x first;
    - neither, a rotation: ``number = x``; four show a state, x first, and leave it as it was.

    Latency: none, `number` is combinational. Throughput: one movement a cycle.

    Parameters
    ----------
    reset_state
        x, y, z and w after a reset, as `stream_states` gives them. Not all zero: a generator in
        that state stays there (a load of it is not prevented).

    Members
    -------
    moves : In(1)
        Move the state at the end of this cycle. It enables all of it, and should come early.
    step, load : In(1)
        What enters. At most one of them may be 1.
    word : In(32)
        What a load puts in; ignored in other cycles.
    number : Out(32)
        What enters the state in this cycle: the number drawn, the word, or x. Undefined in a cycle
        without a movement.
    """

    def __init__(self, reset_state: State):
        self._reset_state = reset_state
        super().__init__(
            {
                "moves": In(1),
                "step": In(1),
                "load": In(1),
                "word": In(32),
                "number": Out(32),
            }
        )

    def elaborate(self, platform):
        """The word that enters, and the state."""
        m = Module()
        x, y, z, w = (
            Signal(32, name=name, init=word)
            for name, word in zip("xyzw", self._reset_state, strict=True)
        )
        # t ^ (t >> 8) has four terms, of which x is all of a rotation: the others are masked.
        # Yosys maps this grouping of them to 92 LUT4, others to up to 238.
        shifted = (x << 11)[:32]
        others = (w ^ (w >> 19) ^ shifted) ^ ((x >> 8) ^ (shifted >> 8))
        drawn_or_x = x ^ (others & self.step.replicate(32))
        m.d.comb += self.number.eq(Mux(self.load, self.word, drawn_or_x))
        with m.If(self.moves):
            m.d.sync += Cat(x, y, z, w).eq(Cat(y, z, w, self.number))
        return m
