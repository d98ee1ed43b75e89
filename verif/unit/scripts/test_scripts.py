"""Scripts: tables of documents, and ends like those of commands."""

import os
import subprocess
import sys
from functools import partial
from importlib import import_module

import pytest

from scripts.readme import put_into
from tegula_sw.cli.exits import BAD_INPUT, exit_code
from verif import ROOT

LIBRARIES = frozenset(
    "__init__ budgets dependence estimate flows isa_prose kept netlist nextpnr pnr_report progress"
    " readme redmule sdf tile_flow".split()
)
"""Files that are no command."""

NAMES = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in LIBRARIES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_script_does_nothing_else(name, capsys):
    with pytest.raises(SystemExit) as caught:
        import_module(f"scripts.{name}").main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


MODULES = [*(f"scripts.{name}" for name in NAMES), "verif.benches.fuzz", "verif.benches.regress"]

WRONG = [
    *((module, ["--nonsense"], "unrecognized arguments: --nonsense") for module in MODULES),
    ("scripts.synth", ["--preset", "x"], "argument --preset: invalid choice: 'x'"),
    ("scripts.pnr", ["--preset", "x"], "argument --preset: invalid choice: 'x'"),
    ("scripts.pnr", ["--speed", "5"], "argument --speed: invalid choice: 5"),
    ("scripts.pnr", ["--json", "/nowhere/x"], "/nowhere/x: /nowhere does not exist"),
    (
        "verif.benches.regress",
        ["--seed", "x"],
        "argument --seed: must be an integer of 0 to 18446744073709551615, not 'x'; or random\n",
    ),
    ("scripts.mutants", ["--mutant", "nosuch"], "no mutant is called 'nosuch'"),
    ("scripts.train", ["--epochs", "-1"], "argument --epochs: must be an integer of at least 0"),
    *(
        (module, [f"{option}={value}"], f"argument {option}: must be an integer of {limits}, not")
        for module, option, limits in (
            ("scripts.accuracy", "--jobs", "1 to 1024"),
            ("scripts.bench", "--mem-latency", "1 to 1048576"),
            ("scripts.bench", "--seed", "0 to 18446744073709551615"),
            ("scripts.functions", "--log2-arguments", "0 to 32"),
            ("scripts.functions", "--seed", "0 to 18446744073709551615"),
            ("scripts.pnr", "--seeds", "0 to 99"),
            ("verif.benches.fuzz", "--count", "at least 1"),
            ("verif.benches.fuzz", "--length", "at least 3"),
            ("verif.benches.fuzz", "--seed", "0 to 18446744073709551615"),
            ("verif.benches.regress", "--jobs", "1 to 1024"),
            ("verif.benches.regress", "--seed", "0 to 18446744073709551615"),
        )
        for value in ("-1", "x", "1.5")
    ),
]


@pytest.mark.parametrize(("module", "arguments", "message"), WRONG, ids=str)
def test_a_wrong_command_line_is_one_line_and_nothing_is_begun(
    module, arguments, message, tmp_path, monkeypatch, capsys
):
    command = import_module(module)
    label = module.rpartition(".")[2].replace("_", "-")
    if module == "scripts.train":
        monkeypatch.setattr(command, "FOLDER", tmp_path)
    try:
        code = exit_code(label, partial(command.main, arguments))
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (BAD_INPUT, "")
    assert captured.err.startswith(f"{label}: {message}"), captured.err
    assert captured.err.count("\n") == 1 and tmp_path.exists()


@pytest.mark.parametrize("device", ["rtl", "golden"])
def test_a_training_run_that_fails_ends_the_other_and_is_said_once(
    device, tmp_path, monkeypatch, capfd
):
    fails = "import sys; print('tegula train: bad', file=sys.stderr); sys.exit(1)"
    stays = "import time; time.sleep(100)" if device == "rtl" else ""
    runs = []

    def start(name, more):
        stderr = subprocess.PIPE if name == "golden" else None
        command = [sys.executable, "-c", fails if name == device else stays]
        runs.append(subprocess.Popen(command, stderr=stderr))
        return runs[-1]

    command = import_module("scripts.train")
    monkeypatch.setattr(command, "FOLDER", tmp_path / "train")
    monkeypatch.setattr(command, "start", start)
    assert command.main([]) == 1
    assert capfd.readouterr().err == "tegula train: bad\n"
    for run in runs:
        run.communicate(timeout=50)


def test_a_table_replaces_what_stands_between_its_markers(tmp_path):
    path = tmp_path / "document.md"
    path.write_text("head <b>\nold\n<e> tail <e>\n", encoding="utf-8")
    for text in ("new", "é"):
        put_into(path, "<b>", "<e>", text)
        assert path.read_text(encoding="utf-8") == f"head <b>\n{text}\n<e> tail <e>\n"


@pytest.mark.parametrize("text", ["", "<b> only", "only <e>", "<e> before <b>"])
def test_a_document_without_markers_is_left_alone(tmp_path, text):
    path = tmp_path / "document.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"document.md has no markers '<b>' and, behind it, '<e>'"):
        put_into(path, "<b>", "<e>", "new")
    assert path.read_text() == text


def test_a_script_that_fails_says_so_in_one_line():
    code = (
        "import runpy, sys, tempfile; tempfile.tempdir = '/nowhere';"
        "sys.argv[1:] = ['--mutant', 'resumed-run'];"
        "runpy.run_module('scripts.mutants', run_name='__main__')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 1
    assert run.stderr.startswith("mutants: /nowhere/mutant-")
    assert run.stderr.count("\n") == 1, run.stderr
