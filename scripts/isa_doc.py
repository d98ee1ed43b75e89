"""Write docs/isa.md from the tables: ``python -m scripts.isa_doc [PATH] [--check]``."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from scripts import isa_prose as prose
from tegula.config import TileConfig, preset
from tegula.files import write_text
from tegula.formats import FORMATS
from tegula.isa.assembly import assemble
from tegula.isa.codec import instructions
from tegula.isa.instructions import (
    GRANULE_BYTES,
    HEADER,
    INSTRUCTIONS,
    RELATIVE_SLOTS,
    Engine,
    Field,
    Instruction,
)
from tegula.isa.registers import REGISTERS
from tegula.isa.traps import TRAP_DOCS, Trap
from tegula_sw.cli.arguments import ScriptParser
from tegula_sw.cli.exits import exit_code

__all__ = ["main", "render"]

DEFAULT_PATH = Path(__file__).resolve().parents[1] / "docs" / "isa.md"

_PROBES = (
    preset("tiny", semaphores=8, semaphore_width=7),
    preset("small", semaphores=32, semaphore_width=11, psum_bank_words=16),
    preset("medium", semaphores=4, semaphore_width=4),
)
"""Configurations that differ in all that a limit may depend on: they tell the limits' names."""

_LIMIT_NAMES: dict[str, Callable[[TileConfig], int]] = {
    "N": lambda config: config.n,
    "N - 1": lambda config: config.n - 1,
    "`psum_depth`": lambda config: config.psum_depth,
    "`semaphores` - 1": lambda config: config.semaphores - 1,
    "2^`semaphore_width` - 1": lambda config: (1 << config.semaphore_width) - 1,
}


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _limit(field: Field, end: int) -> str:
    """Name of the lowest (`end` 0) or highest (-1) allowed value."""
    values = [field.allowed(config)[end] for config in _PROBES]
    if len(set(values)) == 1:
        return str(values[0])
    for name, value in _LIMIT_NAMES.items():
        if values == [value(config) for config in _PROBES]:
            return name
    raise ValueError(f"limit of field {field.name} has no name: {values}")


def _limits(field: Field) -> str:
    if field.only:
        return ", ".join(fmt.name for fmt in field.only)
    if field.formats:
        extra = ", fp32, raw too" if field.raw else ", fp32 too"
        return "format" + (extra if field.fp32 else "")
    if field.names is not None:
        allowed = {value for config in _PROBES for value in field.allowed(config)}
        values = [value for value in field.names if value in allowed]
        return ", ".join(f"{value.value} `{value.name.lower()}`" for value in values)
    if field.width == 1:
        return "0, 1"
    return f"{_limit(field, 0)} .. {_limit(field, -1)}"


def _bits(field: Field) -> str:
    high = field.offset + field.width - 1
    return str(high) if field.width == 1 else f"{high}:{field.offset}"


def _fields(fields: Iterable[Field]) -> str:
    return _table(
        ("field", "bits", "values", "default", "meaning"),
        (
            (
                f"`{field.name}`",
                _bits(field),
                _limits(field) + (", signed" if field.signed else ""),
                "required" if field.default is None else field.default,
                field.doc,
            )
            for field in fields
        ),
    )


def _summary() -> str:
    return _table(
        ("mnemonic", "opcode", "engine", "bytes"),
        (
            (
                f"[`{i.mnemonic}`](#{i.mnemonic.replace('.', '')})",
                f"0x{i.opcode:02x}",
                i.engine.name.lower(),
                i.granules * GRANULE_BYTES,
            )
            for i in INSTRUCTIONS
        ),
    )


def _instruction(instruction: Instruction) -> str:
    text = f"### `{instruction.mnemonic}`\n\n{instruction.doc}\n"
    twin = next(i for i in INSTRUCTIONS if i.payload == instruction.payload)
    if not instruction.payload:
        header = "the header" if instruction.fields else "the opcode"
        return f"{text}\nNo fields beyond {header}.\n"
    if twin is not instruction:
        return f"{text}\nFields as in `{twin.mnemonic}`.\n"
    return f"{text}\n{_fields(instruction.payload)}"


def _slots() -> str:
    """Relative fields of each instruction, in the order of their slots."""
    return _table(
        ("instruction", *(f"slot {slot}" for slot in range(RELATIVE_SLOTS))),
        (
            (f"`{row.mnemonic}`", *names, *[""] * (RELATIVE_SLOTS - len(names)))
            for row in INSTRUCTIONS
            if (names := [f"`{field.name}`" for field in row.relative_fields])
        ),
    ).rstrip()


def _traps() -> str:
    table = _table(
        ("code", "cause", "meaning", "address register"),
        (
            (cause.value, f"`{cause.name}`", *TRAP_DOCS[cause])
            for cause in Trap
            if cause != Trap.NONE
        ),
    )
    engines = ", ".join(f"{engine.value} {engine.name.lower()}" for engine in Engine)
    return (
        f"## Trap causes\n\nSee [traps.md](traps.md). `TRAP_ENGINE` holds one of: {engines}.\n\n"
        f"{table}"
    )


def _registers() -> str:
    rows = ((f"0x{r.offset:02x}", f"`{r.name}`", r.access, r.doc) for r in REGISTERS)
    return prose.HOST + "\n" + _table(("offset", "register", "access", "meaning"), rows)


def _example() -> str:
    program = assemble(prose.EXAMPLE)
    lines = []
    for offset, decoded in instructions(program):
        for granule in range(offset, offset + decoded.size, GRANULE_BYTES):
            name = decoded.mnemonic if granule == offset else ""
            lines.append(
                f"{granule:4d}  {program[granule : granule + 16].hex(' ')}  {name}".rstrip()
            )
    listing = "\n".join(lines)
    return (
        f"{prose.EXAMPLE_INTRO}\n```\n{prose.EXAMPLE}```\n\n"
        f"Its bytes, in the order of their addresses:\n\n```\n{listing}\n```\n"
    )


def render() -> str:
    """The text of docs/isa.md."""
    formats = ", ".join(f"{fmt.code} {fmt.name}" for fmt in FORMATS)
    parts = [
        prose.INTRO,
        prose.STORAGE,
        prose.MODEL.format(slots=_slots()),
        prose.ENCODING.format(formats=formats),
        "### Header\n\nBits of every engine's instructions, next to the opcode in bits 7:0. Of"
        " those of control, `control.read` has the\nfields of the wait, the others none.\n\n"
        + _fields(HEADER),
        "## Instructions\n\n" + _summary(),
        *(_instruction(instruction) for instruction in INSTRUCTIONS),
        prose.ASSEMBLY,
        _example(),
        _registers(),
        _traps(),
    ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file, or with `--check` say whether it is up to date (exit code 1 if not)."""
    parser = ScriptParser("isa-doc", __doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT_PATH, metavar="PATH")
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args(arguments)
    text = render()
    if not options.check:
        write_text(options.path, text)
        return 0
    if options.path.is_file() and options.path.read_text(encoding="utf-8") == text:
        return 0
    print(f"{options.path} is out of date: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(exit_code("isa-doc", main))
