"""Random transfers that trap nowhere."""

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import Accumulate, Half

__all__ = ["random_descriptor"]


def random_descriptor(
    rng: np.random.Generator,
    config: TileConfig,
    engine: Engine,
    base: int,
    size_bytes: int,
    *,
    elements: int = 300,
    depth: int | None = None,
    near: int | None = None,
) -> dict[str, int]:
    """Fields of a DMA instruction that traps nowhere.

    It stays in `size_bytes` bytes from `base` (a multiple of 4) on, and in the first `depth` words
    of each partition; with `near` its scratchpad address is mostly among the 512 words from there
    on.
    """
    depth = config.sbuf_depth if depth is None else depth
    while True:
        layout = Layout(int(rng.integers(0, 2)))
        element_bytes = int(rng.integers(1, 3))
        accumulates = element_bytes == 2 and rng.random() < 0.5
        counts = rng.choice([1, 1, 2, 3, 5], 3)
        run = int(rng.integers(1, rng.choice([3, 20, 70, elements]) + 1))
        line = config.bus_words if layout == Layout.FREE else 1
        mem = rng.integers(-300, 301, 3)
        unit = 4 if accumulates and engine == Engine.STORE else 1
        mem = mem // unit * unit
        sbuf = rng.integers(-20, 21, 3) * line
        partition = rng.integers(0, 3, 3) if layout == Layout.FREE else rng.integers(0, 2, 3)
        stride0 = int(rng.integers(-5, 6))
        within = run - 1 if layout == Layout.FREE else (run - 1) // config.n * stride0
        mem_low, mem_high = _reach(counts, mem, run * element_bytes - 1)
        sbuf_low, sbuf_high = _reach(counts, sbuf, within)
        top = _reach(counts, partition, 0)[1] if layout == Layout.FREE else 0
        if run * counts.prod() > elements or top >= config.n:
            continue
        if mem_high - mem_low >= size_bytes or sbuf_high - sbuf_low > depth - line:
            continue
        first, last = -(sbuf_low // line), (depth - 1 - sbuf_high) // line
        places = [first, last, rng.integers(first, last + 1)]
        if near is not None and rng.random() < 0.85:
            places = [min(max(near // line + int(rng.integers(512 // line)), first), last)]
        fields = {
            "mem_addr": base + int(rng.integers(-mem_low, size_bytes - mem_high)) // unit * unit,
            "run": run,
            "sbuf_addr": int(rng.choice(places)) * line,
            "sbuf_stride0": stride0,
            "partition": int(rng.integers(0, config.n - top)),
            "layout": int(layout),
            "bytes1": int(element_bytes == 1),
            "accumulate": int(Accumulate.BF16 if accumulates else Accumulate.NONE),
        }
        if config.packed_fp8 and fields["bytes1"]:
            fields["half"] = int(rng.choice(list(Half)))
        if accumulates and layout == Layout.FREE and run % 2 == 0 and rng.random() < 0.6:
            fields["accumulate"] = int(Accumulate.FP32)
        for axis in (1, 2, 3):
            fields |= {
                f"count{axis}": int(counts[axis - 1]),
                f"mem_stride{axis}": int(mem[axis - 1]),
                f"sbuf_stride{axis}": int(sbuf[axis - 1]),
                f"partition_stride{axis}": int(partition[axis - 1]),
            }
        return fields


def _reach(counts: np.ndarray, strides: np.ndarray, within: int) -> tuple[int, int]:
    """Least and greatest offset of axes with these strides, and of the elements of a run."""
    steps = np.append((counts - 1) * strides, within)
    return int(np.minimum(steps, 0).sum()), int(np.maximum(steps, 0).sum())
