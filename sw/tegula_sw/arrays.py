"""Users' arrays in and out: the dtypes that are taken, and floats to codes, rounded once."""

import io
import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

from tegula.formats import FloatFormat
from tegula_golden.array_types import Codes, Patterns
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.files.inputs import opened
from tegula_sw.files.outputs import open_output

AnyArray = NDArray[Any]
"""An array of a user, of which the dtype is not yet known."""

__all__ = [
    "AnyArray",
    "archive_bytes",
    "codes_from_array",
    "float_codes",
    "fp32_bits",
    "fp32_operand",
    "load_array",
    "odd_fp32_bits",
    "read_array",
    "read_member",
    "save_array",
]

_FP64_FRACTION_BITS = 52
_FP32_FRACTION_BITS = 23
_FP64_BIAS = 1023
_FP32_BIAS = 127
_FP32_INFINITY = 0x7F80_0000
_FP32_NAN = 0x7FC0_0000
_CHUNK_BYTES = 1 << 24


def odd_fp32_bits(values: NDArray[np.float64]) -> Patterns:
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


def _described(name: str, array: AnyArray) -> str:
    return f"{name} {array.shape} has dtype {array.dtype}"


def fp32_bits(name: str, array: AnyArray) -> Patterns:
    """Bit patterns of a float32 array, or of a uint32 array that holds them already.

    Raises
    ------
    ValueError
        If it is another dtype; the message calls the array `name`.
    """
    kind = (array.dtype.kind, array.dtype.itemsize)
    if kind not in (("f", 4), ("u", 4)):
        raise ValueError(f"{_described(name, array)}: it must be float32 (or uint32 bit patterns)")
    native = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
    return native.view(np.uint32)


def float_codes(name: str, array: AnyArray, fmt: FloatFormat) -> Codes:
    """Codes of a float array of any precision, rounded once to nearest even, saturating.

    float16, float32, float64, bfloat16 and the float8 types of ml_dtypes are taken; a NaN keeps its
    sign only, and an infinity in an fp8 operand becomes the largest finite number.

    Raises
    ------
    ValueError
        If the dtype is none of these.
    """
    bits = _to_fp32(name, array, f"{fmt.name} codes as {code_dtype(fmt)}").reshape(-1)
    return cast(bits, fmt, saturate=True).astype(code_dtype(fmt)).reshape(array.shape)


def _to_fp32(name: str, array: AnyArray, codes: str) -> Patterns:
    """Patterns of a float array, of which a rounding to 8 or 16 bits is one of the array itself.

    Parameters
    ----------
    codes
        What else could have been given, for the message.
    """
    dtype, flat = array.dtype, array.reshape(-1)
    if dtype.kind == "f" and dtype.itemsize == 8:
        bits = odd_fp32_bits(flat)
    elif (dtype.kind == "f" and dtype.itemsize in (2, 4)) or _is_ml_dtype(dtype):
        bits = np.ascontiguousarray(flat.astype(np.float32)).view(np.uint32)
    else:
        raise ValueError(
            f"{_described(name, array)}: it must be float16, float32, float64, bfloat16, float8 or"
            f" {codes}"
        )
    return bits.reshape(array.shape)


def fp32_operand(name: str, array: AnyArray, codes: str) -> Patterns:
    """Patterns of a matrix of floats of any precision, to be quantised.

    Those of float64 are rounded to odd: a rounding to 8 bits is then one of the matrix itself.

    Parameters
    ----------
    codes
        What else could have been given, for the message.

    Raises
    ------
    ValueError
        If it is not a matrix, is empty, or has a dtype that is not taken.
    """
    return _to_fp32(name, _as_matrix(name, array), codes)


def _is_ml_dtype(dtype: np.dtype[Any]) -> bool:
    import ml_dtypes

    try:
        ml_dtypes.finfo(dtype)
    except ValueError:
        return False
    return dtype.itemsize <= 2


