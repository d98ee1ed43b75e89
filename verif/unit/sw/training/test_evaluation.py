"""Evaluation depends on the weights and the sample alone; samples as codes, whatever their size."""

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2
from tegula_golden.numerics.codes import decode
from tegula_sw.training.data import digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.staging import scaled_codes
from verif.support.training_bench import TINY, batches, rtl_session, session


def settings_of(name, **others):
    return TrainingSettings(**{"format": name, "hidden": 16, "batch": 16} | others)


def forward(trained, inputs):
    """Logits in float64."""
    weights = {name: w.view(np.float32).astype(float) for name, w in trained.weights().items()}
    hidden = np.maximum(inputs @ weights["w1"] + weights["b1"], 0)
    return hidden @ weights["w2"] + weights["b2"]


@pytest.mark.parametrize("blank", [0.0, 1 / 64, 64.0])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_last_batch_of_training_does_not_matter(blank, activation):
    """After a batch of other magnitudes logits are those of a run that goes on with its state."""
    settings = settings_of("fp8", activation=activation)
    trained = session(settings, TINY)
    for batch in batches(settings, 12):
        trained.step(*batch)
    inputs = digits(1)[1].inputs[:40]
    inputs_of_batch, labels = batches(settings, 1)[0]
    trained.step(inputs_of_batch * np.float32(blank), labels)
    logits = trained.logits(inputs)
    if activation == "relu":
        assert np.abs(logits - forward(trained, inputs)).max() < 0.1 * np.abs(logits).max()
    state = trained.save()
    for tensor in ("hidden_scale", "dz_scale", "da_scale"):
        scaled = getattr(trained.classifier.state, tensor)
        for strip in (scaled.scale, scaled.inverse):
            state[:, strip.addr : strip.addr + 2] = 0
    other = type(trained)(trained.device, settings, 64, 10, state=state)
    np.testing.assert_array_equal(other.logits(inputs), logits)


@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_a_blank_last_batch_leaves_the_accuracy(name):
    settings = TrainingSettings(format=name)
    trained = session(settings)
    for batch in batches(settings, 30):
        trained.step(*batch)
    test = digits(1)[1]
    before = trained.accuracy(test.inputs, test.labels)
    inputs, labels = batches(settings, 1)[0]
    trained.step(np.zeros_like(inputs), labels)
    assert before > 0.8
    assert trained.accuracy(test.inputs, test.labels) > before - 0.05


