"""Every command and every input that is wrong: exit code 2, one line, nothing written."""

import errno
import os

import numpy as np
import pytest

from verif.support.cli_bench import BF16_OUT, FORMATS, assert_error

ARRAY_JOBS = {
    "gemm A": f"gemm IN B.npy -o OUT --device golden {FORMATS}",
    "gemm B": f"gemm A.npy IN -o OUT --device golden {FORMATS}",
    "profile A": f"profile IN B.npy -o OUT {FORMATS}",
    "profile B": f"profile A.npy IN -o OUT {FORMATS}",
    "cast X": "cast IN -o OUT --to bf16",
    "cast R": "cast X.npy -o OUT --to bf16 --rounding sr --random-bits IN",
    "eval X": "eval exp IN -o OUT",
    "eval Y": "eval add X.npy IN -o OUT",
}
JOBS = ARRAY_JOBS | {"asm": "asm IN -o OUT", "disasm": "disasm IN"}

UNREADABLE = {
    "missing": ("none", errno.ENOENT),
    "folder": ("folder", errno.EISDIR),
    "below a file": ("X.npy/x", errno.ENOTDIR),
    "read error": ("/proc/self/mem", errno.EIO),
    "endless link": ("loop", errno.ELOOP),
    "no name": ("", errno.ENOENT),
    "long name": ("x" * 300, errno.ENAMETOOLONG),
}


@pytest.fixture
def files(run, matrices, tmp_path):
    """Files that the jobs need besides IN."""
    np.save(tmp_path / "X.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")


def arguments_of(job, name):
    return [name if word == "IN" else word for word in JOBS[job].split()]


def assert_refused(run, job, name, *words):
    assert_error(run(*arguments_of(job, name)), name, *words, label=f"tegula {job.split()[0]}")
    assert not os.path.exists("OUT")


@pytest.mark.parametrize("case", UNREADABLE)
@pytest.mark.parametrize("job", JOBS)
def test_what_cannot_be_read_is_named(run, files, job, case):
    name, cause = UNREADABLE[case]
    assert_refused(run, job, name, f"{name}: {os.strerror(cause)}")


NO_ARRAYS = {
    "empty file": (b"", "is not a readable .npy file: EOF"),
    "binary": (bytes(range(256)), "is not a readable .npy file: the magic string is not correct"),
    "text": (b"1.0 2.0 3.0\n", "is not a readable .npy file: the magic string"),
    "magic alone": (b"\x93NUMPY\x01\x00", "is not a readable .npy file: EOF"),
}


@pytest.mark.parametrize("case", NO_ARRAYS)
@pytest.mark.parametrize("job", ARRAY_JOBS)
def test_what_is_no_array_is_named(run, files, tmp_path, job, case):
    content, words = NO_ARRAYS[case]
    (tmp_path / "in.npy").write_bytes(content)
    assert_refused(run, job, "in.npy", f"in.npy {words}")


ODD_ARRAYS = {
    "int64": (np.zeros((2, 3), np.int64), "int64"),
    "bool": (np.zeros((2, 3), bool), "bool"),
    "complex": (np.zeros((2, 3), complex), "complex128"),
    "strings of NaN": (np.full((2, 3), "nan"), "<U3"),
    "bytes": (np.full((2, 3), b"nan"), "|S3"),
    "times": (np.zeros((2, 3), "M8[s]"), "datetime64[s]"),
    "fields": (np.zeros((2, 3), [("a", "f4")]), "[('a', '<f4')]: it must hold plain numbers"),
    "objects": (np.full((2, 3), None), "holds Python objects, which are refused"),
    "long double": (np.zeros((2, 3), np.longdouble), f"{np.dtype(np.longdouble)}"),
}


@pytest.mark.parametrize("case", ODD_ARRAYS)
@pytest.mark.parametrize("job", ARRAY_JOBS)
def test_arrays_of_other_types_are_quoted(run, files, tmp_path, job, case):
    array, words = ODD_ARRAYS[case]
    np.save(tmp_path / "in.npy", array, allow_pickle=True)
    assert_refused(run, job, "in.npy", words)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 1), (0, 9), (9, 0), (7, 8)], ids=str)
@pytest.mark.parametrize("job", [job for job in ARRAY_JOBS if job[0] in "gp"])
def test_products_are_of_matrices_that_are_not_empty(run, files, tmp_path, job, shape):
    np.save(tmp_path / "in.npy", np.zeros(shape, np.float32))
    words = "is empty" if 0 in shape else "disagree on K" if len(shape) == 2 else "two-dimensional"
    assert_refused(run, job, "in.npy", str(shape), words)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)], ids=str)
