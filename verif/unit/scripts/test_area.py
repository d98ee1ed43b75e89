"""Budgets of area: growth is an error that names the part, the old and the new figure."""

import json
from functools import partial

import pytest

from scripts import area
from scripts.budgets import BUDGETS, compare, read_budgets, write_budgets
from tegula.tensor.operand import OperandDecode
from tegula_sw.cli.exits import BAD_INPUT, exit_code

OLD = {"PE": {"sites": 1000, "FF": 200, "DSP": 4, "BRAM": 0}}


def grown(**changes):
    return {"PE": {**OLD["PE"], **changes}}


@pytest.mark.parametrize("changes", [{}, {"sites": 1050}, {"FF": 210}, {"sites": 1, "DSP": 0}])
def test_a_part_may_shrink_or_grow_by_a_twentieth(changes):
    assert compare(OLD, grown(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sites": 1051}, "PE has grown: sites 1000 -> 1051 (+5.1%)"),
        ({"FF": 300}, "PE has grown: FF 200 -> 300 (+50.0%)"),
        ({"DSP": 5}, "PE has grown: DSP 4 -> 5 (+25.0%)"),
        ({"BRAM": 1}, "PE has grown: BRAM 0 -> 1 (new)"),
    ],
)
def test_more_is_an_error(changes, message):
    assert compare(OLD, grown(**changes)) == [message]


def test_each_resource_that_has_grown_is_named():
    assert len(compare(OLD, grown(sites=2000, FF=2000))) == 2


def test_parts_and_budgets_are_the_same():
    assert compare({}, OLD) == ["PE has no budget"]
    assert compare(OLD, {}) == ["PE has a budget, but is no part"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The command on a file of its own, with areas that a test says."""
    path = tmp_path / "area.json"
    monkeypatch.setattr(area, "read_budgets", partial(read_budgets, path))
    monkeypatch.setattr(area, "write_budgets", partial(write_budgets, path=path))

    def command(found, *arguments):
        monkeypatch.setattr(area, "areas", lambda: found)
        return exit_code("area", partial(area.main, list(arguments)))

    return path, command


def test_growth_fails_until_the_file_is_updated(files, capsys):
    path, command = files
    assert command(OLD, "--update") == 0
    assert json.loads(path.read_text())["parts"] == OLD
    assert command(grown(sites=1050)) == 0
    assert command(grown(sites=1100)) == 1
    assert "area: PE has grown: sites 1000 -> 1100 (+10.0%)\n" in capsys.readouterr().err
    assert command(grown(sites=1100), "--update") == 0
    assert command(grown(sites=1100)) == 0


def test_an_update_keeps_what_other_commands_record(files):
    path, command = files
    write_budgets({"parts": {}, "parts_mhz": {"PE": 120.5}, "tiles": {"tiny": {"a": 1}}}, path)
    assert command(OLD, "--update") == 0
    assert read_budgets(path) == {
        "parts": OLD,
        "parts_mhz": {"PE": 120.5},
        "tiles": {"tiny": {"a": 1}},
    }


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"parts": 1, "parts_mhz": {}, "tiles": {}}'])
def test_a_damaged_file_is_bad_input(files, text, capsys):
    path, command = files
    path.write_text(text)
    assert command(OLD) == BAD_INPUT
    assert f"area: {path} is no file of budgets: " in capsys.readouterr().err


def test_an_area_that_is_known_is_not_synthesised_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TEGULA_CACHE", str(tmp_path))
    calls = []

    def synthesise(verilog, top, flow, folder):
        calls.append(top)
        return {"part": {"LUT4": 7, "TRELLIS_FF": len(calls)}}

    monkeypatch.setattr(area, "synthesise", synthesise)
    monkeypatch.setattr(area, "PARTS", {"decode": lambda: OperandDecode(area.TINY)})
    for _ in range(2):
        assert area.area_of("decode") == {"sites": 7, "FF": 1, "DSP": 0, "BRAM": 0}
    assert calls == ["part"]
    (kept,) = (tmp_path / "area").iterdir()
    for damage in ("", "{", "[]", "null", "{}"):
        kept.write_text(damage)
        assert area.area_of("decode")["sites"] == 7
    assert len(calls) == 6


def test_each_part_has_a_budget():
    assert read_budgets(BUDGETS)["parts"].keys() == area.PARTS.keys()
