"""The command line as users see it: names, exit codes, one line of error."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2
from tegula.isa.assembly import assemble
from tegula_golden.cast import cast
from tegula_golden.fp32 import multiply
from tegula_golden.gemm import gemm
from tegula_sw.cli import main
from tegula_sw.evaluate import OPERATIONS

COMMANDS = ("gemm", "profile", "cast", "train", "eval", "info", "asm", "disasm")
BF16_OUT = ["--format-a", "bf16", "--format-b", "bf16", "--format-out", "bf16"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty directory: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def matrices(run, tmp_path):
    """A.npy (5 x 9) and B.npy (9 x 4), float32."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 9)).astype(np.float32)
    b = rng.standard_normal((9, 4)).astype(np.float32)
    np.save(tmp_path / "A.npy", a)
    np.save(tmp_path / "B.npy", b)
    return a.view(np.uint32), b.view(np.uint32)


def gemm_arguments(*more, a="A.npy", b="B.npy", formats=BF16_OUT):
    return ["gemm", a, b, "-o", "C.npy", "--device", "golden", *formats, *more]


def assert_error(result, *words):
    """Exit code 2, nothing on stdout, one line that says it all."""
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("tegula: error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=str)
def test_help_is_printed_for_every_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: tegula" in capsys.readouterr().out


def test_help_loads_neither_numpy_nor_amaranth():
    code = (
        "import sys\nfrom tegula_sw.cli import main\n"
        "try: main(['gemm', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'amaranth'} & set(sys.modules), 'slow'"
    )
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "--format-out" in finished.stdout


def test_gemm_of_float_arrays_writes_codes_and_a_report(run, matrices, tmp_path):
    formats = ["--format-a", "e4m3fn", "--format-b", "e5m2", "--format-out", "bf16"]
    code, out, err = run(*gemm_arguments("--json", "r.json", formats=formats))
    assert (code, out, err) == (0, "", "")
    a, b = (
        cast(bits, fmt, saturate=True) for bits, fmt in zip(matrices, (E4M3FN, E5M2), strict=True)
    )
    codes = np.load(tmp_path / "C.npy")
    assert codes.dtype == np.uint16
    assert np.array_equal(codes, gemm(a, b, E4M3FN, E5M2, BF16))
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["shape"] == [5, 4, 9]
    assert report["macs"] == 180
    assert report["peak_macs_per_cycle"] == 64
    assert report["cycles"] is None
    assert report["utilisation"] is None
    assert report["preset"] == "small"
    assert report["device"] == "golden"
    assert report["read_beats"] > report["write_beats"] > 0


def test_profile_prints_a_table_and_writes_trace_picture_and_report(run, matrices, tmp_path):
    files = ("--trace", "t.json", "--picture", "p.png", "--window", "50:150", "--json", "r.json")
    arguments = ["profile", "A.npy", "B.npy", "-o", "C.npy", "--preset", "tiny", *BF16_OUT]
    code, out, _ = run(*arguments, *files)
    assert code == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert f"{report['cycles']:,} cycles" in out
    for engine, states in report["engines"].items():
        assert f"\n{engine}" in out
        assert sum(states.values()) == report["cycles"]
        if engine != "control":
            busy = sum(n for state, n in states.items() if state.startswith("busy"))
            assert busy == report["counters"][f"{engine.upper()}_BUSY"]
    a, b = (cast(bits, BF16) for bits in matrices)
    assert np.array_equal(np.load(tmp_path / "C.npy"), gemm(a, b, BF16, BF16, BF16))
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {event["name"] for event in events} >= {"tensor.matmul", "halt", "thread_name"}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_gemm_writes_a_trace_of_the_rtl(run, matrices, tmp_path):
    arguments = ["gemm", "A.npy", "B.npy", "-o", "C.npy", "--preset", "tiny", *BF16_OUT]
    code, out, _ = run(*arguments, "--trace", "t.json", "--json", "r.json")
    assert (code, out) == (0, "")
    content = json.loads((tmp_path / "t.json").read_text())
    assert content["otherData"]["cycles"] == json.loads((tmp_path / "r.json").read_text())["cycles"]


def test_traces_and_pictures_that_cannot_be_are_refused_before_the_work(run, matrices):
    assert_error(run(*gemm_arguments("--trace", "t.json")), "--trace needs --device rtl")
    profile = ["profile", "A.npy", "B.npy", *BF16_OUT]
    assert_error(run(*profile, "--trace", "no/t.json"), "no is not a folder")
    assert_error(run(*profile, "--picture", "p.gif"), "p.gif", ".png, .svg, .pdf")
    assert_error(run(*profile, "--window", "1:2"), "--window needs --picture")
    assert_error(run(*profile, "--picture", "p.png", "--window", "2:1"), "FIRST:END", "'2:1'")


def test_gemm_of_codes_gives_float32_and_a_report_on_stdout(run, tmp_path):
    one = np.full((3, 3), 0x3F80, np.uint16)
    np.save(tmp_path / "A.npy", one)
    formats = ["--format-a", "bf16", "--format-b", "bf16", "--format-out", "fp32"]
    code, out, _ = run(
        *gemm_arguments("--json", "-", "--preset", "tiny", b="A.npy", formats=formats)
    )
    assert code == 0
    assert json.loads(out)["preset"] == "tiny"
    result = np.load(tmp_path / "C.npy")
    assert result.dtype == np.float32
    assert (result == 3).all()


def test_gemm_takes_transposed_operands(run, matrices, tmp_path):
    assert run(*gemm_arguments()) == (0, "", "")
    plain = np.load(tmp_path / "C.npy")
    for name in "AB":
        np.save(tmp_path / f"{name}T.npy", np.load(tmp_path / f"{name}.npy").T)
    flags = ["--transpose-a", "--transpose-b", "--json", "r.json"]
    assert run(*gemm_arguments(*flags, a="AT.npy", b="BT.npy")) == (0, "", "")
    assert np.array_equal(np.load(tmp_path / "C.npy"), plain)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["shape"] == [5, 4, 9]
    assert (report["transpose_a"], report["transpose_b"]) == (True, True)
    result = run(*gemm_arguments("--transpose-b", b="B.npy"))
    assert_error(result, "A.npy (5, 9) and B.npy (9, 4)", "9 columns and 4 columns")


@pytest.mark.parametrize(("flags", "code"), [((), 0x7F), (("--saturate",), 0x7E)])
def test_saturation_is_chosen(run, tmp_path, flags, code):
    np.save(tmp_path / "A.npy", np.full((2, 4), 448.0))
    np.save(tmp_path / "B.npy", np.full((4, 2), 448.0))
    formats = ["--format-a", "e4m3fn", "--format-b", "e4m3fn", "--format-out", "e4m3fn"]
    assert run(*gemm_arguments(*flags, formats=formats))[0] == 0
    assert (np.load(tmp_path / "C.npy") == code).all()


@pytest.mark.parametrize("rounding", ["rne", "sr"])
def test_cast_rounds_as_it_is_told(run, tmp_path, rounding):
    rng = np.random.default_rng(1)
    values = rng.standard_normal((3, 4, 5)).astype(np.float32)
    random = rng.integers(0, 1 << 16, values.shape).astype(np.uint16)
    np.save(tmp_path / "X.npy", values)
    np.save(tmp_path / "R.npy", random)
    more = ["--rounding", "sr", "--random-bits", "R.npy"] if rounding == "sr" else []
    assert run("cast", "X.npy", "-o", "Y.npy", "--to", "e5m2", *more) == (0, "", "")
    expected = cast(values.view(np.uint32), E5M2, random=random if more else None)
    assert np.array_equal(np.load(tmp_path / "Y.npy"), expected)


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.uint32])
def test_eval_keeps_shape_and_dtype(run, tmp_path, shape, dtype):
    x = np.random.default_rng(2).integers(0, 1 << 32, shape, np.uint32)
    np.save(tmp_path / "X.npy", x.view(dtype))
    np.save(tmp_path / "Y.npy", np.full(shape, 2, np.float32))
    assert run("eval", "mul", "X.npy", "Y.npy", "-o", "Z.npy") == (0, "", "")
    z = np.load(tmp_path / "Z.npy")
    assert (z.shape, z.dtype) == (shape, dtype)
    two = np.full(shape, 0x4000_0000, np.uint32)
    assert np.array_equal(z.view(np.uint32), multiply(x, two))
    assert run("eval", "abs", "X.npy", "-o", "Z.npy") == (0, "", "")
    assert np.array_equal(np.load(tmp_path / "Z.npy").view(np.uint32), x & 0x7FFF_FFFF)


