"""docs/isa.md says what the tables say, and its example computes what it claims."""

import numpy as np
import pytest

from scripts import isa_doc, isa_prose
from tegula.config import PRESETS, preset
from tegula.formats import BF16
from tegula.isa.assembly import assemble
from tegula.isa.instructions import INSTRUCTIONS
from tegula.isa.registers import REGISTERS
from tegula.isa.traps import Trap
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.gemm import gemm
from tegula_golden.tile.simulator import GoldenTile


def test_the_committed_document_is_up_to_date():
    assert isa_doc.DEFAULT_PATH.read_text(encoding="utf-8") == isa_doc.render()
    assert isa_doc.main(["--check"]) == 0


def test_a_stale_document_fails_the_check(tmp_path, capsys):
    path = tmp_path / "isa.md"
    assert isa_doc.main([str(path), "--check"]) == 1
    assert not path.exists()
    assert isa_doc.main([str(path)]) == 0
    assert isa_doc.main([str(path), "--check"]) == 0
    path.write_text(path.read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert isa_doc.main([str(path), "--check"]) == 1
    assert capsys.readouterr().err.count("is out of date") == 2


def test_every_instruction_field_register_and_cause_is_described():
    text = isa_doc.render()
    names = [i.mnemonic for i in INSTRUCTIONS]
    names += [field.name for i in INSTRUCTIONS for field in i.fields]
    names += [register.name for register in REGISTERS]
    names += [cause.name for cause in Trap if cause != Trap.NONE]
    assert len(names) > 100
    missing = [name for name in names if f"`{name}`" not in text]
    assert not missing


@pytest.mark.parametrize("config", PRESETS.values(), ids=lambda config: config.name)
def test_named_limits_are_those_of_every_preset(config):
    fields = {
        id(f): f
        for i in INSTRUCTIONS
        for f in i.fields
        if not f.formats and f.names is None and f.width > 1
    }
    for field in fields.values():
        low, high = isa_doc._limits(field).removesuffix(", signed").split(" .. ")
        for text, value in ((low, field.allowed(config)[0]), (high, field.allowed(config)[-1])):
            name = isa_doc._LIMIT_NAMES.get(text)
            assert value == (int(text) if name is None else name(config)), field.name


def test_the_worked_example_multiplies():
    config = preset("small")
    rng = np.random.default_rng(0)
    a, b = cast(rng.standard_normal((2, 8, 8)).astype(np.float32).view(np.uint32), BF16)
    program = assemble(isa_prose.EXAMPLE)
    memory = np.zeros(0x2000, np.uint8)
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    memory[0x1000:0x1080] = a.reshape(-1).view(np.uint8)
    memory[0x1080:0x1100] = b.reshape(-1).view(np.uint8)
    result = GoldenTile(config).run(memory, program=0, program_bytes=len(program))
    assert result.trap is None
    c = memory[0x1100:0x1180].view(np.uint16).reshape(8, 8)
    np.testing.assert_array_equal(c, gemm(a, b, BF16, BF16, BF16))
    assert np.unique(c).size > 10
    assert not memory[0x1180:].any()
