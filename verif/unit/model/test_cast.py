"""tegula_golden.numerics.cast against ml_dtypes, gfloat, gmpy2 and the Fraction definition."""

from fractions import Fraction

import gmpy2
import numpy as np
import pytest
from gfloat import RoundMode, encode_ndarray, round_ndarray
from hypothesis import given, settings
from hypothesis import strategies as st

from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2, FORMATS, FP32
from tegula_golden.numerics.cast import cast, float_to_bits
from tegula_golden.numerics.codes import code_dtype, decode
from verif.oracles import numerics as reference
from verif.oracles.packages import GFLOAT, ML_DTYPES
from verif.stimuli.operands import cast_boundaries, cast_inputs

ROUNDING = tuple(fmt for fmt in FORMATS if fmt is not FP32)
NARROW = (E4M3FN, E5M2, E4M3, E3M4)
SEED = 20_240


def by_name(fmt):
    return fmt.name


def patterns(fmt, seed=SEED, size=100_000):
    """All bf16 numbers, all boundaries of `fmt`, and random patterns in its units."""
    rng = np.random.default_rng(seed)
    every_bf16 = np.arange(1 << 16, dtype=np.uint32) << 16
    return np.concatenate([every_bf16, cast_boundaries(fmt), cast_inputs(rng, size, fmt)])


def one(bits, fmt, **options):
    """The code of one pattern."""
    if "random" in options:
        options["random"] = np.array([options["random"]], dtype=np.uint16)
    return int(cast(np.array([bits], dtype=np.uint32), fmt, **options)[0])


def bits_of(number):
    """The fp32 pattern of a number that fp32 holds."""
    assert Fraction(float(np.float32(float(number)))) == Fraction(number)
    return int(np.float32(float(number)).view(np.uint32))


@pytest.mark.parametrize("fmt", ROUNDING, ids=by_name)
def test_nearest_even_without_saturation_is_that_of_ml_dtypes(fmt):
    bits = patterns(fmt)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = bits.view(np.float32).astype(ML_DTYPES[fmt]).view(code_dtype(fmt))
    actual = cast(bits, fmt)
    # Payloads and signs of NaNs are a library's own; that it is NaN is not.
    nan = np.isnan(decode(expected, fmt))
    assert nan.any()
    assert np.array_equal(np.isnan(decode(actual, fmt)), nan)
    assert np.array_equal(actual[~nan], expected[~nan])


@pytest.mark.parametrize(
    ("fmt", "saturate"),
    [(BF16, False), (E4M3FN, False), (E4M3FN, True), (E5M2, False), (E5M2, True)],
    ids=lambda v: getattr(v, "name", v),
)
def test_nearest_even_is_that_of_gfloat(fmt, saturate):
    bits = patterns(fmt, size=50_000)
    bits = bits[(bits & 0x7FFF_FFFF) <= 0x7F80_0000]
    # fp32 is exact in gfloat's float64; it rounds once from there.
    values = bits.view(np.float32).astype(np.float64)
    rounded = round_ndarray(GFLOAT[fmt], values, RoundMode.TiesToEven, saturate)
    actual = cast(bits, fmt, saturate=saturate)
    nan = np.isnan(rounded)
    assert np.array_equal(np.isnan(decode(actual, fmt)), nan)
    expected = encode_ndarray(GFLOAT[fmt], rounded[~nan])
    assert len(expected) > 100_000 if fmt is BF16 else len(expected) > 50_000
    assert np.array_equal(actual[~nan], expected.astype(code_dtype(fmt)))


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_nearest_even_is_the_definition(fmt, saturate):
    rng = np.random.default_rng(SEED + fmt.code)
    bits = cast_inputs(rng, 3000, fmt)
    if fmt.width == 8:
        bits = np.concatenate([bits, cast_boundaries(fmt)])
    actual = cast(bits, fmt, saturate=saturate)
    expected = [reference.cast_code(b, fmt, saturate) for b in bits.tolist()]
    assert actual.tolist() == expected
    assert len(set(expected)) > 200


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_stochastic_rounding_is_the_definition(fmt, saturate):
    rng = np.random.default_rng(SEED + 10 + fmt.code)
    bits = cast_inputs(rng, 4000, fmt)
    random = rng.integers(0, 1 << 16, bits.shape).astype(np.uint16)
    random[::5] = 0
    random[1::5] = 0xFFFF
    random[2::5] = 0x8000
    actual = cast(bits, fmt, saturate=saturate, random=random)
    expected = [
        reference.cast_code(b, fmt, saturate, r)
        for b, r in zip(bits.tolist(), random.tolist(), strict=True)
    ]
    assert actual.tolist() == expected
    if fmt is not FP32:
        assert np.any(actual != cast(bits, fmt, saturate=saturate)), "some are not the nearest"


