"""What `scripts.pnr` reports of a tile: content of its JSON, text for a terminal, tables."""

import statistics
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from scripts import flows, sdf
from scripts.estimate import estimated
from scripts.netlist import FanOut, Netlist, block_of
from tegula.config import TileConfig

__all__ = [
    "PATHS",
    "Report",
    "Routed",
    "add_routed",
    "netlist_text",
    "readme_tables",
    "report_of",
    "routed_text",
]

PATHS = 3
"""Worst paths that are reported, of different pairs of blocks."""

NETS = 5
"""Nets with the largest fan-out that are reported."""


class Routed(TypedDict):
    """One seed's result; resources of the tile and its harness as packed."""

    seed: int
    fmax_mhz: float
    seconds: float
    resources: dict[str, int]
    paths: list[sdf.RoutedPath]


class Report(TypedDict):
    """Content of the JSON file; `paths` are those of the seed whose clock rate is the median.

    Without a seed there are only resources of the netlist, estimated paths and fan-out.
    """

    preset: str
    device: str
    speed: int
    netlist: str
    blocks: dict[str, dict[str, int]]
    resources: dict[str, int]
    percent: dict[str, float]
    estimated_paths: list[sdf.RoutedPath]
    fan_out: list[FanOut]
    fmax_mhz: NotRequired[float]
    seeds: NotRequired[dict[str, float]]
    paths: NotRequired[list[sdf.RoutedPath]]


def report_of(config: TileConfig, speed: int, netlist: Path) -> Report:
    """What the netlist alone tells."""
    cells = Netlist.read(netlist.read_text())
    counts = cells.by_block()
    blocks = {block: flows.ECP5.resources(count) for block, count in counts.items()}
    total = flows.ECP5.resources(sum(counts.values(), Counter()))
    resources = {name: total[name] for name in flows.ECP5_85K}
    return {
        "preset": config.name,
        "device": "ECP5-85K",
        "speed": speed,
        "netlist": netlist.stem.partition("_")[2],
        "blocks": dict(sorted(blocks.items(), key=lambda block: -block[1]["sites"])),
        "resources": resources,
        "percent": percent_of(resources),
        "estimated_paths": sdf.worst_paths(estimated(cells), block_of, PATHS),
        "fan_out": cells.largest_fan_out(NETS),
    }


def percent_of(resources: Mapping[str, int]) -> dict[str, float]:
    """Shares of the device."""
    return {name: round(100 * resources[name] / limit, 1) for name, limit in flows.ECP5_85K.items()}


def add_routed(report: Report, routed: list[Routed]) -> None:
    """Results of all seeds."""
    fmax = {str(result["seed"]): result["fmax_mhz"] for result in routed}
    middle = statistics.median_low(fmax.values())
    typical = next(result for result in routed if result["fmax_mhz"] == middle)
    report["fmax_mhz"] = round(statistics.median(fmax.values()), 1)
    report["seeds"] = fmax
    report["resources"] = typical["resources"]
    report["percent"] = percent_of(typical["resources"])
    report["paths"] = typical["paths"]


def paths_text(paths: list[sdf.RoutedPath]) -> str:
    """Paths for a terminal."""
    return "\n".join(
        f"  {path['delay_ns']} ns = {path['logic_ns']} logic + {path['routing_ns']} routing,"
        f" {path['elements']} elements, {path['carries']} of carry chains:"
        f" {' > '.join(path['blocks'])}\n"
        f"    from {path['from_cell']}\n    to   {path['to_cell']}"
        for path in paths
    )


def netlist_text(report: Report) -> str:
    """What the netlist tells, for a terminal."""
    nets = []
    for net in report["fan_out"]:
        sinks, pins = (
            ", ".join(f"{name} {count}" for name, count in counts.items())
            for counts in (net["sinks"], net["pins"])
        )
        nets.append(f"  {net['fan_out']:>6}  {net['block']}: {net['net']} (to {sinks}; {pins})")
    return "\n".join(
        [
            flows.table(report["blocks"]),
            "nets with the largest fan-out:",
            *nets,
            "worst paths of different pairs of blocks, estimated before placement:",
            paths_text(report["estimated_paths"]),
        ]
    )


def routed_text(report: Report) -> str:
    """Results of the seeds, for a terminal."""
    used = ", ".join(
        f"{name} {report['resources'][name]} ({report['percent'][name]} %)"
        for name in flows.ECP5_85K
    )
    seeds = ", ".join(f"{seed}: {mhz}" for seed, mhz in report["seeds"].items())
    return "\n".join(
        [
            f"{report['preset']} on {report['device']}, speed grade {report['speed']}: {used}",
            f"{report['fmax_mhz']} MHz (median of seeds {seeds})",
            "worst paths of different pairs of blocks:",
            paths_text(report["paths"]),
        ]
    )


def readme_tables(tiles: Mapping[str, Report]) -> str:
    """Tables for the README: whole tiles, and the worst paths of each."""
    lines = [
        "Whole tiles, flattened, placed and routed on the same ECP5 (`make pnr`; their ports are",
        "registered), and where the clock rate is lost:",
        "",
        "| preset | LUT4 sites | FF | DSP | BRAM | fmax | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tile in tiles.items():
        cells = [
            f"{tile['resources'][column]} ({tile['percent'][column]:.0f} %)"
            for column in flows.ECP5_85K
        ]
        count = len(tile["seeds"])
        lines.append(f"| `{name}` | {' | '.join(cells)} | {tile['fmax_mhz']} MHz | {count} |")
    lines += [
        "",
        "| preset | slowest paths, by blocks passed | ns | of which routing | LUTs | carry bits |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {', '.join(path['blocks'])} | {path['delay_ns']} | {path['routing_ns']}"
        f" | {path['elements']} | {path['carries']} |"
        for name, tile in tiles.items()
        for path in tile["paths"]
    ]
    return "\n".join(lines)
