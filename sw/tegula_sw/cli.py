"""The command `tegula`: arguments in, one line of error or the result out.

The parser lives here, what a command does in `commands`, which is imported only when one runs, so
that `--help` is quick.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from tegula.config import PRESETS

__all__ = ["main"]

_EXIT_ERROR = 2
_EXIT_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and those of `tegula`, not of a subcommand."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"a probability must be 0 to 1, not {text!r}")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r}")
    return value


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", default="small", metavar="P", help=f"{', '.join(PRESETS)} (default: small)"
    )


def _window(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        first, end = -1, -1
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"must be FIRST:END with 0 <= FIRST < END, not {text!r}")
    return first, end


def _add_device(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--device",
        choices=("rtl", "golden"),
        default=default,
        help=f"compiled RTL or numpy model (default: {default})",
    )
    _add_preset(parser)


def _add_gemm(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "gemm",
        help="matrix product C = A @ B, from memory to memory",
        description=(
            "C = A @ B for A (M x K) and B (K x N), any M, N, K >= 1; a file may hold its operand"
            " transposed. Float arrays are cast to the operand's format (nearest even, saturating);"
            " uint8/uint16 arrays hold its codes. C is float32 for fp32, else codes. Formats: bf16,"
            " e4m3fn, e5m2."
        ),
    )
    _add_operands(parser)
    parser.add_argument("-o", "--output", required=True, metavar="C.npy", help="result, M x N")
    _add_device(parser, "rtl")
    _add_memory(parser)
    parser.add_argument(
        "--json", metavar="REPORT", help="write shape [M, N, K], cycles and beats; - is stdout"
    )
    _add_trace(parser)


def _add_profile(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "profile",
        help="where the cycles of a matrix product went",
        description=(
            "Run C = A @ B as `tegula gemm` does, on the RTL, and print for each engine how long it"
            " was busy and what it waited for (docs/profile.md)."
        ),
    )
    _add_operands(parser)
    parser.add_argument("-o", "--output", metavar="C.npy", help="result, M x N")
    _add_preset(parser)
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
        type=_count,
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
        "--seed", type=_count, default=0, metavar="N", help="seed of the stalls (default: 0)"
    )


def _add_cast(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "cast",
        help="float32 to codes",
        description=(
            "Cast float32 values (or uint32 bit patterns) to codes of a format, to nearest even or"
            " stochastically with given random bits. The RTL device uses the tile's own hardware."
        ),
    )
    parser.add_argument("x", metavar="X.npy", help="float32 or uint32 array of any shape")
    parser.add_argument("-o", "--output", required=True, metavar="Y.npy", help="codes")
    parser.add_argument("--to", required=True, metavar="F", help="format of the codes")
    parser.add_argument(
        "--saturate", action="store_true", help="fp8 overflow and Inf become the largest finite"
    )
    parser.add_argument(
        "--rounding",
        choices=("rne", "sr"),
        default="rne",
        help="nearest even, or stochastic (default: rne)",
    )
    parser.add_argument(
        "--random-bits", metavar="R.npy", help="uint16 array in the shape of X, for sr"
    )
    _add_device(parser, "golden")


def _add_eval(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "eval",
        help="elementwise operations and functions of float32 arrays",
        description=(
            "Apply an operation of the vector engine or a function of the activation engine to"
            " float32 values (or uint32 bit patterns); the result has the dtype of X. The RTL"
            " device runs it as a program. Of two operands: add, sub, rsub, mul, min, max, eq, ne,"
            " lt, le, gt, ge, select. Of one: abs, neg, exp, ln, recip, rsqrt, sqrt, sigmoid, tanh,"
            " gelu, gelu_grad, relu, pow2_recip."
        ),
    )
    parser.add_argument("operation", metavar="OP", help="the operation or function")
    parser.add_argument("x", metavar="X.npy", help="float32 or uint32 array of any shape")
    parser.add_argument("y", metavar="Y.npy", nargs="?", help="second operand, in the shape of X")
    parser.add_argument("-o", "--output", required=True, metavar="Z.npy", help="result")
    _add_device(parser, "golden")


def _add_info(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "info",
        help="sizes, widths, latencies and guarantees of a preset",
        description="Print sizes, widths, latencies and guarantees of a preset.",
    )
    _add_preset(parser)
    parser.add_argument("--json", metavar="REPORT", help="write them as JSON; - is stdout")


def _add_assembler(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "asm",
        help="assemble a program",
        description="Assemble program text (docs/isa.md) into the bytes that the tile fetches.",
    )
    parser.add_argument("file", metavar="FILE", help="program text")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="program bytes")
    parser = subparsers.add_parser(
        "disasm",
        help="disassemble a program",
        description="Print the bytes of a program as text that `tegula asm` takes back.",
    )
    parser.add_argument("file", metavar="FILE", help="program bytes")


def _learning_rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a learning rate must be a number, not {text!r}"
        ) from None


def _add_train(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a classifier, every step of it on the tile",
        description=(
            "Train a classifier with one hidden layer on scikit-learn's handwritten digits (1437 to"
            " train on, 360 to test). Forward, loss, gradients and optimizer run as one program a"
            " step on the tile; the host stages data and reads results. The folder gets log.json,"
            " weights.npz, state.npz and curves.png."
        ),
    )
    parser.add_argument("data", choices=("digits",), help="data set")
    for name, choices, text in (
        ("format", ("bf16", "fp8"), "operands of the products; fp8: E4M3 forward, E5M2 gradients"),
        ("optimizer", ("sgd", "adamw"), "sgd has a momentum of 0.9"),
        ("weights", ("fp32", "bf16"), "how weights are kept; bf16: without a copy in fp32"),
        ("rounding", ("rne", "sr"), "of bf16 weights: nearest even or stochastic"),
        ("activation", ("relu", "gelu"), "of the hidden layer"),
    ):
        parser.add_argument(
            f"--{name}", choices=choices, default=choices[0], help=f"{text} (default: {choices[0]})"
        )
    for name, default, text in (
        ("hidden", 64, "units of the hidden layer"),
        ("batch", 32, "samples of a step"),
        ("epochs", 20, "passes over the data"),
        ("seed", 1, "of the split, first weights, order of samples, stochastic rounding"),
    ):
        parser.add_argument(
            f"--{name}",
            type=_count,
            default=default,
            metavar=name[0].upper(),
            help=f"{text} (default: {default})",
        )
    parser.add_argument(
        "--lr",
        type=_learning_rate,
        metavar="R",
        help="learning rate (default: sgd 0.1, adamw 0.002)",
    )
    parser.add_argument(
        "--out", default="digits-run", metavar="DIR", help="folder of results (default: digits-run)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    _add_device(parser, "rtl")
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="write a Chrome trace of the second step, which Perfetto opens, and DIR/step.png",
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="tegula", description="Run jobs on a Tegula training tile.")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    _add_gemm(subparsers)
    _add_profile(subparsers)
    _add_cast(subparsers)
    _add_train(subparsers)
    _add_eval(subparsers)
    _add_info(subparsers)
    _add_assembler(subparsers)
    return parser


def _run(arguments: Sequence[str] | None) -> None:
    options = _parser().parse_args(arguments)
    from tegula_sw import commands

    getattr(commands, options.command)(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, or 2 after an error of one line.

    Parameters
    ----------
    arguments
        Without the program's name; None: those of the process.
    """
    try:
        _run(arguments)
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"{error.filename}: {reason}" if error.filename else reason
    except (ValueError, RuntimeError, MemoryError) as error:
        message = str(error) or type(error).__name__
    else:
        return 0
    print(f"tegula: error: {' '.join(message.split())}", file=sys.stderr)
    return _EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main())
