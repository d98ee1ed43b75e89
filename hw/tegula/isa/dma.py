"""Instructions of the two DMA engines."""

from tegula.isa.common import Instruction, sync
from tegula.isa.fields import CODE_BITS, PAYLOAD_OFFSET, Engine, Field, Layout
from tegula.isa.kinds import (
    choice,
    count,
    flag,
    half,
    memory_address,
    partition_number,
    partition_step,
    sbuf_address,
    step,
)
from tegula.isa.operations import Accumulate, Half

__all__ = ["DMA"]

_AXES = (1, 2, 3)
"""Axes of runs; the first is the fastest."""


def _steps(name: str, offset: int, width: int, doc: str) -> tuple[Field, ...]:
    """A step for each axis, behind that of an axis 0; the braces of `doc` become the axis."""
    return tuple(
        step(f"{name}{axis}", offset + width * axis, doc.format(axis), width=width, default=0)
        for axis in _AXES
    )


_DMA_PAYLOAD = (
    memory_address(PAYLOAD_OFFSET, "memory address of the first run, in bytes"),
    count(
        "run", 96, 16, "contiguous elements of a run (fp32 to accumulate: two each, an even number)"
    ),
    *(
        count(
            f"count{axis}",
            96 + 16 * axis,
            16,
            f"runs along axis {axis}" + (" (the fastest)" if axis == 1 else ""),
            default=1,
        )
        for axis in _AXES
    ),
    *_steps("mem_stride", 128, 32, "memory step of axis {}, in bytes"),
    sbuf_address("sbuf_addr", 256, "scratchpad address of the first run, words"),
    step(
        "sbuf_stride0",
        272,
        "scratchpad step every N elements of a run (layout `partition`), words",
        width=16,
        default=0,
    ),
    *_steps("sbuf_stride", 272, 16, "scratchpad step of axis {}, words"),
    partition_number(
        "partition",
        336,
        "partition of the first run (layout `free`; ignored in layout `partition`)",
    ),
    *(
        partition_step(
            f"partition_stride{axis}",
            336 + 6 * axis,
            f"partition step of axis {axis} (layout `free`; ignored in layout `partition`)",
        )
        for axis in _AXES
    ),
    choice(
        "layout",
        360,
        Layout,
        "0 `free`: a run lies along one partition; 1 `partition`: across the partitions",
        default=None,
    ),
    flag(
        "bytes1",
        361,
        "0: elements of two bytes; 1: of one byte, in the low half of a word (high half zero)",
    ),
    choice(
        "accumulate",
        362,
        Accumulate,
        "0: overwrite the destination; else add to it, numbers of this format (not with"
        " `bytes1`; fp32 only in layout `free`)",
    ),
    half(
        364,
        "with `bytes1`: byte of a word that an element is, which a load writes alone; 0: the low"
        " one, and a load clears the high one",
    ),
)

_DMA_FORBIDDEN = (
    (("half", (Half.LOW, Half.HIGH)), ("bytes1", (0,))),
    (("accumulate", (Accumulate.BF16, Accumulate.FP32)), ("bytes1", (1,))),
    (("accumulate", (Accumulate.FP32,)), ("layout", (Layout.PARTITION,))),
)


def _dma(engine: Engine, doc: str) -> Instruction:
    """The instruction of one of the engines that moves data."""
    return Instruction(
        mnemonic=f"{engine.name.lower()}.dma",
        opcode=engine << CODE_BITS | 1,
        granules=4,
        doc=doc,
        payload=_DMA_PAYLOAD,
        forbidden=_DMA_FORBIDDEN,
    )


DMA = (
    sync(Engine.LOAD, "loads"),
    _dma(Engine.LOAD, "Copy runs of memory into the scratchpad, or add them to what it holds."),
    sync(Engine.STORE, "stores"),
    _dma(
        Engine.STORE,
        "Copy runs of the scratchpad into memory, or add them to what it holds; done when"
        " memory has acknowledged all of it.",
    ),
)
