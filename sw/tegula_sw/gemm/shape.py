"""Shape and formats of a GEMM, and the layout of its operands in memory."""

from dataclasses import dataclass

from tegula.formats import FloatFormat
from tegula.isa.instructions import Layout
from tegula_sw.program.span import Span

__all__ = ["GemmShape"]


@dataclass(frozen=True, kw_only=True)
class GemmShape:
    """The job: C[m, n] = sum over k of A[m, k] * B[k, n], for `rows` x `columns` of a larger C.

    Attributes
    ----------
    rows, columns
        Span of C that this program computes.
    k
        Terms of each sum.
    height, pitch
        Rows and columns of C in memory.
    fmt_a, fmt_b, fmt_out
        Formats of the operands and of C.
    transpose_a, transpose_b
        Whether memory holds A^T (K x M) in the place of A, and B^T (N x K) in that of B.
    scaled_a, scaled_b
        Whether blocks of 32 terms of an operand have scales (MX). Memory holds their codes block by
        block: bytes, ceil(K / 32) x M, and x N.
    """

    rows: Span
    columns: Span
    k: int
    height: int
    pitch: int
    fmt_a: FloatFormat
    fmt_b: FloatFormat
    fmt_out: FloatFormat
    transpose_a: bool = False
    transpose_b: bool = False
    scaled_a: bool = False
    scaled_b: bool = False

    @classmethod
    def whole(
        cls,
        m: int,
        n: int,
        k: int,
        fmt_a: FloatFormat,
        fmt_b: FloatFormat,
        fmt_out: FloatFormat,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        scaled_a: bool = False,
        scaled_b: bool = False,
    ) -> "GemmShape":
        """The job for an m x n matrix C of sums of k products.

        Raises
        ------
        ValueError
            If a size is below 1.
        """
        for name, size in (("M", m), ("N", n), ("K", k)):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size}")
        return cls(
            rows=Span(0, m),
            columns=Span(0, n),
            k=k,
            height=m,
            pitch=n,
            fmt_a=fmt_a,
            fmt_b=fmt_b,
            fmt_out=fmt_out,
            transpose_a=transpose_a,
            transpose_b=transpose_b,
            scaled_a=scaled_a,
            scaled_b=scaled_b,
        )

    @property
    def scaled(self) -> bool:
        """Whether an operand has scales."""
        return self.scaled_a or self.scaled_b

    @property
    def layout_a(self) -> Layout:
        """Layout of A's loads: a line of memory lies across the partitions, or along one."""
        return Layout.FREE if self.transpose_a else Layout.PARTITION

    @property
    def layout_b(self) -> Layout:
        """Layout of B's loads."""
        return Layout.PARTITION if self.transpose_b else Layout.FREE

    @property
    def line_bytes_a(self) -> int:
        """Bytes from a line of A in memory to the next."""
        return (self.height if self.transpose_a else self.k) * self.fmt_a.width // 8

    @property
    def line_bytes_b(self) -> int:
        """Bytes from a line of B in memory to the next."""
        return (self.k if self.transpose_b else self.pitch) * self.fmt_b.width // 8
