"""Tables of resources by block."""

from scripts.flows import ECP5, XILINX_7
from scripts.synth import block_table, fits
from tegula.config import preset


def test_a_row_has_a_block_on_both_families():
    ecp5 = {"vector_engine": ECP5.resources({"LUT4": 7, "TRELLIS_FF": 5, "MULT18X18D": 1})}
    xilinx = {"vector_engine": XILINX_7.resources({"LUT6": 4, "FDRE": 3, "RAMB18E1": 2})}
    lines = block_table(preset("tiny"), ecp5, xilinx).splitlines()
    head, rule, row = lines[-3:]
    assert row == "| vector engine | 7 | 5 | 1 | 0 | 4 | 3 | 0 | 0 | 0 | 0 | 2 |"
    assert head.count("|") == rule.count("|") == row.count("|")


def test_a_tile_fits_if_all_of_its_resources_do():
    total = {"sites": 83640, "FF": 83640, "DSP": 156, "BRAM": 208}
    assert fits(total)
    assert not any(fits({**total, name: total[name] + 1}) for name in total)
