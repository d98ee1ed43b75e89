"""Instructions of the activation engine on the state of a tile (contract section 5)."""

from functools import lru_cache

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, format_by_code
from tegula.isa.operations import Operation, Reduction, TableKind
from tegula_golden.array_types import Integers, Patterns
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.fp32 import decode_pattern, operate
from tegula_golden.numerics.functions import Function, evaluate
from tegula_golden.numerics.reductions import combine, fold, initial_partials
from tegula_golden.tile.halves import half_of, half_of_format
from tegula_golden.tile.state import Check, TileState, first_fault, sbuf_check
from tegula_golden.tile.vector import operand_checks, read_words, write_words

__all__ = ["activation_apply", "activation_table"]


@lru_cache(maxsize=256)
def _function(descriptor: int, flags: tuple[int, int, int, int], low: int) -> Function:
    exp, parity, odd, log = (bool(flag) for flag in flags)
    return Function(
        descriptor=descriptor,
        reduction="exp" if exp else "float",
        low=low,
        parity=parity,
        odd=odd,
        log=log,
    )


def _scalar(state: TileState, fields: dict[str, int], name: str) -> Patterns:
    """`scale` or `bias` in every partition, N x 1."""
    value = fields[name]
    if not fields[f"{name}_partition"]:
        return np.full((state.config.n, 1), value, dtype=np.uint32)
    address = np.array([value & 0xFFFF])
    _, trap = first_fault(operand_checks(address, FP32.code, state.config))
    if trap is not None:
        raise trap
    return read_words(state.sbuf, address, FP32.code)


def activation_apply(state: TileState, fields: dict[str, int]) -> None:
    """activation.apply: all elements are read before any result is written."""
    config, sbuf = state.config, state.sbuf
    scale, bias = _scalar(state, fields, "scale"), _scalar(state, fields, "bias")
    step = np.arange(fields["columns"])
    source = fields["x_addr"] + step * fields["x_stride"]
    target = fields["dst"] + step * fields["dst_stride"]
    checks = operand_checks(source, fields["x_format"], config)
    checks += operand_checks(target, fields["format"], config)
    if fields["sum"] and fields["finish"]:
        checks += _sum_checks(step, fields["sum_dst"], config)
    good, trap = first_fault(checks)
    if good:
        words = read_words(sbuf, source[:good], fields["x_format"])
        words = half_of(words, fields["x_format"], high=fields["x_high"])
        x = decode_pattern(words, fields["x_format"])
        z = operate(Operation.ADD, operate(Operation.MUL, x, scale), bias)
        flags = tuple(fields[name] for name in ("exp", "parity", "odd", "log"))
        function = _function(fields["function"], flags, fields["low"])
        results = evaluate(state.table, function, z)
        rows = slice(0, fields["rows"])
        fmt = format_by_code(fields["format"])
        codes = cast(results[rows], fmt, saturate=bool(fields["saturate"]))
        half = half_of_format(fields["half"], fmt.code)
        write_words(sbuf, target[:good], codes, fmt.code, np.ones(codes.shape, dtype=bool), half)
        if fields["sum"]:
            _add_up(state, fields, results, finishes=good == len(step))
    if trap is not None:
        raise trap


def _sum_checks(step: Integers, address: int, config: TileConfig) -> list[Check]:
    """Checks of the address of the sum, which are made with the last element."""
    last = step == len(step) - 1
    checks = operand_checks(np.full(len(step), address), FP32.code, config)
    return [Check(check.cause, check.bad & last, check.addresses) for check in checks]


def _add_up(state: TileState, fields: dict[str, int], results: Patterns, *, finishes: bool) -> None:
    if not fields["proceed"]:
        state.sums = initial_partials(state.config.n, Reduction.SUM)
    state.sums = fold(state.sums, results, Reduction.SUM)
    if fields["finish"] and finishes:
        total = combine(state.sums, Reduction.SUM)[: fields["rows"], None]
        codes = cast(total, FP32)
        address = np.array([fields["sum_dst"]])
        write_words(state.sbuf, address, codes, FP32.code, np.ones(codes.shape, dtype=bool))


def activation_table(state: TileState, fields: dict[str, int]) -> None:
    """activation.table: entries (two rows each) or descriptors (one), from the scratchpad."""
    config = state.config
    rows_each = 2 if fields["kind"] == TableKind.ENTRIES else 1
    rows = fields["addr"] + np.arange(fields["count"] * rows_each)
    good, trap = first_fault([sbuf_check(rows, config)])
    count = good // rows_each
    places = (fields["first"] + np.arange(count)) % config.activation_entries
    rows = rows[: count * rows_each]
    if fields["kind"] == TableKind.ENTRIES:
        words = state.sbuf[:4, rows].T.reshape(count, 8)
        state.entries[places] = np.ascontiguousarray(words).view("<u4")
    else:
        words = np.ascontiguousarray(state.sbuf[:2, rows].T)
        state.descriptors[places] = words.view("<u4")[:, 0]
    state.forget_table()
    if trap is not None:
        raise trap
