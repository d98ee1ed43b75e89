import numpy as np

from tegula_sw.profile.words import Words

FIELDS = {"go": 1, "pair": 2, "number": 20}


def words(*changes):
    """From (cycle, go, pair, number)."""
    cycles = np.array([change[0] for change in changes])
    return Words(
        cycles,
        np.array([go | pair << 1 | number << 3 for _, go, pair, number in changes], np.uint64),
        FIELDS,
    )


def test_a_field_holds_until_the_next_change():
    port = words((0, 0, 3, 7), (4, 1, 2, 1 << 19), (5, 0, 1, 0))
    cycles = np.array([0, 3, 4, 5, 99])
    assert port.field("pair", cycles).tolist() == [3, 3, 2, 1, 1]
    assert port.field("number", cycles).tolist() == [7, 7, 1 << 19, 0, 0]


def test_a_bit_that_stays_high_is_an_event_in_each_cycle():
    port = words((0, 0, 0, 0), (3, 1, 2, 0), (4, 1, 0, 9), (6, 0, 3, 0), (8, 0, 0, 0))
    assert port.events("go", 0, 10).tolist() == [3, 4, 5]
    assert port.events("pair", 0, 10).tolist() == [6, 7]
    assert port.events("pair", 1, 10).tolist() == [3, 6, 7]


def test_events_end_where_the_words_do():
    port = words((0, 1, 0, 0), (2, 0, 0, 0), (7, 1, 0, 0))
    assert port.events("go", 0, 9).tolist() == [0, 1, 7, 8]
    assert port.events("go", 0, 7).tolist() == [0, 1]
    assert words((0, 0, 0, 0)).events("go", 0, 9).tolist() == []
