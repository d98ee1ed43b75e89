"""Write docs/isa.md from the tables: ``python -m tegula.isa.document [--check] [PATH]``."""

import argparse
import sys
from pathlib import Path

from tegula.config import PRESETS
from tegula.formats import FORMATS
from tegula.isa.assembly import assemble, disassemble
from tegula.isa.instructions import GRANULE_BYTES, HEADER, INSTRUCTIONS, Engine, Field, Instruction
from tegula.isa.registers import REGISTERS
from tegula.isa.traps import TRAP_DOCS

__all__ = ["document", "main"]

DEFAULT_PATH = Path(__file__).resolve().parents[3] / "docs" / "isa.md"

_INTRODUCTION = f"""# Instruction set, registers and traps

Generated from the tables in `hw/tegula/isa` by `make docs`: do not edit. Hardware decoder,
assembler, disassembler and golden model are made from the same tables.

## Programs

A program is a straight line of instructions, each one or more granules of {GRANULE_BYTES} bytes,
little-endian, at an address that is a multiple of 64. The low byte of the first granule is the
opcode; its high nibble names the engine. Bits that no field claims shall be zero.

The host writes program address and size and the memory window, then 1 to `CONTROL`. The tile
fetches in order, checks each instruction when it is dispatched, and hands it to the queue of its
engine. The engines ({
    ", ".join(f"`{engine.name.lower()}`" for engine in Engine if engine is not Engine.CONTROL)
}) work at the same time, each on its own instructions in order, and synchronise by
counting semaphores only. `halt` waits until every queue is empty and every engine idle, then
raises the interrupt. A program starts with all semaphores zero and no PSUM word written; the
scratchpad keeps its contents between programs.

Dispatch is in order and queues are bounded: an instruction whose queue is full holds up all later
ones. A program in which every wait is satisfied by instructions that come earlier cannot deadlock.

## Synchronisation

Every instruction of an engine has these fields. The instruction waits at the head of its queue,
while the one before it may still be at work; it signals when its last effect is complete.
"""

_ASSEMBLY = """## Assembly

One instruction a line, `#` begins a comment. Fields are `name=value`, in decimal or hexadecimal;
those with a default may be left out; formats and layouts go by name. `wait(3>=2)` waits until
semaphore 3 is at least 2, `consume(3>=2)` also subtracts 2, `signal(4+=1)` adds 1 to semaphore 4
at completion. A granule that is no instruction is `.word 0x...`. `tegula asm` and `tegula disasm`
convert files.
"""

_EXAMPLE = """
load.dma layout=partition mem_addr=0x1000 run=8 count1=8 mem_stride1=16 sbuf_addr=0 sbuf_stride1=1
load.dma layout=free mem_addr=0x2000 run=64 count1=8 mem_stride1=128 sbuf_addr=64 \
partition_stride1=1 signal(0+=1)
tensor.load rows=8 format=bf16 columns=8 addr=0 consume(0>=1)
tensor.matmul rows=8 format=bf16 addr=64 columns=64 psum_addr=0 signal(1+=1)
vector.copy rows=8 format=bf16 src=0 dst=128 columns=64 consume(1>=1) signal(2+=1)
store.dma layout=free mem_addr=0x3000 run=64 count1=8 mem_stride1=128 sbuf_addr=128 \
partition_stride1=1 consume(2>=1)
halt
"""


def _limits(field: Field) -> str:
    config = PRESETS["small"]
    allowed = field.allowed(config)
    if field.formats:
        names = {fmt.code: fmt.name for fmt in FORMATS}
        return ", ".join(f"{code} `{names[code]}`" for code in allowed)
    return f"{allowed[0]} .. {allowed[-1]}"


def _field_table(fields: tuple[Field, ...]) -> list[str]:
    lines = [
        "| bits | field | values (`small`) | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for field in sorted(fields, key=lambda each: each.offset):
        bits = f"{field.offset + field.width - 1}:{field.offset}"
        if field.width == 1:
            bits = str(field.offset)
        default = "" if field.default is None else str(field.default)
        lines.append(f"| {bits} | `{field.name}` | {_limits(field)} | {default} | {field.doc} |")
    return lines


def _instruction(instruction: Instruction) -> list[str]:
    size = f"{instruction.granules * GRANULE_BYTES} bytes"
    lines = [
        f"### `{instruction.mnemonic}`",
        "",
        f"Opcode {instruction.opcode:#04x}, {size}. {instruction.doc}",
        "",
    ]
    if instruction.payload:
        lines += [*_field_table(instruction.payload), ""]
    return lines


def document() -> str:
    """The text of docs/isa.md."""
    lines = [_INTRODUCTION, *_field_table(HEADER), "", "## Instructions", ""]
    for instruction in INSTRUCTIONS:
        lines += _instruction(instruction)
    lines += ["### Formats", "", "| code | format |", "|---|---|"]
    lines += [f"| {fmt.code} | `{fmt.name}` |" for fmt in FORMATS]
    lines += [
        "",
        _ASSEMBLY,
        "C (8 x 64) = A (8 x 8) @ B (8 x 64) on `small`, all bf16:",
        "",
        "```",
        disassemble(assemble(_EXAMPLE.strip())).strip(),
        "```",
        "",
        "## Registers",
        "",
        "32-bit registers behind the AXI4-Lite port. While a program runs, only `CONTROL`,",
        "`IRQ` and `IRQ_ENABLE` take writes. An offset without a register answers SLVERR.",
        "",
        "| offset | register | access | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {register.offset:#04x} | `{register.name}` | {register.access} | {register.doc} |"
        for register in REGISTERS
    ]
    lines += [
        "",
        "## Trap causes",
        "",
        "What each means for a program and its host is in [traps.md](traps.md).",
        "",
        "| code | cause | meaning | `TRAP_ADDR` |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {trap.value} | `{trap.name}` | {meaning} | {address} |"
        for trap, (meaning, address) in TRAP_DOCS.items()
    ]
    lines += ["", "## Engines", "", "| code | engine |", "|---|---|"]
    lines += [f"| {engine.value} | `{engine.name.lower()}` |" for engine in Engine]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; with ``--check``, 1 where the file is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=DEFAULT_PATH)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    text = document()
    if not options.check:
        options.path.write_text(text)
        return 0
    if options.path.is_file() and options.path.read_text() == text:
        return 0
    print(f"{options.path} is out of date: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
