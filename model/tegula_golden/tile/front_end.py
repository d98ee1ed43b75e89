"""Front end of the functional tile: fetch and dispatch of a program."""

from dataclasses import dataclass
from functools import lru_cache

from tegula.config import TileConfig
from tegula.isa.codec import Decoded, check, decode
from tegula.isa.instructions import GRANULE_BYTES, Engine, by_opcode
from tegula.isa.traps import Trap, TrapRecord
from tegula_golden.tile.bus import Bus

__all__ = ["FrontEnd", "Queued", "Stop", "stop"]

_MAX_PROGRAM_BYTES = GRANULE_BYTES << 20


class Stop(Exception):
    """The program ends with this record."""

    def __init__(self, record: TrapRecord):
        super().__init__(str(record))
        self.record = record


def stop(cause: Trap, engine: Engine, pc: int, address: int) -> Stop:
    """The end of a program by a trap."""
    return Stop(TrapRecord(cause=cause, engine=engine, pc=pc, address=address))


@dataclass(frozen=True)
class Queued:
    """A dispatched instruction: byte offset in the program, and what it says."""

    pc: int
    decoded: Decoded


@lru_cache(maxsize=1 << 14)
def _legal(word: bytes, config: TileConfig) -> Decoded | None:
    """The instruction, or None if a field is illegal on this tile."""
    return decode(word) if check(word, config) is Trap.NONE else None


class FrontEnd:
    """Fetch and dispatch: the program in order, instruction by instruction."""

    def __init__(self, config: TileConfig, bus: Bus, program: int, program_bytes: int):
        if not 0 < program_bytes <= _MAX_PROGRAM_BYTES:
            raise stop(Trap.ILLEGAL_FIELD, Engine.CONTROL, 0, 0)
        if not bus.in_window(program, program_bytes):
            raise stop(Trap.MEMORY_WINDOW, Engine.CONTROL, 0, program)
        self._config = config
        self._bytes = program_bytes
        self._fetched = program_bytes
        failure = bus.first_failure(program, program_bytes)
        if failure is not None:
            beat, self._failure = failure
            self._fetched = max(beat - program, 0) // GRANULE_BYTES * GRANULE_BYTES
            self._failing_burst = bus.burst(program, beat)
        start = program - bus.base
        self._program = bus.memory[start : start + self._fetched].tobytes()
        bus.read_beats += -(-program_bytes // bus.beat_bytes)
        self._offset = 0

    def peek(self) -> Queued:
        """The next instruction; the same until `advance`. Raises `Stop` where it is none."""
        pc = self._offset
        self._need(pc)
        opcode = self._program[pc]
        row = by_opcode(opcode)
        if row is None or not row.exists(self._config):
            raise stop(Trap.ILLEGAL_OPCODE, Engine.CONTROL, pc, opcode)
        end = pc + row.granules * GRANULE_BYTES
        self._need(end - GRANULE_BYTES)
        decoded = _legal(self._program[pc:end], self._config)
        if decoded is None:
            raise stop(Trap.ILLEGAL_FIELD, Engine.CONTROL, pc, 0)
        return Queued(pc, decoded)

    def advance(self, size: int) -> None:
        """Go on behind an instruction of `size` bytes."""
        self._offset += size

    def _need(self, granule: int) -> None:
        """The granule at this byte offset, and all before it, must have been fetched."""
        if granule < self._fetched:
            return
        if self._fetched < self._bytes:
            raise stop(self._failure, Engine.CONTROL, self._fetched, self._failing_burst)
        raise stop(Trap.PROGRAM_END, Engine.CONTROL, self._bytes, 0)
