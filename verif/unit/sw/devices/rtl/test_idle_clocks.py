"""Clocks that stop while their engine is idle change neither results nor cycles."""

import numpy as np
import pytest

from tegula.config import preset
from tegula_sw.devices.rtl import source
from tegula_sw.devices.rtl.device import RtlDevice
from verif.benches.fuzz_cases import Case
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES

TINY = preset("tiny")
SEED = 5
PROGRAMS = 60
LENGTH = 12
PAUSES = (0, 1, 40, 70, 300)
"""Cycles from a program to the next; engines are idle for more of them than they settle in."""


def runs(monkeypatch, engines, stall):
    """Results and memory of random programs on one device, of which `engines` stop."""
    monkeypatch.setattr(source, "STOPPED_ENGINES", engines)
    device = RtlDevice(TINY, stall=stall, seed=SEED, max_cycles=1_000_000)
    for number in range(PROGRAMS):
        code = np.frombuffer(Case.random(TINY, SEED, number, LENGTH).code, np.uint8)
        data = np.random.default_rng([SEED, number]).integers(0, 256, DATA_BYTES)
        memory = np.append(data.astype(np.uint8), code)
        result = device.run(memory, program=BASE + DATA_BYTES, program_bytes=len(code), base=BASE)
        yield result, memory
        device.step(PAUSES[number % len(PAUSES)])
    device.close()


@pytest.mark.slow
@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_random_programs_take_the_same_cycles_with_and_without_them(monkeypatch, stall):
    stopped = list(runs(monkeypatch, source.STOPPED_ENGINES, stall))
    running = list(runs(monkeypatch, (), stall))
    assert len(stopped) == len(running) == PROGRAMS
    for (result, memory), (expected, expected_memory) in zip(stopped, running, strict=True):
        assert result == expected
        assert np.array_equal(memory, expected_memory)