@pytest.mark.parametrize("fmt", NARROW, ids=by_name)
def test_stochastic_rounding_goes_up_at_exactly_the_stated_random_bits(fmt):
    """For each discarded fraction d, r = 2**16 - d - 1 rounds down and r = 2**16 - d rounds up."""
    rng = np.random.default_rng(SEED + 20 + fmt.code)
    code = rng.integers(0, fmt.max_finite, 2000).astype(code_dtype(fmt))
    low = decode(code, fmt).view(np.uint32)
    high = decode(code + np.uint8(1), fmt).view(np.uint32)
    binade_steps = rng.random(2000)
    bits = (low + ((high - low) * binade_steps).astype(np.uint32)).astype(np.uint32)
    checked = 0
    for b, c in zip(bits.tolist(), code.tolist(), strict=True):
        lower, upper = reference.value(c, fmt), reference.value(c + 1, fmt)
        fraction = (reference.value(b, FP32) - lower) / (upper - lower)
        d = int(fraction * 2**16)
        assert one(b, fmt, random=0) == c
        if d == 0:
            assert one(b, fmt, random=0xFFFF) == c
            continue
        checked += 1
        assert one(b, fmt, random=2**16 - d - 1) == c
        assert one(b, fmt, random=2**16 - d) == c + 1
    assert checked > 1500


def test_stochastic_bf16_is_an_addition_to_the_pattern():
    rng = np.random.default_rng(SEED)
    bits = cast_inputs(rng, 200_000, BF16)
    random = rng.integers(0, 1 << 16, bits.shape).astype(np.uint16)
    finite = (bits & 0x7FFF_FFFF) < 0x7F80_0000
    assert finite.sum() > 150_000
    sign = bits >> 31 << 15
    expected = sign | ((bits & 0x7FFF_FFFF) + random.astype(np.uint32)) >> 16
    assert np.array_equal(cast(bits, BF16, random=random)[finite], expected[finite])


def test_stochastic_rounding_is_unbiased_over_all_random_bits():
    random = np.arange(1 << 16).astype(np.uint16)
    number = Fraction(0x1_2345, 1 << 25)  # between two E4M3FN subnormals: d has all 16 bits
    bits = np.full(1 << 16, bits_of(number), dtype=np.uint32)
    codes = cast(bits, E4M3FN, random=random)
    in_ulps = number * 2**9
    ups = int((codes == int(in_ulps) + 1).sum())
    assert set(codes.tolist()) == {int(in_ulps), int(in_ulps) + 1}
    assert ups == int((in_ulps - int(in_ulps)) * 2**16)


def test_what_is_below_a_2_to_the_16th_of_a_subnormal_never_rounds_up():
    tiny = bits_of(Fraction(1, 2**26))  # the E4M3FN subnormal ulp is 2**-9
    assert one(tiny, E4M3FN, random=0xFFFF) == 0
    assert one(bits_of(Fraction(1, 2**25)), E4M3FN, random=0xFFFF) == 1
    assert one(0x8000_0001, E5M2, random=0xFFFF) == 0x80


@pytest.mark.parametrize("fmt", ROUNDING, ids=by_name)
def test_every_code_survives_decoding_and_encoding(fmt):
    codes = np.arange(1 << fmt.width).astype(code_dtype(fmt))
    bits = decode(codes, fmt).view(np.uint32)
    number = ~np.isnan(decode(codes, fmt))
    for random in (None, np.full(codes.shape, 0xFFFF, dtype=np.uint16)):
        assert np.array_equal(cast(bits, fmt, random=random)[number], codes[number])
    canonical = codes >> (fmt.width - 1) << (fmt.width - 1) | fmt.nan
    assert np.array_equal(cast(bits, fmt)[~number], canonical[~number])


