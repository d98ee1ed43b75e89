"""Kinds of fields: each fixes width, limits and default, a table adds name, offset and meaning."""

from collections.abc import Callable
from enum import IntEnum

from tegula.config import TileConfig
from tegula.formats import FORMAT_BITS, MX_ELEMENTS
from tegula.isa.fields import (
    ELEMENT_STEP_BITS,
    MEMORY_ADDRESS_BITS,
    PARTITION_BITS,
    SBUF_ADDRESS_BITS,
    SEMAPHORE_BITS,
    Field,
)
from tegula.isa.operations import Half

__all__ = [
    "choice",
    "count",
    "element_format",
    "flag",
    "half",
    "limited",
    "memory_address",
    "mx_format",
    "packed_flag",
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
    name: str,
    offset: int,
    names: type[IntEnum],
    doc: str,
    *,
    default: int | None = 0,
    last: IntEnum | None = None,
) -> Field:
    """A value with a name, as wide as the largest of them; none above `last` is allowed."""
    width = max(names).bit_length()
    limits = {} if last is None else {"maximum": lambda _config: int(last)}
    return Field(
        name=name, offset=offset, width=width, names=names, default=default, doc=doc, **limits
    )


def _packed_fp8(config: TileConfig) -> int:
    return int(config.packed_fp8)


def _last_half(config: TileConfig) -> int:
    return max(Half) if config.packed_fp8 else Half.WHOLE


def packed_flag(name: str, offset: int, doc: str) -> Field:
    """A flag of tiles whose words may hold two codes."""
    return limited(name, offset, 1, _packed_fp8, doc)


def half(offset: int, doc: str) -> Field:
    """A `Half`, which is `WHOLE` where words do not hold two codes."""
    return Field(
        name="half",
        offset=offset,
        width=max(Half).bit_length(),
        names=Half,
        maximum=_last_half,
        default=Half.WHOLE,
        doc=doc,
    )


def count(name: str, offset: int, width: int, doc: str, **limits: object) -> Field:
    """A number from 1 on, up to what fits or a `maximum`."""
    return Field(name=name, offset=offset, width=width, minimum=_one, doc=doc, **limits)


def partition_count(name: str, offset: int, doc: str) -> Field:
    """A number of partitions, 1 to N."""
    return count(name, offset, PARTITION_BITS, doc, maximum=_partitions)


def limited(
    name: str, offset: int, width: int, maximum: Callable[[TileConfig], int], doc: str
) -> Field:
    """A number from 0 to `maximum`; 0 if it is left out."""
    return Field(name=name, offset=offset, width=width, maximum=maximum, default=0, doc=doc)


def partition_number(name: str, offset: int, doc: str) -> Field:
    """A partition, 0 to N - 1."""
    return limited(name, offset, PARTITION_BITS, _last_partition, doc)


def partition_step(name: str, offset: int, doc: str) -> Field:
    """A step of partitions, 0 to N."""
    return limited(name, offset, PARTITION_BITS, _partitions, doc)


def semaphore(name: str, offset: int, doc: str) -> Field:
    """The number of a semaphore that the tile has."""
    return limited(name, offset, SEMAPHORE_BITS, _last_semaphore, doc)


def sbuf_address(name: str, offset: int, doc: str, *, default: int | None = None) -> Field:
    """A scratchpad address in words; whether it exists is checked when it is used."""
    return Field(
        name=name,
        offset=offset,
        width=SBUF_ADDRESS_BITS,
        default=default,
        relative=True,
        doc=doc,
    )


def memory_address(offset: int, doc: str) -> Field:
    """A byte address of memory; whether it is inside the window is checked when it is used."""
    return Field(name="mem_addr", offset=offset, width=MEMORY_ADDRESS_BITS, relative=True, doc=doc)


def step(
    name: str, offset: int, doc: str, *, width: int = ELEMENT_STEP_BITS, default: int = 1
) -> Field:
    """A signed step of an address."""
    return Field(name=name, offset=offset, width=width, signed=True, default=default, doc=doc)


def scalar(name: str, offset: int, doc: str, *, default: int = 0) -> Field:
    """An fp32 pattern, or the scratchpad address of an fp32 of each partition."""
    return Field(
        name=name, offset=offset, width=32, default=default, relative=True, wraps=True, doc=doc
    )


def mx_format(name: str, offset: int, doc: str) -> Field:
    """The code of a format that elements of MX blocks have, and the tile."""
    only = tuple(dict.fromkeys(element.fmt for element in MX_ELEMENTS))
    return Field(name=name, offset=offset, width=FORMAT_BITS, formats=True, only=only, doc=doc)


def element_format(name: str, offset: int, doc: str, **allowed: object) -> Field:
    """The code of a format: that of an operand of the array, and if so of `fp32` and `raw`."""
    return Field(name=name, offset=offset, width=FORMAT_BITS, formats=True, doc=doc, **allowed)
