"""Matrices in the scratchpad, and the strips of them that instructions take."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from tegula.formats import FP32, FloatFormat
from tegula_golden.array_types import Codes, Words
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.program.footprint import Storage

__all__ = ["Matrix", "Strip", "check_matrix", "element_words", "psum_strip"]


def element_words(fmt: FloatFormat) -> int:
    """Scratchpad words of an element."""
    return 2 if fmt == FP32 else 1


@final
@dataclass(frozen=True, kw_only=True)
class Strip:
    """Elements side by side in partitions 0 .. rows - 1: what one instruction reads or writes.

    Attributes
    ----------
    rows, columns
        Partitions, and elements of each.
    addr, stride
        Word address of the first element, and the step to the next.
    fmt
        Format of the elements.
    storage
        Scratchpad or PSUM, whose words are read as fp32.
    """

    rows: int
    columns: int
    addr: int
    stride: int
    fmt: FloatFormat
    storage: Storage = Storage.SCRATCHPAD

    def slice(self, start: int, stop: int) -> "Strip":
        """Columns `start` to `stop`."""
        if not 0 <= start < stop <= self.columns:
            raise ValueError(f"columns {start} to {stop} are not within 0 to {self.columns}")
        return replace(self, columns=stop - start, addr=self.addr + start * self.stride)

    def top(self, rows: int) -> "Strip":
        """The first `rows` rows."""
        if not 0 < rows <= self.rows:
            raise ValueError(f"rows must be 1 to {self.rows}, not {rows}")
        return replace(self, rows=rows)

    def repeated(self, count: int) -> "Strip":
        """The only column, `count` times."""
        if self.columns != 1:
            raise ValueError(f"only a single column can be repeated, not {self.columns}")
        return replace(self, columns=count, stride=0)


def psum_strip(rows: int, columns: int, addr: int) -> Strip:
    """Words of PSUM, which are read as fp32."""
    storage = Storage.PSUM
    return Strip(rows=rows, columns=columns, addr=addr, stride=1, fmt=FP32, storage=storage)


@final
@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix in the scratchpad: row r in partition r mod n, in band r div n.

    Attributes
    ----------
    name, rows, columns
        For messages; its shape.
    fmt
        Format of its elements; 8-bit codes have a word each.
    n
        Partitions of the tile.
    addr
        Word address of band 0.
    pitch
        Words from band to band.
    """

    name: str
    rows: int
    columns: int
    fmt: FloatFormat
    n: int
    addr: int
    pitch: int

    @property
    def words(self) -> int:
        """Words of an element."""
        return element_words(self.fmt)

    @property
    def bands(self) -> int:
        """Groups of n rows, the last perhaps of fewer."""
        return -(-self.rows // self.n)

    @property
    def size_words(self) -> int:
        """Words of each partition that it occupies."""
        return self.bands * self.pitch

    @property
    def is_packed(self) -> bool:
        """True if bands are contiguous."""
        return self.pitch == self.columns * self.words

    def band_rows(self, band: int) -> int:
        """Rows of a band."""
        return min(self.n, self.rows - band * self.n)

    def band(self, band: int) -> Strip:
        """A band as a strip."""
        if not 0 <= band < self.bands:
            raise ValueError(f"band must be 0 to {self.bands - 1} of {self.name}, not {band}")
        return Strip(
            rows=self.band_rows(band),
            columns=self.columns,
            addr=self.addr + band * self.pitch,
            stride=self.words,
            fmt=self.fmt,
        )

    def span(self, bands: range) -> Strip:
        """Several bands as one strip, one behind the other.

        Raises
        ------
        ValueError
            If there is space between them, or one has fewer rows than the others.
        """
        if len(bands) == 1:
            return self.band(bands.start)
        if not self.is_packed or bands.stop * self.n > self.rows:
            raise ValueError(f"bands {bands.start} to {bands.stop} of {self.name} are no strip")
        return replace(self.band(bands.start), columns=len(bands) * self.columns)

    def spans(self) -> list[range]:
        """All bands, in as few strips as there are: those of n rows, and the rest."""
        whole = self.rows // self.n
        return [bands for bands in (range(whole), range(whole, self.bands)) if bands]

    def strip(self) -> Strip:
        """A matrix of one band as a strip.

        Raises
        ------
        ValueError
            If it has more.
        """
        if self.bands != 1:
            raise ValueError(f"{self.name} has {self.bands} bands, not one")
        return self.band(0)

    def codes(self, words: Words) -> Codes:
        """Its elements from an image of the scratchpad.

        Parameters
        ----------
        words
            uint16, shape (n, depth).

        Returns
        -------
        ndarray
            Codes, shape (rows, columns); uint8, uint16 or uint32 by format.
        """
        bands = words[:, self.addr : self.addr + self.size_words]
        bands = bands.reshape(self.n, self.bands, self.pitch).swapaxes(0, 1)
        rows = bands.reshape(-1, self.pitch)[: self.rows, : self.columns * self.words]
        rows = np.ascontiguousarray(rows)
        return rows.view(np.uint32) if self.fmt == FP32 else rows.astype(code_dtype(self.fmt))

    def write_codes(self, words: Words, codes: Codes) -> None:
        """Put codes, shape (rows, columns), into an image of the scratchpad.

        Raises
        ------
        ValueError
            If shape or dtype is another.
        """
        if codes.shape != (self.rows, self.columns) or codes.dtype != code_dtype(self.fmt):
            raise ValueError(
                f"{self.name} must be {code_dtype(self.fmt)} {(self.rows, self.columns)}, not"
                f" {codes.dtype} {codes.shape}"
            )
        rows = np.ascontiguousarray(codes)
        rows = rows.view(np.uint16) if self.fmt == FP32 else rows.astype(np.uint16)
        for band in range(self.bands):
            start = self.addr + band * self.pitch
            part = rows[band * self.n : band * self.n + self.band_rows(band)]
            words[: len(part), start : start + part.shape[1]] = part


def check_matrix(matrix: object) -> Matrix:
    """The argument, if it is a matrix.

    Raises
    ------
    ValueError
        If it is something else, as one of its strips.
    """
    if not isinstance(matrix, Matrix):
        raise ValueError(f"an operand must be a Matrix, not {matrix!r}")
    return matrix