def test_eval_runs_on_the_compiled_tile(run, tmp_path):
    x = np.linspace(-5, 5, 37, dtype=np.float32)
    np.save(tmp_path / "X.npy", x)
    for operation in ("tanh", "add"):
        operands = ["X.npy"] * (1 + (operation == "add"))
        results = []
        for device in ("golden", "rtl"):
            options = ["--device", device, "--preset", "tiny"]
            assert run("eval", operation, *operands, "-o", "Z.npy", *options)[0] == 0
            results.append(np.load(tmp_path / "Z.npy"))
        assert np.array_equal(*results)
        assert np.allclose(results[0], np.tanh(x) if operation == "tanh" else x + x, atol=1e-6)


def test_eval_lists_the_operations_that_it_knows(run):
    result = run("eval", "fma", "X.npy", "-o", "Z.npy")
    assert_error(result, "'fma'", ", ".join(OPERATIONS))


def test_the_help_of_eval_names_every_operation(capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--help"])
    words = set(re.findall(r"[a-z_0-9]+", capsys.readouterr().out))
    assert set(OPERATIONS) <= words


def test_operands_of_eval_must_fit(run, tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "shape.npy", np.zeros((3, 2), np.float32))
    np.save(tmp_path / "dtype.npy", np.zeros((2, 3)))
    out = ["-o", "Z.npy"]
    assert_error(run("eval", "add", "X.npy", *out), "add takes two operands", "Y is missing")
    assert_error(run("eval", "exp", "X.npy", "X.npy", *out), "exp takes one operand")
    message = "shape.npy (3, 2) must have the shape of X.npy (2, 3)"
    assert_error(run("eval", "add", "X.npy", "shape.npy", *out), message)
    assert_error(run("eval", "add", "X.npy", "dtype.npy", *out), "dtype.npy (2, 3)", "float64")
    assert_error(run("eval", "exp", "dtype.npy", *out), "float32", "uint32")
    assert_error(run("eval", "exp", "none.npy", *out), "none.npy: No such file")
    assert_error(run("eval", "exp", "X.npy", "-o", "nowhere/Z.npy"), "nowhere")
    assert not (tmp_path / "Z.npy").exists()


def test_info_is_text_or_json(run):
    code, out, _ = run("info", "--preset", "medium")
    assert code == 0
    assert "peak_macs_per_cycle" in out
    code, out, _ = run("info", "--json", "-")
    assert code == 0
    assert json.loads(out)["configuration"]["name"] == "small"


def test_programs_are_assembled_and_disassembled(run, tmp_path):
    text = "load.sync signal(3+=1)\ntensor.sync consume(3>=1)\nhalt\n"
    (tmp_path / "p.s").write_text(text)
    assert run("asm", "p.s", "-o", "p.bin") == (0, "", "")
    assert (tmp_path / "p.bin").read_bytes() == assemble(text)
    assert run("disasm", "p.bin") == (0, text, "")


def test_missing_files_are_named(run, matrices):
    assert_error(run(*gemm_arguments(a="none.npy")), "none.npy: No such file")
    assert_error(run("cast", "none.npy", "-o", "Y.npy", "--to", "bf16"), "none.npy")
    assert_error(run("asm", "none.s", "-o", "x"), "none.s")


def test_an_output_that_cannot_be_written_is_found_before_the_work(run, matrices):
    arguments = gemm_arguments()
    arguments[arguments.index("C.npy")] = "nowhere/C.npy"
    assert_error(run(*arguments), "nowhere")


def test_shapes_that_disagree_are_quoted(run, matrices):
    assert_error(run(*gemm_arguments(b="A.npy")), "A.npy (5, 9)", "9 columns and 5 rows", "on K")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--format-a", "fp16", ("--format-a 'fp16'", "bf16, e4m3fn, e5m2")),
        ("--format-b", "fp32", ("--format-b 'fp32'",)),
        ("--format-out", "int8", ("bf16, e4m3fn, e5m2, fp32",)),
        ("--preset", "huge", ("'huge'", "tiny, small, medium")),
        ("--device", "gpu", ("'gpu'",)),
        ("--stall", "1.5", ("--stall", "0 to 1", "'1.5'")),
        ("--stall", "nan", ("--stall",)),
        ("--mem-latency", "-1", ("--mem-latency", "'-1'")),
        ("--seed", "x", ("--seed", "'x'")),
    ],
)
def test_option_values_out_of_range_are_quoted(run, matrices, option, value, words):
    assert_error(run(*gemm_arguments(f"{option}={value}")), *words)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 9), np.int32), ("A.npy (5, 9)", "int32")),
        (np.zeros((5, 9), np.uint8), ("bf16 codes must be uint16",)),
        (np.zeros((5, 9), complex), ("complex128",)),
        (np.zeros(9), ("two-dimensional",)),
        (np.zeros((0, 9)), ("empty", "(0, 9)")),
        (np.array([[None] * 9] * 5), ("A.npy", "Python objects")),
    ],
    ids=["int", "width", "complex", "vector", "empty", "objects"],
)
def test_arrays_that_are_no_operands_are_refused(run, matrices, tmp_path, array, words):
    np.save(tmp_path / "A.npy", array, allow_pickle=True)
    assert_error(run(*gemm_arguments()), *words)


def test_random_bits_must_fit(run, tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "shape.npy", np.zeros((3, 2), np.uint16))
    np.save(tmp_path / "dtype.npy", np.zeros((2, 3), np.uint8))
    cast_to = ["cast", "X.npy", "-o", "Y.npy", "--to", "bf16"]
    sr = [*cast_to, "--rounding", "sr"]
    assert_error(run(*sr), "needs --random-bits")
    assert_error(run(*sr, "--random-bits", "shape.npy"), "shape.npy", "(2, 3)", "(3, 2)")
    assert_error(run(*sr, "--random-bits", "dtype.npy"), "dtype.npy", "uint16", "uint8")
    assert_error(run(*cast_to, "--random-bits", "shape.npy"), "--rounding sr")


def test_missing_arguments_are_one_line_too(run):
    assert_error(run(), "COMMAND")
    assert_error(run("gemm", "A.npy"), "required")
    assert_error(run("dance"), "'dance'")
    assert_error(run("cast", "X.npy", "-o", "Y.npy", "--to"), "--to")


def test_assembly_errors_name_the_line(run, tmp_path):
    (tmp_path / "p.s").write_text("halt\nnonsense\n")
    assert_error(run("asm", "p.s", "-o", "p.bin"), "line 2", "nonsense")
