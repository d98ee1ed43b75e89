"""A program, as far as a profile has to know it."""

from dataclasses import dataclass

import numpy as np

from tegula.isa.codec import Decoded, decodable_instructions
from tegula.isa.instructions import ENGINES, GRANULE_BYTES, Engine
from tegula_golden.array_types import Integers

__all__ = ["ProgramMap", "map_program"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProgramMap:
    """A program by position; positions are granules.

    Attributes
    ----------
    decoded
        Position -> instruction.
    count
        Instructions of each engine, `Engine.CONTROL` included.
    waits : integers, shape (granules + 1,)
        The semaphore that the instruction at each position waits on.
    signallers
        Semaphore -> engines that signal it.
    """

    decoded: dict[int, Decoded]
    count: dict[Engine, int]
    waits: Integers
    signallers: dict[int, tuple[Engine, ...]]


def map_program(program: bytes) -> ProgramMap:
    """The instructions up to `halt`, the end, or what cannot be decoded: none beyond can begin."""
    decoded: dict[int, Decoded] = {}
    count = dict.fromkeys((Engine.CONTROL, *ENGINES), 0)
    waits = np.zeros(len(program) // GRANULE_BYTES + 1, np.int64)
    signallers: dict[int, set[Engine]] = {}
    for offset, instruction in decodable_instructions(program):
        position, engine = offset // GRANULE_BYTES, instruction.instruction.engine
        decoded[position] = instruction
        count[engine] += 1
        if instruction.mnemonic == "halt":
            break
        waits[position] = instruction.fields.get("wait_sem", 0)
        if instruction.fields.get("signal"):
            signallers.setdefault(instruction.fields["signal_sem"], set()).add(engine)
    return ProgramMap(
        decoded=decoded,
        count=count,
        waits=waits,
        signallers={semaphore: tuple(sorted(found)) for semaphore, found in signallers.items()},
    )
