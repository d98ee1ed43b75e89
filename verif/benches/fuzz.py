"""Random programs on both devices: memory, scratchpad, PSUM and generators must come out alike.

`make sim` runs a fixed number; `make fuzz COUNT=1000 SEED=7` any. A program that differs is shrunk
to the fewest instructions that still differ, and printed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from memory_map import BASE
from random_ops import DATA_BYTES, random_ops, written_psum
from simulation import Outcome

from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import FP32
from tegula.isa.assembly import disassemble
from tegula.isa.instructions import Engine
from tegula_golden.tile import GoldenTile
from tegula_sw.kernels.transfers import image_transfer
from tegula_sw.ordering import assemble_ordered
from tegula_sw.rtl.device import HangError, ProtocolError, RtlDevice
from tegula_sw.schedule import Op

__all__ = ["TESTS", "Case", "find_difference", "main", "run", "shrink"]

TESTS = ("random_programs_leave_the_same_state",)

_COUNTS = {"tiny": 200}
"""Programs in `make sim`; other presets, which differ in sizes only, run fewer."""

_OTHER_COUNT = 30
_LENGTH = 60
_STALLS = (0.0, 0.02, 0.3)
_MAX_CYCLES = 400_000
_STATE_WORDS = 8


@dataclass(frozen=True)
class Case:
    """Instructions in the order of their meaning, and the seed of the data and of the stalls."""

    config: TileConfig
    ops: tuple[Op, ...]
    seed: int

    @classmethod
    def random(cls, config: TileConfig, seed: int, number: int, length: int) -> "Case":
        """Program `number` of `seed`."""
        rng = np.random.default_rng([seed, number])
        return cls(config, tuple(random_ops(rng, config, length)), int(rng.integers(1 << 30)))


def _dump(config: TileConfig, written: np.ndarray, place: int) -> tuple[list[Op], int]:
    """Instructions that store scratchpad, generators and `written` words of PSUM; bytes stored."""
    depth, ops, size = config.sbuf_depth, [], 0

    def store(words: int) -> None:
        nonlocal size
        ops.append(image_transfer(config, Engine.STORE, words, place + size))
        size += 2 * words * config.n

    store(depth)
    ops.append(Op("vector.generator", {"save": 1, "addr": 0}))
    store(_STATE_WORDS)
    common = {"rows": config.n, "format": FP32.code, "dst_stride": 2}
    words = np.flatnonzero(written)
    if words.size:
        for run in np.split(words, np.flatnonzero(np.diff(words) != 1) + 1):
            fields = {"x_addr": int(run[0]), "columns": run.size, "dst": 2 * int(run[0])}
            ops.append(Op("vector.compute", common | fields))
        store(2 * config.psum_depth)
    return ops, size


def find_difference(case: Case) -> str:
    """Run `case` on new devices; what differs, or nothing."""
    config = case.config
    dump, dump_bytes = _dump(config, written_psum(config, case.ops), BASE + DATA_BYTES)
    code = assemble_ordered(config, [*case.ops, *dump])
    rng = np.random.default_rng(case.seed)
    golden_memory = rng.integers(0, 256, DATA_BYTES + dump_bytes + len(code) + 256).astype(np.uint8)
    start = DATA_BYTES + dump_bytes
    golden_memory[start:][: len(code)] = np.frombuffer(code, np.uint8)
    memory = golden_memory.copy()
    where = {"program": BASE + start, "program_bytes": len(code), "base": BASE}
    golden = GoldenTile(config).run(golden_memory, **where)
    stall = _STALLS[case.seed % len(_STALLS)]
    device = RtlDevice(config, stall=stall, seed=case.seed, max_cycles=_MAX_CYCLES)
    try:
        result = device.run(memory, **where)
    except (HangError, ProtocolError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        device.close()
    if result.trap != golden.trap:
        return f"trap {result.trap}, golden {golden.trap}"
    wrong = np.flatnonzero(memory != golden_memory)
    if wrong.size:
        return f"{wrong.size} bytes differ, the first {_place(config, int(wrong[0]))}"
    return ""


def _place(config: TileConfig, offset: int) -> str:
    """What a byte of the memory is."""
    areas = {
        "of the data": (DATA_BYTES, None),
        "of the scratchpad": (config.n * config.sbuf_depth * 2, config.sbuf_depth),
        "of the generators": (config.n * _STATE_WORDS * 2, _STATE_WORDS),
        "of PSUM as fp32": (config.n * config.psum_depth * 4, 2 * config.psum_depth),
    }
    for name, (size, words) in areas.items():
        if offset < size:
            if words is None:
                return f"{name} at {offset:#x}"
            return f"{name}, partition {offset // (2 * words)} word {offset // 2 % words}"
        offset -= size
    return "of the program"


def shrink(case: Case, differs: Callable[[Case], bool]) -> Case:
    """The fewest instructions of `case` that still differ, none of which can be left out.

    Halves, quarters... are left out as long as that works (delta debugging: Zeller and Hildebrandt
    2002). What reads a word of PSUM that nothing writes any more traps, on both devices alike.
    """
    size = max(1, len(case.ops) // 2)
    while True:
        start = 0
        while start < len(case.ops):
            shorter = replace(case, ops=case.ops[:start] + case.ops[start + size :])
            if differs(shorter):
                case = shorter
            else:
                start += size
        if size == 1:
            return case
        size //= 2


def _report(case: Case, difference: str) -> str:
    """The shrunk program as text, and how it differs."""
    small = shrink(case, lambda candidate: bool(find_difference(candidate)))
    text = disassemble(assemble_ordered(case.config, small.ops))
    return (
        f"{difference}\n{len(small.ops)} of {len(case.ops)} instructions are enough"
        f" ({find_difference(small)}):\n{text}"
    )


def fuzz(
    config: TileConfig, seed: int, count: int, length: int, tell: Callable[[int], None]
) -> str:
    """Run programs 0 .. count - 1 of `seed`; the report of the first that differs, or nothing."""
    for number in range(count):
        case = Case.random(config, seed, number, length)
        difference = find_difference(case)
        if difference:
            return f"program {number} of seed {seed}: {_report(case, difference)}"
        tell(number + 1)
    return ""


def run(test: str, config: TileConfig, seed: int, waves: bool) -> Outcome:
    """The test of `TESTS`."""
    start = time.monotonic()
    done = []
    message = fuzz(config, seed, _COUNTS.get(config.name, _OTHER_COUNT), _LENGTH, done.append)
    return Outcome(test=test, cycles=0, seconds=time.monotonic() - start, message=message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run any number of programs; 0 if all came out alike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--count", type=int, default=1000, help="programs (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="of programs and data (default: 1)")
    parser.add_argument(
        "--length", type=int, default=_LENGTH, help=f"instructions (default: {_LENGTH})"
    )
    options = parser.parse_args(arguments)
    if options.count < 1 or options.length < 3:
        parser.error("--count must be at least 1 and --length at least 3")
    started = time.monotonic()

    def tell(done: int) -> None:
        if sys.stderr.isatty():
            rate = done / (time.monotonic() - started)
            left = (options.count - done) / rate
            print(f"\r{done} of {options.count}, {left:.0f} s left ", end="", file=sys.stderr)

    config = preset(options.preset)
    message = fuzz(config, options.seed, options.count, options.length, tell)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(message or f"{options.count} programs came out alike, seed {options.seed}")
    return 1 if message else 0


if __name__ == "__main__":
    sys.exit(main())
