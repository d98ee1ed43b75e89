"""The regression: every bench on Verilator, a table of what happened, and JUnit XML.

`make sim` runs all of it. Each toplevel is compiled once and cached by content in build/benches.
"""

import argparse
import os
import secrets
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from xml.etree import ElementTree

from tegula.config import PRESETS, TileConfig, preset
from tegula.files import write_bytes
from tegula_sw.cli.arguments import SEED, ScriptParser, integer
from verif import ROOT
from verif.benches.manifest import BENCHES, Bench
from verif.benches.simulation import OUTPUT, Simulation, TestOutcome, prepare_environment

__all__ = ["main"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Tests of one bench on one preset: one run of one simulation."""

    bench: Bench
    preset: str
    tests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table; `message` is empty where the test passed."""

    bench: str
    preset: str
    outcome: TestOutcome
    log: str

    @property
    def name(self) -> str:
        """Name that `--test` takes."""
        return f"{self.bench}.{self.outcome.test}"


def plan(preset_name: str, pattern: str) -> list[Job]:
    """The jobs whose tests' names (bench.test) contain `pattern`, the longest first."""
    jobs = []
    for bench in BENCHES:
        for job_preset, tests in bench.by_preset(preset_name).items():
            chosen = tuple(test for test in tests if pattern in f"{bench.name}.{test}")
            if chosen:
                jobs.append(Job(bench=bench, preset=job_preset, tests=chosen))
    return jobs


def run(job: Job, seed: int, waves: bool) -> list[Row]:
    """Run a job; exactly one row for each of its tests, and one for each that should not be."""
    config = preset(job.preset)
    log = ""
    if job.bench.run is not None:
        outcomes = [run_alone(job.bench, test, config, seed, waves) for test in job.tests]
    else:
        try:
            simulation = Simulation(job.bench.top, config, waves=waves)
            outcomes, path = simulation.run(job.bench.module, list(job.tests), seed)
            log = str(path.relative_to(ROOT))
        except Exception as error:  # whatever it was, it fails these tests, and no others
            traceback.print_exc()
            outcomes = [failed(test, f"{type(error).__name__}: {error}") for test in job.tests]
    ran = [outcome.test for outcome in outcomes]
    outcomes += [failed(test, "did not run to its end") for test in job.tests if test not in ran]
    outcomes += [failed(test, "is not in the manifest") for test in ran if test not in job.tests]
    return [
        Row(bench=job.bench.name, preset=job.preset, outcome=outcome, log=log)
        for outcome in outcomes
    ]


def run_alone(bench: Bench, test: str, config: TileConfig, seed: int, waves: bool) -> TestOutcome:
    """Run a test of a bench without cocotb; whatever is raised is its failure."""
    try:
        return bench.run(test, config, seed, waves)
    except Exception as error:
        traceback.print_exc()
        return failed(test, f"{type(error).__name__}: {error}")


def failed(test: str, message: str) -> TestOutcome:
    """The outcome of a test that did not happen as it should."""
    return TestOutcome(test=test, cycles=0, seconds=0, message=message)


def run_all(jobs: list[Job], seed: int, waves: bool, workers: int) -> list[Row]:
    """Run the jobs side by side and print each test as it ends; rows in the order of the jobs."""
    rows: dict[int, list[Row]] = {}
    with ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(run, job, seed, waves): i for i, job in enumerate(jobs)}
        for future in as_completed(futures):
            index = futures[future]
            rows[index] = future.result()
            for row in rows[index]:
                verdict = "FAIL" if row.outcome.message else "pass"
                print(
                    f"{verdict}  {row.name} ({row.preset}, {row.outcome.seconds:.1f} s)", flush=True
                )
    return [row for index in sorted(rows) for row in rows[index]]


def print_failures(rows: list[Row], preset_name: str, seed: int) -> None:
    """Failed tests, their logs, and the commands that repeat them."""
    for row in rows:
        if row.outcome.message:
            print(f"\nFAIL {row.name} ({row.preset}): {row.outcome.message}")
            if row.log:
                print(f"  log: {row.log}")
            print(f"  again: make sim TEST={row.name} SEED={seed} PRESET={preset_name}")


def print_table(rows: list[Row], seed: int) -> None:
    """The table that the regression ends with."""
    lines = [("test", "preset", "seed", "cycles", "result")]
    for row in rows:
        result = "FAIL" if row.outcome.message else "pass"
        lines.append((row.name, row.preset, str(seed), f"{row.outcome.cycles:,}", result))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    print()
    for line in lines:
        cells = [
            text.rjust(width) if column in (2, 3) else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def write_junit(rows: list[Row], seed: int) -> None:
    """All rows as build/benches/results.xml, a suite for each bench and preset."""
    root = ElementTree.Element("testsuites", name="tegula benches")
    for bench, row_preset in dict.fromkeys((row.bench, row.preset) for row in rows):
        mine = [row for row in rows if (row.bench, row.preset) == (bench, row_preset)]
        failures = sum(bool(row.outcome.message) for row in mine)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=f"{bench}.{row_preset}",
            tests=str(len(mine)),
            failures=str(failures),
            errors="0",
            skipped="0",
            time=f"{sum(row.outcome.seconds for row in mine):.3f}",
        )
        for row in mine:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=f"{bench}.{row_preset}",
                name=row.outcome.test,
                time=f"{row.outcome.seconds:.3f}",
            )
            properties = ElementTree.SubElement(case, "properties")
            for name, value in (("seed", seed), ("cycles", row.outcome.cycles)):
                ElementTree.SubElement(properties, "property", name=name, value=str(value))
            if row.outcome.message:
                ElementTree.SubElement(case, "failure", message=row.outcome.message)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    write_bytes(OUTPUT / "results.xml", text)


def _seed(text: str) -> int:
    if text == "random":
        return secrets.randbits(31)
    try:
        return SEED(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; or random") from None


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = ScriptParser("regress", __doc__.splitlines()[0])
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="small",
        help="configuration of the larger runs; most random runs use tiny in any case",
    )
    parser.add_argument("--seed", type=_seed, default=1, help="a number, or random (default: 1)")
    parser.add_argument(
        "--test", default="", help="run tests whose name (bench.test) contains this"
    )
    parser.add_argument("--waves", action="store_true", help="write VCD files to build/benches/run")
    parser.add_argument(
        "--jobs",
        type=integer(1, 1024),
        default=os.cpu_count(),
        help="simulations at a time (default: cores)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the regression; 0 if every test of the plan ran and passed."""
    options = parse(arguments)
    seed = options.seed
    jobs = plan(options.preset, options.test)
    if not jobs:
        print(f"regress: no test's name contains {options.test!r}", file=sys.stderr)
        return 2
    prepare_environment()
    start = time.monotonic()
    print(f"{sum(len(job.tests) for job in jobs)} tests, seed {seed}", flush=True)
    rows = run_all(jobs, seed, options.waves, options.jobs)
    write_junit(rows, seed)
    print_failures(rows, options.preset, seed)
    print_table(rows, seed)
    failures = sum(bool(row.outcome.message) for row in rows)
    print(f"\n{len(rows)} tests, {failures} failed, {time.monotonic() - start:.0f} s, seed {seed}")
    return 1 if failures or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
