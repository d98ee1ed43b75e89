"""Options that commands share, and those of matrix products."""

import argparse

from tegula.config import PRESETS
from tegula.isa.operations import ScaleRule
from tegula_sw.cli.arguments import (
    MEM_LATENCY,
    SEED,
    cycle_range,
    integer,
    probability,
    product_shape,
    several,
)
from tegula_sw.cli.descriptions import Subparsers, add_command

__all__ = [
    "add_device",
    "add_gemm",
    "add_predict",
    "add_preset",
    "add_profile",
    "add_scale_rule",
]


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Add --preset."""
    parser.add_argument(
        "--preset", default="small", metavar="P", help=f"{', '.join(PRESETS)} (default: small)"
    )


def add_device(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --device and --preset."""
    parser.add_argument(
        "--device",
        choices=("rtl", "golden"),
        default=default,
        help=f"compiled RTL or numpy model (default: {default})",
    )
    add_preset(parser)


def add_scale_rule(parser: argparse.ArgumentParser) -> None:
    """Add --scale-rule."""
    parser.add_argument(
        "--scale-rule",
        choices=tuple(rule.name.lower() for rule in ScaleRule),
        default="rceil",
        help="how floats get the scales of an MX format (default: rceil)",
    )


def add_gemm(subparsers: Subparsers) -> None:
    """Add the command gemm."""
    parser = add_command(subparsers, "gemm")
    _add_operands(parser)
    parser.add_argument("-o", "--output", required=True, metavar="C.npy", help="result, M x N")
    add_device(parser, "rtl")
    _add_memory(parser)
    parser.add_argument(
        "--json", metavar="REPORT", help="write shape [M, N, K], cycles and beats; - is stdout"
    )
    _add_trace(parser)


def add_profile(subparsers: Subparsers) -> None:
    """Add the command profile."""
    parser = add_command(subparsers, "profile")
    _add_operands(parser)
    parser.add_argument("-o", "--output", metavar="C.npy", help="result, M x N")
    add_preset(parser)
    _add_memory(parser)
    parser.add_argument(
        "--json", metavar="REPORT", help="write the table and the report of gemm; - is stdout"
    )
    _add_trace(parser)
    parser.add_argument(
        "--picture", metavar="FILE", help="draw the timeline: FILE.png, FILE.svg or FILE.pdf"
    )
    parser.add_argument(
        "--window",
        type=cycle_range,
        metavar="FIRST:END",
        help="cycles that the picture shows (default: all)",
    )


def add_predict(subparsers: Subparsers) -> None:
    """Add the command predict."""
    parser = add_command(subparsers, "predict")
    parser.add_argument(
        "shapes",
        metavar="SIZE",
        nargs="*",
        type=product_shape,
        default=[(size,) * 3 for size in (32, 64, 128)],
        help="MxNxK, or N for N x N x N (default: 32 64 128)",
    )
    _add_transposition(parser)
    for name, text in (("a", "A"), ("b", "B"), ("out", "C; also fp32")):
        parser.add_argument(
            f"--format-{name}",
            default="bf16",
            metavar="F",
            help=f"format of {text} (default: bf16)",
        )
    parser.add_argument(
        "--preset",
        dest="presets",
        type=several(str),
        default=["small"],
        metavar="P,...",
        help=f"some of {', '.join(PRESETS)} (default: small)",
    )
    parser.add_argument(
        "--array",
        dest="arrays",
        type=several(integer(1)),
        metavar="N,...",
        help="rows and columns of the array: 4, 8, 16 or 32 (default: the preset's)",
    )
    parser.add_argument(
        "--bus",
        dest="buses",
        type=several(integer(1)),
        metavar="BITS,...",
        help="width of the memory port: 64, 128, 256 or 512 (default: the preset's)",
    )
    parser.add_argument(
        "--mem-latency",
        dest="latencies",
        type=several(MEM_LATENCY),
        default=[20],
        metavar="CYCLES,...",
        help="read latencies of the memory (default: 20)",
    )
    parser.add_argument("--json", metavar="REPORT", help="write the table as JSON; - is stdout")
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="draw utilisation over sizes: FILE.svg, FILE.png or FILE.pdf",
    )


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trace", metavar="FILE", help="write a Chrome trace of the RTL, which Perfetto opens"
    )


def _add_transposition(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transpose-a", action="store_true", help="A lies as K x M: C = A^T @ B")
    parser.add_argument("--transpose-b", action="store_true", help="B lies as N x K: C = A @ B^T")


def _add_operands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A.npy", help="left operand, M x K")
    parser.add_argument("b", metavar="B.npy", help="right operand, K x N")
    _add_transposition(parser)
    for side in "ab":
        text = f"format of {side.upper()}; also mxfp8_e4m3, mxfp8_e5m2, mxfp4_e2m1"
        parser.add_argument(f"--format-{side}", required=True, metavar="F", help=text)
        text = f"E8M0 codes of {side.upper()}'s blocks, where it holds codes of an MX format"
        parser.add_argument(f"--scales-{side}", metavar="S.npy", help=text)
    add_scale_rule(parser)
    parser.add_argument("--format-out", required=True, metavar="F", help="format of C; also fp32")
    parser.add_argument(
        "--saturate", action="store_true", help="fp8 overflow and Inf become the largest finite"
    )


def _add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mem-latency",
        type=MEM_LATENCY,
        default=20,
        metavar="CYCLES",
        help="read latency of the RTL's memory (default: 20)",
    )
    parser.add_argument(
        "--stall",
        type=probability,
        default=0.0,
        metavar="PROBABILITY",
        help="chance of each AXI channel to pause in a cycle, on the RTL (default: 0)",
    )
    parser.add_argument(
        "--seed", type=SEED, default=0, metavar="N", help="seed of the stalls (default: 0)"
    )
