"""Place and route of a tile: what is kept of interrupted and failing runs, and what is reported."""

import json
import shutil
from functools import partial

import pytest

from scripts import pnr
from scripts.budgets import BUDGETS
from scripts.nextpnr import NextpnrError
from tegula_sw.cli.exits import FAILED, INTERRUPTED, exit_code
from verif import ROOT

RECORDED = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.sdf"

USED = {"TRELLIS_COMB": 830, "TRELLIS_RAMW": 3, "TRELLIS_FF": 12, "MULT18X18D": 78, "DP16KD": 0}

NETLIST = {
    "modules": {
        "harness": {
            "cells": {
                "tile.vector.x_FF": {
                    "type": "TRELLIS_FF",
                    "connections": {"DI": [2], "Q": [3]},
                    "port_directions": {"DI": "input", "Q": "output"},
                },
                "tile.vector.y_LUT": {
                    "type": "LUT4",
                    "connections": {"A": [3], "B": [3], "Z": [2]},
                    "port_directions": {"A": "input", "B": "input", "Z": "output"},
                },
            },
            "netnames": {"tile.vector.x": {"bits": [3]}},
        }
    }
}

TABLE_BEGIN = f"{pnr.BEGIN}\nold\n{pnr.END}\n"


class Nextpnr:
    """What stands for nextpnr: rates by seed; an exception instead of a rate is raised."""

    def __init__(self, rates):
        self.rates = rates
        self.seeds, self.placed = [], []

    def __call__(self, folder, *options, speed, seed, progress, design="out.json"):
        assert (folder / design).exists() and (folder / "pins.lpf").exists()
        if "--no-route" in options:
            self.placed.append(seed)
            (folder / pnr.PLACED).write_text(json.dumps({"placed": seed}))
            return {}
        assert "--no-place" in options and json.loads((folder / design).read_text()) == {
            "placed": seed
        }
        assert "--sdf" in options
        self.seeds.append(seed)
        rate = self.rates[seed]
        if isinstance(rate, BaseException):
            raise rate
        shutil.copy(RECORDED, folder / "out.sdf")
        utilization = {name: {"used": used, "available": 1} for name, used in USED.items()}
        return {"fmax": {"clk": {"achieved": rate}}, "utilization": utilization}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command with rates by seed; exit code and the seeds that nextpnr was run for."""
    monkeypatch.setenv("TEGULA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pnr, "README", tmp_path / "README.md")
    monkeypatch.setattr(pnr, "BUDGETS", tmp_path / "area.json")
    monkeypatch.setattr(pnr, "read_budgets", partial(pnr.read_budgets, tmp_path / "area.json"))
    monkeypatch.setattr(
        pnr, "write_budgets", partial(pnr.write_budgets, path=tmp_path / "area.json")
    )
    (tmp_path / "README.md").write_text(TABLE_BEGIN)

    def netlist_of(config, folder, progress):
        path = folder / "netlist_0123.json"
        path.write_text(json.dumps(NETLIST))
        return path

    monkeypatch.setattr(pnr, "netlist_of", netlist_of)

    def command(rates, *arguments):
        command.fake = fake = Nextpnr(rates)
        monkeypatch.setattr(pnr.nextpnr, "run_nextpnr", fake)
        code = exit_code("pnr", partial(pnr.main, ["--quiet", *arguments]))
        return code, fake.seeds

    return command


@pytest.fixture
def placed(run):
    """The seeds that nextpnr has placed in the last run."""
    return lambda: run.fake.placed


def report_in(tmp_path):
    return json.loads((tmp_path / "cache" / "pnr" / "tiny" / "report.json").read_text())


def test_the_clock_rate_is_the_median_and_the_paths_are_of_that_seed(run, tmp_path, capsys):
    assert run({1: 60.0, 2: 90.0, 3: 70.26}) == (0, [1, 2, 3])
    report = report_in(tmp_path)
    assert report["fmax_mhz"] == 70.3
    assert report["seeds"] == {"1": 60.0, "2": 90.0, "3": 70.3}
    assert report["resources"] == {"sites": 830, "FF": 12, "DSP": 78, "BRAM": 0}
    assert report["percent"] == {"sites": 1.0, "FF": 0.0, "DSP": 50.0, "BRAM": 0.0}
    assert [path["blocks"] for path in report["paths"][:2]] == [
        ["counter", "parity"],
        ["harness", "counter"],
    ]
    assert len(report["paths"]) == 3
    assert report["fan_out"] == [
        {
            "net": "tile.vector.x",
            "block": "vector",
            "fan_out": 2,
            "sinks": {"vector": 2},
            "pins": {"logic": 2},
        },
        {
            "net": "tile.vector.y_LUT",
            "block": "vector",
            "fan_out": 1,
            "sinks": {"vector": 1},
            "pins": {"logic": 1},
        },
    ]
    text = capsys.readouterr().out
    assert "tiny on ECP5-85K, speed grade 6: sites 830 (1.0 %), FF 12" in text
    assert "70.3 MHz (median of seeds 1: 60.0, 2: 90.0, 3: 70.3)" in text
    assert "elements, 1 of carry chains: counter > parity" in text
    assert "2  vector: tile.vector.x (to vector 2; logic 2)" in text


def test_without_a_seed_the_netlist_is_reported(run, tmp_path, capsys):
    assert run({}, "--seeds", "0", "--record") == (0, [])
    report = report_in(tmp_path)
    assert report["resources"] == {"sites": 1, "FF": 1, "DSP": 0, "BRAM": 0}
    assert [path["blocks"] for path in report["estimated_paths"]] == [["vector"]]
    assert "fmax_mhz" not in report and not (tmp_path / "area.json").exists()
    assert "estimated before placement:\n  1.76 ns = " in capsys.readouterr().out


def test_what_has_been_computed_is_not_computed_again(run):
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])
    assert run({1: 60.0, 2: 61.0}, "--seeds", "2") == (0, [2])
    assert run({}, "--seeds", "2") == (0, [])
    assert run({1: 80.0}, "--seeds", "1", "--speed", "8") == (0, [1])


def test_another_netlist_is_routed_anew(run, monkeypatch):
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])
    monkeypatch.setitem(NETLIST, "creator", "another")
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])


def test_a_seed_that_fails_keeps_no_other_back(run, tmp_path, capsys):
    rates = {1: 60.0, 2: NextpnrError("nextpnr failed (1): no place"), 3: 70.0}
    assert run(rates) == (FAILED, [1, 2, 3])
    assert report_in(tmp_path)["seeds"] == {"1": 60.0, "3": 70.0}
    assert capsys.readouterr().err == "pnr: seed 2: nextpnr failed (1): no place\n"
    assert run({2: 65.0}) == (0, [2])
    assert report_in(tmp_path)["fmax_mhz"] == 65.0


def test_if_all_fail_there_is_no_report(run, tmp_path, capsys):
    assert run({1: NextpnrError("no place")}, "--seeds", "1") == (FAILED, [1])
    assert capsys.readouterr().err == "pnr: seed 1: no place\n"
    assert not (tmp_path / "cache" / "pnr" / "tiny" / "report.json").exists()


def test_an_interrupted_run_goes_on_where_it_was(run, tmp_path, capsys):
    assert run({1: 60.0, 2: KeyboardInterrupt()}) == (INTERRUPTED, [1, 2])
    assert capsys.readouterr().err == "pnr: interrupted\n"
    assert run({2: 61.0, 3: 62.0}) == (0, [2, 3])


def test_a_seed_whose_routing_fails_or_is_interrupted_is_not_placed_again(run, placed):
    assert run({1: NextpnrError("no way"), 2: KeyboardInterrupt()}) == (INTERRUPTED, [1, 2])
    assert placed() == [1, 2]
    assert run({1: 60.0, 2: 61.0, 3: 62.0}) == (0, [1, 2, 3])
    assert placed() == [3]
    assert run({1: 60.0}, "--seeds", "1", "--speed", "8") == (0, [1])
    assert placed() == [1]


def test_placements_of_routed_seeds_are_not_kept(run, tmp_path):
    run({1: 60.0, 2: NextpnrError("no way")}, "--seeds", "2")
    kept = (tmp_path / "cache" / "pnr" / "tiny").glob("placed_*.json")
    assert [json.loads(path.read_text()) for path in kept] == [{"placed": 2}]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: "",
        lambda whole: json.dumps(whole)[:-9],
        lambda whole: "[]",
        lambda whole: json.dumps({key: whole[key] for key in whole if key != "resources"}),
        lambda whole: json.dumps(whole | {"paths": [{}]}),
        lambda whole: json.dumps(whole | {"paths": [3]}),
        lambda whole: json.dumps(whole | {"paths": 3}),
    ],
)
def test_a_damaged_result_is_computed_again_and_a_damaged_placement_placed(
    run, placed, tmp_path, damage
):
    folder = tmp_path / "cache" / "pnr" / "tiny"
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])
    (kept,) = folder.glob("seed_1_*.json")
    kept.write_text(damage(json.loads(kept.read_text())))
    assert run({1: NextpnrError("no way")}, "--seeds", "1") == (FAILED, [1])
    (kept,) = folder.glob("placed_1_*.json")
    kept.write_text('{"placed": ')
    assert run({1: 61.0}, "--seeds", "1", "--record") == (0, [1])
    assert placed() == [1]
    assert report_in(tmp_path)["fmax_mhz"] == 61.0


def test_a_placement_that_another_run_has_removed_is_no_fault(run, tmp_path, monkeypatch):
    write, folder = pnr.write_json, tmp_path / "cache" / "pnr" / "tiny"

    def write_and_remove(path, *arguments, **options):
        write(path, *arguments, **options)
        for kept in folder.glob("placed_*.json"):
            kept.unlink()

    monkeypatch.setattr(pnr, "write_json", write_and_remove)
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])


def test_a_missing_tool_is_one_line(run, capsys):
    assert run({1: ImportError("nextpnr is not installed")}) == (FAILED, [1])
    assert capsys.readouterr().err == "pnr: nextpnr is not installed\n"


def test_records_of_other_presets_stay(run, tmp_path):
    assert run({1: 60.0}, "--seeds", "1") == (0, [1])
    assert (tmp_path / "README.md").read_text() == TABLE_BEGIN
    assert not (tmp_path / "area.json").exists()
    assert run({1: 60.0}, "--seeds", "1", "--record") == (0, [])
    assert run({1: 50.0}, "--seeds", "1", "--record", "--preset", "small") == (0, [1])
    budgets = json.loads((tmp_path / "area.json").read_text())
    assert list(budgets["tiles"]) == ["small", "tiny"] and budgets["parts"] == {}
    table = (tmp_path / "README.md").read_text()
    assert "| `tiny` | 830 (1 %) | 12 (0 %) | 78 (50 %) | 0 (0 %) | 60.0 MHz | 1 |" in table
    assert "| `small` | counter, parity | 4.12 | 2.27 | 3 | 1 |" in table


def test_json_to_standard_output_is_alone(run, capsys):
    assert run({1: 60.0}, "--seeds", "1", "--json", "-") == (0, [1])
    assert json.loads(capsys.readouterr().out)["fmax_mhz"] == 60.0


def test_the_record_is_the_tracked_file():
    assert BUDGETS == ROOT / "verif" / "budgets" / "area.json"
