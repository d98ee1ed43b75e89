"""Instruction words as tables.

A program is a sequence of 16-byte granules, little-endian, fetched in order. The low byte of an
instruction's first granule is its opcode; the opcode decides how many granules the instruction
has. Bits that no field claims must be zero. All of this is ours: published so that others can
build on it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tegula.config import TileConfig

__all__ = [
    "ENGINES",
    "GRANULE_BITS",
    "GRANULE_BYTES",
    "HEADER",
    "INSTRUCTIONS",
    "Engine",
    "Field",
    "Instruction",
    "Layout",
    "by_mnemonic",
    "by_opcode",
]

GRANULE_BITS = 128
GRANULE_BYTES = GRANULE_BITS // 8


class Engine(IntEnum):
    """What executes an instruction; the high nibble of the opcode."""

    CONTROL = 0
    TENSOR = 1
    VECTOR = 2
    LOAD = 4
    STORE = 5


ENGINES = (Engine.TENSOR, Engine.VECTOR, Engine.LOAD, Engine.STORE)
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
        True: the value is the code of a `FloatFormat`, and assembly writes its name.
    fp32
        With `formats`: whether fp32 is allowed.
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
            return tuple(sorted([*codes, 3] if self.fp32 else codes))
        low = self.low if self.minimum is None else self.minimum(config)
        high = self.high if self.maximum is None else self.maximum(config)
        return range(low, high + 1)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction: mnemonic, opcode, engine, size and payload fields (the header is common)."""

    mnemonic: str
    opcode: int
    granules: int
    doc: str
    payload: tuple[Field, ...] = ()

    @property
    def engine(self) -> Engine:
        """The engine that executes it."""
        return Engine(self.opcode >> 4)

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


def _one(_config: TileConfig) -> int:
    return 1


def _partitions(config: TileConfig) -> int:
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
        width=5,
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
        width=5,
        default=0,
        maximum=_last_semaphore,
        doc="semaphore that is signalled",
    ),
    Field(
        name="signal_value",
        offset=33,
        width=8,
        default=0,
        doc="what is added to the signalled semaphore",
    ),
)
"""Synchronisation fields that every engine's instructions share."""

_ROWS = Field(
    name="rows",
    offset=48,
    width=6,
    minimum=_one,
    maximum=_partitions,
    doc="K: partitions that take part; the other lanes enter the array as zero",
)
_OPERAND_FORMAT = Field(name="format", offset=54, width=3, formats=True, doc="operand format")

_DMA_PAYLOAD = (
    Field(name="mem_addr", offset=48, width=48, doc="memory address of the first run, in bytes"),
    Field(
        name="run",
        offset=96,
        width=16,
        minimum=_one,
        doc="contiguous elements of a run",
    ),
    *(
        Field(
            name=f"count{axis}",
            offset=96 + 16 * axis,
            width=16,
            default=1,
            minimum=_one,
            doc=f"runs along axis {axis}" + (" (the fastest)" if axis == 1 else ""),
        )
        for axis in (1, 2, 3)
    ),
    *(
        Field(
            name=f"mem_stride{axis}",
            offset=128 + 32 * axis,
            width=32,
            signed=True,
            default=0,
            doc=f"memory step of axis {axis}, in bytes",
        )
        for axis in (1, 2, 3)
    ),
    Field(name="sbuf_addr", offset=256, width=16, doc="scratchpad address of the first run, words"),
    *(
        Field(
            name=f"sbuf_stride{axis}",
            offset=272 + 16 * axis,
            width=16,
            signed=True,
            default=0,
            doc=(
                "scratchpad step every N elements of a run (layout `partition`), words"
                if axis == 0
                else f"scratchpad step of axis {axis}, words"
            ),
        )
        for axis in (0, 1, 2, 3)
    ),
    Field(
        name="partition",
        offset=336,
        width=6,
        default=0,
        maximum=lambda config: config.n - 1,
        doc="partition of the first run (layout `free`; ignored in layout `partition`)",
    ),
    *(
        Field(
            name=f"partition_stride{axis}",
            offset=336 + 6 * axis,
            width=6,
            default=0,
            maximum=_partitions,
            doc=f"partition step of axis {axis} (layout `free`; ignored in layout `partition`)",
        )
        for axis in (1, 2, 3)
    ),
    Field(
        name="layout",
        offset=360,
        width=1,
        doc="0 `free`: a run lies along one partition; 1 `partition`: across the partitions",
    ),
    Field(
        name="bytes1",
        offset=361,
        width=1,
        default=0,
        doc="0: elements of two bytes; 1: of one byte, in the low half of a word (high half zero)",
    ),
)

