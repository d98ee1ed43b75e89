"""Instructions of the vector engine on the state of a tile (contract sections 4 and 5).

The steps before the first trap are done; `EngineTrap` is raised if there is one.
"""

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, RAW16, RAW32, format_by_code
from tegula.isa.operations import Half, Operand, Operation, Reduction, Rounding, Source
from tegula.isa.traps import Trap
from tegula_golden.array_types import Codes, Integers, Mask, Patterns, Words
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.fp32 import ONE, decode_pattern, keeps, operate
from tegula_golden.numerics.partial_sums import to_fp32_bits
from tegula_golden.numerics.reductions import combine, fold, initial_partials
from tegula_golden.tile.halves import half_of, half_of_format, replaced
from tegula_golden.tile.state import Check, TileState, first_fault, sbuf_check

__all__ = [
    "Compute",
    "is_wide",
    "operand_checks",
    "read_words",
    "vector_compute",
    "vector_generator",
    "write_words",
]

_INDEX = np.uint32(0x4B00_0000)
_UNARY = (Operation.PASS, Operation.ABS)
_STATE_WORDS = 8


def is_wide(code: int) -> bool:
    """True for formats of two words an element."""
    return code in (FP32.code, RAW32)


def read_words(sbuf: Words, addresses: Integers, code: int) -> Codes:
    """The words at `addresses` in every partition: uint16, or pairs as uint32, low word first."""
    words = sbuf[:, addresses]
    if is_wide(code):
        return words | sbuf[:, addresses + 1].astype(np.uint32) << np.uint32(16)
    return words


def write_words(
    sbuf: Words,
    addresses: Integers,
    codes: Codes,
    code: int,
    mask: Mask,
    half: Half = Half.WHOLE,
) -> None:
    """Put codes (rows x addresses) where `mask` is set into partitions 0 .. rows - 1."""
    rows = len(codes)
    parts: list[tuple[int, Codes]] = [(0, codes)]
    if is_wide(code):
        parts = [(0, codes & np.uint32(0xFFFF)), (1, codes >> np.uint32(16))]
    for offset, part in parts:
        if mask.all():
            at = addresses + offset
            sbuf[:rows, at] = replaced(sbuf[:rows, at], part, half)
            continue
        for index, address in enumerate(addresses.tolist()):  # later results stand
            column, words = mask[:, index], sbuf[:rows, address + offset]
            words[column] = replaced(words[column], part[column, index], half)


def _alignment(addresses: Integers, multiple: int) -> Check:
    return Check(Trap.SBUF_ALIGNMENT, addresses % multiple != 0, addresses)


def operand_checks(addresses: Integers, code: int, config: TileConfig) -> list[Check]:
    """Addresses of elements must exist, and be even where an element has two words."""
    checks = [sbuf_check(addresses, config)]
    if is_wide(code):
        checks.append(_alignment(addresses, 2))
    return checks


