"""Kinds of fields: each fixes width, limits and default, a table adds name, offset and meaning."""

from collections.abc import Callable
from enum import IntEnum

from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS
from tegula.isa.fields import (
    ELEMENT_STEP_BITS,
    PARTITION_BITS,
    SBUF_ADDRESS_BITS,
    SEMAPHORE_BITS,
    Field,
)

__all__ = [
    "choice",
    "count",
    "element_format",
    "flag",
    "partition_count",
    "partition_number",
    "partition_step",
    "sbuf_address",
    "scalar",
    "semaphore",
    "step",
]


def _one(_config: TileConfig) -> int:
    return 1


def _partitions(config: TileConfig) -> int:
    return config.n


def _last_partition(config: TileConfig) -> int:
    return config.n - 1


def _last_semaphore(config: TileConfig) -> int:
    return config.semaphores - 1


def flag(name: str, offset: int, doc: str) -> Field:
    """A bit, 0 if it is left out."""
    return Field(name=name, offset=offset, width=1, default=0, doc=doc)


def choice(
    name: str, offset: int, names: type[IntEnum], doc: str, *, default: int | None = 0
) -> Field:
    """A value with a name, as wide as the largest of them."""
    width = max(names).bit_length()
    return Field(name=name, offset=offset, width=width, names=names, default=default, doc=doc)


def count(
    name: str,
    offset: int,
    width: int,
    doc: str,
    *,
    maximum: Callable[[TileConfig], int] | None = None,
    default: int | None = None,
) -> Field:
    """A number from 1 on, up to what fits or `maximum`."""
    return Field(
        name=name,
        offset=offset,
        width=width,
        minimum=_one,
        maximum=maximum,
        default=default,
        doc=doc,
    )


def partition_count(name: str, offset: int, doc: str) -> Field:
    """A number of partitions, 1 to N."""
    return count(name, offset, PARTITION_BITS, doc, maximum=_partitions)


def partition_number(name: str, offset: int, doc: str) -> Field:
    """A partition, 0 to N - 1; 0 if it is left out."""
    return Field(
        name=name,
        offset=offset,
        width=PARTITION_BITS,
        maximum=_last_partition,
        default=0,
        doc=doc,
    )


def partition_step(name: str, offset: int, doc: str) -> Field:
    """A step of partitions, 0 to N; 0 if it is left out."""
    return Field(
        name=name, offset=offset, width=PARTITION_BITS, maximum=_partitions, default=0, doc=doc
    )


def sbuf_address(name: str, offset: int, doc: str, *, default: int | None = None) -> Field:
    """A scratchpad address in words; whether it exists is checked when it is used."""
    return Field(name=name, offset=offset, width=SBUF_ADDRESS_BITS, default=default, doc=doc)


def step(
    name: str, offset: int, doc: str, *, width: int = ELEMENT_STEP_BITS, default: int = 1
) -> Field:
    """A signed step of an address."""
    return Field(name=name, offset=offset, width=width, signed=True, default=default, doc=doc)


def scalar(name: str, offset: int, doc: str, *, default: int = 0) -> Field:
    """An fp32 pattern, or the scratchpad address of an fp32 of each partition."""
    return Field(name=name, offset=offset, width=32, default=default, doc=doc)


def element_format(
    name: str,
    offset: int,
    doc: str,
    *,
    fp32: bool = True,
    raw: bool = False,
    default: int | None = None,
) -> Field:
    """The code of a format: those of operands of the array, and fp32 and raw patterns if so."""
    return Field(
        name=name,
        offset=offset,
        width=FORMAT_BITS,
        formats=True,
        fp32=fp32,
        raw=raw,
        default=default,
        doc=doc,
    )


def semaphore(name: str, offset: int, doc: str) -> Field:
    """The number of a semaphore that the tile has; 0 if it is left out."""
    return Field(
        name=name,
        offset=offset,
        width=SEMAPHORE_BITS,
        maximum=_last_semaphore,
        default=0,
        doc=doc,
    )
