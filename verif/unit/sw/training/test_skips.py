"""Steps that are not finite: undone to the bit, on both devices alike, counted, and an end."""

import json
import os
import signal

import numpy as np
import pytest

from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.training import run
from tegula_sw.training import session as session_module
from tegula_sw.training.data import Samples, digits
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.record import Record
from tegula_sw.training.run import TrainingStoppedError, train
from tegula_sw.training.session import Session
from verif.support.training_bench import RUNS, SMALL, TINY, batches, rtl_session, session


def with_pixel(batch, pixel):
    inputs, labels = batch
    inputs = inputs.copy()
    inputs[3, 20] = pixel
    return inputs, labels


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_skipped_step_leaves_no_trace_on_either_device(name):
    """Steps 3, 4 and 6 of 7 have a pixel that is not finite; without them the bits are the same."""
    settings = TrainingSettings(**RUNS[name])
    good = batches(settings, 4)
    bad = [with_pixel(good[0], pixel) for pixel in (np.nan, np.inf, np.nan)]
    steps = [*good[:2], *bad[:2], good[2], bad[2], good[3]]
    skipped = [False, False, True, True, False, True, False]
    clean, golden = session(settings), session(settings)
    losses = [clean.step(*batch).loss for batch in good]
    results = []
    for batch in steps:
        before = golden.save()
        results.append(golden.step(*batch))
        if results[-1].skipped:
            np.testing.assert_array_equal(golden.save(), before)
    assert [result.skipped for result in results] == skipped
    assert [result.loss for result in results if not result.skipped] == losses
    np.testing.assert_array_equal(golden.save(), clean.save())
    with rtl_session(settings) as rtl:
        found = [rtl.step(*batch) for batch in steps]
        assert [result.skipped for result in found] == skipped
        np.testing.assert_array_equal([r.loss for r in found], [r.loss for r in results])
        np.testing.assert_array_equal(rtl.save(), clean.save())


@pytest.mark.parametrize("every", [1, 2, 3])
def test_steps_since_the_last_save_are_done_again(every, monkeypatch):
    monkeypatch.setattr(session_module, "_SAVE_EVERY", every)
    settings = TrainingSettings(hidden=8, batch=8, weights="bf16", rounding="sr")
    good = batches(settings, 7)
    clean, disturbed = session(settings, TINY), session(settings, TINY)
    for number, batch in enumerate(good):
        assert not clean.step(*batch).skipped
        assert not disturbed.step(*batch).skipped
        if number in (0, 4, 6):
            assert disturbed.step(*with_pixel(batch, np.nan)).skipped
    np.testing.assert_array_equal(disturbed.save(), clean.save())


def step_after_change(settings, change):
    """Skip and loss of a step after a change of the state."""
    first = session(settings, TINY)
    state = first.save()
    change(first.classifier.state, state)
    second = Session(
        GoldenDevice(TINY), settings, first.classifier.inputs, first.classifier.classes, state=state
    )
    result = second.step(*batches(settings, 1)[0])
    np.testing.assert_array_equal(second.save(), state)
    return result


def put(matrix, state, value):
    codes = matrix.codes(state)
    codes[0, 0] = np.float32(value).view(np.uint32)
    matrix.write_codes(state, codes)


@pytest.mark.parametrize("parameter", ["w1", "b1", "w2", "b2"])
@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_an_update_that_overflows_is_undone(name, parameter):
    """A momentum of 3e38 makes a weight of -3e40; the loss of the step is not affected."""

    def change(state, words):
        put(getattr(state, parameter).slots["momentum"], words, 3e38)

    settings = TrainingSettings(format=name, hidden=6, batch=8, lr=100.0)
    result = step_after_change(settings, change)
    assert result.skipped and np.isfinite(result.loss)


