"""Assembly text: readable, exact in both directions, and clear about what is wrong in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegula.config import preset
from tegula.isa.assembly import assemble, disassemble
from tegula.isa.codec import decode, encode
from tegula.isa.instructions import INSTRUCTIONS

SMALL = preset("small")


@st.composite
def encodable_instructions(draw):
    """Bytes of an instruction whose fields hold anything that fits, legal or not."""
    instruction = draw(st.sampled_from(INSTRUCTIONS))
    fields = {
        f.name: draw(st.integers(f.low, f.high))
        for f in instruction.fields
        if f.default is None or draw(st.booleans())
    }
    return encode(instruction.mnemonic, **fields)


@given(st.lists(encodable_instructions(), min_size=1, max_size=6))
def test_encodable_programs_survive_text_without_words(instructions):
    program = b"".join(instructions)
    text = disassemble(program)
    assert len(text.splitlines()) == len(instructions)
    assert ".word" not in text
    assert assemble(text) == program


@given(st.binary(min_size=0, max_size=12 * 16).map(lambda b: b[: len(b) // 16 * 16]))
def test_arbitrary_bytes_survive_text(program):
    assert assemble(disassemble(program)) == program


@given(
    st.lists(
        st.sampled_from([i.opcode for i in INSTRUCTIONS]).flatmap(
            lambda opcode: st.integers(0, 119).map(
                lambda bit: (opcode | 1 << (8 + bit)).to_bytes(16, "little")
            )
        ),
        max_size=6,
    )
)
def test_granules_with_a_known_opcode_and_one_bit_survive_text(granules):
    program = b"".join(granules)
    assert assemble(disassemble(program)) == program


def test_text_reads_as_written():
    text = (
        "load.dma mem_addr=0x1000 run=64 count1=8 mem_stride1=-128 sbuf_addr=0"
        " partition_stride1=1 layout=free signal(0+=1)\n"
        "tensor.load rows=8 format=e4m3fn columns=8 addr=0 stride=-1 consume(0>=1)\n"
        "tensor.matmul rows=8 format=bf16 accumulate=1 addr=64 columns=64 psum_addr=0"
        " wait(3>=2) signal(4+=1)\n"
        "halt\n"
    )
    assert disassemble(assemble(text)) == text


def test_sync_words_set_the_header():
    fields = decode(assemble("vector.sync consume(3>=2) signal(4+=0x10)")).fields
    assert fields == {
        "wait": 1,
        "consume": 1,
        "wait_sem": 3,
        "wait_value": 2,
        "signal": 1,
        "signal_sem": 4,
        "signal_value": 16,
    }


def test_comments_and_blank_lines_are_nothing():
    assert assemble("# a comment\n\n  halt  # done\n") == encode("halt")


def test_a_word_is_a_granule_taken_literally():
    assert assemble(".word 0xff") == b"\xff" + bytes(15)
    assert disassemble(b"\xff" + bytes(15)) == f".word 0x{0xFF:032x}\n"


def test_all_granules_of_an_illegal_instruction_become_words():
    illegal = bytearray(encode("load.dma", mem_addr=0, run=1, sbuf_addr=0, layout=0))
    illegal[63] = 0x80
    text = disassemble(bytes(illegal) + encode("halt"))
    assert [line.split()[0] for line in text.splitlines()] == [".word"] * 4 + ["halt"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tensor.jump", "line 2: mnemonic 'tensor.jump' is unknown.*: 'tensor.jump'"),
        ("tensor.sync wait=2", "line 2: tensor.sync: wait must be 0 to 1, not 2: 'tensor.sync"),
        ("tensor.sync wait(1+=2)", r"line 2: wait takes >=, not \+=: 'tensor.sync wait"),
        ("tensor.sync signal(1>=2)", r"line 2: signal takes \+=, not >="),
        ("tensor.sync wait(a>=2)", "line 2: 'a' is not a number"),
        ("tensor.sync wait(1>=2) wait=0", "line 2: wait is given twice"),
        ("tensor.sync 5", "line 2: '5' is neither name=value nor"),
        ("tensor.load rows=08x", "line 2: '08x' is not a number"),
        ("halt now=1", "line 2: halt has no field now"),
        (".word", "line 2: .word takes one value, not 0"),
        (".word 0x1" + "0" * 32, "line 2: .word must be 0 to"),
        (".word -1", "line 2: .word must be 0 to"),
    ],
)
def test_errors_quote_the_line(line, message):
    with pytest.raises(ValueError, match=message):
        assemble(f"halt\n{line}  # comment\n")


def test_a_program_is_whole_granules():
    with pytest.raises(ValueError, match="a multiple of 16 bytes, not 17"):
        disassemble(bytes(17))
