"""Utilisation of the array over sizes and latencies, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from tegula_sw.files.outputs import save_figure
from tegula_sw.gemm.prediction import GemmPrediction
from tegula_sw.profile.picture import check_picture

__all__ = ["draw_utilisation"]

_INCHES = (10.0, 4.5)


def draw_utilisation(predictions: Sequence[GemmPrediction], path: Path | str) -> None:
    """Draw a line for each tile and latency; sizes are the cube roots of M x N x K.

    Parameters
    ----------
    predictions
        Those of several products.
    path
        The picture; its suffix, one of `profile.picture.SUFFIXES`, says which kind.

    Raises
    ------
    ValueError
        If there is nothing to draw, or `path` cannot be used.
    """
    from matplotlib.figure import Figure  # slow to import, and wanted by few

    check_picture(path)
    if not predictions:
        raise ValueError("there is nothing to draw: no product was predicted")
    lines: dict[tuple[str, int, int, int], list[tuple[float, float]]] = {}
    for each in predictions:
        key = each.preset, each.n, each.axi_data_width, each.mem_latency
        lines.setdefault(key, []).append((each.macs ** (1 / 3), 100 * each.utilisation))
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for (name, n, bits, latency), points in lines.items():
        label = f"{name}, {n} x {n}, {bits} bits, latency {latency}"
        axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=label)
    sizes = sorted({size for points in lines.values() for size, _ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.3)
    axes.set_xlabel("size: cube root of M x N x K")
    axes.set_ylabel("predicted utilisation of the array, %")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False)
    save_figure(path, figure, dpi=110)
