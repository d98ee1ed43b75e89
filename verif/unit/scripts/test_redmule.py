"""The table of RedMulE's shapes."""

import pytest

from scripts.redmule import REDMULE, redmule_table


def test_shapes_that_are_lost_are_named():
    ours = dict.fromkeys(REDMULE, 1.0) | {(5, 32, 3): 0.046, (96, 96, 96): 0.994}
    text = redmule_table({1: ours, 20: dict.fromkeys(REDMULE, 0.5)})
    lines = text.splitlines()
    assert "| 64 x 64 x 64 | 100.0% | 50.0% | 87.4% |" in lines
    assert len(lines) == 2 + len(REDMULE) + 2
    assert lines[-1].endswith("of 11 of 12 shapes; not of 5 x 32 x 3.")


def test_none_lost_is_said_without_a_list():
    text = redmule_table({1: dict.fromkeys(REDMULE, 1.0)})
    assert text.endswith("of 12 of 12 shapes.")


def test_a_shape_that_was_not_measured_is_an_error():
    with pytest.raises(KeyError):
        redmule_table({1: {}})
