"""Checks of arguments: what an integer is, and both ends of its limits."""

import numpy as np
import pytest

from tegula_golden.arguments import check_integer


@pytest.mark.parametrize("value", [3, 7, np.int8(5), np.uint64(7), np.array(4)])
def test_an_integer_within_its_limits_is_given_back_as_an_int(value):
    number = check_integer("size", value, 3, 7)
    assert type(number) is int
    assert number == value


@pytest.mark.parametrize("value", [2, 8, -1, np.int64(8)])
def test_an_integer_beyond_its_limits_is_named_with_them(value):
    with pytest.raises(ValueError, match=rf"^size must be 3 to 7, not {value}$"):
        check_integer("size", value, 3, 7)


def test_a_lower_limit_stands_alone():
    assert check_integer("size", 1 << 70, 3) == 1 << 70
    with pytest.raises(ValueError, match=r"^size must be at least 3, not 2$"):
        check_integer("size", 2, 3)


def test_without_limits_every_integer_is_one():
    assert check_integer("size", -(1 << 70)) == -(1 << 70)


@pytest.mark.parametrize(
    "value", [True, np.True_, 2.0, np.float32(3), "4", None, np.zeros(2, np.int8), [5]]
)
def test_what_is_no_integer_is_quoted(value):
    with pytest.raises(ValueError, match=r"^size must be an integer, not ") as caught:
        check_integer("size", value, 0, 9)
    assert repr(value) in str(caught.value)
