"""Scripts: tables of documents, and ends like those of commands."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "readme")


def load(name):
    spec = spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_script_does_nothing_else(name, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    with pytest.raises(SystemExit) as caught:
        load(name).main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_a_table_replaces_what_stands_between_its_markers(tmp_path):
    put_into = load("readme").put_into
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
        load("readme").put_into(path, "<b>", "<e>", "new")
    assert path.read_text() == text


def test_a_script_that_fails_says_so_in_one_line():
    command = [sys.executable, str(SCRIPTS / "mutants.py"), "--mutant", "resumed-run"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": "/nowhere"}
    code = (
        "import tempfile; tempfile.tempdir = '/nowhere'; import runpy, sys; sys.argv = sys.argv[1:]"
    )
    run = subprocess.run(
        [
            command[0],
            "-c",
            f"{code}; runpy.run_path(sys.argv[0], run_name='__main__')",
            *command[1:],
        ],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("mutants: /nowhere/mutant-")
    assert run.stderr.count("\n") == 1, run.stderr
