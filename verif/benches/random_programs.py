"""Random programs over all engines, ordered by semaphores so that they mean what a list means."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import ENGINES, by_mnemonic
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.program import Program
from tegula_sw.program.schedule import Op
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, random_ops

__all__ = ["RandomProgram", "random_program", "serialise_ops"]


@dataclass(frozen=True, kw_only=True)
class RandomProgram:
    """A program at address `start`, behind the data."""

    code: bytes
    start: int = BASE + DATA_BYTES

    def image(self, noise: Callable[[int], np.ndarray]) -> np.ndarray:
        """Memory: noise, the program, and noise."""
        memory = noise(DATA_BYTES + len(self.code) + 256)
        memory[DATA_BYTES:][: len(self.code)] = np.frombuffer(self.code, np.uint8)
        return memory


def serialise_ops(config: TileConfig, ops: Iterable[Op]) -> bytes:
    """The program of `ops` in which an engine begins when the one before it is done.

    So it has a meaning even where it traps, or where a bit of it is changed.
    """
    program = Program(config)
    turns = {engine: program.semaphore(engine.name.lower()) for engine in ENGINES}
    before = None
    for op in ops:
        engine, wait = by_mnemonic(op.mnemonic).engine, None
        if before not in (None, engine):
            program.emit(f"{before.name.lower()}.sync", signal=turns[engine].add())
            wait = turns[engine].at_least(1, consume=True)
        program.emit(op.mnemonic, wait=wait, **op.fields)
        before = engine
    program.halt()
    return program.assemble()


def random_program(
    rng: np.random.Generator, config: TileConfig, count: int, *, serial: bool = False
) -> RandomProgram:
    """A program of `count` instructions and the semaphores between them; it ends well.

    Parameters
    ----------
    serial
        Whether one engine works at a time.
    """
    ops = random_ops(rng, config, count)
    assemble = serialise_ops if serial else assemble_ordered
    return RandomProgram(code=assemble(config, ops))
