"""Whether an instruction overwrites what it has yet to read: then its result is not defined."""

from collections.abc import Iterator

import numpy as np

from tegula.config import TileConfig
from tegula.formats import FP32, RAW32
from tegula.isa.codec import Decoded
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source

__all__ = ["overwrites_operand"]


def _words(addresses: np.ndarray, code: int) -> np.ndarray:
    """Words of elements, a row each."""
    width = 2 if code in (FP32.code, RAW32) else 1
    return addresses[:, None] + np.arange(width)


def _operands(decoded: Decoded, step: np.ndarray) -> Iterator[np.ndarray]:
    """Words of the scratchpad that the elements read, a row an element."""
    fields = decoded.fields
    if decoded.mnemonic == "activation.apply" or fields["x_source"] == Source.SBUF:
        yield _words(fields["x_addr"] + step * fields["x_stride"], fields["x_format"])
    if decoded.mnemonic == "activation.apply":
        return
    y_used = fields["rounding"] == Rounding.GIVEN or any(
        fields[f"op{number}"] not in (Operation.PASS, Operation.ABS)
        and fields[f"s{number}_kind"] == Operand.Y
        for number in (0, 1)
    )
    if y_used:
        yield _words(fields["y_addr"] + step * fields["y_stride"], fields["y_format"])


def _results(fields: dict[str, int], step: np.ndarray, n: int) -> np.ndarray:
    """Words that the elements write, a row an element."""
    if not fields.get("transpose"):
        return _words(fields["dst"] + step * fields["dst_stride"], fields["format"])
    line = fields["dst"] + (fields["partition"] + step) // n * fields["dst_stride"]
    return line[:, None] + np.arange(fields["rows"])


def overwrites_operand(decoded: Decoded, config: TileConfig) -> int | None:
    """The word that an element writes and a later element of the same instruction reads.

    Partitions are not told apart where results are transposed.

    Parameters
    ----------
    decoded
        Any instruction; only `vector.compute` and `activation.apply` have elements that can.
    config
        The tile. Elements beyond the first that traps count too.

    Returns
    -------
    int or None
        A scratchpad address, or None if there is no such word.
    """
    fields = decoded.fields
    if decoded.mnemonic not in ("vector.compute", "activation.apply"):
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
    exist = (results >= 0) & (results < depth)
    bad = (last_reader[np.where(exist, results, depth)] > step[:, None]) & exist
    return int(results[bad][0]) if bad.any() else None
