"""Descriptions of the commands of `tegula` for `--help`."""

import argparse
from typing import TypeAlias

from tegula_sw.cli.arguments import Parser

__all__ = ["Subparsers", "add_command"]

_TEXTS = {
    "gemm": (
        "matrix product C = A @ B, from memory to memory",
        (
            "C = A @ B for A (M x K) and B (K x N), any M, N, K >= 1; a file may hold its operand"
            " transposed. Float arrays are cast to the operand's format (nearest even, saturating);"
            " uint8/uint16 arrays hold its codes. C is float32 for fp32, else codes. Formats: bf16,"
            " e4m3fn, e5m2; of operands also mxfp8_e4m3, mxfp8_e5m2 and mxfp4_e2m1, in which 32"
            " consecutive elements along K share a scale (codes of e2m1: 0 to 15, a byte each)."
        ),
    ),
    "profile": (
        "where the cycles of a matrix product went",
        (
            "Run C = A @ B as `tegula gemm` does, on the RTL, and print for each engine how long it"
            " was busy and what it waited for (docs/profile.md)."
        ),
    ),
    "predict": (
        "cycles of matrix products, without running them",
        (
            "Predict the cycles of C = A @ B, from memory to memory, by the model of time"
            " (docs/timing.md): for sizes, memories and tiles, also such as are no preset."
            " Formats: bf16, e4m3fn, e5m2."
        ),
    ),
    "cast": (
        "float32 to codes",
        (
            "Cast float32 values (or uint32 bit patterns) to codes of a format, to nearest even or"
            " stochastically with given random bits. The RTL device uses the tile's own hardware."
            " Formats: bf16, e4m3fn, e5m2, fp32; mxfp8_e4m3, mxfp8_e5m2 and mxfp4_e2m1, in which"
            " blocks of 32 along the last axis share a scale (codes of e2m1: 0 to 15, a byte each)."
        ),
    ),
    "train": (
        "train a classifier, every step of it on the tile",
        (
            "Train a classifier with one hidden layer on scikit-learn's handwritten digits (1437 to"
            " train on, 360 to test). Forward, loss, gradients and optimizer run as one program a"
            " step on the tile; the host stages data and reads results. The folder gets log.json,"
            " weights.npz, state.npz and curves.png."
        ),
    ),
    "eval": (
        "elementwise operations and functions of float32 arrays",
        (
            "Apply an operation of the vector engine or a function of the activation engine to"
            " float32 values (or uint32 bit patterns); the result has the dtype of X. The RTL"
            " device runs it as a program. Of two operands: add, sub, rsub, mul, min, max, eq, ne,"
            " lt, le, gt, ge, select. Of one: abs, neg, exp, ln, recip, rsqrt, sqrt, sigmoid, tanh,"
            " gelu, gelu_grad, relu, pow2_recip."
        ),
    ),
    "info": (
        "sizes, widths, latencies and guarantees of a preset",
        "Print sizes, widths, latencies and guarantees of a preset.",
    ),
    "asm": (
        "assemble a program",
        "Assemble program text (docs/isa.md) into the bytes that the tile fetches.",
    ),
    "disasm": (
        "disassemble a program",
        "Print the bytes of a program as text that `tegula asm` takes back.",
    ),
}
"""Name -> line in the list of commands, and description."""


Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The commands of a parser, as `add_subparsers` returns them."""


def add_command(subparsers: Subparsers, name: str) -> Parser:
    """The parser of a command, as yet without options."""
    summary, description = _TEXTS[name]
    return subparsers.add_parser(name, help=summary, description=description)
