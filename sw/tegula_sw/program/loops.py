"""Loops, registers and relative fields of a `Program`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tegula.isa.codec import FieldValue
from tegula.isa.instructions import LOOP_COUNT_BITS, LOOP_DEPTH, REGISTERS, Instruction
from tegula_golden.arguments import check_integer

if TYPE_CHECKING:
    from tegula_sw.program.program import Program, Wait

__all__ = ["LoopBuilder", "Register", "relative_slots"]


@dataclass(frozen=True)
class Register:
    """A register of a `Program`; zero when the program starts."""

    name: str
    index: int


def relative_slots(row: Instruction, relative: Mapping[str, Register]) -> dict[str, FieldValue]:
    """Fields of the `control.relative` that adds registers to these fields of an instruction.

    Raises
    ------
    ValueError
        If one is no relative field of the instruction, or no register.
    """
    names = [field.name for field in row.relative_fields]
    fields: dict[str, FieldValue] = {}
    for name, register in relative.items():
        if name not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"{row.mnemonic}: {name} is no relative field ({known})")
        if not isinstance(register, Register):
            raise ValueError(f"{row.mnemonic}: {name} takes a Register, not {register!r}")
        slot = names.index(name)
        fields |= {f"enable{slot}": 1, f"register{slot}": register.index}
    return fields


class LoopBuilder:
    """Instructions of control that a `Program` appends: a part of its interface.

    Parameters
    ----------
    program
        To which they are appended.
    """

    def __init__(self, program: "Program"):
        self._program = program
        self._registers: dict[str, Register] = {}
        self._depth = 0

    def register(self, name: str) -> Register:
        """Allocate the next free register under a name of its own.

        Raises
        ------
        ValueError
            If the name is taken or none is left.
        """
        if name in self._registers:
            raise ValueError(f"register {name!r} exists already")
        if len(self._registers) == REGISTERS:
            raise ValueError(f"no register is left for {name!r}: there are {REGISTERS}")
        register = Register(name, len(self._registers))
        self._registers[name] = register
        return register

    def set(self, register: Register, value: int) -> None:
        """Append ``register = value``."""
        self._program.emit("control.add", register=register.index, zero=1, value=value)

    def add(self, register: Register, value: int, *, source: Register | None = None) -> None:
        """Append ``register = source + value``; by default the source is the register itself."""
        index = (source or register).index
        self._program.emit("control.add", register=register.index, source=index, value=value)

    def read(
        self,
        register: Register,
        mem_addr: int,
        *,
        bytes8: bool = False,
        wait: "Wait | None" = None,
        relative: Mapping[str, Register] | None = None,
    ) -> None:
        """Append ``register =`` the number of 4 or 8 bytes at `mem_addr`."""
        self._program.emit(
            "control.read",
            wait=wait,
            relative=relative,
            mem_addr=mem_addr,
            register=register.index,
            bytes8=int(bytes8),
        )

    @contextmanager
    def loop(self, count: int | Register) -> Iterator[None]:
        """Append a loop around what is appended within.

        What the body adds to a semaphore, it adds in each iteration; of a loop whose `count` is a
        register, as if it had one. It must not consume more than it adds.

        Raises
        ------
        ValueError
            If too many loops are open, `count` is out of its limits, or the body consumes more of a
            semaphore than it adds.
        """
        if self._depth == LOOP_DEPTH:
            raise ValueError(f"at most {LOOP_DEPTH} loops can be open")
        if isinstance(count, Register):
            times = 1
            self._program.emit("control.loop", from_register=1, register=count.index)
        else:
            times = check_integer("count", count, 1, (1 << LOOP_COUNT_BITS) - 1)
            self._program.emit("control.loop", count=times)
        before = self._program.totals()
        self._depth += 1
        yield
        self._depth -= 1
        self._program.emit("control.end")
        self._program.repeat(before, times)
