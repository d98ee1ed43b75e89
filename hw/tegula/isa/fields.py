"""What the tables of instructions are made of: engines, fields, instructions, the header."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tegula.config import TileConfig
from tegula.formats import FP32, PATTERN_CODES

__all__ = [
    "CODE_BITS",
    "DESTINATION",
    "ELEMENT_COLUMNS",
    "ELEMENT_ROWS",
    "ENGINES",
    "ENGINE_BITS",
    "GRANULE_BITS",
    "GRANULE_BYTES",
    "HEADER",
    "MEMORY_ADDRESS_BITS",
    "OPCODE_BITS",
    "PARTITION_BITS",
    "PAYLOAD_OFFSET",
    "PC_BITS",
    "SATURATE",
    "SEMAPHORE_BITS",
    "SIGNAL_VALUE_BITS",
    "Engine",
    "Field",
    "Instruction",
    "Layout",
    "one",
    "partitions",
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

MEMORY_ADDRESS_BITS = 48
"""Bits of a byte address of memory: in instructions, of the window, in the record of a trap."""

PARTITION_BITS = 6
"""Bits of a number of partitions, columns of the array included: 0 to 32."""

SEMAPHORE_BITS = 5
"""Bits of a semaphore's number."""

SIGNAL_VALUE_BITS = 8
"""Bits of what a signal adds to a semaphore."""


class Engine(IntEnum):
    """What executes an instruction; the high `ENGINE_BITS` of the opcode."""

    CONTROL = 0
    TENSOR = 1
    VECTOR = 2
    ACTIVATION = 3
    LOAD = 4
    STORE = 5


ENGINES = (Engine.TENSOR, Engine.VECTOR, Engine.ACTIVATION, Engine.LOAD, Engine.STORE)
"""Engines with a queue, in the order of every per-engine port, counter and register."""


class Layout(IntEnum):
    """How a contiguous run of memory lies in the scratchpad."""

    FREE = 0
    """Element i goes to one partition, address + i."""

    PARTITION = 1
    """Element i goes to partition i mod N, address + (i div N) * sbuf_stride0."""


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
    names
        Names of the values, which assembly writes in lower case; None: numbers.
    default
        Value where assembly or Python leaves the field out; None: it must be given.
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
    names: type[IntEnum] | None = None
    default: int | None = None

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
            codes = [fmt.code for fmt in config.operand_formats]
            codes += [FP32.code] if self.fp32 else []
            codes += PATTERN_CODES.values() if self.raw else []
            return tuple(sorted(codes))
        if self.names is not None:
            return range(len(self.names))
        low = self.low if self.minimum is None else self.minimum(config)
        high = self.high if self.maximum is None else self.maximum(config)
        return range(low, high + 1)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction: mnemonic, opcode, engine, size and payload fields (the header is common).

    `forbidden` lists combinations that are illegal although each field is within its limits: sets
    of (field, values) of one granule, of which not all may hold.
    """

    mnemonic: str
    opcode: int
    granules: int
    doc: str
    payload: tuple[Field, ...] = ()
    forbidden: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...] = ()

    @property
    def engine(self) -> Engine:
        """The engine that executes it."""
        return Engine(self.opcode >> CODE_BITS)

    @property
    def code(self) -> int:
        """Its number among the engine's instructions: the low `CODE_BITS` of the opcode."""
        return self.opcode % (1 << CODE_BITS)

    @property
    def has_sync(self) -> bool:
        """Whether it may wait on and signal semaphores."""
        return self.engine != Engine.CONTROL

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields but the opcode, in the order of their offsets."""
        return (*HEADER, *self.payload) if self.has_sync else self.payload

    @property
    def bits(self) -> int:
        """Size in bits."""
        return self.granules * GRANULE_BITS

    def broken_rule(self, values: dict[str, int]) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
        """The first combination of `forbidden` that `values` (field -> value) have."""
        for rule in self.forbidden:
            if all(values[name] in among for name, among in rule):
                return rule
        return None


def one(_config: TileConfig) -> int:
    """The limit 1."""
    return 1


def partitions(config: TileConfig) -> int:
    """The limit N."""
    return config.n


def _last_semaphore(config: TileConfig) -> int:
    return config.semaphores - 1


def _semaphore_max(config: TileConfig) -> int:
    return (1 << config.semaphore_width) - 1


HEADER = (
    Field(name="wait", offset=8, width=1, default=0, doc="1: wait before the first effect"),
    Field(
        name="consume",
        offset=9,
        width=1,
        default=0,
        doc="1: subtract `wait_value` from the semaphore when the wait is over",
    ),
    Field(
        name="wait_sem",
        offset=10,
        width=SEMAPHORE_BITS,
        default=0,
        maximum=_last_semaphore,
        doc="semaphore that is waited on",
    ),
    Field(
        name="wait_value",
        offset=15,
        width=12,
        default=0,
        maximum=_semaphore_max,
        doc="the wait is over when the semaphore is at least this",
    ),
    Field(name="signal", offset=27, width=1, default=0, doc="1: signal after the last effect"),
    Field(
        name="signal_sem",
        offset=28,
        width=SEMAPHORE_BITS,
        default=0,
        maximum=_last_semaphore,
        doc="semaphore that is signalled",
    ),
    Field(
        name="signal_value",
        offset=33,
        width=SIGNAL_VALUE_BITS,
        default=0,
        doc="what is added to the signalled semaphore",
    ),
)
"""Synchronisation fields that every engine's instructions share."""

ELEMENT_ROWS = Field(
    name="rows",
    offset=PAYLOAD_OFFSET,
    width=6,
    minimum=one,
    maximum=partitions,
    doc="partitions 0 .. rows - 1 are written",
)
SATURATE = Field(
    name="saturate",
    offset=57,
    width=1,
    default=0,
    doc="1: fp8 overflow and infinities become the largest finite number",
)
ELEMENT_COLUMNS = Field(
    name="columns", offset=60, width=13, minimum=one, doc="elements of each partition"
)
DESTINATION = Field(
    name="dst", offset=216, width=16, doc="scratchpad address of the results, words"
)
"""These four: what instructions of the vector and of the activation engine have alike."""
