"""`tegula predict`."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby, product

from tegula.config import TileConfig, preset
from tegula_sw.cli.commands.common import format_of, note
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json
from tegula_sw.gemm.prediction import GemmPrediction, predict_gemm
from tegula_sw.gemm.shape import GemmShape

__all__ = ["predict"]


def predict(options: argparse.Namespace) -> None:
    """`tegula predict`."""
    from tegula_sw.profile.picture import check_picture
    from tegula_sw.profile.utilisation import draw_utilisation

    check_outputs(("--json", options.json), ("--picture", options.picture))
    if options.picture is not None:
        check_picture(options.picture)
    configs = _configs(options)
    # What is asked for twice is predicted, and shown, once.
    shapes, latencies = dict.fromkeys(options.shapes), list(dict.fromkeys(options.latencies))
    jobs = [(config, _shape(options, config, sizes)) for config in configs for sizes in shapes]
    predictions = []
    for number, (config, shape) in enumerate(jobs):
        note(f"predicting product {number + 1} of {len(jobs)}")
        predictions += predict_gemm(config, shape, latencies)
    with Outputs() as outputs:
        if options.picture is not None:
            with outputs.writing(options.picture):
                draw_utilisation(predictions, options.picture)
        if options.json is not None:
            with outputs.writing(options.json):
                write_json(options.json, {"predictions": [asdict(each) for each in predictions]})
        if STDOUT not in (options.json, options.picture):
            with outputs.writing(STDOUT):
                print_text(_table(predictions))


def _configs(options: argparse.Namespace) -> list[TileConfig]:
    """The tiles: each preset with each array and each bus."""
    configs = []
    for name, n, bits in product(
        options.presets, options.arrays or [None], options.buses or [None]
    ):
        changes = {"n": n, "axi_data_width": bits}
        configs.append(preset(name, **{key: v for key, v in changes.items() if v is not None}))
    return list(dict.fromkeys(configs))


def _shape(
    options: argparse.Namespace, config: TileConfig, sizes: tuple[int, int, int]
) -> GemmShape:
    formats = (
        format_of("--format-a", options.format_a, config),
        format_of("--format-b", options.format_b, config),
        format_of("--format-out", options.format_out, config, fp32=True),
    )
    return GemmShape.whole(
        *sizes, *formats, transpose_a=options.transpose_a, transpose_b=options.transpose_b
    )


def _table(predictions: Sequence[GemmPrediction]) -> str:
    """A table for each tile: sizes down, latencies across; cycles and utilisation."""
    lines = []
    for (name, n, bits), rows in groupby(
        predictions, key=lambda each: (each.preset, each.n, each.axi_data_width)
    ):
        lines.append(f"tile {name}: {n} x {n} array, {bits}-bit memory port; predicted cycles")
        found = list(rows)
        latencies = list(dict.fromkeys(each.mem_latency for each in found))
        heads = [f"latency {latency}" for latency in latencies]
        table = [["M x N x K", *heads]]
        for shape, same in groupby(found, key=lambda each: each.shape):
            cells = [f"{each.cycles_predicted:,} {each.utilisation:6.1%}" for each in same]
            table.append([" x ".join(map(str, shape)), *cells])
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([f"  {row[0]:<{widths[0]}}", *cells]))
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
