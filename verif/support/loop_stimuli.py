"""Random programs with loops for the front end: every field that can be relative, and noise."""

import random
from collections.abc import Iterator

from tegula.config import TileConfig
from tegula.isa.codec import encode
from tegula.isa.instructions import INSTRUCTIONS, LOOP_DEPTH, REGISTERS, Instruction

__all__ = ["COUNTS", "random_loops"]

COUNTS = (1, 2, 3, 1)
"""Numbers of four bytes that programs find at their table, and use as numbers of iterations."""

_READ = "control.read"
_STEPS = (1, -1, 8, -64, 1 << 20, -(1 << 33))
_SEMAPHORE = 3


def _legal(rng: random.Random, row: Instruction, config: TileConfig) -> dict[str, int]:
    """Values between the limits of the fields, of those that can be relative near the middle."""
    while True:
        fields = {}
        for field in row.payload:
            allowed = field.allowed(config)
            fields[field.name] = rng.choice((allowed[0], allowed[-1], rng.choice(allowed)))
        for field in row.relative_fields:
            fields[field.name] = rng.randrange(field.high // 4, field.high // 4 * 3)
        if row.broken_rule(fields) is None:
            return fields


class _Generator:
    """Draws the words of a program. Registers 8 to 15 are counts, and those below are steps."""

    def __init__(self, rng: random.Random, config: TileConfig, table: int):
        self._rng, self._config, self._table = rng, config, table
        self._rows = [row for row in INSTRUCTIONS if row.has_sync]

    def block(self, length: int, depth: int) -> Iterator[bytes]:
        """`length` instructions, and loops among them."""
        rng = self._rng
        for _ in range(length):
            if depth < LOOP_DEPTH and rng.random() < 0.25:
                yield from self._loop(depth)
            elif rng.random() < 0.2:
                yield self._step()
            else:
                yield from self._instruction()

    def _loop(self, depth: int) -> Iterator[bytes]:
        rng, register = self._rng, self._rng.randrange(8, REGISTERS)
        if rng.random() < 0.4:
            address = self._table + 4 * rng.randrange(len(COUNTS))
            waits = {"wait": rng.randrange(2), "wait_sem": _SEMAPHORE, "wait_value": 1}
            yield encode("load.sync", signal=1, signal_sem=_SEMAPHORE, signal_value=1)
            yield encode(_READ, mem_addr=address, register=register, **waits)
            yield encode("control.loop", from_register=1, register=register)
        else:
            yield encode("control.loop", count=rng.randrange(1, 4))
        yield from self.block(rng.randrange(0, 5), depth + 1)
        yield encode("control.end")

    def _step(self) -> bytes:
        rng = self._rng
        return encode(
            "control.add",
            register=rng.randrange(8),
            source=rng.randrange(8),
            zero=int(rng.random() < 0.3),
            value=rng.choice(_STEPS),
        )

    def _instruction(self) -> Iterator[bytes]:
        rng, row = self._rng, self._rng.choice(self._rows)
        fields = row.relative_fields
        if fields and rng.random() < 0.7:
            slots = rng.sample(range(len(fields)), rng.randrange(1, len(fields) + 1))
            # Registers grow beyond 16 bits: most fields that do not wrap get a zero from 7.
            values = {}
            for slot in slots:
                narrow = not fields[slot].wraps and fields[slot].width < 48
                register = 7 if narrow else rng.randrange(8)
                values |= {f"enable{slot}": 1, f"register{slot}": register}
            if any(value == 7 for value in values.values()):
                yield encode("control.add", register=7, zero=1, value=rng.choice((1, -3, 17, 0)))
            yield encode("control.relative", **values)
        yield encode(row.mnemonic, self._config, **_legal(rng, row, self._config))


def random_loops(
    rng: random.Random, config: TileConfig, table: int, length: int
) -> tuple[bytes, ...]:
    """Words of a program of about `length` instructions beside those of its loops.

    Parameters
    ----------
    table
        Byte address of `COUNTS` in memory.
    """
    generator = _Generator(rng, config, table)
    return (*generator.block(length, 0), encode("halt"))
