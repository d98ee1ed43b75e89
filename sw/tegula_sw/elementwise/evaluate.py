"""Elementwise operations and functions on fp32 arrays, by the tile's vector and activation engine.

Blocks go round a ring of scratchpad slots: load, one instruction whose results take the place of
the first operand, store. `ordering` places the semaphores, so that the three engines run at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, RAW32
from tegula.isa.instructions import Engine
from tegula.isa.operations import Operand, Operation, Source
from tegula_golden.array_types import Patterns
from tegula_golden.numerics.fp32 import operate
from tegula_golden.numerics.functions import evaluate
from tegula_sw.devices.base import Device, run_well
from tegula_sw.elementwise.partitioned import Block, spread
from tegula_sw.functions import NAMES, pack
from tegula_sw.functions.loading import TableRecords, apply_fields
from tegula_sw.program.costs import (
    activation_column_cycles,
    activation_cost,
    vector_cost,
    vector_element_cycles,
)
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.program import MemoryImage
from tegula_sw.program.schedule import Op

__all__ = [
    "BINARY",
    "OPERATIONS",
    "EvaluateAddresses",
    "build_evaluate",
    "check_arity",
    "evaluate_golden",
    "evaluate_on_device",
]

_NAMES_OF_BINARY = ("add", "sub", "rsub", "mul", "min", "max", "eq", "ne", "lt", "le", "gt", "ge")

BINARY = {name: Operation[name.upper()] for name in (*_NAMES_OF_BINARY, "select")}
"""Operations of two operands (numerics contract, section 5.2)."""

_MINUS_ONE = 0xBF80_0000

_UNARY = {"abs": (Operation.ABS, 0), "neg": (Operation.MUL, _MINUS_ONE)}
"""Operations of the vector engine with one operand, and their constant."""

OPERATIONS = (*BINARY, *_UNARY, *NAMES)
"""All names: operations of section 5.2, negation (a product with -1), functions of the library."""

_SLOTS = 3
_LONGEST_RUN = 512
"""Elements of a partition in a block: enough to hide what a block costs, and a short start."""

_MAX_ELEMENTS = 1 << 20
"""Elements of one program; longer arrays take several."""


@dataclass(frozen=True, kw_only=True)
class EvaluateAddresses:
    """Addresses in bytes of x, y (None: no second operand) and the results, fp32 words."""

    x: int
    y: int | None
    result: int


def check_arity(name: str, has_y: bool) -> None:
    """Check that there is such an operation, and that it takes a second operand or does not.

    Raises
    ------
    ValueError
        If not.
    """
    if name not in OPERATIONS:
        known = ", ".join(OPERATIONS)
        raise ValueError(f"operation {name!r} is unknown: it must be one of {known}")
    if has_y and name not in BINARY:
        raise ValueError(f"{name} takes one operand, and Y is a second one")
    if not has_y and name in BINARY:
        raise ValueError(f"{name} takes two operands, and Y is missing")


class _Kernel:
    """Writes the instructions of one program, in the order of their meaning."""

    def __init__(
        self,
        config: TileConfig,
        name: str,
        count: int,
        addresses: EvaluateAddresses,
        table: TableRecords | None,
    ):
        self._config, self._name, self._addresses, self._table = config, name, addresses, table
        line = config.bus_words
        table_words = 0 if table is None else table.sbuf_words
        self._first_slot = -(-table_words // line) * line
        self._operand_words = 4 if addresses.y is not None else 2
        room = (config.sbuf_depth - self._first_slot) // _SLOTS // self._operand_words
        self._longest = min(room, _LONGEST_RUN) // line * line
        if self._longest < line:
            raise ValueError(
                f"a scratchpad of {config.sbuf_depth} words a partition is too small for {name}"
            )
        self._blocks = spread(config, count, self._longest)

    def ops(self) -> Iterator[Op]:
        """The instructions."""
        if self._table is not None:
            yield from self._table.ops(self._config, 0)
        for index, block in enumerate(self._blocks):
            slot = index % _SLOTS * self._operand_words * self._longest
            x = self._first_slot + slot
            y = x + 2 * self._longest
            move = partial(block.transfers, self._config)
            yield from move(Engine.LOAD, self._addresses.x, FP32.width, x)
            if self._addresses.y is not None:
                yield from move(Engine.LOAD, self._addresses.y, FP32.width, y)
            if self._table is not None:
                yield self._apply(self._table, block, x)
            else:
                yield self._compute(block, x, y)
            yield from move(Engine.STORE, self._addresses.result, FP32.width, x)

    def _compute(self, block: Block, x: int, y: int) -> Op:
        """The vector engine's instruction; results are patterns as section 5.2 defines them."""
        if self._addresses.y is not None:
            op, operand = BINARY[self._name], {"s0_kind": Operand.Y, "y_addr": y, "y_stride": 2}
        else:
            op, constant = _UNARY[self._name]
            operand = {"s0_kind": Operand.IMMEDIATE, "s0": constant}
        fields = {
            "rows": block.partitions,
            "columns": block.columns,
            "format": RAW32,
            "x_source": Source.SBUF,
            "x_addr": x,
            "x_stride": 2,
            "op0": op,
            "dst": x,
            "dst_stride": 2,
        }
        cost = vector_cost(self._config)
        cycles = block.columns * vector_element_cycles(self._config) + cost.overhead
        return Op("vector.compute", fields | operand, cycles, cost.latency)

    def _apply(self, table: TableRecords, block: Block, x: int) -> Op:
        """The activation engine's instruction."""
        fields = {
            "rows": block.partitions,
            "columns": block.columns,
            "format": FP32.code,
            "x_addr": x,
            "x_stride": 2,
            "dst": x,
            "dst_stride": 2,
        }
        fields |= apply_fields(table.functions[self._name])
        cost = activation_cost(self._config)
        cycles = block.columns * activation_column_cycles(self._config) + cost.overhead
        return Op("activation.apply", fields, cycles, cost.latency)


