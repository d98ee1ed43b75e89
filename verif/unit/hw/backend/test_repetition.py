"""Repetition in what Amaranth elaborates: an expression is elaborated for each of its uses.

What gates many bits, or is used again by what uses it, must be a signal: as an expression it costs
time and memory in every build, and its cells grow by a factor for each use within a use.
"""

import re
from collections import Counter

import pytest

from tegula.backend.rtlil import emit_rtlil
from tegula.config import preset
from tegula.tile import Tile

MOST_REPEATED = 0.5
"""Share of a module's cells that compute what another one of it computes."""

FEW_CELLS = 100
MODULE = re.compile(r"^module (\S+)\n(.*?)^end$", re.M | re.S)
CELL = re.compile(r"^  cell (\$\S+) \S+\n(.*?)^  end$", re.M | re.S)
OUTPUT = re.compile(r"^ *connect \\[YQ] .*\n", re.M)


def repeated(body):
    """Of a module's RTLIL: how many cells it has, and how many have the inputs of another."""
    cells = Counter((kind, OUTPUT.sub("", inside)) for kind, inside in CELL.findall(body))
    return cells.total(), cells.total() - len(cells)


@pytest.mark.slow
def test_few_cells_of_a_module_compute_the_same():
    modules = dict(MODULE.findall(emit_rtlil(Tile(preset("small")), "tegula_small")))
    counts = {name: repeated(body) for name, body in modules.items()}
    large = {name: count for name, count in counts.items() if count[0] >= FEW_CELLS}
    assert len(large) > 30
    worst = {name: again / cells for name, (cells, again) in large.items()}
    assert {name: share for name, share in worst.items() if share > MOST_REPEATED} == {}


def test_equal_cells_are_found():
    cell = "  cell $and $1\n    connect \\A \\x\n    connect \\Y $%d\n  end\n"
    other = cell.replace("\\x", "\\y")
    assert repeated(cell % 1 + cell % 2 + other % 3 + cell % 4) == (4, 2)
