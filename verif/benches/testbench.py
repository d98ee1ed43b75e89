"""Configuration, random source, clock and reset of every bench."""

import logging
import os
import zlib
from collections.abc import Awaitable, Callable

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from tegula.config import TileConfig, preset

__all__ = [
    "CLOCK_NS",
    "config",
    "join",
    "random_source",
    "split",
    "start",
    "tests_by_rate",
    "tests_of",
]

CLOCK_NS = 10
"""Clock period of every bench."""


def config() -> TileConfig:
    """The configuration that the toplevel was made with."""
    return preset(os.environ["TEGULA_PRESET"])


def random_source(test: str) -> np.random.Generator:
    """Random numbers of a test: decided by the seed and the test's name, not by what ran before."""
    return np.random.default_rng([cocotb.RANDOM_SEED, zlib.crc32(test.encode())])


async def start(dut, *peers) -> None:
    """Start the `run` of the peers and the clock, reset for three cycles.

    Returns just after a rising edge.
    """
    for peer in peers:
        cocotb.start_soon(peer.run())
    logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)  # the bus models' chatter
    dut.rst.value = 1
    Clock(dut.clk, CLOCK_NS, unit="ns").start()
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 1)


def tests_of(run: Callable[..., Awaitable[None]], arguments: dict[str, tuple]) -> dict[str, object]:
    """Cocotb tests that await ``run(dut, name, *arguments[name])``, by name."""

    def test_of(name):
        async def test(dut):
            await run(dut, name, *arguments[name])

        test.__module__ = run.__module__
        return cocotb.test(name=name)(test)

    return {name: test_of(name) for name in arguments}


def tests_by_rate(
    run: Callable[..., Awaitable[None]], name: str, counts: dict[int, int]
) -> dict[str, object]:
    """Cocotb tests that await ``run(dut, name, rate, count)``, by name.

    Parameters
    ----------
    name
        Of all tests, with ``{}`` where each says its rate: "without", or "with_10_percent".
    counts
        Rate in percent -> count.
    """
    rates = {percent: f"with_{percent}_percent" if percent else "without" for percent in counts}
    return tests_of(run, {name.format(rate): (p / 100, counts[p]) for p, rate in rates.items()})


def join(values, width: int) -> int:
    """Integers side by side, `width` bits each, the first lowest."""
    return sum(int(value) << (index * width) for index, value in enumerate(values))


def split(value: int, width: int, count: int) -> list[int]:
    """The inverse of `join`."""
    mask = (1 << width) - 1
    return [value >> (index * width) & mask for index in range(count)]
