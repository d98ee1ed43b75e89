"""Resources of a tile by block, for ECP5 and Xilinx 7 with Yosys, as tables and as JSON.

Both tables go into the README. With --pnr also place and route the processing element, a 4 x 4
array, a vector lane and an activation lane with nextpnr (ECP5-85K, speed grade 6, out of context,
one seed) for their clock rates, which go into the README and verif/budgets/area.json.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import NotRequired, TypedDict

from amaranth.lib import wiring

from scripts.budgets import BUDGETS, read_budgets, write_budgets
from scripts.flows import ECP5, ECP5_85K, XILINX_7, Family, inclusive, synthesise, table
from scripts.nextpnr import fmax_of, run_nextpnr
from scripts.readme import README, put_into
from tegula.activation.lane import ActivationLane
from tegula.backend.cache import cache_root
from tegula.backend.verilog import emit_verilog, tile_verilog
from tegula.config import PRESETS, TileConfig, preset
from tegula.tensor.pe import LANES, ProcessingElement
from tegula.tensor.systolic_array import SystolicArray
from tegula.vector.lane import VectorLane
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json

BEGIN, END = "<!-- synthesis: written by `make synth` -->", "<!-- end of synthesis -->"
BLOCKS_BEGIN, BLOCKS_END = "<!-- blocks: written by `make synth` -->", "<!-- end of blocks -->"

MUST_FIT = ("small", "ecp5")
"""Presets that an ECP5-85K has to hold."""

Rows = dict[str, dict[str, int]]
"""Resources by block, and of all."""


class Report(TypedDict):
    """Content of the JSON file; `blocks` and `total` are of ECP5."""

    blocks: Rows
    xilinx_7: Rows
    fits_ecp5_85k: bool
    device: dict[str, int]
    place_and_route: NotRequired[dict[str, dict[str, float]]]


def rows_of(config: TileConfig, family: Family) -> Rows:
    """Synthesise the tile, hierarchy kept; blocks are the modules right below the top."""
    top = f"tegula_{config.name}"
    keep = "" if family is XILINX_7 else "-noflatten"
    with tempfile.TemporaryDirectory() as folder:
        modules = synthesise(tile_verilog(config), top, family.flow, Path(folder), options=keep)
    rows = {}
    for cell, count in modules[top].items():
        if cell in modules:
            name = cell.removeprefix(f"{top}_") + (f" x {count}" if count > 1 else "")
            below = inclusive(modules, cell)
            rows[name] = family.resources({kind: n * count for kind, n in below.items()})
    rows = dict(sorted(rows.items(), key=lambda row: -row[1]["sites"]))
    rows["total"] = family.resources(inclusive(modules, top))
    return rows


def fits(total: dict[str, int]) -> bool:
    """Whether an ECP5-85K has these resources."""
    return all(total[name] <= limit for name, limit in ECP5_85K.items())


def place_and_route(component: wiring.Component, name: str) -> dict[str, float]:
    """Synthesise `component` flat, place and route it, and return resources and clock rate."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        verilog = emit_verilog(component, folder / "component.v", name=name)
        modules = synthesise(verilog, name, ECP5.flow, folder)
        report = run_nextpnr(folder, "--out-of-context")
    return {**ECP5.resources(inclusive(modules, name)), "fmax_mhz": fmax_of(report)}


def place_and_route_parts(config: TileConfig) -> dict[str, dict[str, float]]:
    """Resources and clock rate of the parts whose clock rates are recorded."""
    tiny = preset("tiny", acc_width=config.acc_width)
    figures: dict[str, dict[str, float]] = {}
    for name, component in (
        ("PE", ProcessingElement(config)),
        ("4 x 4 array", SystolicArray(tiny)),
        ("vector lane", VectorLane(config)),
        ("activation lane", ActivationLane(config)),
    ):
        print(f"synth: place and route {name}", file=sys.stderr, flush=True)
        figures[name] = place_and_route(component, "block")
    return figures


def block_table(config: TileConfig, ecp5: Rows, xilinx_7: Rows) -> str:
    """Table for the README: resources by block on both families."""
    left, right = ("sites", "FF", "DSP", "BRAM"), ("sites", "FF", "DSP", "CARRY4", "LUTRAM")
    heads = ["LUT4 sites", "FF", "DSP", "BRAM", "LUT6 sites", "FF", "DSP48", "CARRY4", "LUTRAM"]
    heads += ["RAMB36", "RAMB18"]
    lines = [
        "Resources by block, on ECP5 and on Xilinx 7 (`make synth`):",
        "",
        f"| `{config.name}` | ECP5: {' | '.join(heads[:4])} | Xilinx 7: {' | '.join(heads[4:])} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for name, row in ecp5.items():
        other = xilinx_7[name]
        cells = [row[column] for column in left]
        cells += [other[column] for column in (*right, "RAMB36", "RAMB18")]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


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
    """Entry point; 1 if a preset that must fit an ECP5-85K does not."""
    parser = ScriptParser("synth", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="small", help="default: small")
    parser.add_argument("--pnr", action="store_true", help="place and route parts of the tile")
    options = parser.parse_args(arguments)
    config = preset(options.preset)
    out = cache_root() / "synth" / f"{config.name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    recorded = str(BUDGETS) if options.pnr else None
    check_outputs(("results", str(out)), ("tables", str(README)), ("--pnr", recorded))
    start = time.monotonic()
    rows = {}
    for family in (ECP5, XILINX_7):
        print(f"synth: tile {config.name}, {family.name} (minutes)", file=sys.stderr, flush=True)
        rows[family.name] = rows_of(config, family)
        print(table(rows[family.name]), flush=True)
    ecp5, xilinx_7 = rows[ECP5.name], rows[XILINX_7.name]
    report: Report = {
        "blocks": ecp5,
        "xilinx_7": xilinx_7,
        "fits_ecp5_85k": fits(ecp5["total"]),
        "device": ECP5_85K,
    }
    verdict = "fits" if report["fits_ecp5_85k"] else "does not fit"
    print(f"{config.name}: {verdict} ECP5-85K ({ECP5_85K})")
    figures = place_and_route_parts(config) if options.pnr else {}
    if figures:
        report["place_and_route"] = figures
    with Outputs() as outputs:
        with outputs.writing(out):
            write_json(out, report, indent=1)
        with outputs.writing(README):
            put_into(README, BLOCKS_BEGIN, BLOCKS_END, block_table(config, ecp5, xilinx_7))
        if figures:
            tables = f"{pe_table(figures)}\n\n{lane_table(figures)}"
            with outputs.writing(STDOUT):
                print_text(tables + "\n")
            with outputs.writing(README):
                put_into(README, BEGIN, END, tables)
            with outputs.writing(BUDGETS):
                budgets = read_budgets()
                budgets["parts_mhz"] = {name: row["fmax_mhz"] for name, row in figures.items()}
                write_budgets(budgets)
    print(f"synth: {out} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    return 0 if report["fits_ecp5_85k"] or config.name not in MUST_FIT else 1


if __name__ == "__main__":
    sys.exit(exit_code("synth", main))
