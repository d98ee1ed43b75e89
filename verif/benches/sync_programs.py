"""Random programs for the front end: waits and signals between engines, noise as payload."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.codec import encode
from tegula.isa.instructions import ENGINES, Engine, Instruction, available

__all__ = ["SyncProgram", "random_sync_program"]


@dataclass(frozen=True, kw_only=True)
class SyncProgram:
    """A program that ends well, whatever the engines' speed.

    Attributes
    ----------
    code
        With or without `halt`.
    places
        (byte offset, engine) of every instruction but `halt`.
    """

    code: bytes
    places: tuple[tuple[int, Engine], ...]

    @property
    def count(self) -> int:
        """Instructions, but for `halt`."""
        return len(self.places)


class _Accounts:
    """Semaphore counts after earlier instructions, so that no wait lasts for ever.

    Semaphores 0 to 3 are consumed, each by one engine; others only grow. The last stays unused.
    """

    def __init__(self, rng: np.random.Generator, config: TileConfig):
        self._rng, self._limit = rng, (1 << config.semaphore_width) - 1
        self._available = [0] * (config.semaphores - 1)
        self._ever = [0] * (config.semaphores - 1)

    def signal(self) -> dict[str, int]:
        """Fields of a signal, or none."""
        semaphore = int(self._rng.integers(len(self._available)))
        value = int(self._rng.choice([1, 2, 7, self._rng.integers(256)]))
        if self._rng.random() < 0.3 or self._ever[semaphore] + value > self._limit:
            return {}
        self._available[semaphore] += value
        self._ever[semaphore] += value
        return {"signal": 1, "signal_sem": semaphore, "signal_value": value}

    def wait(self, engine: Engine) -> dict[str, int]:
        """Fields of a wait that earlier instructions satisfy, or none."""
        if self._rng.random() < 0.4:
            return {}
        own = ENGINES.index(engine)
        choices = [own, *range(len(ENGINES), len(self._available))]
        semaphore = int(self._rng.choice(choices))
        value = int(self._rng.integers(0, self._available[semaphore] + 1))
        consume = int(semaphore == own and self._rng.random() < 0.7)
        self._available[semaphore] -= consume * value
        return {
            "wait": 1,
            "wait_sem": semaphore,
            "wait_value": value,
            "consume": consume,
        }


def _payload(rng: np.random.Generator, row: Instruction, config: TileConfig) -> dict[str, int]:
    """Values that the front end accepts, alone and together."""
    while True:
        fields = {}
        for field in row.payload:
            allowed = field.allowed(config)
            fields[field.name] = int(allowed[int(rng.integers(len(allowed)))])
        if row.broken_rule(fields) is None:
            return fields


def random_sync_program(
    rng: np.random.Generator, config: TileConfig, count: int, *, halts: bool = True
) -> SyncProgram:
    """`count` instructions of all kinds with payloads that the front end accepts."""
    accounts = _Accounts(rng, config)
    rows = [row for row in available(config) if row.has_sync]
    code, places = b"", []
    for _ in range(count):
        row = rows[int(rng.integers(len(rows)))]
        fields = _payload(rng, row, config) | accounts.wait(row.engine) | accounts.signal()
        places.append((len(code), row.engine))
        code += encode(row.mnemonic, config, **fields)
    if halts:
        code += encode("halt")
    return SyncProgram(code=code, places=tuple(places))
