"""`tegula cast` to MX formats as users see it."""

import numpy as np
import pytest

from tegula.formats import MXFP4_E2M1, MXFP8_E4M3
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.mx import e2m1_of_e4m3fn, quantised
from verif.support.cli_bench import assert_error

X = (np.arange(-300, 300, dtype=np.float32) ** 3).reshape(2, 5, 60)
CAST = ["cast", "X.npy", "-o", "Y.npy"]


@pytest.fixture
def cast(run, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return lambda *more: run(*CAST, *more)


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
def test_codes_and_scales_are_written(cast, tmp_path, rule):
    to = ["--to", "mxfp8_e4m3", "--scale-rule", rule.name.lower(), "--scales", "S.npy"]
    assert cast(*to) == (0, "", "")
    scales, codes = quantised(X.view(np.uint32), MXFP8_E4M3, rule)
    assert np.array_equal(np.load(tmp_path / "Y.npy"), codes)
    assert np.array_equal(np.load(tmp_path / "S.npy"), scales)
    assert scales.shape == (2, 5, 2)


def test_codes_of_mxfp4_are_those_of_e2m1(cast, tmp_path):
    assert cast("--to", "mxfp4_e2m1", "--scales", "S.npy") == (0, "", "")
    _, codes = quantised(X.view(np.uint32), MXFP4_E2M1, ScaleRule.RCEIL)
    found = np.load(tmp_path / "Y.npy")
    assert np.array_equal(found, e2m1_of_e4m3fn(codes))
    assert set(found.flat) <= set(range(16))


def test_what_does_not_fit_is_refused(cast, tmp_path):
    mx = ["--to", "mxfp8_e5m2"]
    for arguments, words in (
        (mx, ("--to mxfp8_e5m2 needs --scales S.npy",)),
        (["--to", "bf16", "--scales", "S.npy"], ("--scales needs --to with a format of MX",)),
        ([*mx, "--scales", "S.npy", "--rounding", "sr"], ("rounds to nearest even only",)),
        ([*mx, "--scales", "Y.npy"], ("Y.npy",)),
        ([*mx, "--scales", "S.npy", "--preset", "ecp5"], ("is unknown: it must be one of bf16",)),
        (["--to", "mxfp6", "--scales", "S.npy"], ("'mxfp6' is unknown", "mxfp4_e2m1")),
    ):
        assert_error(cast(*arguments), *words, label="tegula cast")
    assert not (tmp_path / "Y.npy").exists()
    np.save(tmp_path / "X.npy", np.float32(1))
    words = ("X.npy must have elements along its last axis: its shape is ()",)
    assert_error(cast(*mx, "--scales", "S.npy"), *words, label="tegula cast")
