"""The scratchpad's space as matrices."""

from dataclasses import replace
from typing import TypedDict

from tegula.config import TileConfig, check_config
from tegula.formats import FloatFormat
from tegula_golden.arguments import check_integer
from tegula_sw.kernels.matrix import Matrix, element_words
from tegula_sw.kernels.space import Space

__all__ = ["Scratchpad", "StorageOptions"]


class StorageOptions(TypedDict, total=False):
    """Options of a matrix's space: see `Scratchpad.matrix`."""

    packed: bool
    skew: int


class Scratchpad:
    """The scratchpad's space, which outlives a program as the words in it do.

    Parameters
    ----------
    config
        The tile.
    """

    def __init__(self, config: TileConfig):
        self.config = check_config(config)
        self._line = max(config.n, config.bus_words)
        self._space = Space("scratchpad's partitions", config.sbuf_depth, self._line)
        self._starts: dict[int, int] = {}

    @property
    def end(self) -> int:
        """The word behind the last one in use."""
        return self._space.end

    def matrix(
        self,
        name: str,
        rows: int,
        columns: int,
        fmt: FloatFormat,
        *,
        packed: bool = False,
        skew: int = 0,
    ) -> Matrix:
        """Space for a matrix.

        Parameters
        ----------
        packed
            Whether bands are one behind the other, so that an instruction can take several. Else
            each begins a line, as transfers and transposed writes require.
        skew
            fp32 elements by which it begins behind a line. Two operands of a vector
            instruction are read at full rate if their skews differ: they are in other banks then.

        Raises
        ------
        ValueError
            If it does not fit.
        """
        rows, columns = check_integer("rows", rows), check_integer("columns", columns)
        skew = check_integer("skew", skew, 0)
        if not isinstance(fmt, FloatFormat):
            raise ValueError(f"fmt must be a FloatFormat, not {fmt!r}")
        if rows < 1 or columns < 1:
            raise ValueError(f"{name} must have rows and columns, not {rows} x {columns}")
        n, pitch = self.config.n, columns * element_words(fmt)
        pitch = pitch if packed else -(-pitch // self._line) * self._line
        matrix = Matrix(name=name, rows=rows, columns=columns, fmt=fmt, n=n, addr=0, pitch=pitch)
        title = f"matrix {name} ({rows} x {columns}, {fmt.name})"
        addr = self._space.take(title, matrix.size_words + 2 * skew)
        self._starts[addr + 2 * skew] = addr
        return replace(matrix, addr=addr + 2 * skew)

    def release(self, matrix: Matrix) -> None:
        """Take its space back."""
        self._space.give(self._starts.pop(matrix.addr))
