"""Marks of tests that `make test` leaves to `make test-all`."""

from collections.abc import Iterable

import pytest

__all__ = ["slow_params"]


def slow_params(values: Iterable) -> list:
    """Parameters, each marked `slow`; a tuple is one test's values of several parameters."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for value in values
    ]
