"""Kernels: against float64, by finite differences, and the same bits on both devices.

Operands are taken as what their codes stand for, so that results differ from float64 by the
rounding of the kernel's own operations only, which the bounds follow.
"""

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_sw.kernels import optimizers
from tegula_sw.kernels.linear import bias_grad, input_grad, linear, weight_grad
from tegula_sw.kernels.pointwise import convert, gelu, gelu_grad, relu, relu_grad
from verif.support.kernel_bench import (
    TINY,
    KernelBench,
    codes,
    normal,
    repeated,
    run_optimizer,
    run_softmax,
    values,
)

EPS32 = 2.0**-24
EPS_BF16 = 2.0**-8
"""Largest relative error of a rounding."""

BATCH, INPUTS, OUTPUTS = 10, 7, 37
"""No multiple of four partitions among them, and products wider and narrower than a load."""


def finite_differences(f, x, h=1e-6):
    """Gradient of the scalar f at x, by central differences in float64."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (f(up) - f(down)) / (2 * h)
    return gradient


@pytest.mark.parametrize("fmt", [BF16, E4M3FN], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("is_relu", [False, True], ids=["plain", "relu"])
@pytest.mark.parametrize("is_scaled", [False, True], ids=["unscaled", "scaled"])
def test_linear(fmt, is_relu, is_scaled):
    x, w = codes(normal(1, BATCH, INPUTS), fmt), codes(normal(2, INPUTS, OUTPUTS), fmt)
    bias = normal(3, OUTPUTS).astype(np.float32)
    bench = KernelBench()
    y = bench.matrix(BATCH, OUTPUTS, FP32)
    scale = bench.bring(repeated([0.25]), FP32).strip() if is_scaled else None
    linear(
        bench.builder,
        bench.bring(np.ascontiguousarray(x.T), fmt),
        bench.bring(w, fmt),
        bench.bring(repeated(bias), FP32),
        y,
        scale=scale,
        relu=is_relu,
    )
    bench.fetch(y)
    (result,) = bench.run()
    product = values(x, fmt) @ values(w, fmt) * (0.25 if is_scaled else 1)
    want = product + bias
    want = np.maximum(want, 0) if is_relu else want
    # Sums of some tens of products are exact to 2^-40 of the largest; then three roundings.
    bound = 3 * EPS32 * (np.abs(values(x, fmt)) @ np.abs(values(w, fmt)) + np.abs(bias))
    assert (np.abs(values(result, FP32) - want) <= bound).all()


@pytest.mark.parametrize("fmt", [BF16, E5M2], ids=lambda fmt: fmt.name)
def test_gradients_of_linear(fmt):
    forward = BF16 if fmt == BF16 else E4M3FN
    x, w = codes(normal(4, BATCH, INPUTS), forward), codes(normal(5, INPUTS, OUTPUTS), forward)
    dy = codes(normal(6, BATCH, OUTPUTS), fmt)
    bench = KernelBench()
    b = bench.builder
    dy_matrix = bench.bring(dy, fmt)
    dy_t = bench.matrix(OUTPUTS, BATCH, fmt)
    convert(b, dy_matrix, dy_t, transposed=True)
    dx = bench.matrix(BATCH, INPUTS, FP32)
    input_grad(b, dy_t, bench.bring(np.ascontiguousarray(w.T), forward), dx)
    dw, db = bench.matrix(INPUTS, OUTPUTS, FP32), bench.matrix(TINY.n, OUTPUTS, FP32)
    for bands, columns, sums, steps in weight_grad(b, bench.bring(x, forward), dy_matrix):
        width = columns[1] - columns[0]
        for number, band in enumerate(bands):
            part = sums.slice(number * width, (number + 1) * width)
            b.compute(dw.band(band).slice(*columns), part, *steps)
    ones = bench.bring(codes(np.ones((BATCH, TINY.n)), forward), forward)
    for columns, sums, steps in bias_grad(b, ones, dy_matrix):
        b.compute(db.strip().slice(*columns), sums, *steps)
    for matrix in (dx, dw, db):
        bench.fetch(matrix)
    dx, dw, db = (values(result, FP32) for result in bench.run())
    assert (db == db[0]).all()

    x, w, dy = values(x, forward), values(w, forward), values(dy, fmt)
    for got, a, c in ((dx, dy, w.T), (dw, x.T, dy), (db[:1], np.ones((1, BATCH)), dy)):
        assert (np.abs(got - a @ c) <= 2 * EPS32 * (np.abs(a) @ np.abs(c))).all()

    # dy is the gradient of sum(y * dy): by x, w and a bias of zero.
    def objective(x, w, bias):
        return np.sum((x @ w + bias) * dy)

    zero = np.zeros(OUTPUTS)
    checks = (
        (dx, finite_differences(lambda x: objective(x, w, zero), x)),
        (dw, finite_differences(lambda w: objective(x, w, zero), w)),
        (db[0], finite_differences(lambda bias: objective(x, w, bias), zero)),
    )
    for got, want in checks:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_relu_and_its_gradient():
    x = normal(7, BATCH, OUTPUTS)
    x[0, :4] = (0.0, -0.0, np.inf, -np.inf)
    x, dy = codes(x, BF16), codes(normal(8, BATCH, OUTPUTS), BF16)
    bench = KernelBench()
    y, dx = bench.matrix(BATCH, OUTPUTS, BF16), bench.matrix(BATCH, OUTPUTS, BF16)
    relu(bench.builder, bench.bring(x, BF16), y)
    relu_grad(bench.builder, y, bench.bring(dy, BF16), dx)
    bench.fetch(y)
    bench.fetch(dx)
    y, dx = bench.run()
    x = values(x, BF16)
    np.testing.assert_array_equal(values(y, BF16), np.maximum(x, 0))
    np.testing.assert_array_equal(values(dx, BF16), np.where(x > 0, values(dy, BF16), 0))
    inner = np.abs(x) > 1e-3
    slope = finite_differences(
        lambda x: np.sum(np.maximum(x, 0) * values(dy, BF16)), np.where(np.isfinite(x), x, 1), 1e-7
    )
    np.testing.assert_allclose(
        np.where(inner & np.isfinite(x), values(dx, BF16) - slope, 0), 0, atol=1e-6
    )


def test_what_relu_does_not_pass_has_no_gradient():
    """Selected, not multiplied by zero: an infinity or a NaN behind does not come through."""
    y = codes(np.array([[0.0, 0.0, 0.0, 2.0, 2.0, 2.0]] * 3), BF16)
    dy = codes(np.array([[np.inf, -np.inf, np.nan, np.inf, -np.inf, np.nan]] * 3), BF16)
    bench = KernelBench()
    dx = bench.matrix(3, 6, BF16)
    relu_grad(bench.builder, bench.bring(y, BF16), bench.bring(dy, BF16), dx)
    bench.fetch(dx)
    (dx,) = bench.run()
    np.testing.assert_array_equal(values(dx, BF16), [[0, 0, 0, np.inf, -np.inf, np.nan]] * 3)


def test_gelu_of_large_numbers_and_of_none():
    x = np.array([[20.0, -20.0, 1e38, -1e38, np.inf, -np.inf, np.nan, 0.0]])
    bench = KernelBench(("gelu", "gelu_grad"))
    x_matrix = bench.bring(codes(x, BF16), BF16)
    dy = bench.bring(codes(np.full_like(x, -3.0), BF16), BF16)
    y, dx = bench.matrix(1, 8, FP32), bench.matrix(1, 8, FP32)
    gelu(bench.builder, x_matrix, y)
    gelu_grad(bench.builder, x_matrix, dy, dx)
    bench.fetch(y)
    bench.fetch(dx)
    y, dx = (values(result, FP32)[0] for result in bench.run())
    x = values(codes(x, BF16), BF16)[0]
    np.testing.assert_array_equal(y, np.where(x > 0, x, np.where(np.isnan(x), np.nan, 0)))
    np.testing.assert_array_equal(dx, [-3, 0, -3, 0, -3, 0, np.nan, -1.5])


def test_gelu_and_its_gradient():
    from scipy.special import erf

    def reference(x):
        return x * (1 + erf(x / np.sqrt(2))) / 2

    x = codes(normal(9, BATCH, OUTPUTS, scale=2), BF16)
    dy = codes(normal(10, BATCH, OUTPUTS), BF16)
    bench = KernelBench(("gelu", "gelu_grad"))
    x_matrix = bench.bring(x, BF16)
    y, dx = bench.matrix(BATCH, OUTPUTS, FP32), bench.matrix(BATCH, OUTPUTS, FP32)
    gelu(bench.builder, x_matrix, y)
    gelu_grad(bench.builder, x_matrix, bench.bring(dy, BF16), dx)
    bench.fetch(y)
    bench.fetch(dx)
    y, dx = (values(result, FP32) for result in bench.run())
    x, dy = values(x, BF16), values(dy, BF16)
    # docs/functions.md: 1.5 ulp but for the tail below -2, which is good to a bf16 ulp.
    np.testing.assert_allclose(y, reference(x), rtol=2e-6, atol=2e-6)
    slope = finite_differences(lambda x: np.sum(reference(x) * dy), x, 1e-5)
    np.testing.assert_allclose(dx, slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(10, 7), (8, 10), (3, 2), (4, 33)])
def test_softmax_cross_entropy(shape):
    batch, classes = shape
    z = normal(11, *shape, scale=4).astype(np.float32)
    z[0] += 200  # exp of this overflows
    labels = np.random.default_rng(12).integers(0, classes, batch)
    dz, total = run_softmax(z, labels)

    def reference(z):
        highest = z.max(1, keepdims=True)
        log_sum = np.log(np.exp(z - highest).sum(1)) + highest[:, 0]
        return np.mean(log_sum - z[np.arange(batch), labels])

    z = z.astype(np.float64)
    assert total == pytest.approx(reference(z), abs=2e-5)
    probabilities = np.exp(z - z.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    probabilities[np.arange(batch), labels] -= 1
    # Of z - m, which is rounded to fp32, the exponential takes the absolute error.
    np.testing.assert_allclose(dz, probabilities / batch, rtol=0, atol=1e-6)
    np.testing.assert_allclose(dz, finite_differences(reference, z), rtol=0, atol=1e-6)


def random_gradients(count):
    return [normal(30 + step, TINY.n, 37).astype(np.float32) for step in range(count)]


def test_sgd_with_momentum():
    optimizer = optimizers.Momentum(lr=0.05, momentum=0.9)
    gradients = random_gradients(6)
    found = run_optimizer(optimizer, FP32, gradients)
    w, u = found["start"], np.zeros_like(found["start"])
    for gradient in gradients:
        u = 0.9 * u + gradient
        w = w - 0.05 * u
    np.testing.assert_allclose(found["end"], w, rtol=0, atol=6 * 8 * EPS32)


def adamw(w, gradients, lr, weight_decay):
    """Weights after these gradients, in float64."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, gradient in enumerate(gradients, 1):
        g = gradient.astype(np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        w = (1 - lr * weight_decay) * w - lr * step
    return w


@pytest.mark.parametrize("magnitude", [1.0, 2e19, 5.7e20, 1e-20, 1e-30])
def test_adamw(magnitude):
    """From gradients whose square underflows to those whose share in v just does not overflow."""
    optimizer = optimizers.AdamW(lr=0.01, weight_decay=0.1)
    gradients = [np.clip(g, -1, 1) * magnitude for g in random_gradients(5)]
    gradients = [gradient.astype(np.float32) for gradient in gradients]
    if magnitude > 1e20:
        gradients = gradients[:1]
        gradients[0][0, 0] = magnitude
    found = run_optimizer(optimizer, FP32, gradients)
    assert np.isfinite(found["square"]).all()
    # 1 - beta^t cancels in fp32: a few 2^-24 of 0.999 out of 0.001 t are 1e-4 of the correction.
    want = adamw(found["start"], gradients, 0.01, 0.1)
    np.testing.assert_allclose(found["end"], want, rtol=0, atol=2e-5)


def test_a_square_that_overflows_stays_visible():
    """The weight does not show it: a step over an infinite root is zero."""
    gradient = np.ones((TINY.n, 8), np.float32)
    gradient[1, 2] = 6e20
    found = run_optimizer(optimizers.AdamW(lr=0.01), FP32, [gradient])
    assert np.isfinite(found["end"]).all()
    assert np.argwhere(~np.isfinite(found["square"])).tolist() == [[1, 2]]
    assert optimizers.AdamW.hidden_overflow == ("square",)


@pytest.mark.parametrize("kind", [optimizers.Momentum, optimizers.AdamW])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_leaves_no_finite_weight(kind, bad):
    gradient = np.ones((TINY.n, 8), np.float32)
    gradient[3, 5] = bad
    found = run_optimizer(kind(lr=1e-3), FP32, [gradient])
    assert np.argwhere(~np.isfinite(found["end"])).tolist() == [[3, 5]]


def test_momentum_that_overflows_leaves_no_finite_weight():
    """The second step's momentum, or at a large rate the product of the first."""
    gradient = np.full((TINY.n, 8), 2e38, np.float32)
    for lr, steps in ((1e-3, 2), (2.0, 1)):
        found = run_optimizer(optimizers.Momentum(lr=lr), FP32, [gradient] * steps)
        assert not np.isfinite(found["end"]).any()


def test_bf16_weights_round_stochastically_without_bias():
    """Steps far below a bf16 ulp: nearest rounding loses them all, stochastic only on average."""
    rows, columns, steps = TINY.n, 512, 16
    optimizer = optimizers.Momentum(lr=2.0**-12, momentum=0.0)
    one = codes(np.ones((rows, columns)), BF16)
    results = {}
    for rounding in ("nearest", "stochastic"):
        bench = KernelBench()
        weight = bench.bring(one, BF16)
        slots = {"momentum": bench.bring(np.zeros((rows, columns), np.uint32), FP32).strip()}
        grad = bench.bring(codes(np.ones((rows, columns)), FP32), FP32).strip()
        for _ in range(steps):
            optimizer.decay(bench.builder, slots)
            optimizer.accumulate(bench.builder, slots, grad, ())
            update = optimizers.Update(
                weight=weight.strip(), slots=slots, scalars={}, rounding=rounding
            )
            optimizer.apply(bench.builder, update)
        bench.fetch(weight)
        results[rounding] = values(bench.run()[0], BF16)
    assert (results["nearest"] == 1).all()
    want = 1 - steps * 2.0**-12
    # A weight is 1 or some steps of 2^-8 less: variance of a draw below 2^-12 * 2^-8.
    deviation = np.sqrt(steps * 2.0**-20 / (rows * columns))
    assert abs(results["stochastic"].mean() - want) < 5 * deviation


@pytest.mark.parametrize("fmt", [BF16, FP32], ids=lambda fmt: fmt.name)
def test_gradients_of_several_batches_add_up(fmt):
    """In memory by stores, and in the scratchpad by loads, that add."""
    parts = [normal(20 + i, BATCH, 16) for i in range(3)]
    parts = [codes(part, fmt) for part in parts]
    bench = KernelBench()
    b = bench.builder
    address = bench.image.add(parts[0])
    matrices = [bench.bring(part, fmt) for part in parts]
    for matrix in matrices[1:]:
        b.store(matrix, address, accumulate=True)
    b.load(matrices[0], address, accumulate=True)
    bench.fetch(matrices[0])
    (result,) = bench.run()
    first, second, third = (values(part, fmt) for part in parts)
    want = 2 * first + second + third
    bound = 4 * (EPS32 if fmt == FP32 else EPS_BF16) * sum(map(np.abs, (first, second, third)))
    assert (np.abs(values(result, fmt) - want) <= bound).all()
    with pytest.raises(ValueError, match="must be bf16 or fp32 to add, not e4m3fn"):
        b.load(bench.matrix(4, 8, E4M3FN), address, accumulate=True)