@pytest.mark.parametrize("parameter", ["w1", "b1", "w2", "b2"])
@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_a_square_that_overflows_is_undone(name, parameter):
    """An infinite square stops its weight, which stays finite."""

    def change(state, words):
        put(getattr(state, parameter).slots["square"], words, np.inf)

    settings = TrainingSettings(format=name, hidden=6, batch=8, optimizer="adamw")
    result = step_after_change(settings, change)
    assert result.skipped and np.isfinite(result.loss)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_what_saturates_in_fp8_does_not_hide_that_it_overflowed(activation):
    """A hidden layer of Inf becomes 448 as an operand, and the loss is finite."""

    def change(state, words):
        put(state.b1.value, words, 3e38)
        codes = state.b1.value.codes(words)
        codes[:, 0] = np.float32(3.4e38).view(np.uint32)  # infinite in bf16
        state.b1.value.write_codes(words, codes)

    settings = TrainingSettings(format="fp8", hidden=6, batch=8, activation=activation)
    result = step_after_change(settings, change)
    assert result.skipped and np.isfinite(result.loss)


@pytest.mark.parametrize("name", RUNS)
def test_a_blank_batch_is_no_reason_to_skip(name):
    settings = TrainingSettings(**RUNS[name])
    trained = session(settings)
    batch = batches(settings, 1)[0]
    trained.step(*batch)
    assert not trained.step(np.zeros_like(batch[0]), batch[1]).skipped
    assert not trained.step(*batch).skipped


# --- runs


