"""Flows of Yosys, from Verilog to the primitive cells of a device family, and their counts."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tegula.backend.yosys import run_yosys

__all__ = [
    "ECP5",
    "ECP5_85K",
    "STATISTICS",
    "XILINX_7",
    "Family",
    "inclusive",
    "synthesise",
    "table",
]

_READ = "read_verilog in.v; hierarchy -check -top {top}; proc; opt_clean -purge;"

STATISTICS = " tee -q -o stat.json stat -json"
"""End of a flow: the counts of cells, as `counts_of` reads them."""


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
        " synth_ecp5 {options} -top {top} -json out.json;" + STATISTICS
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
        " synth_xilinx -family xc7 -noiopad -noclkbuf {options} -top {top};" + STATISTICS
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