INSTRUCTIONS = (
    Instruction(
        mnemonic="halt",
        opcode=0x01,
        granules=1,
        doc="Wait until every engine is idle, then raise the interrupt. The last instruction.",
    ),
    Instruction(
        mnemonic="tensor.sync",
        opcode=0x10,
        granules=1,
        doc="Only wait and signal; signals when all earlier tensor instructions are complete.",
    ),
    Instruction(
        mnemonic="tensor.load",
        opcode=0x11,
        granules=1,
        doc=(
            "Load the stationary operand, `rows` x `columns`: column m of the array takes the word"
            " at `addr + m * stride` of every partition. It replaces the operand in use when the"
            " next tensor.matmul starts. Addresses are read from the first column to the last."
        ),
        payload=(
            _ROWS,
            _OPERAND_FORMAT,
            Field(
                name="columns",
                offset=57,
                width=6,
                minimum=_one,
                maximum=_partitions,
                doc="M: columns that take part; the other columns hold zero",
            ),
            Field(name="addr", offset=64, width=16, doc="scratchpad address, words"),
            Field(
                name="stride",
                offset=80,
                width=16,
                signed=True,
                default=1,
                doc="address step from column to column, words",
            ),
        ),
    ),
    Instruction(
        mnemonic="tensor.matmul",
        opcode=0x12,
        granules=1,
        doc=(
            "psum[m, psum_addr + f] (+)= sum over k of stationary[k, m] *"
            " sbuf[k, addr + f * stride] for f = 0 .. columns - 1, one f a cycle. All N partitions"
            " of PSUM are written."
        ),
        payload=(
            _ROWS,
            _OPERAND_FORMAT,
            Field(
                name="accumulate",
                offset=57,
                width=1,
                default=0,
                doc="0: overwrite PSUM; 1: add to it (every word must have been written)",
            ),
            Field(name="addr", offset=64, width=16, doc="scratchpad address of column 0, words"),
            Field(
                name="stride",
                offset=80,
                width=16,
                signed=True,
                default=1,
                doc="address step from column to column, words",
            ),
            Field(
                name="columns",
                offset=96,
                width=12,
                minimum=_one,
                maximum=lambda config: config.psum_depth,
                doc="F: moving columns",
            ),
            Field(name="psum_addr", offset=108, width=12, doc="PSUM address of column 0, words"),
        ),
    ),
    Instruction(
        mnemonic="vector.sync",
        opcode=0x20,
        granules=1,
        doc="Only wait and signal; signals when all earlier vector instructions are complete.",
    ),
    Instruction(
        mnemonic="vector.copy",
        opcode=0x21,
        granules=1,
        doc=(
            "Read `columns` fp32 values of each partition from PSUM (rounded on reading) or from"
            " the scratchpad (two words each, low half first), cast them and write them to the"
            " scratchpad at `dst + i` (fp32: two words at `dst + 2 * i`)."
        ),
        payload=(
            Field(
                name="rows",
                offset=48,
                width=6,
                minimum=_one,
                maximum=_partitions,
                doc="partitions 0 .. rows - 1 are written",
            ),
            Field(name="format", offset=54, width=3, formats=True, fp32=True, doc="result format"),
            Field(
                name="source",
                offset=57,
                width=1,
                default=0,
                doc="0: PSUM; 1: fp32 in the scratchpad",
            ),
            Field(
                name="stochastic",
                offset=58,
                width=1,
                default=0,
                doc="0: round to nearest even; 1: round with the 16 random bits at `random + i`",
            ),
            Field(
                name="saturate",
                offset=59,
                width=1,
                default=0,
                doc="1: fp8 overflow and infinities become the largest finite number",
            ),
            Field(name="src", offset=64, width=16, doc="PSUM or scratchpad address, words"),
            Field(name="dst", offset=80, width=16, doc="scratchpad address of the results, words"),
            Field(
                name="columns",
                offset=96,
                width=16,
                minimum=_one,
                doc="values of each partition",
            ),
            Field(
                name="random",
                offset=112,
                width=16,
                default=0,
                doc="scratchpad address of the random bits, words (used if `stochastic`)",
            ),
        ),
    ),
    Instruction(
        mnemonic="load.sync",
        opcode=0x40,
        granules=1,
        doc="Only wait and signal; signals when all earlier loads are complete.",
    ),
    Instruction(
        mnemonic="load.dma",
        opcode=0x41,
        granules=4,
        doc="Copy runs of memory into the scratchpad.",
        payload=_DMA_PAYLOAD,
    ),
    Instruction(
        mnemonic="store.sync",
        opcode=0x50,
        granules=1,
        doc="Only wait and signal; signals when all earlier stores are complete.",
    ),
    Instruction(
        mnemonic="store.dma",
        opcode=0x51,
        granules=4,
        doc="Copy runs of the scratchpad into memory; done when memory has acknowledged all of it.",
        payload=_DMA_PAYLOAD,
    ),
)


def by_opcode(opcode: int) -> Instruction | None:
    """The instruction with this opcode, or None."""
    return next((i for i in INSTRUCTIONS if i.opcode == opcode), None)


def by_mnemonic(mnemonic: str) -> Instruction:
    """The instruction with this mnemonic.

    Raises
    ------
    ValueError
        If there is none.
    """
    for instruction in INSTRUCTIONS:
        if instruction.mnemonic == mnemonic:
            return instruction
    known = ", ".join(i.mnemonic for i in INSTRUCTIONS)
    raise ValueError(f"mnemonic {mnemonic!r} is unknown: it must be one of {known}")
