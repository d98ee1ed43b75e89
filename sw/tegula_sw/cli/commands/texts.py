"""`tegula info`, `tegula asm` and `tegula disasm`."""

import argparse

from tegula.config import preset
from tegula_sw.files.inputs import read_bytes, read_text
from tegula_sw.files.outputs import STDOUT, check_outputs, open_output, print_text, write_json

__all__ = ["asm", "disasm", "info"]


def info(options: argparse.Namespace) -> None:
    """`tegula info`."""
    from tegula_sw.cli.info import describe, format_text

    check_outputs(("--json", options.json))
    description = describe(preset(options.preset))
    if options.json is not None:
        write_json(options.json, description)
    if options.json != STDOUT:
        print_text(format_text(description) + "\n")


def asm(options: argparse.Namespace) -> None:
    """`tegula asm`."""
    from tegula.isa.assembly import assemble

    check_outputs(("-o", options.output))
    text = read_text(options.file)
    try:
        program = assemble(text)
    except ValueError as error:
        raise ValueError(f"{options.file}: {error}") from None
    with open_output(options.output) as file:
        file.write(program)


def disasm(options: argparse.Namespace) -> None:
    """`tegula disasm`."""
    from tegula.isa.assembly import disassemble

    program = read_bytes(options.file)
    try:
        text = disassemble(program)
    except ValueError as error:
        raise ValueError(f"{options.file}: {error}") from None
    print_text(text)
