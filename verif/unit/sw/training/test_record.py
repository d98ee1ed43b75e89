"""The folder of a run: what is in it is whole, and what is damaged is said so."""

import json
import math
from functools import partial

import numpy as np
import pytest

from tegula_sw.training.log import Epoch, read_log
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.record import Record
from verif.support.mutated_files import mutations, outcome

SETTINGS = TrainingSettings(hidden=4, batch=64)
ARGS = SETTINGS, "golden", "tiny"
STATE = np.arange(12, dtype=np.uint16).reshape(4, 3)
WEIGHTS = {"w1": np.ones((2, 2), np.float32)}
NAMES = ("state.npz", "weights.npz", "log.json")


@pytest.fixture
def record(folder):
    """A saved run of one epoch of two steps, and half of the second epoch."""
    record = Record.begin(folder / "run", *ARGS)
    record.losses, record.cycles, record.skipped = [2.5, None, 0.25], [None, 7, 9], [2]
    outcome = {"loss": 2.5, "skipped": 1, "accuracy": 0.5, "cycles": 7, "utilisation": 0.1}
    record.epochs = [Epoch(epoch=1, sha256="ab", **outcome)]
    record.save(STATE, WEIGHTS)
    return record


def test_a_run_comes_back_as_it_was_saved(record):
    again, state = Record.resume(record.folder, *ARGS)
    assert np.array_equal(state, STATE)
    assert again == record
    log = read_log(record.folder / "log.json")
    for name in ("losses", "cycles", "skipped", "epochs"):
        assert log[name] == getattr(record, name)


def test_the_log_is_json_for_every_reader(record):
    text = (record.folder / "log.json").read_text()
    log = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert log["losses"] == [2.5, None, 0.25]


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_log_with_what_json_lacks_is_refused(record, name):
    path = record.folder / "log.json"
    path.write_text(path.read_text().replace("null", name))
    with pytest.raises(ValueError, match=f"log.json is not what a run saves: {name} is not JSON"):
        read_log(path)


