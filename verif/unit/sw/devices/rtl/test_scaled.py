"""Products of block-scaled operands on the compiled tile: golden's bits, and little more time."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.gemm.run import gemm
from verif.stimuli.operands import pair
from verif.support.marks import slow_params
from verif.support.timing_bench import TimedDevice

presets = pytest.mark.parametrize("name", ["tiny", *slow_params(["small"])])


@pytest.fixture(scope="module")
def devices():
    """Devices of presets, made once where they are used."""
    made = {}

    def device_of(name):
        if name not in made:
            made[name] = TimedDevice(preset(name), 20)
        return made[name]

    yield device_of
    for device in made.values():
        device.close()


def product(device, size, formats, kind, *, scaled=True):
    """The device's last program, whose result is golden's."""
    rng = np.random.default_rng(sum(size))
    m, n, k = size
    stationary, b = pair(rng, (k, m, n), formats[0], formats[1], kind)
    a, blocks = np.ascontiguousarray(stationary.T), -(-k // 32)
    scales = {}
    if scaled:
        near = rng.integers(110, 140, (m + n, blocks)).astype(np.uint8)
        scales = {"scales_a": near[:m], "scales_b": np.ascontiguousarray(near[m:].T)}
    result, _ = gemm(device, a, b, *formats, **scales)
    expected = golden_gemm(
        *(a, b, *formats),
        rows=device.config.n,
        packed=(formats[0], formats[1]) in device.config.packed_pairs,
        **scales,
    )
    assert np.array_equal(result, expected)
    return device.runs[-1]


@presets
@pytest.mark.parametrize("kind", ["normal", "special", "cancel", "mixed_scale", "extremes"])
def test_products_are_goldens_and_their_time_is_predicted(devices, name, kind):
    for formats in ((E4M3FN, E4M3FN, BF16), (E5M2, E4M3FN, FP32), (E5M2, E5M2, E4M3FN)):
        for size in ((5, 7, 3), (33, 20, 70), (16, 40, 127)):
            product(devices(name), size, formats, kind).check(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "share"), [(64, 0.03), (128, 0.005)])
def test_scales_cost_little(devices, size, share):
    formats = E4M3FN, E4M3FN, BF16
    plain, scaled = (
        product(devices("small"), (size,) * 3, formats, "normal", scaled=flag).measured.cycles
        for flag in (False, True)
    )
    assert plain < scaled <= plain * (1 + share)