@pytest.mark.parametrize("name", ["bf16", "fp8"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_sample_does_not_depend_on_those_beside_it(name, activation):
    settings = settings_of(name, batch=6, activation=activation)
    trained = session(settings, TINY)
    for batch in batches(settings, 5):
        trained.step(*batch)
    inputs = digits(1)[1].inputs[:11].copy()
    inputs[3] *= 1e6
    inputs[4] *= 1e-6
    inputs[5] = 0
    logits = trained.logits(inputs)
    assert np.isfinite(logits).all()
    alone = np.concatenate([trained.logits(inputs[i : i + 1]) for i in range(11)])
    np.testing.assert_array_equal(logits, alone)
    np.testing.assert_array_equal(trained.logits(inputs[::-1])[::-1], logits)
    with rtl_session(settings, TINY) as rtl:
        for batch in batches(settings, 5):
            rtl.step(*batch)
        np.testing.assert_array_equal(rtl.logits(inputs), logits)


@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_large_pixels_are_not_clipped_in_evaluation(name):
    trained = session(settings_of(name), TINY)
    inputs = digits(1)[1].inputs[:16].copy()
    inputs[:, 30] = 1e6
    want = forward(trained, inputs.astype(float))
    np.testing.assert_allclose(trained.logits(inputs), want, rtol=0.3, atol=0.1 * want.max())


@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_large_pixels_are_not_clipped_in_training(name):
    """A pixel has a gradient in proportion, if it is all there is and has had no weight so far."""
    settings = settings_of(name)
    first = session(settings, TINY)
    state, model = first.save(), first.classifier.state
    for matrix in (model.w1.value, model.w1.operand):
        codes = matrix.codes(state)
        codes[30] = 0
        matrix.write_codes(state, codes)
    bias = np.full((TINY.n, settings.hidden), 1.0, np.float32)
    model.b1.value.write_codes(state, bias.view(np.uint32))
    labels = batches(settings, 1)[0][1]
    momenta = []
    for pixel in (2.0**8, 2.0**20):
        trained = type(first)(first.device, settings, 64, 10, state=state)
        inputs = np.zeros((settings.batch, 64), np.float32)
        inputs[:, 30] = pixel
        assert not trained.step(inputs, labels).skipped
        slot = trained.classifier.state.w1.slots["momentum"]
        momenta.append(slot.codes(trained.save()).view(np.float32))
    assert momenta[0][30].any()
    np.testing.assert_array_equal(momenta[1], 4096 * momenta[0])


def test_samples_that_are_not_finite_are_never_right():
    trained = session(settings_of("fp8"), TINY)
    inputs = digits(1)[1].inputs[:6].copy()
    inputs[:, 10] = (np.nan, np.inf, -np.inf, np.nan, 1e30, 0)
    logits = trained.logits(inputs)
    assert np.isnan(logits[:5]).any(1).all() and np.isfinite(logits[5]).all()
    labels = np.where(np.isnan(logits).any(1), logits.argmax(1), -1)
    assert trained.accuracy(inputs, labels) == 0


# --- samples as codes


@pytest.mark.parametrize("each", [False, True])
def test_codes_times_inverses_are_the_samples(each):
    rng = np.random.default_rng(5)
    inputs = (rng.normal(size=(6, 9)) * 10.0 ** rng.uniform(-3, 3, (6, 1))).astype(np.float32)
    inputs[2] = 0
    codes, inverses = scaled_codes(inputs, E4M3FN, each=each)
    assert codes.dtype == np.uint8 and codes.shape == (6, 9)
    assert inverses.dtype == np.float32 and inverses.shape == (6,)
    assert (np.log2(inverses) % 1 == 0).all()
    scaled = decode(codes, E4M3FN).astype(float)
    largest = np.abs(scaled).max(1) if each else np.array([np.abs(scaled).max()])
    assert ((128 <= largest) & (largest <= 256) | (largest == 0)).all()
    bound = np.maximum(np.abs(inputs) * 2.0**-4, inverses[:, None] * 2.0**-10)
    assert (np.abs(scaled * inverses[:, None] - inputs) <= bound).all()
    if each:
        assert inverses[2] == 1
    else:
        assert len(set(inverses)) == 1


@pytest.mark.parametrize("fmt", [E4M3FN, E5M2], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("each", [False, True])
def test_what_no_scale_can_save_is_nan(fmt, each):
    inputs = np.array([[1, np.inf], [np.nan, 2], [-np.inf, 0], [3, -3]], np.float32)
    codes, inverses = scaled_codes(inputs, fmt, each=each)
    found = decode(codes, fmt).astype(float) * inverses[:, None]
    np.testing.assert_array_equal(found, np.where(np.isinf(inputs), np.nan, inputs))
    far = np.array([[3e38, 1.0]], np.float32)
    codes, inverses = scaled_codes(far, fmt, each=each)
    assert inverses[0] == 2.0**60 and np.isnan(decode(codes, fmt)[0, 0].astype(float))
    near, inverses = scaled_codes(np.full((1, 2), 1e-30, np.float32), fmt, each=each)
    assert inverses[0] == 2.0**-60 and near.shape == (1, 2)


def test_bf16_takes_samples_as_they_are():
    inputs = np.array([[1, 3e38, np.inf, np.nan]], np.float32)
    codes, inverses = scaled_codes(inputs, BF16, each=False)
    found = decode(codes, BF16).astype(float)
    np.testing.assert_allclose(found, inputs, rtol=2.0**-8)
    assert inverses.tolist() == [1]
