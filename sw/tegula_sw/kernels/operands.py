"""Operands of vector instructions: sources, steps, strips, values of each partition."""

from dataclasses import dataclass
from enum import IntEnum
from numbers import Real
from typing import TypeVar

import numpy as np

from tegula.formats import FP32
from tegula.isa.operations import Operand, Operation, Source
from tegula_sw.kernels.matrix import Strip
from tegula_sw.program.footprint import Storage

__all__ = [
    "SELF",
    "Index",
    "PerPartition",
    "Random",
    "Step",
    "check_operands",
    "check_scratchpad",
    "check_shape",
    "fp32_pattern",
    "member",
    "scalar_addr",
    "scaled_by",
    "vector_fields",
]

_Named = TypeVar("_Named", bound=IntEnum)

SELF = "self"
"""Operand of a step: its own first operand."""


@dataclass(frozen=True)
class PerPartition:
    """Operand of a step, or scale or bias: the fp32 in the only column of a strip."""

    strip: Strip


@dataclass(frozen=True)
class Index:
    """A source of a vector instruction: the fp32 patterns of ``2**23 + first + i * step``."""

    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class Random:
    """A source of a vector instruction: random numbers of [1, 2)."""


@dataclass(frozen=True)
class Step:
    """An operation of a vector instruction, ``a op operand`` (isa, `vector.compute`).

    Attributes
    ----------
    op
        Name of an `Operation`.
    operand
        A number (rounded to fp32), a value of each partition, a strip with as many columns as the
        instruction (one strip an instruction), or `SELF`.
    """

    op: str
    operand: float | PerPartition | Strip | str = 0.0


def scaled_by(scale: Strip | None) -> tuple[Step, ...]:
    """The steps that multiply by a value of each partition: one, or without a scale none."""
    return () if scale is None else (Step("mul", PerPartition(scale)),)


def fp32_pattern(value: float) -> int:
    """The bits of a number, rounded to fp32."""
    if not isinstance(value, Real):
        raise ValueError(f"an operand must be a number, not {value!r}")
    return int(np.float32(value).view(np.uint32))


def member(names: type[_Named], what: str, name: str) -> _Named:
    """The value that is called `name`, in any case.

    Raises
    ------
    ValueError
        If there is none; the message calls it `what` and lists those there are.
    """
    values = {value.name.lower(): value for value in names}
    if not isinstance(name, str) or name.lower() not in values:
        raise ValueError(f"{what} {name!r} is unknown: it must be one of {', '.join(values)}")
    return values[name.lower()]


def vector_fields(
    x: Strip | Index | Random,
    steps: tuple[Step, ...],
    rows: int,
    start: int,
    stop: int,
) -> dict[str, int]:
    """Rows, columns, x and steps of `vector.compute`."""
    if len(steps) > 2:
        raise ValueError(f"a vector instruction has at most two steps, not {len(steps)}")
    fields: dict[str, int] = {"rows": rows, "columns": stop - start}
    match x:
        case Index():
            fields |= {
                "x_source": Source.INDEX,
                "x_addr": (x.first + start * x.step) % (1 << 16),
                "x_stride": x.step,
            }
        case Random():
            fields["x_source"] = Source.RANDOM
        case Strip():
            part = x.slice(start, stop)
            in_psum = part.storage is Storage.PSUM
            fields |= {
                "x_source": Source.PSUM if in_psum else Source.SBUF,
                "x_format": part.fmt.code,
                "x_addr": part.addr,
                "x_stride": part.stride,
            }
    strips = [step.operand for step in steps if isinstance(step.operand, Strip)]
    if any(strip != strips[0] for strip in strips):
        raise ValueError("both steps of a vector instruction must take the same strip")
    if strips:
        part = strips[0].slice(start, stop)
        fields |= {
            "y_format": part.fmt.code,
            "y_addr": part.addr,
            "y_stride": part.stride,
        }
    for number, step in enumerate(steps):
        fields[f"op{number}"] = member(Operation, "operation", step.op)
        match step.operand:
            case PerPartition(strip):
                fields[f"s{number}_kind"] = Operand.PARTITION
                fields[f"s{number}"] = scalar_addr(strip, rows)
            case Strip():
                fields[f"s{number}_kind"] = Operand.Y
            case str(text):
                if text != SELF:
                    raise ValueError(f"an operand must be a number or SELF, not {text!r}")
                fields[f"s{number}_kind"] = Operand.SELF
            case value:
                fields[f"s{number}"] = fp32_pattern(value)
    return fields


def check_operands(
    rows: int, columns: int, x: Strip | Index | Random, steps: tuple[Step, ...]
) -> None:
    """Check that strips are as large as the instruction, and only x is in PSUM."""
    if isinstance(x, Strip):
        check_shape(x, rows, columns)
    elif not isinstance(x, Index | Random):
        raise ValueError(f"x must be a Strip, an Index or a Random, not {x!r}")
    for step in steps:
        if not isinstance(step, Step):
            raise ValueError(f"a step must be a Step, not {step!r}")
        if isinstance(step.operand, Strip):
            check_shape(step.operand, rows, columns)
            check_scratchpad(step.operand)


def check_shape(operand: Strip, rows: int, columns: int) -> None:
    """Check the shape of an operand, which may have more rows than are computed."""
    if operand.columns != columns:
        raise ValueError(f"{columns} columns are computed, but an operand has {operand.columns}")
    if operand.rows < rows:
        raise ValueError(f"{rows} rows are computed, but an operand has {operand.rows}")


def check_scratchpad(strip: Strip) -> None:
    """Check that a strip is not in PSUM."""
    if not isinstance(strip, Strip):
        raise ValueError(f"an operand must be a Strip, as strip() of a matrix, not {strip!r}")
    if strip.storage is not Storage.SCRATCHPAD:
        raise ValueError("only the vector engine's x may be in PSUM")


def scalar_addr(strip: Strip, rows: int) -> int:
    """Address of a value of each partition."""
    if not isinstance(strip, Strip):
        raise ValueError(f"a value of each partition must be a Strip, not {strip!r}")
    if strip.fmt != FP32 or strip.columns != 1 or strip.storage is Storage.PSUM:
        raise ValueError("a value of each partition must be a single fp32 column")
    check_shape(strip, rows, 1)
    return strip.addr
