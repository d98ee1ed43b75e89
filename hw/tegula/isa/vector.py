"""Instructions of the vector engine."""

from tegula.formats import FP32, RAW32
from tegula.isa.fields import (
    DESTINATION,
    ELEMENT_COLUMNS,
    ELEMENT_ROWS,
    PAYLOAD_OFFSET,
    SATURATE,
    Field,
    Instruction,
)
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source

__all__ = ["VECTOR"]

_COMPUTE = (
    ELEMENT_ROWS,
    Field(
        name="format",
        offset=54,
        width=3,
        formats=True,
        fp32=True,
        raw=True,
        doc="result format",
    ),
    SATURATE,
    Field(
        name="rounding",
        offset=58,
        width=2,
        default=0,
        names=Rounding,
        doc=(
            "to nearest even; stochastically with the lane's generator; stochastically with the"
            " low 16 bits of y"
        ),
    ),
    ELEMENT_COLUMNS,
    Field(
        name="x_source",
        offset=73,
        width=2,
        default=0,
        names=Source,
        doc="where x comes from",
    ),
    Field(
        name="x_format",
        offset=75,
        width=3,
        formats=True,
        fp32=True,
        raw=True,
        default=FP32.code,
        doc="format of x in the scratchpad",
    ),
    Field(
        name="x_addr",
        offset=78,
        width=16,
        default=0,
        doc="address of x, words of PSUM or of the scratchpad; the first index",
    ),
    Field(
        name="x_stride",
        offset=94,
        width=12,
        signed=True,
        default=1,
        doc="step from element to element, in the same unit (fp32 in the scratchpad: 2 words)",
    ),
    Field(
        name="y_format",
        offset=106,
        width=3,
        formats=True,
        fp32=True,
        raw=True,
        default=FP32.code,
        doc="format of y",
    ),
    Field(
        name="y_addr",
        offset=109,
        width=16,
        default=0,
        doc="scratchpad address of y, words; if used",
    ),
    Field(
        name="transpose",
        offset=125,
        width=1,
        default=0,
        doc="1: the results of an element lie along one partition (16-bit formats)",
    ),
    Field(
        name="overlap",
        offset=126,
        width=1,
        default=0,
        doc="1: may read the scratchpad before earlier vector instructions have written to it",
    ),
    Field(
        name="s0",
        offset=128,
        width=32,
        default=0,
        doc="second operand of op0: an fp32 pattern, or the scratchpad address of an fp32",
    ),
    Field(name="s1", offset=160, width=32, default=0, doc="the same of op1"),
    Field(name="op0", offset=192, width=4, default=0, names=Operation, doc="first operation"),
    Field(name="op1", offset=196, width=4, default=0, names=Operation, doc="second operation"),
    Field(
        name="s0_kind",
        offset=200,
        width=2,
        default=0,
        names=Operand,
        doc="what op0 combines x with",
    ),
    Field(
        name="s1_kind",
        offset=202,
        width=2,
        default=0,
        names=Operand,
        doc="what op1 combines the result of op0 with",
    ),
    Field(
        name="y_stride",
        offset=204,
        width=12,
        signed=True,
        default=1,
        doc="step from element to element of y, words (fp32: 2)",
    ),
    DESTINATION,
    Field(
        name="dst_stride",
        offset=232,
        width=12,
        signed=True,
        default=1,
        doc="step from result to result (fp32: 2); `transpose`: every N results; words",
    ),
    Field(
        name="reduction",
        offset=244,
        width=2,
        default=0,
        names=Reduction,
        doc="combine the results of a partition instead of writing them",
    ),
    Field(
        name="proceed",
        offset=246,
        width=1,
        default=0,
        doc="1: a reduction goes on from the partial results of the one before",
    ),
    Field(
        name="finish",
        offset=247,
        width=1,
        default=0,
        doc="1: a reduction ends here: its result is written to `dst`",
    ),
    Field(
        name="partition",
        offset=248,
        width=6,
        default=0,
        maximum=lambda config: config.n - 1,
        doc="partition of the first result (`transpose`)",
    ),
)

VECTOR = (
    Instruction(
        mnemonic="vector.sync",
        opcode=0x20,
        granules=1,
        doc="Only wait and signal; signals when all earlier vector instructions are complete.",
    ),
    Instruction(
        mnemonic="vector.compute",
        opcode=0x21,
        granules=2,
        doc=(
            "For i = 0 .. columns - 1, in every partition: `(x[i] op0 s0) op1 s1`, cast to `format`"
            " and written to `dst + i * dst_stride`, or combined by `reduction`."
        ),
        payload=_COMPUTE,
        forbidden=((("transpose", (1,)), ("format", (FP32.code, RAW32))),),
    ),
    Instruction(
        mnemonic="vector.generator",
        opcode=0x22,
        granules=1,
        doc=(
            "Load the state of each lane's random generator from the eight words from `addr` on of"
            " its partition (x, y, z, w, each low half first), or save it there."
        ),
        payload=(
            Field(
                name="save",
                offset=PAYLOAD_OFFSET,
                width=1,
                default=0,
                doc="0: load; 1: save",
            ),
            Field(
                name="addr", offset=64, width=16, doc="scratchpad address, words; a multiple of 2"
            ),
        ),
    ),
)
