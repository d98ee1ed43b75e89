"""Inputs of submodules that are constant in a whole tile.

An input that nobody drives is its reset value to Amaranth, without a word: what this list does not
name has been forgotten.
"""

import re

import pytest

from tegula.backend.verilog import tile_verilog
from tegula.config import preset

INSTANCE = re.compile(r"^  (\w+) (\w+) \(\n(.*?)^  \);", re.M | re.S)
CONSTANT = re.compile(r"\.(\w+)\((\d+'[hb][0-9a-f]+)\)")

TIE_OFFS = {
    # Sums and products only: nothing is compared, no pattern is kept, every result is output.
    *(("activation_lane", "adder", port) for port in ("alone", "keep", "takes")),
    *(("chunk_adder", "add", port) for port in ("alone", "keep", "takes")),
    ("activation_lane", "multiplier", "takes"),
    # Functions round to nearest.
    *(("activation_lane", "cast", port) for port in ("random", "stochastic")),
    # A stop resets the activation engine's pipeline, and its combiner with it.
    ("item_pipeline", "combiner", "stop"),
    # Every moving column that is read takes part.
    ("tensor_engine", "moving_feed", "absent"),
}
"""(module, instance, input)."""


def tie_offs(text, prefix):
    """Of Verilog: the set of (module without `prefix` and number, instance, input)."""
    found = set()
    for module in re.split(r"^module ", text, flags=re.M)[1:]:
        name = re.sub(r"_\d+$", "", re.split(r"\W", module, maxsplit=1)[0])
        for instance in INSTANCE.finditer(module):
            for port in CONSTANT.finditer(instance[3]):
                found.add((name.removeprefix(prefix), instance[2], port[1]))
    return found


def tops_of_columns(config):
    """Inputs of the first element of each column, above which there are no second products."""
    return {
        ("systolic_array", f"second_0_{column}", port)
        for column in range(config.n)
        for port in ("sum_in", "flags_in")
    }


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_inputs_of_submodules_are_driven(name):
    config = preset(name)
    found = tie_offs(tile_verilog(config).read_text(), f"tegula_{name}_")
    assert found == TIE_OFFS | tops_of_columns(config)


def test_an_input_without_a_driver_is_found():
    text = "module t_a_2(clk);\n  t_b below (\n    .clk(clk),\n    .takes(4'h0)\n  );\nendmodule\n"
    assert tie_offs(text, "t_") == {("a", "below", "takes")}
