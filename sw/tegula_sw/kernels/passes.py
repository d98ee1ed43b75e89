"""A pass through the array: a stationary block, and the columns that move past it."""

from collections.abc import Iterator

from tegula.config import TileConfig
from tegula_sw.kernels.matrix import Strip
from tegula_sw.program.costs import MATMUL_LATENCY, load_period_cycles
from tegula_sw.program.schedule import Op

__all__ = ["array_pass"]


def array_pass(
    config: TileConfig, held: Strip, moved: Strip, sums: Strip, *, accumulate: bool
) -> Iterator[Op]:
    """``sums (+)= held.T @ moved``.

    Parameters
    ----------
    held, moved
        (K, M) and (K, F) in the scratchpad, K and M at most n.
    sums
        (n, F) in PSUM.
    accumulate
        Whether the products are added to what is there.
    """
    fields = {"rows": held.rows, "format": held.fmt.code, "columns": held.columns}
    yield Op("tensor.load", fields | {"addr": held.addr, "stride": held.stride}, cycles=1)
    fields = {
        "rows": moved.rows,
        "format": moved.fmt.code,
        "accumulate": int(accumulate),
        "columns": moved.columns,
        "addr": moved.addr,
        "stride": moved.stride,
        "psum_addr": sums.addr,
    }
    cycles = max(moved.columns, load_period_cycles(config))
    yield Op("tensor.matmul", fields, cycles, MATMUL_LATENCY)
