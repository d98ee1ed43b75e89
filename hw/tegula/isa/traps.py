"""Causes of traps, and the record of a trap."""

from dataclasses import dataclass
from enum import IntEnum

from tegula.isa.instructions import Engine

__all__ = ["CAUSE_BITS", "TRAP_DOCS", "Trap", "TrapRecord"]


class Trap(IntEnum):
    """Cause of a trap, as the host reads it; `TRAP_DOCS` says what its address register holds."""

    NONE = 0
    ILLEGAL_OPCODE = 1
    ILLEGAL_FIELD = 2
    SBUF_RANGE = 3
    SBUF_ALIGNMENT = 4
    PSUM_RANGE = 5
    PSUM_UNWRITTEN = 6
    MEMORY_WINDOW = 7
    BUS_SLVERR = 8
    BUS_DECERR = 9
    SEMAPHORE_OVERFLOW = 10
    DEADLOCK = 11
    PROGRAM_END = 12
    ABORTED = 13
    MEMORY_ALIGNMENT = 14
    PACKED_FORMATS = 15
    LOOP_NESTING = 16
    RELATIVE_RANGE = 17


CAUSE_BITS = max(Trap).bit_length()

TRAP_DOCS = {
    Trap.NONE: ("no trap", "0"),
    Trap.ILLEGAL_OPCODE: ("the opcode is not in the table", "the opcode"),
    Trap.ILLEGAL_FIELD: (
        (
            "a field is out of its limits, fields are illegal together, or an unclaimed bit is 1;"
            " the program's address or size is illegal"
        ),
        "0",
    ),
    Trap.SBUF_RANGE: (
        "a scratchpad address or partition does not exist",
        "the address, 20 bits two's complement",
    ),
    Trap.SBUF_ALIGNMENT: (
        (
            "a number of two words is at an odd address; a line of transposed results does not"
            " begin at a multiple of N; a run in layout `free` does not begin on a scratchpad line"
            " (bus width / 16 words), or has an odd number of words to accumulate as fp32"
        ),
        "the address",
    ),
    Trap.PSUM_RANGE: (
        "a PSUM address does not exist",
        "the address, 20 bits two's complement",
    ),
    Trap.PSUM_UNWRITTEN: (
        "accumulation onto, or a read of, a PSUM word that this program has not written",
        "the address",
    ),
    Trap.MEMORY_WINDOW: (
        "a memory access is not inside the window that the host opened",
        "byte address of the run's first byte (fetch: of the program)",
    ),
    Trap.BUS_SLVERR: ("memory answered SLVERR", "byte address of the burst"),
    Trap.BUS_DECERR: ("memory answered DECERR", "byte address of the burst"),
    Trap.SEMAPHORE_OVERFLOW: ("a signal would carry a semaphore past its width", "the semaphore"),
    Trap.DEADLOCK: (
        "every engine that has work waits on a semaphore, and has for the watchdog's time",
        "the semaphore that the first such engine waits on",
    ),
    Trap.PROGRAM_END: ("the program ended without `halt`", "0"),
    Trap.ABORTED: ("the host requested a stop", "0"),
    Trap.MEMORY_ALIGNMENT: (
        "a run of a `store.dma` that accumulates does not begin at a multiple of the number's size",
        "byte address of the run's first byte",
    ),
    Trap.PACKED_FORMATS: (
        (
            "a matmul of two packed operands in formats whose products are no integers of the"
            " accumulator (numerics, section 3.10), or of a scaled operand and one of bf16 (3.11)"
        ),
        "scratchpad address of the moving operand's first column",
    ),
    Trap.LOOP_NESTING: (
        "`control.end` without an open loop, or `control.loop` in as many loops as can be open",
        "the number of open loops",
    ),
    Trap.RELATIVE_RANGE: (
        (
            "the sum of a field and a register does not fit the field (`control.read`: is no"
            " multiple of the size); a register is no number of iterations"
        ),
        "the slot of `control.relative` (a number of iterations: 0)",
    ),
}
"""Cause -> (meaning, content of the trap address register)."""


@dataclass(frozen=True, kw_only=True)
class TrapRecord:
    """Record of a trap by a tile: `pc` is a byte offset in the program.

    `ordinal` counts the instructions of the engine that come before the one that trapped, each as
    often as it is executed; of control those that are no engine's. It is 0 where no instruction
    trapped (an abort, an overflow).
    """

    cause: Trap
    engine: Engine
    pc: int
    address: int
    ordinal: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cause.name} in engine {self.engine.name.lower()} at program byte {self.pc},"
            f" address {self.address:#x}"
        )
