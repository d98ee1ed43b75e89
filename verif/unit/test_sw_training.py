"""Training: the same bits on both devices, near float64, and through interruptions."""

import json
import os
import signal

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16
from tegula_golden.codes import decode
from tegula_sw.golden import GoldenDevice
from tegula_sw.rtl.device import RtlDevice
from tegula_sw.training.classifier import Classifier
from tegula_sw.training.data import CLASSES, INPUTS, digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.record import Record
from tegula_sw.training.run import train
from tegula_sw.training.session import Session, weights_hash

TINY, SMALL = preset("tiny"), preset("small")
STEPS = 10

RUNS = {
    "bf16": {},
    "fp8": {"format": "fp8"},
    "bf16 weights, stochastic": {"weights": "bf16", "rounding": "sr", "lr": 0.01},
    "adamw, gelu": {"optimizer": "adamw", "activation": "gelu"},
    "fp8, uneven": {
        "format": "fp8",
        "optimizer": "adamw",
        "weights": "bf16",
        "rounding": "sr",
        "batch": 29,
        "hidden": 37,
    },
}


def batches(settings, count):
    samples, _ = digits(settings.seed)
    rng = np.random.default_rng(7)
    for _ in range(count):
        chosen = rng.permutation(len(samples))[: settings.batch]
        yield samples.inputs[chosen], samples.labels[chosen]


def train_steps(device, settings, count=STEPS):
    session = Session(device, settings, INPUTS, CLASSES)
    results = [session.step(*batch) for batch in batches(settings, count)]
    return session, results


@pytest.mark.parametrize("name", RUNS)
def test_ten_steps_on_rtl_leave_the_weights_of_golden(name):
    settings = TrainingSettings(**RUNS[name])
    golden, expected = train_steps(GoldenDevice(SMALL), settings)
    device = RtlDevice(SMALL, mem_latency=20, max_cycles=200_000)
    try:
        session, results = train_steps(device, settings)
        state = session.save()
    finally:
        device.close()
    assert [result.loss for result in results] == [result.loss for result in expected]
    assert weights_hash(session.classifier.weights(state)) == weights_hash(golden.weights())
    np.testing.assert_array_equal(state, golden.save())
    assert np.ptp([result.cycles for result in results]) < 20
    losses = [result.loss for result in results]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_step_uses_the_array_well():
    """Cycles of a step are counted: the figures of the README rest on them."""
    device = RtlDevice(SMALL, mem_latency=20, max_cycles=200_000)
    try:
        session, results = train_steps(device, TrainingSettings(), 2)
    finally:
        device.close()
    utilisation = session.classifier.step_macs / (results[-1].cycles * SMALL.peak_macs_per_cycle)
    assert utilisation >= 0.50


def test_stalls_change_no_bit():
    settings = TrainingSettings(hidden=12, batch=8, weights="bf16", rounding="sr")
    golden, _ = train_steps(GoldenDevice(TINY), settings, 3)
    device = RtlDevice(TINY, mem_latency=33, stall=0.2, seed=5, max_cycles=400_000)
    try:
        session, _ = train_steps(device, settings, 3)
        assert weights_hash(session.weights()) == weights_hash(golden.weights())
    finally:
        device.close()


def test_losses_and_weights_follow_float64():
    settings = TrainingSettings(hidden=24, batch=16)
    session = Session(GoldenDevice(SMALL), settings, INPUTS, CLASSES)
    start = session.weights()
    w1, w2 = (start[name].view(np.float32).astype(np.float64) for name in ("w1", "w2"))
    b1, b2 = np.zeros(24), np.zeros(CLASSES)
    parameters = [w1, b1, w2, b2]
    momenta = [np.zeros_like(parameter) for parameter in parameters]
    for inputs, labels in batches(settings, 8):
        loss = session.step(inputs, labels).loss
        x = inputs.astype(np.float64)
        hidden = np.maximum(x @ w1 + b1, 0)
        z = hidden @ w2 + b2
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        rows = np.arange(16)
        # bf16 operands: eight bits each, averaged over a batch.
        assert loss == pytest.approx(-np.log(p[rows, labels]).mean(), abs=0.02)
        p[rows, labels] -= 1
        p /= 16
        dh = (p @ w2.T) * (hidden > 0)
        gradients = [x.T @ dh, dh.sum(0), hidden.T @ p, p.sum(0)]
        for parameter, momentum, gradient in zip(parameters, momenta, gradients, strict=True):
            momentum *= 0.9
            momentum += gradient
            parameter -= 0.1 * momentum
    end = session.weights()
    for name, want in zip(("w1", "b1", "w2", "b2"), parameters, strict=True):
        moved = np.linalg.norm(want - start[name].view(np.float32))
        assert np.linalg.norm(end[name].view(np.float32) - want) < 0.05 * moved, name


