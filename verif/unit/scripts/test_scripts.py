"""Scripts: tables of documents, and ends like those of commands."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from scripts.readme import put_into
from verif import ROOT

LIBRARIES = ("__init__", "isa_prose", "readme")
"""Files that are no command."""

NAMES = sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if path.stem not in LIBRARIES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_script_does_nothing_else(name, capsys):
    with pytest.raises(SystemExit) as caught:
        import_module(f"scripts.{name}").main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


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
