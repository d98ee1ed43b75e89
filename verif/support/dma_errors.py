"""DMA runs that are cut short: what an error leaves behind (docs/traps.md), and the restart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import Engine
from verif.support.dma_bench import Bench, Outcome, check, expect
from verif.support.dma_models import BASE, Command, Run, bursts_of, move

__all__ = ["burst_start", "check_failed_write", "fails", "run_and_restart", "run_until_error"]


def fails(config: TileConfig, run: Run, bad: int) -> bool:
    """True if a run touches the beat of byte `bad`."""
    first, last = (byte // config.bus_bytes for byte in (run.addr, run.addr + run.size - 1))
    return first <= bad // config.bus_bytes <= last


def burst_start(config: TileConfig, run: Run, byte: int) -> int:
    """First byte of the burst of `run` that holds the beat of `byte`."""
    span = config.bus_bytes * config.max_burst_beats
    return max(run.addr, byte // span * span)


def _first_bytes(run: Run, size: int) -> Run:
    """The elements of a run in its first `size` bytes."""
    count = size * len(run.elements) // run.size
    return replace(run, size=size, elements=run.elements[:count])


def run_until_error(
    config: TileConfig,
    engine: Engine,
    runs: list[Run],
    bad: int,
    sbuf: np.ndarray,
    memory: np.ndarray,
) -> tuple[int, int]:
    """Effects of a DMA, on `sbuf` and `memory`, before the beat of `bad` fails.

    Of the failed run, a load moves the chunks of a bus width, counted from the run's first byte,
    whose beats all came; a store the bursts before the failed one.

    Returns the number of the failed run, and the address of its failed burst.
    """
    number = next(number for number, run in enumerate(runs) if fails(config, run, bad))
    for run in runs[:number]:
        move(engine, run, sbuf, memory)
    run = runs[number]
    failed = burst_start(config, run, bad)
    if engine == Engine.STORE:  # a number may lie in two bursts
        whole, part = memory.copy(), slice(run.addr - BASE, failed - BASE)
        move(engine, run, sbuf, whole)
        memory[part] = whole[part]
    else:
        good = max(bad // config.bus_bytes * config.bus_bytes - run.addr, 0)
        move(engine, _first_bytes(run, good - good % config.bus_bytes), sbuf, memory)
    return number, failed


def _beats(config: TileConfig, runs: list[Run], sbuf: np.ndarray, memory: np.ndarray):
    """Write beats of the runs of a store: (number of the burst, address, bytes by address)."""
    memory, number = memory.copy(), 0
    for run in runs:
        move(Engine.STORE, run, sbuf, memory)
        for first, beats_m1 in bursts_of(config, run.addr, run.size):
            for beat in range(first, first + (beats_m1 + 1) * config.bus_bytes, config.bus_bytes):
                low, high = max(beat, run.addr), min(beat + config.bus_bytes, run.addr + run.size)
                yield number, beat, {byte: int(memory[byte - BASE]) for byte in range(low, high)}
            number += 1


def check_failed_write(
    bench: Bench, runs: list[Run], failed: tuple[int, int], before: np.ndarray
) -> int:
    """Checks of every write beat that a bench saw of a store whose burst `failed` was refused.

    All bursts up to the failed one are whole. At most `max_writes` - 1 follow, whose beats are as
    good, until strobes cease for good. Memory has the bytes of the beats that did not fail, and no
    others. Returns how many beats with strobes followed the failed burst.
    """
    config, run_number = bench.config, failed[0]
    bursts = [
        (number, first)
        for number, run in enumerate(runs)
        for first, _ in bursts_of(config, run.addr, run.size)
    ]
    aligned = failed[1] // config.bus_bytes * config.bus_bytes
    last_whole = bursts.index((run_number, aligned))
    memory, stopped, behind = before.copy(), False, 0
    seen = zip(bench.written, _beats(config, runs, bench.sbuf, before), strict=False)
    for (address, strobe, data), (number, beat, expected) in seen:
        assert address == beat
        found = {
            address + lane: data >> 8 * lane & 0xFF
            for lane in range(config.bus_bytes)
            if strobe >> lane & 1
        }
        stopped |= number > last_whole and not found
        assert found == ({} if stopped else expected)
        behind += number > last_whole and not stopped
        if not bench.is_bad(address):
            for byte, value in found.items():
                memory[byte - BASE] = value
    begun = len(bench.outcome.bursts)
    assert last_whole < begun <= last_whole + config.max_writes
    assert len(bench.written) == sum(beats_m1 + 1 for _, beats_m1 in bench.outcome.bursts)
    np.testing.assert_array_equal(bench.memory, memory)
    return behind


def run_and_restart(
    bench: Bench,
    engine: Engine,
    commands: list[Command],
    again: list[Command],
    *,
    budget: int,
    inspect: Callable[[], object] = lambda: None,
) -> None:
    """Run of commands that a trap or a stop cuts short, then of others, which are checked.

    `inspect` is called when the engine is idle after the stop, with the outcome of `commands` in
    the bench. Memory answers `again` without errors.
    """
    expected = []

    def restart():
        inspect()
        bench.outcome, bench.bad, bench.read_bursts = Outcome(), None, []
        expected.append(expect(bench, engine, again))
        return again

    bench.after_stop = restart
    bench.run(commands, budget=budget)
    assert expected, "nothing was cut short"
    check(bench, engine, expected[0])