def _as_matrix(name: str, array: AnyArray) -> AnyArray:
    """The array, if it is a matrix that is not empty; bfloat16 of an .npy file as float32."""
    if array.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional: its shape is {array.shape}")
    if not array.size:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    if array.dtype == np.dtype("V2"):
        return (array.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.dtype.kind == "V" and array.dtype.itemsize == 1 and not _is_ml_dtype(array.dtype):
        raise ValueError(
            f"{_described(name, array)}: .npy files do not name ml_dtypes; save the codes of a"
            " float8 array as array.view(numpy.uint8)"
        )
    return array


def codes_from_array(name: str, array: AnyArray, fmt: FloatFormat) -> Codes:
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
    array = _as_matrix(name, array)
    if array.dtype.kind in "ui" or array.dtype.kind == "b":
        if array.dtype.kind != "u" or array.dtype.itemsize * 8 != fmt.width:
            raise ValueError(
                f"{_described(name, array)}: {fmt.name} codes must be {code_dtype(fmt)}"
            )
        return np.ascontiguousarray(array, code_dtype(fmt))
    return np.ascontiguousarray(float_codes(name, array, fmt))


def load_array(path: Path | str) -> AnyArray:
    """The array in an .npy file; see `read_array`.

    Raises
    ------
    ValueError
        If the file cannot be read, or does not hold an array of numbers.
    """
    with opened(path) as file:
        return read_array(path, file)


def read_array(path: Path | str, file: IO[bytes]) -> AnyArray:
    """The array in the next bytes of a file in the .npy format (NEP 1, versions 1 and 2).

    Order and byte order may be any. Nothing is allocated that the file does not fill.

    Parameters
    ----------
    path
        What messages call the file.

    Raises
    ------
    ValueError
        If it is damaged or shorter than its header says, has fields, or needs pickle (which could
        run code).
    """
    shape, in_fortran_order, dtype = _read_header(path, file)
    if dtype.hasobject:
        raise ValueError(f"{path} holds Python objects, which are refused")
    if dtype.names is not None or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f"{path} has dtype {_cut(dtype)}: it must hold plain numbers")
    count = math.prod(shape)
    data = _read_exactly(path, file, count * dtype.itemsize)
    try:
        flat = np.ndarray(count, dtype, data)
        return flat.reshape(shape, order="F" if in_fortran_order else "C")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a readable .npy file: {error}") from None


def read_member(archive: ZipFile, name: str) -> AnyArray:
    """An array in an .npz file that is not compressed, so that none is larger than the file.

    Raises
    ------
    ValueError
        If it is compressed, or is none; see `read_array`.
    Exception
        What `zipfile` raises where the archive is damaged, which is not specified.
    """
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != ZIP_STORED:
        raise ValueError(f"its {name} is compressed")
    with archive.open(info) as file:
        return read_array(f"its {name}", file)


def archive_bytes(**arrays: AnyArray) -> memoryview:
    """The content of an .npz file that is not compressed."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getbuffer()


def _cut(value: object) -> str:
    text = " ".join(str(value).split()) or type(value).__name__
    return text if len(text) <= 100 else f"{text[:100]} ..."


def _read_header(path: Path | str, file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran's order, and dtype."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:  # version 3 differs in the names of fields only
            raise ValueError(f"its version is {version[0]}.{version[1]}, not 1.0 or 2.0")
        with warnings.catch_warnings(action="ignore"):
            shape, in_fortran_order, dtype = readers[version](file)
        for size in shape:
            if isinstance(size, bool) or not 0 <= size < 1 << 63:
                raise ValueError(f"its shape is {shape}")
    except OSError:
        raise
    except Exception as error:  # the header is parsed as Python: what is raised is not specified
        raise ValueError(f"{path} is not a readable .npy file: {_cut(error)}") from None
    return shape, in_fortran_order, dtype


def _read_exactly(path: Path | str, file: IO[bytes], size: int) -> bytearray:
    """The next bytes of a file, which may be a pipe."""
    data = bytearray()
    while chunk := file.read(min(_CHUNK_BYTES, size - len(data))):
        data += chunk
    if len(data) < size:
        raise ValueError(f"{path} ends after {len(data)} of the {size} bytes of its array")
    return data


def save_array(path: Path | str, array: AnyArray) -> None:
    """Write an .npy file to exactly this path; see `outputs.open_output`."""
    with open_output(path) as file:
        # Of a true file numpy would take the descriptor, and lose the cause of an error.
        np.lib.format.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)
