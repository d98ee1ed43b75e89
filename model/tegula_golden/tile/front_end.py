"""Front end of the functional tile: fetch and dispatch of a program."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from tegula.config import TileConfig
from tegula.isa.codec import Decoded, check, decode
from tegula.isa.instructions import GRANULE_BYTES, Engine, by_opcode
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.bus import Bus
from tegula_golden.tile.fetch import FetchedBeats
from tegula_golden.tile.loops import Loops, Registers, sums
from tegula_golden.tile.state import EngineTrap

__all__ = ["FrontEnd", "Queued", "Stop", "stop"]

_MAX_PROGRAM_BYTES = GRANULE_BYTES << 20


class Stop(Exception):
    """The program ends with this record."""

    def __init__(self, record: TrapRecord):
        super().__init__(str(record))
        self.record = record


def stop(cause: Trap, engine: Engine, pc: int, address: int, ordinal: int = 0) -> Stop:
    """The end of a program by a trap."""
    return Stop(TrapRecord(cause=cause, engine=engine, pc=pc, address=address, ordinal=ordinal))


@dataclass(frozen=True)
class Queued:
    """An instruction: byte offset in the program, what it says, its number in its engine."""

    pc: int
    decoded: Decoded
    ordinal: int


@lru_cache(maxsize=1 << 14)
def _legal(word: bytes, config: TileConfig) -> Decoded | None:
    """The instruction, or None if a field is illegal on this tile."""
    return decode(word) if check(word, config) is Trap.NONE else None


_Step = Callable[["FrontEnd", dict[str, int]], int | None]
"""Execution of an instruction of control: the byte offset to go on at, or None: behind it."""


class FrontEnd:
    """Fetch and dispatch: the program in its order, with its loops, instruction by instruction."""

    def __init__(self, config: TileConfig, bus: Bus, program: int, program_bytes: int):
        if not 0 < program_bytes <= _MAX_PROGRAM_BYTES:
            raise stop(Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0)
        if not bus.in_window(program, program_bytes):
            raise stop(Trap.MEMORY_WINDOW, Engine.CONTROL, 0, program)
        self._config, self._bus = config, bus
        self._bytes = program_bytes
        self._fetched = program_bytes
        failure = bus.first_failure(program, program_bytes)
        if failure is not None:
            beat, self._failure = failure
            self._fetched = max(beat - program, 0) // GRANULE_BYTES * GRANULE_BYTES
            self._failing_burst = bus.burst(program, beat)
        start = program - bus.base
        self._program = bus.memory[start : start + self._fetched].tobytes()
        self._beats = FetchedBeats(config, program, program_bytes // GRANULE_BYTES)
        bus.read_beats += self._beats.count
        self._offset = 0
        self._next: Queued | None = None
        self._loops, self._registers = Loops(), Registers()
        self._counts = dict.fromkeys(Engine, 0)
        """Instructions of each engine that are dispatched, of control those that are executed."""
        self._relative: dict[str, int] = {}
        """Fields of a `control.relative` that concern the next instruction."""

    def peek(self) -> Queued:
        """The next instruction that is an engine's, `halt` or `control.read`.

        It is the same until `advance`, with the sums of its fields and registers; those of control
        before it are executed. Raises `Stop` where the next instruction traps.
        """
        while self._next is None:
            queued = self._decode()
            step = self._steps.get(queued.decoded.mnemonic)
            if step is None:
                self._next = queued
            else:
                self._try(queued, step)
        return self._next

    def advance(self) -> None:
        """Go on behind the instruction of `peek`."""
        assert self._next is not None
        self._counts[self._next.decoded.instruction.engine] += 1
        self._offset += self._next.decoded.size
        self._next, self._relative = None, {}

    def read(self) -> None:
        """Execute the `control.read` of `peek`, and go on behind it. Raises `Stop` if it traps."""
        queued = self.peek()
        self._try(queued, FrontEnd._read)
        self._next = None

    def _decode(self) -> Queued:
        """The instruction at the program counter, with the sums of its fields and registers."""
        pc = self._offset
        self._need(pc)
        opcode = self._program[pc]
        row = by_opcode(opcode)
        if row is None or not row.exists(self._config):
            raise self._fault(Trap.ILLEGAL_OPCODE, pc, opcode)
        end = pc + row.granules * GRANULE_BYTES
        self._need(end - GRANULE_BYTES)
        code = self._program[pc:end]
        if self._relative:
            word = int.from_bytes(code, "little")
            try:
                word = sums(word, row, self._relative, self._registers)
            except EngineTrap as trap:
                raise self._fault(trap.cause, pc, trap.address) from None
            code = word.to_bytes(len(code), "little")
        decoded = _legal(code, self._config)
        if decoded is None:
            raise self._fault(Trap.ILLEGAL_FIELD, pc, 0)
        return Queued(pc, decoded, self._counts[decoded.instruction.engine])

    def _try(self, queued: Queued, step: "_Step") -> None:
        """Execute an instruction of control, and go on where it says, or behind it."""
        try:
            target = step(self, queued.decoded.fields)
        except EngineTrap as trap:
            raise self._fault(trap.cause, queued.pc, trap.address) from None
        self._counts[Engine.CONTROL] += 1
        if queued.decoded.mnemonic != "control.relative":
            self._relative = {}
        self._offset = queued.pc + queued.decoded.size if target is None else target

    def _loop(self, fields: dict[str, int]) -> None:
        self._loops.begin(fields, self._registers, self._offset + GRANULE_BYTES)

    def _end(self, _fields: dict[str, int]) -> int | None:
        body = self._loops.end()
        if body is not None:
            before = self._beats.count
            self._beats.jump(self._offset // GRANULE_BYTES, body // GRANULE_BYTES)
            self._bus.read_beats += self._beats.count - before
        return body

    def _add(self, fields: dict[str, int]) -> None:
        self._registers.add(fields)

    def _set_relative(self, fields: dict[str, int]) -> None:
        self._relative = fields

    def _read(self, fields: dict[str, int]) -> None:
        address, size = fields["mem_addr"], 8 if fields["bytes8"] else 4
        if not self._bus.in_window(address, size):
            raise EngineTrap(Trap.MEMORY_WINDOW, address)
        failure = self._bus.first_failure(address, size)
        if failure is not None:
            raise EngineTrap(failure[1], address)
        start = address - self._bus.base
        number = self._bus.memory[start : start + size].tobytes()
        self._registers[fields["register"]] = int.from_bytes(number, "little")
        self._bus.read_beats += 1

    _steps: ClassVar = {
        "control.loop": _loop,
        "control.end": _end,
        "control.add": _add,
        "control.relative": _set_relative,
    }

    def _need(self, granule: int) -> None:
        """The granule at this byte offset, and all before it, must have been fetched."""
        if granule < self._fetched:
            return
        if self._fetched < self._bytes:
            raise self._fault(self._failure, self._fetched, self._failing_burst)
        raise self._fault(Trap.PROGRAM_END, self._bytes, 0)

    def _fault(self, cause: Trap, pc: int, address: int) -> Stop:
        return stop(cause, Engine.CONTROL, pc, address, self._counts[Engine.CONTROL])
