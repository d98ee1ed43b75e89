"""Programs from matrices: space, semaphores and buffers are placed by the builder.

A kernel calls the methods of a `KernelBuilder` one after the other, as if each were complete before
the next begins. The builder hands out scratchpad and PSUM (`space`), so that buffers of a loop
rotate, and leaves it to `order` to find out what really depends on what; engines then run as far
ahead of each other as data and buffers allow. The program is the same for both devices.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, FP32, FloatFormat
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import Accumulate, Operand, Operation, Reduction, Rounding, Source
from tegula_sw.accesses import Storage
from tegula_sw.builder import Program
from tegula_sw.functions.loading import TableRecords, apply_fields
from tegula_sw.kernels.matrix import Matrix, Strip, element_words
from tegula_sw.kernels.space import Space
from tegula_sw.ordering import order
from tegula_sw.schedule import Op, dma_op, emit_merged
from tegula_sw.tiling import load_period_cycles

__all__ = [
    "SELF",
    "Index",
    "KernelBuilder",
    "PerPartition",
    "Random",
    "Scratchpad",
    "Step",
]

# Estimates for `merge`: cycles beyond an element each, and from the last element to the signal.
_TENSOR_LATENCY = 40
_VECTOR_OVERHEAD, _VECTOR_LATENCY, _REDUCTION_LATENCY = 28, 24, 70
_ACTIVATION_OVERHEAD, _ACTIVATION_LATENCY = 4, 40

_MAX_COLUMNS = (1 << 13) - 1
_STATE_WORDS = 8

_SUMS = {BF16: Accumulate.BF16, FP32: Accumulate.FP32}
_SUM_CYCLES = 8
"""Cycles of a beat that is added."""

SELF = "self"
"""Operand of a step: its own first operand."""


@dataclass(frozen=True)
class PerPartition:
    """Operand of a step, or scale or bias: the fp32 in the only column of a strip."""

    strip: Strip


@dataclass(frozen=True)
class Index:
    """A source of a vector instruction: the fp32 patterns of ``2**23 + first + i * step``."""

    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class Random:
    """A source of a vector instruction: random numbers of [1, 2)."""


@dataclass(frozen=True)
class Step:
    """An operation of a vector instruction, ``a op operand`` (isa, `vector.compute`).

    Attributes
    ----------
    op
        Name of an `Operation`.
    operand
        A number (rounded to fp32), a value of each partition, a strip with as many columns as the
        instruction (one strip an instruction), or `SELF`.
    """

    op: str
    operand: float | PerPartition | Strip | str = 0.0


def _pattern(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


class Scratchpad:
    """The scratchpad's space, which outlives a program as the words in it do.

    Parameters
    ----------
    config
        The tile.
    """

    def __init__(self, config: TileConfig):
        self.config = config
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
            each begins a line, as transfers and transposed writes want it.
        skew
            fp32 elements by which it begins behind a line. Two operands of a vector
            instruction are read at full rate if their skews differ: they are in other banks then.

        Raises
        ------
        ValueError
            If it does not fit.
        """
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


