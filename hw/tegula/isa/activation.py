"""Instructions of the activation engine."""

from tegula.formats import FP32
from tegula.isa.fields import (
    DESTINATION,
    ELEMENT_COLUMNS,
    ELEMENT_ROWS,
    PAYLOAD_OFFSET,
    SATURATE,
    Field,
    Instruction,
    one,
)
from tegula.isa.operations import TableKind

__all__ = ["ACTIVATION"]


def _last_entry(config):
    return config.activation_entries - 1


def _flag(name: str, offset: int, doc: str) -> Field:
    return Field(name=name, offset=offset, width=1, default=0, doc=doc)


_APPLY = (
    ELEMENT_ROWS,
    Field(name="format", offset=54, width=3, formats=True, fp32=True, doc="result format"),
    SATURATE,
    _flag("exp", 58, "reduction of the argument: 0 `float`, 1 `exp`"),
    _flag("parity", 59, "1: descriptors by the parity of n"),
    ELEMENT_COLUMNS,
    _flag("odd", 73, "1: f(-z) = -f(z)"),
    _flag("log", 74, "1: add n * ln 2"),
    Field(
        name="x_format",
        offset=75,
        width=3,
        formats=True,
        fp32=True,
        default=FP32.code,
        doc="format of x",
    ),
    Field(name="x_addr", offset=78, width=16, doc="scratchpad address of x, words"),
    Field(
        name="x_stride",
        offset=94,
        width=12,
        signed=True,
        default=1,
        doc="step from element to element, words (fp32: 2)",
    ),
    _flag("scale_partition", 106, "1: `scale` is the address of an fp32 of each partition"),
    _flag("bias_partition", 107, "1: `bias` is the address of an fp32 of each partition"),
    _flag("sum", 108, "1: add up the results too, before they are cast"),
    _flag("proceed", 109, "1: the sum goes on from the partial sums of the one before"),
    _flag("finish", 110, "1: the sum ends here: it is written to `sum_dst` as fp32"),
    _flag(
        "overlap",
        111,
        "1: may read the scratchpad before earlier activation instructions have written to it",
    ),
    Field(
        name="sum_dst",
        offset=112,
        width=16,
        default=0,
        doc="scratchpad address of the sum, words; a multiple of 2; if used",
    ),
    Field(
        name="scale",
        offset=128,
        width=32,
        default=FP32.one,
        doc="fp32 pattern, or address of an fp32; default 1",
    ),
    Field(
        name="bias",
        offset=160,
        width=32,
        default=FP32.sign_mask,
        doc="fp32 pattern, or address of an fp32; default -0, which changes no x",
    ),
    Field(
        name="function",
        offset=192,
        width=10,
        maximum=_last_entry,
        doc="index of the function's first descriptor",
    ),
    Field(
        name="low", offset=202, width=10, signed=True, default=0, doc="n of the fifth descriptor"
    ),
    DESTINATION,
    Field(
        name="dst_stride",
        offset=232,
        width=12,
        signed=True,
        default=1,
        doc="step from result to result, words (fp32: 2)",
    ),
)

ACTIVATION = (
    Instruction(
        mnemonic="activation.sync",
        opcode=0x30,
        granules=1,
        doc=(
            "Only wait and signal; signals when all earlier activation instructions are complete."
        ),
    ),
    Instruction(
        mnemonic="activation.apply",
        opcode=0x31,
        granules=2,
        doc=(
            "For i = 0 .. columns - 1, in every partition: `f(x[i] * scale + bias)`, cast to"
            " `format` and written to `dst + i * dst_stride`. The function is described by its"
            " descriptors and by `exp`, `parity`, `odd`, `log` and `low` (numerics, section 5.5)."
        ),
        payload=_APPLY,
    ),
    Instruction(
        mnemonic="activation.table",
        opcode=0x32,
        granules=1,
        doc=(
            "Load entries or descriptors of the function table from the scratchpad, for all lanes."
            " An entry is 16 bytes: the words of partitions 0 to 3 at an address and at the next;"
            " a descriptor 4 bytes: the words of partitions 0 and 1 at an address. Their fields are"
            " in numerics, section 5.5."
        ),
        payload=(
            Field(
                name="kind",
                offset=PAYLOAD_OFFSET,
                width=1,
                names=TableKind,
                doc="which part of the table",
            ),
            Field(
                name="first",
                offset=49,
                width=10,
                maximum=_last_entry,
                default=0,
                doc="index of the first that is loaded",
            ),
            Field(name="addr", offset=64, width=16, doc="scratchpad address, words"),
            Field(
                name="count",
                offset=80,
                width=11,
                minimum=one,
                maximum=lambda config: config.activation_entries,
                doc="how many; indices wrap",
            ),
        ),
    ),
)
