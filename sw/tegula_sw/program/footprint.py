"""Footprints of instructions: words of the scratchpad and of PSUM, bytes of memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, MX_BLOCK, RAW32
from tegula.isa.codec import Decoded
from tegula.isa.instructions import Layout
from tegula.isa.operations import Half, Operand, Operation, Reduction, Rounding, Source, TableKind
from tegula_golden.array_types import Integers
from tegula_golden.tile.halves import half_of_format
from tegula_golden.tile.quantise import QUANTISE_UNUSED

__all__ = ["Access", "Storage", "WordIndex", "accesses", "memory_span", "overwrites_operand"]

WordIndex = tuple[slice | Integers, slice | Integers]
"""Index of an array (partitions, words)."""

_ELEMENTWISE = ("vector.compute", "vector.quantise", "activation.apply")

_STATE_WORDS = 8
"""Words of a generator's state."""


class Storage(Enum):
    """A storage that is addressed by partition and word."""

    SCRATCHPAD = "scratchpad"
    PSUM = "PSUM"


@dataclass(frozen=True, slots=True)
class Access:
    """Words that an instruction reads or writes.

    Attributes
    ----------
    storage
        Where.
    where
        Index of the words.
    writes
        Whether it writes them.
    """

    storage: Storage
    where: WordIndex
    writes: bool


def _read(storage: Storage, rows: slice | Integers, words: slice | Integers) -> Access:
    return Access(storage, (rows, words), writes=False)


def _write(storage: Storage, rows: slice | Integers, words: slice | Integers) -> Access:
    return Access(storage, (rows, words), writes=True)


def _columns(first: int, count: int, step: int = 1) -> slice | Integers:
    """Consecutive words as a slice: that is the fast and the common case."""
    if step == 1 and first >= 0:
        return slice(first, first + count)
    return first + np.arange(count) * step


def _words(first: int, count: int, step: int, code: int) -> slice | Integers:
    """Addresses of elements of a format, each word of them."""
    if code not in (FP32.code, RAW32):
        return _columns(first, count, step)
    if step == 2:
        return _columns(first, 2 * count)
    addresses = first + np.arange(count) * step
    return np.stack([addresses, addresses + 1], axis=1).reshape(-1)


def _uses_y(fields: dict[str, int]) -> bool:
    """True if a `vector.compute` reads its second operand."""
    return fields["rounding"] == Rounding.GIVEN or any(
        fields[f"op{number}"] not in (Operation.PASS, Operation.ABS)
        and fields[f"s{number}_kind"] == Operand.Y
        for number in (0, 1)
    )


def _dma_words(fields: dict[str, int], n: int) -> tuple[Integers, Integers]:
    """Partitions and addresses of a transfer, element by element."""
    starts, partitions = np.array(fields["sbuf_addr"]), np.array(fields["partition"])
    for axis in (1, 2, 3):
        steps = np.arange(fields[f"count{axis}"])
        starts = starts[..., None] + steps * fields[f"sbuf_stride{axis}"]
        partitions = partitions[..., None] + steps * fields[f"partition_stride{axis}"]
    element = np.arange(fields["run"])
    if fields["layout"] == Layout.FREE:
        words = np.broadcast_arrays(partitions[..., None], starts[..., None] + element)
    else:
        address = starts[..., None] + element // n * fields["sbuf_stride0"]
        words = np.broadcast_arrays(element % n, address)
    return words[0].reshape(-1), words[1].reshape(-1)


def memory_span(fields: dict[str, int]) -> range:
    """Bytes of memory from the first to the last that a transfer touches."""
    low = high = fields["mem_addr"]
    for axis in (1, 2, 3):
        reach = (fields[f"count{axis}"] - 1) * fields[f"mem_stride{axis}"]
        low, high = low + min(reach, 0), high + max(reach, 0)
    return range(low, high + fields["run"] * (1 if fields["bytes1"] else 2))


def _results_of(
    fields: dict[str, int], partitions: slice | Integers, words: slice | Integers
) -> Iterator[Access]:
    """Writes of an elementwise instruction; of words of which a byte stays, reads before that."""
    if half_of_format(fields["half"], fields["format"]) != Half.WHOLE:
        yield _read(Storage.SCRATCHPAD, partitions, words)
    yield _write(Storage.SCRATCHPAD, partitions, words)


