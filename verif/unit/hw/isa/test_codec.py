"""The codec: every field in its place, every limit checked, every legal word back and forth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegula.config import PRESETS, preset
from tegula.formats import E4M3FN, E5M2
from tegula.isa.codec import check, decodable_instructions, decode, encode, instructions
from tegula.isa.instructions import (
    INSTRUCTIONS,
    Engine,
    Layout,
    available,
    by_mnemonic,
    by_opcode,
    codes,
)
from tegula.isa.traps import Trap

SMALL = preset("small")


def allowed_values(field, config):
    """Strategy of the values that the tile accepts, without listing them."""
    allowed = field.allowed(config)
    return st.sampled_from(allowed) if field.formats else st.integers(allowed[0], allowed[-1])


@st.composite
def legal_instructions(draw, config=SMALL):
    """A mnemonic and a value that the tile accepts for each of its fields."""
    instruction = draw(st.sampled_from(available(config)))
    fields = {f.name: draw(allowed_values(f, config)) for f in instruction.fields}
    for rule in instruction.forbidden:
        if all(fields[name] in among for name, among in rule):
            fields[rule[0][0]] = 0
    return instruction.mnemonic, fields


def test_no_two_fields_of_an_instruction_overlap():
    for instruction in INSTRUCTIONS:
        claimed = 0xFF
        for field in instruction.fields:
            mask = ((1 << field.width) - 1) << field.offset
            assert not claimed & mask, (instruction.mnemonic, field.name)
            assert field.offset + field.width <= instruction.bits
            claimed |= mask


def test_opcodes_and_mnemonics_are_unique():
    assert len({i.opcode for i in INSTRUCTIONS}) == len(INSTRUCTIONS)
    assert len({i.mnemonic for i in INSTRUCTIONS}) == len(INSTRUCTIONS)


def test_engines_and_codes_make_the_opcodes():
    assert {code.name: code.value for code in codes(Engine.TENSOR)} == {
        "SYNC": 0,
        "LOAD": 1,
        "MATMUL": 2,
        "SCALES": 3,
    }
    for instruction in INSTRUCTIONS:
        assert instruction.opcode == instruction.engine << 4 | instruction.code
        if instruction.has_sync:
            name = instruction.mnemonic.split(".")[1].upper()
            assert codes(instruction.engine)[name] == instruction.code


@given(legal_instructions())
def test_decode_undoes_encode(instruction):
    mnemonic, fields = instruction
    data = encode(mnemonic, SMALL, **fields)
    decoded = decode(data)
    assert (decoded.mnemonic, decoded.fields, decoded.size) == (mnemonic, fields, len(data))


@given(legal_instructions())
def test_the_tile_accepts_what_encode_with_its_configuration_makes(instruction):
    mnemonic, fields = instruction
    data = encode(mnemonic, SMALL, **fields)
    assert check(data, SMALL) is Trap.NONE
    assert check(decode(data), SMALL) is Trap.NONE
    assert check(int.from_bytes(data, "little") | 1 << 8 * len(data), SMALL) is Trap.NONE


@given(st.sampled_from(available(SMALL)), st.data())
def test_each_bit_alone_reaches_exactly_the_field_that_claims_it(instruction, data):
    bit = data.draw(st.integers(8, instruction.bits - 1))
    word = instruction.opcode | 1 << bit
    owners = [f for f in instruction.fields if f.offset <= bit < f.offset + f.width]
    raw = word.to_bytes(instruction.bits // 8, "little")
    if not owners:
        with pytest.raises(ValueError, match=f"bit {bit} set, which no field claims"):
            decode(raw)
        assert check(word, SMALL) is Trap.ILLEGAL_FIELD
        return
    decoded = decode(raw)
    assert [name for name, value in decoded.fields.items() if value] == [owners[0].name]


@pytest.mark.parametrize("name", PRESETS)
def test_a_value_just_outside_a_fields_limits_is_illegal(name):
    config = PRESETS[name]
    checked = 0
    for instruction in available(config):
        good = {f.name: f.allowed(config)[0] for f in instruction.fields}
        assert check(encode(instruction.mnemonic, config, **good), config) is Trap.NONE
        for field in instruction.fields:
            allowed = field.allowed(config)
            for value in (allowed[0] - 1, allowed[-1] + 1):
                if not field.low <= value <= field.high:
                    continue
                bad = encode(instruction.mnemonic, **{**good, field.name: value})
                assert check(bad, config) is Trap.ILLEGAL_FIELD, (instruction.mnemonic, field.name)
                assert check(decode(bad), config) is Trap.ILLEGAL_FIELD
                with pytest.raises(ValueError, match=rf"{field.name} must be .* not {value}"):
                    encode(instruction.mnemonic, config, **{**good, field.name: value})
                checked += 1
    assert checked > 20


def test_every_unknown_opcode_is_illegal():
    unknown = [code for code in range(256) if by_opcode(code) is None]
    assert len(unknown) == 256 - len(INSTRUCTIONS)
    for code in unknown:
        assert check(code, SMALL) is Trap.ILLEGAL_OPCODE
        with pytest.raises(ValueError, match=f"opcode {code:#04x} at byte 0 is unknown"):
            decode(bytes([code]) + bytes(15))


def test_a_tile_does_not_know_the_instructions_that_it_does_not_have():
    word = encode("vector.quantise", rows=1, format="e4m3fn", columns=1, dst=0, scale_dst=1)
    plain = preset("small", mx=False)
    assert check(word, preset("small", mx=True)) is Trap.NONE
    assert check(word, plain) is check(decode(word), plain) is Trap.ILLEGAL_OPCODE
    with pytest.raises(ValueError, match=r"vector\.quantise needs mx, which tile 'small' has not"):
        encode("vector.quantise", plain, rows=1, format="e4m3fn", columns=1, dst=0, scale_dst=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "bf16"},
        {"format": "fp32"},
        {"format": "e5m2", "e2m1": 1},
        {"packed": 1},
        {"s0_kind": "y"},
        {"s1_kind": "y"},
        {"x_source": "index"},
        {"rule": 3},
    ],
    ids=str,
)
def test_what_cannot_be_quantised_is_illegal(fields):
    config = preset("small", mx=True)
    fields = {"rows": 1, "format": "e4m3fn", "columns": 1, "dst": 0, "scale_dst": 1} | fields
    assert check(encode("vector.quantise", **fields), config) is Trap.ILLEGAL_FIELD
    with pytest.raises(ValueError, match=r"vector\.quantise: .*(must be|illegal)"):
        encode("vector.quantise", config, **fields)


def test_fields_of_unused_semaphores_are_checked_too():
    word = encode("tensor.sync", wait=0, wait_sem=SMALL.semaphores)
    assert check(word, SMALL) is Trap.ILLEGAL_FIELD


def test_fp32_is_a_result_format_but_not_an_operand_format():
    assert check(encode("vector.compute", rows=1, format="fp32", dst=0, columns=1), SMALL) == 0
    word = encode("tensor.load", rows=1, format="fp32", columns=1, addr=0)
    assert check(word, SMALL) is Trap.ILLEGAL_FIELD


def test_a_format_is_given_as_object_name_or_code():
    words = {
        encode("tensor.load", rows=8, format=fmt, columns=8, addr=0)
        for fmt in (E5M2, "e5m2", E5M2.code)
    }
    assert len(words) == 1
    assert decode(words.pop()).fields["format"] == E5M2.code


def test_a_layout_is_given_as_member_name_or_number():
    words = {
        encode("load.dma", mem_addr=0, run=1, sbuf_addr=0, layout=layout)
        for layout in (Layout.PARTITION, "partition", 1)
    }
    assert len(words) == 1
    assert decode(words.pop()).fields["layout"] == Layout.PARTITION


def test_fields_left_out_take_their_defaults():
    fields = decode(encode("load.dma", mem_addr=64, run=8, sbuf_addr=16, layout="free")).fields
    given_here = {"mem_addr": 64, "run": 8, "sbuf_addr": 16, "layout": 0}
    defaults = {f.name: f.default for f in by_mnemonic("load.dma").fields}
    assert fields == {**defaults, **given_here}


def test_negative_values_live_in_signed_fields():
    data = encode("tensor.load", rows=8, format=E4M3FN, columns=8, addr=7, stride=-32768)
    assert decode(data).fields["stride"] == -32768
    with pytest.raises(ValueError, match="stride must be -32768 to 32767, not -32769"):
        encode("tensor.load", rows=8, format=E4M3FN, columns=8, addr=7, stride=-32769)


@pytest.mark.parametrize(
    ("mnemonic", "fields", "message"),
    [
        ("tensor.add", {}, "mnemonic 'tensor.add' is unknown"),
        ("halt", {"wait": 1}, "halt has no field wait"),
        ("tensor.sync", {"addr": 0}, "tensor.sync has no field addr"),
        ("tensor.load", {"rows": 1}, "tensor.load needs field format"),
        ("tensor.sync", {"wait_sem": 32}, "tensor.sync: wait_sem must be 0 to 31, not 32"),
        ("tensor.sync", {"wait_sem": "x"}, "wait_sem must be an integer, not 'x'"),
        ("load.dma", {"mem_addr": 0, "run": 1, "sbuf_addr": 0, "layout": "row"}, "layout 'row'"),
        ("tensor.load", {"rows": 1, "format": "fp9"}, "format 'fp9' is unknown"),
    ],
)
def test_a_bad_field_is_named(mnemonic, fields, message):
    with pytest.raises(ValueError, match=message):
        encode(mnemonic, **fields)


def test_a_truncated_instruction_does_not_decode():
    data = encode("load.dma", mem_addr=0, run=1, sbuf_addr=0, layout=0)
    with pytest.raises(ValueError, match=r"load\.dma at byte 0 needs 64 bytes, not 48"):
        decode(data[:48])


def test_fields_are_named_freely():
    with pytest.raises(ValueError, match="halt has no field config, mnemonic"):
        encode("halt", config=1, mnemonic=2)


def test_a_program_is_walked_instruction_by_instruction():
    first = encode("tensor.load", rows=8, format="bf16", columns=8, addr=0)
    second = encode("vector.sync")
    program = first + second + encode("halt")
    found = list(instructions(program))
    assert [offset for offset, _ in found] == [0, len(first), len(first) + len(second)]
    assert [decoded.mnemonic for _, decoded in found] == ["tensor.load", "vector.sync", "halt"]
    assert list(decodable_instructions(program)) == found
    assert list(instructions(b"")) == []


@pytest.mark.parametrize(("tail", "why"), [(b"\xff" * 16, "opcode 0xff at byte 16"), (b"", None)])
def test_the_walk_ends_at_what_is_no_instruction(tail, why):
    whole = encode("vector.sync")
    program = whole + (tail or encode("load.dma", mem_addr=0, run=1, sbuf_addr=0, layout=0)[:-16])
    walk = instructions(program)
    assert next(walk) == (0, decode(whole))
    with pytest.raises(ValueError, match=why or "load.dma at byte 16 needs"):
        next(walk)
    assert list(decodable_instructions(program)) == [(0, decode(whole))]


@pytest.mark.parametrize("walk", [instructions, decodable_instructions])
@pytest.mark.parametrize("program", [None, 3, "ab", [0, 1]])
def test_a_walk_over_what_is_no_bytes_is_refused(walk, program):
    with pytest.raises(ValueError, match="program must be bytes, not "):
        walk(program)


def test_a_program_is_walked_in_any_buffer():
    code = encode("vector.sync") + encode("halt")
    wanted = list(instructions(code))
    for program in (bytearray(code), memoryview(code), memoryview(code).cast("I")):
        assert list(instructions(program)) == wanted
