"""The netlist of a whole tile: its harness, names that keep the hierarchy, resets."""

from collections import Counter

import pytest

from scripts.flows import counts_of
from scripts.netlist import Netlist
from scripts.tile_flow import CARRIES, FEWEST_RESET, HARNESS, netlist_of_tile, registered
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
    verilog = registered(SMALL.read_text(), "tegula_small")
    netlist = Netlist.read(netlist_of_tile(verilog, "tegula_small", tmp_path))
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
    netlist = netlist_of_tile(registered(text, "tegula_small"), "tegula_small", tmp_path)
    cells = Netlist.read(netlist).cells.values()
    nets = {cell["connections"]["LSR"][0] for cell in cells if cell["type"] == "TRELLIS_FF"}
    assert len(nets - {"0"}) == reset


ARITHMETIC = """
module arithmetic(input [{high}:0] a, b, output [{width}:0] sum,
                  output [{high}:0] difference, output below, not_below, signed_below);
  assign sum = a + b;
  assign difference = a - b;
  assign below = a < b;
  assign not_below = a >= b;
  assign signed_below = $signed(a) < $signed(b);
endmodule
"""

PROOF = """
read_verilog in.v; hierarchy -top arithmetic; proc; design -save gold;
prep; alumacc; techmap -map carries.v t:$alu; select -assert-min 6 t:CCU2C;
techmap -map +/lattice/cells_sim_ecp5.v t:CCU2C; flatten; techmap; opt -purge;
rename arithmetic gate; design -stash gate;
design -load gold; rename arithmetic gold; design -copy-from gate -as gate gate;
miter -equiv -make_assert -flatten gold gate miter;
sat {expected} -prove-asserts miter
"""


@pytest.mark.parametrize("width", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("carry_in", [0, 1])
def test_chains_of_carries_are_sums_whatever_stands_before_them(tmp_path, width, carry_in):
    _prove(tmp_path, width, CARRIES.read_text().replace("i == 0 ? 1'b0", f"i == 0 ? 1'b{carry_in}"))


@pytest.mark.parametrize(
    ("right", "wrong"), [("4'b1011 : 4'b1110", "4'b1110 : 4'b1011"), ("X[0] ^ CI", "X[0]")]
)
def test_a_chain_that_is_wrong_is_no_sum(tmp_path, right, wrong):
    text = CARRIES.read_text()
    assert text.count(right) == 1
    _prove(tmp_path, 7, text.replace(right, wrong), "-falsify")


def _prove(folder, width, carries, expected="-verify"):
    (folder / "in.v").write_text(ARITHMETIC.format(high=width - 1, width=width))
    (folder / "carries.v").write_text(carries)
    run_yosys(PROOF.replace("\n", " ").format(expected=expected), folder)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_a_memory_of_few_words_has_no_address_pin_that_is_0(tmp_path, bits):
    values = [11 * word % 16 for word in range(1 << bits)]
    initial = " ".join(f"words[{word}] = {value};" for word, value in enumerate(values))
    text = f"""module tegula_small(clk, rst, i_write, i_to, i_from, i_data, o_data);
  input clk;
  input rst;
  input i_write;
  input [{bits - 1}:0] i_to;
  input [{bits - 1}:0] i_from;
  input [3:0] i_data;
  output [3:0] o_data;
  (* ram_style = "distributed" *) reg [3:0] words [0:{len(values) - 1}];
  initial begin {initial} end
  always @(posedge clk) if (i_write) words[i_to] <= i_data;
  assign o_data = words[i_from];
endmodule
"""
    netlist = netlist_of_tile(registered(text, "tegula_small"), "tegula_small", tmp_path)
    cells = Netlist.read(netlist).cells.values()
    (memory,) = (cell for cell in cells if cell["type"] == "TRELLIS_DPR16X4")
    for port in ("RAD", "WAD"):
        wired = [
            bit for bit, net in enumerate(memory["connections"][port]) if net not in ("0", "1")
        ]
        assert len(wired) == bits
        assert "0" not in memory["connections"][port]
    assert memory["connections"]["RAD"][bits:] == memory["connections"]["WAD"][bits:]
    last = int(memory["parameters"]["INITVAL"], 2) >> 4 * (16 - len(values))
    assert [last >> 4 * word & 15 for word in range(len(values))] == values


def test_ends_of_chains_that_nothing_reads_are_open(tmp_path):
    text = """module tegula_small(clk, rst, i_a, i_b, o_sum, o_below);
  input clk;
  input rst;
  input [8:0] i_a;
  input [8:0] i_b;
  output [8:0] o_sum;
  output o_below;
  assign o_sum = i_a + i_b;
  assign o_below = i_a < i_b;
endmodule
"""
    netlist = netlist_of_tile(registered(text, "tegula_small"), "tegula_small", tmp_path)
    cells = [cell for cell in Netlist.read(netlist).cells.values() if cell["type"] == "CCU2C"]
    ends = Counter(
        (cell["connections"][end][0] == "x", end) for cell in cells for end in ("CIN", "COUT")
    )
    assert ends == {(True, "CIN"): 2, (True, "COUT"): 2, (False, "CIN"): 8, (False, "COUT"): 8}