def _vector(decoded: Decoded, config: TileConfig) -> Iterator[Access]:
    """Reads, then writes, of an instruction of the vector engine."""
    fields = decoded.fields
    if decoded.mnemonic == "vector.quantise":
        fields = fields | QUANTISE_UNUSED
    sbuf, everywhere = Storage.SCRATCHPAD, slice(config.n)
    if decoded.mnemonic == "vector.generator":
        words = _columns(fields["addr"], _STATE_WORDS)
        yield Access(sbuf, (everywhere, words), writes=bool(fields["save"]))
        return
    rows, count = slice(fields["rows"]), fields["columns"]
    # Partial results of all lanes may be used by a reduction that proceeds.
    lanes = rows if fields["reduction"] == Reduction.NONE else everywhere
    for number in (0, 1):
        unary = fields[f"op{number}"] in (Operation.PASS, Operation.ABS)
        if not unary and fields[f"s{number}_kind"] == Operand.PARTITION:
            scalar = fields[f"s{number}"] & 0xFFFF
            yield _read(sbuf, lanes, _words(scalar, 1, 2, FP32.code))
    first, step, code = fields["x_addr"], fields["x_stride"], fields["x_format"]
    if fields["x_source"] == Source.PSUM:
        yield _read(Storage.PSUM, lanes, _columns(first, count, step))
    elif fields["x_source"] == Source.SBUF:
        yield _read(sbuf, lanes, _words(first, count, step, code))
    if _uses_y(fields):
        words = _words(fields["y_addr"], count, fields["y_stride"], fields["y_format"])
        yield _read(sbuf, lanes, words)
    if fields["reduction"] != Reduction.NONE:
        count = 1 if fields["finish"] else 0
    if not count:
        return
    if decoded.mnemonic == "vector.quantise":
        blocks = -(-count // MX_BLOCK)
        yield _write(sbuf, rows, _columns(fields["scale_dst"], blocks, fields["scale_stride"]))
    packed = fields.get("packed", 0)
    if packed:
        fields = fields | {"half": Half.LOW}
    if fields["transpose"]:
        group, partition = np.divmod(fields["partition"] + (np.arange(count) >> packed), config.n)
        start = fields["dst"] + group * fields["dst_stride"]
        lines = start[:, None] + np.arange(fields["rows"])
        yield from _results_of(fields, np.broadcast_to(partition[:, None], lines.shape), lines)
    else:
        words = _words(fields["dst"], count, fields["dst_stride"], fields["format"])
        yield from _results_of(fields, rows, words)


def _activation(decoded: Decoded, config: TileConfig) -> Iterator[Access]:
    """Reads, then writes, of an instruction of the activation engine."""
    fields, sbuf = decoded.fields, Storage.SCRATCHPAD
    if decoded.mnemonic == "activation.table":
        count = fields["count"] * (2 if fields["kind"] == TableKind.ENTRIES else 1)
        yield _read(sbuf, slice(4), _columns(fields["addr"], count))
        return
    rows, count = slice(fields["rows"]), fields["columns"]
    lanes = slice(config.n) if fields["sum"] else rows
    for name in ("scale", "bias"):
        if fields[f"{name}_partition"]:
            yield _read(sbuf, lanes, _words(fields[name] & 0xFFFF, 1, 2, FP32.code))
    yield _read(
        sbuf, lanes, _words(fields["x_addr"], count, fields["x_stride"], fields["x_format"])
    )
    words = _words(fields["dst"], count, fields["dst_stride"], fields["format"])
    yield from _results_of(fields, rows, words)
    if fields["sum"] and fields["finish"]:
        yield _write(sbuf, rows, _words(fields["sum_dst"], 1, 2, FP32.code))


def accesses(decoded: Decoded, config: TileConfig) -> Iterator[Access]:
    """Reads, then writes, of an instruction that traps nowhere.

    Parameters
    ----------
    decoded
        The instruction, with all its fields.
    config
        The tile.
    """
    fields, sbuf = decoded.fields, Storage.SCRATCHPAD
    match decoded.mnemonic:
        case "tensor.load" | "tensor.matmul":
            words = _columns(fields["addr"], fields["columns"], fields["stride"])
            yield _read(sbuf, slice(fields["rows"]), words)
            if decoded.mnemonic == "tensor.matmul":
                words = _columns(fields["psum_addr"], fields["columns"])
                if fields["accumulate"]:
                    yield _read(Storage.PSUM, slice(config.n), words)
                yield _write(Storage.PSUM, slice(config.n), words)
        case "tensor.scales":
            words = _columns(fields["addr"], fields["columns"], fields["stride"])
            yield _read(sbuf, slice(config.n), words)
        case "vector.compute" | "vector.generator" | "vector.quantise":
            yield from _vector(decoded, config)
        case "activation.apply" | "activation.table":
            yield from _activation(decoded, config)
        case "load.dma" | "store.dma":
            where, loads = _dma_words(fields, config.n), decoded.mnemonic == "load.dma"
            if not loads or fields["accumulate"] or fields["half"] != Half.WHOLE:
                yield Access(sbuf, where, writes=False)
            if loads:
                yield Access(sbuf, where, writes=True)


def _element_words(fields: dict[str, int], name: str, code: int, step: Integers) -> Integers:
    """Words of an array of elements (`x`, `y` or `dst`), a row an element."""
    first = fields["dst"] if name == "dst" else fields[f"{name}_addr"]
    addresses = first + step * fields[f"{name}_stride"]
    return addresses[:, None] + np.arange(2 if code in (FP32.code, RAW32) else 1)


def _operands(decoded: Decoded, step: Integers) -> Iterator[Integers]:
    """Words of the scratchpad that the elements read, a row an element."""
    fields = decoded.fields
    if fields.get("x_source", Source.SBUF) == Source.SBUF:
        yield _element_words(fields, "x", fields["x_format"], step)
    if decoded.mnemonic == "vector.compute" and _uses_y(fields):
        yield _element_words(fields, "y", fields["y_format"], step)


def _results(fields: dict[str, int], step: Integers, n: int) -> Integers:
    """Words of the scratchpad that the elements write, a row an element."""
    if not fields.get("transpose"):
        return _element_words(fields, "dst", fields["format"], step)
    row = fields["partition"] + (step >> fields.get("packed", 0))
    line = fields["dst"] + row // n * fields["dst_stride"]
    return line[:, None] + np.arange(fields["rows"])


def overwrites_operand(decoded: Decoded, config: TileConfig) -> int | None:
    """The word that an element writes and a later element of the same instruction reads.

    The result of such an instruction is not defined. Partitions are not distinguished where results
    are transposed.

    Parameters
    ----------
    decoded
        Any instruction; only those of `vector.compute`, `vector.quantise` and
        `activation.apply` are elements that can.
    config
        The tile. Elements beyond the first that traps count too.

    Returns
    -------
    int or None
        A scratchpad address, or None if there is no such word.
    """
    fields = decoded.fields
    if decoded.mnemonic not in _ELEMENTWISE:
        return None
    if fields.get("reduction", Reduction.NONE) != Reduction.NONE:
        return None
    step, depth = np.arange(fields["columns"]), config.sbuf_depth
    last_reader = np.full(depth + 1, -1)  # and one for all words that do not exist
    for words in _operands(decoded, step):
        # Elements are in order: of several readers the last stays.
        for column in np.where((words < 0) | (words >= depth), depth, words).T:
            last_reader[column] = np.maximum(last_reader[column], step)
    results = _results(fields, step, config.n)
    if decoded.mnemonic == "vector.quantise":
        # Each element of a block counts as one that writes the scale.
        scale = fields["scale_dst"] + step // MX_BLOCK * fields["scale_stride"]
        results = np.concatenate([results, scale[:, None]], axis=1)
    exist = (results >= 0) & (results < depth)
    bad = (last_reader[np.where(exist, results, depth)] > step[:, None]) & exist
    return int(results[bad][0]) if bad.any() else None