@pytest.mark.parametrize(
    ("number", "fmt", "code"),
    [
        # Halfway between 1 and its neighbours: to the even significand.
        (1 + Fraction(1, 16), E4M3FN, 0x38),
        (1 + Fraction(3, 16), E4M3FN, 0x3A),
        (1 + Fraction(1, 8), E5M2, 0x3C),
        (1 + Fraction(3, 8), E5M2, 0x3E),
        (1 + Fraction(1, 256), BF16, 0x3F80),
        (1 + Fraction(3, 256), BF16, 0x3F82),
        (1 + Fraction(1, 32), E3M4, 0x30),
        # Halfway below the smallest subnormal, and above it.
        (Fraction(1, 2**10), E4M3FN, 0x00),
        (Fraction(3, 2**10), E4M3FN, 0x02),
        (Fraction(1, 2**17), E5M2, 0x00),
        (Fraction(3, 2**17), E5M2, 0x02),
        # From the last subnormal to the first normal.
        (Fraction(15, 2**10), E4M3FN, 0x08),
        # A tie above the largest goes to it where that is even: no overflow.
        (464, E4M3FN, 0x7E),
        (-464, E4M3FN, 0xFE),
    ],
)
def test_ties_go_to_even(number, fmt, code):
    assert one(bits_of(number), fmt) == code


def test_one_bit_beside_a_tie_decides_it():
    assert one(bits_of(464) + 1, E4M3FN) == 0x7F
    assert one(bits_of(464) + 1, E4M3FN, saturate=True) == 0x7E
    assert one(bits_of(61440) - 1, E5M2) == 0x7B
    assert one(bits_of(61440), E5M2) == 0x7C, "57344 is odd: the tie leaves the range"
    assert one(0x3F80_8001, BF16) == 0x3F81
    assert one(0x3F81_7FFF, BF16) == 0x3F81


@pytest.mark.parametrize(
    ("fmt", "over", "saturated"),
    [
        (E4M3FN, 0x7F, 0x7E),
        (E5M2, 0x7C, 0x7B),
        (E4M3, 0x78, 0x77),
        (E3M4, 0x70, 0x6F),
        (BF16, 0x7F80, 0x7F80),
        (FP32, 0x7F80_0000, 0x7F80_0000),
    ],
    ids=lambda v: getattr(v, "name", None),
)
def test_overflow_and_infinity_follow_the_table(fmt, over, saturated):
    sign = 1 << (fmt.width - 1)
    sources = [0x7F80_0000] if fmt is FP32 else [0x7F80_0000, 0x7F7F_FFFF]
    for bits in sources:
        assert one(bits, fmt) == over
        assert one(bits | 1 << 31, fmt) == over | sign
        assert one(bits, fmt, saturate=True) == saturated
        assert one(bits | 1 << 31, fmt, saturate=True) == saturated | sign


@pytest.mark.parametrize(
    ("fmt", "code"),
    [(E4M3FN, 0x7F), (E5M2, 0x7E), (E4M3, 0x7C), (E3M4, 0x78), (BF16, 0x7FC0), (FP32, 0x7FC00000)],
    ids=lambda v: getattr(v, "name", None),
)
@pytest.mark.parametrize("payload", [0x7F80_0001, 0x7FC0_0000, 0x7FFF_FFFF, 0x7FA5_5A5A])
def test_a_nan_keeps_its_sign_and_loses_its_payload(fmt, code, payload):
    random = np.uint16(0xFFFF)
    for options in ({}, {"saturate": True}, {"random": random}):
        assert one(payload, fmt, **options) == code
        assert one(payload | 1 << 31, fmt, **options) == code | 1 << (fmt.width - 1)


@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_zero_and_underflow_keep_the_sign(fmt):
    sign = 1 << (fmt.width - 1)
    assert one(0, fmt) == 0
    assert one(1 << 31, fmt) == sign
    if fmt is not FP32:
        assert one(1, fmt) == 0
        assert one(0x8000_0001, fmt) == sign


