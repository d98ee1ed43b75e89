"""Delays that are estimated before placement."""

import json

import pytest

from scripts.estimate import estimated, net_ps
from scripts.netlist import Netlist, block_of
from scripts.sdf import worst_paths

OUTPUTS = ("Q", "Z", "COUT", "S0", "DO", "P3", "DOA0")


def cell(kind, **ports):
    return {
        "type": kind,
        "connections": {
            port: bit if isinstance(bit, list) else [bit] for port, bit in ports.items()
        },
        "port_directions": {port: "output" if port in OUTPUTS else "input" for port in ports},
    }


def worst(**cells):
    """The worst path from block a to block b through cells between them."""
    module = {
        "cells": {
            "tile.a.FF": cell("TRELLIS_FF", CLK=2, Q=10),
            **{f"tile.m.{name}": made for name, made in cells.items()},
            "tile.b.FF": cell("TRELLIS_FF", CLK=2, DI=20),
        },
        "netnames": {},
    }
    netlist = Netlist.read(json.dumps({"modules": {"harness": module}}))
    (path,) = worst_paths(estimated(netlist), block_of, 9)
    assert (path["from_block"], path["to_block"]) == ("a", "b")
    return path


def test_a_net_takes_longer_the_more_it_drives():
    delays = [net_ps(fan_out) for fan_out in (1, 4, 5, 16, 32, 64, 128, 12800)]
    assert delays == sorted(delays) and delays[0] == 870 and delays[6] == 2780 + 600


@pytest.mark.parametrize(
    ("kind", "source", "output", "logic"),
    [
        ("LUT4", "C", "Z", 0.525 + 0.236),
        ("PFUMX", "C0", "Z", 0.525 + 0.256),
        ("CCU2C", "A0", "S0", 0.525 + 0.236),
        ("MULT18X18D", "A7", "P3", 0.525 + 3.927),
    ],
)
def test_a_cell_takes_the_time_of_its_kind(kind, source, output, logic):
    path = worst(x=cell(kind, **{source: 10, output: 20}))
    assert path["blocks"] == ["a", "m", "b"] and path["elements"] == 1
    assert path["logic_ns"] == pytest.approx(logic, abs=0.006)
    assert path["routing_ns"] == 0.87 + 0.13  # into the register beside the cell: directly


def test_a_carry_chain_has_wires_of_its_own():
    path = worst(x=cell("CCU2C", A1=10, COUT=15), y=cell("CCU2C", CIN=15, S0=20))
    assert (path["elements"], path["carries"]) == (1, 1)
    assert path["routing_ns"] == 0.87 + 0.13 + 0.13


def test_a_distributed_memory_is_read_without_a_clock():
    memory = cell("TRELLIS_DPR16X4", RAD=[10, "0", "0", "0"], DO=[20, 21, 22, 23], WCK=2)
    assert worst(x=memory)["elements"] == 1


def test_a_block_memory_is_read_by_the_clock():
    module = {
        "cells": {
            "tile.a.RAM": cell("DP16KD", CLKA=2, ADA0=30, DOA0=20),
            "tile.b.FF": cell("TRELLIS_FF", CLK=2, DI=20),
        },
        "netnames": {},
    }
    netlist = Netlist.read(json.dumps({"modules": {"harness": module}}))
    (path,) = worst_paths(estimated(netlist), block_of, 9)
    assert path["logic_ns"] == 5.83 and path["blocks"] == ["a", "b"]


def test_a_constant_does_not_hide_what_it_is_selected_with():
    constant = cell("LUT4", A="0", B="0", C="0", D="0", Z=15)
    path = worst(low=constant, x=cell("PFUMX", ALUT=15, BLUT=16, C0=10, Z=20))
    assert path["elements"] == 1 and path["blocks"] == ["a", "m", "b"]
