"""Signals of the host: the compiled tile against the functional simulator."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.tile.job import Job
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.rtl.device import HangError, RtlDevice
from tegula_sw.program.race_check import check_program

pytestmark = pytest.mark.slow

CONFIG = preset("tiny")
DATA, TARGET = 0x400, 0x800
CHUNKS = 6
PROGRAM = "\n".join(
    [
        *(
            f"load.dma layout=free mem_addr={DATA + 64 * chunk} run=32 sbuf_addr={32 * chunk}"
            f" consume(3>={chunk + 1}) signal(0+=1)"
            for chunk in range(CHUNKS)
        ),
        *(
            f"store.dma layout=free mem_addr={TARGET + 64 * chunk} run=32 sbuf_addr={32 * chunk}"
            " consume(0>=1)"
            for chunk in range(CHUNKS)
        ),
        "halt",
    ]
)
SIGNALS = [(3, chunk + 1) for chunk in range(CHUNKS)]


@pytest.fixture(scope="module")
def tile():
    device = RtlDevice(CONFIG, mem_latency=20, max_cycles=100_000)
    yield device
    device.close()


def image(text=PROGRAM):
    memory, code = np.zeros(0x1000, np.uint8), assemble(text)
    memory[: len(code)] = np.frombuffer(code, np.uint8)
    memory[DATA:TARGET] = np.random.default_rng(5).integers(0, 256, TARGET - DATA, np.uint8)
    return memory, len(code)


def test_a_program_takes_what_the_host_signals(tile):
    memories = []
    for device in (GoldenTile(CONFIG), tile):
        memory, size = image()
        assert device.run(memory, program=0, program_bytes=size, signals=SIGNALS).trap is None
        memories.append(memory)
    assert np.array_equal(*memories)
    assert np.array_equal(memory[TARGET:][: 64 * CHUNKS], memory[DATA:][: 64 * CHUNKS])


def test_signals_come_while_the_program_runs_and_hold_off_the_watchdog(tile):
    memory, size = image()
    tile.start(Job(memory=memory, program=0, program_bytes=size, watchdog=400))
    seen = []
    for semaphore, value in SIGNALS:
        for part in (1, value - 1)[: 1 + (value > 1)]:
            tile.step(300)
            seen.append(bool(memory[TARGET + 64 * (value - 1) :][:64].any()))
            assert tile.signal(semaphore, part)
    assert tile.wait().trap is None
    assert len(seen) == 2 * CHUNKS - 1 and not any(seen)
    assert memory[TARGET + 64 * CHUNKS - 64 :][:64].any()
    assert not tile.signal(3, 1), "no program is running"
    assert tile.run(*image()[:1], program=0, program_bytes=size, signals=SIGNALS).trap is None


@pytest.mark.parametrize("count", [0, CHUNKS - 1])
def test_a_signal_that_does_not_come_is_a_deadlock(tile, count):
    records = []
    for device in (GoldenTile(CONFIG), tile):
        memory, size = image()
        signals = SIGNALS[:count]
        result = device.run(memory, program=0, program_bytes=size, signals=signals, watchdog=200)
        records.append(result.trap)
    assert records[0] == records[1]
    assert (records[0].cause, records[0].engine, records[0].address) == (
        Trap.DEADLOCK,
        Engine.LOAD,
        3,
    )


def test_a_signal_past_the_width_of_its_semaphore_is_the_hosts_trap(tile):
    records = []
    for device in (GoldenTile(CONFIG), tile):
        memory, size = image("load.sync wait(1>=1)\nhalt")
        signals = [(6, 255)] * 17 + [(1, 1)]
        records.append(device.run(memory, program=0, program_bytes=size, signals=signals).trap)
    assert records[0] == records[1]
    assert records[0].cause == Trap.SEMAPHORE_OVERFLOW and records[0].engine == Engine.CONTROL
    assert (records[0].pc, records[0].address) == (0, 6)


def test_signals_behind_the_end_of_a_program_are_dropped(tile):
    for device in (GoldenTile(CONFIG), tile):
        memory, size = image("halt")
        signals = [(1, 1)] * 50
        assert device.run(memory, program=0, program_bytes=size, signals=signals).trap is None
        memory, size = image("load.sync wait(1>=1)\nhalt")
        result = device.run(memory, program=0, program_bytes=size, watchdog=100)
        assert result.trap.cause == Trap.DEADLOCK


class Index:
    """What numpy and others count as an integer."""

    def __init__(self, value):
        self._value = value

    def __index__(self):
        return self._value


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, Index])
def test_a_signal_of_any_integer_type_is_that_integer(tile, kind):
    text = "load.sync wait(3>=400)\nhalt"
    signals = [(kind(3), kind(100)), *[(kind(3), kind(120))] * 3]
    assert check_program(CONFIG, assemble(text), signals=signals) == 2
    for device in (GoldenTile(CONFIG), tile):
        memory, size = image(text)
        assert device.run(memory, program=0, program_bytes=size, signals=signals).trap is None
    memory, size = image(text.replace("400", "200"))
    tile.start(Job(memory=memory, program=0, program_bytes=size))
    assert tile.signal(kind(3), kind(100)) and tile.signal(kind(3), kind(100))
    assert tile.wait().trap is None


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, Index])
def test_a_job_of_any_integer_type_is_that_of_these_integers(tile, kind):
    results = []
    for device in (GoldenTile(CONFIG), tile):
        for cast in (int, kind):
            memory = np.zeros(0x200, np.uint8)
            memory[64:80] = np.frombuffer(assemble("halt"), np.uint8)
            where = {"program": cast(64), "program_bytes": cast(16), "watchdog": cast(100)}
            window = (cast(0), cast(127))
            result = device.run(memory, base=cast(0), window=window, **where)
            results.append((result.trap, result.read_beats))
    assert len(set(results)) == 1 and results[0] == (None, 2)


def test_signals_count_in_the_limit_of_cycles():
    device = RtlDevice(CONFIG, max_cycles=1000)
    memory, size = image("load.sync wait(3>=1)\nhalt")
    with pytest.raises(HangError, match="no interrupt within 1000 cycles"):
        device.run(memory, program=0, program_bytes=size, signals=[(4, 1)] * 1000)
    device.close()


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        ((16, 1), "semaphore must be 0 to 15, not 16"),
        ((-1, 1), "semaphore must be 0 to 15, not -1"),
        ((0, 0), "value must be 1 to 255, not 0"),
        ((0, 256), "value must be 1 to 255, not 256"),
        ((0, 1.5), "value must be an integer, not 1.5"),
    ],
)
def test_what_is_no_signal_is_refused(tile, signal, message):
    with pytest.raises(ValueError, match=message):
        tile.signal(*signal)
    with pytest.raises(ValueError, match=message):
        check_program(CONFIG, assemble("halt"), signals=[signal])
    memory, size = image()
    for device in (GoldenTile(CONFIG), tile):
        with pytest.raises(ValueError, match=message):
            device.run(memory, program=0, program_bytes=size, signals=[signal])


def test_the_check_of_programs_knows_the_hosts_signals():
    code = assemble(PROGRAM)
    assert check_program(CONFIG, code, signals=SIGNALS) == 2 * CHUNKS + 1
    with pytest.raises(ValueError, match=r"load.dma at byte 320: waits for 6 on semaphore 3"):
        check_program(CONFIG, code, signals=SIGNALS[:-1])
    with pytest.raises(ValueError, match=r"semaphore 3 gets 4335 from the host.* at most 4095"):
        check_program(CONFIG, code, signals=[(3, 255)] * 17)
    with pytest.raises(ValueError, match="semaphore 0 has two senders"):
        check_program(CONFIG, code, signals=[*SIGNALS, (0, 1)])
    text = PROGRAM.replace("consume(0>=1)", "consume(4>=1)")
    with pytest.raises(ValueError, match=r"reads scratchpad words.* engine load accesses"):
        check_program(CONFIG, assemble(text), signals=[*SIGNALS, (4, CHUNKS)])
