"""`tegula train` where files, folders or the user are against it."""

import io
import json
import os
import re

import numpy as np
import pytest

from tegula_sw.cli.exits import FAILED, INTERRUPTED
from verif.support.cli_bench import assert_error
from verif.support.training_bench import interrupt_in_step

TRAIN = ["train", "digits", "--device", "golden", "--preset", "tiny", "--hidden", "4"]
LABEL = "tegula train: "


@pytest.fixture
def trained(run):
    """A run of one epoch in the folder `done`."""
    code, out, err = run(*TRAIN, "--batch", "64", "--epochs", "1", "--out", "done")
    assert (code, err) == (0, "") and out.startswith("epoch 1: loss ")


def resume(run, *more):
    return run(*TRAIN, "--batch", "64", "--resume", "--out", "done", *more)


@pytest.mark.usefixtures("trained")
def test_what_is_wrong_with_a_run_is_one_line(run, folder, monkeypatch):
    path = folder / "done" / "state.npz"
    content = path.read_bytes()
    with np.load(path) as saved:
        state, log = saved["state"], json.loads(str(saved["log"]))
    for change, words in (
        ({"state": state[:, 1:]}, "state.npz is not what a run saves: the state is uint16"),
        (
            {"log": log | {"losses": [], "cycles": []}},
            "state.npz is not what a run saves: its log",
        ),
        ({"log": log | {"preset": "small"}}, "the run in done has preset small, not tiny"),
    ):
        file = io.BytesIO()
        new = {"state": state, "log": log} | change
        np.savez(file, state=new["state"], log=np.array(json.dumps(new["log"])))
        path.write_bytes(file.getvalue())
        assert_error(resume(run), words, label=LABEL)
    path.write_bytes(content[:-100])
    assert_error(resume(run), "done/state.npz is not what a run saves: ", label=LABEL)
    path.unlink()
    assert_error(resume(run), "done has no run to resume", label=LABEL)
    path.mkdir()
    assert_error(resume(run), "done/state.npz: Is a directory", label=LABEL)
    path.rmdir()
    path.symlink_to("/proc/self/mem")
    assert_error(resume(run), "done/state.npz: Input/output error", label=LABEL)


def test_a_state_that_cannot_be_written_ends_the_run(run, folder, limit_file_size):
    limit_file_size(3000)
    result = run(*TRAIN, "--batch", "64", "--epochs", "3", "--out", "run")
    words = "run/state.npz: File too large; written: run/weights.npz, run/log.json"
    assert_error(result, words, code=FAILED, label=LABEL)
    assert sorted(path.name for path in (folder / "run").iterdir()) == ["log.json", "weights.npz"]


def test_an_interruption_is_one_line(run, monkeypatch):
    interrupt_in_step(monkeypatch, 1)
    result = run(*TRAIN, "--batch", "64", "--epochs", "2", "--out", "run")
    message = "interrupted in epoch 1, and saved: --resume goes on"
    assert_error(result, code=INTERRUPTED, label=f"{LABEL}{message}")


FOLDERS = {
    "file": ("file", "file is no folder to write to: File exists"),
    "below a file": ("file/run", "file/run is no folder to write to: Not a directory"),
    "system": ("/proc/run", "/proc/run is no folder to write to: "),
    "dash": ("-", "--out must be a folder, not '-'"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_cannot_be_are_named(run, folder, case):
    (folder / "file").touch()
    name, message = FOLDERS[case]
    assert_error(run(*TRAIN, "--out", name), message, label=LABEL)
    assert os.listdir() == ["file"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["whole", "interrupted", "no disk"])
def test_a_step_that_was_recorded_is_written_however_the_run_ends(run, folder, monkeypatch, ending):
    """The trace of the second step, its picture, and its table."""
    if ending == "interrupted":
        interrupt_in_step(monkeypatch, 3)
    if ending == "no disk":
        (folder / "run").mkdir()
        (folder / "run" / "weights.npz").mkdir()
    arguments = [word if word != "golden" else "rtl" for word in TRAIN]
    more = ("--batch", "64", "--epochs", "1", "--out", "run", "--trace", "t.json")
    code, out, err = run(*arguments, *more)
    assert code == {"whole": 0, "interrupted": INTERRUPTED, "no disk": FAILED}[ending]
    assert out.startswith("tile tiny: 1 program")
    assert ("sha256 of the weights" in out) == (ending == "whole")
    assert json.loads((folder / "t.json").read_text())["otherData"]["cycles"] > 1000
    assert (folder / "run" / "step.png").read_bytes().startswith(b"\x89PNG")
    if ending == "no disk":
        assert "run/weights.npz: Is a directory; written: run/state.npz, run/log.json" in err


@pytest.mark.slow
def test_a_trace_that_fails_is_told_behind_the_interruption(run, monkeypatch):
    interrupt_in_step(monkeypatch, 3)
    arguments = [word if word != "golden" else "rtl" for word in TRAIN]
    more = ("--batch", "64", "--epochs", "1", "--out", "run", "--trace", "/dev/full")
    code, _, err = run(*arguments, *more)
    assert code == INTERRUPTED
    assert err.splitlines()[-1].startswith(f"{LABEL}interrupted in epoch 1, and saved: ")
    assert "; /dev/full: No space left on device; written: run/step.png, standard output" in err


def test_a_run_of_training_that_has_to_stop_gives_1(run, tmp_path):
    settings = ("--device", "golden", "--preset", "tiny", "--hidden", "16", "--batch", "64")
    arguments = ("train", "digits", "--out", "run", *settings, "--lr", "1e15", "--max-skips", "2")
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert re.match(r"tegula train: stopped in epoch \d+: 2 steps in a row gave a loss", err)
    assert err.count("\n") == 1
    log = json.loads((tmp_path / "run" / "log.json").read_text(), parse_constant=pytest.fail)
    assert log["skipped"] == [len(log["losses"]) - 1, len(log["losses"])]
    assert (tmp_path / "run" / "weights.npz").exists()
