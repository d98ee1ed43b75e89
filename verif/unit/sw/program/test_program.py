"""The program builder and the memory image."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.codec import decode, instructions
from tegula.isa.instructions import available
from tegula_sw.program.program import MemoryImage, Program

CONFIG = preset("small", semaphores=4)


def test_instructions_follow_each_other_with_their_semaphores():
    program = Program(CONFIG)
    ready = program.semaphore("ready")
    program.load_sync(signal=ready.add(2))
    program.tensor_load(
        rows=8, format="bf16", columns=8, addr=5, wait=ready.at_least(2, consume=True)
    )
    program.halt()
    code = program.assemble()
    first, second, third = (decode(code, offset) for offset in (0, 16, 32))
    assert (first.mnemonic, first.fields["signal"], first.fields["signal_value"]) == (
        "load.sync",
        1,
        2,
    )
    waits = {name: second.fields[name] for name in ("wait", "consume", "wait_sem", "wait_value")}
    assert waits == {"wait": 1, "consume": 1, "wait_sem": ready.index, "wait_value": 2}
    assert third.mnemonic == "halt"
    assert program.size_bytes == len(code) == 48
    assert len(program) == 3


def test_every_instruction_has_a_method():
    program = Program(CONFIG)
    rows = [row for row in available(CONFIG) if row.has_sync]
    for row in rows:
        needed = {f.name: f.allowed(CONFIG)[0] for f in row.payload if f.default is None}
        getattr(program, row.mnemonic.replace(".", "_"))(**needed)
    program.halt()
    code = program.assemble()
    mnemonics = [decoded.mnemonic for _, decoded in instructions(code)]
    assert mnemonics == [*(row.mnemonic for row in rows), "halt"]
    assert len(rows) == 15


def test_semaphores_run_out_with_an_error():
    program = Program(CONFIG)
    indices = [program.semaphore(f"s{i}").index for i in range(4)]
    assert indices == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"no semaphore is left for 'more'.*has 4"):
        program.semaphore("more")


def test_a_semaphore_name_is_taken_once():
    program = Program(CONFIG)
    program.semaphore("ready")
    with pytest.raises(ValueError, match="exists already"):
        program.semaphore("ready")


def test_a_wait_that_earlier_instructions_do_not_satisfy_is_refused():
    program = Program(CONFIG)
    ready = program.semaphore("ready")
    program.load_sync(signal=ready.add(2))
    program.tensor_sync(wait=ready.at_least(1, consume=True))
    with pytest.raises(ValueError, match=r"waits for 2 on semaphore 'ready'.*leave only 1"):
        program.tensor_sync(wait=ready.at_least(2))


def test_a_consumed_semaphore_has_one_waiting_engine():
    program = Program(CONFIG)
    ready = program.semaphore("ready")
    program.load_sync(signal=ready.add(2))
    program.tensor_sync(wait=ready.at_least(1, consume=True))
    with pytest.raises(ValueError, match="only one engine may wait"):
        program.vector_sync(wait=ready.at_least(1))


def test_a_signal_of_zero_is_refused():
    program = Program(CONFIG)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        program.load_sync(signal=program.semaphore("ready").add(0))


def test_values_beyond_the_tile_are_refused():
    with pytest.raises(ValueError, match="columns must be 1 to 8"):
        Program(CONFIG).tensor_load(rows=8, format=0, columns=9, addr=0)


def test_a_program_beyond_the_program_counter_is_refused(monkeypatch):
    monkeypatch.setattr("tegula_sw.program.program.MAX_GRANULES", 2)
    program = Program(CONFIG)
    for _ in range(3):
        program.load_sync()
    with pytest.raises(ValueError, match="3 granules: at most 2"):
        program.assemble()


def test_buffers_are_aligned_filled_and_read_back():
    image = MemoryImage(base=128)
    words = np.arange(5, dtype=np.uint16).reshape(5, 1)[::-1]
    first = image.add(words)
    second = image.reserve(65)
    third = image.add(b"\x07\x08")
    assert (first, second, third, image.size_bytes) == (128, 192, 320, 256)
    memory = image.build()
    assert (memory.dtype, memory.shape) == (np.uint8, (256,))
    assert np.array_equal(image.read(memory, first, np.uint16, (5, 1)), words)
    assert image.read(memory, third, np.uint8, (2,)).tolist() == [7, 8]
    assert memory.sum() == words.sum() + 15


@pytest.mark.parametrize("base", [-64, 32])
def test_a_base_that_is_not_aligned_is_refused(base):
    with pytest.raises(ValueError, match=f"multiple of 64, not {base}"):
        MemoryImage(base)
