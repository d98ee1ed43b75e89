"""Parsers of command lines, whose errors are one line, and the types of their options."""

import argparse
from collections.abc import Callable
from typing import NoReturn, TypeVar

from tegula_sw.cli.exits import BAD_INPUT, complain

__all__ = [
    "MEM_LATENCY",
    "SEED",
    "Parser",
    "ScriptParser",
    "cycle_range",
    "integer",
    "probability",
    "product_shape",
    "several",
]

_Value = TypeVar("_Value")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are raised."""

    def error(self, message: str) -> NoReturn:
        """Raise the error.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(message)


class ScriptParser(argparse.ArgumentParser):
    """The parser of a script or a bench, whose errors are one line without the usage.

    Parameters
    ----------
    name
        What the line of an error begins with.
    description
        Of the help, as it is broken into lines.
    """

    def __init__(self, name: str, description: str | None, *, epilog: str | None = None):
        super().__init__(
            prog=name,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print the error, and end the process.

        Raises
        ------
        SystemExit
            Always, with `BAD_INPUT`.
        """
        complain(self.prog, ValueError(message))
        self.exit(BAD_INPUT)


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """The type of an option that is an integer of `low` to `high`; None: no upper limit."""
    limits = f"of at least {low}" if high is None else f"of {low} to {high}"

    def value_of(text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # also where there are more digits than Python converts
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"must be an integer {limits}, not {text!r}")
        return value

    return value_of


MEM_LATENCY = integer(1, 1 << 20)
"""The type of a read latency of the RTL's memory in cycles, with the limits of `RtlDevice`."""

SEED = integer(0, (1 << 64) - 1)
"""The type of a seed of stimuli or stalls, with the limits of `RtlDevice`."""


def probability(text: str) -> float:
    """The type of a probability, 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"a probability must be 0 to below 1, not {text!r}")
    return value


def cycle_range(text: str) -> tuple[int, int]:
    """The type of FIRST:END, cycles of which the last is END - 1."""
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = -1, -1
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"must be FIRST:END with 0 <= FIRST < END, not {text!r}")
    return first, end


_SIZE = integer(1, 1 << 16)


def product_shape(text: str) -> tuple[int, int, int]:
    """The type of MxNxK, or of N for N x N x N; each of 1 to 65536."""
    sizes = text.split("x")
    try:
        m, n, k = (_SIZE(size) for size in (sizes if len(sizes) > 1 else sizes * 3))
    except (argparse.ArgumentTypeError, ValueError):
        raise argparse.ArgumentTypeError(
            f"must be MxNxK or N, each of 1 to 65536, not {text!r}"
        ) from None
    return m, n, k


def several(kind: Callable[[str], _Value]) -> Callable[[str], list[_Value]]:
    """The type of an option that is a list of `kind`, with commas between."""

    def values_of(text: str) -> list[_Value]:
        return [kind(part) for part in text.split(",")]

    return values_of
