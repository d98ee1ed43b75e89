"""Training: the same bits on both devices, near float64, and through interruptions."""

import json
from pathlib import Path

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16
from tegula_golden.numerics.codes import decode
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.training import run
from tegula_sw.training.classifier import Classifier
from tegula_sw.training.data import CLASSES, INPUTS, Samples, digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.record import Record
from tegula_sw.training.run import train
from tegula_sw.training.session import Session, weights_hash
from verif.support.training_bench import RUNS, SMALL, TINY, batches, interrupt_in_step

STEPS = 10


def train_steps(device, settings, count=STEPS):
    trained = Session(device, settings, INPUTS, CLASSES)
    results = [trained.step(*batch) for batch in batches(settings, count)]
    return trained, results


@pytest.mark.slow
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
    assert weights_hash(session.classifier.state.weights(state)) == weights_hash(golden.weights())
    np.testing.assert_array_equal(state, golden.save())
    assert np.ptp([result.cycles for result in results]) < 20
    losses = [result.loss for result in results]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.slow
def test_a_step_uses_the_array_well():
    """Cycles of a step are counted: the figures of the README rest on them."""
    device = RtlDevice(SMALL, mem_latency=20, max_cycles=200_000)
    try:
        session, results = train_steps(device, TrainingSettings(), 2)
    finally:
        device.close()
    utilisation = session.classifier.step_macs / (results[-1].cycles * SMALL.peak_macs_per_cycle)
    assert utilisation >= 0.52


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
    first, second = (model.state.weights(model.state.initial()) for model in models)
    assert (first["w1"] != second["w1"]).mean() > 0.99
    assert (digits(1)[1].labels != digits(2)[1].labels).any()


def test_logits_of_any_number_of_samples():
    session, _ = train_steps(GoldenDevice(TINY), TrainingSettings(hidden=8, batch=8), 1)
    inputs = digits(1)[1].inputs[:13]
    whole = session.logits(inputs)
    assert whole.shape == (13, CLASSES)
    np.testing.assert_array_equal(whole[8:], session.logits(inputs[8:]))


@pytest.fixture
def few_samples(monkeypatch):
    """Epochs of five steps of 64 samples, and two batches to test on."""

    def few(seed):
        return tuple(
            Samples(samples.inputs[:count], samples.labels[:count])
            for samples, count in zip(digits(seed), (330, 70), strict=True)
        )

    monkeypatch.setattr(run, "digits", few)


def run_settings(**others):
    return TrainingSettings(hidden=8, batch=64, epochs=3, weights="bf16", rounding="sr", **others)


