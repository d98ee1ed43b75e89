"""Instructions of the vector engine."""

from tegula.formats import E5M2, FP32, RAW32
from tegula.isa.common import Instruction, element_payload, overlap, sync
from tegula.isa.fields import PAYLOAD_OFFSET, Engine
from tegula.isa.kinds import (
    choice,
    element_format,
    flag,
    half,
    mx_format,
    packed_flag,
    partition_number,
    sbuf_address,
    scalar,
    step,
)
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, ScaleRule, Source

__all__ = ["VECTOR"]

_ELEMENTS = (
    element_format(
        "x_format", 75, "format of x in the scratchpad", fp32=True, raw=True, default=FP32.code
    ),
    sbuf_address(
        "x_addr",
        78,
        "address of x, words of PSUM or of the scratchpad; the first index",
        default=0,
    ),
    step(
        "x_stride",
        94,
        "step from element to element, in the same unit (fp32 in the scratchpad: 2 words)",
    ),
    overlap(126, "vector instructions"),
    packed_flag("x_high", 127, "1: x is the high byte of its word (8-bit formats)"),
    scalar(
        "s0",
        128,
        "second operand of op0: an fp32 pattern, or in its low 16 bits the scratchpad address of an"
        " fp32",
    ),
    scalar("s1", 160, "the same of op1"),
    choice("op0", 192, Operation, "first operation"),
    choice("op1", 196, Operation, "second operation"),
    choice("s0_kind", 200, Operand, "what op0 combines x with"),
    choice("s1_kind", 202, Operand, "what op1 combines the result of op0 with"),
    partition_number("partition", 248, "partition of the first result (`transpose`)"),
)
"""Fields of all instructions that compute elements."""

_COMPUTE = element_payload(
    *_ELEMENTS,
    element_format("format", 54, "result format", fp32=True, raw=True),
    choice(
        "rounding",
        58,
        Rounding,
        "to nearest even; stochastically with the lane's generator; stochastically with the"
        " low 16 bits of y",
    ),
    choice("x_source", 73, Source, "where x comes from"),
    element_format("y_format", 106, "format of y", fp32=True, raw=True, default=FP32.code),
    sbuf_address("y_addr", 109, "scratchpad address of y, words; if used", default=0),
    flag(
        "transpose",
        125,
        "1: the results of an element lie along one partition (16-bit formats)",
    ),
    step("y_stride", 204, "step from element to element of y, words (fp32: 2)"),
    step(
        "dst_stride",
        232,
        "step from result to result (fp32: 2); `transpose`: every N results; words",
    ),
    choice(
        "reduction", 244, Reduction, "combine the results of a partition instead of writing them"
    ),
    flag("proceed", 246, "1: a reduction goes on from the partial results of the one before"),
    flag("finish", 247, "1: a reduction ends here: its result is written to `dst`"),
    half(254, "bytes of a word that a result takes (8-bit formats)"),
)

_QUANTISE = element_payload(
    *_ELEMENTS,
    mx_format("format", 54, "format of the elements' codes"),
    packed_flag(
        "packed",
        57,
        "1: elements 2j and 2j + 1 of each partition share a word, the first one low (`transpose`)",
    ),
    choice("x_source", 73, Source, "where x comes from", last=Source.SBUF),
    choice("rule", 106, ScaleRule, "how a scale follows from the largest magnitude"),
    flag("e2m1", 108, "1: the elements are numbers of E2M1 (MXFP4)"),
    sbuf_address("scale_dst", 109, "scratchpad address of the scales, words"),
    flag("transpose", 125, "1: the results of an element lie along one partition"),
    step("scale_stride", 204, "step from scale to scale, words"),
    step(
        "dst_stride",
        232,
        "step from element to element; `transpose`: every N elements, of `packed` ones 2N; words",
    ),
    half(254, "bytes of a word that an element takes; of `packed` ones it means nothing"),
    saturates=False,
)

VECTOR = (
    sync(Engine.VECTOR, "vector instructions"),
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
            flag("save", PAYLOAD_OFFSET, "0: load; 1: save"),
            sbuf_address("addr", 64, "scratchpad address, words; a multiple of 2"),
        ),
    ),
    Instruction(
        mnemonic="vector.quantise",
        opcode=0x23,
        granules=2,
        doc=(
            "For i = 0 .. columns - 1, in every partition: `(x[i] op0 s0) op1 s1`, divided by the"
            " scale of the 32 elements from i - i mod 32 on (or those of them that there are) and"
            " rounded to an element of MX (numerics, section 4.5); `merge` is `select` here. Code i"
            " is written to `dst + i * dst_stride`, the scale of elements 32b .. 32b + 31, as a"
            " word, to `scale_dst + b * scale_stride`. With `transpose` the codes of element i lie"
            " along partition `(partition + i) mod N`, of `packed` ones along"
            " `(partition + i div 2) mod N`; an odd number of these leaves the high byte of the"
            " last word as it was. Illegal are `packed` without `transpose`, `e2m1` in"
            " e5m2 and `y` as an operand. Only tiles with `mx` have this instruction."
        ),
        payload=_QUANTISE,
        forbidden=(
            (("e2m1", (1,)), ("format", (E5M2.code,))),
            (("packed", (1,)), ("transpose", (0,))),
            (("s0_kind", (Operand.Y,)),),
            (("s1_kind", (Operand.Y,)),),
        ),
        needs="mx",
    ),
)
