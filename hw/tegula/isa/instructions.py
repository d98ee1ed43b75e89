"""Instruction words as tables.

A program is a sequence of 16-byte granules, little-endian, fetched in order. The low byte of an
instruction's first granule is its opcode; the opcode decides how many granules the instruction
has. Bits that no field claims must be zero. All of this is ours: published so that others can
build on it.
"""

from enum import IntEnum

from tegula.config import TileConfig
from tegula.isa.activation import ACTIVATION
from tegula.isa.common import HEADER, Instruction, NoMultiple
from tegula.isa.control import CONTROL
from tegula.isa.dma import DMA
from tegula.isa.fields import (
    CODE_BITS,
    ENGINE_BITS,
    ENGINES,
    GRANULE_BITS,
    GRANULE_BYTES,
    LOOP_COUNT_BITS,
    LOOP_DEPTH,
    MEMORY_ADDRESS_BITS,
    OPCODE_BITS,
    PARTITION_BITS,
    PAYLOAD_OFFSET,
    PC_BITS,
    REGISTER_BITS,
    REGISTERS,
    RELATIVE_SLOTS,
    SEMAPHORE_BITS,
    SIGNAL_VALUE_BITS,
    Engine,
    Field,
    Layout,
)
from tegula.isa.tensor import TENSOR
from tegula.isa.vector import VECTOR

__all__ = [
    "CODE_BITS",
    "ENGINES",
    "ENGINE_BITS",
    "GRANULE_BITS",
    "GRANULE_BYTES",
    "HEADER",
    "INSTRUCTIONS",
    "LOOP_COUNT_BITS",
    "LOOP_DEPTH",
    "MEMORY_ADDRESS_BITS",
    "OPCODE_BITS",
    "PARTITION_BITS",
    "PAYLOAD_OFFSET",
    "PC_BITS",
    "REGISTERS",
    "REGISTER_BITS",
    "RELATIVE_SLOTS",
    "SEMAPHORE_BITS",
    "SIGNAL_VALUE_BITS",
    "Engine",
    "Field",
    "Instruction",
    "Layout",
    "NoMultiple",
    "available",
    "by_mnemonic",
    "by_opcode",
    "codes",
]

INSTRUCTIONS = (
    *CONTROL,
    *TENSOR,
    *VECTOR,
    *ACTIVATION,
    *DMA,
)


def codes(engine: Engine) -> type[IntEnum]:
    """`Instruction.code` of an engine's instructions: ``codes(Engine.TENSOR).MATMUL``.

    The names are the mnemonics' second halves, in upper case.
    """
    return IntEnum(
        f"{engine.name.title()}Code",
        {
            instruction.mnemonic.partition(".")[2].upper(): instruction.code
            for instruction in INSTRUCTIONS
            if instruction.engine == engine
        },
    )


def available(config: TileConfig) -> tuple[Instruction, ...]:
    """The instructions that the tile of `config` has."""
    return tuple(instruction for instruction in INSTRUCTIONS if instruction.exists(config))


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
