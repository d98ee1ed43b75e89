"""Synthesis flows: counts of cells, by module and inclusive."""

import pytest

from scripts.flows import (
    ECP5,
    XILINX_7,
    inclusive,
    synthesise,
    table,
)
from verif import ROOT

SMALL = ROOT / "verif" / "unit" / "scripts" / "recorded" / "small.v"
"""A counter, and the parity of what it counts, as blocks of a tile."""


def test_sites_are_counted_by_cell():
    cells = {
        "LUT4": 10,
        "CCU2C": 3,
        "TRELLIS_FF": 7,
        "TRELLIS_DPR16X4": 2,
        "DP16KD": 1,
        "L6MUX21": 4,
    }
    assert ECP5.resources(cells) == {
        "sites": 10 + 2 * 3 + 6 * 2,
        "LUT4": 10,
        "CCU2C": 3,
        "FF": 7,
        "DSP": 0,
        "BRAM": 1,
        "DPR16X4": 2,
    }
    cells = {"LUT1": 1, "LUT6": 5, "INV": 1, "RAM32M": 2, "RAM64X1D": 1, "SRL16E": 3, "FDRE": 4}
    found = XILINX_7.resources({**cells, "FDSE": 1, "RAMB36E1": 2, "RAMB18E1": 1, "DSP48E1": 6})
    assert found == {
        "sites": 7 + 2 * 4 + 2 + 3,
        "LUT6": 7,
        "CARRY4": 0,
        "MUXF": 0,
        "FF": 5,
        "DSP": 6,
        "RAMB36": 2,
        "RAMB18": 1,
        "LUTRAM": 3,
        "SRL": 3,
    }


def test_cells_below_count_as_often_as_they_are_instantiated():
    modules = {"top": {"LUT4": 1, "mid": 2}, "mid": {"leaf": 3}, "leaf": {"LUT4": 5, "FF": 1}}
    assert inclusive(modules, "top") == {"LUT4": 1 + 2 * 3 * 5, "FF": 6}


def test_a_table_has_a_row_for_each_block():
    lines = table({"a block": {"sites": 12, "FF": 3}, "b": {"sites": 1, "FF": 0}}).splitlines()
    assert [line.split() for line in lines[::2]] == [["sites", "FF"], ["b", "1", "0"]]
    assert len(set(map(len, lines))) == 1


@pytest.mark.parametrize(
    ("family", "flop"),
    [(ECP5, "TRELLIS_FF"), pytest.param(XILINX_7, "FDRE", marks=pytest.mark.slow)],
)
def test_a_family_keeps_modules_apart(family, flop, tmp_path):
    options = "-noflatten" if family is ECP5 else ""
    modules = synthesise(SMALL, "tegula_small", family.flow, tmp_path, options=options)
    assert modules["counter"][flop] == 8 and modules["parity"][flop] == 1
    assert family.resources(inclusive(modules, "tegula_small"))["FF"] == 9
