"""Instructions of the two DMA engines."""

from tegula.isa.fields import (
    MEMORY_ADDRESS_BITS,
    PAYLOAD_OFFSET,
    Field,
    Instruction,
    Layout,
    one,
    partitions,
)
from tegula.isa.operations import Accumulate

__all__ = ["DMA"]

_DMA_PAYLOAD = (
    Field(
        name="mem_addr",
        offset=PAYLOAD_OFFSET,
        width=MEMORY_ADDRESS_BITS,
        doc="memory address of the first run, in bytes",
    ),
    Field(
        name="run",
        offset=96,
        width=16,
        minimum=one,
        doc="contiguous elements of a run (fp32 to accumulate: two each, an even number)",
    ),
    *(
        Field(
            name=f"count{axis}",
            offset=96 + 16 * axis,
            width=16,
            default=1,
            minimum=one,
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
            maximum=partitions,
            doc=f"partition step of axis {axis} (layout `free`; ignored in layout `partition`)",
        )
        for axis in (1, 2, 3)
    ),
    Field(
        name="layout",
        offset=360,
        width=1,
        names=Layout,
        doc="0 `free`: a run lies along one partition; 1 `partition`: across the partitions",
    ),
    Field(
        name="bytes1",
        offset=361,
        width=1,
        default=0,
        doc="0: elements of two bytes; 1: of one byte, in the low half of a word (high half zero)",
    ),
    Field(
        name="accumulate",
        offset=362,
        width=2,
        names=Accumulate,
        default=Accumulate.NONE,
        doc=(
            "0: overwrite the destination; else add to it, numbers of this format (not with"
            " `bytes1`; fp32 only in layout `free`)"
        ),
    ),
)

_DMA_FORBIDDEN = (
    (("accumulate", (Accumulate.BF16, Accumulate.FP32)), ("bytes1", (1,))),
    (("accumulate", (Accumulate.FP32,)), ("layout", (Layout.PARTITION,))),
)

DMA = (
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
        doc="Copy runs of memory into the scratchpad, or add them to what it holds.",
        payload=_DMA_PAYLOAD,
        forbidden=_DMA_FORBIDDEN,
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
        doc=(
            "Copy runs of the scratchpad into memory, or add them to what it holds; done when"
            " memory has acknowledged all of it."
        ),
        payload=_DMA_PAYLOAD,
        forbidden=_DMA_FORBIDDEN,
    ),
)
