"""Users' arrays in and out: the dtypes that are taken, and floats to codes, rounded once."""

from pathlib import Path

import numpy as np

from tegula.formats import FloatFormat
from tegula_golden.cast import cast
from tegula_golden.codes import code_dtype

__all__ = [
    "codes_from_array",
    "float_codes",
    "fp32_bits",
    "load_array",
    "odd_fp32_bits",
    "save_array",
]

_FP64_FRACTION_BITS = 52
_FP32_FRACTION_BITS = 23
_FP64_BIAS = 1023
_FP32_BIAS = 127
_FP32_INFINITY = 0x7F80_0000
_FP32_NAN = 0x7FC0_0000


def odd_fp32_bits(values: np.ndarray) -> np.ndarray:
    """float64 -> fp32 bit patterns, rounded to odd.

    Round to odd cuts, and sets the last bit if anything was cut off. A later rounding to a format
    of at most 22 significand bits, with subnormals coarser than fp32's by two bits, is then as if
    the float64 had been rounded once. Works on integers.

    Source: Boldo and Melquiond, "When double rounding is odd", 2004. Magnitudes beyond fp32 become
    its largest finite number, which is odd.

    Parameters
    ----------
    values
        float64, any shape.

    Returns
    -------
    ndarray
        uint32; a NaN becomes the quiet NaN of its sign, infinities stay.
    """
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64).reshape(np.shape(values))
    magnitude = bits & np.uint64((1 << 63) - 1)
    sign = (bits >> np.uint64(63)).astype(np.uint32) << np.uint32(31)
    exponent = (magnitude >> np.uint64(_FP64_FRACTION_BITS)).astype(np.int64)
    fraction = magnitude & np.uint64((1 << _FP64_FRACTION_BITS) - 1)
    significand = np.where(exponent > 0, fraction | np.uint64(1 << _FP64_FRACTION_BITS), fraction)
    biased = np.maximum(exponent, 1) - _FP64_BIAS + _FP32_BIAS
    # Below fp32's smallest normal the unit stays put and the significand moves right instead.
    cut = _FP64_FRACTION_BITS - _FP32_FRACTION_BITS + np.maximum(1 - biased, 0)
    cut = np.minimum(cut, 63).astype(np.uint64)
    kept = significand >> cut
    lost = (kept << cut) != significand
    # The hidden bit of `kept` adds one to the exponent field; a subnormal has none.
    field = (np.maximum(biased, 1) - 1).astype(np.uint64) << np.uint64(_FP32_FRACTION_BITS)
    rounded = np.minimum((field + kept) | lost, np.uint64(_FP32_INFINITY - 1))
    infinity = np.uint64(0x7FF) << np.uint64(_FP64_FRACTION_BITS)
    rounded = np.where(magnitude == infinity, np.uint64(_FP32_INFINITY), rounded)
    rounded = np.where(magnitude > infinity, np.uint64(_FP32_NAN), rounded)
    return rounded.astype(np.uint32) | sign


def _described(name: str, array: np.ndarray) -> str:
    return f"{name} {array.shape} has dtype {array.dtype}"


def fp32_bits(name: str, array: np.ndarray, *, empty: bool = False) -> np.ndarray:
    """Bit patterns of a float32 array, or of a uint32 array that holds them already.

    Raises
    ------
    ValueError
        If it is another dtype, or empty and must not be (`empty`); the message calls the array
        `name`.
    """
    kind = (array.dtype.kind, array.dtype.itemsize)
    if kind not in (("f", 4), ("u", 4)):
        raise ValueError(f"{_described(name, array)}: it must be float32 (or uint32 bit patterns)")
    if not array.size and not empty:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    return native.view(np.uint32)


def float_codes(name: str, array: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes of a float array of any precision, rounded once to nearest even, saturating.

    float16, float32, float64, bfloat16 and the float8 types of ml_dtypes are taken; a NaN keeps its
    sign only, and an infinity in an fp8 operand becomes the largest finite number.

    Raises
    ------
    ValueError
        If the dtype is none of these.
    """
    dtype = array.dtype
    if dtype.kind == "f" and dtype.itemsize == 8:
        bits = odd_fp32_bits(array)
    elif (dtype.kind == "f" and dtype.itemsize in (2, 4)) or _is_ml_dtype(dtype):
        bits = np.ascontiguousarray(array.astype(np.float32)).view(np.uint32)
    else:
        raise ValueError(
            f"{_described(name, array)}: it must be float16, float32, float64, bfloat16, float8 or"
            f" {fmt.name} codes as {code_dtype(fmt)}"
        )
    return cast(bits.reshape(array.shape), fmt, saturate=True).astype(code_dtype(fmt))


def _is_ml_dtype(dtype: np.dtype) -> bool:
    import ml_dtypes

    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return dtype.itemsize <= 2


def codes_from_array(name: str, array: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes of an operand: a float array is cast, an unsigned array holds them already.

    Parameters
    ----------
    name
        What messages call the array.
    array
        Shape (rows, columns); float, or uint8 / uint16 codes by the format's width. Raw two-byte
        items are bfloat16: that is how .npy files hold it.

    Raises
    ------
    ValueError
        If it is not a matrix, is empty, or has a dtype that is not taken.
    """
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional: its shape is {array.shape}")
    if not array.size:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    if array.dtype == np.dtype("V2"):
        array = (array.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.dtype.kind == "V" and array.dtype.itemsize == 1 and not _is_ml_dtype(array.dtype):
        raise ValueError(
            f"{_described(name, array)}: .npy files do not name ml_dtypes; save the codes of a"
            " float8 array as array.view(numpy.uint8)"
        )
    if array.dtype.kind in "ui" or array.dtype.kind == "b":
        if array.dtype.kind != "u" or array.dtype.itemsize * 8 != fmt.width:
            raise ValueError(
                f"{_described(name, array)}: {fmt.name} codes must be {code_dtype(fmt)}"
            )
        return np.ascontiguousarray(array, code_dtype(fmt))
    return np.ascontiguousarray(float_codes(name, array, fmt))


def load_array(path: str) -> np.ndarray:
    """The array in an .npy file.

    Raises
    ------
    ValueError
        If it is no .npy file, or needs pickle (which could run code).
    OSError
        If it cannot be read.
    """
    with Path(path).open("rb") as file:
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            if "allow_pickle" in str(error):
                raise ValueError(f"{path} holds Python objects, which are refused") from None
            raise ValueError(f"{path} is not a readable .npy file: {error}") from None
    return array


def save_array(path: str, array: np.ndarray) -> None:
    """Write an .npy file to exactly this path."""
    with Path(path).open("wb") as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
