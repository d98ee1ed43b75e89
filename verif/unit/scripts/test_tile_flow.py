"""The netlist of a whole tile: its harness, names that keep the hierarchy, resets."""

import pytest

from scripts.flows import counts_of
from scripts.netlist import Netlist
from scripts.tile_flow import FEWEST_RESET, HARNESS, TILE_FLOW, registered
from tegula.backend.yosys import run_yosys
from verif import ROOT

SMALL = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.v"
"""A counter, and the parity of what it counts, as blocks of a tile."""


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
