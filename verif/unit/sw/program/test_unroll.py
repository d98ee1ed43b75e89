"""Unrolled programs, and the check of programs with loops."""

from dataclasses import replace

import pytest

from tegula.config import preset
from tegula.isa.assembly import assemble
from tegula.isa.codec import encode
from tegula.isa.traps import Trap
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.program.race_check import check_program
from tegula_sw.program.timing.front_end import until_halt
from tegula_sw.program.unroll import trap_text, trapped_step, unroll
from verif.oracles.unrolled import unrolled
from verif.support.loop_programs import LOOPED, PROGRAM, TRAPPING, image, read

TINY = preset("tiny")
PAIR = """
    control.loop count=3
    load.dma layout=free mem_addr=0 run=4 sbuf_addr=0 {} signal(0+=1)
    vector.compute rows=1 format=bf16 x_source=sbuf x_format=bf16 x_addr=0 dst=8 columns=4
        consume(0>=1) {}
    control.end
    halt""".replace("\n        consume", " consume")


def reader(code):
    memory = image(code)
    return lambda address, size: read(memory, address, size)


@pytest.mark.parametrize("name", LOOPED)
def test_engines_get_what_they_get_of_the_straight_program(name):
    code = assemble(LOOPED[name])
    steps = list(unroll(code, read=reader(code)))
    words = [
        encode(step.decoded.mnemonic, **step.decoded.fields)
        for step in steps
        if not step.decoded.mnemonic.startswith("control.")
    ]
    assert b"".join(words) == unrolled(code, reader(code))


def test_steps_name_their_iterations():
    code = assemble("control.loop count=2\ncontrol.loop count=3\nload.sync\n" + "control.end\n" * 2)
    steps = [step for step in unroll(code) if step.decoded.mnemonic == "load.sync"]
    assert [step.iterations for step in steps] == [
        ((outer, 2), (inner, 3)) for outer in range(2) for inner in range(3)
    ]
    assert str(steps[4]) == "load.sync at byte 32, iteration 1 of 2, 1 of 3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("an end behind a loop", "control.end at byte 32: it traps with LOOP_NESTING"),
        ("a loop too deep", "control.loop at byte 64, .*: it traps with LOOP_NESTING"),
        ("no iterations", "control.loop at byte 0: it traps with RELATIVE_RANGE"),
        ("an address below 0", "load.dma at byte 32: it traps with RELATIVE_RANGE"),
        ("a slot without a field", "load.dma at byte 32: it traps with ILLEGAL_FIELD"),
        ("a number outside the window", "control.read at byte 0: it reads memory"),
    ],
)
def test_what_traps_cannot_be_unrolled(name, message):
    with pytest.raises(ValueError, match=message):
        list(unroll(assemble(TRAPPING[name][0])))


def test_what_is_too_long_is_not_unrolled():
    code = assemble("control.loop count=1000\nload.sync\ncontrol.end\nhalt")
    assert len(list(unroll(code, limit=2002))) == 2002
    with pytest.raises(ValueError, match="executes more than 2001 instructions"):
        list(unroll(code, limit=2001))
    with pytest.raises(ValueError, match="program must be bytes, not 3"):
        unroll(3)


def test_a_program_with_loops_is_checked_in_each_iteration():
    assert check_program(TINY, ordered()) == 12
    with pytest.raises(
        ValueError, match=r"load.dma at byte 16, iteration 1 of 3: writes scratchpad words"
    ):
        check_program(TINY, assemble(PAIR.format("", "")))
    with pytest.raises(ValueError, match=r"iteration 2 of 3: waits for 1 on semaphore 1"):
        late = "control.loop count=3\nstore.sync consume(1>=1)\ncontrol.end\nhalt"
        check_program(TINY, assemble("load.sync signal(1+=2)\n" + late))


def ordered():
    """The pair, whose load waits for the copy of the iteration before."""
    before = assemble("vector.sync signal(1+=1)")
    return before + assemble(PAIR.format("consume(1>=1)", "signal(1+=1)"))


def test_what_follows_a_read_that_waits_comes_after_what_it_waited_for():
    text = """
        load.dma layout=free mem_addr=0 run=4 sbuf_addr=0 signal(0+=1)
        control.read mem_addr=0 register=1 {}
        vector.compute rows=1 format=bf16 x_source=sbuf x_format=bf16 x_addr=0 dst=8 columns=4
        halt"""
    assert check_program(TINY, assemble(text.format("wait(0>=1)")), read=lambda *_: 0) == 4
    with pytest.raises(ValueError, match="reads scratchpad words"):
        check_program(TINY, assemble(text.format("")), read=lambda *_: 0)
    with pytest.raises(ValueError, match="waits for 2 on semaphore 0"):
        check_program(TINY, assemble(text.format("wait(0>=2)")), read=lambda *_: 0)


def test_the_time_of_programs_with_loops_is_not_predicted():
    with pytest.raises(ValueError, match=r"control.loop at byte 16: the time of programs"):
        until_halt(assemble("load.sync\ncontrol.loop\ncontrol.end\nhalt"))


def trap_of(code):
    """The record of golden, whose program lies at `PROGRAM`."""
    record = GoldenTile(TINY).run(image(code), program=PROGRAM, program_bytes=len(code)).trap
    assert record is not None
    return record


def test_a_trap_names_the_iterations_around_its_instruction():
    code = assemble(
        "tensor.sync\ncontrol.loop count=3\ncontrol.loop count=4\ntensor.sync\n"
        "control.relative enable0=1 register0=1\n"
        "tensor.load rows=1 format=bf16 columns=1 addr=8186\n"
        "control.add register=1 source=1 value=1\ncontrol.end\ncontrol.end\nhalt"
    )
    record = trap_of(code)
    assert (record.cause, record.ordinal) == (Trap.SBUF_RANGE, 1 + 6 * 2 + 1)
    step = trapped_step(code, record)
    assert step is not None and step.offset == record.pc == 80
    assert step.iterations == ((1, 3), (2, 4))
    assert step.decoded.fields["addr"] == 8192
    assert trap_text(code, record) == (
        "SBUF_RANGE in engine tensor at program byte 80, address 0x2000, iteration 1 of 3, 2 of 4"
    )
    with pytest.raises(ValueError, match="no such execution"):
        trapped_step(code, replace(record, ordinal=13))


@pytest.mark.parametrize("name", TRAPPING)
def test_every_trap_has_a_text(name):
    code = assemble(TRAPPING[name][0])
    record = trap_of(code)
    text = trap_text(code, record)
    assert text.startswith(str(record))
    assert ("iteration" in text) == (name == "an engine's trap in the third iteration")
