"""Whole jobs on arrays: open a device, cast, multiply, evaluate."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tegula.config import TileConfig, check_config, preset
from tegula.formats import FP32, FloatFormat, format_by_name
from tegula_golden.numerics.codes import decode
from tegula_sw.arrays import AnyArray, float_codes, fp32_bits
from tegula_sw.devices.base import Device, check_device
from tegula_sw.gemm.operands import OperandFormat, operand_format, operand_from_array
from tegula_sw.gemm.operands import scale_rule as rule_by_name
from tegula_sw.gemm.run import GemmReport, gemm

__all__ = ["evaluate", "matmul", "open_device", "to_codes", "to_floats"]


def open_device(kind: str = "golden", config: TileConfig | str = "small", **options: Any) -> Device:
    """A tile to run programs on.

    Parameters
    ----------
    kind
        "golden": the numpy model, bit-exact and without a clock. "rtl": the hardware, compiled by
        Verilator when a configuration is first used (a minute), which counts cycles.
    config
        The tile, or the name of a preset.
    options
        Those of `GoldenDevice` or `RtlDevice`.

    Raises
    ------
    ValueError
        If there is no such device or preset, or an option is out of range.

    Examples
    --------
    >>> device = open_device("golden", "tiny")
    >>> device.config.n
    4
    """
    config = preset(config) if isinstance(config, str) else check_config(config)
    match kind:
        case "golden":
            from tegula_sw.devices.golden import GoldenDevice

            return GoldenDevice(config, **options)
        case "rtl":
            from tegula_sw.devices.rtl.device import RtlDevice  # imports the hardware

            return RtlDevice(config, **options)
    raise ValueError(f"device {kind!r} is unknown: it must be golden or rtl")


def _format(fmt: FloatFormat | str) -> FloatFormat:
    return fmt if isinstance(fmt, FloatFormat) else format_by_name(fmt)


def to_codes(array: ArrayLike, fmt: FloatFormat | str) -> np.ndarray:
    """Codes of real numbers, rounded once to nearest even; fp8 saturates.

    Parameters
    ----------
    array
        float16, float32, float64, or a bfloat16 or float8 type of ml_dtypes; any shape.
    fmt
        A format, or its name.

    Returns
    -------
    ndarray
        uint8, uint16 or uint32 by the format's width, shaped like `array`.

    Raises
    ------
    ValueError
        If there is no such format, or the dtype is another.

    Examples
    --------
    >>> to_codes([1.0, -0.5, 1000.0], "e4m3fn")
    array([ 56, 176, 126], dtype=uint8)
    """
    return float_codes("array", np.asarray(array), _format(fmt))


def to_floats(codes: np.ndarray, fmt: FloatFormat | str) -> np.ndarray:
    """The exact values of codes, as float32 of their shape.

    Raises
    ------
    ValueError
        If there is no such format, or the dtype is not its.

    Examples
    --------
    >>> to_floats(to_codes([1.0, -0.5, 1000.0], "e4m3fn"), "e4m3fn")
    array([  1. ,  -0.5, 448. ], dtype=float32)
    """
    return decode(codes, _format(fmt))


def matmul(
    device: Device,
    a: ArrayLike,
    b: ArrayLike,
    *,
    format_a: OperandFormat | str = "bf16",
    format_b: OperandFormat | str = "bf16",
    format_out: FloatFormat | str = "fp32",
    saturate: bool = False,
    transpose_a: bool = False,
    transpose_b: bool = False,
    scales_a: np.ndarray | None = None,
    scales_b: np.ndarray | None = None,
    scale_rule: str = "rceil",
) -> tuple[np.ndarray, GemmReport]:
    """C = A @ B by the tile, from memory to memory; `tegula gemm` as a function.

    Parameters
    ----------
    device
        From `open_device`.
    a, b
        A, shape (M, K), and B, shape (K, N), or their transposes: floats, which are cast, or
        unsigned codes of the format.
    format_a, format_b, format_out
        Formats, or their names; `format_out` may be fp32, those of operands "mxfp8_e4m3",
        "mxfp8_e5m2" or "mxfp4_e2m1".
    saturate
        Whether fp8 overflow and infinities become the largest finite number.
    transpose_a, transpose_b
        Whether `a` is A^T, shape (K, M), and `b` is B^T, shape (N, K).
    scales_a, scales_b
        E8M0 codes (uint8) of an operand that holds codes of an MX format: its shape, with
        ceil(K / 32) in the place of K. Floats are quantised instead.
    scale_rule
        How floats get their scales: "rceil", "floor" or "ceil" (docs/numerics.md, section 4.5).

    Returns
    -------
    c
        Shape (M, N): float32 where `format_out` is fp32, else codes.
    report
        Shape, cycles, utilisation and beats.

    Raises
    ------
    TileTrapError
        If the tile traps.
    ValueError
        If an operand is empty, or what is given does not fit the tile or each other.

    Examples
    --------
    >>> device = open_device("golden", "tiny")
    >>> c, report = matmul(device, [[1.0, 2.0, 3.0]], [[1.0], [10.0], [100.0]])
    >>> c
    array([[321.]], dtype=float32)
    >>> report.macs
    3
    """
    fmt_out, rule = _format(format_out), rule_by_name(scale_rule)
    left, right = (
        operand_from_array(
            name,
            np.asarray(array),
            operand_format(fmt) if isinstance(fmt, str) else fmt,
            k_axis=k_axis,
            scales=scales,
            rule=rule,
        )
        for name, array, fmt, k_axis, scales in (
            ("A", a, format_a, int(not transpose_a), scales_a),
            ("B", b, format_b, int(transpose_b), scales_b),
        )
    )
    codes, report = gemm(
        check_device(device),
        *(left.codes, right.codes, left.fmt, right.fmt, fmt_out),
        scales_a=left.scales,
        scales_b=right.scales,
        saturate=saturate,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    return codes.view(np.float32) if fmt_out == FP32 else codes, report


def evaluate(
    device: Device, operation: str, x: ArrayLike, y: ArrayLike | None = None
) -> np.ndarray:
    """An operation or a function of every element, by the tile; `tegula eval` as a function.

    Parameters
    ----------
    device
        From `open_device`.
    operation
        Of two operands: "add", "mul", "max", "select" ...; of one: "abs", "exp", "gelu" ...
        (`tegula eval --help` lists them).
    x, y
        float32, or uint32 patterns of fp32, or floats of Python, as in a list, which are rounded
        to fp32; any shape, the same for both.

    Returns
    -------
    ndarray
        Shape and dtype of `x`; float32 for floats of Python.

    Raises
    ------
    ValueError
        If there is no such operation, or operands do not fit it or each other.
    TileTrapError
        If the tile traps.

    Examples
    --------
    >>> device = open_device("golden", "tiny")
    >>> evaluate(device, "max", np.float32([-1, 2]), np.float32([0, 0]))
    array([0., 2.], dtype=float32)
    >>> evaluate(device, "recip", np.float32([4.0, -0.0]))
    array([0.25, -inf], dtype=float32)
    """
    from tegula_sw.elementwise.evaluate import evaluate_on_device  # imports MPFR

    given = [_fp32_array(array) for array in (x, y) if array is not None]
    operands = [fp32_bits(name, array) for name, array in zip("xy", given, strict=False)]
    bits = evaluate_on_device(check_device(device), operation, *operands)
    return bits.view(np.float32) if given[0].dtype.kind == "f" else bits


def _fp32_array(values: ArrayLike) -> AnyArray:
    """An array as it is; numbers of Python, which are rounded to fp32, as one."""
    array = np.asarray(values)
    if isinstance(values, np.ndarray) or array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
