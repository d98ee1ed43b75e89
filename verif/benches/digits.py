"""A real job on the compiled tile: the handwritten digits that ship with scikit-learn.

All pixels are integers of 0 to 16, exact in E4M3FN and in bf16, and so are the sums by Theorem 1 of
docs/numerics.md: the Gram matrix on the tile must be the integer one.
"""

import time
from collections.abc import Callable

import ml_dtypes
import numpy as np
from sklearn.datasets import load_digits

from tegula.config import TileConfig
from tegula.formats import BF16, E4M3FN, FP32, FloatFormat
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.gemm.run import gemm
from verif.benches.simulation import OUTPUT, TestOutcome

__all__ = ["TESTS", "run"]

_DTYPES = {BF16: (ml_dtypes.bfloat16, np.uint16), E4M3FN: (ml_dtypes.float8_e4m3fn, np.uint8)}
_MAX_CYCLES = 4_000_000
_STALL = 0.01


def _pixels() -> np.ndarray:
    digits = load_digits().data.astype(np.int64)
    assert digits.shape == (1797, 64) and digits.max() == 16
    return digits


def _encode(values: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    dtype, code = _DTYPES[fmt]
    return np.ascontiguousarray(values.astype(np.float32).astype(dtype).view(code))


def _gram(device: RtlDevice, seed: int, fmt: FloatFormat) -> int:
    """X^T X equals the integer Gram matrix; cycles."""
    pixels = _pixels()
    codes = _encode(pixels, fmt)
    assert (codes.view(_DTYPES[fmt][0]).astype(np.int64) == pixels).all(), "pixels are exact"
    result, report = gemm(device, np.ascontiguousarray(codes.T), codes, fmt, fmt, FP32)
    assert (result.view(np.float32).astype(np.int64) == pixels.T @ pixels).all()
    return report.cycles


def _layer(device: RtlDevice, seed: int) -> int:
    """X @ W for 64 x 10 weights in bf16 equals golden; cycles."""
    weights = np.random.default_rng(seed).normal(0, 0.1, (64, 10))
    a, b = _encode(_pixels(), BF16), _encode(weights, BF16)
    result, report = gemm(device, a, b, BF16, BF16, BF16)
    golden = golden_gemm(a, b, BF16, BF16, BF16, rows=device.config.n)
    assert result.shape == (1797, 10) and (result == golden).all()
    return report.cycles


TESTS: dict[str, Callable[[RtlDevice, int], int]] = {
    "the_gram_matrix_in_e4m3fn_is_the_integer_one": lambda d, seed: _gram(d, seed, E4M3FN),
    "the_gram_matrix_in_bf16_is_the_integer_one": lambda d, seed: _gram(d, seed, BF16),
    "a_layer_of_weights_equals_golden": _layer,
}


def run(test: str, config: TileConfig, seed: int, waves: bool) -> TestOutcome:
    """Run a test of `TESTS` on the compiled tile, with memory that pauses now and then."""
    start = time.monotonic()
    (OUTPUT / "run").mkdir(parents=True, exist_ok=True)
    wave_file = OUTPUT / "run" / f"digits_{test}.vcd" if waves else None
    device = RtlDevice(config, stall=_STALL, seed=seed, max_cycles=_MAX_CYCLES, waves=wave_file)
    try:
        cycles = TESTS[test](device, seed)
    finally:
        device.close()
    return TestOutcome(test=test, cycles=cycles, seconds=time.monotonic() - start, message="")
