"""Programs from matrices: space, semaphores and buffers are placed by the builder.

A kernel calls the methods of a `KernelBuilder` one after the other, as if each were complete before
the next begins. The builder hands out scratchpad and PSUM (`space`), so that buffers of a loop
rotate; `order` derives the dependences between instructions; engines then run as far
ahead of each other as data and buffers allow. The program is the same for both devices.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Unpack

from tegula.config import TileConfig, check_config
from tegula.formats import BF16, FP32, FloatFormat
from tegula.isa.instructions import Engine
from tegula.isa.operations import Reduction, Rounding
from tegula_sw.functions.loading import TableRecords, apply_fields
from tegula_sw.kernels.matrix import Matrix, Strip, check_matrix
from tegula_sw.kernels.operands import (
    Index,
    PerPartition,
    Random,
    Step,
    check_operands,
    check_scratchpad,
    check_shape,
    fp32_pattern,
    member,
    scalar_addr,
    vector_fields,
)
from tegula_sw.kernels.products import Product
from tegula_sw.kernels.scratchpad import Scratchpad, StorageOptions
from tegula_sw.kernels.space import Space
from tegula_sw.kernels.transfers import (
    image_transfer,
    repeated_load,
    transfers,
    transposed_load,
)
from tegula_sw.program.costs import (
    activation_column_cycles,
    activation_cost,
    activation_sum_latency,
    reduction_latency,
    vector_cost,
    vector_element_cycles,
)
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.schedule import Op

__all__ = ["KernelBuilder"]

_MAX_COLUMNS = (1 << 13) - 1
_STATE_WORDS = 8


class KernelBuilder:
    """Instructions of a program, from matrices.

    Parameters
    ----------
    config
        The tile.
    scratchpad
        The space that is used; default: an empty one. Matrices that several programs share are
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
        self.config = check_config(config)
        for name, value, kind in (
            ("scratchpad", scratchpad, Scratchpad),
            ("table", table, TableRecords),
        ):
            if value is not None and not isinstance(value, kind):
                raise ValueError(f"{name} must be a {kind.__name__}, not {value!r}")
        self.scratchpad = scratchpad or Scratchpad(config)
        self._psum = Space("PSUM's partitions", config.psum_depth, 1)
        self.table = table
        self._ops: list[Op] = []

    def assemble(self) -> bytes:
        """The program."""
        return assemble_ordered(self.config, self._ops)

    @contextmanager
    def temporary(
        self, name: str, rows: int, columns: int, fmt: FloatFormat, **more: Unpack[StorageOptions]
    ) -> Iterator[Matrix]:
        """A matrix (see `Scratchpad.matrix`) whose space is free again behind the block."""
        matrix = self.scratchpad.matrix(name, rows, columns, fmt, **more)
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
        from_last: bool = False,
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
        from_last
            Whether the rows of the operands are taken from the last band to the first: the sums
            begin when all of `moving` is complete, and do not delay the instructions that make it.

        Yields
        ------
        bands, sums
            Numbers of the bands, and their words of PSUM, (rows, bands * F), which are free again
            when the next ones are requested.
        """
        check_matrix(stationary)
        start, stop = columns or (0, check_matrix(moving).columns)
        product = Product(
            config=self.config,
            stationary=stationary,
            moving=moving,
            start=start,
            stop=stop,
            from_last=from_last,
        )
        for group in product.groups(together):
            words = len(group) * product.width
            addr = self._psum.take(f"a product of {product.width} columns", words)
            self._ops += product.passes(group, addr)
            yield from product.sums(group, addr)
            self._psum.give(addr)

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
        check_operands(dst.rows, dst.columns, x, steps)
        check_scratchpad(dst)
        for start in range(0, dst.columns, _MAX_COLUMNS):
            stop = min(dst.columns, start + _MAX_COLUMNS)
            part = dst.slice(start, stop)
            fields = vector_fields(x, steps, dst.rows, start, stop) | {
                "format": part.fmt.code,
                "saturate": int(saturate),
                "rounding": member(Rounding, "rounding", rounding),
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
    ) -> None:
        """Sum, maximum ("max") or largest magnitude ("amax") of a row's elements, after the steps.

        The result goes to the column `dst`; None: other instructions `proceed` with it.
        """
        if dst is not None:
            check_scratchpad(dst)
        rows = dst.rows if dst else x.rows
        check_operands(rows, x.columns, x, steps)
        for start in range(0, x.columns, _MAX_COLUMNS):
            stop = min(x.columns, start + _MAX_COLUMNS)
            finish = dst is not None and stop == x.columns
            fields = vector_fields(x, steps, rows, start, stop) | {
                "format": dst.fmt.code if dst else FP32.code,
                "reduction": member(Reduction, "reduction", reduction),
                "proceed": int(proceed or start > 0),
                "finish": int(finish),
                "dst": dst.addr if dst else 0,
            }
            latency = reduction_latency(self.config) if finish else 0
            self._vector("vector.compute", fields, stop - start, latency)

    def transpose(
        self,
        dst: Matrix,
        band: int,
        x: Strip,
        *steps: Step,
        saturate: bool = False,
    ) -> None:
        """Columns ``band * n`` on of `dst` become the rows of `x`, after the steps; 8 or 16 bits.

        The shape of `dst` is (columns of x, ...).
        """
        check_matrix(dst)
        if dst.rows != x.columns or x.rows > dst.columns - band * dst.n:
            raise ValueError(
                f"{x.rows} x {x.columns} is not band {band} of the transpose of {dst.name}"
                f" ({dst.rows} x {dst.columns})"
            )
        if dst.pitch % dst.n or dst.addr % dst.n:
            raise ValueError(f"{dst.name} is packed: no line begins with its bands")
        check_operands(x.rows, x.columns, x, steps)
        fields = vector_fields(x, steps, x.rows, 0, x.columns) | {
            "format": dst.fmt.code,
            "saturate": int(saturate),
            "transpose": 1,
            "dst": dst.addr + band * dst.n,
            "dst_stride": dst.pitch,
        }
        self._vector("vector.compute", fields, x.columns)

    def _vector(
        self, mnemonic: str, fields: dict[str, int], columns: int, more_latency: int = 0
    ) -> None:
        cost = vector_cost(self.config)
        cycles = columns * vector_element_cycles(self.config) + cost.overhead
        self._ops.append(Op(mnemonic, fields, cycles, cost.latency + more_latency))

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
        functions = self.table.functions if self.table else {}
        if not isinstance(function, str) or function not in functions:
            known = ", ".join(functions) or "none"
            raise ValueError(f"function {function!r} is not in the program's table: it has {known}")
        check_shape(x, dst.rows, dst.columns)
        check_scratchpad(x)
        check_scratchpad(dst)
        fields = apply_fields(functions[function]) | {
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
                fields |= {f"{name}_partition": 1, name: scalar_addr(value.strip, dst.rows)}
            else:
                fields[name] = fp32_pattern(value)
        if total is not None:
            fields |= {"sum": 1, "finish": 1, "sum_dst": scalar_addr(total, dst.rows)}
        cost = activation_cost(self.config)
        cycles = dst.columns * activation_column_cycles(self.config) + cost.overhead
        more_latency = 0 if total is None else activation_sum_latency(self.config)
        latency = cost.latency + more_latency
        self._ops.append(Op("activation.apply", fields, cycles, latency))

    def load_functions(self) -> None:
        """Fill the activation engine's table with the functions."""
        if self.table is None:
            raise ValueError("the program has no table of functions to load")
        words = self.table.sbuf_words
        with self.temporary("function table", self.config.n, words, BF16) as passed:
            self._ops += self.table.ops(self.config, passed.addr)

    # --- DMA

    def load(self, dst: Matrix, address: int, *, accumulate: bool = False) -> None:
        """The matrix at `address`, row by row without gaps; 8-bit codes have a byte each.

        Parameters
        ----------
        accumulate
            Whether it is added to what `dst` holds, bf16 or fp32.
        """
        self._ops += transfers(self.config, Engine.LOAD, dst, address, accumulate)

    def store(self, src: Matrix, address: int, *, accumulate: bool = False) -> None:
        """Put the matrix there, row by row without gaps.

        Parameters
        ----------
        accumulate
            Whether it is added to what is there, bf16 or fp32: gradients of several batches.
        """
        self._ops += transfers(self.config, Engine.STORE, src, address, accumulate)

    def load_transposed(self, dst: Matrix, address: int, rows: range | None = None) -> None:
        """The transpose of the matrix at `address`; 8 or 16 bits.

        Parameters
        ----------
        rows
            Rows of the matrix in memory (columns of `dst`) that are loaded; default: all.
        """
        self._ops.append(transposed_load(self.config, dst, address, rows or range(dst.columns)))

    def load_repeated(self, dst: Matrix, address: int) -> None:
        """The row at `address` into every row of `dst`, which has one band."""
        self._ops.append(repeated_load(self.config, dst, address))

    def load_words(self, words: int, address: int) -> None:
        """Words 0 .. `words` - 1 of all partitions, one partition after the other in memory."""
        self._ops.append(image_transfer(self.config, Engine.LOAD, words, address))

    def store_words(self, words: int, address: int) -> None:
        """Put words 0 .. `words` - 1 of all partitions there."""
        self._ops.append(image_transfer(self.config, Engine.STORE, words, address))
