"""PatternDecode over every code of every format, against golden and against the definition."""

from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.pattern import PatternDecode, select_format
from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FORMAT_BITS, FP32, RAW16, RAW32
from tegula_golden.numerics.fp32 import decode_pattern
from verif.oracles import numerics as reference
from verif.support.unit_bench import settle, stream_through

NARROW = (E4M3FN, E5M2, E4M3, E3M4)
SETS = {"all": NARROW, "fn and e5m2": (E4M3FN, E5M2), "e3m4": (E3M4,), "none": ()}
SEED = 3
_QUIET_NAN = 0x7FC0_0000


class Decoder(wiring.Component):
    """A `PatternDecode` that is told the format by its code."""

    def __init__(self, config, *, pipelined=False):
        self._config, self._pipelined = config, pipelined
        outputs = {"pattern": Out(32), "normal": Out(1)}
        super().__init__({"word": In(32), "format": In(FORMAT_BITS), **outputs})

    def elaborate(self, platform):
        m = Module()
        m.submodules.decode = decode = PatternDecode(self._config, pipelined=self._pipelined)
        m.d.comb += [
            decode.word.eq(self.word),
            decode.selection.eq(select_format(self.format, self._config)),
            self.pattern.eq(decode.pattern),
            self.normal.eq(decode.normal),
        ]
        return m


def decode(words, code, narrow=NARROW):
    """The pattern of each word, by simulation."""
    dut = Decoder(preset("tiny", fp8_formats=narrow))
    return settle(dut, ({"format": code, "word": word} for word in words), "pattern")


@cache
def noisy_codes(fmt):
    """Every code of `fmt`, with noise above it."""
    noise = np.random.default_rng(SEED).integers(0, 1 << 32, 1 << fmt.width)
    return (noise >> fmt.width << fmt.width | np.arange(1 << fmt.width)).tolist()


@pytest.mark.parametrize("narrow", SETS.values(), ids=SETS)
def test_every_code_enters_as_in_golden_whatever_is_above_it(narrow):
    for fmt in narrow:
        words = noisy_codes(fmt)
        expected = decode_pattern(np.array(words, np.uint32), fmt.code).tolist()
        assert decode(words, fmt.code, narrow) == expected, fmt.name


@pytest.mark.parametrize("narrow", SETS.values(), ids=SETS)
def test_the_hidden_bit_is_that_of_the_pattern(narrow):
    dut = Decoder(preset("tiny", fp8_formats=narrow))
    rng = np.random.default_rng(SEED)
    items = [{"format": fmt.code, "word": word} for fmt in narrow for word in noisy_codes(fmt)]
    for code in (BF16.code, FP32.code, RAW32, RAW16):
        words = rng.integers(0, 1 << 32, 500) & ~(rng.integers(0, 256, 500) << 23 | 0x7F80)
        words |= rng.integers(0, 2, 500) << 23 | rng.integers(0, 2, 500) << 7
        items += [{"format": code, "word": word} for word in words.tolist()]
    patterns, normal = settle(dut, items, "pattern"), settle(dut, items, "normal")
    assert normal == [int(pattern >> 23 & 0xFF != 0) for pattern in patterns]
    assert 200 < sum(normal) < len(normal) - 200


@pytest.mark.parametrize("narrow", SETS.values(), ids=SETS)
def test_registers_change_no_pattern(narrow):
    codes = [fmt.code for fmt in (*narrow, BF16, FP32)] + [RAW16, RAW32]
    rng = np.random.default_rng(SEED)
    items = [
        {"format": int(code), "word": int(word)}
        for code, word in zip(rng.choice(codes, 2000), rng.integers(0, 1 << 32, 2000), strict=True)
    ]
    config = preset("tiny", fp8_formats=narrow)
    wanted = settle(Decoder(config), items, "pattern")
    dut = Decoder(config, pipelined=True)
    assert stream_through(dut, items, "pattern", PatternDecode.LATENCY) == wanted
    wanted, dut = settle(Decoder(config), items, "normal"), Decoder(config, pipelined=True)
    assert stream_through(dut, items, "normal", PatternDecode.LATENCY) == wanted


@pytest.mark.parametrize("fmt", NARROW, ids=lambda fmt: fmt.name)
def test_every_8_bit_code_keeps_value_and_sign_and_its_nans_are_quiet(fmt):
    nans = 0
    for code, pattern in enumerate(decode(range(256), fmt.code)):
        number = reference.value(code, fmt)
        assert pattern >> 31 == code >> 7
        assert reference.value(pattern, FP32) == number
        if number == "nan":
            nans += 1
            assert pattern & 0x7FFF_FFFF == _QUIET_NAN
    assert nans == 2 * (0x7F - fmt.max_finite - (fmt.infinity is not None))


@pytest.mark.parametrize("narrow", [NARROW, ()], ids=["beside 8-bit formats", "no others"])
def test_every_bf16_code_is_the_upper_half_of_its_pattern(narrow):
    codes = range(0, 1 << 16, 1 if narrow else 61)
    words = [noisy_codes(BF16)[code] for code in codes]
    assert decode(words, BF16.code, narrow) == [code << 16 for code in codes]


def test_patterns_enter_as_they_are():
    words = np.random.default_rng(SEED).integers(0, 1 << 32, 1000).tolist()
    for code in (FP32.code, RAW32):
        assert decode(words, code) == words
    assert decode(words, RAW16) == [word & 0xFFFF for word in words]
