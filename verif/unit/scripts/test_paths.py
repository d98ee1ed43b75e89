"""Combinational paths: found where they are, in a small design, and nowhere in the tile."""

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from scripts.dependence import read_blocks
from scripts.paths import ARCHITECTURE, BEGIN, BLOCKS, END, connections, table, tile_blocks
from tegula.backend.rtlil import emit_rtlil
from tegula.backend.yosys import run_yosys
from tegula.config import preset


class Sample(wiring.Component):
    """One output of each kind."""

    a: In(4)
    b: In(4)
    address: In(2)
    passed: Out(4)
    low: Out(1)
    registered: Out(4)
    looked_up: Out(4)
    deep: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=4, depth=4, init=[])
        read, write = words.read_port(domain="comb"), words.write_port()
        total = Signal(4)
        held = Signal(4)
        m.d.sync += held.eq(self.a)
        m.d.comb += [
            self.passed.eq(Mux(self.b[0], held, self.a)),
            total.eq(self.a + self.b),
            self.low.eq(total[0]),
            read.addr.eq(self.address),
            self.looked_up.eq(read.data),
            write.addr.eq(self.b),
            write.data.eq(self.a),
            write.en.eq(self.a[0]),
            self.deep.eq((held + 1) ^ held),
        ]
        m.d.sync += self.registered.eq(total)
        return m


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    (folder / "in.il").write_text(emit_rtlil(Sample(), "sample"))
    run_yosys(
        "read_rtlil in.il; proc; flatten; opt_clean; memory_collect; write_json out.json", folder
    )
    return read_blocks(folder / "out.json")["sample"]


def test_each_path_from_an_input_to_an_output_is_found_and_no_other(sample):
    assert dict(sample.feedthroughs()) == {
        "passed": ["a", "b"],
        "low": ["a", "b"],
        "looked_up": ["address"],
    }


def test_a_bit_of_a_sum_depends_on_the_bits_below_it_only(sample):
    lowest = {bit: index for index, bit in enumerate(sample.inputs["a"])}
    reached = sample.reachable(sample.outputs["low"])
    assert [lowest[bit] for bit in reached if bit in lowest] == [0]


def test_levels_of_logic_before_an_output_and_behind_an_input(sample):
    assert sample.levels_before(sample.outputs["registered"]) == 0
    assert sample.levels_before(sample.outputs["deep"]) == 2
    assert sample.levels_after(sample.inputs["address"]) == 1


def test_a_file_without_modules_is_refused(tmp_path):
    path = tmp_path / "empty.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="holds no netlist"):
        read_blocks(path)


@pytest.mark.slow
def test_no_path_enters_a_block_of_the_tile_and_leaves_it_again():
    blocks = tile_blocks(preset("tiny"))
    through = {name: dict(blocks[name].feedthroughs()) for name in BLOCKS}
    assert through == {name: {} for name in BLOCKS}
    rows = connections(blocks)
    assert len({row.source for row in rows}) == len(BLOCKS) + 1
    documented = ARCHITECTURE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert documented == table(rows)
