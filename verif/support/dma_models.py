"""Descriptors of DMA instructions, and their meaning: runs, bursts, and what they move."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16
from tegula.isa.instructions import Engine, Layout, by_mnemonic
from tegula.isa.operations import Accumulate, Half
from tegula.isa.traps import Trap
from tegula_golden.numerics import fp32
from tegula_golden.numerics.cast import cast

BASE = 0x1000
"""First byte of the modelled memory."""


AXES = (1, 2, 3)


@dataclass
class Command:
    """An instruction as its queue delivers it; `fields` None is a sync."""

    fields: dict[str, int] | None = None
    pc: int = 0
    signal: tuple[int, int] | None = None


@dataclass
class Run:
    """One run of a descriptor: its elements as (memory address, partition, scratchpad address)."""

    addr: int
    size: int
    elements: list[tuple[int, int, int]]
    trap: tuple[Trap, int] | None = None
    accumulate: Accumulate = Accumulate.NONE
    half: Half = Half.WHOLE


def split(value: int, widths: list[int]) -> list[int]:
    """Cut an integer into fields, lowest first."""
    fields = []
    for width in widths:
        fields.append(value & ((1 << width) - 1))
        value >>= width
    return fields


def pack_fields(values: dict[str, int]) -> int:
    """The payload of a `dma` instruction, by the table of fields."""
    known = {f.name: f for f in by_mnemonic("load.dma").payload}
    assert values.keys() <= known.keys()
    word = 0
    for name, row in known.items():
        value = values.get(name, row.default)
        assert row.low <= value <= row.high, (name, value)
        word |= (value & ((1 << row.width) - 1)) << (row.offset - 48)
    return word


def expand(
    config: TileConfig,
    fields: dict[str, int],
    window: tuple[int, int],
    engine: Engine = Engine.LOAD,
) -> list[Run]:
    """The runs of a descriptor in order, up to and with the first that traps."""
    get = {f.name: fields.get(f.name, f.default) for f in by_mnemonic("load.dma").payload}
    size = 1 if get["bytes1"] else 2
    runs = []
    for i3 in range(get["count3"]):
        for i2 in range(get["count2"]):
            for i1 in range(get["count1"]):

                def at(prefix, start, steps=(i1, i2, i3)):
                    return start + sum(
                        step * get[f"{prefix}{axis}"]
                        for axis, step in zip(AXES, steps, strict=True)
                    )

                addr = at("mem_stride", get["mem_addr"])
                sbuf = at("sbuf_stride", get["sbuf_addr"])
                partition = at("partition_stride", get["partition"])
                count = get["run"]
                if get["layout"] == Layout.FREE:
                    places = [(partition, sbuf + i) for i in range(count)]
                    bad = partition >= config.n
                else:
                    places = [
                        (i % config.n, sbuf + (i // config.n) * get["sbuf_stride0"])
                        for i in range(count)
                    ]
                    bad = False
                run = Run(
                    *(addr, count * size, []),
                    accumulate=Accumulate(get["accumulate"]),
                    half=Half(get["half"]),
                )
                halves = run.accumulate == Accumulate.FP32 and count % 2
                ends = (places[0][1], places[-1][1])
                if not (window[0] <= addr and addr + count * size - 1 <= window[1]):
                    run.trap = (Trap.MEMORY_WINDOW, addr)
                elif bad or not all(0 <= end < config.sbuf_depth for end in ends):
                    run.trap = (Trap.SBUF_RANGE, sbuf & 0xFFFFF)
                elif get["layout"] == Layout.FREE and (sbuf % config.bus_words or halves):
                    run.trap = (Trap.SBUF_ALIGNMENT, sbuf)
                elif engine == Engine.STORE and addr % (1, 2, 4)[run.accumulate]:
                    run.trap = (Trap.MEMORY_ALIGNMENT, addr)
                else:
                    run.elements = [(addr + i * size, *place) for i, place in enumerate(places)]
                runs.append(run)
                if run.trap:
                    return runs
    return runs


def bursts_of(config: TileConfig, addr: int, size: int) -> list[tuple[int, int]]:
    """(aligned address, beats minus one) of the bursts of a run."""
    beats = range(addr // config.bus_bytes, (addr + size - 1) // config.bus_bytes + 1)
    bursts = {}
    for beat in beats:
        bursts.setdefault(beat // config.max_burst_beats, []).append(beat)
    return [(b[0] * config.bus_bytes, len(b) - 1) for b in bursts.values()]


def add(held: int, incoming: int, accumulate: Accumulate) -> int:
    """The sum of two codes."""
    codes = np.array([held, incoming], np.uint32)
    if accumulate == Accumulate.FP32:
        return int(fp32.add(codes[:1], codes[1:])[0])
    held_pattern, incoming_pattern = fp32.decode_pattern(codes, BF16.code)
    return int(cast(fp32.add(*(np.array([p]) for p in (held_pattern, incoming_pattern))), BF16)[0])


def accumulate_run(engine: Engine, run: Run, sbuf: np.ndarray, memory: np.ndarray) -> None:
    """Add the elements of a run to what is there, one by one."""
    width = 2 if run.accumulate == Accumulate.FP32 else 1
    for addr, partition, word in run.elements[::width]:
        there = memory[addr - BASE :][: 2 * width]
        words = sbuf[partition, word : word + width]
        outside = int.from_bytes(there.tobytes(), "little")
        inside = int.from_bytes(words.astype("<u2").tobytes(), "little")
        if engine == Engine.LOAD:
            total = add(inside, outside, run.accumulate).to_bytes(2 * width, "little")
            words[:] = np.frombuffer(total, "<u2")
        else:
            total = add(outside, inside, run.accumulate).to_bytes(2 * width, "little")
            there[:] = np.frombuffer(total, np.uint8)


def move(engine: Engine, run: Run, sbuf: np.ndarray, memory: np.ndarray) -> None:
    """Move the elements of a run, one by one."""
    if run.accumulate:
        accumulate_run(engine, run, sbuf, memory)
        return
    for addr, partition, word in run.elements:
        at = addr - BASE
        wide = run.size == 2 * len(run.elements)
        if engine == Engine.LOAD:
            low, high = int(memory[at]), int(memory[at + 1]) if wide else 0
            before = int(sbuf[partition, word])
            if run.half == Half.LOW:
                high = before >> 8
            elif run.half == Half.HIGH:
                low, high = before & 0xFF, low
            sbuf[partition, word] = low | high << 8
        else:
            value = int(sbuf[partition, word])
            memory[at] = value >> 8 if run.half == Half.HIGH else value & 0xFF
            if wide:
                memory[at + 1] = value >> 8
