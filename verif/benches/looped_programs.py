"""Random programs with loops, registers and relative fields; one engine works at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig
from tegula.isa.codec import Decoded, decode, encode
from tegula.isa.instructions import ENGINES, LOOP_DEPTH, Engine, Field, by_mnemonic
from tegula.isa.operations import Operand, Source
from tegula_sw.program.footprint import Storage, accesses, memory_span, overwrites_operand
from tegula_sw.program.program import Program
from tegula_sw.program.schedule import Op
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES, OpGenerator

__all__ = ["TABLE", "looped_code", "looped_ops", "table_bytes"]

TABLE = (1, 2, 3, 2, 64, -64, 128, 8)
"""Numbers of eight bytes that programs read: numbers of iterations, then first values of registers.
They lie behind the program."""

_COUNTS = 4
_NUMBER_BYTES = 8
_STEPS = {"sbuf": (0, 64, 64, -64, 128), "mem": (0, 8, -16, 40)}
_COUNT_REGISTER = 12
_FIRST_REGISTER = {"sbuf": 0, "mem": 4}
"""Registers of the outermost loop; an inner one has the next."""


@dataclass(frozen=True)
class _Register:
    """A register that a loop steps: its number, first value, step, and the loop's iterations."""

    number: int
    first: int
    step: int
    count: int

    @property
    def values(self) -> list[int]:
        return [self.first + self.step * i for i in range(self.count)]


class _Generator:
    """Draws instructions in loops; each traps nowhere, whatever the iteration."""

    def __init__(self, rng: np.random.Generator, config: TileConfig):
        self._rng, self._config = rng, config
        self._ops = OpGenerator(rng, config)
        self._levels: list[dict[str, _Register]] = []

    def block(self, count: int) -> list[Op]:
        """`count` instructions of engines, in the loops that are open and in others."""
        ops = self._ops.table() if not self._levels else []
        left = count - len(ops)
        while left > 0:
            if len(self._levels) < LOOP_DEPTH and self._rng.random() < 0.3:
                inside = int(self._rng.integers(1, 6))
                ops += self._loop(inside)
                left -= inside
            else:
                ops += self._instruction()
                left -= 1
        return ops

    def _loop(self, inside: int) -> list[Op]:
        rng, depth = self._rng, len(self._levels)
        number = int(rng.integers(_COUNTS))
        count, register = TABLE[number], _COUNT_REGISTER + depth
        begin = [Op("control.loop", {"count": count})]
        if rng.random() < 0.4:
            begin = [self._read(number, register)]
            begin.append(Op("control.loop", {"from_register": 1, "register": register}))
        level, before, after = {}, [], []
        for kind, steps in _STEPS.items():
            first, step = (int(rng.choice(steps)) for _ in range(2))
            register = _FIRST_REGISTER[kind] + depth
            if kind == "sbuf" and rng.random() < 0.4:
                number = int(rng.integers(_COUNTS, len(TABLE)))
                first = TABLE[number]
                before.append(self._read(number, register))
            else:
                before.append(Op("control.add", {"register": register, "zero": 1, "value": first}))
            fields = {"register": register, "source": register, "value": step}
            after.append(Op("control.add", fields))
            level[kind] = _Register(register, first, step, count)
        self._levels.append(level)
        body = self.block(inside)
        self._levels.pop()
        return [*before, *begin, *body, *after, Op("control.end", {})]

    def _read(self, number: int, register: int) -> Op:
        fields = {"mem_addr": _NUMBER_BYTES * number, "bytes8": 1, "register": register}
        return Op("control.read", fields)

    def _instruction(self) -> list[Op]:
        """An instruction, behind a `control.relative` where its sums trap nowhere."""
        op = self._ops.op()
        if not self._levels:
            return [op]
        if op.mnemonic in ("tensor.load", "tensor.matmul"):
            # The next iteration may find another stationary operand.
            op = Op(op.mnemonic, op.fields | {"packed": 0, "scaled": 0})
        if self._rng.random() < 0.25:
            return [op]
        row, fields, relative, drawn = by_mnemonic(op.mnemonic), dict(op.fields), {}, []
        for slot, field in enumerate(row.relative_fields):
            if field.name not in fields or self._rng.random() < 0.4:
                continue
            kind = "mem" if field.name == "mem_addr" else "sbuf"
            level = self._levels[int(self._rng.integers(len(self._levels)))][kind]
            fields[field.name] -= level.first
            if field.wraps:
                fields[field.name] %= 1 << field.width
            relative |= {f"enable{slot}": 1, f"register{slot}": level.number}
            drawn.append((field, level))
        if not relative or not self._traps_nowhere(op, fields, drawn):
            return [op]
        return [Op("control.relative", relative), Op(op.mnemonic, fields)]

    def _traps_nowhere(
        self, op: Op, fields: dict[str, int], drawn: Sequence[tuple[Field, _Register]]
    ) -> bool:
        """True if all sums of all iterations are addresses that exist, and no new PSUM is read."""
        if op.fields.get("accumulate") and op.mnemonic == "tensor.matmul":
            return False
        if op.fields.get("x_source") == Source.PSUM:
            return False
        if any(not field.low <= fields[field.name] <= field.high for field, _ in drawn):
            return False
        registers = {level.number: level for _, level in drawn}.values()
        grid = np.stack(
            np.meshgrid(*([level.values for level in registers]), indexing="ij"), -1
        ).reshape(-1, len(registers))
        for row in grid.tolist():
            values = {level.number: v for level, v in zip(registers, row, strict=True)}
            summed = dict(fields)
            for field, level in drawn:
                summed[field.name] += values[level.number]
                if field.wraps:
                    summed[field.name] %= 1 << field.width
                elif not field.low <= summed[field.name] <= field.high:
                    return False
            if not self._exists(decode(encode(op.mnemonic, self._config, **summed))):
                return False
        return True

    def _exists(self, decoded: Decoded) -> bool:
        config, fields = self._config, decoded.fields
        if decoded.mnemonic.endswith(".dma"):
            span = memory_span(fields)
            if span.start < BASE or span.stop > BASE + DATA_BYTES:
                return False
        for number in "01":
            scalar = fields.get(f"s{number}", 0)
            is_address = fields.get(f"s{number}_kind") == Operand.PARTITION
            if is_address and scalar > config.sbuf_depth - 2:
                return False
        for access in accesses(decoded, config):
            depth = config.psum_depth
            if access.storage is Storage.SCRATCHPAD:
                depth = config.sbuf_depth
            words = access.where[1]
            first, last = (
                (words.start, words.stop - 1)
                if isinstance(words, slice)
                else (int(words.min()), int(words.max()))
            )
            if first < 0 or last >= depth:
                return False
        return overwrites_operand(decoded, config) is None


