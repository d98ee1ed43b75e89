"""Measure the functions of tegula_sw.functions against MPFR and write docs/functions.md.

Arguments are all bf16 numbers and a number of fp32 patterns that the seed determines: so is the
document. 2**24 of them take one to five minutes a function.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tegula.files import write_text
from tegula_golden.array_types import Floats, Mask, Patterns
from tegula_golden.numerics.functions import evaluate
from tegula_sw.cli.arguments import SEED, ScriptParser, integer
from tegula_sw.cli.exits import exit_code
from tegula_sw.files.outputs import check_outputs
from tegula_sw.functions import NAMES, function, pack, records
from verif.oracles.mpfr import SPECIAL_RESULTS, bf16_steps, exact, ulp_errors
from verif.stimuli.functions import arguments

Doubles = NDArray[np.float64]
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "functions.md"
BATCH = 1 << 16
FORMULAS = {
    "exp": "e^z",
    "ln": "ln z",
    "recip": "1 / z",
    "rsqrt": "1 / sqrt(z)",
    "sqrt": "sqrt(z)",
    "sigmoid": "1 / (1 + e^-z)",
    "tanh": "tanh z",
    "gelu": "z Phi(z), with Phi(z) = erfc(-z / sqrt(2)) / 2",
    "gelu_grad": "Phi(z) + z phi(z), with phi(z) = e^(-z^2 / 2) / sqrt(2 pi)",
    "relu": "maximum(z, +0)",
    "pow2_recip": "2^-floor(log2 abs(z)), at most 2^127",
}
NAMED_PATTERNS = {
    0x0000_0000: "+0",
    0x8000_0000: "-0",
    0x3F00_0000: "0.5",
    0x3F80_0000: "1",
    0xBF80_0000: "-1",
    0x7F00_0000: "2^127",
    0x7F80_0000: "+Inf",
    0xFF80_0000: "-Inf",
    0x7FC0_0000: "qNaN",
}
TEMPLATE = """\
# Functions of the activation engine

Written by `make functions` (`scripts/functions.py`); not edited by hand. The tables of
`tegula_sw.functions`, evaluated as section 5.5 of the [numerics contract](numerics.md) says,
against MPFR: all bf16 arguments, and about {size:,} fp32 arguments a function (seed {seed}).

| function | f(z) | entries | descriptors | misrounded bf16 | f(+0) | f(-0) | f(+Inf) | f(-Inf) |
|---|---|---|---|---|---|---|---|---|
{rows}

In one table these functions have {entries} entries and {descriptors} descriptors: equal pieces
share their entries. *Misrounded bf16* counts the results, of all 65,536 bf16 arguments, that are
not the bf16 number nearest to f(z) after the cast from fp32; they are the next one. A NaN gives
qNaN.

Errors of the fp32 results are distances from f(z), in ulps of the fp32 number nearest to it
(2^-149 for subnormals): rounding alone makes 0.5. *bf16 steps* is how many bf16 numbers the same
results are away, after the cast, from the one nearest to f(z).

| function | where | arguments | largest error | at z | bf16 steps |
|---|---|---|---|---|---|
{regions}

- `ln` and `gelu_grad` are sums with a fixed unit: near their zeros, at 1 and -0.7518, the absolute
  error is small and the relative one is not. `ln` of 1 is +0.
- `gelu` and `gelu_grad` vanish below -4 with the accuracy of bf16, and reach -0 below -14.
- Half of an odd bf16 number below 2^-125 is a tie in bf16. GELU of it is beside the tie, by less
  than fp32 can tell: 128 of these 256 results go the wrong way.
- `pow2_recip` is 2^127 for 0 and below 2^-126: a block of zeros times its scale is zero.
"""


@dataclass
class Region:
    """Arguments whose errors are compared with each other, and the worst of them so far.

    Attributes
    ----------
    contains
        Of arguments (float32) and values (float64): which are in the region.
    absolute
        Errors are absolute, not in ulps.
    """

    where: str
    contains: Callable[[Floats, Doubles], Mask]
    absolute: bool = False
    count: int = 0
    worst: float = 0.0
    worst_argument: float = field(default=float("nan"))
    worst_steps: int = 0

    def add(self, x: Floats, values: Doubles, results: Patterns) -> None:
        """Take the errors of these results into account."""
        inside = self.contains(x, values)
        if not inside.any():
            return
        x, values, results = x[inside], values[inside], results[inside]
        if self.absolute:
            errors = np.abs(results.view(np.float32).astype(np.float64) - values)
        else:
            errors = ulp_errors(results, values)
        self.count += len(x)
        place = int(np.argmax(errors))
        if errors[place] > self.worst:
            self.worst, self.worst_argument = float(errors[place]), float(x[place])
        self.worst_steps = max(self.worst_steps, int(bf16_steps(results, values).max()))

    def row(self, name: str) -> str:
        """The region as a row of the document's second table."""
        if self.worst == 0:
            error, place = "0", "-"
        else:
            error = f"2^{np.log2(self.worst):.1f} absolute" if self.absolute else ulps(self.worst)
            place = f"{self.worst_argument:.9g}"
        return (
            f"| {name} | {self.where} | {self.count:,} | {error} | {place} | {self.worst_steps} |"
        )


def ulps(error: float) -> str:
    """An error in ulps of fp32, or of bf16 where that is the better unit."""
    return f"{error:.3f} ulp" if error < 1000 else f"{error / 2**16:.3f} ulp of bf16"


