"""Users' arrays: every float dtype rounds once, every other dtype is refused in words."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import code_dtype, decode
from tegula_sw.arrays import codes_from_array, fp32_bits, load_array, odd_fp32_bits, save_array


def nearest_code(value, fmt):
    """Positive code nearest to an exact value, ties to even, saturating (fp8) or to infinity."""
    codes = np.arange(fmt.max_finite + 1)
    values = decode(codes.astype(code_dtype(fmt)), fmt)
    exact = [Fraction(float(v)) for v in values]
    low = max(i for i, v in enumerate(exact) if v <= value)
    if low == len(exact) - 1:
        top_ulp = exact[-1] - exact[-2]
        overflows = value >= exact[-1] + top_ulp / 2
        return fmt.infinity if overflows and fmt.width == 16 else low
    below, above = value - exact[low], exact[low + 1] - value
    return low if (below, low % 2) < (above, (low + 1) % 2) else low + 1


def adversarial_doubles(fmt, rng, count):
    """Doubles at, and a hair beside, the midpoints between codes."""
    codes = rng.integers(0, fmt.max_finite, count)
    low = decode(codes.astype(code_dtype(fmt)), fmt).astype(np.float64)
    high = decode((codes + 1).astype(code_dtype(fmt)), fmt).astype(np.float64)
    middle = (low + high) / 2
    return np.concatenate(
        [middle, np.nextafter(middle, np.inf), np.nextafter(middle, 0), middle * (1 + 2.0**-40)]
    )


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_doubles_are_rounded_once(fmt):
    values = adversarial_doubles(fmt, np.random.default_rng(0), 40)
    values = np.concatenate([values, [1e300, 5e-324, 2.0**-150, 0.0]])
    codes = codes_from_array("A", values[None, :], fmt)[0]
    expected = [nearest_code(Fraction(float(v)), fmt) for v in values]
    assert codes.tolist() == expected
    negative = codes_from_array("A", -values[None, :], fmt)[0]
    assert (negative - codes.astype(int) == 0x80).all()


def test_a_double_beside_a_tie_of_bf16_is_rounded_once():
    values = np.array([[1 + 2**-8 + 2**-40, 1 + 2**-8, 1 + 2**-8 - 2**-40, 1 + 3 * 2**-8]])
    codes = codes_from_array("A", values, BF16)
    assert codes.tolist() == [[0x3F81, 0x3F80, 0x3F80, 0x3F82]]


def test_round_to_odd_cuts_and_marks_what_it_cut():
    values = np.array(
        [1.0, 1 + 2.0**-40, -(1 + 2.0**-40), 1e300, 5e-324, 2.0**-149, 3 * 2.0**-150, 2.0**-126]
    )
    expected = [
        0x3F800000,
        0x3F800001,
        0xBF800001,
        0x7F7FFFFF,
        0x00000001,
        0x00000001,
        0x00000001,
        0x00800000,
    ]
    assert odd_fp32_bits(values).tolist() == expected
    specials = np.array([np.inf, -np.inf, np.nan, -np.nan, 0.0, -0.0])
    assert odd_fp32_bits(specials).tolist() == [
        0x7F800000,
        0xFF800000,
        0x7FC00000,
        0xFFC00000,
        0,
        0x80000000,
    ]


def test_round_to_odd_keeps_every_float32():
    bits = np.random.default_rng(1).integers(0, 1 << 32, 10_000).astype(np.uint32)
    values = bits.view(np.float32)
    finite = bits[np.isfinite(values)]
    assert len(finite) > 9000
    assert np.array_equal(odd_fp32_bits(finite.view(np.float32).astype(np.float64)), finite)


@pytest.mark.parametrize(
    "dtype",
    [np.float16, np.float32, np.float64, ">f4", ml_dtypes.bfloat16, ml_dtypes.float8_e5m2],
    ids=str,
)
def test_float_arrays_are_cast_to_nearest_even(dtype):
    values = np.array([[1.0, -0.5, 3.0], [448.0, 0.0, -2.0]]).astype(dtype)
    codes = codes_from_array("A", values, E4M3FN)
    bits = np.ascontiguousarray(values.astype(np.float32)).view(np.uint32)
    assert codes.dtype == np.uint8
    assert np.array_equal(codes, cast(bits, E4M3FN, saturate=True))


def test_large_floats_saturate():
    values = np.array([[1e6, -1e6, np.inf]], np.float32)
    assert codes_from_array("A", values, E4M3FN).tolist() == [[0x7E, 0xFE, 0x7E]]
    assert codes_from_array("A", values, BF16)[0, 2] == 0x7F80


@pytest.mark.parametrize("order", ["C", "F"])
def test_unsigned_arrays_are_codes_in_any_order(order):
    codes = np.arange(6, dtype=">u2").reshape(2, 3).copy(order)
    result = codes_from_array("A", codes, BF16)
    assert result.dtype == np.uint16
    assert result.flags.c_contiguous
    assert np.array_equal(result, codes)


def test_bfloat16_survives_a_file(tmp_path):
    path = tmp_path / "a.npy"
    values = np.array([[1.5, -2.0]], ml_dtypes.bfloat16)
    np.save(path, values)
    codes = codes_from_array("A", load_array(str(path)), BF16)
    assert np.array_equal(codes, values.view(np.uint16))


def test_float8_files_are_refused_with_the_remedy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((2, 2), ml_dtypes.float8_e4m3fn))
    with pytest.raises(ValueError, match=r"array.view\(numpy.uint8\)"):
        codes_from_array("A", load_array(str(path)), E4M3FN)


REFUSED = {
    "int8": (np.zeros((2, 2), np.int8), E4M3FN, "e4m3fn codes must be uint8"),
    "uint16 as fp8": (np.zeros((2, 2), np.uint16), E4M3FN, "dtype uint16: e4m3fn codes must"),
    "uint8 as bf16": (np.zeros((2, 2), np.uint8), BF16, "bf16 codes must be uint16"),
    "bool": (np.zeros((2, 2), bool), E4M3FN, "dtype bool"),
    "complex": (np.zeros((2, 2), complex), BF16, "dtype complex128: it must be float16"),
    "long double": (np.zeros((2, 2), np.longdouble), BF16, "it must be float16"),
    "text": (np.full((2, 2), "a"), BF16, "it must be float16"),
    "vector": (np.zeros(3), BF16, r"two-dimensional: its shape is \(3,\)"),
    "cube": (np.zeros((3, 1, 1)), BF16, "two-dimensional"),
    "empty": (np.zeros((0, 3)), BF16, r"empty: its shape is \(0, 3\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_arrays_are_refused(case):
    array, fmt, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        codes_from_array("A", array, fmt)


def test_cast_inputs_are_fp32_bits_of_any_shape():
    values = np.array(1.5, np.float32)
    assert fp32_bits("X", values).shape == ()
    assert fp32_bits("X", values) == 0x3FC00000
    bits = np.array([[0x7FC00001]], np.uint32)
    assert np.array_equal(fp32_bits("X", bits), bits)
    assert fp32_bits("X", np.array([1.5], ">f4")).tolist() == [0x3FC00000]
    for wrong in (np.zeros(2), np.zeros(2, np.int32), np.zeros(2, np.float16)):
        with pytest.raises(ValueError, match="must be float32"):
            fp32_bits("X", wrong)
    assert fp32_bits("X", np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_files_are_written_to_exactly_their_path(tmp_path):
    path = tmp_path / "codes"
    array = np.arange(4, dtype=np.uint8).reshape(2, 2)
    save_array(str(path), array)
    assert [p.name for p in tmp_path.iterdir()] == ["codes"]
    assert np.array_equal(load_array(str(path)), array)


def test_pickles_and_other_files_are_refused(tmp_path):
    objects, other = tmp_path / "objects.npy", tmp_path / "other.npy"
    np.save(objects, np.array([[{}]], object), allow_pickle=True)
    other.write_bytes(b"not an array")
    with pytest.raises(ValueError, match=r"objects.npy holds Python objects"):
        load_array(str(objects))
    with pytest.raises(ValueError, match=r"other.npy is not a readable .npy file"):
        load_array(str(other))


def test_fp32_is_no_operand_width_of_codes():
    with pytest.raises(ValueError, match="bf16 codes must be uint16"):
        codes_from_array("A", np.zeros((2, 2), np.uint32), BF16)
    assert code_dtype(FP32) == np.uint32
