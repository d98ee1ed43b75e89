"""Shapes whose utilisation on RedMulE is published, and ours beside it.

RedMulE (Tortorella et al., https://github.com/pulp-platform/redmule) multiplies X (M x N) by W
(N x K): its N is the dimension that is summed over. Its figures are of an array of 12 x 4, fp16,
with an ideal memory of one cycle of latency, and shares of its own array.
"""

from collections.abc import Mapping, Sequence

__all__ = ["REDMULE", "redmule_table", "shape_name"]

REDMULE: Mapping[tuple[int, int, int], float] = {
    (32, 32, 32): 0.779,
    (64, 64, 64): 0.874,
    (96, 96, 96): 0.994,
    (128, 128, 128): 0.967,
    (512, 512, 512): 0.992,
    (31, 32, 31): 0.732,
    (30, 32, 17): 0.395,
    (17, 13, 17): 0.224,
    (5, 32, 3): 0.047,
    (12, 512, 512): 0.998,
    (512, 16, 512): 0.989,
    (128, 784, 10): 0.604,
}
"""Published utilisation by rows of X, columns of X, and columns of W."""


def redmule_table(utilisation: Mapping[int, Mapping[tuple[int, int, int], float]]) -> str:
    """RedMulE's utilisation and ours as a Markdown table.

    Parameters
    ----------
    utilisation
        Ours, by the memory's read latency in cycles and by the shape as in `REDMULE`.

    Raises
    ------
    KeyError
        If a shape was not measured.
    """
    latencies = list(utilisation)
    best = utilisation[min(latencies)]
    lost = [shape for shape in REDMULE if best[shape] < REDMULE[shape]]
    heads = ["rows x sums x columns", *(f"latency {latency}" for latency in latencies), "RedMulE"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for shape, published in REDMULE.items():
        cells = [
            shape_name(shape),
            *(f"{utilisation[latency][shape]:.1%}" for latency in latencies),
        ]
        lines.append(f"| {' | '.join([*cells, f'{published:.1%}'])} |")
    return "\n".join([*lines, "", _verdict(min(latencies), lost)])


def _verdict(latency: int, lost: Sequence[tuple[int, int, int]]) -> str:
    """Which shapes keep less of the array busy than RedMulE's."""
    count = f"{len(REDMULE) - len(lost)} of {len(REDMULE)}"
    rest = f"; not of {', '.join(map(shape_name, lost))}" if lost else ""
    return f"At read latency {latency} the share is at least RedMulE's of {count} shapes{rest}."


def shape_name(shape: tuple[int, int, int]) -> str:
    """A shape as in tables: 32 x 64 x 16."""
    return " x ".join(map(str, shape))
