import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.backend.rtlil import emit_rtlil
from tegula.backend.verilog import emit_verilog
from tegula.backend.yosys import YosysError, run_yosys


class Leaf(wiring.Component):
    """Add `step` to the input every cycle in which bit 0 of it is set; keep the last sums."""

    def __init__(self, step: int):
        self._step = step
        self.hidden = Signal(4)
        super().__init__({"i": In(4), "o": Out(8), "count": Out(unsigned(4))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(shape=8, depth=4, init=[5, 7, 7, 7])
        write, read = store.write_port(), store.read_port(domain="comb")
        m.d.comb += [write.addr.eq(self.i), write.data.eq(self.o), write.en.eq(self.i[3])]
        m.d.comb += read.addr.eq(self.count)
        with m.If(self.i[0]):
            m.d.sync += self.o.eq(self.o + self._step + read.data)
        m.d.sync += self.count.eq(self.count + self.i)
        m.d.comb += self.hidden.eq(self.count ^ self.i)
        return m


class Branch(wiring.Component):
    """Two leaves, the second fed by the first."""

    def __init__(self, step: int):
        self._step = step
        super().__init__({"i": In(4), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Leaf(1)
        m.submodules.second = second = Leaf(self._step)
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o), self.o.eq(second.o)]
        return m


class Tree(wiring.Component):
    """Four branches of one kind with differently driven inputs, and one of another kind."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(8).array(5)})

    def elaborate(self, platform):
        m = Module()
        inputs = [self.i, self.i[1:], 5, ~self.i, self.i]
        for index, value in enumerate(inputs):
            branch = Branch(2 if index == 4 else 1)
            m.submodules[f"branch_{index}"] = branch
            m.d.comb += [branch.i.eq(value), self.o[index].eq(branch.o)]
        return m


class Peeking(wiring.Component):
    """Reads a child's insides past its ports, which Amaranth allows."""

    def __init__(self):
        super().__init__({"i": In(4), "o": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.leaf = leaf = Leaf(1)
        m.submodules.branch = branch = Branch(1)
        m.d.comb += [leaf.i.eq(self.i), branch.i.eq(leaf.hidden), self.o.eq(branch.o)]
        return m


class Through(wiring.Component):
    """Output = input."""

    def __init__(self):
        super().__init__({"i": In(4), "nothing": In(0), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(~self.i)
        return m


class Loop(wiring.Component):
    """A combinational loop through two components."""

    def __init__(self):
        super().__init__({"o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.there = there = Through()
        m.submodules.back = back = Through()
        m.d.comb += [there.i.eq(back.o), back.i.eq(there.o), self.o.eq(there.o)]
        return m


def modules(text):
    return re.findall(r"^module \\?(\w+)", text, flags=re.M)


def compare(gold, gate, folder):
    """Verdict of Yosys's SAT solver on Amaranth's `gold` against our `gate` over 5 cycles."""
    (folder / "gold.il").write_text(rtlil.convert(gold, name="gold"))
    (folder / "gate.il").write_text(emit_rtlil(gate, "gate"))
    prepare = "read_rtlil {0}.il; hierarchy -check -top {0}; proc; flatten; memory; opt -full"
    for name in ("gold", "gate"):
        run_yosys(f"{prepare.format(name)}; write_rtlil {name}_flat.il", folder)
    return run_yosys(
        "read_rtlil gold_flat.il; read_rtlil gate_flat.il; miter -equiv -flatten gold gate miter;"
        " sat -prove trigger 0 -seq 5 -set-init-zero miter",
        folder,
    )


def test_equal_components_become_one_module():
    found = modules(emit_rtlil(Tree(), "tree"))
    assert sorted(found) == ["tree", "tree_branch", "tree_branch_2", "tree_leaf", "tree_leaf_2"]


def test_instances_keep_the_ports_of_the_signature_whatever_drives_them():
    text = emit_rtlil(Tree(), "tree")
    top = text[text.index("module \\tree\n") :].split("\nend")[0]
    assert len(re.findall(r"cell \\tree_branch \\branch_[0-3]\n", text)) == 4, top
    assert len(re.findall(r"cell \\tree_branch_2 \\branch_4\n", text)) == 1


@pytest.mark.parametrize("make", [lambda: Branch(3), Peeking])
def test_what_comes_out_is_what_went_in(make, tmp_path):
    assert "SAT proof finished - no model found: SUCCESS!" in compare(make(), make(), tmp_path)


def test_the_comparison_sees_a_difference(tmp_path):
    assert "model found: FAIL!" in compare(Branch(3), Branch(2), tmp_path)


def test_a_component_that_is_read_past_its_ports_stays_in_its_parent():
    found = modules(emit_rtlil(Peeking(), "peek"))
    assert set(found) == {"peek", "peek__leaf", "peek_branch", "peek_leaf"}


def test_verilog_is_written_once_and_memory_contents_are_loops(tmp_path, monkeypatch):
    monkeypatch.setenv("TEGULA_CACHE", str(tmp_path / "cache"))
    path = emit_verilog(Tree(), tmp_path / "tree.v", name="tree", about="five branches")
    text = path.read_text()
    assert text.startswith("// five branches\n")
    assert len(modules(text)) == 5
    assert "store[0] = 8'h05;\n    for (store_word = 1; store_word <= 3;" in text
    assert "$auto" not in text
    monkeypatch.setattr("tegula.backend.verilog.run_yosys", None)
    again = emit_verilog(Tree(), tmp_path / "again.v", name="tree", about="five branches")
    assert again.read_text() == text


def test_a_combinational_loop_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TEGULA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(YosysError, match="problems in 'check -assert'"):
        emit_verilog(Loop(), tmp_path / "loop.v", name="loop")