@pytest.mark.parametrize("device", ["golden", "rtl"])
def test_elementwise_commands_take_arrays_of_nothing(run, tmp_path, shape, device):
    np.save(tmp_path / "X.npy", np.zeros(shape, np.float32))
    np.save(tmp_path / "R.npy", np.zeros(shape, np.uint16))
    more = ["-o", "OUT", "--device", device, "--preset", "tiny"]
    stochastic = ["--rounding", "sr", "--random-bits", "R.npy"]
    for arguments, dtype in (
        (["cast", "X.npy", "--to", "e4m3fn"], np.uint8),
        (["cast", "X.npy", "--to", "bf16", *stochastic], np.uint16),
        (["cast", "X.npy", "--to", "fp32"], np.float32),
        (["eval", "exp", "X.npy"], np.float32),
        (["eval", "add", "X.npy", "X.npy"], np.float32),
    ):
        code, out, _ = run(*arguments, *more)
        assert (code, out) == (0, "")
        result = np.load(tmp_path / "OUT")
        assert (result.shape, result.dtype) == (shape, dtype)


def test_an_empty_program_is_a_program(run, tmp_path):
    (tmp_path / "p.s").touch()
    assert run("asm", "p.s", "-o", "p.bin") == (0, "", "")
    assert (tmp_path / "p.bin").read_bytes() == b""
    assert run("disasm", "p.bin") == (0, "", "")


PROGRAMS = {
    "binary": ("asm", bytes([0x12, 0x93]), "in is not text: byte 0x93 at offset 1 is not UTF-8"),
    "nonsense": ("asm", b"halt\nnonsense\n", "in: line 2"),
    "zeros": ("asm", bytes(100_000), "in: line 1"),
    "names of Python's": ("asm", b"halt config=1 mnemonic=2", "halt has no field config, mnemonic"),
    "cut short": ("disasm", bytes(15), "in: a program must be a multiple of 16 bytes, not 15"),
}


@pytest.mark.parametrize("case", PROGRAMS)
def test_what_is_no_program_is_named(run, tmp_path, case):
    command, content, words = PROGRAMS[case]
    (tmp_path / "in").write_bytes(content)
    result = run(*arguments_of(command, "in"))
    assert_error(result, words, label=f"tegula {command}")
    assert len(result[2]) < 2100, "a line has an end"
    assert not (tmp_path / "OUT").exists()


def test_files_that_are_too_large_are_refused(run, tmp_path, monkeypatch):
    (tmp_path / "in").write_bytes(bytes(32))
    assert run("disasm", "in")[0] == 0
    monkeypatch.setattr("tegula_sw.files.inputs.MAX_BYTES", 31)
    for command in ("asm", "disasm"):
        result = run(*arguments_of(command, "in"))
        assert_error(result, "in has more than 31 bytes", label=f"tegula {command}: ")


USAGE = {
    "tegula": ([], ["-x"], ["--device", "golden"], ["dance"]),
    "tegula gemm": (["gemm"], ["gemm", "A.npy"], ["gemm", "A.npy", "B.npy", *BF16_OUT]),
    "tegula cast": (
        ["cast", "X.npy", "-o", "Y", "--to"],
        ["cast", "X.npy", "-o", "Y", "--to", "bf16", "--oops"],
        ["cast", "X.npy", "-o", "Y", "--to", "bf16", "--device", "gpu"],
    ),
    "tegula info": (["info", "more"], ["info", "--version"], ["info", "--preset", "nan"]),
    "tegula train": (
        ["train"],
        ["train", "letters"],
        ["train", "digits", "--lr", "nan"],
        ["train", "digits", "--lr", "much"],
        ["train", "digits", "--epochs", "nan"],
        ["train", "digits", "--epochs", "9" * 5000],
        ["train", "digits", "--seed", "-1"],
        ["train", "digits", "--out", "-"],
        ["train", "digits", "--out", ""],
        ["train", "digits", "--trace", "t.json", "--device", "golden"],
        ["train", "digits", "--trace", "digits-run/log.json"],
    ),
    "tegula profile": (
        ["profile", "A.npy", "B.npy", *BF16_OUT, "--stall", "nan"],
        ["profile", "A.npy", "B.npy", *BF16_OUT, "--window", "nan:1", "--picture", "p.png"],
    ),
}


@pytest.mark.parametrize("label", USAGE)
def test_wrong_usage_is_one_line_of_the_command(run, label):
    for arguments in USAGE[label]:
        assert_error(run(*arguments), label=f"{label}: ")
    assert os.listdir() == []
