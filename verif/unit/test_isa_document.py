"""The committed ISA document says what the tables say."""

from tegula.isa.document import DEFAULT_PATH, document, main
from tegula.isa.instructions import INSTRUCTIONS
from tegula.isa.registers import REGISTERS


def test_the_committed_document_is_up_to_date():
    assert DEFAULT_PATH.read_text() == document(), "run `make docs`"


def test_every_instruction_field_and_register_is_in_it():
    text = document()
    for instruction in INSTRUCTIONS:
        assert f"### `{instruction.mnemonic}`" in text
        for field in instruction.payload:
            assert f"| `{field.name}` |" in text
    for register in REGISTERS:
        assert f"| `{register.name}` |" in text


def test_check_fails_on_a_stale_file(tmp_path):
    path = tmp_path / "isa.md"
    assert main(["--check", str(path)]) == 1
    assert main([str(path)]) == 0
    assert main(["--check", str(path)]) == 0
    path.write_text(path.read_text() + "x")
    assert main(["--check", str(path)]) == 1
