"""Ends of commands: exit codes, one line, and standard output."""

import io
import os
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap, TrapRecord
from tegula_sw.cli import commands
from tegula_sw.cli.exits import BAD_INPUT, FAILED, INTERRUPTED, READER_GONE
from tegula_sw.cli.parser import main
from tegula_sw.devices.base import TileTrapError
from verif import ROOT
from verif.support.cli_bench import BF16_OUT, COMMANDS, assert_error
from verif.support.marks import slow_params

FORMATS = " ".join(BF16_OUT)
PRINTING = {
    "info": "info",
    "info --json": "info --json -",
    "predict": "predict 8 --preset tiny",
    "disasm": "disasm p.bin",
    "gemm": f"gemm A.npy B.npy -o C.npy --json - --device golden {FORMATS}",
    "cast": "cast A.npy -o - --to bf16",
    "profile": f"profile A.npy B.npy -o C.npy --preset tiny {FORMATS}",
    "version": "--version",
}


def takes_nothing(kind):
    """Standard output that is a full disk, a pipe without a reader, or closed."""
    if kind == "closed":
        return None
    if kind == "full":
        return open("/dev/full", "w")
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w")


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("full", FAILED, "standard output: No space left on device"),
        ("reader gone", READER_GONE, ""),
        ("closed", FAILED, "standard output: Bad file descriptor"),
    ],
    ids=["full", "reader gone", "closed"],
)
@pytest.mark.parametrize(
    "job", [*(job for job in PRINTING if job != "profile"), *slow_params(["profile"])]
)
def test_standard_output_that_takes_nothing(
    request, matrices, folder, monkeypatch, kind, job, code, message
):
    if job == "profile":
        request.getfixturevalue("traced_tile")
    (folder / "p.bin").write_bytes(bytes(1600))
    errors = io.StringIO()
    with monkeypatch.context() as patch:
        stdout = takes_nothing(kind)
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", errors)
        assert main(PRINTING[job].split()) == code
        if stdout is not None:
            stdout.close()
    line = errors.getvalue()
    assert message in line and line.count("\n") == bool(message)
    if "C.npy" in PRINTING[job]:
        assert np.load(folder / "C.npy").shape == (5, 4)
        assert not message or "written: C.npy" in line


@pytest.mark.parametrize(("kind", "code"), [("full", FAILED), ("reader gone", READER_GONE)])
def test_help_that_is_not_taken_is_an_error_too(folder, monkeypatch, kind, code):
    with monkeypatch.context() as patch, takes_nothing(kind) as stdout:
        patch.setattr(sys, "stdout", stdout)
        assert main(["--help"]) == code


def test_a_process_whose_reader_is_gone_is_silent():
    """Python itself must not complain when it flushes at its end."""
    command = [sys.executable, "-m", "tegula_sw.cli", "info"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    reader, writer = os.pipe()
    os.close(reader)
    for stdout, code in ((writer, READER_GONE), (os.open("/dev/full", os.O_WRONLY), FAILED)):
        process = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment)
        os.close(stdout)
        assert process.returncode == code
        assert process.stderr.count(b"\n") == (code == FAILED), process.stderr


