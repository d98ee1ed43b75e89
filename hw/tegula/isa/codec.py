"""Encoding and decoding of instructions, and the checks that the hardware makes at dispatch."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from operator import index

from tegula.config import TileConfig
from tegula.formats import FloatFormat, format_names
from tegula.isa.instructions import (
    GRANULE_BYTES,
    OPCODE_BITS,
    Field,
    Instruction,
    NoMultiple,
    by_mnemonic,
    by_opcode,
)
from tegula.isa.traps import Trap

__all__ = [
    "Decoded",
    "FieldValue",
    "check",
    "decodable_instructions",
    "decode",
    "encode",
    "field_value",
    "instructions",
    "value_names",
]

FieldValue = int | str | FloatFormat
"""What a field may be given as: a number, a name of its value, or a format."""

_OPCODE_MASK = (1 << OPCODE_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An instruction taken apart.

    Attributes
    ----------
    mnemonic
        Name of the instruction.
    fields
        Value of every field, header included, as an integer.
    size
        Bytes that it occupies.
    """

    mnemonic: str
    fields: dict[str, int]
    size: int

    @property
    def instruction(self) -> Instruction:
        """Its row of the table."""
        return by_mnemonic(self.mnemonic)


def value_names(field: Field) -> dict[str, int]:
    """Name -> value of a field whose values have names; of others none."""
    if field.formats:
        return format_names()
    if field.names is not None:
        return {value.name.lower(): int(value) for value in field.names}
    return {}


def field_value(field: Field, value: FieldValue) -> int:
    """The number that `value` stands for in `field`.

    Parameters
    ----------
    value
        An integer; in a format field also a `FloatFormat`; where values have names, also a name.

    Raises
    ------
    ValueError
        If a name is unknown, or the number does not fit the bits of the field.
    """
    if field.formats and isinstance(value, FloatFormat):
        value = value.code
    elif isinstance(value, str) and (names := value_names(field)):
        if value.lower() not in names:
            known = ", ".join(names)
            what = "format" if field.formats else field.name
            raise ValueError(f"{what} {value!r} is unknown: it must be one of {known}")
        value = names[value.lower()]
    try:
        number = index(value)
    except TypeError:
        raise ValueError(f"{field.name} must be an integer, not {value!r}") from None
    if not field.low <= number <= field.high:
        raise ValueError(f"{field.name} must be {field.low} to {field.high}, not {number}")
    return number


def _check_allowed(field: Field, number: int, config: TileConfig) -> None:
    allowed = field.allowed(config)
    if number in allowed:
        return
    if isinstance(allowed, range):
        limits = f"{allowed[0]} to {allowed[-1]}"
    else:
        names = value_names(field).items()
        limits = "one of " + ", ".join(name for name, code in names if code in allowed)
    raise ValueError(f"{field.name} must be {limits} on tile {config.name!r}, not {number}")


def encode(mnemonic: str, config: TileConfig | None = None, /, **fields: FieldValue) -> bytes:
    """The bytes of an instruction.

    Nothing is inferred: an instruction waits only if `wait=1` is given, whatever `wait_sem` holds.

    Parameters
    ----------
    mnemonic
        Name of the instruction.
    config
        If given, every value must also be one that this tile accepts at dispatch.
    fields
        Values of header and payload fields. Those left out take their default.

    Raises
    ------
    ValueError
        If the mnemonic or a field is unknown, a field without a default is missing, or a value does
        not fit; the message names the field, the value and the limit.
    """
    instruction = by_mnemonic(mnemonic)
    known = {field.name for field in instruction.fields}
    if unknown := [name for name in fields if name not in known]:
        raise ValueError(f"{mnemonic} has no field {', '.join(unknown)}")
    if config is not None and not instruction.exists(config):
        raise ValueError(
            f"{mnemonic} needs {instruction.needs}, which tile {config.name!r} has not"
        )
    word = instruction.opcode
    numbers = {}
    for field in instruction.fields:
        value = fields.get(field.name, field.default)
        if value is None:
            raise ValueError(f"{mnemonic} needs field {field.name}")
        try:
            number = field_value(field, value)
            if config is not None:
                _check_allowed(field, number, config)
        except ValueError as error:
            raise ValueError(f"{mnemonic}: {error}") from None
        numbers[field.name] = number
        word |= (number & ((1 << field.width) - 1)) << field.offset
    if config is not None and (rule := instruction.broken_rule(numbers)):
        together = " and ".join(f"{name} {numbers[name]}" for name, _ in rule)
        name, values = rule[-1]
        if isinstance(values, NoMultiple):
            raise ValueError(
                f"{mnemonic}: {name} must be a multiple of {values.unit}, not {numbers[name]}"
            )
        verb = "are illegal together" if len(rule) > 1 else "is illegal"
        raise ValueError(f"{mnemonic}: {together} {verb}")
    return word.to_bytes(instruction.granules * GRANULE_BYTES, "little")


