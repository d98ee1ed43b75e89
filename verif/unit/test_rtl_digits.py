"""A real job on the compiled tile: the handwritten digits that ship with scikit-learn."""

import ml_dtypes
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, FP32
from tegula_golden.gemm import gemm as golden_gemm
from tegula_sw.gemm import gemm
from tegula_sw.rtl.device import RtlDevice

DTYPES = {BF16: (ml_dtypes.bfloat16, np.uint16), E4M3FN: (ml_dtypes.float8_e4m3fn, np.uint8)}


@pytest.fixture(scope="module")
def pixels():
    """1797 x 64 integers, 0 to 16."""
    digits = load_digits().data.astype(np.int64)
    assert digits.shape == (1797, 64)
    assert digits.max() == 16
    return digits


@pytest.fixture(scope="module")
def device():
    made = RtlDevice(preset("small"), mem_latency=20, max_cycles=2_000_000)
    yield made
    made.close()


def encode(values, fmt):
    dtype, code = DTYPES[fmt]
    return np.ascontiguousarray(values.astype(np.float32).astype(dtype).view(code))


@pytest.mark.parametrize("fmt", [E4M3FN, BF16], ids=lambda fmt: fmt.name)
def test_the_gram_matrix_is_the_integer_one(device, pixels, fmt):
    codes = encode(pixels, fmt)
    assert np.array_equal(codes.view(DTYPES[fmt][0]).astype(np.int64), pixels), "pixels are exact"
    result, report = gemm(device, np.ascontiguousarray(codes.T), codes, fmt, fmt, FP32)
    gram = result.view(np.float32).astype(np.int64)
    assert np.array_equal(gram, pixels.T @ pixels)
    assert report.utilisation > 0.95


def test_a_layer_of_weights_equals_golden(device, pixels):
    weights = np.random.default_rng(10).normal(0, 0.1, (64, 10))
    a, b = encode(pixels, BF16), encode(weights, BF16)
    result, report = gemm(device, a, b, BF16, BF16, BF16)
    assert result.shape == (1797, 10)
    assert np.array_equal(result, golden_gemm(a, b, BF16, BF16, BF16))
    assert report.write_beats >= result.nbytes / 16
