"""Programs with a bit flipped: what the benches compare must not depend on who comes first."""

import numpy as np

from tegula.config import preset
from tegula.isa.codec import decodable_instructions
from verif.benches.bad_programs import corrupted
from verif.benches.random_programs import random_program

PROGRAMS = 200


def instructions(code: bytes):
    """Engine, size and header of each instruction, up to the first that is none."""
    for offset, decoded in decodable_instructions(code):
        yield decoded.instruction.engine, decoded.size, code[offset + 1 : offset + 5]


def test_a_flipped_bit_leaves_each_instruction_to_its_engine_and_its_semaphores():
    config, rng = preset("tiny"), np.random.default_rng(1)
    decodable = 0
    for _ in range(PROGRAMS):
        program = random_program(rng, config, 6, serial=True)
        found = list(instructions(corrupted(rng, config, program).code))
        expected = list(instructions(program.code))
        assert found == expected[: len(found)]
        decodable += found == expected
    assert decodable > PROGRAMS // 4
