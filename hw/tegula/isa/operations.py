"""Values that fields of instructions take."""

from enum import IntEnum

__all__ = [
    "Accumulate",
    "Half",
    "Operand",
    "Operation",
    "Reduction",
    "Rounding",
    "ScaleRule",
    "Source",
    "TableKind",
]


class Operation(IntEnum):
    """An elementwise operation ``a op b`` (numerics contract, section 5.2)."""

    PASS = 0
    ADD = 1
    SUB = 2
    RSUB = 3
    MUL = 4
    MAX = 5
    MIN = 6
    EQ = 7
    NE = 8
    LT = 9
    LE = 10
    GT = 11
    GE = 12
    SELECT = 13
    MERGE = 14
    ABS = 15


class Accumulate(IntEnum):
    """Treatment, by a DMA instruction, of the numbers at its destination.

    The elements, of one word (BF16) or of two (FP32), are added to them, or replace them (NONE).
    """

    NONE = 0
    BF16 = 1
    FP32 = 2


class Half(IntEnum):
    """Bytes of a word of the scratchpad that an 8-bit element takes.

    WHOLE: the low byte, and the high one becomes 0. LOW, HIGH: that byte; the other one stays.
    """

    WHOLE = 0
    LOW = 1
    HIGH = 2


class Source(IntEnum):
    """Source of the elements of a vector instruction.

    INDEX is the fp32 pattern of ``2**23 + (x_addr + i * x_stride) mod 2**16``, RANDOM a random
    number of [1, 2).
    """

    PSUM = 0
    SBUF = 1
    INDEX = 2
    RANDOM = 3


class Operand(IntEnum):
    """The second operand of an operation.

    PARTITION is an fp32 of each partition, in the scratchpad; Y are the elements at `y_addr`; SELF
    is the first operand.
    """

    IMMEDIATE = 0
    PARTITION = 1
    Y = 2
    SELF = 3


class Rounding(IntEnum):
    """Rounding of a cast.

    STOCHASTIC takes random bits of the lane's generator, GIVEN the low 16 bits of the elements at
    `y_addr`.
    """

    NEAREST = 0
    STOCHASTIC = 1
    GIVEN = 2


class Reduction(IntEnum):
    """Reduction of the results along the free axis."""

    NONE = 0
    SUM = 1
    MAX = 2
    AMAX = 3


class ScaleRule(IntEnum):
    """Rule for the scale that the elements of a block share.

    RCEIL: the least power of two with which no element exceeds the largest number. FLOOR, CEIL: the
    exponent of the block's largest magnitude, rounded down (OCP MX) or up, less that of the
    largest number.
    """

    RCEIL = 0
    FLOOR = 1
    CEIL = 2


class TableKind(IntEnum):
    """Part of the activation engine's table that is loaded."""

    ENTRIES = 0
    DESCRIPTORS = 1
