"""Verilog of a tile as the simulator compiles it."""

from tegula_sw.devices.rtl.source import register_reset

PORTS = "  input clk;\n  wire clk;\n  input rst;\n  wire rst;\n"
INSTANCES = "  part a (\n    .clk(clk),\n    .rst(rst)\n  );\n  part b (\n    .rst(rst)\n  );\n"
PART = f"module part(clk, rst);\n{PORTS}  leaf c (\n    .rst(rst)\n  );\nendmodule\n"
REGISTER = "  reg rst_registered = 1'b1;\n  always @(posedge clk) rst_registered <= rst;\n"


def module(name: str, body: str) -> str:
    return f"module {name}(clk, rst);\n{body}endmodule\n"


def test_instances_of_the_top_get_their_reset_from_a_register():
    verilog = module("tile", PORTS + INSTANCES) + PART
    registered = INSTANCES.replace(".rst(rst)", ".rst(rst_registered)")
    expected = module("tile", PORTS + REGISTER + registered) + PART
    assert register_reset(verilog, "tile") == expected


def test_only_the_module_of_that_name_is_changed():
    verilog = module("tile_2", PORTS + INSTANCES) + module("tile", PORTS + INSTANCES)
    changed = register_reset(verilog, "tile")
    assert changed.startswith(module("tile_2", PORTS + INSTANCES))
    assert changed.count(REGISTER) == 1


def test_a_top_whose_instances_have_no_reset_stays_as_it_is():
    verilog = module("tile", PORTS + "  part a (\n    .clk(clk)\n  );\n") + PART
    assert register_reset(verilog, "tile") == verilog
    assert register_reset(PART, "tile") == PART
