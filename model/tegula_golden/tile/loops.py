"""Loops and registers of a running program, and sums of registers and fields."""

from collections.abc import Mapping
from dataclasses import dataclass

from tegula.isa.instructions import (
    LOOP_COUNT_BITS,
    LOOP_DEPTH,
    REGISTER_BITS,
    REGISTERS,
    RELATIVE_SLOTS,
    Field,
    Instruction,
)
from tegula.isa.traps import Trap
from tegula_golden.tile.state import EngineTrap

__all__ = ["Loops", "Registers", "sums"]

_MODULUS = 1 << REGISTER_BITS
_READ = "control.read"


class Registers:
    """Registers of a program, zero at its start: unsigned, modulo 2**48."""

    def __init__(self) -> None:
        self._values = [0] * REGISTERS

    def __getitem__(self, number: int) -> int:
        return self._values[number]

    def __setitem__(self, number: int, value: int) -> None:
        self._values[number] = value % _MODULUS

    def add(self, fields: Mapping[str, int]) -> None:
        """Execute a `control.add`."""
        source = 0 if fields["zero"] else self[fields["source"]]
        self[fields["register"]] = source + fields["value"]

    def signed(self, number: int) -> int:
        """The register as a two's complement number."""
        value = self[number]
        return value - _MODULUS if value >= _MODULUS // 2 else value


@dataclass
class _Loop:
    """An open loop: byte offset of its body, iterations, and those left, this one included."""

    body: int
    count: int
    left: int


class Loops:
    """Open loops of a program, the innermost last."""

    def __init__(self) -> None:
        self._open: list[_Loop] = []

    @property
    def iterations(self) -> tuple[tuple[int, int], ...]:
        """Number of the iteration of each open loop, from 0 on, and its iterations."""
        return tuple((loop.count - loop.left, loop.count) for loop in self._open)

    def begin(self, fields: Mapping[str, int], registers: Registers, body: int) -> None:
        """Execute a `control.loop` whose body is at byte `body`; an `EngineTrap` if it traps."""
        if len(self._open) == LOOP_DEPTH:
            raise EngineTrap(Trap.LOOP_NESTING, LOOP_DEPTH)
        count = registers[fields["register"]] if fields["from_register"] else fields["count"]
        if not 0 < count < 1 << LOOP_COUNT_BITS:
            raise EngineTrap(Trap.RELATIVE_RANGE, 0)
        self._open.append(_Loop(body, count, count))

    def end(self) -> int | None:
        """Execute a `control.end`: the byte offset to go on at, or None: behind it.

        It is an `EngineTrap` where no loop is open.
        """
        if not self._open:
            raise EngineTrap(Trap.LOOP_NESTING, 0)
        loop = self._open[-1]
        loop.left -= 1
        if loop.left:
            return loop.body
        self._open.pop()
        return None


def _fits(field: Field, value: int, row: Instruction, word: int) -> bool:
    """True if a sum is a value of the field, and of `control.read` a multiple of the size."""
    if not field.low <= value <= field.high:
        return False
    if row.mnemonic != _READ:
        return True
    bytes8 = next(field for field in row.payload if field.name == "bytes8")
    return value % (8 if word >> bytes8.offset & 1 else 4) == 0


def sums(word: int, row: Instruction, relative: Mapping[str, int], registers: Registers) -> int:
    """The instruction word with the sums of its fields and the registers of `relative`.

    Parameters
    ----------
    relative
        Fields of the `control.relative` before it.

    Raises
    ------
    EngineTrap
        ILLEGAL_FIELD where it has no such fields; RELATIVE_RANGE at the first slot whose sum does
        not fit.
    """
    slots = [slot for slot in range(RELATIVE_SLOTS) if relative[f"enable{slot}"]]
    fields = row.relative_fields
    if slots and slots[-1] >= len(fields):
        raise EngineTrap(Trap.ILLEGAL_FIELD, 0)
    for slot in slots:
        field = fields[slot]
        mask = (1 << field.width) - 1
        value = word >> field.offset & mask
        value += registers.signed(relative[f"register{slot}"])
        if not field.wraps and not _fits(field, value, row, word):
            raise EngineTrap(Trap.RELATIVE_RANGE, slot)
        word = word & ~(mask << field.offset) | (value & mask) << field.offset
    return word
