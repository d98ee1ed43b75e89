"""KernelBuilder: what it refuses, how it hands out space, and what no kernel uses."""

import numpy as np
import pytest

from tegula.formats import BF16, FP32
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.operands import PerPartition, Step
from tegula_sw.program.program import MemoryImage
from verif.support.kernel_bench import TINY, KernelBench, codes, normal, repeated, values


def test_what_does_not_fit_is_said_in_a_sentence():
    b = KernelBuilder(TINY)
    with pytest.raises(ValueError, match=r"matrix big \(400 x 400, fp32\) does not fit: it needs"):
        b.scratchpad.matrix("big", 400, 400, FP32)
    a = b.scratchpad.matrix("a", 4, 8, BF16)
    c = b.scratchpad.matrix("c", 8, 8, BF16)
    with pytest.raises(ValueError, match="a and c disagree on K: 4 and 8 rows"):
        next(b.product(a, c))
    with pytest.raises(ValueError, match="at most two steps, not 3"):
        b.compute(a.strip(), a.strip(), Step("add"), Step("add"), Step("add"))
    with pytest.raises(ValueError, match="'exp' is not in the program's table: it has none"):
        b.apply(a.strip(), a.strip(), "exp")
    with pytest.raises(ValueError, match="single fp32 column"):
        b.compute(a.strip(), a.strip(), Step("add", PerPartition(a.strip())))


def test_operands_that_are_no_match_are_said_in_a_sentence():
    b = KernelBuilder(TINY, table=TableRecords.add(TINY, ["exp"], MemoryImage()))
    strip = b.scratchpad.matrix("a", 4, 8, FP32).strip()
    column = strip.slice(0, 1)
    operand = b.scratchpad.matrix("operand", 4, 4, BF16)
    _, sums = next(b.product(operand, b.scratchpad.matrix("moving", 4, 8, BF16)))
    for wrong, message in (
        (strip.slice(0, 2), "8 columns are computed, but an operand has 2"),
        (strip.top(3), "4 rows are computed, but an operand has 3"),
    ):
        with pytest.raises(ValueError, match=message):
            b.compute(strip, wrong)
        with pytest.raises(ValueError, match=message):
            b.apply(strip, wrong, "exp")
        with pytest.raises(ValueError, match=message):
            b.compute(strip, sums, Step("add", wrong))
    with pytest.raises(ValueError, match="4 rows are computed, but an operand has 3"):
        b.reduce(column, strip, Step("mul", PerPartition(column.top(3))), reduction="sum")
    with pytest.raises(ValueError, match="4 rows are computed, but an operand has 3"):
        b.apply(strip, strip, "exp", bias=PerPartition(column.top(3)))
    only_x = "only the vector engine's x may be in PSUM"
    for call in (
        lambda: b.compute(strip, strip, Step("add", sums)),
        lambda: b.compute(sums, strip),
        lambda: b.apply(strip, sums, "exp"),
    ):
        with pytest.raises(ValueError, match=only_x):
            call()
    with pytest.raises(ValueError, match="wide must be of 8 or 16 bits, not fp32"):
        b.load_transposed(b.scratchpad.matrix("wide", 4, 4, FP32), 0)


def test_a_row_for_all_partitions_and_the_sum_of_a_functions_results():
    row = normal(15, 1, 37)
    bench = KernelBench(("exp",))
    b = bench.builder
    x, y = bench.matrix(TINY.n, 37, BF16), bench.matrix(TINY.n, 37, BF16)
    total = bench.matrix(TINY.n, 1, FP32)
    b.load_repeated(x, bench.image.add(codes(row, BF16)))
    b.apply(y.strip(), x.strip(), "exp", total=total.strip())
    bench.fetch(x)
    bench.fetch(total)
    x, total = bench.run()
    np.testing.assert_array_equal(x, repeated(row, BF16))
    np.testing.assert_allclose(
        values(total, FP32), np.exp(values(x, BF16)).sum(1, keepdims=True), rtol=1e-6
    )


def test_packed_matrices_are_taken_in_few_strips_and_not_transferred():
    b = KernelBuilder(TINY)
    packed = b.scratchpad.matrix("packed", 10, 3, FP32, packed=True)
    assert packed.spans() == [range(2), range(2, 3)]
    assert packed.span(range(2)).columns == 6
    with pytest.raises(ValueError, match="bands 0 to 3 of packed are no strip"):
        packed.span(range(3))
    with pytest.raises(ValueError, match="packed is packed"):
        b.load(packed, 0)


def test_buffers_of_a_loop_rotate():
    """Each pass of a loop gets other words than the one before, as long as there are some."""
    b = KernelBuilder(TINY)
    places = []
    for _ in range(4):
        with b.temporary("buffer", 4, 64, BF16) as buffer:
            places.append(buffer.addr)
    assert len(set(places)) == 4


@pytest.mark.parametrize("shape", [(10, 6), (10, 40)], ids=["by turns", "wide"])
def test_a_product_from_the_last_band_is_the_same_product(shape):
    """Rows of ten bands that come in the other order, and wait for the last of them."""
    fmt, (k, columns) = BF16, shape
    stationary = codes(normal(16, k, 7), fmt)
    moving = codes(normal(17, k, columns), fmt)
    results = []
    for from_last in (False, True):
        bench = KernelBench()
        b = bench.builder
        y = bench.matrix(7, columns, FP32)
        left, right = bench.bring(stationary, fmt), bench.bring(moving, fmt)
        for bands, sums in b.product(left, right, from_last=from_last):
            for number, band in enumerate(bands):
                part = sums.slice(number * columns, (number + 1) * columns)
                b.compute(y.band(band), part.top(y.band_rows(band)))
        bench.fetch(y)
        results.append(values(bench.run()[0], FP32))
    np.testing.assert_array_equal(*results)
    want = values(stationary, fmt).T @ values(moving, fmt)
    np.testing.assert_allclose(results[0], want, rtol=1e-5, atol=1e-5)


def test_a_reduction_is_longer_than_an_instruction():
    """8191 elements are the most that one instruction takes."""
    bench = KernelBench()
    x = np.ones((TINY.n, 1), np.float32)
    x[2] = -3
    column = bench.bring(x.view(np.uint32), FP32).strip().repeated(10_000)
    for reduction in ("sum", "amax"):
        result = bench.matrix(TINY.n, 1, FP32)
        bench.builder.reduce(result.strip(), column, reduction=reduction)
        bench.fetch(result)
    total, largest = (values(result, FP32)[:, 0].tolist() for result in bench.run())
    assert total == [10_000, 10_000, -30_000, 10_000]
    assert largest == [1, 1, 3, 1]