def build_evaluate(
    config: TileConfig,
    name: str,
    count: int,
    addresses: EvaluateAddresses,
    table: TableRecords | None = None,
) -> bytes:
    """The program that computes `count` contiguous fp32 words from one or two arrays of them.

    Parameters
    ----------
    config
        The tile that it is for.
    name
        One of `OPERATIONS`.
    count
        Elements, at least 1.
    addresses
        Where they lie. Results may take the place of an operand, but overlap none otherwise.
    table
        Of a function: its records in memory.

    Raises
    ------
    ValueError
        If an argument is out of range or missing, or the tile lacks the space.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    check_arity(name, addresses.y is not None)
    if (name in NAMES) != (table is not None):
        raise ValueError(f"functions have a table and nothing else has: {name}")
    return assemble_ordered(config, _Kernel(config, name, count, addresses, table).ops())


def _check(name: str, x: Patterns, y: Patterns | None) -> None:
    check_arity(name, y is not None)
    for operand, array in (("x", x), ("y", y)):
        if array is not None and array.dtype != np.uint32:
            raise ValueError(f"{operand} must be uint32 patterns, not {array.dtype}")
    if y is not None and x.shape != y.shape:
        raise ValueError(f"y must have the shape {x.shape} of x, not {y.shape}")


def _in_parts(
    part: Callable[..., Patterns],
    x: Patterns,
    y: Patterns | None,
    progress: Callable[[int, int], None] | None,
) -> Patterns:
    """``part`` of at most `_MAX_ELEMENTS` elements of x, and y, at a time."""
    operands = [array.reshape(-1) for array in (x, y) if array is not None]
    results = np.empty(x.size, np.uint32)
    starts = range(0, x.size, _MAX_ELEMENTS)
    for number, start in enumerate(starts):
        if progress is not None:
            progress(number, len(starts))
        where = slice(start, start + _MAX_ELEMENTS)
        results[where] = part(*(array[where] for array in operands))
    return results.reshape(x.shape)


def evaluate_golden(
    name: str,
    x: Patterns,
    y: Patterns | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Patterns:
    """Results of `evaluate_on_device`, from the golden arithmetic without a tile.

    Parameters and errors are those of `evaluate_on_device`.
    """
    _check(name, x, y)
    if name in BINARY:
        return _in_parts(partial(operate, BINARY[name]), x, y, progress)
    if name in _UNARY:
        op, constant = _UNARY[name]
        return _in_parts(lambda a: operate(op, a, np.full_like(a, constant)), x, None, progress)
    table, positions = pack([name])
    return _in_parts(partial(evaluate, table, positions[name]), x, None, progress)


class _Evaluator:
    """Runs an operation on parts of arrays, one program each; parts of one size share theirs."""

    def __init__(self, device: Device, name: str):
        self._device, self._name = device, name
        self._programs: dict[int, bytes] = {}

    def run(self, x: Patterns, y: Patterns | None = None) -> Patterns:
        """Results for one-dimensional operands."""
        device, name, image = self._device, self._name, MemoryImage()
        table = TableRecords.add(device.config, [name], image) if name in NAMES else None
        addresses = EvaluateAddresses(
            x=image.add(x),
            y=None if y is None else image.add(y),
            result=image.reserve(x.nbytes),
        )
        if x.size not in self._programs:
            self._programs[x.size] = build_evaluate(device.config, name, x.size, addresses, table)
        program = self._programs[x.size]
        address = image.add(program)
        memory = image.build()
        run_well(device, memory, address, len(program))
        return image.read(memory, addresses.result, np.uint32, x.shape)


def evaluate_on_device(
    device: Device,
    name: str,
    x: Patterns,
    y: Patterns | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Patterns:
    """An operation of section 5.2 or a function of section 5.5, element by element, by the tile.

    Parameters
    ----------
    device
        The tile.
    name
        One of `OPERATIONS`.
    x, y
        fp32 patterns, uint32, any shape; y only where `BINARY` has the name, in the shape of x.
    progress
        Called before each program with its number and the number of programs.

    Returns
    -------
    ndarray
        fp32 patterns, uint32, the shape of x.

    Raises
    ------
    ValueError
        If the name is unknown, an operand is missing or too many, a dtype or shape is wrong, or the
        tile lacks the space.
    TileTrapError
        If the tile traps.
    """
    _check(name, x, y)
    return _in_parts(_Evaluator(device, name).run, x, y, progress)
