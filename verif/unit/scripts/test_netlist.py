"""Blocks of cells by their names, and fan-out."""

import json

import pytest

from scripts.netlist import Netlist, block_of


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        ("tile.vector.lane_0.x_TRELLIS_FF_Q_1", "vector"),
        ("tile.read_share._12__LUT4_Z", "read_share"),
        ("$flatten\\tile.\\scratchpad.\\bank_0.$auto$memory.0.0", "scratchpad"),
        ("tile.load.x_CCU2C_S0$CCU2_COMB1", "load"),
        ("harness_i_TRELLIS_FF_Q_3", "harness"),
        ("$nextpnr_CCU2C_3$CCU2_COMB0", ""),
        ("tile_x", ""),
        ("tile.m_axi__wdata_LUT4_Z", ""),
    ],
)
def test_the_block_is_the_first_name_in_the_tile(cell, block):
    assert block_of(cell) == block


def cell(kind, **ports):
    """A cell whose port Q, Z or F is an output."""
    return {
        "type": kind,
        "connections": ports,
        "port_directions": {port: "output" if port in "QZ" else "input" for port in ports},
    }


NETLIST = {
    "cells": {
        "tile.a.x_FF": cell("TRELLIS_FF", CLK=[2], DI=[3], Q=[4]),
        "tile.a.w_FF": cell("TRELLIS_FF", CLK=[2], DI=["0"], CE=[4], LSR=[3], Q=[9]),
        "tile.a.y_LUT": cell("LUT4", A=[4], C=["0"], D=[5], Z=[6]),
        "tile.b.z_LUT": cell("LUT4", A=[4], B=[6], Z=[7]),
        "$auto$scope": cell("$scopeinfo"),
        "lone": cell("LUT4", A=[3], B=[5], C=[5], D=[5], Z=[8]),
    },
    "netnames": {
        "clk": {"bits": [2]},
        "in": {"bits": [3, 5]},
        "tile.a.longer_name": {"bits": [4]},
        "tile.a.x": {"bits": [4, 6, "x"]},
    },
}


def test_fan_out_counts_inputs_that_a_cell_drives():
    netlist = Netlist.read(json.dumps({"modules": {"harness": NETLIST}}))
    assert netlist.largest_fan_out(9) == [
        {
            "net": "tile.a.x[0]",
            "block": "a",
            "fan_out": 3,
            "sinks": {"a": 2, "b": 1},
            "pins": {"logic": 2, "enable": 1},
        },
        {"net": "tile.a.x[1]", "block": "a", "fan_out": 1, "sinks": {"b": 1}, "pins": {"logic": 1}},
    ]
    assert len(netlist.largest_fan_out(1)) == 1


def test_cells_are_counted_by_block():
    netlist = Netlist.read(json.dumps({"modules": {"harness": NETLIST}}))
    assert netlist.by_block() == {
        "a": {"TRELLIS_FF": 2, "LUT4": 1},
        "b": {"LUT4": 1},
        "other": {"LUT4": 1},
    }


@pytest.mark.parametrize("text", ["{}", '{"modules": {"tile": {}}}'])
def test_another_netlist_is_an_error(text):
    with pytest.raises(ValueError, match="the netlist has no module 'harness'"):
        Netlist.read(text)
