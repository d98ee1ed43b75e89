"""Random programs on both devices: memory, scratchpad, PSUM and generators must come out alike.

Half of them on a memory that makes its channels wait for each other; some on one that answers with
errors. `make sim` runs a fixed number; `make fuzz COUNT=1000 SEED=7` any. A program that differs is
shrunk to the fewest instructions that still differ, and printed.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tegula.config import PRESETS, TileConfig, preset
from tegula.isa.assembly import disassemble
from tegula_sw.cli.arguments import SEED, ScriptParser, integer
from verif.benches.fuzz_cases import Case, FaultyCase, LoopedCase
from verif.benches.simulation import TestOutcome

__all__ = ["TESTS", "main", "run", "shrink"]

TESTS = {
    "random_programs_leave_the_same_state": (Case, 60, {"tiny": 200}, 30),
    "random_programs_on_failing_memory_leave_the_same_state": (FaultyCase, 20, {"tiny": 80}, 10),
    "random_programs_with_loops_leave_the_same_state": (LoopedCase, 25, {"tiny": 80}, 10),
}
"""What a test runs: cases, their instructions, their number in `make sim` by preset, and of others.

Other presets differ in sizes only."""


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
    small = shrink(case, lambda candidate: bool(candidate.difference()))
    faults = f", beats that fail: {small.errors}" if isinstance(small, FaultyCase) else ""
    return (
        f"{difference}\n{len(small.ops)} of {len(case.ops)} instructions are enough"
        f" ({small.difference()}{faults}):\n{disassemble(small.code)}"
    )


def fuzz(
    kind: type[Case],
    config: TileConfig,
    seed: int,
    count: int,
    length: int,
    tell: Callable[[int], None],
) -> str:
    """Run programs 0 .. count - 1 of `seed`; the report of the first that differs, or nothing."""
    for number in range(count):
        case = kind.random(config, seed, number, length)
        difference = case.difference()
        if difference:
            return f"program {number} of seed {seed}: {_report(case, difference)}"
        tell(number + 1)
    return ""


def run(test: str, config: TileConfig, seed: int, waves: bool) -> TestOutcome:
    """A test of `TESTS`."""
    start = time.monotonic()
    done = []
    kind, length, counts, other = TESTS[test]
    message = fuzz(kind, config, seed, counts.get(config.name, other), length, done.append)
    return TestOutcome(test=test, cycles=0, seconds=time.monotonic() - start, message=message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run any number of programs; 0 if all came out alike."""
    parser = ScriptParser("fuzz", __doc__.splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="tiny")
    parser.add_argument("--count", type=integer(1), default=1000, help="programs (default: 1000)")
    parser.add_argument("--seed", type=SEED, default=1, help="of programs and data (default: 1)")
    parser.add_argument("--length", type=integer(3), default=60, help="instructions (default: 60)")
    parser.add_argument("--errors", action="store_true", help="some beats of memory fail")
    parser.add_argument("--loops", action="store_true", help="programs have loops")
    options = parser.parse_args(arguments)
    started = time.monotonic()

    def tell(done: int) -> None:
        if sys.stderr.isatty():
            rate = done / (time.monotonic() - started)
            left = (options.count - done) / rate
            print(f"\r{done} of {options.count}, {left:.0f} s left ", end="", file=sys.stderr)

    if options.errors and options.loops:
        parser.error("--errors and --loops exclude each other")
    kind = FaultyCase if options.errors else LoopedCase if options.loops else Case
    config = preset(options.preset)
    message = fuzz(kind, config, options.seed, options.count, options.length, tell)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(message or f"{options.count} programs came out alike, seed {options.seed}")
    return 1 if message else 0


if __name__ == "__main__":
    sys.exit(main())
