"""Cycles of instructions: what the hardware takes, restated, and estimates of the scheduler.

`schedule.merge` dispatches instructions of different engines in the order in which they would
start. Its costs decide that order and nothing else: no result depends on them, and they need no
precision. Figures of the hardware are those that `tegula info` prints; they are restated here so
that programs are built without the HDL, and a test compares them.
"""

from dataclasses import dataclass

from tegula.config import TileConfig

__all__ = [
    "ACTIVATION",
    "CAST",
    "DMA",
    "DRAIN",
    "EVALUATE",
    "MATMUL_LATENCY",
    "REDUCTION_LATENCY",
    "VECTOR",
    "VECTOR_STEP",
    "VECTOR_WRITE",
    "Cost",
    "accumulated_beat_cycles",
    "activation_column_cycles",
    "activation_lane_cycles",
    "load_period_cycles",
    "psum_reuse_cycles",
]

# --- figures of the hardware

VECTOR_WRITE = 17
"""Cycles from a vector instruction's last element to its write, without a step."""

VECTOR_STEP = 7
"""Cycles for each step of a vector instruction beyond `VECTOR_WRITE`."""

MATMUL_LATENCY = 38
"""Cycles from a matmul's last column to its signal on `medium`, the largest preset."""

REDUCTION_LATENCY = 70
"""Cycles from an activation engine's last element to its sum, at most, of all presets."""

_ACTIVATION_READ = 3
"""Cycles from the read of a column of 16-bit operands of the activation engine to the next."""

_ADDER = 6
"""Latency of the DMA engines' adder."""


def load_period_cycles(config: TileConfig) -> int:
    """Period of (tensor.load, tensor.matmul) pairs, below which fewer columns gain nothing.

    `tegula.tensor.engine.load_period` gives the reason.
    """
    return config.n + 3


def psum_reuse_cycles(config: TileConfig) -> int:
    """Cycles from a column of a matmul to the first that can add to the same words of PSUM."""
    return 3 * config.groups + 9


def activation_lane_cycles(config: TileConfig) -> int:
    """Cycles in which a column passes the lanes of the activation engine."""
    return config.n // config.activation_lanes


def activation_column_cycles(config: TileConfig) -> int:
    """Cycles from one column of the activation engine to the next, operands of 16 bits."""
    return max(activation_lane_cycles(config), _ACTIVATION_READ)


def accumulated_beat_cycles(config: TileConfig) -> int:
    """Cycles from one beat that a DMA engine adds to the next."""
    return max(config.bus_words, (config.bus_words + _ADDER + 3) // 2)


# --- estimates


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


DMA = Cost(overhead=4, latency=30)
"""A transfer, with a memory of ordinary latency."""

DRAIN = Cost(overhead=4, latency=12)
"""A tile of a GEMM from PSUM: no instruction waits for the lanes to drain.

The latency is less than `VECTOR_WRITE`; with that, programs would be others.
"""

CAST = Cost(overhead=0, latency=VECTOR_WRITE)
"""A cast of a block, behind a load."""

EVALUATE = Cost(overhead=0, latency=VECTOR_WRITE + VECTOR_STEP)
"""An elementwise operation or function of a block, behind a load."""

VECTOR = Cost(overhead=28, latency=VECTOR_WRITE + VECTOR_STEP)
"""A vector instruction of a kernel, which often waits for the lanes to drain."""

ACTIVATION = Cost(overhead=4, latency=40)
"""A function in a kernel.

An element is 50 cycles in its lane; with that as the latency, programs would be others.
"""
