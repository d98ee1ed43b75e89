"""Instructions of the activation engine."""

from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.isa.common import Instruction, element_payload, overlap, sync
from tegula.isa.fields import PAYLOAD_OFFSET, Engine, Field
from tegula.isa.kinds import (
    choice,
    count,
    element_format,
    flag,
    half,
    limited,
    packed_flag,
    sbuf_address,
    scalar,
    step,
)
from tegula.isa.operations import TableKind

__all__ = ["ACTIVATION"]

_INDEX_BITS = 10
"""Bits of an index of the function table."""


def _entries(config: TileConfig) -> int:
    return config.activation_entries


def _last_entry(config: TileConfig) -> int:
    return config.activation_entries - 1


_APPLY = element_payload(
    element_format("format", 54, "result format", fp32=True),
    flag("exp", 58, "reduction of the argument: 0 `float`, 1 `exp`"),
    flag("parity", 59, "1: descriptors by the parity of n"),
    flag("odd", 73, "1: f(-z) = -f(z)"),
    flag("log", 74, "1: add n * ln 2"),
    element_format("x_format", 75, "format of x", fp32=True, default=FP32.code),
    sbuf_address("x_addr", 78, "scratchpad address of x, words"),
    step("x_stride", 94, "step from element to element, words (fp32: 2)"),
    flag("scale_partition", 106, "1: the low 16 bits of `scale` are the address of an fp32"),
    flag("bias_partition", 107, "1: the low 16 bits of `bias` are the address of an fp32"),
    flag("sum", 108, "1: add up the results too, before they are cast"),
    flag("proceed", 109, "1: the sum goes on from the partial sums of the one before"),
    flag("finish", 110, "1: the sum ends here: it is written to `sum_dst` as fp32"),
    overlap(111, "activation instructions"),
    sbuf_address(
        "sum_dst",
        112,
        "scratchpad address of the sum, words; a multiple of 2; if used",
        default=0,
    ),
    scalar("scale", 128, "fp32 pattern, or address of an fp32; default 1", default=FP32.one),
    scalar(
        "bias",
        160,
        "fp32 pattern, or address of an fp32; default -0, which changes no x",
        default=FP32.sign_mask,
    ),
    Field(
        name="function",
        offset=192,
        width=_INDEX_BITS,
        maximum=_last_entry,
        doc="index of the function's first descriptor",
    ),
    step("low", 202, "n of the fifth descriptor", width=10, default=0),
    step("dst_stride", 232, "step from result to result, words (fp32: 2)"),
    half(244, "bytes of a word that a result takes (8-bit formats)"),
    packed_flag("x_high", 246, "1: x is the high byte of its word (8-bit formats)"),
)

ACTIVATION = (
    sync(Engine.ACTIVATION, "activation instructions"),
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
            choice("kind", PAYLOAD_OFFSET, TableKind, "which part of the table", default=None),
            limited("first", 49, _INDEX_BITS, _last_entry, "index of the first that is loaded"),
            sbuf_address("addr", 64, "scratchpad address, words"),
            count("count", 80, _INDEX_BITS + 1, "how many; indices wrap", maximum=_entries),
        ),
    ),
)