def test_fp32_to_fp32_changes_nothing_but_nans():
    rng = np.random.default_rng(SEED)
    bits = rng.integers(0, 1 << 32, 100_000).astype(np.uint32)
    nan = (bits & 0x7FFF_FFFF) > 0x7F80_0000
    random = rng.integers(0, 1 << 16, bits.shape).astype(np.uint16)
    for options in ({}, {"saturate": True}, {"random": random}):
        codes = cast(bits, FP32, **options)
        assert np.array_equal(codes[~nan], bits[~nan])
        assert np.array_equal(codes[nan], bits[nan] & 0x8000_0000 | 0x7FC0_0000)


FLOAT_BITS = st.integers(0, 2**32 - 1).map(lambda n: n & 0xFFFF_FFFF)


def ordinal(code, fmt):
    """Place of a code on the number line; both zeros are 0."""
    magnitude = code & fmt.magnitude_mask
    return -magnitude if code >> (fmt.width - 1) else magnitude


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("fmt", ROUNDING, ids=by_name)
@settings(max_examples=150, deadline=None)
@given(x=FLOAT_BITS, y=FLOAT_BITS, random=st.none() | st.integers(0, 0xFFFF))
def test_casts_are_monotone(fmt, saturate, x, y, random):
    numbers = [reference.value(bits, FP32) for bits in (x, y)]
    if "nan" in numbers:
        return
    options = {"saturate": saturate} | ({} if random is None else {"random": random})
    low, high = sorted((ordinal(x, FP32), ordinal(y, FP32)))
    codes = [one((-n | 1 << 31) if n < 0 else n, fmt, **options) for n in (low, high)]
    # NaN stands for what lies beyond the largest number, and its code is the one after it.
    assert ordinal(codes[0], fmt) <= ordinal(codes[1], fmt)


@pytest.mark.parametrize("fmt", ROUNDING, ids=by_name)
@settings(max_examples=150, deadline=None)
@given(bits=FLOAT_BITS, first=st.integers(0, 0xFFFF), second=st.integers(0, 0xFFFF))
def test_casts_are_idempotent(fmt, bits, first, second):
    for options in ({}, {"random": first}):
        code = one(bits, fmt, saturate=True, **options)
        again = int(decode(np.array([code], dtype=code_dtype(fmt)), fmt).view(np.uint32)[0])
        assert one(again, fmt, saturate=True) == code
        assert one(again, fmt, saturate=True, random=second) == code


@settings(max_examples=300, deadline=None)
@given(bits=FLOAT_BITS)
def test_bf16_is_that_of_mpfr(bits):
    number = reference.value(bits, FP32)
    if isinstance(number, str):
        return
    context = gmpy2.context(precision=8, emin=-132, emax=128, subnormalize=True)
    with gmpy2.context(context):
        rounded = gmpy2.mpfr(gmpy2.mpq(number.numerator, number.denominator))
    code = np.array([one(bits, BF16)], dtype=np.uint16)
    assert float(decode(code, BF16)[0]) == float(rounded)


def test_shapes_are_kept():
    bits = np.zeros((2, 0, 3), dtype=np.uint32)
    assert cast(bits, E5M2).shape == (2, 0, 3)
    assert cast(bits[:, :, None], BF16).shape == (2, 0, 1, 3)
    assert cast(np.zeros((4, 5), dtype=np.uint32)[::2, ::-1], FP32).shape == (2, 5)


def test_wrong_arguments_are_named():
    bits = np.zeros(4, dtype=np.uint32)
    with pytest.raises(ValueError, match="bits must be uint32, not float32"):
        cast(np.zeros(4, dtype=np.float32), E5M2)
    with pytest.raises(ValueError, match="bits must be a uint32 array, not int"):
        cast(5, E5M2)
    with pytest.raises(ValueError, match="random must be uint16, not int64"):
        cast(bits, E5M2, random=np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match=r"shape \(4,\) of bits, not \(3,\)"):
        cast(bits, E5M2, random=np.zeros(3, dtype=np.uint16))
    with pytest.raises(ValueError, match="x must be float32, not float64"):
        float_to_bits(np.zeros(2))


def test_float_to_bits_reinterprets():
    x = np.array([[1.0, -0.0], [np.inf, 2.0**-149]], dtype=np.float32)
    assert float_to_bits(x).tolist() == [[0x3F800000, 0x80000000], [0x7F800000, 1]]
