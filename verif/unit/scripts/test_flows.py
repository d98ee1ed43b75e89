"""Synthesis flows: counts of cells, the harness of a tile, names that keep the hierarchy."""

import pytest

from scripts.flows import (
    ECP5,
    FEWEST_RESET,
    HARNESS,
    TILE_FLOW,
    XILINX_7,
    counts_of,
    inclusive,
    registered,
    synthesise,
    table,
)
from scripts.netlist import Netlist
from tegula.backend.yosys import run_yosys
from verif import ROOT

SMALL = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.v"
"""A counter, and the parity of what it counts, as blocks of a tile."""


def test_sites_are_counted_by_cell():
    cells = {
        "LUT4": 10,
        "CCU2C": 3,
        "TRELLIS_FF": 7,
        "TRELLIS_DPR16X4": 2,
        "DP16KD": 1,
        "L6MUX21": 4,
    }
    assert ECP5.resources(cells) == {
        "sites": 10 + 2 * 3 + 6 * 2,
        "LUT4": 10,
        "CCU2C": 3,
        "FF": 7,
        "DSP": 0,
        "BRAM": 1,
        "DPR16X4": 2,
    }
    cells = {"LUT1": 1, "LUT6": 5, "INV": 1, "RAM32M": 2, "RAM64X1D": 1, "SRL16E": 3, "FDRE": 4}
    found = XILINX_7.resources({**cells, "FDSE": 1, "RAMB36E1": 2, "RAMB18E1": 1, "DSP48E1": 6})
    assert found == {
        "sites": 7 + 2 * 4 + 2 + 3,
        "LUT6": 7,
        "CARRY4": 0,
        "MUXF": 0,
        "FF": 5,
        "DSP": 6,
        "RAMB36": 2,
        "RAMB18": 1,
        "LUTRAM": 3,
        "SRL": 3,
    }


def test_cells_below_count_as_often_as_they_are_instantiated():
    modules = {"top": {"LUT4": 1, "mid": 2}, "mid": {"leaf": 3}, "leaf": {"LUT4": 5, "FF": 1}}
    assert inclusive(modules, "top") == {"LUT4": 1 + 2 * 3 * 5, "FF": 6}


def test_a_table_has_a_row_for_each_block():
    lines = table({"a block": {"sites": 12, "FF": 3}, "b": {"sites": 1, "FF": 0}}).splitlines()
    assert [line.split() for line in lines[::2]] == [["sites", "FF"], ["b", "1", "0"]]
    assert len(set(map(len, lines))) == 1


@pytest.mark.parametrize("text", ["", "module other(clk);\n  input clk;\nendmodule\n"])
def test_verilog_without_the_tile_is_an_error(text):
    with pytest.raises(
        ValueError, match="no module 'tegula_small' with a clock, inputs and output"
    ):
        registered(text, "tegula_small")


def test_a_harness_registers_each_port_and_names_keep_the_block_that_drives(tmp_path):
    (tmp_path / "in.v").write_text(registered(SMALL.read_text(), "tegula_small"))
    run_yosys(TILE_FLOW.format(top="tegula_small", harness=HARNESS), tmp_path)
    netlist = Netlist.read((tmp_path / "out.json").read_text())
    blocks = netlist.by_block()
    flops = {block: cells["TRELLIS_FF"] for block, cells in blocks.items()}
    assert flops == {"harness": 4 + 1, "counter": 8, "parity": 1}
    assert blocks["counter"]["CCU2C"] == 4
    assert blocks["parity"]["LUT4"] > 0
    (largest,) = netlist.largest_fan_out(1)
    assert largest["block"] == "counter" and largest["net"].startswith("tile.counter.total[")
    assert largest["sinks"].keys() == {"counter", "parity"}
    assert largest["fan_out"] == sum(largest["sinks"].values())
    assert sum(sum(cells.values()) for cells in blocks.values()) == sum(
        count
        for cell, count in counts_of(tmp_path / "stat.json")[HARNESS].items()
        if not cell.startswith("$")
    )


@pytest.mark.parametrize("reset", [0, 1])
def test_a_reset_of_few_registers_of_a_tile_becomes_luts(tmp_path, reset):
    width = FEWEST_RESET - 1 + reset
    text = f"""module tegula_small(clk, rst, i_gate, i_data, o_data);
  input clk;
  input rst;
  input i_gate;
  input [{width - 1}:0] i_data;
  output [{width - 1}:0] o_data;
  reg [{width - 1}:0] o_data;
  always @(posedge clk) if (i_gate) o_data <= 0; else o_data <= i_data;
endmodule
"""
    (tmp_path / "in.v").write_text(registered(text, "tegula_small"))
    run_yosys(TILE_FLOW.format(top="tegula_small", harness=HARNESS), tmp_path)
    cells = Netlist.read((tmp_path / "out.json").read_text()).cells.values()
    nets = {cell["connections"]["LSR"][0] for cell in cells if cell["type"] == "TRELLIS_FF"}
    assert len(nets - {"0"}) == reset


@pytest.mark.parametrize(
    ("family", "flop"),
    [(ECP5, "TRELLIS_FF"), pytest.param(XILINX_7, "FDRE", marks=pytest.mark.slow)],
)
def test_a_family_keeps_modules_apart(family, flop, tmp_path):
    options = "-noflatten" if family is ECP5 else ""
    modules = synthesise(SMALL, "tegula_small", family.flow, tmp_path, options=options)
    assert modules["counter"][flop] == 8 and modules["parity"][flop] == 1
    assert family.resources(inclusive(modules, "tegula_small"))["FF"] == 9
