"""Cycles of instructions as the scheduler estimates them, from the latencies of the tile.

`schedule.merge` dispatches instructions of different engines in the order in which they would
start. Its costs decide that order and nothing else: no result depends on them. They are sums of
`timing.latencies`; what they leave out (conflicts in banks, waits for the bus, the end of what
drains meanwhile) is what the model of time is for.
"""

from dataclasses import dataclass
from functools import cache

from tegula.config import TileConfig
from tegula.isa.instructions import Engine
from tegula_sw.program.timing.latencies import latencies

__all__ = [
    "Cost",
    "accumulated_beat_cycles",
    "activation_column_cycles",
    "activation_cost",
    "activation_sum_latency",
    "drain_cost",
    "load_period_cycles",
    "matmul_latency",
    "psum_reuse_cycles",
    "reduction_latency",
    "transfer_cost",
    "vector_cost",
    "vector_element_cycles",
]

_MEM_LATENCY = 20
"""Read latency of the memory that programs are ordered for: the default of `RtlDevice`."""

_BETWEEN = 1
"""Cycles between two instructions of an engine that do not wait for each other's results."""


@dataclass(frozen=True)
class Cost:
    """An instruction's cost beside that of its elements, in cycles.

    Attributes
    ----------
    overhead
        Cycles in its engine beyond those of its elements.
    latency
        From its last element to its signal.
    """

    overhead: int
    latency: int


def load_period_cycles(config: TileConfig) -> int:
    """Period of (tensor.load, tensor.matmul) pairs, below which fewer columns gain nothing.

    `tegula.tensor.engine.load_period` gives the reason.
    """
    return latencies(config).period


def psum_reuse_cycles(config: TileConfig) -> int:
    """Cycles from a column of a matmul to the first that can add to the same words of PSUM."""
    return latencies(config).reuse


def matmul_latency(config: TileConfig) -> int:
    """Cycles from a matmul's last column to its signal."""
    return latencies(config).matmul


def reduction_latency(config: TileConfig) -> int:
    """Cycles that a reduction of the vector engine takes beyond its elements."""
    return latencies(config).combine


def activation_sum_latency(config: TileConfig) -> int:
    """Cycles that a sum of the activation engine takes beyond its elements."""
    return latencies(config).total


def vector_element_cycles(config: TileConfig) -> int:
    """Cycles from one element of the vector engine to the next, which needs no unit twice.

    An element is one of each partition.
    """
    return config.vector_folding


def activation_column_cycles(config: TileConfig) -> int:
    """Cycles from one column of the activation engine to the next, operands of 16 bits."""
    return latencies(config).column


def accumulated_beat_cycles(config: TileConfig) -> int:
    """Cycles from one beat that a DMA engine adds to the next."""
    return latencies(config).accumulate


@cache
def transfer_cost(config: TileConfig, engine: Engine) -> Cost:
    """A transfer of the load or the store engine."""
    lat = latencies(config)
    if engine is Engine.LOAD:
        return Cost(
            lat.run + _BETWEEN, lat.request + _MEM_LATENCY + 2 * lat.bus + lat.beat_to_write
        )
    return Cost(
        lat.run + _BETWEEN,
        lat.run + lat.gather + lat.chunk_bank + lat.read + lat.words_to_beat + _MEM_LATENCY,
    )


@cache
def drain_cost(config: TileConfig) -> Cost:
    """A tile of a GEMM from PSUM, or a cast of a block: nothing waits for the lanes to drain."""
    return Cost(_BETWEEN, latencies(config).vector)


@cache
def vector_cost(config: TileConfig) -> Cost:
    """A vector instruction of one step that waits until the lanes are drained."""
    lat = latencies(config)
    latency = lat.vector + lat.unit
    return Cost(_BETWEEN + latency, latency)


@cache
def activation_cost(config: TileConfig) -> Cost:
    """A function; scale and bias pass the lanes like columns."""
    lat = latencies(config)
    return Cost(_BETWEEN + 2 * lat.beats, lat.word + lat.collect)
