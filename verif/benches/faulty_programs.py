"""Failing beats of a random program, and random bytes to end one."""

import numpy as np

from tegula.isa.assembly import assemble
from tegula.isa.codec import instructions
from tegula.isa.instructions import ENGINES, INSTRUCTIONS

__all__ = ["random_errors", "random_tail"]


def random_errors(rng: np.random.Generator, code: bytes, start: int) -> list[tuple[int, int, str]]:
    """One to three ranges of bytes that fail, as `GoldenTile` takes them.

    Each begins in a run of some DMA instruction of the program, often at an end of it, or in the
    program itself, which lies at `start`.
    """
    transfers = [
        decoded.fields
        for _, decoded in instructions(code)
        if decoded.mnemonic in ("load.dma", "store.dma")
    ]
    errors = []
    for _ in range(int(rng.integers(1, 4))):
        if not transfers or rng.random() < 0.15:
            first = start + int(rng.integers(len(code)))
        else:
            fields = transfers[int(rng.integers(len(transfers)))]
            size = fields["run"] * (1 if fields["bytes1"] else 2)
            first = fields["mem_addr"] + int(rng.choice([0, size - 1, rng.integers(size)]))
            for axis in (1, 2, 3):
                step = int(rng.integers(fields[f"count{axis}"]))
                first += step * fields[f"mem_stride{axis}"]
        last = first + int(rng.choice([0, 0, 3, 40]))
        errors.append((first, last, str(rng.choice(["slverr", "decerr"]))))
    return errors


def random_tail(rng: np.random.Generator, semaphores: range) -> bytes:
    """Granules that hardly make a program: random bytes, or waits and signals of one engine.

    Parameters
    ----------
    semaphores
        Those that the waits and signals name. The program before the tail must not use them: a
        signal too many would let its engines run ahead of each other, and races have no result.
    """
    granules = rng.integers(0, 256, (int(rng.integers(1, 12)), 16)).astype(np.uint8)
    kind = rng.integers(3)
    if kind == 1:
        granules[:, 0] = rng.choice([row.opcode for row in INSTRUCTIONS], len(granules))
    if kind == 2:
        mnemonic = f"{ENGINES[int(rng.integers(len(ENGINES)))].name.lower()}.sync"
        parts = ("wait({}>={})", "consume({}>={})", *6 * ("signal({}+={})",))
        lines = (
            f"{mnemonic} {rng.choice(parts)}".format(rng.choice(semaphores), rng.integers(1, 4))
            for _ in granules
        )
        return assemble("\n".join(lines)) + granules[: int(rng.integers(2))].tobytes()
    return granules.tobytes()
