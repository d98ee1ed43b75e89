"""Transfers of matrices between memory and the scratchpad."""

from collections.abc import Iterator

from tegula.config import TileConfig
from tegula.formats import BF16, FP32
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import Accumulate
from tegula_golden.arguments import check_integer
from tegula_sw.kernels.matrix import Matrix, check_matrix
from tegula_sw.program.costs import accumulated_beat_cycles
from tegula_sw.program.schedule import Op, dma_op

__all__ = ["image_transfer", "repeated_load", "transfers", "transposed_load"]

_SUMS = {BF16: Accumulate.BF16, FP32: Accumulate.FP32}


def transfers(
    config: TileConfig, engine: Engine, matrix: Matrix, address: int, accumulate: bool
) -> Iterator[Op]:
    """Load or store all bands of a matrix, those of n rows at once; or add it."""
    check_matrix(matrix)
    check_integer("address", address)
    if (matrix.addr | matrix.pitch) % config.bus_words:
        raise ValueError(f"{matrix.name} is packed: no line begins with its bands")
    if accumulate and matrix.fmt not in _SUMS:
        raise ValueError(f"{matrix.name} must be bf16 or fp32 to add, not {matrix.fmt.name}")
    n, row_bytes = matrix.n, matrix.columns * matrix.fmt.width // 8
    whole, rest = divmod(matrix.rows, n)
    run = matrix.columns * matrix.words
    cycles = _run_cycles(config, row_bytes) * (accumulated_beat_cycles(config) if accumulate else 1)
    for first, bands, rows in ((0, whole, n), (whole, 1, rest)):
        if bands and rows:
            yield dma_op(
                config,
                engine,
                cycles,
                [(rows, row_bytes, 0, 1), (bands, n * row_bytes, matrix.pitch, 0)],
                mem_addr=address + first * n * row_bytes,
                run=run,
                sbuf_addr=matrix.addr + first * matrix.pitch,
                layout=Layout.FREE,
                bytes1=int(matrix.fmt.width == 8),
                accumulate=_SUMS[matrix.fmt] if accumulate else Accumulate.NONE,
            )


def transposed_load(config: TileConfig, dst: Matrix, address: int, rows: range) -> Op:
    """Load rows of a matrix in memory as columns of `dst`."""
    check_matrix(dst)
    check_integer("address", address)
    if dst.words != 1:
        raise ValueError(f"{dst.name} must be of 8 or 16 bits, not {dst.fmt.name}")
    row_bytes = dst.rows * dst.fmt.width // 8
    return dma_op(
        config,
        Engine.LOAD,
        -(-dst.rows // config.row_words),
        [(len(rows), row_bytes, 1, 0)],
        mem_addr=address + rows.start * row_bytes,
        run=dst.rows,
        sbuf_addr=dst.addr + rows.start,
        sbuf_stride0=dst.pitch,
        layout=Layout.PARTITION,
        bytes1=int(dst.fmt.width == 8),
    )


def repeated_load(config: TileConfig, dst: Matrix, address: int) -> Op:
    """Load a row into all rows of `dst`."""
    strip = check_matrix(dst).strip()
    check_integer("address", address)
    return dma_op(
        config,
        Engine.LOAD,
        _run_cycles(config, dst.columns * dst.fmt.width // 8),
        [(strip.rows, 0, 0, 1)],
        mem_addr=address,
        run=dst.columns * dst.words,
        sbuf_addr=dst.addr,
        layout=Layout.FREE,
        bytes1=int(dst.fmt.width == 8),
    )


def image_transfer(config: TileConfig, engine: Engine, words: int, address: int) -> Op:
    """Load or store the first words of all partitions."""
    words = check_integer("words", words)
    check_integer("address", address)
    return dma_op(
        config,
        engine,
        _run_cycles(config, 2 * words),
        [(config.n, 2 * words, 0, 1)],
        mem_addr=address,
        run=words,
        sbuf_addr=0,
        layout=Layout.FREE,
    )


def _run_cycles(config: TileConfig, size_bytes: int) -> int:
    return -(-size_bytes // config.bus_bytes)