def run_unbuffered(arguments, stdout, folder, limit=None):
    """A process of `tegula` without a buffer of output; files have at most `limit` bytes."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    code = (
        "import resource, sys; from tegula_sw.cli.parser import main;"
        f"limit = {limit};"
        "limit and resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit));"
        f"sys.exit(main({arguments!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", code],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
    )
    os.close(stdout)
    return process


@pytest.mark.parametrize(
    "job", ["disasm p.bin", "cast X.npy -o - --to bf16"], ids=["text", "bytes"]
)
def test_an_unbuffered_output_that_takes_a_part_is_an_error(folder, job):
    (folder / "p.bin").write_bytes(bytes(16 * 10_000))
    np.save(folder / "X.npy", np.ones(100_000, np.float32))
    stdout = os.open(folder / "out", os.O_WRONLY | os.O_CREAT)
    process = run_unbuffered(job.split(), stdout, folder, limit=102_400)
    _, err = process.communicate()
    line = f"tegula {job.split()[0]}: standard output: File too large\n"
    assert (process.returncode, err.decode()) == (FAILED, line)


@pytest.mark.parametrize(
    "job", ["disasm p.bin", "cast X.npy -o - --to bf16"], ids=["text", "bytes"]
)
def test_an_unbuffered_reader_that_goes_after_a_part_is_noticed(folder, job):
    (folder / "p.bin").write_bytes(bytes(16 * 10_000))
    np.save(folder / "X.npy", np.ones(100_000, np.float32))
    reader, writer = os.pipe()
    process = run_unbuffered(job.split(), writer, folder)
    os.read(reader, 100)
    os.close(reader)
    _, err = process.communicate()
    assert (process.returncode, err) == (READER_GONE, b"")


@pytest.mark.parametrize("job", [["--help"], ["gemm", "--help"], ["--version"], ["info"]], ids=str)
def test_unbuffered_text_for_a_full_disk_is_an_error(folder, job):
    process = run_unbuffered(job, os.open("/dev/full", os.O_WRONLY), folder)
    _, err = process.communicate()
    assert process.returncode == FAILED
    assert b"standard output: No space left on device" in err and err.count(b"\n") == 1, err


ARGUMENTS = {
    "gemm": f"A.npy B.npy -o OUT {FORMATS}",
    "profile": f"A.npy B.npy {FORMATS}",
    "predict": "8",
    "cast": "X.npy -o OUT --to bf16",
    "train": "digits",
    "eval": "exp X.npy -o OUT",
    "info": "",
    "asm": "p.s -o OUT",
    "disasm": "p.bin",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ends_of_commands_are_codes_and_a_line(run, monkeypatch, command):
    trap = TrapRecord(cause=Trap.DEADLOCK, engine=Engine.LOAD, pc=16, address=0)
    for error, code, message in (
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (KeyboardInterrupt("saved"), INTERRUPTED, "saved"),
        (TileTrapError(trap), FAILED, "the tile trapped: "),
        (MemoryError(), FAILED, "MemoryError"),
        (ModuleNotFoundError("No module named 'x'"), FAILED, "No module named 'x'"),
        (OSError(28, "No space left on device", "build/x"), FAILED, "build/x: No space left"),
        (ValueError("a\nb"), BAD_INPUT, "a b"),
    ):

        def end(options, error=error):
            raise error

        monkeypatch.setattr(commands, command, end)
        result = run(command, *ARGUMENTS[command].split())
        assert_error(result, message, code=code, label=f"tegula {command}: {message}")


def test_bugs_have_a_traceback(run, monkeypatch):
    monkeypatch.setattr(commands, "info", lambda options: {}["missing"])
    with pytest.raises(KeyError):
        run("info")


def test_ctrl_c_ends_a_process_with_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tegula_sw.cli",
        "train",
        "digits",
        "--device",
        "golden",
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # A process in the background of a script ignores SIGINT, and all that it starts do.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stderr=subprocess.PIPE, env=environment
    )
    signal.signal(signal.SIGINT, before)
    while not (tmp_path / "run").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == INTERRUPTED
    assert err.startswith(b"tegula train: interrupted") and err.count(b"\n") == 1, err


@pytest.mark.parametrize(
    "module", ["typing", "argparse", "tegula.config", "tegula_sw.cli.exits", "tegula_sw.cli.parser"]
)
def test_ctrl_c_while_modules_are_imported_ends_a_process_with_one_line(module):
    code = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.argv = ['tegula', 'info']\n"
        "runpy.run_module('tegula_sw.cli', run_name='__main__')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (process.returncode, process.stderr) == (INTERRUPTED, b"tegula: interrupted\n")
    assert process.stdout == b""


def test_the_command_of_the_package_is_the_guarded_entry():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"tegula": "tegula_sw.cli.__main__:entry"}