def regions(name: str) -> list[Region]:
    """Regions in which the errors of a function are of one kind."""
    if name == "ln":
        return [
            Region("abs(f) >= 0.5", lambda _, f: ~(np.abs(f) < 0.5)),
            Region(
                "2^-20 <= abs(f) < 0.5",
                lambda _, f: (np.abs(f) < 0.5) & (np.abs(f) >= 2**-20),
                absolute=True,
            ),
            Region("abs(f) < 2^-20", lambda _, f: np.abs(f) < 2**-20, absolute=True),
        ]
    if name not in ("gelu", "gelu_grad"):
        return [Region("everywhere", lambda x, _: np.full(x.shape, True))]
    tail = [
        Region("-4 < z <= -2", lambda x, _: (x > -4) & (x <= -2)),
        Region("-8 < z <= -4", lambda x, _: (x > -8) & (x <= -4)),
        Region("z <= -8", lambda x, _: x <= -8),
    ]
    if name == "gelu":
        return [Region("z > -2", lambda x, _: x > -2), *tail]

    def crossing(x: Floats, f: Doubles) -> Mask:
        found: Mask = (x > -1) & (np.abs(f) < 2**-3)
        return found

    return [
        Region("z > -2 but for the next rows", lambda x, f: (x > -2) & ~crossing(x, f)),
        Region(
            "-1 < z, 2^-10 <= abs(f) < 2^-3",
            lambda x, f: crossing(x, f) & (np.abs(f) >= 2**-10),
            absolute=True,
        ),
        Region(
            "-1 < z, abs(f) < 2^-10",
            lambda x, f: crossing(x, f) & (np.abs(f) < 2**-10),
            absolute=True,
        ),
        *tail,
    ]


def batches(name: str, size: int, seed: int) -> Iterator[Patterns]:
    """All bf16 numbers but zeros, infinities and NaNs as the first batch, then fp32 ones."""
    drawn: list[Patterns] = [np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)]
    for number in range(-(-size // BATCH) + 1):
        if number:
            drawn = [arguments(np.random.default_rng([seed, NAMES.index(name), number]), BATCH)]
            if name in ("ln", "gelu_grad"):
                # Beside the zeros of these two, where only the absolute error is small.
                zero = np.float32(1.0 if name == "ln" else -0.7517915).view(np.uint32)
                drawn.append(zero + np.arange(-256, 257).astype(np.uint32) * np.uint32(number))
        z = np.concatenate(drawn)
        magnitude = z & 0x7FFF_FFFF
        yield z[(magnitude != 0) & (magnitude < 0x7F80_0000)]


def measure(name: str, size: int, seed: int) -> tuple[str, list[str]]:
    """The rows of a function in the two tables.

    Raises
    ------
    SystemExit
        If a result for zero, infinity or NaN is not what it must be.
    """
    table, positions = pack([name])
    special = np.array([0, 1 << 31, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001], dtype=np.uint32)
    results = evaluate(table, positions[name], special).tolist()
    if results != [*SPECIAL_RESULTS[name], 0x7FC0_0000]:
        raise SystemExit(f"functions: {name} of zeros, infinities and NaN is {results}")
    measured = regions(name)
    misrounded = done = 0
    for number, z in enumerate(batches(name, size, seed)):
        values, results = exact(name, z), evaluate(table, positions[name], z)
        if number == 0:
            misrounded = int(np.count_nonzero(bf16_steps(results, values)))
        for region in measured:
            region.add(z.view(np.float32), values, results)
        done += len(z)
        print(f"\r{name}: {done:,} arguments", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    spec = function(name)
    cells = [
        *(name, FORMULAS[name], spec.entry_count, spec.descriptor_count, misrounded),
        *(NAMED_PATTERNS[pattern] for pattern in SPECIAL_RESULTS[name]),
    ]
    row = "| " + " | ".join(map(str, cells)) + " |"
    return row, [region.row(name) for region in measured]


def document(names: Sequence[str], size: int, seed: int) -> str:
    """docs/functions.md."""
    rows, region_rows = [], []
    for name in names:
        row, more = measure(name, size, seed)
        rows.append(row)
        region_rows += more
    entries, descriptors = records(names)
    return TEMPLATE.format(
        size=size,
        seed=seed,
        rows="\n".join(rows),
        entries=len(entries) // 16,
        descriptors=len(descriptors) // 4,
        regions="\n".join(region_rows),
    )


def main(arguments_: list[str] | None = None) -> None:
    """Entry point."""
    parser = ScriptParser("functions", __doc__)
    parser.add_argument(
        "--functions",
        metavar="NAME",
        nargs="+",
        choices=NAMES,
        help=f"measure only these and print the tables; of {', '.join(NAMES)}",
    )
    parser.add_argument(
        "--log2-arguments",
        metavar="N",
        type=integer(0, 32),
        default=24,
        help="fp32 arguments (default 24)",
    )
    parser.add_argument("--seed", type=SEED, default=1, help="default 1")
    options = parser.parse_args(arguments_)
    if not options.functions:
        check_outputs(("document", str(DOCUMENT)))
    text = document(options.functions or NAMES, 1 << options.log2_arguments, options.seed)
    if options.functions:
        print(text)
    else:
        write_text(DOCUMENT, text)
        print(f"functions: wrote {DOCUMENT}")


if __name__ == "__main__":
    sys.exit(exit_code("functions", main))