def looped_ops(rng: np.random.Generator, config: TileConfig, count: int) -> list[Op]:
    """About `count` instructions of engines, with loops around them; they trap nowhere.

    Addresses of `control.read` count from the table on.
    """
    return _Generator(rng, config).block(count)


def looped_code(config: TileConfig, ops: Iterable[Op], start: int) -> bytes:
    """The program of `ops` at address `start`, in which an engine begins when another is done.

    Each body begins and ends behind an instruction of the first engine.
    """
    ops = tuple(ops)
    size = len(_assemble(config, ops, 0))
    return _assemble(config, ops, start + size)


def table_bytes() -> bytes:
    """The table, behind the program: junk above the 48 bits that are read."""
    return b"".join(
        (number % (1 << 48) | 0xA5A5 << 48).to_bytes(_NUMBER_BYTES, "little") for number in TABLE
    )


def _assemble(config: TileConfig, ops: Sequence[Op], table: int) -> bytes:
    program = Program(config)
    turns = {engine: program.semaphore(engine.name.lower()) for engine in ENGINES}
    first = ENGINES[0]
    before = first

    def give_turn(engine: Engine) -> None:
        nonlocal before
        if engine != before:
            program.emit(f"{before.name.lower()}.sync", signal=turns[engine].add())
            wait = turns[engine].at_least(1, consume=True)
            program.emit(f"{engine.name.lower()}.sync", wait=wait)
            before = engine

    for index, op in enumerate(ops):
        fields = dict(op.fields)
        if op.mnemonic in ("control.loop", "control.end"):
            give_turn(first)
        elif op.mnemonic == "control.read":
            fields["mem_addr"] += table
        elif op.mnemonic == "control.relative":
            following = by_mnemonic(ops[index + 1].mnemonic) if index + 1 < len(ops) else None
            if following is not None and following.has_sync:
                give_turn(following.engine)
        elif by_mnemonic(op.mnemonic).has_sync:
            give_turn(by_mnemonic(op.mnemonic).engine)
        program.emit(op.mnemonic, **fields)
    program.halt()
    return program.assemble()
