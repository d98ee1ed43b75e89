"""Plant one bug at a time in a copy of the sources and see the tests go red.

The table is verif/mutants.toml. A mutant is killed when pytest reports failed tests; tests that
pass, are not found or cannot be collected leave it alive. First, without a mutant, the tests must
pass.
"""

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TypedDict

from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "verif" / "mutants.toml"
COPIED = ("hw", "model", "sw", "verif", "docs", "pyproject.toml")
PYTEST_FAILED_TESTS = 1


class Mutant(TypedDict):
    """A bug: where a text of a file is replaced, and the tests that must find it."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]


def plant(folder: Path, mutant: Mutant) -> None:
    """Apply `mutant` to the sources in `folder`.

    Raises
    ------
    SystemExit
        If the text that it replaces is not there exactly once.
    """
    path = folder / mutant["file"]
    text = path.read_text()
    if text.count(mutant["old"]) != 1:
        raise SystemExit(
            f"mutants: {mutant['name']}: {mutant['old']!r} occurs {text.count(mutant['old'])} times"
            f" in {mutant['file']}, must be once"
        )
    path.write_text(text.replace(mutant["old"], mutant["new"]))


def run_tests(mutant: Mutant | None, tests: list[str]) -> tuple[int, str]:
    """Run `tests` on a copy of the sources with `mutant`; exit code and the last line of pytest."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        for item in COPIED:
            source = ROOT / item
            if source.is_dir():
                shutil.copytree(
                    source,
                    folder / item,
                    ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"),
                )
            else:
                shutil.copy(source, folder / item)
        if mutant is not None:
            plant(folder, mutant)
        command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = result.stdout.strip().splitlines() or [result.stderr.strip()[-200:]]
    return result.returncode, lines[-1]


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = ScriptParser("mutants", __doc__)
    parser.add_argument("--mutant", metavar="NAME", help="only those whose name contains NAME")
    options = parser.parse_args(arguments)
    table: list[Mutant] = tomllib.loads(TABLE.read_text())["mutant"]
    chosen = [m for m in table if options.mutant is None or options.mutant in m["name"]]
    if not chosen:
        names = ", ".join(m["name"] for m in table)
        parser.error(f"no mutant is called {options.mutant!r}; there are {names}")

    tests = sorted({test for mutant in chosen for test in mutant["tests"]})
    code, line = run_tests(None, tests)
    print(f"without a mutant: {line}", flush=True)
    if code != 0:
        print("mutants: the tests must pass before bugs are planted", file=sys.stderr)
        return 1
    survivors = []
    for number, mutant in enumerate(chosen, 1):
        start = time.monotonic()
        code, line = run_tests(mutant, mutant["tests"])
        killed = code == PYTEST_FAILED_TESTS
        verdict = "killed" if killed else "SURVIVED"
        seconds = time.monotonic() - start
        print(
            f"[{number}/{len(chosen)}] {mutant['name']}: {verdict} ({seconds:.0f} s, {line})",
            flush=True,
        )
        if not killed:
            survivors.append(mutant["name"])
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(exit_code("mutants", main))