def test_an_interrupted_run_resumes_to_the_same_bits(tmp_path, monkeypatch, few_samples):
    whole = train(GoldenDevice(TINY), run_settings(), tmp_path / "whole")
    assert (tmp_path / "whole" / "curves.png").stat().st_size > 10_000

    interrupt_in_step(monkeypatch, 7)  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        train(GoldenDevice(TINY), run_settings(), tmp_path / "cut")
    log = json.loads((tmp_path / "cut" / "log.json").read_text())
    assert len(log["losses"]) == 7 and len(log["epochs"]) == 1
    resumed = train(GoldenDevice(TINY), run_settings(), tmp_path / "cut", resume=True)
    assert resumed.losses == whole.losses
    assert resumed.epochs == whole.epochs
    logs = [json.loads((tmp_path / name / "log.json").read_text()) for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    saved = []
    for name in ("whole", "cut"):
        with np.load(tmp_path / name / "weights.npz") as file:
            saved.append(dict(file))
    for name in ("w1", "b1", "w2", "b2"):
        np.testing.assert_array_equal(saved[0][name], saved[1][name])


def test_a_run_is_neither_overwritten_nor_resumed_with_other_settings(tmp_path, few_samples):
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


def short_settings(epochs=1):
    return TrainingSettings(hidden=4, batch=64, epochs=epochs)


@pytest.mark.parametrize("step", [1, 5], ids=["first", "last"])
def test_an_interruption_in_the_first_or_last_step_is_resumed_on_another_device(
    step, tmp_path, monkeypatch, few_samples
):
    class OtherDevice(GoldenDevice):
        """Another name in the log."""

    whole = train(GoldenDevice(TINY), short_settings(), tmp_path / "whole")
    assert len(whole.losses) == 5
    with monkeypatch.context() as patch:
        interrupt_in_step(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(GoldenDevice(TINY), short_settings(), tmp_path / "cut")
    log = json.loads((tmp_path / "cut" / "log.json").read_text())
    assert (len(log["losses"]), log["epochs"], log["device"]) == (step, [], "golden")
    resumed = train(OtherDevice(TINY), short_settings(), tmp_path / "cut", resume=True)
    assert (resumed.losses, resumed.epochs) == (whole.losses, whole.epochs)
    assert resumed.device == "other"


def test_a_run_cannot_be_resumed_to_fewer_epochs(tmp_path, monkeypatch, few_samples):
    with monkeypatch.context() as patch:
        interrupt_in_step(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            train(GoldenDevice(TINY), short_settings(3), tmp_path)
    with pytest.raises(ValueError, match="in epoch 2 already: epochs must be at least 2, not 1"):
        train(GoldenDevice(TINY), short_settings(1), tmp_path, resume=True)
    done = train(GoldenDevice(TINY), short_settings(2), tmp_path, resume=True)
    again = train(GoldenDevice(TINY), short_settings(2), tmp_path, resume=True)
    assert again.epochs == done.epochs and len(done.epochs) == 2


def test_folders_that_no_run_can_use_are_named(tmp_path):
    args = short_settings(), "golden", "tiny"
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below", Path("/proc")):
        with pytest.raises(ValueError, match=f"{folder} is no folder to write to: "):
            Record.begin(folder, *args)
    state = tmp_path / "state.npz"
    np.savez(state, other=np.zeros(1))
    for content in (state.read_bytes(), state.read_bytes()[:40], b"no archive", b""):
        state.write_bytes(content)
        with pytest.raises(ValueError, match=r"state.npz is not what a run saves"):
            Record.resume(tmp_path, *args)
    with pytest.raises(ValueError, match="has a run already"):
        Record.begin(tmp_path, *args)


@pytest.mark.parametrize(
    "sizes",
    [
        {"psum_banks": 1, "psum_bank_words": 8},
        {"axi_data_width": 256},
        {"semaphores": 8, "semaphore_width": 4, "queue_depth": 2},
    ],
    ids=["PSUM", "bus", "semaphores"],
)
def test_sizes_of_memories_and_buses_change_no_bit(sizes):
    settings = TrainingSettings(
        format="fp8", optimizer="adamw", activation="gelu", hidden=37, batch=11
    )
    rng = np.random.default_rng(3)
    inputs, labels = rng.random((11, 9), np.float32), rng.integers(0, 13, 11)
    results = []
    for config in (TINY, preset("tiny", **sizes)):
        session = Session(GoldenDevice(config), settings, 9, 13)
        losses = [session.step(inputs, labels).loss for _ in range(2)]
        results.append((losses, weights_hash(session.weights())))
    assert results[0] == results[1]


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_networks_smaller_than_the_array_learn(name, batch, hidden):
    settings = TrainingSettings(format=name, activation="gelu", hidden=hidden, batch=batch)
    session = Session(GoldenDevice(TINY), settings, 2, 2)
    inputs, labels = np.eye(3, 2, dtype=np.float32)[:batch], np.arange(batch) % 2
    losses = [session.step(inputs, labels).loss for _ in range(12)]
    assert losses[-1] < losses[0] - 0.1


def test_batches_of_other_shapes_or_classes_are_refused():
    session = Session(GoldenDevice(TINY), TrainingSettings(hidden=3, batch=4), 5, 3)
    inputs, labels = np.zeros((4, 5), np.float32), np.array([0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"samples \(4, 5\) and labels \(4,\), not \(4, 6\) and"):
        session.step(np.zeros((4, 6), np.float32), labels)
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=r"labels must be 0 to 2, not -?\d to"):
            session.step(inputs, np.array([1, 1, 1, wrong]))
    assert session.logits(inputs[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"format": "int8"}, "format must be one of bf16, fp8, not 'int8'"),
        ({"hidden": 0}, "hidden must be 1 to 4096, not 0"),
        ({"seed": 1 << 32}, "seed must be 0 to 4294967295, not 4294967296"),
        ({"history": 0}, "history must be 1 to 1024, not 0"),
        ({"max_skips": 0}, "max_skips must be 1 to 1000000, not 0"),
        ({"lr": -1.0}, "lr must be greater than 0"),
        ({"lr": 1e-39}, r"lr must be at least 2\*\*-126 \(fp32's normal numbers\), not 1e-39"),
        ({"rounding": "sr"}, "rounding sr needs weights bf16"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**wrong)


def test_a_network_too_large_for_the_tile_is_said_so():
    with pytest.raises(ValueError, match=r"w1 .*does not fit: it needs \d+ words"):
        Classifier(TINY, TrainingSettings(hidden=1024), INPUTS, CLASSES)
