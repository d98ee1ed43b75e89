"""A layer's check: every weight and every bias counts, and nothing finite is taken for bad."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, FP32
from tegula_sw.kernels.linear import check_layers
from verif.support.kernel_bench import TINY, KernelBench, codes, normal, values

SHAPES = (10, 37), (37, 3)
"""Inputs and outputs of two layers: no multiples of four partitions, wide and narrow."""


def check(fmt, weights, biases, config=TINY):
    bench = KernelBench(config=config)
    zeros = bench.bring(np.zeros((config.n, config.n), np.uint8), fmt)
    layers = [
        (
            bench.bring(w, fmt),
            bench.bring(np.tile(bias, (config.n, 1)).astype(np.float32).view(np.uint32), FP32),
        )
        for w, bias in zip(weights, biases, strict=True)
    ]
    result = bench.matrix(config.n, 1, FP32)
    check_layers(bench.builder, zeros, layers, result.strip())
    bench.fetch(result)
    (found,) = bench.run()
    return values(found, FP32)[:, 0]


def layers(fmt, scale=1.0):
    weights = [codes(normal(50 + i, *shape, scale=scale), fmt) for i, shape in enumerate(SHAPES)]
    return weights, [normal(60 + i, shape[1], scale=scale) for i, shape in enumerate(SHAPES)]


@pytest.mark.parametrize("fmt", [BF16, E4M3FN], ids=lambda fmt: fmt.name)
def test_finite_layers_give_zero(fmt):
    weights, biases = layers(fmt)
    weights[0][3:7] = fmt.max_finite
    biases[0][:] = np.finfo(np.float32).max
    biases[1][:] = -np.finfo(np.float32).max
    assert (check(fmt, weights, biases) == 0).all()


@pytest.mark.parametrize("where", ["first weight", "last weight", "first bias", "last bias"])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("fmt", [BF16, E4M3FN], ids=lambda fmt: fmt.name)
def test_a_number_that_is_not_finite_gives_nan(fmt, where, layer, bad):
    weights, biases = layers(fmt)
    index = -1 if where.startswith("last") else 0
    if "bias" in where:
        biases[layer][index] = bad
    elif fmt == BF16:
        weights[layer][index, index] = codes(np.array([bad]), BF16)[0]
    else:
        weights[layer][index, index] = 0x7F  # e4m3fn has no infinity
    assert np.isnan(check(fmt, weights, biases)).all()


def test_outputs_of_more_than_half_of_psum_are_checked_in_parts():
    config = preset("tiny", psum_banks=1, psum_bank_words=16)
    weights, biases = layers(BF16)
    assert (check(BF16, weights, biases, config) == 0).all()
    biases[0][20] = np.nan
    assert np.isnan(check(BF16, weights, biases, config)).all()
