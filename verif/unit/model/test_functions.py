"""tegula_golden.numerics.functions against the number-by-number reference, and directed cases."""

from dataclasses import fields

import numpy as np
import pytest

from tegula_golden.numerics.function_table import Gain, Table
from tegula_golden.numerics.functions import Function, evaluate
from verif.oracles.functions import evaluate_one
from verif.stimuli.functions import SPECIALS, arguments, random_function, random_words

SEED = 31_500
ONE = 1 << 30
IDENTITY = {"c0": ONE, "c1": ONE, "gain": Gain.N}
RECORD_SIZES = [(1, 1), (2, 4), (64, 128), (1024, 512)]


def records(words):
    """Rows of words as integers, the low word first."""
    return [sum(int(word) << 32 * i for i, word in enumerate(row)) for row in words]


def table(*descriptors):
    """A table of descriptors of one entry each, repeated to a power of two."""
    count = 1 << (len(descriptors) - 1).bit_length()
    rows = [descriptors[i % len(descriptors)] for i in range(count)]
    columns = {f.name: [row.get(f.name, 0) for row in rows] for f in fields(Table)}
    return Table(**columns | {"first": range(count)})


def one(tile_table, bits, **parameters):
    """The result of one pattern."""
    function = Function(**{"descriptor": 0, "reduction": "float", "low": 0} | parameters)
    return int(evaluate(tile_table, function, np.array([bits], dtype=np.uint32))[0])


def fp32(number):
    return int(np.float32(number).view(np.uint32))


