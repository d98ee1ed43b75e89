"""Instructions of the tensor engine."""

from tegula.config import TileConfig
from tegula.formats import BF16
from tegula.isa.common import Instruction, sync
from tegula.isa.fields import PAYLOAD_OFFSET, Engine, Field
from tegula.isa.kinds import (
    count,
    element_format,
    flag,
    limited,
    packed_flag,
    partition_count,
    sbuf_address,
    step,
)

__all__ = ["PSUM_ADDRESS_BITS", "SCALE_ROW_BITS", "STATIONARY_LOADS", "TENSOR"]

PSUM_ADDRESS_BITS = 12
"""Bits of a PSUM address, and of a number of PSUM words."""


STATIONARY_LOADS = ("tensor.load", "tensor.scales")
"""Mnemonics that run beside the matmuls before them, and may signal before those."""

SCALE_ROW_BITS = 7
"""Bits of the number of a row of the scale buffer."""


def _psum_depth(config: TileConfig) -> int:
    return config.psum_depth


def _mx(config: TileConfig) -> int:
    return int(config.mx)


def _scale_rows(_config: TileConfig) -> int:
    return 1 << SCALE_ROW_BITS


_ROWS = partition_count(
    "rows", PAYLOAD_OFFSET, "K: partitions that take part; the other lanes enter the array as zero"
)
_FORMAT = element_format("format", 54, "operand format")
_STEP = step("stride", 80, "address step from column to column, words", width=16)

_PACKED = packed_flag(
    "packed",
    63,
    "1: a word holds two 8-bit codes, terms 2p and 2p + 1 of K in partition p, the first one low",
)
_SCALES = Field(
    name="scales",
    offset=120,
    width=SCALE_ROW_BITS,
    default=0,
    doc=(
        "row of the scale buffer with the codes of columns 0 to N - 1; later columns: the rows"
        " behind; if used"
    ),
)
_SCALED = limited("scaled", 127, 1, _mx, "1: each column has a scale of its own, from the buffer")
_NARROW_ONLY = tuple(((name, (1,)), ("format", (BF16.code,))) for name in ("packed", "scaled"))
"""Operands of 8-bit formats only are packed, and scaled."""

TENSOR = (
    sync(Engine.TENSOR, "tensor instructions"),
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
            _FORMAT,
            partition_count(
                "columns", 57, "M: columns that take part; the other columns hold zero"
            ),
            _PACKED,
            sbuf_address("addr", 64, "scratchpad address, words"),
            _STEP,
            _SCALES,
            _SCALED,
        ),
        forbidden=_NARROW_ONLY,
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
            _FORMAT,
            flag(
                "accumulate",
                57,
                "0: overwrite PSUM; 1: add to it (every word must have been written)",
            ),
            _PACKED,
            sbuf_address("addr", 64, "scratchpad address of column 0, words"),
            _STEP,
            count("columns", 96, PSUM_ADDRESS_BITS, "F: moving columns", maximum=_psum_depth),
            Field(
                name="psum_addr",
                offset=108,
                width=PSUM_ADDRESS_BITS,
                relative=True,
                doc="PSUM address of column 0, words",
            ),
            _SCALES,
            _SCALED,
        ),
        forbidden=_NARROW_ONLY,
    ),
    Instruction(
        mnemonic="tensor.scales",
        opcode=0x13,
        granules=1,
        needs="mx",
        doc=(
            "Load rows of the scale buffer: lane p of row `scales + i` takes"
            " the E8M0 code in the low byte of partition p's word at `addr + i * stride`. Rows wrap"
            " behind the last. Earlier instructions use what the rows held before."
        ),
        payload=(
            sbuf_address("addr", 64, "scratchpad address of the first row, words"),
            step("stride", 80, "address step from row to row, words", width=16),
            count("columns", 96, SCALE_ROW_BITS + 1, "rows", maximum=_scale_rows),
            Field(
                name="scales",
                offset=120,
                width=SCALE_ROW_BITS,
                default=0,
                doc="first row of the buffer",
            ),
        ),
    ),
)
