"""KernelBuilder: what it refuses, how it hands out space, and what no kernel uses."""

import numpy as np
import pytest

from tegula.formats import BF16, FP32
from tegula_sw.functions.loading import TableRecords
from tegula_sw.kernels.builder import KernelBuilder
from tegula_sw.kernels.operands import PerPartition, Step
from tegula_sw.program.program import MemoryImage
from verif.support.kernel_bench import TINY, KernelBench, codes, normal, repeated, values


@pytest.fixture
def b():
    """A builder without functions."""
    return KernelBuilder(TINY)


@pytest.fixture
def strip(b):
    return b.scratchpad.matrix("strip", 4, 8, BF16).strip()


def test_a_matrix_larger_than_the_scratchpad_is_refused(b):
    with pytest.raises(ValueError, match=r"matrix big \(400 x 400, fp32\) does not fit: it needs"):
        b.scratchpad.matrix("big", 400, 400, FP32)


def test_a_product_of_matrices_that_disagree_is_refused(b):
    a, c = (b.scratchpad.matrix(name, rows, 8, BF16) for name, rows in (("a", 4), ("c", 8)))
    with pytest.raises(ValueError, match="a and c disagree on K: 4 and 8 rows"):
        next(b.product(a, c))


def test_more_than_two_steps_are_refused(b, strip):
    with pytest.raises(ValueError, match="at most two steps, not 3"):
        b.compute(strip, strip, Step("add"), Step("add"), Step("add"))


def test_a_function_that_was_not_loaded_is_refused(b, strip):
    with pytest.raises(ValueError, match="'exp' is not in the program's table: it has none"):
        b.apply(strip, strip, "exp")


def test_a_scalar_of_each_partition_is_a_single_column(b, strip):
    with pytest.raises(ValueError, match="single fp32 column"):
        b.compute(strip, strip, Step("add", PerPartition(strip)))


class Operands:
    """A builder with a function, and operands of several shapes in the scratchpad and PSUM."""

    def __init__(self):
        self.b = b = KernelBuilder(TINY, table=TableRecords.add(TINY, ["exp"], MemoryImage()))
        self.strip = b.scratchpad.matrix("a", 4, 8, FP32).strip()
        self.column = self.strip.slice(0, 1)
        stationary = b.scratchpad.matrix("operand", 4, 4, BF16)
        _, self.sums = next(b.product(stationary, b.scratchpad.matrix("moving", 4, 8, BF16)))

    def few_columns(self):
        return self.strip.slice(0, 2), "8 columns are computed, but an operand has 2"

    def few_rows(self):
        return self.strip.top(3), "4 rows are computed, but an operand has 3"


@pytest.mark.parametrize("shape", [Operands.few_columns, Operands.few_rows])
@pytest.mark.parametrize(
    "call",
    [
        lambda o, wrong: o.b.compute(o.strip, wrong),
        lambda o, wrong: o.b.apply(o.strip, wrong, "exp"),
        lambda o, wrong: o.b.compute(o.strip, o.sums, Step("add", wrong)),
    ],
    ids=["compute", "apply", "second operand"],
)
def test_an_operand_of_another_shape_is_refused(call, shape):
    operands = Operands()
    wrong, message = shape(operands)
    with pytest.raises(ValueError, match=message):
        call(operands, wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda o, few: o.b.reduce(o.column, o.strip, Step("mul", few), reduction="sum"),
        lambda o, few: o.b.apply(o.strip, o.strip, "exp", bias=few),
    ],
    ids=["reduce", "apply"],
)
def test_a_scalar_of_too_few_partitions_is_refused(call):
    operands = Operands()
    with pytest.raises(ValueError, match="4 rows are computed, but an operand has 3"):
        call(operands, PerPartition(operands.column.top(3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda o: o.b.compute(o.strip, o.strip, Step("add", o.sums)),
        lambda o: o.b.compute(o.sums, o.strip),
        lambda o: o.b.apply(o.strip, o.sums, "exp"),
    ],
    ids=["second operand", "destination", "argument"],
)
def test_only_x_of_the_vector_engine_may_be_in_psum(call):
    with pytest.raises(ValueError, match="only the vector engine's x may be in PSUM"):
        call(Operands())


def test_a_wide_matrix_is_not_loaded_transposed(b):
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
