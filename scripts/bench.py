"""Measure GEMMs on the RTL device and put the table into the README.

Cycles are counted by the tile from doorbell to interrupt and are the same on every machine; the
simulation speed beside them (`cycles_per_second`) is this machine's. Every result is first compared
with golden.
"""

import sys
from pathlib import Path
from typing import TypedDict

import numpy as np

from scripts.readme import README, put_into
from scripts.redmule import REDMULE, redmule_table, shape_name
from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import MX_BLOCK, MxElement, format_by_name
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.cli.arguments import MEM_LATENCY, SEED, ScriptParser
from tegula_sw.cli.exits import exit_code
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.files.outputs import STDOUT, Outputs, check_outputs, print_text, write_json
from tegula_sw.gemm.operands import operand_format
from tegula_sw.gemm.run import gemm
from verif.stimuli.operands import operands

ROOT = Path(__file__).resolve().parents[1]
SIZES = (64, 96, 100, 127, 128, 256)
FORMATS = (("bf16", "bf16"), ("e4m3fn", "bf16"), ("mxfp8_e4m3", "bf16"))
"""Of operands and results; those that the tile does not have are left out."""

TRANSPOSED_SIZES = (64, 128)
REDMULE_LATENCIES = (1, 20)
"""Read latencies at which RedMulE's shapes are measured: that of its figures, and the default."""
REDMULE_CAPTION = (
    "Beside RedMulE (12 x 4, fp16, ideal memory with one cycle of latency), each as a share of its"
    " own array; ours bf16 in, bf16 out, memory to memory:"
)
TRANSPOSED = {
    (False, False): "A @ B",
    (True, False): "A^T @ B",
    (False, True): "A @ B^T",
    (True, True): "A^T @ B^T",
}
BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"


_SCALES = 117, 138
"""Scale codes of operands of MX formats, the last one excluded."""

Row = TypedDict(
    "Row",
    {
        "shape": tuple[int, int, int],
        "mem_latency": int,
        "in": str,
        "out": str,
        "transpose_a": bool,
        "transpose_b": bool,
        "cycles": int,
        "utilisation": float,
        "read_beats": int,
        "write_beats": int,
        "cycles_per_second": float,
    },
)
"""A product that was measured; its shape is (M, K, N)."""

Job = tuple[int, tuple[int, int, int], str, str, tuple[bool, bool]]
"""Read latency, shape, formats of operands and of the result, and which operands are transposed."""