class KernelBuilder:
    """Instructions of a program, from matrices.

    Parameters
    ----------
    config
        The tile.
    scratchpad
        Whose space is used; default: an empty one. Matrices that several programs share are
        allocated there before.
    table
        The functions that the activation engine's table holds when the program runs
        (`load_functions`); None: none.

    Raises
    ------
    ValueError
        From all methods, where something does not fit the tile or shapes disagree.
    """

    def __init__(
        self,
        config: TileConfig,
        scratchpad: Scratchpad | None = None,
        table: TableRecords | None = None,
    ):
        self.config = config
        self.scratchpad = scratchpad or Scratchpad(config)
        self._psum = Space("PSUM's partitions", config.psum_depth, 1)
        self.table = table
        self._ops: list[Op] = []

    @property
    def instructions(self) -> int:
        """Instructions so far, without those that only synchronise."""
        return len(self._ops)

    def assemble(self) -> bytes:
        """The program."""
        program = Program(self.config)
        emit_merged(program, order(program, self._ops))
        program.halt()
        return program.assemble()

    @contextmanager
    def temporary(
        self,
        name: str,
        rows: int,
        columns: int,
        fmt: FloatFormat,
        *,
        packed: bool = False,
        skew: int = 0,
    ) -> Iterator[Matrix]:
        """A matrix (see `Scratchpad.matrix`) whose space is free again behind the block."""
        matrix = self.scratchpad.matrix(name, rows, columns, fmt, packed=packed, skew=skew)
        try:
            yield matrix
        finally:
            self.scratchpad.release(matrix)

    # --- tensor engine

    def product(
        self,
        stationary: Matrix,
        moving: Matrix,
        columns: tuple[int, int] | None = None,
        *,
        together: int = 1,
    ) -> Iterator[tuple[range, Strip]]:
        """``stationary.T @ moving``, some bands of n rows of the result after the other.

        Parameters
        ----------
        stationary, moving
            (K, M) and (K, F), of operand formats, the same K.
        columns
            Which columns of `moving`; default: all.
        together
            Bands that come at a time; fewer where PSUM would not hold twice as many, and more
            where they are so narrow that the array works on several by turns.

        Yields
        ------
        bands, sums
            Numbers of the bands, and their words of PSUM, (rows, bands * F), which are free again
            when the next ones are asked for.
        """
        if stationary.rows != moving.rows:
            raise ValueError(
                f"{stationary.name} and {moving.name} disagree on K: {stationary.rows} and"
                f" {moving.rows} rows"
            )
        start, stop = columns or (0, moving.columns)
        width, n = stop - start, self.config.n
        bands, whole = -(-stationary.columns // n), stationary.columns // n
        # A narrow sum is still in the array when the next K step adds to it: take turns.
        by_turns = width < load_period_cycles(self.config)
        most = max(1, self.config.psum_depth // 2 // width)
        size = min(most, bands if by_turns else together)
        for first in range(0, bands, size):
            chosen = range(first, min(first + size, bands))
            addr = self._psum.take(f"a product of {width} columns", len(chosen) * width)
            passes = product(range(stationary.bands), chosen)
            if not by_turns:
                passes = ((step, band) for band, step in product(chosen, range(stationary.bands)))
            for step, band in passes:
                self._pass(
                    stationary, moving, step, band, start, _sums(n, width, addr, band - first)
                )
            full = range(first, min(chosen.stop, whole))
            for part in (full, range(max(first, whole), chosen.stop)):
                if part:
                    rows = min(n, stationary.columns - part.start * n)
                    sums = _sums(rows, width, addr, part.start - first)
                    yield part, replace(sums, columns=len(part) * width)
            self._psum.give(addr)

    def _pass(
        self, stationary: Matrix, moving: Matrix, step: int, band: int, start: int, sums: Strip
    ) -> None:
        """A stationary block, and the columns that move past it."""
        rows = stationary.band_rows(step)
        columns = min(self.config.n, stationary.columns - band * self.config.n)
        held = stationary.band(step).slice(band * self.config.n, band * self.config.n + columns)
        fields = {"rows": rows, "format": held.fmt.code, "columns": columns}
        self._ops.append(
            Op("tensor.load", fields | {"addr": held.addr, "stride": held.stride}, cycles=1)
        )
        moved = moving.band(step).slice(start, start + sums.columns)
        fields = {
            "rows": rows,
            "format": moved.fmt.code,
            "accumulate": int(step > 0),
            "columns": sums.columns,
            "addr": moved.addr,
            "stride": moved.stride,
            "psum_addr": sums.addr,
        }
        cycles = max(sums.columns, load_period_cycles(self.config))
        self._ops.append(Op("tensor.matmul", fields, cycles, _TENSOR_LATENCY))

    # --- vector engine

    def compute(
        self,
        dst: Strip,
        x: Strip | Index | Random,
        *steps: Step,
        rounding: str = "nearest",
        saturate: bool = False,
    ) -> None:
        """``dst = (x op0 s0) op1 s1``, element by element; at most two steps.

        Parameters
        ----------
        rounding
            "nearest", or "stochastic" with the lanes' generators.
        saturate
            Whether what overflows an 8-bit format becomes its largest number.
        """
        _check_operands(dst.rows, dst.columns, x, steps)
        _in_scratchpad(dst)
        for start in range(0, dst.columns, _MAX_COLUMNS):
            stop = min(dst.columns, start + _MAX_COLUMNS)
            part = dst.slice(start, stop)
            fields = self._vector_fields(x, steps, dst.rows, start, stop) | {
                "format": part.fmt.code,
                "saturate": int(saturate),
                "rounding": Rounding[rounding.upper()],
                "dst": part.addr,
                "dst_stride": part.stride,
            }
            self._vector("vector.compute", fields, stop - start)

    def reduce(
        self,
        dst: Strip | None,
        x: Strip,
        *steps: Step,
        reduction: str,
        proceed: bool = False,
        rows: int | None = None,
    ) -> None:
        """Sum, maximum ("max") or largest magnitude ("amax") of a row's elements, after the steps.

        Parameters
        ----------
        dst
            Where the result goes, a column; None: other instructions `proceed` with it.
        rows
            Without `dst`: partitions whose elements count.
        """
        rows = dst.rows if dst else rows or x.rows
        _check_operands(rows, x.columns, x, steps)
        fields = self._vector_fields(x, steps, rows, 0, x.columns) | {
            "format": dst.fmt.code if dst else FP32.code,
            "reduction": Reduction[reduction.upper()],
            "proceed": int(proceed),
            "finish": int(dst is not None),
            "dst": dst.addr if dst else 0,
        }
        self._vector("vector.compute", fields, x.columns, 0 if dst is None else _REDUCTION_LATENCY)

    def transpose(
        self,
        dst: Matrix,
        band: int,
        x: Strip,
        *steps: Step,
        saturate: bool = False,
    ) -> None:
        """Columns ``band * n`` on of `dst` become the rows of `x`, after the steps; 8 or 16 bits.

        Parameters
        ----------
        dst
            (columns of x, ...).
        """
        if dst.rows != x.columns or x.rows > dst.columns - band * dst.n:
            raise ValueError(
                f"{x.rows} x {x.columns} is not band {band} of the transpose of {dst.name}"
                f" ({dst.rows} x {dst.columns})"
            )
        if dst.pitch % dst.n or dst.addr % dst.n:
            raise ValueError(f"{dst.name} is packed: no line begins with its bands")
        _check_operands(x.rows, x.columns, x, steps)
        fields = self._vector_fields(x, steps, x.rows, 0, x.columns) | {
            "format": dst.fmt.code,
            "saturate": int(saturate),
            "transpose": 1,
            "dst": dst.addr + band * dst.n,
            "dst_stride": dst.pitch,
        }
        self._vector("vector.compute", fields, x.columns)

    def _vector_fields(
        self,
        x: Strip | Index | Random,
        steps: tuple[Step, ...],
        rows: int,
        start: int,
        stop: int,
    ) -> dict[str, int]:
        """Rows, columns, x and steps of `vector.compute`."""
        if len(steps) > 2:
            raise ValueError(f"a vector instruction has at most two steps, not {len(steps)}")
        fields: dict[str, int] = {"rows": rows, "columns": stop - start}
        match x:
            case Index():
                fields |= {
                    "x_source": Source.INDEX,
                    "x_addr": (x.first + start * x.step) % (1 << 16),
                    "x_stride": x.step,
                }
            case Random():
                fields["x_source"] = Source.RANDOM
            case Strip():
                part = x.slice(start, stop)
                in_psum = part.storage is Storage.PSUM
                fields |= {
                    "x_source": Source.PSUM if in_psum else Source.SBUF,
                    "x_format": part.fmt.code,
                    "x_addr": part.addr,
                    "x_stride": part.stride,
                }
        strips = [step.operand for step in steps if isinstance(step.operand, Strip)]
        if any(strip != strips[0] for strip in strips):
            raise ValueError("both steps of a vector instruction must take the same strip")
        if strips:
            part = strips[0].slice(start, stop)
            fields |= {
                "y_format": part.fmt.code,
                "y_addr": part.addr,
                "y_stride": part.stride,
            }
        for number, step in enumerate(steps):
            fields[f"op{number}"] = Operation[step.op.upper()]
            match step.operand:
                case PerPartition(strip):
                    fields[f"s{number}_kind"] = Operand.PARTITION
                    fields[f"s{number}"] = _scalar_addr(strip, rows)
                case Strip():
                    fields[f"s{number}_kind"] = Operand.Y
                case str():
                    fields[f"s{number}_kind"] = Operand.SELF
                case value:
                    fields[f"s{number}"] = _pattern(value)
        return fields

    def _vector(self, mnemonic: str, fields: dict, columns: int, more_latency: int = 0) -> None:
        self._ops.append(
            Op(mnemonic, fields, columns + _VECTOR_OVERHEAD, _VECTOR_LATENCY + more_latency)
        )

    def load_generators(self, state: Matrix) -> None:
        """Set the random generators from `state` (`save_generators`)."""
        self._vector("vector.generator", {"addr": state.addr}, _STATE_WORDS)

    def save_generators(self, state: Matrix) -> None:
        """Put the generators' states into `state`, n x 8 words of 16 bits."""
        self._vector("vector.generator", {"save": 1, "addr": state.addr}, _STATE_WORDS)

    # --- activation engine

    def apply(
        self,
        dst: Strip,
        x: Strip,
        function: str,
        *,
        scale: float | PerPartition = 1.0,
        bias: float | PerPartition = -0.0,
        total: Strip | None = None,
        saturate: bool = False,
    ) -> None:
        """``dst = f(x * scale + bias)``, and the results' sum, before they are cast, into `total`.

        Parameters
        ----------
        function
            One of the builder's functions.
        total
            A single fp32 column.
        """
        places = self.table.functions if self.table else {}
        if function not in places:
            known = ", ".join(places) or "none"
            raise ValueError(f"function {function!r} is not in the program's table: it has {known}")
        _check_shape(x, dst.rows, dst.columns)
        _in_scratchpad(x)
        _in_scratchpad(dst)
        fields = apply_fields(places[function]) | {
            "rows": dst.rows,
            "columns": dst.columns,
            "format": dst.fmt.code,
            "saturate": int(saturate),
            "x_format": x.fmt.code,
            "x_addr": x.addr,
            "x_stride": x.stride,
            "dst": dst.addr,
            "dst_stride": dst.stride,
        }
        for name, value in (("scale", scale), ("bias", bias)):
            if isinstance(value, PerPartition):
                fields |= {f"{name}_partition": 1, name: _scalar_addr(value.strip, dst.rows)}
            else:
                fields[name] = _pattern(value)
        if total is not None:
            fields |= {"sum": 1, "finish": 1, "sum_dst": _scalar_addr(total, dst.rows)}
        cycles = dst.columns * self.config.n // self.config.activation_lanes + _ACTIVATION_OVERHEAD
        latency = _ACTIVATION_LATENCY + (0 if total is None else _REDUCTION_LATENCY)
        self._ops.append(Op("activation.apply", fields, cycles, latency))

    def load_functions(self) -> None:
        """Fill the activation engine's table with the functions."""
        words = self.table.sbuf_words
        with self.temporary("function table", self.config.n, words, BF16) as passed:
            self._ops += self.table.ops(passed.addr)

    # --- DMA

    def load(self, dst: Matrix, address: int, *, accumulate: bool = False) -> None:
        """The matrix at `address`, row by row without gaps; 8-bit codes have a byte each.

        Parameters
        ----------
        accumulate
            Whether it is added to what `dst` holds, bf16 or fp32.
        """
        self._ops += self._transfer(Engine.LOAD, dst, address, accumulate)

    def store(self, src: Matrix, address: int, *, accumulate: bool = False) -> None:
        """Put the matrix there, row by row without gaps.

        Parameters
        ----------
        accumulate
            Whether it is added to what is there, bf16 or fp32: gradients of several batches.
        """
        self._ops += self._transfer(Engine.STORE, src, address, accumulate)

    def _transfer(
        self, engine: Engine, matrix: Matrix, address: int, accumulate: bool
    ) -> Iterable[Op]:
        """All bands; those of n rows in one transfer."""
        if (matrix.addr | matrix.pitch) % self.config.bus_words:
            raise ValueError(f"{matrix.name} is packed: no line begins with its bands")
        if accumulate and matrix.fmt not in _SUMS:
            raise ValueError(f"{matrix.name} must be bf16 or fp32 to add, not {matrix.fmt.name}")
        n, row_bytes = matrix.n, matrix.columns * matrix.fmt.width // 8
        whole, rest = divmod(matrix.rows, n)
        run = matrix.columns * matrix.words
        cycles = self._run_cycles(row_bytes) * (_SUM_CYCLES if accumulate else 1)
        for first, bands, rows in ((0, whole, n), (whole, 1, rest)):
            if bands and rows:
                yield dma_op(
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

    def load_transposed(self, dst: Matrix, address: int, rows: range | None = None) -> None:
        """The transpose of the matrix at `address`; 8 or 16 bits.

        Parameters
        ----------
        rows
            Rows of the matrix in memory (columns of `dst`) that are loaded; default: all.
        """
        if dst.words != 1:
            raise ValueError(f"{dst.name} must be of 8 or 16 bits, not {dst.fmt.name}")
        rows = rows or range(dst.columns)
        row_bytes = dst.rows * dst.fmt.width // 8
        self._ops.append(
            dma_op(
                Engine.LOAD,
                -(-dst.rows // self.config.row_words),
                [(len(rows), row_bytes, 1, 0)],
                mem_addr=address + rows.start * row_bytes,
                run=dst.rows,
                sbuf_addr=dst.addr + rows.start,
                sbuf_stride0=dst.pitch,
                layout=Layout.PARTITION,
                bytes1=int(dst.fmt.width == 8),
            )
        )

    def load_repeated(self, dst: Matrix, address: int) -> None:
        """The row at `address` into every row of `dst`, which has one band."""
        strip = dst.strip()
        self._ops.append(
            dma_op(
                Engine.LOAD,
                self._run_cycles(dst.columns * dst.fmt.width // 8),
                [(strip.rows, 0, 0, 1)],
                mem_addr=address,
                run=dst.columns * dst.words,
                sbuf_addr=dst.addr,
                layout=Layout.FREE,
                bytes1=int(dst.fmt.width == 8),
            )
        )

    def load_words(self, words: int, address: int) -> None:
        """Words 0 .. `words` - 1 of all partitions, one partition after the other in memory."""
        self._ops.append(self._image(Engine.LOAD, words, address))

    def store_words(self, words: int, address: int) -> None:
        """Put words 0 .. `words` - 1 of all partitions there."""
        self._ops.append(self._image(Engine.STORE, words, address))

    def _image(self, engine: Engine, words: int, address: int) -> Op:
        return dma_op(
            engine,
            self._run_cycles(2 * words),
            [(self.config.n, 2 * words, 0, 1)],
            mem_addr=address,
            run=words,
            sbuf_addr=0,
            layout=Layout.FREE,
        )

    def _run_cycles(self, size_bytes: int) -> int:
        return -(-size_bytes // self.config.bus_bytes)


def _sums(rows: int, width: int, addr: int, number: int) -> Strip:
    """PSUM words of a band of a product."""
    return Strip(
        rows=rows,
        columns=width,
        addr=addr + number * width,
        stride=1,
        fmt=FP32,
        storage=Storage.PSUM,
    )


def _check_operands(
    rows: int, columns: int, x: Strip | Index | Random, steps: tuple[Step, ...]
) -> None:
    """Strips must be as large as the instruction, and only x may be in PSUM."""
    if isinstance(x, Strip):
        _check_shape(x, rows, columns)
    for step in steps:
        if isinstance(step.operand, Strip):
            _check_shape(step.operand, rows, columns)
            _in_scratchpad(step.operand)


def _check_shape(operand: Strip, rows: int, columns: int) -> None:
    """Rows that are not computed may be there."""
    if operand.columns != columns:
        raise ValueError(f"{columns} columns are computed, but an operand has {operand.columns}")
    if operand.rows < rows:
        raise ValueError(f"{rows} rows are computed, but an operand has {operand.rows}")


def _in_scratchpad(strip: Strip) -> None:
    if strip.storage is not Storage.SCRATCHPAD:
        raise ValueError("only the vector engine's x may be in PSUM")


def _scalar_addr(strip: Strip, rows: int) -> int:
    """Address of a value of each partition."""
    if strip.fmt != FP32 or strip.columns != 1 or strip.storage is Storage.PSUM:
        raise ValueError("a value of each partition must be a single fp32 column")
    _check_shape(strip, rows, 1)
    return strip.addr
