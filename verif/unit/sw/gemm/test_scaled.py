"""Products of block-scaled operands on the golden device: golden's bits, no deadlocks, no races."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.plan import SCALE_ROWS
from tegula_sw.gemm.run import gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.race_check import check_program
from verif.stimuli.operands import pair

SMALL = preset("small")
CONFIGS = {
    "small": SMALL,
    "tiny": preset("tiny"),
    "medium": preset("medium"),
    "n 32": TileConfig(n=32, packed_fp8=True, mx=True),
    "lines shorter than rows of scales": preset("medium", axi_data_width=64),
    "one bank": preset("small", psum_banks=1),
    "few rows of scales": preset("tiny", psum_banks=16, psum_bank_words=128),
}
FORMATS = {
    "packed": (E4M3FN, E5M2, BF16),
    "packed, to fp32": (E5M2, E4M3FN, FP32),
    "one code a word": (E5M2, E5M2, E4M3FN),
}


def operands(rng, size, formats, kind):
    """Codes of A and B, and their scales: near 1, a few far away."""
    m, n, k = size
    stationary, b = pair(rng, (k, m, n), formats[0], formats[1], kind)
    blocks = -(-k // 32)
    scales = []
    for shape in ((m, blocks), (blocks, n)):
        far = rng.random(shape) < 0.05
        near, anywhere = rng.integers(117, 138, shape), rng.integers(0, 256, shape)
        scales.append(np.where(far, anywhere, near).astype(np.uint8))
    return np.ascontiguousarray(stationary.T), b, *scales


def check(config, size, formats, seed, *, sides=(True, True), transposed=(False, False), **options):
    rng = np.random.default_rng(seed)
    a, b, scales_a, scales_b = operands(rng, size, formats, "normal")
    scales = [
        each if side else None for each, side in zip((scales_a, scales_b), sides, strict=True)
    ]
    expected = golden_gemm(
        *(a, b, *formats),
        rows=config.n,
        packed=(formats[0], formats[1]) in config.packed_pairs,
        scales_a=scales[0],
        scales_b=scales[1],
    )
    a, b, *scales = [
        np.ascontiguousarray(each.T) if each is not None and turned else each
        for each, turned in zip((a, b, *scales), transposed * 2, strict=True)
    ]
    codes, report = gemm(
        *(GoldenDevice(config), a, b, *formats),
        transpose_a=transposed[0],
        transpose_b=transposed[1],
        scales_a=scales[0],
        scales_b=scales[1],
        **options,
    )
    assert np.array_equal(codes, expected)
    return report


@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS.keys())
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_scaled_products_are_those_of_golden(config, formats):
    sizes = ((1, 1, 1), (9, 17, 33), (40, 33, 100), (70, 150, 65))
    for seed, size in enumerate(sizes):
        check(config, size, formats, seed)


@pytest.mark.parametrize("transposed", [(False, True), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)], ids=str)
def test_any_side_may_be_scaled_and_transposed(sides, transposed):
    for seed, formats in enumerate(FORMATS.values()):
        for swapped in (False, True):
            if not (swapped and formats[2] == FP32):
                check(
                    *(SMALL, (21, 43, 75), formats, seed),
                    sides=sides,
                    transposed=transposed,
                    swapped=swapped,
                )


@pytest.mark.parametrize("k", [*range(1, 70, 3), 96, 127, 128, 129, 1000])
def test_sums_of_every_length_are_those_of_golden(k):
    check(SMALL, (9, 70, k), FORMATS["packed"], k)
    check(CONFIGS["n 32"], (40, 9, k), FORMATS["packed"], k)


def test_programs_have_no_race_and_use_half_of_the_scale_buffer():
    for config in CONFIGS.values():
        for size in ((64, 64, 64), (100, 200, 130)):
            shape = GemmShape.whole(*size, *FORMATS["packed"], scaled_a=True, scaled_b=True)
            where = {"a": 0, "b": 1 << 20, "c": 1 << 21, "scales_a": 1 << 22, "scales_b": 1 << 23}
            program, plan = build_gemm(config, shape, GemmAddresses(**where))
            assert check_program(config, program) >= 6
            assert 0 < plan.scale_rows <= SCALE_ROWS
            assert len(program) <= 16 * plan.granules()


def test_scaled_products_cost_little_more():
    for size, share in ((64, 0.03), (128, 0.005), (256, 0.001)):
        cycles = [
            check(SMALL, (size,) * 3, (E4M3FN, E4M3FN, BF16), 1, sides=sides, predicted_latency=20)
            for sides in ((False, False), (True, True))
        ]
        plain, scaled = (report.cycles_predicted for report in cycles)
        assert plain < scaled <= plain * (1 + share)


def test_scales_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    a, b, scales_a, scales_b = operands(rng, (4, 5, 40), FORMATS["packed"], "normal")
    device, formats = GoldenDevice(SMALL), FORMATS["packed"]
    with pytest.raises(ValueError, match=r"scales_a must be E8M0 codes, uint8 of shape \(4, 2\)"):
        gemm(device, a, b, *formats, scales_a=scales_a.T)
    with pytest.raises(ValueError, match=r"scales_b must be E8M0 codes, uint8 of shape \(2, 5\)"):
        gemm(device, a, b, *formats, scales_b=scales_b.astype(np.int16))
    with pytest.raises(ValueError, match="must be of 8-bit formats, both, not e4m3fn x bf16"):
        gemm(device, a, b.astype(np.uint16), E4M3FN, BF16, BF16, scales_a=scales_a)
    plain = GoldenDevice(preset("small", mx=False))
    with pytest.raises(ValueError, match="tile 'small' has no block scaling"):
        gemm(plain, a, b, *formats, scales_a=scales_a)