def test_bf16_weights_are_bf16():
    settings = TrainingSettings(weights="bf16", rounding="sr", hidden=8, batch=8)
    session, _ = train_steps(GoldenDevice(TINY), settings, 2)
    weights = session.weights()
    assert weights["w1"].dtype == np.uint16 and weights["w1"].shape == (INPUTS, 8)
    assert np.abs(decode(weights["w1"], BF16)).max() < 2


def test_seeds_share_nothing():
    models = [Classifier(TINY, TrainingSettings(seed=s, hidden=8), 8, 4) for s in (1, 2)]
    first, second = (model.weights(model.initial_state()) for model in models)
    assert (first["w1"] != second["w1"]).mean() > 0.99
    assert (digits(1)[1].labels != digits(2)[1].labels).any()


def test_logits_of_any_number_of_samples():
    session, _ = train_steps(GoldenDevice(TINY), TrainingSettings(hidden=8, batch=8), 1)
    inputs = digits(1)[1].inputs[:13]
    whole = session.logits(inputs)
    assert whole.shape == (13, CLASSES)
    np.testing.assert_array_equal(whole[8:], session.logits(inputs[8:]))


def run_settings(**others):
    return TrainingSettings(hidden=8, batch=64, epochs=3, weights="bf16", rounding="sr", **others)


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, monkeypatch):
    whole = train(GoldenDevice(TINY), run_settings(), tmp_path / "whole")
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 10_000

    original, calls = Session.step, []

    def interrupted(self, *batch):
        calls.append(1)
        if len(calls) == 30:  # in the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *batch)

    monkeypatch.setattr(Session, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(GoldenDevice(TINY), run_settings(), tmp_path / "cut")
    log = json.loads((tmp_path / "cut" / "log.json").read_text())
    assert len(log["losses"]) == 30 and len(log["epochs"]) == 1
    resumed = train(GoldenDevice(TINY), run_settings(), tmp_path / "cut", resume=True)
    assert resumed.losses == whole.losses
    assert resumed.epochs == whole.epochs
    logs = [json.loads((tmp_path / name / "log.json").read_text()) for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    saved = [np.load(tmp_path / name / "weights.npz") for name in ("whole", "cut")]
    for name in ("w1", "b1", "w2", "b2"):
        np.testing.assert_array_equal(saved[0][name], saved[1][name])


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="has no run to resume"):
        Record.resume(folder, run_settings(), "golden", "tiny")
    train(GoldenDevice(TINY), run_settings(), folder)
    with pytest.raises(ValueError, match="has a run already"):
        train(GoldenDevice(TINY), run_settings(), folder)
    with pytest.raises(ValueError, match="has seed 1, not 2"):
        train(GoldenDevice(TINY), run_settings(seed=2), folder, resume=True)
    longer = TrainingSettings(**{**vars(run_settings()), "epochs": 4})
    assert len(train(GoldenDevice(TINY), longer, folder, resume=True).epochs) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format": "int8"}, "format must be one of bf16, fp8, not 'int8'"),
        ({"hidden": 0}, "hidden must be 1 to 4096, not 0"),
        ({"seed": 1 << 32}, "seed must be 0 to 4294967295, not 4294967296"),
        ({"lr": -1.0}, "lr must be greater than 0"),
        ({"rounding": "sr"}, "rounding sr needs weights bf16"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**wrong)


def test_a_network_too_large_for_the_tile_is_said_so():
    with pytest.raises(ValueError, match=r"w1 .*does not fit: it needs \d+ words"):
        Classifier(TINY, TrainingSettings(hidden=1024), INPUTS, CLASSES)
