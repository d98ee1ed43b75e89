"""Instructions of the tensor engine."""

from tegula.isa.fields import PAYLOAD_OFFSET, Field, Instruction, one, partitions

__all__ = ["TENSOR"]

_ROWS = Field(
    name="rows",
    offset=PAYLOAD_OFFSET,
    width=6,
    minimum=one,
    maximum=partitions,
    doc="K: partitions that take part; the other lanes enter the array as zero",
)
_OPERAND_FORMAT = Field(name="format", offset=54, width=3, formats=True, doc="operand format")

TENSOR = (
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
                minimum=one,
                maximum=partitions,
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
                minimum=one,
                maximum=lambda config: config.psum_depth,
                doc="F: moving columns",
            ),
            Field(name="psum_addr", offset=108, width=12, doc="PSUM address of column 0, words"),
        ),
    ),
)
