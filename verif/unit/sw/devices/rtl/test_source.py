"""Verilog of a tile as the simulator compiles it."""

import re

import pytest

from tegula.backend.verilog import tile_verilog
from tegula.config import preset
from tegula.isa.instructions import ENGINES
from tegula_sw.devices.rtl.source import RUNNING_PARTS, STOPPED_ENGINES, simulation_verilog

PORTS = "  input clk;\n  wire clk;\n  input rst;\n  wire rst;\n"
INSTANCES = "  part a (\n    .clk(clk),\n    .rst(rst)\n  );\n  part b (\n    .rst(rst)\n  );\n"
PART = f"module part(clk, rst);\n{PORTS}  leaf c (\n    .rst(rst)\n  );\nendmodule\n"
REGISTER = "  reg rst_registered = 1'b1;\n  always @(posedge clk) rst_registered <= rst;\n"
ENGINE = """\
  tegula_tile_vector_engine vector (
    .clk(clk),
    .engine__idle(idle_of_it),
    .engine__instr__valid(comes),
    .engine__stop(\\stop.of.it ),
    .rst(rst)
  );
"""


def module(name: str, body: str) -> str:
    return f"module {name}(clk, rst);\n{body}endmodule\n"


def test_instances_of_the_top_get_their_reset_from_a_register():
    verilog = module("tile", PORTS + INSTANCES) + PART
    registered = INSTANCES.replace(".rst(rst)", ".rst(rst_registered)")
    expected = module("tile", PORTS + registered + REGISTER) + PART
    assert simulation_verilog(verilog, "tile") == expected


def test_only_the_module_of_that_name_is_changed():
    verilog = module("tile_2", PORTS + INSTANCES + ENGINE) + module("tile", PORTS + INSTANCES)
    changed = simulation_verilog(verilog, "tile")
    assert changed.startswith(module("tile_2", PORTS + INSTANCES + ENGINE))
    assert changed.count(REGISTER) == 1


def test_a_top_whose_instances_have_no_reset_stays_as_it_is():
    verilog = module("tile", PORTS + "  part a (\n    .clk(clk)\n  );\n") + PART
    assert simulation_verilog(verilog, "tile") == verilog
    assert simulation_verilog(PART, "tile") == PART


def test_an_engine_has_a_clock_that_its_idleness_stops():
    changed = simulation_verilog(module("tile", PORTS + INSTANCES + ENGINE), "tile")
    wakes = re.search(r"wire vector_wakes = (.*);", changed)[1].split(" | ")
    assert wakes == ["rst", "rst_registered", "~idle_of_it", "comes", "\\stop.of.it "]
    clocked = ENGINE.replace("(clk)", "(vector_clk)").replace("(rst)", "(vector_rst)")
    assert clocked in changed


@pytest.mark.parametrize("traced", [False, True])
def test_each_stopped_engine_of_a_tile_has_its_clock(traced):
    config = preset("tiny", trace=traced)
    changed = simulation_verilog(tile_verilog(config).read_text(), f"tegula_{config.name}")
    assert set(STOPPED_ENGINES) == {engine.name.lower() for engine in ENGINES} - {"tensor"}
    for name in STOPPED_ENGINES:
        assert changed.count(f".clk({name}_clk)") == changed.count(f".rst({name}_rst)") == 1
    for name, part in RUNNING_PARTS:
        inside = changed.split(f"module tegula_{config.name}_{name}_engine(")[1]
        instance = re.search(rf"^  \w+ {part} \(\n.*?^  \);\n", inside, re.M | re.S)[0]
        assert f".clk(tegula_{config.name}.clk)" in instance
        assert f".rst(tegula_{config.name}.rst_registered)" in instance