@cache
def _claimed(mnemonic: str) -> int:
    """Mask of the bits that the opcode or a field claims."""
    mask = _OPCODE_MASK
    for field in by_mnemonic(mnemonic).fields:
        mask |= ((1 << field.width) - 1) << field.offset
    return mask


def _extract(field: Field, word: int) -> int:
    value = (word >> field.offset) & ((1 << field.width) - 1)
    return value - (1 << field.width) if field.signed and value > field.high else value


def decode(data: bytes, offset: int = 0) -> Decoded:
    """The instruction that begins at byte `offset` of `data`.

    Values are not checked against a configuration: that is `check`.

    Raises
    ------
    ValueError
        If the opcode is not in the table, the data ends inside the instruction, or a bit that no
        field claims is 1.
    """
    if not 0 <= offset < len(data):
        raise ValueError(f"offset must be 0 to {len(data) - 1}, not {offset}")
    instruction = by_opcode(data[offset])
    if instruction is None:
        raise ValueError(f"opcode {data[offset]:#04x} at byte {offset} is unknown")
    size = instruction.granules * GRANULE_BYTES
    if offset + size > len(data):
        raise ValueError(
            f"{instruction.mnemonic} at byte {offset} needs {size} bytes, not {len(data) - offset}"
        )
    word = int.from_bytes(data[offset : offset + size], "little")
    if stray := word & ~_claimed(instruction.mnemonic):
        raise ValueError(
            f"{instruction.mnemonic} at byte {offset} has bit {stray.bit_length() - 1} set,"
            " which no field claims"
        )
    fields = {field.name: _extract(field, word) for field in instruction.fields}
    return Decoded(mnemonic=instruction.mnemonic, fields=fields, size=size)


def instructions(program: bytes) -> Iterator[tuple[int, Decoded]]:
    """Offset in bytes and instruction, from the first to the end of the program, `halt` or not.

    Raises
    ------
    ValueError
        If `program` is not bytes; when an instruction is reached that cannot be decoded (`decode`
        says why).
    """
    try:
        program = bytes(memoryview(program))
    except TypeError:
        raise ValueError(f"program must be bytes, not {program!r}") from None
    return _walk(program)


def _walk(program: bytes) -> Iterator[tuple[int, Decoded]]:
    offset = 0
    while offset < len(program):
        decoded = decode(program, offset)
        yield offset, decoded
        offset += decoded.size


def decodable_instructions(program: bytes) -> Iterator[tuple[int, Decoded]]:
    """Offset in bytes and instruction, as `instructions`, up to the first that is none.

    Raises
    ------
    ValueError
        If `program` is not bytes.
    """
    return _until_error(instructions(program))


def _until_error(walk: Iterator[tuple[int, Decoded]]) -> Iterator[tuple[int, Decoded]]:
    with suppress(ValueError):
        yield from walk


@cache
def _limits(mnemonic: str, config: TileConfig) -> tuple[tuple[Field, range | tuple[int, ...]], ...]:
    return tuple((field, field.allowed(config)) for field in by_mnemonic(mnemonic).fields)


def check(instruction: int | bytes | Decoded, config: TileConfig) -> Trap:
    """Trap that the front end of the tile of `config` raises for an instruction at dispatch.

    Parameters
    ----------
    instruction
        An instruction word (bits beyond the instruction's size are ignored), its bytes (all of
        them), or the result of `decode`.

    Returns
    -------
    Trap
        ILLEGAL_OPCODE where the opcode is not in the table, or its instruction is one that the tile
        does not have; else ILLEGAL_FIELD where a bit that no
        field claims is 1 or a value is not in `Field.allowed(config)`; else NONE. Every field is
        checked, also those that the instruction does not use (`wait_sem` where `wait` is 0).
    """
    if not isinstance(instruction, Decoded):
        word = (
            instruction if isinstance(instruction, int) else int.from_bytes(instruction, "little")
        )
        row = by_opcode(word & _OPCODE_MASK)
        if row is None or not row.exists(config):
            return Trap.ILLEGAL_OPCODE
        word &= (1 << row.bits) - 1
        if word & ~_claimed(row.mnemonic):
            return Trap.ILLEGAL_FIELD
        values = {field.name: _extract(field, word) for field in row.fields}
    else:
        row, values = instruction.instruction, instruction.fields
        if not row.exists(config):
            return Trap.ILLEGAL_OPCODE
    limits = _limits(row.mnemonic, config)
    legal = all(values[field.name] in allowed for field, allowed in limits)
    return Trap.NONE if legal and not row.broken_rule(values) else Trap.ILLEGAL_FIELD
