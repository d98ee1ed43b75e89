"""Flows of Yosys, from Verilog to the primitive cells of a device family, and their counts."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tegula.backend.yosys import run_yosys

__all__ = [
    "ECP5",
    "ECP5_85K",
    "FEWEST_RESET",
    "HARNESS",
    "TILE_FLOW",
    "XILINX_7",
    "Family",
    "inclusive",
    "registered",
    "synthesise",
    "table",
]

_READ = "read_verilog in.v; hierarchy -check -top {top}; proc; opt_clean -purge;"

_COUNT = " tee -q -o stat.json stat -json"


@dataclass(frozen=True, kw_only=True)
class Family:
    """Synthesis for a family of devices, and what its primitive cells are counted as.

    Attributes
    ----------
    name
        As in tables.
    flow
        Script of Yosys, with `top` and `options`; it reads in.v and writes stat.json.
    columns
        Names of cells of each column.
    sites
        LUT sites that a cell of each column, or of each name, takes.
    """

    name: str
    flow: str
    columns: Mapping[str, tuple[str, ...]]
    sites: Mapping[str, int]

    def resources(self, cells: Mapping[str, int]) -> dict[str, int]:
        """The columns of a table: LUT sites, and what is counted in cells."""
        counts = {
            name: sum(cells.get(kind, 0) for kind in kinds) for name, kinds in self.columns.items()
        }
        sites = sum(
            each * counts.get(name, cells.get(name, 0)) for name, each in self.sites.items()
        )
        return {"sites": sites, **counts}


ECP5 = Family(
    name="ECP5",
    flow=(
        f"{_READ} rename -hide */w:*; scratchpad -set abc9.D 4000;"
        " synth_ecp5 {options} -top {top} -json out.json;" + _COUNT
    ),
    columns={
        "LUT4": ("LUT4",),
        "CCU2C": ("CCU2C",),
        "FF": ("TRELLIS_FF",),
        "DSP": ("MULT18X18D",),
        "BRAM": ("DP16KD", "PDPW16KD"),
        "DPR16X4": ("TRELLIS_DPR16X4",),
    },
    sites={"LUT4": 1, "CCU2C": 2, "DPR16X4": 6},
)
"""Lattice ECP5. Two LUT4 sites a slice; a DPR16X4 is three slices (FPGA-DS-02012).

Wires are made private: ABC9's reintegration fails on public names such as `a[0].b`. `abc9.D` is the
delay, in ps, below which ABC9 saves LUTs instead of time. It counts cells and short wires: 4 ns are
8 to 9 once routed. Without it every block is mapped as fast as its slowest path can be, which makes
a multiplexer of registers twice as large.
"""

ECP5_85K = {"sites": 83640, "FF": 83640, "DSP": 156, "BRAM": 208}
"""Lattice FPGA-DS-02012, ECP5 family table; a register stands behind every LUT4 site."""

_LUTRAM_SITES = {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4}

XILINX_7 = Family(
    name="Xilinx 7",
    flow=(
        f"{_READ} rename -hide */w:*;"
        " synth_xilinx -family xc7 -noiopad -noclkbuf {options} -top {top};" + _COUNT
    ),
    columns={
        "LUT6": ("INV", *(f"LUT{inputs}" for inputs in range(1, 7))),
        "CARRY4": ("CARRY4",),
        "MUXF": ("MUXF7", "MUXF8"),
        "FF": ("FDRE", "FDSE", "FDCE", "FDPE"),
        "DSP": ("DSP48E1",),
        "RAMB36": ("RAMB36E1",),
        "RAMB18": ("RAMB18E1",),
        "LUTRAM": tuple(_LUTRAM_SITES),
        "SRL": ("SRL16E", "SRLC16E", "SRLC32E"),
    },
    sites={"LUT6": 1, "SRL": 1, **_LUTRAM_SITES},
)
"""Xilinx 7 series. A LUT6 site holds a LUT of one to six inputs, 64 bits of memory with one port or
a shift register; a RAM32M or RAM64M takes four (UG474, distributed RAM configuration)."""

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

TILE_FLOW = (
    "read_verilog in.v; hierarchy -check -top {harness}; proc; opt_clean;"
    r" setattr -set block_input 1 */i:*; rename -hide {harness}/w:tile_* {top}/w:*;"
    r" rename -hide */w:*\[*; flatten; rename -hide */a:block_input;"
    " scratchpad -set abc9.D 4000; synth_ecp5 -top {harness} -run begin:map_ffs;"
    f" dfflegalize {_REGISTERS} -minsrst {FEWEST_RESET} -mince {FEWEST_ENABLED}; opt_merge;"
    " synth_ecp5 -top {harness} -run map_ffs: -json out.json;" + _COUNT
)
"""The whole of a tile, flattened, with names that keep the hierarchy, as `tile.vector.lane_0.x`.

Wires stay public but for those with brackets (see `ECP5`), those between blocks and the inputs of
modules, which would give a register the name of the block that it goes to. Yosys names each cell
after the public wire next to it, so that LUTs too begin with the name of a block: of the one that
they drive, or that drives them.
"""


def synthesise(
    verilog: Path, top: str, flow: str, folder: Path, *, options: str = ""
) -> dict[str, Counter[str]]:
    """Cells by module, of their own, submodules counted under their names.

    Parameters
    ----------
    verilog
        Text to synthesise.
    top
        Its top module.
    flow
        Of a `Family`.
    folder
        Working directory, where what Yosys writes is left.
    options
        Of the flow's synthesis command.

    Raises
    ------
    YosysError
        If Yosys fails.
    """
    Path(folder, "in.v").write_text(verilog.read_text())
    run_yosys(flow.format(top=top, options=options), folder)
    return counts_of(Path(folder, "stat.json"))


def counts_of(statistics: Path) -> dict[str, Counter[str]]:
    """Cells by module in what `stat -json` wrote."""
    modules = json.loads(statistics.read_text())["modules"]
    return {
        name.lstrip("\\"): Counter(
            {cell.lstrip("\\"): count for cell, count in stat["num_cells_by_type"].items()}
        )
        for name, stat in modules.items()
    }


def inclusive(modules: Mapping[str, Counter[str]], top: str) -> Counter[str]:
    """Primitive cells of `top` with everything below it."""
    total: Counter[str] = Counter()
    for cell, count in modules[top].items():
        if cell in modules:
            for below, each in inclusive(modules, cell).items():
                total[below] += count * each
        else:
            total[cell] += count
    return total


def table(rows: Mapping[str, Mapping[str, int]]) -> str:
    """Rows of resources as text, numbers right-aligned."""
    width = max(map(len, rows))
    columns = list(next(iter(rows.values())))
    lines = [" " * width + "".join(f"{column:>9}" for column in columns)]
    lines += [
        f"{name:<{width}}" + "".join(f"{row[column]:>9}" for column in columns)
        for name, row in rows.items()
    ]
    return "\n".join(lines)


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
