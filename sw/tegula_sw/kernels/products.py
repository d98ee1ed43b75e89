"""Products of matrices: groups of bands, and the passes through the array that compute them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tegula.config import TileConfig
from tegula_sw.kernels.matrix import Matrix, Strip, psum_strip
from tegula_sw.program.costs import load_period_cycles, matmul_latency, psum_reuse_cycles
from tegula_sw.program.schedule import Op

__all__ = ["Product"]


@dataclass(frozen=True, kw_only=True)
class Product:
    """``stationary.T @ moving[:, start:stop]``, in bands of n rows.

    Attributes
    ----------
    config
        The tile.
    stationary, moving
        (K, M) and (K, F), of operand formats, the same K.
    start, stop
        Columns of `moving`.
    from_last
        Whether K is summed from the last band of the operands to the first.

    Raises
    ------
    ValueError
        If the operands disagree on K.
    """

    config: TileConfig
    stationary: Matrix
    moving: Matrix
    start: int
    stop: int
    from_last: bool

    def __post_init__(self) -> None:
        stationary, moving = self.stationary, self.moving
        if stationary.rows != moving.rows:
            raise ValueError(
                f"{stationary.name} and {moving.name} disagree on K: {stationary.rows} and"
                f" {moving.rows} rows"
            )

    @property
    def width(self) -> int:
        """Columns of the product."""
        return self.stop - self.start

    @property
    def _by_turns(self) -> bool:
        """True if a sum is so narrow that it is still in the array when the next K step adds."""
        return self.width < psum_reuse_cycles(self.config)

    def groups(self, together: int) -> Iterator[range]:
        """Bands of the product that are computed together, of which PSUM holds two groups."""
        bands = -(-self.stationary.columns // self.config.n)
        most = max(1, self.config.psum_depth // 2 // self.width)
        size = min(most, bands if self._by_turns else together)
        for first in range(0, bands, size):
            yield range(first, min(first + size, bands))

    def passes(self, group: range, addr: int) -> Iterator[Op]:
        """Instructions that compute a group into PSUM from address `addr` on."""
        steps = range(self.stationary.bands)[:: -1 if self.from_last else 1]
        order = list(product(steps, group))
        if not self._by_turns:
            order = [(step, band) for band, step in product(group, steps)]
        n = self.config.n
        for step, band in order:
            sums = psum_strip(n, self.width, addr + (band - group.start) * self.width)
            held = self.stationary.band(step)
            held = held.slice(band * n, min((band + 1) * n, self.stationary.columns))
            moved = self.moving.band(step).slice(self.start, self.stop)
            yield from self._pass(held, moved, sums, accumulate=step != steps[0])

    def _pass(self, held: Strip, moved: Strip, sums: Strip, *, accumulate: bool) -> Iterator[Op]:
        """A pass through the array: ``sums (+)= held.T @ moved``, K and M at most n."""
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
        cycles = max(moved.columns, load_period_cycles(self.config))
        yield Op("tensor.matmul", fields, cycles, matmul_latency(self.config))

    def sums(self, group: range, addr: int) -> Iterator[tuple[range, Strip]]:
        """Bands of a group, and their words of PSUM: those of n rows, and the last of fewer."""
        n, columns = self.config.n, self.stationary.columns
        whole = columns // n
        full = range(group.start, min(group.stop, whole))
        for bands in (full, range(max(group.start, whole), group.stop)):
            if bands:
                rows = min(n, columns - bands.start * n)
                first = addr + (bands.start - group.start) * self.width
                yield bands, psum_strip(rows, len(bands) * self.width, first)
