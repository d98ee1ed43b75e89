"""GEMMs on the compiled tile: bit-equal to golden, whatever the shape, data, stalls or preset."""

from itertools import chain, product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.cast import cast as golden_cast
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.elementwise.cast import cast_on_device
from tegula_sw.gemm.run import gemm
from verif.stimuli.operands import KINDS, PAIR_KINDS, cast_inputs, pair
from verif.support.marks import slow_params

SMALL = preset("small")
TINY = preset("tiny")
INPUTS = (BF16, E4M3FN, E5M2)
OUTPUTS = (BF16, E4M3FN, E5M2, FP32)

FLOORS = {64: 0.90, 100: 0.88, 127: 0.95, 128: 0.97}
"""Least utilisation of `small`, bf16 in and out, read latency 20, by M = N = K."""

TILES = {
    "tiny": [(TINY, 1, 0.0), (TINY, 37, 0.3)],
    "small": [(SMALL, 20, 0.0), (SMALL, 5, 0.01), (SMALL, 60, 0.5)],
}
"""Configuration, read latency and stall rate of devices, by preset."""

presets = pytest.mark.parametrize("name", ["tiny", *slow_params(["small"])])


@pytest.fixture(scope="module")
def devices():
    """The devices of a preset, in the order of `TILES`, made once where they are used."""
    made = {}

    def devices_of(name):
        if name not in made:
            made[name] = [
                RtlDevice(config, mem_latency=latency, stall=stall, max_cycles=2_000_000)
                for config, latency, stall in TILES[name]
            ]
        return made[name]

    yield devices_of
    for device in chain.from_iterable(made.values()):
        device.close()


def operands_of(rng, m, k, n, fmt_a, fmt_b, kind):
    """A (M x K) and B (K x N)."""
    stationary, moving = pair(rng, (k, m, n), fmt_a, fmt_b, kind)
    return np.ascontiguousarray(stationary.T), moving


def gemm_of(device, a, b, formats, transposed, **options):
    """Result and report, with A and B transposed in memory or not."""
    in_memory = [
        np.ascontiguousarray(codes.T) if flip else codes
        for codes, flip in zip((a, b), transposed, strict=True)
    ]
    transpose_a, transpose_b = transposed
    return gemm(
        device, *in_memory, *formats, transpose_a=transpose_a, transpose_b=transpose_b, **options
    )


@presets
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_gemm_equals_golden_bit_for_bit(devices, name, data):
    device = data.draw(st.sampled_from(devices(name)))
    m, n = (data.draw(st.integers(1, 40)) for _ in range(2))
    k = data.draw(st.integers(1, 70))
    fmt_a, fmt_b = (data.draw(st.sampled_from(INPUTS)) for _ in range(2))
    fmt_out = data.draw(st.sampled_from(OUTPUTS))
    kind = data.draw(st.sampled_from(sorted({**KINDS, **PAIR_KINDS})))
    saturate = data.draw(st.booleans())
    transposed = data.draw(st.tuples(st.booleans(), st.booleans()))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    a, b = operands_of(rng, m, k, n, fmt_a, fmt_b, kind)
    result, report = gemm_of(device, a, b, (fmt_a, fmt_b, fmt_out), transposed, saturate=saturate)
    expected = golden_gemm(a, b, fmt_a, fmt_b, fmt_out, saturate=saturate, rows=device.config.n)
    assert result.dtype == expected.dtype
    assert np.array_equal(result, expected)
    assert report.cycles > 0


@pytest.mark.slow
@pytest.mark.parametrize("formats", [(E4M3FN, E4M3FN), (E4M3FN, E5M2)])
def test_fp8_results_do_not_depend_on_order_or_array_size(devices, formats):
    rng = np.random.default_rng(11)
    a, b = operands_of(rng, 9, 200, 11, *formats, "finite_codes")
    order = rng.permutation(200)
    results = [
        gemm(devices(name)[0], x, y, *formats, FP32)[0]
        for name in TILES
        for x, y in ((a, b), (a[:, order], b[order]))
    ]
    for other in results[1:]:
        assert np.array_equal(results[0], other)


@pytest.mark.slow
@pytest.mark.parametrize("transposed", list(product((False, True), repeat=2)), ids=str)
@pytest.mark.parametrize("size", FLOORS)
def test_utilisation_does_not_fall(devices, size, transposed):
    rng = np.random.default_rng(size)
    a, b = operands_of(rng, size, size, size, BF16, BF16, "normal")
    formats = (BF16, BF16, BF16)
    result, report = gemm_of(devices("small")[0], a, b, formats, transposed)
    assert np.array_equal(result, golden_gemm(a, b, BF16, BF16, BF16))
    assert report.utilisation >= FLOORS[size]


@presets
@pytest.mark.parametrize("fmt", [BF16, E4M3FN, E5M2])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("saturate", [False, True])
def test_casts_on_the_tile_equal_golden(devices, name, fmt, stochastic, saturate):
    rng = np.random.default_rng(3)
    bits = cast_inputs(rng, 3000, fmt)
    random = rng.integers(0, 1 << 16, bits.shape, dtype=np.uint16) if stochastic else None
    device = devices(name)[1]
    codes = cast_on_device(device, bits, fmt, saturate=saturate, random=random)
    expected = golden_cast(bits, fmt, saturate=saturate, random=random)
    assert np.array_equal(codes, expected)