@pytest.mark.parametrize("count", [1, 2])
def test_files_that_do_not_fit_keep_no_other_back(record, limit_file_size, count):
    before = {name: (record.folder / name).read_bytes() for name in NAMES}
    by_size = sorted(NAMES, key=lambda name: len(before[name]))
    record.losses[0] = 1.5
    limit_file_size(len(before[by_size[count]]) - 1)
    with pytest.raises(OSError, match="File too large") as caught:
        record.save(STATE + 1, {"w1": np.zeros((2, 2), np.float32)})
    failures, written = str(caught.value).split("; written: ")
    for name in NAMES:
        fits = name in by_size[:count]
        assert (f"{record.folder / name}: File too large" in failures) == (not fits)
        assert (str(record.folder / name) in written) == fits
        assert ((record.folder / name).read_bytes() == before[name]) == (not fits)
    assert sorted(path.name for path in record.folder.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize(
    "losses",
    [[2.5, None, 1e30], [None] * 3, [0.0, 0.0, 0.0], [-1.0, 1e-40, 1e38], []],
    ids=str,
)
def test_any_losses_are_drawn(record, losses):
    record.losses = losses
    record.draw()
    assert (record.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_does_not_fit_says_that_the_rest_is_saved(record, limit_file_size):
    limit_file_size(1000)
    with pytest.raises(OSError, match="File too large") as caught:
        record.draw()
    assert caught.value.__notes__ == ["state, weights and log are saved"]


def rewrite(record, log, state=STATE, compressed=False):
    """Save the run with another log."""
    text = log if isinstance(log, str) else json.dumps(log)
    write = np.savez_compressed if compressed else np.savez
    write(record.folder / "state.npz", state=state, log=np.array(text))
    (record.folder / "log.json").write_text(text)


def refused(record, *words):
    """Both readers name their file and the cause; `resume` needs the state too."""
    with pytest.raises(ValueError, match=r"state\.npz is not what a run saves: ") as caught:
        Record.resume(record.folder, *ARGS)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(ValueError, match=r"log\.json is not what a run saves: ") as caught:
        read_log(record.folder / "log.json")
    for word in words:
        assert word in str(caught.value)


KEYS = ("settings", "device", "preset", "epochs", "losses", "cycles", "skipped")
VALUES = (None, True, 3, 2.5, "words", [1], [[]], [None], [True], {}, {"a": 1}, math.nan)


@pytest.mark.parametrize("key", KEYS)
def test_a_log_without_a_key_or_with_another_type_is_refused(record, key):
    log = json.loads((record.folder / "log.json").read_text())
    rewrite(record, {name: value for name, value in log.items() if name != key})
    refused(record, f"its log has no {key}")
    accepted = []
    for value in VALUES:
        rewrite(record, log | {key: value})
        try:
            Record.resume(record.folder, *ARGS)
            accepted.append(value)
        except ValueError as error:
            assert "run" in str(error) and "\n" not in str(error)
    assert accepted == {"device": ["words"], "skipped": [[1]]}.get(key, [])


@pytest.mark.parametrize(
    "key", ["epoch", "loss", "skipped", "accuracy", "cycles", "utilisation", "sha256"]
)
def test_an_epoch_without_a_key_or_with_another_type_is_refused(record, key):
    log = json.loads((record.folder / "log.json").read_text())
    (epoch,) = log["epochs"]
    rewrite(record, log | {"epochs": [{k: v for k, v in epoch.items() if k != key}]})
    refused(record, "its log has as epoch 1")
    for value in ([1], {}, True, *(["2"] if key != "sha256" else [])):
        rewrite(record, log | {"epochs": [epoch | {key: value}]})
        refused(record)
    rewrite(record, log | {"epochs": [epoch | {"more": 1}]})
    refused(record, "its log has as epoch 1")
    rewrite(record, log | {"epochs": [epoch, epoch]})
    refused(record, "its log has as epoch 2")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "its log is no JSON object"),
        ("[" * 100_000, "recursion"),
        ('{"losses": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
    ids=["empty", "cut", "list", "deep", "long number"],
)
def test_a_log_that_is_no_json_is_refused(record, log, words):
    rewrite(record, log)
    refused(record, words)


def test_numbers_of_steps_must_agree(record):
    log = json.loads((record.folder / "log.json").read_text())
    rewrite(record, log | {"cycles": [7, 9]})
    refused(record, "3 losses, 2 cycles")
    rewrite(record, log | {"cycles": [7, 0, 9]})
    refused(record, "a step of no cycles")
    rewrite(record, log)
    again, _ = Record.resume(record.folder, *ARGS)
    for steps, right in ((1, False), (2, True), (3, True), (4, False)):
        if right:
            with again.resuming(steps):
                pass
        else:
            with pytest.raises(ValueError, match=r"state\.npz .*: its log has 1 epochs and 3 loss"):
                with again.resuming(steps):
                    pass


@pytest.mark.parametrize(
    "state", [STATE.astype(np.float32), STATE[0], np.array("x"), np.array(1, np.uint16)], ids=str
)
def test_a_state_that_is_none_is_refused(record, state):
    log = (record.folder / "log.json").read_text()
    rewrite(record, log, state=state)
    with pytest.raises(ValueError, match=r"state\.npz is not what a run saves: its state is"):
        Record.resume(record.folder, *ARGS)


def test_a_compressed_state_is_refused_unread(record):
    rewrite(record, (record.folder / "log.json").read_text(), compressed=True)
    with pytest.raises(ValueError, match=r"state\.npz .*: its state is compressed"):
        Record.resume(record.folder, *ARGS)


def test_mutated_states_are_read_or_refused_by_name(record):
    def change(rng, data):
        place, length = int(rng.integers(len(data))), int(rng.integers(1, 6))
        new = rng.integers(0, 256, length, np.uint8).tobytes()
        match rng.integers(3):
            case 0:
                data[place : place + length] = new
            case 1:
                data[place:place] = new
            case 2:
                del data[place : place + 10 * length]

    path, outcomes = record.folder / "state.npz", set()
    for content in mutations(4, path.read_bytes(), change, count=3000, most=3):
        path.write_bytes(content)
        resume = partial(Record.resume, record.folder, *ARGS)
        outcomes.add(outcome(resume, "state.npz is not what a run saves"))
    assert outcomes == {"read", "refused"}


def test_mutated_logs_are_read_or_refused_by_name(record):
    def change(rng, data):
        place, length = int(rng.integers(len(data))), int(rng.integers(1, 4))
        new = rng.choice(np.frombuffer(b'{}[],:"0123456789.eE-ntfNaI\\ \xff', np.uint8), length)
        data[place : place + int(rng.integers(4))] = new.tobytes()

    path, outcomes = record.folder / "log.json", set()
    for content in mutations(5, path.read_bytes(), change, count=3000, most=2):
        path.write_bytes(content)
        outcomes.add(outcome(partial(read_log, path), "log.json is not"))
    assert outcomes == {"read", "refused"}
