"""Programs with loops, unrolled: each instruction as often as it is executed, with its sums."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tegula.isa.codec import Decoded, decode
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.loops import Loops, Registers, sums
from tegula_golden.tile.state import EngineTrap

__all__ = ["MAX_STEPS", "Step", "trap_text", "trapped_step", "unroll"]

MAX_STEPS = 1 << 20
"""Instructions that are unrolled at most: as many as a program without loops can have."""


@dataclass(frozen=True)
class Step:
    """One execution of an instruction.

    Attributes
    ----------
    offset
        Its first byte in the program.
    iterations
        (number, from 0 on, of how many) of each loop around it, the outermost first.
    decoded
        The instruction, with the sums of its fields and registers.
    """

    offset: int
    iterations: tuple[tuple[int, int], ...]
    decoded: Decoded

    def __str__(self) -> str:
        numbers = ", ".join(f"{number} of {count}" for number, count in self.iterations)
        where = f", iteration {numbers}" if numbers else ""
        return f"{self.decoded.mnemonic} at byte {self.offset}{where}"


def unroll(
    program: bytes,
    *,
    read: Callable[[int, int], int] | None = None,
    limit: int = MAX_STEPS,
) -> Iterator[Step]:
    """Instructions in the order of their execution, those of control too, up to the first `halt`.

    Parameters
    ----------
    program
        Its bytes.
    read
        ``read(address, size_bytes)``: the number that a `control.read` finds in memory.
    limit
        Instructions, each as often as it is executed, that are unrolled at most.

    Raises
    ------
    ValueError
        When an instruction is reached that cannot be decoded, of control would trap, or reads
        memory without `read`; or when there are more than `limit`.
    """
    try:
        code = bytes(memoryview(program))
    except TypeError:
        raise ValueError(f"program must be bytes, not {program!r}") from None
    return _Unrolling(code, read).steps(limit)


def trapped_step(
    program: bytes,
    record: TrapRecord,
    *,
    read: Callable[[int, int], int] | None = None,
    limit: int = MAX_STEPS,
) -> Step | None:
    """The execution of an instruction that a record of a trap is about.

    Its `iterations` are those of the loops around it. None where the record names no instruction of
    an engine: of control (whose trap is at `record.pc`, behind `record.ordinal` instructions of its
    own, each as often as it was executed), an abort, an overflow.

    Raises
    ------
    ValueError
        Where `unroll` does, if that comes before; if the program has no such execution.
    """
    if record.engine is Engine.CONTROL or record.cause is Trap.SEMAPHORE_OVERFLOW:
        return None
    number = 0
    for step in unroll(program, read=read, limit=limit):
        if step.decoded.instruction.engine is record.engine:
            if number == record.ordinal and step.offset == record.pc:
                return step
            number += 1
    raise ValueError(f"the program has no such execution: {record}")


def trap_text(
    program: bytes, record: TrapRecord, *, read: Callable[[int, int], int] | None = None
) -> str:
    """The record as text, with the iterations of the loops around the instruction if there are any.

    It raises as `trapped_step` does.
    """
    step = trapped_step(program, record, read=read)
    if step is None or not step.iterations:
        return str(record)
    numbers = ", ".join(f"{number} of {count}" for number, count in step.iterations)
    return f"{record}, iteration {numbers}"


class _Unrolling:
    """Loops and registers while a program is unrolled."""

    def __init__(self, program: bytes, read: Callable[[int, int], int] | None):
        self._program, self._read = program, read
        self._loops, self._registers = Loops(), Registers()
        self._relative: dict[str, int] = {}
        self._decoded: dict[int, Decoded] = {}
        """Instructions without sums, by their offset."""

    def steps(self, limit: int) -> Iterator[Step]:
        """The instructions, as `unroll` returns them."""
        offset = 0
        for _ in range(limit):
            if offset >= len(self._program):
                return
            step = Step(offset, self._loops.iterations, self._decode(offset))
            yield step
            if step.decoded.mnemonic == "halt":
                return
            try:
                offset = self._execute(step)
            except EngineTrap as trap:
                raise ValueError(f"{step}: it traps with {trap.cause.name}") from None
        raise ValueError(f"the program executes more than {limit} instructions")

    def _decode(self, offset: int) -> Decoded:
        decoded = self._decoded.get(offset)
        if decoded is None:
            decoded = self._decoded[offset] = decode(self._program, offset)
        if not self._relative:
            return decoded
        end = offset + decoded.size
        word = int.from_bytes(self._program[offset:end], "little")
        try:
            word = sums(word, decoded.instruction, self._relative, self._registers)
        except EngineTrap as trap:
            step = Step(offset, self._loops.iterations, decoded)
            raise ValueError(f"{step}: it traps with {trap.cause.name}") from None
        self._relative = {}
        return decode(word.to_bytes(decoded.size, "little"))

    def _execute(self, step: Step) -> int:
        """Execute an instruction of control; the offset of what follows."""
        fields, behind = step.decoded.fields, step.offset + step.decoded.size
        match step.decoded.mnemonic:
            case "control.loop":
                self._loops.begin(fields, self._registers, behind)
            case "control.end":
                body = self._loops.end()
                return behind if body is None else body
            case "control.add":
                self._registers.add(fields)
            case "control.relative":
                self._relative = fields
            case "control.read":
                if self._read is None:
                    raise ValueError(f"{step}: it reads memory, which is not given")
                self._registers[fields["register"]] = self._read(
                    fields["mem_addr"], 8 if fields["bytes8"] else 4
                )
        return behind
