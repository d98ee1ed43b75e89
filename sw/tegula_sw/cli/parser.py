"""The command `tegula`: arguments in, one line of error or the result out.

The parser lives here, what a command does in `commands`, which is imported only when one runs, so
that `--help` is quick.
"""

import argparse
import sys
from collections.abc import Collection, Sequence
from functools import partial
from typing import NoReturn

from tegula_sw.cli.arguments import Parser, integer
from tegula_sw.cli.descriptions import Subparsers, add_command
from tegula_sw.cli.exits import exit_code
from tegula_sw.cli.options import (
    add_device,
    add_gemm,
    add_predict,
    add_preset,
    add_profile,
    add_scale_rule,
)
from tegula_sw.files.outputs import print_text

__all__ = ["main", "make_parser"]

_ENDS = """\
A path - of an output is standard output. Outputs are replaced whole: after an error an old file is
as it was. Exit codes: 0; 1 if the work failed; 2 for bad input; 130 after Ctrl-C; 141 if nobody
reads standard output any more.
"""


class _Version(argparse.Action):
    """Prints the version of the installed package."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print_text(f"tegula {version('tegula')}\n")
        parser.exit()


def _add_cast(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "cast")
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
    parser.add_argument(
        "--scales",
        metavar="S.npy",
        help="E8M0 codes of the blocks along the last axis, of an MX format",
    )
    add_scale_rule(parser)
    add_device(parser, "golden")


def _add_eval(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "eval")
    parser.add_argument("operation", metavar="OP", help="the operation or function")
    parser.add_argument("x", metavar="X.npy", help="float32 or uint32 array of any shape")
    parser.add_argument("y", metavar="Y.npy", nargs="?", help="second operand, in the shape of X")
    parser.add_argument("-o", "--output", required=True, metavar="Z.npy", help="result")
    add_device(parser, "golden")


def _add_info(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "info")
    add_preset(parser)
    parser.add_argument("--json", metavar="REPORT", help="write them as JSON; - is stdout")


def _add_assembler(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "asm")
    parser.add_argument("file", metavar="FILE", help="program text")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="program bytes")
    parser = add_command(subparsers, "disasm")
    parser.add_argument("file", metavar="FILE", help="program bytes")


def _learning_rate(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a learning rate must be a number, not {text!r}"
        ) from None


def _add_train(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "train")
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
        ("history", 16, "steps whose largest magnitudes make a scale of fp8"),
        ("max-skips", 16, "skipped steps in a row (not finite) that end the run"),
        ("seed", 1, "of the split, first weights, order of samples, stochastic rounding"),
    ):
        parser.add_argument(
            f"--{name}",
            type=integer(0),
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
    add_device(parser, "rtl")
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="write a Chrome trace of the second step, which Perfetto opens, and DIR/step.png",
    )


def make_parser() -> Parser:
    """The parser of the command; its errors are ValueErrors."""
    return _parser()[0]


def _parser() -> tuple[Parser, Collection[str]]:
    """The parser, and the names of the commands."""
    parser = Parser(prog="tegula", description="Run jobs on a Tegula training tile.", epilog=_ENDS)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser
    )
    add_gemm(subparsers)
    add_profile(subparsers)
    add_predict(subparsers)
    _add_cast(subparsers)
    _add_train(subparsers)
    _add_eval(subparsers)
    _add_info(subparsers)
    _add_assembler(subparsers)
    return parser, subparsers.choices


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    options = parser.parse_args(arguments)
    from tegula_sw.cli import commands

    getattr(commands, options.command)(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, one of `tegula_sw.cli.exits`.

    Parameters
    ----------
    arguments
        Without the program's name; None: those of the process.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser, commands = _parser()
    label = " ".join(["tegula", *(name for name in arguments[:1] if name in commands)])
    return exit_code(label, partial(_run, parser, arguments))