class Compute:
    """Execution of one vector.compute, with all its fields."""

    def __init__(self, state: TileState, fields: dict[str, int]):
        self.state, self.fields, self.config = state, fields, state.config
        self.step = np.arange(fields["columns"])
        self.x_at = fields["x_addr"] + self.step * fields["x_stride"]
        self.y_at = fields["y_addr"] + self.step * fields["y_stride"]
        self.operations = (Operation(fields["op0"]), Operation(fields["op1"]))
        self.kinds = (Operand(fields["s0_kind"]), Operand(fields["s1_kind"]))
        self.reduction = Reduction(fields["reduction"])
        self.y_used = fields["rounding"] == Rounding.GIVEN or any(
            self._uses(number, Operand.Y) for number in (0, 1)
        )
        self.scalars = [self._scalar(number) for number in (0, 1)]

    def _uses(self, number: int, kind: Operand) -> bool:
        return self.operations[number] not in _UNARY and self.kinds[number] == kind

    def _scalar(self, number: int) -> Patterns:
        """The scalar of an operation in every partition, N x 1; zeros where it has none."""
        value = self.fields[f"s{number}"]
        if self._uses(number, Operand.IMMEDIATE):
            return np.full((self.config.n, 1), value, dtype=np.uint32)
        if not self._uses(number, Operand.PARTITION):
            return np.zeros((self.config.n, 1), dtype=np.uint32)
        address = np.array([value & 0xFFFF])
        _, trap = first_fault(operand_checks(address, FP32.code, self.config))
        if trap is not None:
            raise trap
        return read_words(self.state.sbuf, address, FP32.code)

    def execute(self) -> None:
        """Elements up to the first that traps, in order."""
        fields = self.fields
        destinations = self._destinations()
        good, trap = first_fault(self._checks(destinations))
        if good:
            results, kept, random = self._compute(slice(0, good))
            if self.reduction != Reduction.NONE:
                self._reduce(results, destinations, finishes=good == len(self.step))
            else:
                rows = slice(fields["rows"])
                codes = self._cast(results[rows], None if random is None else random[rows])
                self._write(codes, tuple(p[:good] for p in destinations), ~kept[rows])
        if trap is not None:
            raise trap

    def _destinations(self) -> tuple[Integers, ...]:
        """Address of each result; transposed also its partition."""
        fields, step = self.fields, self.step
        if self.reduction != Reduction.NONE:
            step = np.zeros_like(step)
        if not fields["transpose"]:
            return (fields["dst"] + step * fields["dst_stride"],)
        group, partition = np.divmod(fields["partition"] + step, self.config.n)
        return fields["dst"] + group * fields["dst_stride"], partition

    def _operand_checks(self) -> list[Check]:
        """Of an element: x, then y."""
        fields, config = self.fields, self.config
        checks: list[Check] = []
        if fields["x_source"] == Source.PSUM:
            outside = (self.x_at < 0) | (self.x_at >= config.psum_depth)
            unwritten = ~self.state.written[self.x_at % config.psum_depth]
            checks += [
                Check(Trap.PSUM_RANGE, outside, self.x_at & 0xF_FFFF),
                Check(Trap.PSUM_UNWRITTEN, unwritten, self.x_at),
            ]
        elif fields["x_source"] == Source.SBUF:
            checks += operand_checks(self.x_at, fields["x_format"], config)
        if self.y_used:
            checks += operand_checks(self.y_at, fields["y_format"], config)
        return checks

    def _checks(self, destinations: tuple[Integers, ...]) -> list[Check]:
        fields, config = self.fields, self.config
        checks = self._operand_checks()
        own = [sbuf_check(destinations[0], config)]
        if fields["transpose"]:
            own.append(_alignment(destinations[0], config.n))
        elif is_wide(fields["format"]):
            own.append(_alignment(destinations[0], 2))
        if self.reduction != Reduction.NONE:
            # Only the last element has a result to place.
            due = self.step == len(self.step) - 1 if fields["finish"] else self.step < 0
            own = [Check(check.cause, check.bad & due, check.addresses) for check in own]
        if not checks:
            checks.append(Check(Trap.NONE, self.step < 0, self.step))
        return checks + own

    def _compute(self, steps: slice) -> tuple[Patterns, Mask, Words | None]:
        """Elements of all lanes, N x elements: results, which are not written, random bits."""
        fields = self.fields
        draws = fields["x_source"] == Source.RANDOM or fields["rounding"] == Rounding.STOCHASTIC
        numbers = self.state.generators.draw(steps.stop if draws else 0)
        x, y = self._x(steps, numbers), self._y(steps)
        random = None
        if fields["rounding"]:
            source = numbers if fields["rounding"] == Rounding.STOCHASTIC else y
            random = source.astype(np.uint16)
        kept = np.zeros(x.shape, dtype=bool)
        last = max((n for n in (0, 1) if self.operations[n] != Operation.PASS), default=0)
        for number, op in enumerate(self.operations):
            kind = self.kinds[number]
            operand = {Operand.Y: y, Operand.SELF: x}.get(kind, self.scalars[number])
            if op in _UNARY:
                operand = x
            if number == last:
                kept |= keeps(op, x)
            if op != Operation.PASS:
                x = operate(op, x, operand)
        return x, kept, random

    def _y(self, steps: slice) -> Patterns:
        """Second operands as patterns, N x elements; none if they are not used."""
        code = self.fields["y_format"]
        if not self.y_used:
            return np.zeros((self.config.n, 0), dtype=np.uint32)
        return decode_pattern(read_words(self.state.sbuf, self.y_at[steps], code), code)

    def _x(self, steps: slice, numbers: Patterns) -> Patterns:
        """First operands as patterns, N x elements; `numbers` are those drawn for them, if any."""
        fields, lanes = self.fields, self.config.n
        addresses = self.x_at[steps]
        if fields["x_source"] == Source.PSUM:
            first, stride = int(addresses[0]), fields["x_stride"]
            if stride == 1:
                return to_fp32_bits(self.state.psum(slice(first, first + len(addresses))))
            return to_fp32_bits(self.state.psum(addresses))
        if fields["x_source"] == Source.SBUF:
            code = fields["x_format"]
            words = read_words(self.state.sbuf, addresses, code)
            return decode_pattern(half_of(words, code, high=fields["x_high"]), code)
        if fields["x_source"] == Source.RANDOM:
            return ONE | numbers >> np.uint32(9)
        index = (addresses & 0xFFFF).astype(np.uint32) | _INDEX
        return np.broadcast_to(index, (lanes, len(index)))

    def _reduce(
        self, results: Patterns, destinations: tuple[Integers, ...], *, finishes: bool
    ) -> None:
        state, fields = self.state, self.fields
        if not fields["proceed"]:
            state.partials = initial_partials(self.config.n, self.reduction)
        state.partials = fold(state.partials, results, self.reduction)
        if finishes and fields["finish"]:
            total = combine(state.partials, self.reduction)[:, None]
            codes = self._cast(total[: fields["rows"]], None)
            self._write(codes, tuple(p[:1] for p in destinations), np.ones(codes.shape, dtype=bool))

    def _cast(self, bits: Patterns, random: Words | None) -> Codes:
        code = self.fields["format"]
        if code in (RAW32, RAW16):
            return bits if code == RAW32 else bits & np.uint32(0xFFFF)
        fmt = format_by_code(code)
        return cast(bits, fmt, saturate=bool(self.fields["saturate"]), random=random)

    def _write(self, codes: Codes, destinations: tuple[Integers, ...], mask: Mask) -> None:
        sbuf, code = self.state.sbuf, self.fields["format"]
        half = half_of_format(self.fields["half"], code)
        if not self.fields["transpose"]:
            write_words(sbuf, destinations[0], codes, code, mask, half)
            return
        lanes = np.arange(len(codes))
        for index, (address, partition) in enumerate(
            zip(*(p.tolist() for p in destinations), strict=True)
        ):
            written = lanes[mask[:, index]]
            words = sbuf[partition, address + written]
            sbuf[partition, address + written] = replaced(words, codes[written, index], half)


def vector_compute(state: TileState, fields: dict[str, int]) -> None:
    """vector.compute: all elements are read before any result is written."""
    Compute(state, fields).execute()


def vector_generator(state: TileState, fields: dict[str, int]) -> None:
    """vector.generator: state of the lanes' generators from or to the scratchpad, pair by pair."""
    pairs = fields["addr"] + np.arange(0, _STATE_WORDS, 2)
    good, trap = first_fault(operand_checks(pairs, RAW32, state.config))
    words = state.generators.state
    if fields["save"]:
        mask = np.ones((state.config.n, good), dtype=bool)
        write_words(state.sbuf, pairs[:good], words[:, :good], RAW32, mask)
        # A save turns the state round; one that traps has turned it only so far.
        words = np.roll(words, -good, axis=1)
    else:
        loaded = read_words(state.sbuf, pairs[:good], RAW32)
        words = np.concatenate([words, loaded], axis=1)[:, -words.shape[1] :]
    state.generators.set_state(np.ascontiguousarray(words))
    if trap is not None:
        raise trap
