"""Checks of the arguments of public functions: an error names the argument, value and limit."""

from operator import index
from typing import SupportsIndex

__all__ = ["check_integer"]


def check_integer(name: str, value: object, low: int | None = None, high: int | None = None) -> int:
    """An argument as an `int`, which numpy's integers become, too; a bool is none.

    Parameters
    ----------
    name
        What messages call the argument.
    low, high
        Its limits, of which `high` comes with `low` only; None: there is none.

    Raises
    ------
    ValueError
        If it is no integer, or beyond a limit.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, SupportsIndex):
            raise TypeError
        number = index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, not {value!r}") from None
    if low is not None and (number < low or (high is not None and number > high)):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name} must be {limits}, not {number}")
    return number
