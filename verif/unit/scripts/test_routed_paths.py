"""Worst paths between blocks, from delays that nextpnr has written."""

import pytest

from scripts.netlist import block_of
from scripts.sdf import read_sdf, worst_paths
from verif import ROOT

RECORDED = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.sdf"
"""Of recorded/small.v in its harness; nextpnr said 242.6 MHz."""

HEAD = "(INTERCONNECT \\$gbuf\\$clk/CLKO"


def sdf(*cells, wires):
    """An SDF file of registers a, b... on one clock, and of LUTs."""
    lines = [f"{HEAD} {cell}/CLK (0:0:0) (0:0:0))" for cell, kind in cells if kind == "FF"]
    lines += [
        f"(INTERCONNECT {source} {sink} (1:2:{delay}) (1:2:3))" for source, sink, delay in wires
    ]
    for cell, kind in cells:
        lines.append(f"(INSTANCE {cell})")
        if kind == "FF":
            lines.append("(IOPATH (posedge CLK) Q (1:2:500) (1:2:400))")
            lines.append("(SETUPHOLD (posedge DI) (posedge CLK) (10:20:30) (0:0:0))")
        else:
            lines += [f"(IOPATH {port} {kind} (1:2:200) (1:2:100))" for port in "AB"]
    return read_sdf(lines)


def first_letter(cell):
    return cell[0].upper()


def test_the_worst_path_is_the_one_that_nextpnr_reports():
    with RECORDED.open() as lines:
        paths = worst_paths(read_sdf(lines), block_of, 9)
    assert 1000 / paths[0]["delay_ns"] == pytest.approx(242.6, abs=0.3)
    assert paths[0]["blocks"] == ["counter", "parity"]
    assert paths[0]["from_cell"].startswith("tile.counter.total")
    assert paths[0]["to_cell"].startswith("tile.parity.odd")
    assert (paths[0]["elements"], paths[0]["carries"]) == (3, 1)
    for path in paths:
        total = path["logic_ns"] + path["routing_ns"]
        assert path["delay_ns"] == pytest.approx(total, abs=0.011)
    assert [path["delay_ns"] for path in paths] == sorted(
        (path["delay_ns"] for path in paths), reverse=True
    )


def test_paths_with_the_same_ends_count_once():
    with RECORDED.open() as lines:
        paths = worst_paths(read_sdf(lines), block_of, 9)
    pairs = [(path["from_block"], path["to_block"]) for path in paths]
    assert len(pairs) == len(set(pairs)) == 5
    assert ("harness", "counter") in pairs and ("counter", "counter") in pairs


def test_a_path_is_made_of_the_largest_delays():
    graph = sdf(
        ("a", "FF"),
        ("m", "F"),
        ("n", "FCO"),
        ("b", "FF"),
        wires=[("a/Q", "m/A", 1000), ("m/F", "n/B", 50), ("n/FCO", "b/DI", 10), ("a/Q", "n/A", 1)],
    )
    (path,) = worst_paths(graph, first_letter, 3)
    assert path["blocks"] == ["A", "M", "N", "B"]
    assert path["delay_ns"] == (500 + 1000 + 200 + 50 + 200 + 10 + 30) / 1000
    assert path["routing_ns"] == 1.06 and path["logic_ns"] == 0.93
    assert (path["elements"], path["carries"]) == (1, 1)


def test_a_slow_path_of_one_block_does_not_hide_that_of_another():
    graph = sdf(
        ("a", "FF"),
        ("b", "FF"),
        ("m", "F"),
        ("c", "FF"),
        wires=[("a/Q", "m/A", 900), ("b/Q", "m/B", 100), ("m/F", "c/DI", 10)],
    )
    paths = worst_paths(graph, first_letter, 3)
    assert [(path["from_block"], path["to_block"]) for path in paths] == [("A", "C"), ("B", "C")]
    assert paths[1]["routing_ns"] == 0.11
    assert [path["from_block"] for path in worst_paths(graph, first_letter, 1)] == ["A"]


def test_cells_of_no_block_are_passed_in_silence():
    graph = sdf(
        ("a", "FF"),
        ("m", "F"),
        ("b", "FF"),
        wires=[("a/Q", "m/A", 1), ("m/F", "b/DI", 1)],
    )
    (path,) = worst_paths(graph, lambda cell: "" if cell == "m" else cell, 1)
    assert path["blocks"] == ["a", "b"] and path["elements"] == 1


def test_a_loop_of_logic_ends():
    graph = sdf(
        ("a", "FF"),
        ("m", "F"),
        ("b", "FF"),
        wires=[("m/F", "m/A", 1), ("a/Q", "m/B", 1), ("m/F", "b/DI", 1), ("a/Q", "b/DI", 5)],
    )
    assert worst_paths(graph, first_letter, 3) == []


def test_a_design_without_registers_is_an_error():
    with pytest.raises(ValueError, match="the SDF has no registers on a global clock"):
        read_sdf(["(INSTANCE m)", "(IOPATH A F (1:2:3) (1:2:3))"])
