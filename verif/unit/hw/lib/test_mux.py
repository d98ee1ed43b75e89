"""select for every index of every size that it takes."""

import pytest
from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.lib.mux import select
from verif.support.unit_bench import simulate


class Selector(wiring.Component):
    """`select` among constants, 3 * i + 1 for i."""

    def __init__(self, bits):
        self._bits = bits
        super().__init__({"index": In(bits), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        words = [Const(3 * i + 1, 8) for i in range(1 << self._bits)]
        m.d.comb += self.o.eq(select(words, self.index))
        return m


@pytest.mark.parametrize("bits", range(6))
def test_it_is_the_word_at_the_index(bits):
    dut, seen = Selector(bits), []

    async def testbench(ctx):
        for index in range(1 << bits):
            ctx.set(dut.index, index)
            await ctx.delay(1e-9)
            seen.append(ctx.get(dut.o))

    simulate(dut, testbench, clocked=False)
    assert seen == [3 * i + 1 for i in range(1 << bits)]


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8])
def test_a_number_of_words_that_the_index_cannot_tell_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} words cannot be selected by 2 bits"):
        select([Value.cast(Signal(4))] * count, Signal(2))
