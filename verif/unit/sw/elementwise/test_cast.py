"""The cast kernel on the golden device."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.cast import cast
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.elementwise import cast as casts
from tegula_sw.elementwise.cast import CastAddresses, build_cast, cast_on_device
from tegula_sw.program.race_check import check_program
from verif.stimuli.operands import cast_inputs

CONFIGS = [preset("tiny"), preset("small", queue_depth=2), TileConfig(n=32, sbuf_depth=1024)]
FORMATS = (BF16, E4M3FN, E5M2, FP32)


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("size", [1, 7, 64, 65, 1000, 30011])
def test_codes_equal_the_golden_cast(size, fmt, stochastic):
    config = CONFIGS[size % len(CONFIGS)]
    rng = np.random.default_rng(size)
    bits = cast_inputs(rng, size, fmt)
    random = rng.integers(0, 1 << 16, size).astype(np.uint16) if stochastic else None
    for saturate in (False, True):
        codes = cast_on_device(GoldenDevice(config), bits, fmt, saturate=saturate, random=random)
        expected = cast(bits, fmt, saturate=saturate, random=random)
        assert codes.dtype == expected.dtype
        assert np.array_equal(codes, expected)


def test_shapes_are_kept_and_long_arrays_are_cut(monkeypatch):
    monkeypatch.setattr(casts, "_MAX_ELEMENTS", 100)
    bits = cast_inputs(np.random.default_rng(0), 7 * 9 * 5, BF16).reshape(7, 9, 5)
    random = np.arange(bits.size, dtype=np.uint16).reshape(bits.shape)
    codes = cast_on_device(GoldenDevice(CONFIGS[0]), bits, BF16, random=random)
    assert np.array_equal(codes, cast(bits, BF16, random=random))


@pytest.mark.parametrize("random", [None, 1 << 20])
def test_programs_neither_deadlock_nor_race(random):
    addresses = CastAddresses(source=0, random=random, result=1 << 21)
    program = build_cast(CONFIGS[1], 100_003, E5M2, addresses)
    assert check_program(CONFIGS[1], program) > 30


def test_a_cast_of_nothing_is_nothing():
    codes = cast_on_device(GoldenDevice(CONFIGS[0]), np.zeros((3, 0), np.uint32), E5M2)
    assert (codes.shape, codes.dtype) == ((3, 0), np.uint8)


def test_arguments_that_do_not_fit_are_refused():
    device = GoldenDevice(CONFIGS[0])
    bits = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match="bits must be uint32, not float32"):
        cast_on_device(device, bits.view(np.float32), BF16)
    with pytest.raises(ValueError, match=r"random must be uint16 \(4,\), not uint16 \(3,\)"):
        cast_on_device(device, bits, BF16, random=np.zeros(3, np.uint16))
    with pytest.raises(ValueError, match="count must be at least 1"):
        build_cast(CONFIGS[0], 0, BF16, CastAddresses(source=0, random=None, result=0))
    with pytest.raises(ValueError, match="too small for a cast"):
        cast_on_device(GoldenDevice(TileConfig(n=4, sbuf_depth=64)), bits, BF16)
