"""Instructions of the tensor engine on the state of a tile.

Each takes the fields of a checked instruction, does the steps that come before the first trap, and
raises `EngineTrap` if there is one.
"""

import numpy as np

from tegula.formats import FloatFormat, format_by_code
from tegula.isa.traps import Trap
from tegula_golden.array_types import Codes, Integers, Words
from tegula_golden.numerics.accumulate import accumulate
from tegula_golden.numerics.block_scales import UNIT_SCALE
from tegula_golden.numerics.codes import code_dtype
from tegula_golden.numerics.packed import pair_allowed
from tegula_golden.numerics.partial_sums import PartialSums
from tegula_golden.tile.state import Check, TileState, first_fault, sbuf_check

__all__ = ["tensor_load", "tensor_matmul", "tensor_scales"]


def _codes(words: Words, fmt: FloatFormat) -> Codes:
    """Codes in scratchpad words: an 8-bit code is the low byte."""
    return (words & np.uint16((1 << fmt.width) - 1)).astype(code_dtype(fmt))


def _second(words: Words, fmt: FloatFormat, packed: bool) -> Codes | None:
    """Second codes in words: the high byte, ignored where the operand is not packed."""
    return _codes(words >> np.uint16(8), fmt) if packed else None


def tensor_load(state: TileState, fields: dict[str, int]) -> None:
    """tensor.load: the stationary operand; the old one stays where an address does not exist."""
    rows, columns = fields["rows"], fields["columns"]
    column = np.arange(columns)
    addresses = fields["addr"] + column * fields["stride"]
    _, trap = first_fault([sbuf_check(addresses, state.config)])
    if trap is not None:
        raise trap
    state.stationary[:] = 0
    state.stationary[:rows, column] = state.sbuf[:rows, addresses]
    state.stationary_format = format_by_code(fields["format"])
    state.stationary_packed = bool(fields["packed"])
    state.stationary_rows = rows
    state.stationary_scales = None
    if fields["scaled"]:
        state.stationary_scales = _scales(state, fields["scales"], state.config.n)
        state.stationary_scales[columns:] = UNIT_SCALE


def tensor_scales(state: TileState, fields: dict[str, int]) -> None:
    """tensor.scales: rows of the scale buffer, up to the first address that does not exist."""
    row = np.arange(fields["columns"])
    addresses = fields["addr"] + row * fields["stride"]
    good, trap = first_fault([sbuf_check(addresses, state.config)])
    rows = (fields["scales"] + row[:good]) % len(state.scales)
    state.scales[rows] = state.sbuf[:, addresses[:good]].T & np.uint16(0xFF)
    if trap is not None:
        raise trap


def _scales(state: TileState, first: int, columns: int) -> Codes:
    """Codes of an operand's columns, from row `first` of the scale buffer on."""
    return np.roll(state.scales, -first, axis=0).reshape(-1)[np.arange(columns) % state.scales.size]


def tensor_matmul(state: TileState, fields: dict[str, int]) -> None:
    """tensor.matmul: PSUM columns, all partitions; rows and columns that take no part are zeros."""
    config = state.config
    column = np.arange(fields["columns"])
    addresses = fields["addr"] + column * fields["stride"]
    psum = fields["psum_addr"] + column
    outside = psum >= config.psum_depth
    refused = np.full(len(column), not _allowed(state, fields))
    checks = [
        Check(Trap.PACKED_FORMATS, refused, addresses),
        sbuf_check(addresses, config),
        Check(Trap.PSUM_RANGE, outside, psum),
    ]
    if fields["accumulate"]:
        unwritten = ~state.written[psum % config.psum_depth]
        checks.append(Check(Trap.PSUM_UNWRITTEN, unwritten, psum))
    good, trap = first_fault(checks)
    if good:
        words = slice(fields["psum_addr"], fields["psum_addr"] + good)
        _multiply(state, fields, addresses[:good], words)
        state.written[words] = True
    if trap is not None:
        raise trap


def _allowed(state: TileState, fields: dict[str, int]) -> bool:
    """Whether the formats of the operands may be packed, and scaled, as they are."""
    formats = state.stationary_format, format_by_code(fields["format"])
    scaled = state.stationary_scales is not None or fields["scaled"]
    if scaled and any(fmt.width != 8 for fmt in formats):
        return False
    packed = state.stationary_packed and fields["packed"]
    return not packed or pair_allowed(*formats, state.config.acc_width)


def _multiply(state: TileState, fields: dict[str, int], addresses: Integers, words: slice) -> None:
    terms = max(state.stationary_rows, fields["rows"])
    moving = state.sbuf[:terms, addresses]
    moving[fields["rows"] :] = 0
    moving_format, moving_packed = format_by_code(fields["format"]), bool(fields["packed"])
    stationary = state.stationary[:terms]
    if fields["accumulate"]:
        before = state.psum(words)
    else:
        before = PartialSums.empty((state.config.n, len(addresses)), state.config.acc_width)
    after = accumulate(
        before,
        _codes(stationary, state.stationary_format),
        _codes(moving, moving_format),
        state.stationary_format,
        moving_format,
        stationary_second=_second(stationary, state.stationary_format, state.stationary_packed),
        moving_second=_second(moving, moving_format, moving_packed),
        stationary_scales=state.stationary_scales,
        moving_scales=(
            _scales(state, fields["scales"], len(addresses)) if fields["scaled"] else None
        ),
    )
    state.exponent[:, words] = after.exponent
    state.significand[:, words] = after.significand