def strict_json(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def poisoned(monkeypatch):
    """Epochs of five steps of 64 samples; a NaN in so many samples, and two batches to test on."""

    def use(count):
        def few(seed):
            train_samples, test_samples = digits(seed)
            inputs = train_samples.inputs[:330].copy()
            inputs[:count, 20] = np.nan
            return (
                Samples(inputs, train_samples.labels[:330]),
                Samples(test_samples.inputs[:70], test_samples.labels[:70]),
            )

        monkeypatch.setattr(run, "digits", few)

    return use


def run_settings(**others):
    return TrainingSettings(**{"hidden": 8, "batch": 64, "epochs": 3} | others)


@pytest.mark.parametrize("name", ["bf16", "fp8"])
def test_skipped_steps_are_in_the_log(name, tmp_path, poisoned):
    poisoned(1)
    record = train(GoldenDevice(TINY), run_settings(format=name), tmp_path)
    log = strict_json((tmp_path / "log.json").read_text())
    assert len(log["losses"]) == 15 and 1 <= len(log["skipped"]) <= 3
    assert [log["losses"][step - 1] for step in log["skipped"]] == [None] * len(log["skipped"])
    assert sum(epoch["skipped"] for epoch in log["epochs"]) == len(log["skipped"])
    for epoch in record.epochs:
        steps = range(5 * epoch.epoch - 4, 5 * epoch.epoch + 1)
        taken = [record.losses[step - 1] for step in steps if step not in record.skipped]
        assert epoch.loss == np.mean(taken)
    weights = np.load(tmp_path / "weights.npz")
    assert all(np.isfinite(weights[name].view(np.float32)).all() for name in weights)
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_an_epoch_without_a_step_has_no_loss(tmp_path, poisoned):
    poisoned(330)
    record = train(GoldenDevice(TINY), run_settings(epochs=2, max_skips=11), tmp_path)
    log = strict_json((tmp_path / "log.json").read_text())
    assert [epoch["loss"] for epoch in log["epochs"]] == [None, None]
    assert [epoch.skipped for epoch in record.epochs] == [5, 5]
    assert record.epochs[0].sha256 == record.epochs[1].sha256


def test_a_run_of_skipped_steps_ends_the_run_with_all_that_was_reached(tmp_path, poisoned):
    poisoned(0)
    reached = train(GoldenDevice(TINY), run_settings(epochs=1), tmp_path)
    poisoned(330)
    args = GoldenDevice(TINY), run_settings(max_skips=3), tmp_path
    with pytest.raises(TrainingStoppedError, match="stopped in epoch 2: 3 steps in a row gave"):
        train(*args, resume=True)
    log = strict_json((tmp_path / "log.json").read_text())
    assert log["losses"] == [*reached.losses, None, None, None]
    assert log["skipped"] == [6, 7, 8]
    before = np.load(tmp_path / "weights.npz")
    # It counts on from there: one more is enough, as without the interruption.
    with pytest.raises(TrainingStoppedError, match="4 steps in a row"):
        train(*args, resume=True)
    # With more patience, and good samples, it goes on.
    poisoned(0)
    record = train(GoldenDevice(TINY), run_settings(max_skips=30), tmp_path, resume=True)
    assert record.skipped == [6, 7, 8, 9] and len(record.losses) == 15
    whole = tmp_path / "whole"
    poisoned(0)
    train(GoldenDevice(TINY), run_settings(epochs=1), whole)
    after = np.load(whole / "weights.npz")
    assert all((before[name] == after[name]).all() for name in before)


def test_a_step_that_is_taken_breaks_the_run_of_skips(tmp_path, monkeypatch, poisoned):
    poisoned(0)
    original, calls = Session.step, []

    def every_other(self, inputs, labels):
        calls.append(1)
        return original(self, inputs * (np.nan if len(calls) % 3 else 1), labels)

    monkeypatch.setattr(Session, "step", every_other)
    record = train(GoldenDevice(TINY), run_settings(max_skips=3), tmp_path)
    assert record.skipped == [step for step in range(1, 16) if step % 3]


def test_a_rate_that_is_far_too_large_ends_the_run(tmp_path, poisoned):
    poisoned(0)
    settings = run_settings(lr=1e15, epochs=20, max_skips=4)
    with pytest.raises(TrainingStoppedError):
        train(GoldenDevice(TINY), settings, tmp_path)
    strict_json((tmp_path / "log.json").read_text())
    weights = np.load(tmp_path / "weights.npz")
    assert all(np.isfinite(weights[name].view(np.float32)).all() for name in weights)


def test_an_interrupted_run_with_skipped_steps_resumes_to_the_same_bits(
    tmp_path, monkeypatch, poisoned
):
    poisoned(2)
    settings = run_settings(format="fp8", history=3)
    whole = train(GoldenDevice(TINY), settings, tmp_path / "whole")
    assert whole.skipped
    original, calls = Session.step, []

    def interrupted(self, *batch):
        calls.append(1)
        if len(calls) == whole.skipped[0]:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(GoldenDevice(TINY), settings, tmp_path / "cut")
    train(GoldenDevice(TINY), settings, tmp_path / "cut", resume=True)
    logs = [json.loads((tmp_path / name / "log.json").read_text()) for name in ("whole", "cut")]
    assert logs[0] == logs[1]
    states = [np.load(tmp_path / name / "state.npz")["state"] for name in ("whole", "cut")]
    np.testing.assert_array_equal(*states)


def test_a_run_of_an_older_version_is_refused(tmp_path, poisoned):
    poisoned(0)
    settings = run_settings(epochs=1)
    train(GoldenDevice(TINY), settings, tmp_path)
    with np.load(tmp_path / "state.npz") as saved:
        state, log = saved["state"], json.loads(str(saved["log"]))
    del log["version"]
    np.savez(tmp_path / "state.npz", state=state, log=np.array(json.dumps(log)))
    with pytest.raises(ValueError, match=r"state.npz is .*: it has version 1 of the format, not 2"):
        Record.resume(tmp_path, settings, "golden", "tiny")


def test_the_default_history_is_that_of_the_settings():
    assert session(TrainingSettings(format="fp8")).classifier.state.scales.history.columns == 16
    settings = TrainingSettings(format="fp8", history=3)
    assert session(settings, SMALL).classifier.state.scales.history.columns == 3
