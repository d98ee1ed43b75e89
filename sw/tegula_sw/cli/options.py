"""Options that commands share, and those of matrix products."""

import argparse

from tegula.config import PRESETS
from tegula_sw.cli.descriptions import Subparsers, add_command

__all__ = ["add_device", "add_gemm", "add_preset", "add_profile", "count"]


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"a probability must be 0 to 1, not {text!r}")
    return value


def count(text: str) -> int:
    """A number of things, from the command line."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r}")
    return value


def _window(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = -1, -1
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"must be FIRST:END with 0 <= FIRST < END, not {text!r}")
    return first, end


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
        type=_window,
        metavar="FIRST:END",
        help="cycles that the picture shows (default: all)",
    )


def _add_trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trace", metavar="FILE", help="write a Chrome trace of the RTL, which Perfetto opens"
    )


def _add_operands(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A.npy", help="left operand, M x K")
    parser.add_argument("b", metavar="B.npy", help="right operand, K x N")
    parser.add_argument("--transpose-a", action="store_true", help="A.npy is K x M: C = A^T @ B")
    parser.add_argument("--transpose-b", action="store_true", help="B.npy is N x K: C = A @ B^T")
    parser.add_argument("--format-a", required=True, metavar="F", help="format of A")
    parser.add_argument("--format-b", required=True, metavar="F", help="format of B")
    parser.add_argument("--format-out", required=True, metavar="F", help="format of C; also fp32")
    parser.add_argument(
        "--saturate", action="store_true", help="fp8 overflow and Inf become the largest finite"
    )


def _add_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mem-latency",
        type=count,
        default=20,
        metavar="CYCLES",
        help="read latency of the RTL's memory (default: 20)",
    )
    parser.add_argument(
        "--stall",
        type=_probability,
        default=0.0,
        metavar="PROBABILITY",
        help="chance of each AXI channel to pause in a cycle, on the RTL (default: 0)",
    )
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="seed of the stalls (default: 0)"
    )
