"""Instructions of control: end of the program, loops, registers that fields are relative to."""

from tegula.isa.common import Instruction, NoMultiple
from tegula.isa.fields import (
    LOOP_COUNT_BITS,
    PAYLOAD_OFFSET,
    REGISTER_BITS,
    REGISTERS,
    RELATIVE_SLOTS,
    Field,
)
from tegula.isa.kinds import count, flag, memory_address

__all__ = ["CONTROL"]

_NUMBER_BITS = (REGISTERS - 1).bit_length()
_SLOT_BITS = 8
"""Bits from a slot of `control.relative` to the next."""


def _register(name: str, offset: int, doc: str, *, default: int | None = 0) -> Field:
    """The number of a register."""
    return Field(name=name, offset=offset, width=_NUMBER_BITS, default=default, doc=doc)


def _slot(number: int) -> tuple[Field, Field]:
    """A slot of `control.relative`: its register, and whether it has one."""
    offset = PAYLOAD_OFFSET + _SLOT_BITS * number
    return (
        _register(f"register{number}", offset, f"register of slot {number}"),
        flag(f"enable{number}", offset + _NUMBER_BITS, f"1: slot {number} adds its register"),
    )


CONTROL = (
    Instruction(
        mnemonic="halt",
        opcode=0x01,
        granules=1,
        doc="Wait until every engine is idle, then raise the interrupt. The last instruction.",
    ),
    Instruction(
        mnemonic="control.loop",
        opcode=0x02,
        granules=1,
        doc=(
            "Execute what follows, up to the `control.end` of this loop, `count` times, or as often"
            " as a register says (1 to 2^24 - 1)."
        ),
        payload=(
            count("count", PAYLOAD_OFFSET, LOOP_COUNT_BITS, "number of iterations", default=1),
            flag("from_register", 72, "1: `register` holds the number of iterations"),
            _register("register", 76, "register that holds the number; if used"),
        ),
    ),
    Instruction(
        mnemonic="control.end",
        opcode=0x03,
        granules=1,
        doc=(
            "End of the innermost open loop's body: go on behind its `control.loop` while"
            " iterations remain, else here."
        ),
    ),
    Instruction(
        mnemonic="control.add",
        opcode=0x04,
        granules=1,
        doc="register = source + value, modulo 2^48.",
        payload=(
            _register("register", PAYLOAD_OFFSET, "register that is written", default=None),
            _register("source", PAYLOAD_OFFSET + _NUMBER_BITS, "register that is added to"),
            flag("zero", 56, "1: 0 takes the place of `source`: the register is set to `value`"),
            Field(
                name="value",
                offset=64,
                width=REGISTER_BITS,
                signed=True,
                default=0,
                doc="what is added",
            ),
        ),
    ),
    Instruction(
        mnemonic="control.read",
        opcode=0x05,
        granules=1,
        doc=(
            "register = a number of memory, little-endian; what follows is dispatched when it is"
            " there."
        ),
        payload=(
            memory_address(PAYLOAD_OFFSET, "memory address, in bytes; a multiple of the size"),
            _register("register", 96, "register that is written", default=None),
            flag("bytes8", 100, "0: 4 bytes, zero-extended; 1: the low 48 bits of 8 bytes"),
        ),
        forbidden=(
            (("mem_addr", NoMultiple(4)),),
            (("bytes8", (1,)), ("mem_addr", NoMultiple(8))),
        ),
        waits=True,
    ),
    Instruction(
        mnemonic="control.relative",
        opcode=0x06,
        granules=1,
        doc=(
            "Add registers to fields of the next instruction, an engine's or `control.read`: that"
            " of slot i to its i-th relative field."
        ),
        payload=tuple(field for number in range(RELATIVE_SLOTS) for field in _slot(number)),
    ),
)
