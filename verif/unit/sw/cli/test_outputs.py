"""Outputs that are wrong, of every command: nothing that was there, or was computed, is lost."""

import io
import itertools
import json
import os
import sys

import pytest

from tegula_sw.cli.exits import BAD_INPUT, FAILED
from tegula_sw.cli.parser import main
from verif.support.cli_bench import BF16_OUT, FORMATS, assert_error
from verif.support.marks import slow_params

JOBS = {
    "gemm -o": f"gemm A.npy B.npy -o OUT --device golden {FORMATS}",
    "gemm --json": f"gemm A.npy B.npy -o C.npy --json OUT --device golden {FORMATS}",
    "gemm --trace": f"gemm A.npy B.npy -o C.npy --trace OUT --preset tiny {FORMATS}",
    "profile -o": f"profile A.npy B.npy -o OUT --preset tiny {FORMATS}",
    "profile --json": f"profile A.npy B.npy --json OUT --preset tiny {FORMATS}",
    "cast": "cast A.npy -o OUT --to bf16",
    "eval": "eval exp A.npy -o OUT",
    "asm": "asm p.s -o OUT",
    "info --json": "info --json OUT",
    "predict --json": "predict 8 --preset tiny --json OUT",
}
TRACED = ("gemm --trace", "profile -o", "profile --json")
RUNNING = [*(job for job in JOBS if job not in TRACED), *slow_params(TRACED)]
"""The jobs for tests that run them to their end; those of the traced tile are slow."""

OLD = "what was there before"


@pytest.fixture
def files(folder, matrices):
    """Files that the jobs need besides OUT."""
    (folder / "p.s").write_text("load.sync signal(3+=1)\nhalt\n" * 10)


@pytest.fixture
def seconds_pass_alike(monkeypatch):
    """Every run takes as long, so that reports, which have the seconds of the run, are equal."""
    ticks = itertools.count()
    monkeypatch.setattr("tegula_sw.gemm.run.perf_counter", lambda: float(next(ticks)))


def arguments_of(job, name):
    return [name if word == "OUT" else word for word in JOBS[job].split()]


def label(job):
    return f"tegula {job.split()[0]}: "


IMPOSSIBLE = {
    "no folder": ("nowhere/OUT", "nowhere/OUT: nowhere does not exist"),
    "folder": ("folder", "folder: it is a folder"),
    "slash": ("new/", "new/: it is a folder"),
    "no name": ("", "an output has an empty name"),
    "below a file": ("p.s/x", "p.s/x: Not a directory"),
    "endless link": ("loop", "loop: Too many levels of symbolic links"),
    "long name": ("x" * 300, "File name too long"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
@pytest.mark.parametrize("job", JOBS)
def test_an_output_that_cannot_be_is_found_before_anything_is_read(run, tmp_path, job, case):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "p.s").touch()
    before = sorted(os.listdir())
    name, message = IMPOSSIBLE[case]
    assert_error(run(*arguments_of(job, name)), message, label=label(job))
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("job", JOBS)
def test_what_may_not_be_written_is_found_before_anything_is_read(run, tmp_path, monkeypatch, job):
    (tmp_path / "OUT").touch()
    monkeypatch.setattr(os, "access", lambda path, what: False)  # root may write everything
    assert_error(run(*arguments_of(job, "OUT")), ": no permission to write", label=label(job))


@pytest.mark.parametrize("job", RUNNING)
def test_after_a_full_disk_the_old_file_is_there(
    run, files, seconds_pass_alike, tmp_path, limit_file_size, job
):
    run(*arguments_of(job, "whole"))
    size = (tmp_path / "whole").stat().st_size
    (tmp_path / "whole").unlink()
    (tmp_path / "OUT").write_text(OLD)
    if (tmp_path / "C.npy").exists():
        (tmp_path / "C.npy").unlink()
    before = {"OUT", *os.listdir()}
    limit_file_size(size - 1)
    code, _, err = run(*arguments_of(job, "OUT"))
    assert (code, err.count("\n")) == (FAILED, 1)
    assert err.startswith(label(job))
    assert "OUT: File too large" in err
    assert (tmp_path / "OUT").read_text() == OLD
    others = set(os.listdir()) - before
    assert others <= {"C.npy"}, "no temporary file is left"
    if others:
        assert "written: C.npy" in err


@pytest.mark.parametrize("job", RUNNING)
def test_devices_are_outputs(request, run, files, job):
    if job in TRACED:
        request.getfixturevalue("traced_tile")
    code, _, err = run(*arguments_of(job, "/dev/full"))
    assert code == FAILED
    assert err.startswith(label(job))
    assert "/dev/full: No space left on device" in err and err.count("\n") == 1
    assert run(*arguments_of(job, "/dev/null"))[0] == 0


@pytest.mark.parametrize("job", RUNNING)
def test_a_dash_is_standard_output_and_has_nothing_else(
    folder, files, seconds_pass_alike, monkeypatch, job
):
    assert main(arguments_of(job, "OUT")) == 0
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(arguments_of(job, "-")) == 0
    assert stdout.buffer.getvalue() == (folder / "OUT").read_bytes()
    assert not os.path.exists("-")


@pytest.mark.parametrize("job", ["gemm -o", "cast", "eval", "asm"])
def test_an_output_may_be_an_input(run, files, tmp_path, job):
    assert run(*arguments_of(job, "OUT"))[0] == 0
    expected = (tmp_path / "OUT").read_bytes()
    name = "p.s" if job == "asm" else "A.npy"
    assert run(*arguments_of(job, name))[0] == 0
    assert (tmp_path / name).read_bytes() == expected


@pytest.mark.parametrize(
    "options",
    [
        ("-o OUT --json OUT", "OUT: -o and --json cannot"),
        ("-o OUT --json ./OUT", "./OUT: -o and --json cannot"),
        ("-o - --json -", "-: -o and --json cannot"),
        ("-o OUT --json link", "link: -o and --json cannot"),
        ("-o C.npy --json OUT --trace OUT", "OUT: --json and --trace cannot"),
    ],
    ids=lambda options: options[0],
)
def test_two_outputs_cannot_be_one_file(run, matrices, tmp_path, options):
    arguments, message = options
    (tmp_path / "link").symlink_to("OUT")
    result = run("gemm", "A.npy", "B.npy", *BF16_OUT, *arguments.split())
    assert_error(result, message, label="tegula gemm: ")


@pytest.mark.slow
def test_one_output_that_fails_keeps_no_other_back(run, matrices, tmp_path):
    files = ("--trace", "t.json", "--picture", "p.png", "--json", "r.json")
    arguments = ["profile", "A.npy", "B.npy", "-o", "/dev/full", "--preset", "tiny", *BF16_OUT]
    code, out, err = run(*arguments, *files)
    assert code == FAILED and out.startswith("tile tiny: 1 program")
    assert "/dev/full: No space left on device; written: t.json, p.png, r.json, standard" in err
    assert json.loads((tmp_path / "r.json").read_text())["shape"] == [5, 4, 9]
    assert {"t.json", "p.png", "r.json"} <= set(os.listdir())


@pytest.mark.slow
def test_a_window_that_the_program_does_not_reach_costs_the_picture_only(run, matrices, tmp_path):
    picture = ("--picture", "p.png", "--window", "5:999999999")
    arguments = ["profile", "A.npy", "B.npy", "-o", "C.npy", "--preset", "tiny", *BF16_OUT]
    code, out, err = run(*arguments, *picture)
    assert code == BAD_INPUT and out.startswith("tile tiny: 1 program")
    assert "window 5:999999999 must be" in err and "written: C.npy, standard output" in err