@pytest.mark.parametrize("number", range(60))
def test_random_functions_of_random_tables_are_the_definition(number):
    rng = np.random.default_rng(SEED + number)
    size = RECORD_SIZES[-1] if number % 2 else RECORD_SIZES[number // 2 % len(RECORD_SIZES)]
    words, descriptor_words = random_words(rng, *size)
    parameters = random_function(rng, size[1])
    z = arguments(rng, 300)
    actual = evaluate(Table.from_words(words, descriptor_words), Function(**parameters), z)
    rows, descriptors = records(words), descriptor_words.tolist()
    expected = [evaluate_one(rows, descriptors, bits, **parameters) for bits in z.tolist()]
    assert actual.tolist() == expected, f"seed {SEED + number}, {parameters}"


def test_random_functions_have_results_of_every_kind():
    rng = np.random.default_rng(SEED)
    results = []
    for _ in range(60):
        words, descriptors = random_words(rng, 1024, 512)
        function = Function(**random_function(rng, 512))
        results.append(
            evaluate(Table.from_words(words, descriptors), function, arguments(rng, 3000))
        )
    magnitude = np.concatenate(results) & 0x7FFF_FFFF
    assert np.mean((magnitude > 0x0080_0000) & (magnitude < 0x7F80_0000)) > 0.3
    for share in (magnitude == 0, magnitude == 0x7F80_0000, magnitude > 0x7F80_0000):
        assert np.mean(share) > 0.005
    assert np.mean((magnitude > 0) & (magnitude < 0x0080_0000)) > 0.01


@pytest.mark.parametrize("code", range(8))
def test_every_gain_of_every_exponent_is_the_definition(code):
    rng = np.random.default_rng(SEED + code)
    words, descriptors = random_words(rng, 64, 64)
    descriptors = descriptors & np.uint32(~(7 << 14 | 1 << 17) & 0xFFFF_FFFF) | np.uint32(
        code << 14
    )
    z = np.arange(1, 255, dtype=np.uint32) << 23 | 0x2A_AAAA
    z = np.concatenate([z, 1 << np.arange(23, dtype=np.uint32)])
    for reduction in ("float", "exp"):
        parameters = {"descriptor": 3, "reduction": reduction, "low": -9}
        actual = evaluate(Table.from_words(words, descriptors), Function(**parameters), z)
        expected = [
            evaluate_one(records(words), descriptors.tolist(), bits, **parameters)
            for bits in z.tolist()
        ]
        assert actual.tolist() == expected


@pytest.mark.parametrize(("entries", "descriptors"), RECORD_SIZES)
def test_records_survive_unpacking_and_packing(entries, descriptors):
    rng = np.random.default_rng(SEED)
    words, descriptor_words = random_words(rng, entries, descriptors)
    image = Table.from_words(words, descriptor_words)
    words[:, 3] &= (1 << 23) - 1
    assert np.array_equal(image.entry_words(), words)
    assert np.array_equal(image.descriptor_words(), descriptor_words & ((1 << 18) - 1))
    assert image.entry_words().dtype == image.descriptor_words().dtype == np.uint32


def test_every_field_has_its_place():
    image = Table(
        c0=[-2], c1=[3], c2=[-4], c3=[-5], exponent=[-6], first=[5], k=[6], gain=[4], constant=[1]
    )
    record = (2**32 - 2) | 3 << 32 | (2**28 - 4) << 64 | (2**18 - 5) << 92 | (2**9 - 6) << 110
    assert image.entry_words().tobytes() == record.to_bytes(16, "little")
    assert image.descriptor_words().tolist() == [5 | 6 << 10 | 4 << 14 | 1 << 17]


@pytest.mark.parametrize("bits", [*SPECIALS[1:16].tolist(), 0x4049_0FDB, 0x1234_5678])
def test_one_segment_of_slope_one_with_gain_n_is_the_identity(bits):
    image = table(IDENTITY)
    for pattern in (bits, bits | 1 << 31):
        assert one(image, pattern, odd=True) == pattern
    assert one(image, bits | 1 << 31) == bits, "not odd: of the magnitude"


def test_zeros_and_infinities_have_descriptors_of_their_own():
    patterns = [fp32(x) for x in (1.5, 2.5, 3.5, 4.5, 5.5)]
    signed = [p - (p >> 31 << 32) for p in patterns]
    image = table(*({"c0": p, "constant": 1} for p in signed))
    arguments_ = [0, 1 << 31, 0x7F80_0000, 0xFF80_0000, fp32(1.0)]
    assert [one(image, bits, low=511) for bits in arguments_] == patterns
    odd = [one(image, bits, low=511, odd=True) for bits in arguments_]
    assert odd == [patterns[i] | sign << 31 for i, sign in ((0, 0), (0, 1), (2, 0), (2, 1), (4, 0))]


@pytest.mark.parametrize("nan", [0x7F80_0001, 0xFFC0_0000, 0xFFFF_FFFF])
def test_nans_come_out_quiet_and_positive(nan):
    assert one(table(IDENTITY), nan, odd=True) == 0x7FC0_0000
    image = table({"c0": nan - (nan >> 31 << 32), "constant": 1})
    assert one(image, fp32(-1.0), odd=True) == 0x7FC0_0000, "a constant"


def test_a_zero_has_the_sign_of_an_odd_argument_alone():
    image = table({"c0": 0})
    assert one(image, fp32(-3.0), odd=True) == 1 << 31
    assert one(image, fp32(-3.0)) == 0
    assert one(table({"c0": -1, "exponent": -200}), fp32(1.0)) == 1 << 31, "too small for fp32"


def test_results_round_to_even_with_subnormals_and_overflow():
    largest = 0xFF_FFFF << 6
    for c0, exponent, bits in (
        (ONE + 64, 0, 0x3F80_0000),
        (ONE + 65, 0, 0x3F80_0001),
        (ONE + 192, 0, 0x3F80_0002),
        (ONE, -150, 0),
        (ONE + 1, -150, 1),
        (3 * ONE // 2, -149, 2),
        (ONE - 64, -126, 0x0080_0000),
        (largest, 128, 0x7F7F_FFFF),
        (largest + 31, 128, 0x7F7F_FFFF),
        (largest + 32, 128, 0x7F80_0000),
        (1, 255, 0x7F80_0000),
    ):
        assert one(table({"c0": c0, "exponent": exponent}), fp32(1.0)) == bits
        assert one(table({"c0": -c0, "exponent": exponent}), fp32(1.0)) == bits | 1 << 31


def test_far_arguments_of_the_exponential_reduction_leave_the_range():
    image = table({"c0": ONE, "gain": Gain.N})
    for bits in (fp32(256.0), 0x7F7F_FFFF):
        assert one(image, bits, reduction="exp") == 0x7F80_0000
        assert one(image, bits | 1 << 31, reduction="exp") == 0
    assert one(image, 1, reduction="exp") == one(image, 0x8000_0001, reduction="exp") == fp32(1.0)


def test_indices_wrap_at_the_size_of_the_table():
    image = Table(
        c0=[ONE, -ONE], c1=[0, 0], c2=[0, 0], c3=[0, 0], exponent=[0, 0],
        first=[1023, 0], k=[1, 0], gain=[0, 0], constant=[0, 0],
    )  # fmt: skip
    assert one(image, fp32(1.0), low=511) == fp32(-1.0)
    assert one(image, fp32(1.5), low=511) == fp32(1.0), "the entry after the last"
    assert one(image, fp32(1.0), low=511, descriptor=1) == fp32(1.0), "descriptor 5 of 2"


def test_shapes_are_kept_and_small_arrays_agree_with_big_ones():
    rng = np.random.default_rng(SEED)
    image = Table.from_words(*random_words(rng, 1024, 512))
    function = Function(descriptor=7, reduction="float", low=-12)
    z = arguments(rng, 50_000)
    whole = evaluate(image, function, z)
    parts = [evaluate(image, function, part) for part in np.array_split(z, 11)]
    assert np.array_equal(np.concatenate(parts), whole)
    grid = z[:2400].reshape(20, 120)
    assert np.array_equal(
        evaluate(image, function, grid[::2, ::-3]), whole[:2400].reshape(20, 120)[::2, ::-3]
    )
    assert evaluate(image, function, np.zeros((2, 0, 3), dtype=np.uint32)).shape == (2, 0, 3)


def test_wrong_arguments_are_named():
    image = table(IDENTITY)
    function = Function(descriptor=0, reduction="exp", low=0)
    with pytest.raises(ValueError, match="z must be uint32, not float32"):
        evaluate(image, function, np.zeros(4, dtype=np.float32))
    with pytest.raises(ValueError, match="z must be a uint32 array, not int"):
        evaluate(image, function, 5)
    with pytest.raises(ValueError, match="low must be -512 to 511, not 512"):
        Function(descriptor=0, reduction="exp", low=512)
    with pytest.raises(ValueError, match="reduction must be one of float, exp, not log"):
        Function(descriptor=0, reduction="log", low=0)
    with pytest.raises(ValueError, match="descriptor must not be negative, and is -1"):
        Function(descriptor=-1, reduction="exp", low=0)


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        ("c0", -(1 << 31), (1 << 31) - 1),
        ("c1", -(1 << 31), (1 << 31) - 1),
        ("c2", -(1 << 27), (1 << 27) - 1),
        ("c3", -(1 << 17), (1 << 17) - 1),
        ("exponent", -256, 255),
        ("first", 0, 1023),
        ("k", 0, 15),
        ("gain", 0, 7),
        ("constant", 0, 1),
    ],
)
def test_fields_out_of_range_are_named(field, low, high):
    columns = {f.name: [0] for f in fields(Table)}
    for value in (low, high):
        assert getattr(Table(**columns | {field: [value]}), field).tolist() == [value]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"{field}\[0\] must be {low} to {high}, not {value}"):
            Table(**columns | {field: [value]})


def test_tables_of_a_wrong_size_are_refused():
    columns = {f.name: [0] for f in fields(Table)}
    with pytest.raises(ValueError, match=r"number of entries must be a power of two, not \(3,\)"):
        Table(**columns | {name: [0, 0, 0] for name in ("c0", "c1", "c2", "c3", "exponent")})
    with pytest.raises(ValueError, match=r"k has \(2,\) descriptors, first \(1,\)"):
        Table(**columns | {"k": [0, 0]})
    words, descriptors = np.zeros((4, 4), np.uint32), np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match=r"entries must be uint32 \(n, 4\), not uint32 \(4,\)"):
        Table.from_words(descriptors, descriptors)
    with pytest.raises(ValueError, match=r"descriptors must be uint32 \(n,\), not int64 \(4,\)"):
        Table.from_words(words, descriptors.astype(np.int64))
