"""Cast against the golden cast, bit for bit: exhaustive over results, dense around ties."""

import numpy as np
import pytest

from tegula.arith.cast import Cast
from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FP32
from tegula_golden.numerics.cast import cast
from verif.support.unit_bench import stream_through

NARROW = (E4M3FN, E5M2, E4M3, E3M4)
FORMATS = (BF16, FP32, *NARROW)
SEED = 5


def run(bits, fmt, *, saturate=False, random=None, narrow=NARROW):
    """Codes of the fp32 patterns `bits`, one a cycle."""
    dut = Cast(preset("tiny", fp8_formats=narrow))
    draws = [0xFFFF] * len(bits) if random is None else random.tolist()
    constant = {"format": fmt.code, "saturate": saturate, "stochastic": random is not None}
    inputs = (
        constant | {"fp32": pattern, "random": draw}
        for pattern, draw in zip(bits.tolist(), draws, strict=True)
    )
    return np.array(stream_through(dut, inputs, "code", dut.LATENCY), dtype=np.uint32)


def check(bits, fmt, *, saturate=False, random=None, narrow=NARROW):
    """The hardware's codes are the golden model's, for all of `bits`."""
    bits = np.asarray(bits, dtype=np.uint32)
    assert bits.size > 0
    if random is not None:
        random = np.asarray(random, dtype=np.uint16)
    expected = cast(bits, fmt, saturate=saturate, random=random).astype(np.uint32)
    actual = run(bits, fmt, saturate=saturate, random=random, narrow=narrow)
    wrong = np.flatnonzero(actual != expected)
    assert wrong.size == 0, [
        f"{int(bits[i]):#010x} -> {int(actual[i]):#x}, expected {int(expected[i]):#x}"
        for i in wrong[:5]
    ]


def near_ties(fmt):
    """Both neighbours of every rounding boundary of `fmt`, and the boundary, both signs.

    The boundaries lie halfway between neighbouring codes; one past the largest finite code is in,
    and so is the boundary of overflow.
    """
    magnitudes = np.arange(fmt.max_finite + 3, dtype=np.int64)
    if fmt is BF16:
        magnitudes = magnitudes[::37]
    field, mantissa = magnitudes >> fmt.mantissa_bits, magnitudes & ((1 << fmt.mantissa_bits) - 1)
    significand = mantissa + np.where(field > 0, 1 << fmt.mantissa_bits, 0)
    ulp = np.maximum(field, 1) - fmt.bias - fmt.mantissa_bits
    halfway = np.ldexp((2 * significand + 1).astype(np.float64), ulp - 1)
    exact = np.ldexp(significand.astype(np.float64), ulp)
    with np.errstate(over="ignore"):
        points = np.concatenate([halfway, exact]).astype(np.float32).view(np.uint32)
    points = np.concatenate([points, points + 1, np.maximum(points, 1) - 1])
    return np.concatenate([points, points | 0x8000_0000]).astype(np.uint32)


def every_bf16_magnitude():
    """All magnitudes that end in 16 zeros, odd ones negative."""
    patterns = np.arange(1 << 15, dtype=np.uint32)
    return (patterns | patterns << 15) << 16


def specials():
    """Zeros, infinities, NaNs with one payload bit each, extremes and single-bit patterns."""
    ones = [1 << bit for bit in range(23)]
    magnitudes = [0, 0x7F80_0000, 0x7F7F_FFFF, 0x0080_0000, 0x007F_FFFF, 0x7FFF_FFFF]
    magnitudes += ones + [0x7F80_0000 | bit for bit in ones]
    return np.array([*magnitudes, *(m | 0x8000_0000 for m in magnitudes)], dtype=np.uint32)


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
def test_zeros_infinities_nans_and_extremes(fmt, saturate):
    check(specials(), fmt, saturate=saturate)
    check(specials(), fmt, saturate=saturate, random=np.full(specials().shape, 0xFFFF))


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("fmt", [BF16, *NARROW], ids=lambda fmt: fmt.name)
def test_values_at_and_beside_every_rounding_boundary(fmt, saturate):
    check(near_ties(fmt), fmt, saturate=saturate)


@pytest.mark.parametrize("fmt", [BF16, *NARROW], ids=lambda fmt: fmt.name)
def test_every_exponent_with_random_significands(fmt):
    rng = np.random.default_rng(SEED)
    bits = np.repeat(np.arange(512, dtype=np.uint32) << 23, 4)
    bits |= rng.integers(0, 1 << 23, bits.shape, dtype=np.uint32)
    check(bits, fmt)
    check(bits, fmt, random=rng.integers(0, 1 << 16, bits.shape, dtype=np.uint16))


@pytest.mark.parametrize("fmt", [BF16, *NARROW], ids=lambda fmt: fmt.name)
def test_stochastic_rounding_turns_exactly_where_fraction_and_draw_reach_an_ulp(fmt):
    rng = np.random.default_rng(SEED)
    lowest = 127 + fmt.min_exponent - fmt.mantissa_bits - 2
    field = rng.integers(max(lowest, 0), 127 + 16, 1500)
    bits = (field.astype(np.uint32) << 23) | rng.integers(0, 1 << 23, field.shape, dtype=np.uint32)
    shift = 23 - fmt.mantissa_bits + np.maximum(fmt.min_exponent + 127 - np.maximum(field, 1), 0)
    significand = (bits & 0x7F_FFFF).astype(np.int64) | np.where(field > 0, 1 << 23, 0)
    fraction = ((significand & ((1 << shift) - 1)) << 16) >> shift
    draws = np.concatenate([(1 << 16) - fraction, (1 << 16) - fraction - 1])
    draws = np.clip(draws, 0, 0xFFFF).astype(np.uint16)
    check(np.concatenate([bits, bits]), fmt, random=draws)


def test_evenly_spaced_draws_round_up_as_often_as_the_fraction_says():
    draws = np.arange(0, 1 << 16, 4)
    codes = run(np.full(draws.shape, 0x3F80_1234, dtype=np.uint32), BF16, random=draws)
    assert np.count_nonzero(codes == 0x3F81) == 0x1234 // 4
    assert np.count_nonzero(codes == 0x3F80) == len(draws) - 0x1234 // 4


def test_every_bf16_magnitude_is_its_own_cast():
    patterns = every_bf16_magnitude() >> 16
    finite = (patterns & 0x7FFF) <= BF16.infinity
    codes = run(patterns << 16, BF16)
    np.testing.assert_array_equal(codes[finite], patterns[finite])
    np.testing.assert_array_equal(codes[~finite], (patterns[~finite] & 0x8000) | BF16.nan)


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_every_bf16_magnitude_casts_to_fp8(fmt):
    check(every_bf16_magnitude(), fmt)


def test_the_shipped_set_of_formats_behaves_like_the_full_one():
    for fmt in (BF16, E4M3FN, E5M2):
        check(near_ties(fmt)[::5], fmt, narrow=(E4M3FN, E5M2))
    check(specials(), FP32, narrow=(E4M3FN, E5M2))


def test_a_tile_without_narrow_formats_casts_to_bf16_and_fp32():
    check(near_ties(BF16)[::5], BF16, narrow=())
    check(specials(), FP32, narrow=())
