"""Programs with loops as `Program` builds them."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.isa.assembly import disassemble
from tegula.isa.instructions import LOOP_DEPTH, REGISTERS
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.program.program import MemoryImage, Program
from tegula_sw.program.race_check import check_program

TINY = preset("tiny")


def copying(count, source, destination):
    """A program that copies `count` rows of four words, one buffer of the scratchpad for all."""
    program = Program(TINY)
    loaded, stored = program.semaphore("loaded"), program.semaphore("stored")
    row = program.control.register("row")
    fields = {"layout": "free", "run": 4, "sbuf_addr": 8}
    program.store_sync(signal=stored.add())
    with program.control.loop(count):
        program.load_dma(
            wait=stored.at_least(1, consume=True),
            signal=loaded.add(),
            relative={"mem_addr": row},
            mem_addr=source,
            **fields,
        )
        program.store_dma(
            wait=loaded.at_least(1, consume=True),
            signal=stored.add(),
            relative={"mem_addr": row},
            mem_addr=destination,
            **fields,
        )
        program.control.add(row, 8)
    program.halt()
    return program.assemble()


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_loop_copies_row_by_row(count):
    image = MemoryImage()
    rows = np.arange(4 * count, dtype=np.uint16)
    source, destination = image.add(rows), image.reserve(8 * count)
    code = copying(count, source, destination)
    start = image.add(code)
    memory = image.build()
    assert len(code) == 16 * 15
    assert check_program(TINY, code) == 3 + 6 * count
    assert GoldenTile(TINY).run(memory, program=start, program_bytes=len(code)).trap is None
    assert (image.read(memory, destination, np.uint16, (4 * count,)) == rows).all()


def test_registers_set_added_to_and_read():
    program = Program(TINY)
    first, second = program.control.register("first"), program.control.register("second")
    ready = program.semaphore("ready")
    program.store_sync(signal=ready.add(2))
    program.control.set(first, -5)
    program.control.add(second, 3, source=first)
    program.control.read(
        second, 64, bytes8=True, wait=ready.at_least(2), relative={"mem_addr": first}
    )
    with program.control.loop(second):
        program.load_sync()
    assert disassemble(program.assemble()).splitlines() == [
        "store.sync signal(0+=2)",
        "control.add register=0 zero=1 value=-5",
        "control.add register=1 value=3",
        "control.relative enable0=1",
        "control.read mem_addr=0x40 register=1 bytes8=1 wait(0>=2)",
        "control.loop from_register=1 register=1",
        "    load.sync",
        "control.end",
    ]


def test_what_cannot_be_is_refused():
    program = Program(TINY)
    row = program.control.register("row")
    with pytest.raises(ValueError, match=r"tensor.load: stride is no relative field \(addr\)"):
        program.tensor_load(rows=1, format="bf16", columns=1, addr=0, relative={"stride": row})
    with pytest.raises(ValueError, match=r"tensor.load: addr takes a Register, not 3"):
        program.tensor_load(rows=1, format="bf16", columns=1, addr=0, relative={"addr": 3})
    with pytest.raises(ValueError, match="register 'row' exists already"):
        program.control.register("row")
    for number in range(REGISTERS - 1):
        program.control.register(str(number))
    with pytest.raises(ValueError, match="no register is left for 'more'"):
        program.control.register("more")
    with (
        pytest.raises(ValueError, match="count must be 1 to 16777215, not 0"),
        program.control.loop(0),
    ):
        pass
    with pytest.raises(ValueError, match=f"at most {LOOP_DEPTH} loops can be open"):
        nest(program, LOOP_DEPTH + 1)
    assert len(program) == LOOP_DEPTH


def nest(program, depth):
    """Loops in loops."""
    with program.control.loop(2):
        nest(program, depth - 1)


def test_a_body_that_consumes_more_than_it_signals_is_refused():
    program = Program(TINY)
    semaphore = program.semaphore("some")
    program.load_sync(signal=semaphore.add(9))
    message = "consumes 2 of semaphore 'some' and signals 1"
    with pytest.raises(ValueError, match=message), program.control.loop(2):
        program.store_sync(wait=semaphore.at_least(2, consume=True))
        program.load_sync(signal=semaphore.add())


def test_signals_of_all_iterations_count():
    program = Program(TINY)
    semaphore = program.semaphore("some")
    with program.control.loop(5):
        program.load_sync(signal=semaphore.add(2))
    program.store_sync(wait=semaphore.at_least(10, consume=True))
    with pytest.raises(ValueError, match="leave only 0"):
        program.store_sync(wait=semaphore.at_least(1))
