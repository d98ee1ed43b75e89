"""Programs of the DMA tests: random descriptors, shapes of runs, and descriptors that trap."""

from random import Random

import numpy as np

from tegula.config import TileConfig
from tegula.isa.instructions import Layout
from tegula.isa.operations import Accumulate, Half
from tegula.isa.traps import Trap
from verif.support.dma_models import AXES, BASE, Command


def random_descriptor(
    rng: Random, config: TileConfig, memory_bytes: int, limit: int = 200
) -> dict[str, int]:
    """A descriptor of at most `limit` elements that stays inside memory and scratchpad."""
    while True:
        free = rng.random() < 0.5
        counts = [rng.choice((1, 1, 2, 3, 5)) for _ in AXES]
        run = rng.choice((rng.randint(1, 8), rng.randint(1, 40), rng.randint(1, limit)))
        if run * np.prod(counts) > limit:
            continue
        bytes1 = rng.randint(0, 1)
        accumulate = rng.choice((Accumulate.NONE, *Accumulate))
        if bytes1 or (accumulate == Accumulate.FP32 and (run % 2 or not free)):
            accumulate = Accumulate.NONE
        line = config.bus_words if free else 1
        span = 400
        mem = [rng.randint(-span, span) for _ in AXES]
        if accumulate:  # a store needs numbers on multiples of their size
            mem = [stride // 4 * 4 for stride in mem]
        sbuf = [rng.randint(-span // line // 4, span // line // 4) * line for _ in AXES]
        partition = [rng.randint(0, 3) if free else rng.randint(0, config.n) for _ in AXES]
        stride0 = rng.randint(-5, 5)

        def reach(strides, extra, counts=counts):
            steps = [(c - 1) * s for c, s in zip(counts, strides, strict=True)]
            low = sum(min(s, 0) for s in steps) + min(extra, 0)
            return low, sum(max(s, 0) for s in steps) + max(extra, 0)

        mem_low, mem_high = reach(mem, run * (2 - bytes1) - 1)
        sbuf_low, sbuf_high = reach(sbuf, run - 1 if free else (run - 1) // config.n * stride0)
        partition_high = reach(partition, 0)[1]
        if mem_high - mem_low >= memory_bytes or sbuf_high - sbuf_low >= config.sbuf_depth - line:
            continue
        if free and partition_high >= config.n:
            continue
        low = -(sbuf_low // line)
        high = (config.sbuf_depth - 1 - sbuf_high) // line
        fields = {
            "mem_addr": BASE + rng.randint(-mem_low, memory_bytes - 1 - mem_high),
            "run": run,
            "sbuf_addr": rng.choice((low, high, rng.randint(low, high))) * line,
            "sbuf_stride0": stride0,
            "partition": rng.randint(0, config.n - 1 - partition_high) if free else 1,
            "layout": 0 if free else 1,
            "bytes1": bytes1,
            "accumulate": accumulate,
        }
        if config.packed_fp8 and bytes1:
            fields["half"] = rng.choice(list(Half))
        if accumulate:
            fields["mem_addr"] = fields["mem_addr"] // 4 * 4
        for index, axis in enumerate(AXES):
            fields[f"count{axis}"] = counts[index]
            fields[f"mem_stride{axis}"] = mem[index]
            fields[f"sbuf_stride{axis}"] = sbuf[index]
            fields[f"partition_stride{axis}"] = partition[index]
        return fields


def random_commands(rng: Random, config: TileConfig, count: int, memory_bytes: int = 4096):
    """A program of descriptors and syncs, most of which signal."""
    commands = []
    for index in range(count):
        signal = None
        if rng.random() < 0.8:
            signal = (rng.randrange(config.semaphores), rng.randrange(256))
        sync = rng.random() < 0.2
        fields = None if sync else random_descriptor(rng, config, memory_bytes, limit=120)
        commands.append(Command(fields, pc=4 * index, signal=signal))
    return commands


def line_of_runs(config: TileConfig, *, runs: int, beats: int, layout: int, bytes1: int = 0):
    """A descriptor of `runs` aligned runs of `beats` beats each, one after the other."""
    elements = beats * config.bus_bytes // (2 - bytes1)
    return {
        "mem_addr": BASE,
        "run": elements,
        "count1": runs,
        "mem_stride1": beats * config.bus_bytes,
        "sbuf_addr": 0,
        "sbuf_stride1": elements if layout == Layout.FREE else elements // config.n,
        "sbuf_stride0": 1,
        "layout": layout,
        "bytes1": bytes1,
    }


def all_lanes(config: TileConfig, elements: int, layout: int, bytes1: int) -> dict[str, int]:
    """A descriptor whose runs of `elements` begin at each byte lane of the bus."""
    lines = -(-elements // config.bus_words) * config.bus_words
    return {
        "mem_addr": BASE + 3,
        "run": elements,
        "count1": config.bus_bytes,
        "mem_stride1": 2 * elements + 1 + 2 * config.bus_bytes - 2 * elements % config.bus_bytes,
        "sbuf_addr": 0,
        "sbuf_stride1": lines if layout == Layout.FREE else -(-elements // config.n),
        "sbuf_stride0": 1,
        "layout": layout,
        "bytes1": bytes1,
    }


SHAPES = {
    "tiny": {"name": "tiny", "sbuf_depth": 512},
    "small": {"name": "small", "sbuf_depth": 1024},
    "wide_bus": {"name": "tiny", "axi_data_width": 256, "sbuf_depth": 512, "max_burst_beats": 4},
    "narrow_bus": {"name": "medium", "axi_data_width": 64, "sbuf_depth": 256},
    "one_code": {"name": "tiny", "sbuf_depth": 512, "packed_fp8": False},
}
"""Configurations that differ in what a chunk is, with scratchpads whose ends random runs reach."""


TRAPS = {
    "below_the_window": ({"mem_addr": BASE + 40, "mem_stride1": -16}, Trap.MEMORY_WINDOW),
    "past_the_window": ({"mem_addr": BASE + 4096 - 40, "mem_stride1": 16}, Trap.MEMORY_WINDOW),
    "past_48_bits": ({"mem_addr": (1 << 48) - 8}, Trap.MEMORY_WINDOW),
    "below_the_scratchpad": ({"sbuf_addr": 16, "sbuf_stride1": -8}, Trap.SBUF_RANGE),
    "past_the_scratchpad": ({"sbuf_addr": -16, "sbuf_stride1": 8}, Trap.SBUF_RANGE),
    "past_the_partitions": ({"partition": 2, "partition_stride1": 3}, Trap.SBUF_RANGE),
    "off_a_line": ({"sbuf_addr": 0, "sbuf_stride1": 1}, Trap.SBUF_ALIGNMENT),
    "tail_past_the_scratchpad": ({"sbuf_addr": -8, "run": 9, "count1": 1}, Trap.SBUF_RANGE),
    "span_below": (
        {"layout": 1, "run": 50, "sbuf_addr": 20, "sbuf_stride0": -30000},
        Trap.SBUF_RANGE,
    ),
    "span_past": (
        {"layout": 1, "run": 2000, "bytes1": 1, "sbuf_addr": 20, "sbuf_stride0": 32767},
        Trap.SBUF_RANGE,
    ),
    "window_before_range": ({"mem_addr": 0, "sbuf_addr": 1}, Trap.MEMORY_WINDOW),
}
"""Changes to a good descriptor, and the cause that must be recorded."""


def trapping(config: TileConfig, name: str) -> tuple[list[Command], Trap]:
    """A program whose second instruction traps, and its cause; `sbuf_addr` < 0 is from the top."""
    changes, cause = TRAPS[name]
    fields = {"mem_addr": BASE, "run": 8, "count1": 9, "sbuf_addr": 0, "layout": 0} | changes
    if fields["sbuf_addr"] < 0:
        fields["sbuf_addr"] += config.sbuf_depth
    good = {"mem_addr": BASE + 7, "run": 20, "sbuf_addr": 64, "layout": 0, "partition": 1}
    commands = [
        Command(good, pc=0, signal=(1, 1)),
        Command(fields, pc=4, signal=(2, 1)),
        Command(good | {"sbuf_addr": 0}, pc=8, signal=(3, 1)),
    ]
    return commands, cause
