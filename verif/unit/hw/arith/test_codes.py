"""Properties of formats by their codes, all of them against the tables."""

from amaranth.hdl import Module, Signal

from tegula.arith.codes import is_raw, is_wide
from tegula.formats import FORMAT_BITS, FP32, RAW16, RAW32
from verif.support.unit_bench import simulate


def codes_with(predicate) -> list[int]:
    """The codes for which `predicate` is 1."""
    m, code, holds = Module(), Signal(FORMAT_BITS), Signal()
    m.d.comb += holds.eq(predicate(code))
    found = []

    async def testbench(ctx):
        for value in range(1 << FORMAT_BITS):
            ctx.set(code, value)
            await ctx.delay(1e-9)
            if ctx.get(holds):
                found.append(value)

    simulate(m, testbench, clocked=False)
    return found


def test_fp32_and_raw32_have_two_words_an_element():
    assert codes_with(is_wide) == [FP32.code, RAW32]


def test_raw_formats_are_patterns_of_32_and_16_bits():
    assert codes_with(is_raw) == [RAW32, RAW16]
