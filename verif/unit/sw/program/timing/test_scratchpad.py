"""Banks that accesses take."""

import pytest

from tegula.config import preset
from tegula_sw.program.timing.scratchpad import Accesses, BankMasks

MASKS = BankMasks(preset("small"))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (MASKS.row(13), 0b0010_0000),
        (MASKS.pair(12), 0b0011_0000),
        (MASKS.pair(13), 0b0011_0000),
        (MASKS.element(6, wide=False), 0b0100_0000),
        (MASKS.element(6, wide=True), 0b1100_0000),
        (MASKS.line(16), 0b1111_1111),
        (MASKS.parity(0b0000_0100), 0b0101_0101),
        (MASKS.parity(0b0000_0110), 0b1111_1111),
        (MASKS.parity(0), 0),
    ],
)
def test_masks_are_those_of_the_banks(mask, expected):
    assert mask == expected


def test_a_line_of_fewer_words_than_a_bus_word_takes_its_banks():
    masks = BankMasks(preset("tiny", axi_data_width=128))
    assert [masks.line(addr) for addr in (0, 4, 12)] == [0x0F, 0xF0, 0xF0]


def test_a_progression_takes_a_bank_in_each_of_its_cycles():
    accesses = Accesses(MASKS)
    accesses.add(10, 3, 7, 2, interval=2, wide=False)
    taken = {cycle: accesses.at(cycle) for cycle in range(8, 18) if accesses.at(cycle)}
    assert taken == {10: MASKS.row(7), 12: MASKS.row(9), 14: MASKS.row(11)}


def test_accesses_of_one_cycle_add_up():
    accesses = Accesses(MASKS)
    accesses.add(4, 1, 0, 1, wide=True)
    accesses.add_single(4, MASKS.row(5))
    accesses.add_single(4, MASKS.none)
    assert accesses.at(4) == 0b11 | MASKS.row(5) | MASKS.none
    assert accesses.at(5) == 0


def test_nothing_is_known_behind_the_last_access():
    accesses = Accesses(MASKS)
    assert accesses.free_from(0)
    accesses.add(10, 3, 0, 1, interval=2, wide=False)
    assert not accesses.free_from(14)
    assert accesses.free_from(15)