def measure(
    device: RtlDevice,
    mem_latency: int,
    shape: tuple[int, int, int],
    fmt_in: str,
    fmt_out: str,
    seed: int,
    transposed: tuple[bool, bool] = (False, False),
) -> Row:
    """Run one GEMM, compare it with golden, and return its row.

    `shape` is (M, K, N): A is M x K, B is K x N. `mem_latency` is the device's. `transposed` says
    whether A and B lie transposed in memory.

    Raises
    ------
    SystemExit
        If a bit differs.
    """
    rng = np.random.default_rng(seed)
    element, result_format = operand_format(fmt_in), format_by_name(fmt_out)
    source = element.fmt if isinstance(element, MxElement) else element
    a = operands(rng, shape[:2], source, "finite_codes")
    b = operands(rng, shape[1:], source, "finite_codes")
    scales_a = scales_b = None
    if element is not source:
        blocks = -(-shape[1] // MX_BLOCK)
        scales_a = rng.integers(*_SCALES, (shape[0], blocks), dtype=np.uint8)
        scales_b = rng.integers(*_SCALES, (blocks, shape[2]), dtype=np.uint8)
    result, report = gemm(
        device,
        a.T if transposed[0] else a,
        b.T if transposed[1] else b,
        source,
        source,
        result_format,
        transpose_a=transposed[0],
        transpose_b=transposed[1],
        scales_a=scales_a,
        scales_b=scales_b,
    )
    golden = golden_gemm(
        a,
        b,
        source,
        source,
        result_format,
        rows=device.config.n,
        acc_width=device.config.acc_width,
        packed=(source, source) in device.config.packed_pairs and device.config.packed_fp8,
        scales_a=scales_a,
        scales_b=scales_b,
    )
    if not np.array_equal(result, golden):
        raise SystemExit(f"bench: {shape_name(shape)} {fmt_in} differs from the golden model")
    assert report.cycles is not None and report.utilisation is not None, "the RTL has a clock"
    assert report.cycles_per_second is not None, "the RTL has a clock"
    return {
        "shape": shape,
        "mem_latency": mem_latency,
        "in": fmt_in,
        "out": fmt_out,
        "transpose_a": transposed[0],
        "transpose_b": transposed[1],
        "cycles": report.cycles,
        "utilisation": report.utilisation,
        "read_beats": report.read_beats,
        "write_beats": report.write_beats,
        "cycles_per_second": report.cycles_per_second,
    }


def formats_of(config: TileConfig) -> list[tuple[str, str]]:
    """Formats of operands and results that are measured on a tile."""
    known = {fmt.name for fmt in config.operand_formats}
    known |= {element.name for element in config.mx_elements}
    return [formats for formats in FORMATS if formats[0] in known]


def table(config_name: str, latency: int, rows: list[Row]) -> str:
    """The rows as a Markdown table, sizes down, formats across."""
    config = preset(config_name)
    packed = f" ({2 * config.peak_macs_per_cycle} in fp8)" if config.packed_fp8 else ""
    caption = (
        f"`{config_name}`: {config.n} x {config.n} array, {config.axi_data_width}-bit AXI, read"
        f" latency {latency} cycles, memory to memory, program fetch included; share of"
        f" {config.peak_macs_per_cycle} MACs a cycle{packed} (`make bench PRESET={config_name}`)."
    )
    lines = [
        caption,
        "",
        "| M = N = K | " + " | ".join(f"{a} in, {b} out" for a, b in formats_of(config)) + " |",
        "|---|" + "---|" * len(formats_of(config)),
    ]
    for size in SIZES:
        cells = []
        for formats in formats_of(config):
            row = next(r for r in rows if r["shape"][0] == size and (r["in"], r["out"]) == formats)
            cells.append(_cell(row))
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    return f"{row['utilisation']:.1%} ({row['cycles']:,} cycles)"


def transposed_table(rows: list[Row]) -> str:
    """The rows as a Markdown table, sizes down, products across."""
    fmt_in, fmt_out = FORMATS[0]
    lines = [
        f"The same from operands that lie transposed in memory ({fmt_in} in, {fmt_out} out):",
        "",
        "| M = N = K | " + " | ".join(TRANSPOSED.values()) + " |",
        "|---|" + "---|" * len(TRANSPOSED),
    ]
    for size in TRANSPOSED_SIZES:
        cells = [_cell(row) for row in rows if row["shape"][0] == size]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _by_latency(rows: list[Row]) -> dict[int, dict[tuple[int, int, int], float]]:
    """Utilisation by read latency and shape."""
    found: dict[int, dict[tuple[int, int, int], float]] = {}
    for row in rows:
        found.setdefault(row["mem_latency"], {})[row["shape"]] = row["utilisation"]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = ScriptParser("bench", __doc__)
    parser.add_argument("--preset", default="small", choices=sorted(PRESETS))
    parser.add_argument("--mem-latency", type=MEM_LATENCY, default=20, metavar="CYCLES")
    parser.add_argument("--seed", type=SEED, default=1)
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args(arguments)
    out = ROOT / "build" / "bench" / f"{options.preset}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    check_outputs(("results", str(out)), ("--readme", str(README) if options.readme else None))
    config, latency = preset(options.preset), options.mem_latency
    plain: list[Job] = [
        (latency, (size,) * 3, *f, (False, False)) for f in formats_of(config) for size in SIZES
    ]
    turned: list[Job] = [
        (latency, (size,) * 3, *FORMATS[0], flags)
        for size in TRANSPOSED_SIZES
        for flags in TRANSPOSED
    ]
    redmule: list[Job] = [
        (each, shape, *FORMATS[0], (False, False))
        for each in REDMULE_LATENCIES
        for shape in REDMULE
    ]
    devices = {each: RtlDevice(config, mem_latency=each) for each in {latency, *REDMULE_LATENCIES}}
    rows = []
    for mem_latency, shape, fmt_in, fmt_out, transposed in (*plain, *turned, *redmule):
        device = devices[mem_latency]
        row = measure(device, mem_latency, shape, fmt_in, fmt_out, options.seed, transposed)
        rows.append(row)
        print(
            f"{shape_name(shape):>15} {TRANSPOSED[transposed]:>9} {fmt_in:>7} -> {fmt_out},"
            f" latency {mem_latency}: {row['cycles']:8d} cycles, {row['utilisation']:6.1%},"
            f" {row['cycles_per_second']:9,.0f} cycles/s",
            file=sys.stderr,
        )
    squares, rest = rows[: len(plain)], rows[len(plain) :]
    text = "\n\n".join(
        (
            table(options.preset, latency, squares),
            transposed_table(rest[: len(turned)]),
            REDMULE_CAPTION,
            redmule_table(_by_latency(rest[len(turned) :])),
        )
    )
    with Outputs() as outputs:
        with outputs.writing(out):
            write_json(out, {"mem_latency": latency, "rows": rows}, indent=1)
        with outputs.writing(STDOUT):
            print_text(text + "\n")
        if options.readme:
            with outputs.writing(README):
                put_into(README, BEGIN, END, text)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code("bench", main))
