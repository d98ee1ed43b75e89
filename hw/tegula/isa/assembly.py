"""Text form of programs: one instruction a line, and back without a bit lost.

Syntax (ours)::

    # a comment runs to the end of the line
    mnemonic name=value name=value ... sync ...

A value is decimal or hexadecimal (`0x`), or the name of the value where values have names. Fields
with a default may be left out. `sync` is any of `wait(S>=V)`, `consume(S>=V)` (wait, then subtract
V) and `signal(S+=V)`. `.word 0x...` is a granule of 16 bytes taken literally.
"""

import re

from tegula.isa.codec import Decoded, decode, encode, value_names
from tegula.isa.instructions import GRANULE_BITS, GRANULE_BYTES, Field, by_opcode

__all__ = ["assemble", "disassemble", "instruction_text"]

_SYNC = re.compile(r"(wait|consume|signal)\((\w+)(>=|\+=)(\w+)\)")
_ASSIGNMENT = re.compile(r"(\w+)=(\S+)")
_NUMBER = re.compile(r"-?(0x[0-9a-f]+|[0-9]+)", re.IGNORECASE)

_INDENT = "    "

_WAIT_FIELDS = ("wait", "consume", "wait_sem", "wait_value")
_SIGNAL_FIELDS = ("signal", "signal_sem", "signal_value")


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return int(text, 0) if "x" in text.lower() else int(text)


def _sync_fields(verb: str, semaphore: str, relation: str, value: str) -> dict[str, int]:
    if relation != ("+=" if verb == "signal" else ">="):
        raise ValueError(f"{verb} takes {'+=' if verb == 'signal' else '>='}, not {relation}")
    if verb == "signal":
        return {"signal": 1, "signal_sem": _number(semaphore), "signal_value": _number(value)}
    return {
        "wait": 1,
        "consume": int(verb == "consume"),
        "wait_sem": _number(semaphore),
        "wait_value": _number(value),
    }


def _operand_fields(token: str) -> dict[str, int | str]:
    if match := _SYNC.fullmatch(token):
        return dict(_sync_fields(*match.groups()))
    if match := _ASSIGNMENT.fullmatch(token):
        name, text = match.groups()
        return {name: _number(text) if text[0] in "-0123456789" else text}
    raise ValueError(f"{token!r} is neither name=value nor wait(s>=v), consume(s>=v), signal(s+=v)")


def _assemble_word(operands: list[str]) -> bytes:
    if len(operands) != 1:
        raise ValueError(f".word takes one value, not {len(operands)}")
    word = _number(operands[0])
    if not 0 <= word < 1 << GRANULE_BITS:
        raise ValueError(f".word must be 0 to {(1 << GRANULE_BITS) - 1:#x}, not {operands[0]}")
    return word.to_bytes(GRANULE_BYTES, "little")


def _assemble_line(line: str) -> bytes:
    mnemonic, *operands = line.split()
    if mnemonic == ".word":
        return _assemble_word(operands)
    fields: dict[str, int | str] = {}
    for token in operands:
        for name, value in _operand_fields(token).items():
            if name in fields:
                raise ValueError(f"{name} is given twice")
            fields[name] = value
    return encode(mnemonic, **fields)


def assemble(text: str) -> bytes:
    """The program that `text` describes.

    Returns
    -------
    bytes
        A multiple of 16 bytes.

    Raises
    ------
    ValueError
        If a line is malformed; the message begins with its number and ends with its text.
    """
    if not isinstance(text, str):
        raise ValueError(f"text must be a str, not {text!r}")
    program = bytearray()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        try:
            program += _assemble_line(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}: {line!r}") from None
    return bytes(program)


def _value_text(field: Field, value: int) -> str:
    for name, code in value_names(field).items():
        if code == value:
            return name
    return f"{value:#x}" if field.width >= 32 and not field.signed else str(value)


def _sync_text(fields: dict[str, int]) -> list[str]:
    """Sync words, and by name those header fields that hold a value without being used."""
    if "wait" not in fields:
        return []
    words = []
    if fields["wait"]:
        verb = "consume" if fields["consume"] else "wait"
        words.append(f"{verb}({fields['wait_sem']}>={fields['wait_value']})")
    else:
        words += [f"{name}={fields[name]}" for name in _WAIT_FIELDS if fields[name]]
    if "signal" not in fields:
        return words
    if fields["signal"]:
        words.append(f"signal({fields['signal_sem']}+={fields['signal_value']})")
    else:
        words += [f"{name}={fields[name]}" for name in _SIGNAL_FIELDS if fields[name]]
    return words


def instruction_text(decoded: Decoded) -> str:
    """One line of assembly."""
    words = [decoded.mnemonic]
    for field in decoded.instruction.payload:
        value = decoded.fields[field.name]
        if value != field.default:
            words.append(f"{field.name}={_value_text(field, value)}")
    return " ".join(words + _sync_text(decoded.fields))


def disassemble(data: bytes) -> str:
    """Text that assembles to exactly `data`, one instruction a line, bodies of loops indented.

    What no instruction describes (an unknown opcode, a bit set that no field claims, an
    instruction that the data cut short) comes out as `.word`, granule by granule.

    Raises
    ------
    ValueError
        If the size of `data` is not a multiple of 16 bytes.
    """
    try:
        memoryview(data)
    except TypeError:
        raise ValueError(f"data must be bytes, not {data!r}") from None
    if len(data) % GRANULE_BYTES:
        raise ValueError(f"a program must be a multiple of 16 bytes, not {len(data)}")
    lines = []
    offset = depth = 0
    while offset < len(data):
        try:
            decoded = decode(data, offset)
        except ValueError:
            row = by_opcode(data[offset])
            end = min(offset + GRANULE_BYTES * (row.granules if row else 1), len(data))
            while offset < end:
                granule = int.from_bytes(data[offset : offset + GRANULE_BYTES], "little")
                lines.append(f".word 0x{granule:032x}")
                offset += GRANULE_BYTES
        else:
            depth -= decoded.mnemonic == "control.end" and depth > 0
            lines.append(_INDENT * depth + instruction_text(decoded))
            depth += decoded.mnemonic == "control.loop"
            offset += decoded.size
    return "".join(f"{line}\n" for line in lines)
