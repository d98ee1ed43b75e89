"""Engines, and bit fields of instructions with their widths and limits."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tegula.config import TileConfig
from tegula.formats import FP32, PATTERN_CODES, FloatFormat

__all__ = [
    "CODE_BITS",
    "ELEMENT_STEP_BITS",
    "ENGINES",
    "ENGINE_BITS",
    "GRANULE_BITS",
    "GRANULE_BYTES",
    "LOOP_COUNT_BITS",
    "LOOP_DEPTH",
    "MEMORY_ADDRESS_BITS",
    "OPCODE_BITS",
    "PARTITION_BITS",
    "PAYLOAD_OFFSET",
    "PC_BITS",
    "REGISTERS",
    "REGISTER_BITS",
    "RELATIVE_SLOTS",
    "SBUF_ADDRESS_BITS",
    "SEMAPHORE_BITS",
    "SIGNAL_VALUE_BITS",
    "Engine",
    "Field",
    "Layout",
]

GRANULE_BITS = 128
GRANULE_BYTES = GRANULE_BITS // 8

CODE_BITS = 4
"""Bits of an instruction's code among those of its engine: the low bits of the opcode."""

ENGINE_BITS = 4
"""Bits of an engine's code: the high bits of the opcode."""

OPCODE_BITS = ENGINE_BITS + CODE_BITS

PAYLOAD_OFFSET = 48
"""First bit behind the opcode and the synchronisation fields."""

PC_BITS = 20
"""Bits of an instruction's position in its program, counted in granules."""

LOOP_DEPTH = 4
"""Loops that may be open at a time."""

LOOP_COUNT_BITS = 24
"""Bits of a loop's number of iterations."""

REGISTERS = 16
"""Registers of a program, which `control.relative` adds to fields."""

REGISTER_BITS = 48
"""Bits of a register of a program."""

RELATIVE_SLOTS = 6
"""Relative fields of an instruction that can have a register, at most."""

MEMORY_ADDRESS_BITS = 48
"""Bits of a byte address of memory: in instructions, of the window, in the record of a trap."""

SBUF_ADDRESS_BITS = 16
"""Bits of a scratchpad address, in words."""

ELEMENT_STEP_BITS = 12
"""Bits of the step from element to element in the vector and the activation engine."""

PARTITION_BITS = 6
"""Bits of a number of partitions, columns of the array included: 0 to 32."""

SEMAPHORE_BITS = 5
"""Bits of a semaphore's number."""

SIGNAL_VALUE_BITS = 8
"""Bits of what a signal adds to a semaphore."""


class Engine(IntEnum):
    """Executor of an instruction; the high `ENGINE_BITS` of the opcode."""

    CONTROL = 0
    TENSOR = 1
    VECTOR = 2
    ACTIVATION = 3
    LOAD = 4
    STORE = 5


ENGINES = (Engine.TENSOR, Engine.VECTOR, Engine.ACTIVATION, Engine.LOAD, Engine.STORE)
"""Engines with a queue, in the order of every per-engine port, counter and register."""


class Layout(IntEnum):
    """Arrangement of a contiguous run of memory in the scratchpad.

    - FREE: element i goes to one partition, address + i.
    - PARTITION: element i goes to partition i mod N, address + (i div N) * sbuf_stride0.
    """

    FREE = 0
    PARTITION = 1


@dataclass(frozen=True, kw_only=True)
class Field:
    """A bit field of an instruction.

    Attributes
    ----------
    name, doc
        Name in assembly and Python; what it means, with its unit.
    offset, width
        Position of the least significant bit in the instruction, and size, in bits.
    signed
        Two's complement if true.
    minimum, maximum
        Limits checked at dispatch, as functions of the configuration; None: any value that fits.
    formats
        True: the value is the code of a format, and assembly writes its name.
    fp32, raw
        With `formats`: whether fp32, and whether the patterns `raw16` and `raw32` are allowed.
    only
        With `formats`: formats of which alone any is allowed; none: all.
    names
        Names of the values, which assembly writes in lower case; None: numbers.
    default
        Value where assembly or Python leaves the field out; None: it must be given.
    relative, wraps
        Whether `control.relative` may add a register to it, and whether that sum is taken modulo
        2**width; else a sum outside of `low` to `high` is a trap.
    """

    name: str
    offset: int
    width: int
    doc: str
    signed: bool = False
    minimum: Callable[[TileConfig], int] | None = None
    maximum: Callable[[TileConfig], int] | None = None
    formats: bool = False
    fp32: bool = False
    raw: bool = False
    only: tuple[FloatFormat, ...] = ()
    names: type[IntEnum] | None = None
    default: int | None = None
    relative: bool = False
    wraps: bool = False

    @property
    def low(self) -> int:
        """Smallest value that the field can hold."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value that the field can hold."""
        return (1 << (self.width - self.signed)) - 1

    def allowed(self, config: TileConfig) -> tuple[int, ...] | range:
        """Values that the tile of `config` accepts at dispatch."""
        if self.formats:
            formats = config.operand_formats
            codes = [fmt.code for fmt in formats if not self.only or fmt in self.only]
            codes += [FP32.code] if self.fp32 else []
            codes += PATTERN_CODES.values() if self.raw else []
            return tuple(sorted(codes))
        if self.names is not None and self.maximum is None:
            return range(len(self.names))
        low = self.low if self.minimum is None else self.minimum(config)
        high = self.high if self.maximum is None else self.maximum(config)
        return range(low, high + 1)
