"""Register accesses of a host while a program runs."""

import numpy as np

from tegula.isa.registers import CONTROL_START, REGISTERS, Status
from verif.benches.host import Host

__all__ = ["access_registers"]

_ACCESSES = 80
_LEFT_ALONE = ("CONTROL", "IRQ", "IRQ_ENABLE", "SIGNAL")
"""Writes to others are ignored while a program runs."""


async def access_registers(host: Host, rng: np.random.Generator) -> None:
    """Read and write registers at random, and ring the doorbell, while a program runs.

    Begins when the tile is busy, which it must be to the end. What a program is set up with reads
    as it was written, whatever is written then.
    """
    while not await host.read("STATUS") >> Status.BUSY & 1:
        pass
    settings = [register.name for register in REGISTERS if register.access == "rw"]
    before = {name: await host.read(name) for name in settings}
    for number in range(_ACCESSES):
        register = REGISTERS[number % len(REGISTERS)]
        await host.read(register.name)
        if register.name not in _LEFT_ALONE:
            await host.write(register.name, int(rng.integers(1 << 32)))
        if register.name == "SIGNAL":
            assert not await host.signal(int(rng.integers(256)), 0), "it adds nothing"
        if rng.random() < 0.2:
            await host.write("CONTROL", CONTROL_START)
    assert await host.refuses(4 * len(REGISTERS)), "an offset behind the last register"
    assert {name: await host.read(name) for name in settings} == before
    assert await host.read("STATUS") >> Status.BUSY & 1, "the program ended too early for this test"
