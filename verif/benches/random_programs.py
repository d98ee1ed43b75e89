"""Random programs over all engines, ordered by semaphores so that they mean what a list means."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.codec import encode, instructions
from tegula.isa.instructions import ENGINES, by_mnemonic
from tegula_sw.program.ordering import assemble_ordered
from tegula_sw.program.program import Program
from tegula_sw.program.schedule import Op
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, random_ops

__all__ = ["RandomProgram", "random_program", "serialise_ops", "waiting_for_host"]


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


def waiting_for_host(
    rng: np.random.Generator, config: TileConfig, code: bytes
) -> tuple[bytes, list[tuple[int, int]]]:
    """The program, in which an engine waits a few times for the host, and what the host signals.

    A program that leaves no semaphore to the host is returned as it is.
    """
    listed = list(instructions(code))
    fields = [decoded.fields for _, decoded in listed]
    used = {each["signal_sem"] for each in fields if each.get("signal")}
    free = sorted(set(range(config.semaphores)) - used)
    if not free:
        return code, []
    host, result, signals = free[-1], code, []
    offsets = [offset for offset, _ in listed]
    engine = ENGINES[int(rng.integers(len(ENGINES)))].name.lower()
    for offset in sorted(rng.choice(offsets, 1 + int(rng.integers(4))), reverse=True):
        value = int(rng.integers(1, min(256, 1 << config.semaphore_width)))
        wait = encode(f"{engine}.sync", config, wait=1, wait_sem=host, wait_value=value, consume=1)
        result = result[:offset] + wait + result[offset:]
        early = int(rng.integers(value))
        signals += [(host, part) for part in (early, value - early) if part]
    return result, [signals[int(at)] for at in rng.permutation(len(signals))]


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
