"""Scales of 8-bit tensors: from a history, with nothing in it that makes no scale."""

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_sw.kernels import scaling
from tegula_sw.kernels.pointwise import convert
from verif.support.kernel_bench import TINY, KernelBench, codes, normal, values

INF, NAN = np.inf, np.nan
FIRST = 2.0**4
"""Scale of every tensor before there is a magnitude."""


def make_scales(bench, fmts, steps):
    def place(name, content):
        return bench.bring(codes(content, FP32), FP32, name)

    return scaling.Scales.make(TINY.n, [(fmt, FIRST) for fmt in fmts], steps, place)


def scales_after(fmts, steps, magnitudes):
    """Scales after each of some steps, (steps, tensors), of magnitudes (steps, tensors)."""
    bench = KernelBench(scaling.FUNCTIONS)
    scales = make_scales(bench, fmts, steps)
    for row in magnitudes:
        for tensor, magnitude in zip(scales.tensors(), row, strict=True):
            x = np.zeros((TINY.n, 3), np.float32)
            x[2, 1] = -magnitude
            matrix = bench.bring(x.view(np.uint32), FP32)
            scaling.largest_magnitude(bench.builder, matrix, tensor.largest)
        scaling.update_scales(bench.builder, scales)
        for matrix in (scales.scale, scales.inverse):
            copy = bench.matrix(TINY.n, len(fmts), FP32)
            convert(bench.builder, matrix, copy)
            bench.fetch(copy)
    results = [values(result, FP32) for result in bench.run()]
    for result in results:
        assert (result == result[0]).all()
    scale, inverse = np.array(results[::2])[:, 0], np.array(results[1::2])[:, 0]
    assert (inverse == 1 / scale).all()
    return scale


def wanted(fmt, magnitude):
    """The power of two that brings a magnitude to the binade below that of the largest number."""
    return 2.0 ** (scaling.target_exponent(fmt) - np.floor(np.log2(magnitude)))


@pytest.mark.parametrize("rows", [8, 10, 3])
@pytest.mark.parametrize("columns", [9, 8], ids=["with gaps", "packed"])
@pytest.mark.parametrize("row", [0, -1], ids=["first row", "last row"])
def test_the_largest_magnitude_is_found_in_every_row(rows, columns, row):
    x = normal(14, rows, columns)
    x[row, 3] = -50
    bench = KernelBench(scaling.FUNCTIONS)
    scales = make_scales(bench, [E4M3FN], 1)
    matrix = bench.bring(codes(x, BF16), BF16)
    scaling.largest_magnitude(bench.builder, matrix, scales.tensors()[0].largest)
    bench.fetch(scales.largest)
    (found,) = bench.run()
    want = np.zeros(TINY.n)
    for r, magnitudes in enumerate(np.abs(values(codes(x, BF16), BF16))):
        want[r % TINY.n] = max(want[r % TINY.n], magnitudes.max())
    np.testing.assert_array_equal(values(found, FP32)[:, 0], want)


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("magnitude", [3e-6, 0.49, 1.0, 1.9, 200.0, 6e4])
def test_a_scale_leaves_room_to_grow(fmt, magnitude):
    largest = 448 if fmt == E4M3FN else 57344
    ((scale,),) = scales_after([fmt], 1, [[magnitude]])
    assert largest / 3.51 <= magnitude * scale <= largest / 1.74
    assert scale == wanted(fmt, magnitude)


def test_zero_infinity_and_nan_make_no_scale():
    """A tensor of zeros, then 1.0 and 0.5, which then come back as they were."""
    for bad in (0.0, INF, NAN):
        scales = scales_after([E4M3FN], 1, [[bad], [1.0], [bad], [bad]])[:, 0]
        assert scales.tolist() == [FIRST, 128, 128, 128]


def test_a_history_remembers_its_steps_and_no_more():
    steps = [[1.0], [8.0], [2.0], [0.0], [NAN], [1.0], [0.0], [0.0], [0.0], [4.0]]
    largest = [1, 8, 8, 8, 2, 1, 1, 1, 1, 4]
    found = scales_after([E4M3FN], 3, steps)[:, 0]
    assert found.tolist() == [128 / magnitude for magnitude in largest]


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_tensors_have_scales_of_their_own(count):
    """Also more of them than partitions, and one that has nothing to say."""
    fmts = [(E4M3FN, E5M2)[i % 2] for i in range(count)]
    magnitudes = [3.0**i for i in range(count)]
    magnitudes[count // 2] = INF
    (found,) = scales_after(fmts, 2, [magnitudes])
    want = [wanted(fmt, m) for fmt, m in zip(fmts, magnitudes, strict=True) if m != INF]
    want.insert(count // 2, FIRST)
    assert found.tolist() == want


def test_scales_have_bounds():
    found = scales_after([E4M3FN, E5M2], 1, [[1e-30, 3e38]])
    assert found.tolist() == [[2.0**60, 2.0**-60]]


def test_a_history_has_a_step():
    with pytest.raises(ValueError, match="history must have at least 1 step, not 0"):
        make_scales(KernelBench(), [E4M3FN], 0)


def test_rows_have_scales_of_their_own():
    x = normal(15, 10, 7)
    x *= 10.0 ** np.arange(-6, 14, 2)[:, None]
    x[4] = 0
    x[5, 3], x[6, 2] = INF, NAN
    bits = x.astype(np.float32).view(np.uint32)
    bench = KernelBench(scaling.FUNCTIONS)
    matrix = bench.bring(bits, FP32)
    rows = scaling.RowScales(E4M3FN, bench.matrix(10, 1, FP32), bench.matrix(10, 1, FP32))
    y = bench.matrix(10, 7, E4M3FN)
    for band in range(matrix.bands):
        scaling.scale_rows(bench.builder, matrix, rows, band)
        convert(bench.builder, matrix, y, scale=rows.scale.band(band), band=band)
    for result in (y, rows.scale, rows.inverse):
        bench.fetch(result)
    y, scale, inverse = bench.run()
    y, scale, inverse = values(y, E4M3FN), values(scale, FP32), values(inverse, FP32)
    good = [r for r in range(10) if r not in (4, 5, 6)]
    largest = np.abs(values(bits, FP32)[good]).max(1)
    assert scale[good, 0].tolist() == wanted(E4M3FN, largest).tolist()
    assert (scale[good] * inverse[good] == 1).all()
    # Half an ulp of three bits, or of the smallest number where that is more.
    bound = np.maximum(np.abs(x[good]) * 2.0**-4, inverse[good] * 2.0**-10)
    assert (np.abs(y[good] * inverse[good] - x[good]) <= bound).all()
    assert (y[4] == 0).all()
    assert np.isnan(y[5, 3]) and np.isnan(y[6]).any()
