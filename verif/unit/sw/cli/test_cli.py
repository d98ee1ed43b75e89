"""The command line as users see it: names, exit codes, one line of error."""

import json
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import E5M2, MX_ELEMENTS
from tegula.isa.assembly import assemble
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.fp32 import multiply
from tegula_sw.cli.parser import main
from tegula_sw.elementwise.evaluate import OPERATIONS
from verif import ROOT
from verif.support.cli_bench import COMMANDS, assert_error, gemm_arguments


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)], ids=str)
def test_help_is_printed_for_every_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "usage: tegula" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["gemm", "cast"])
def test_help_lists_the_formats(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    names = ", ".join(fmt.name for fmt in preset("small").operand_formats)
    text = " ".join(capsys.readouterr().out.split())
    assert f"Formats: {names}{', fp32' * (command == 'cast')};" in text
    for element in MX_ELEMENTS:
        assert element.name in text


def test_the_version_is_that_of_the_package(capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tegula {project['version']}\n"


def test_help_loads_neither_numpy_nor_amaranth():
    code = (
        "import sys\nfrom tegula_sw.cli.parser import main\n"
        "try: main(['gemm', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'amaranth'} & set(sys.modules), 'slow'"
    )
    path = [entry for entry in sys.path if entry]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "--format-out" in finished.stdout


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


def test_options_of_training_out_of_range_are_quoted(run):
    for option, words in (
        ("--history=0", ("history must be 1 to 1024, not 0",)),
        ("--max-skips=0", ("max_skips must be 1 to 1000000, not 0",)),
        ("--max-skips=x", ("--max-skips", "'x'")),
    ):
        assert_error(run("train", "digits", "--device", "golden", option), *words)


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
