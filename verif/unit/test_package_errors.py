"""Arguments of the public interface: what is wrong is a ValueError that names it and the limit."""

import re

import numpy as np
import pytest

import tegula_sw as tsw

GOLDEN = tsw.open_device("golden", "tiny")
EYE = np.eye(4, dtype=np.float32)


def assert_refused(call, message):
    """The call raises a ValueError that has `message` in it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.open_device("golden", 5), "config must be a TileConfig"),
        (lambda: tsw.open_device("rtl", None), "config must be a TileConfig"),
        (lambda: tsw.GoldenDevice("tiny"), "as preset('small'), not 'tiny'"),
        (lambda: tsw.RtlDevice("tiny"), "as preset('small'), not 'tiny'"),
        (lambda: tsw.TileConfig(name=5), "name must be a str, not 5"),
        (
            lambda: tsw.TileConfig(fp8_formats="e4m3fn"),
            "fp8_formats must be a tuple of FloatFormat, not 'e4m3fn'",
        ),
        (lambda: tsw.TileConfig(fp8_formats=[tsw.E5M2]), "must be a tuple of FloatFormat, not ["),
        (lambda: tsw.TileConfig(fp8_formats=("e5m2",)), "of FloatFormat, not ('e5m2',)"),
    ],
)
def test_configurations(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.matmul("golden", EYE, EYE), "device must be a Device"),
        (lambda: tsw.evaluate(None, "exp", EYE), "as open_device() gives it, not None"),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_out=None),
            "format None is unknown: it must be one of bf16, e4m3fn",
        ),
        (lambda: tsw.to_codes(EYE, 3), "format 3 is unknown"),
        (lambda: tsw.to_floats(EYE, ["bf16"]), "format ['bf16'] is unknown"),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_a="fp32"),
            "format_a must be one of bf16, e4m3fn, e5m2 on tile 'tiny', not fp32",
        ),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_b="e3m4"),
            "format_b must be one of bf16, e4m3fn, e5m2 on tile 'tiny', not e3m4",
        ),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_out="e4m3"),
            "format_out must be one of bf16, e4m3fn, e5m2, fp32 on tile 'tiny', not e4m3",
        ),
        (lambda: tsw.to_codes("1.5", "bf16"), "array () has dtype <U3"),
        (lambda: tsw.to_codes([None], "bf16"), "array (1,) has dtype object"),
        (lambda: tsw.evaluate(GOLDEN, "exp", [1, 2]), "x (2,) has dtype int64"),
        (lambda: tsw.evaluate(GOLDEN, "exp", np.ones(2)), "x (2,) has dtype float64"),
        (lambda: tsw.evaluate(GOLDEN, "add", [1.0], "y"), "y () has dtype <U1"),
    ],
)
def test_jobs_on_arrays(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize("fmt", ["bf16", "e4m3fn", "fp32"])
@pytest.mark.parametrize(
    "number", [1.5, np.float32(1.5), np.array(1.5), np.array(1.5, np.float16)], ids=repr
)
def test_a_number_has_a_code(number, fmt):
    code = tsw.to_codes(number, fmt)
    assert isinstance(code, np.ndarray)
    np.testing.assert_array_equal(code, tsw.to_codes([1.5], fmt)[0], strict=True)
    value = tsw.to_floats(code, fmt)
    assert isinstance(value, np.ndarray)
    np.testing.assert_array_equal(value, np.array(1.5, np.float32), strict=True)


@pytest.mark.parametrize("x", [[1.0, 0.1], (1, 0.1), 0.1, [[1e300], [-1e-50]]], ids=repr)
def test_evaluate_rounds_floats_of_python(x):
    with np.errstate(over="ignore"):
        array = np.asarray(x).astype(np.float32)
    for operands in ((x,), (x, x)):
        operation = ["neg", "add"][len(operands) - 1]
        expected = tsw.evaluate(GOLDEN, operation, *(array for _ in operands))
        found = tsw.evaluate(GOLDEN, operation, *operands)
        np.testing.assert_array_equal(found, expected, strict=True)
