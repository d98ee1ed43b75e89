"""Functions for the activation engine: fitted tables of piecewise cubics (contract section 5.5).

`function` gives one function of the library, at no fixed address; `pack` puts several into one
table, as the golden model takes it, and `records` gives the same as the bytes that a program loads.
Their errors are in docs/functions.md.
"""

from collections.abc import Sequence

from tegula_golden.numerics.function_table import Table
from tegula_golden.numerics.functions import Function
from tegula_sw.functions.library import NAMES, function
from tegula_sw.functions.spec import DESCRIPTORS, ENTRIES, FunctionSpec, allocate, build_table

__all__ = ["NAMES", "FunctionSpec", "function", "pack", "records"]


def pack(
    names: Sequence[str], *, entries: int = ENTRIES, descriptors: int = DESCRIPTORS
) -> tuple[Table, dict[str, Function]]:
    """A table with these functions, one behind another, and where each is.

    Parameters
    ----------
    names
        Functions of the library.
    entries, descriptors
        Sizes of the engine's table, powers of two.

    Raises
    ------
    ValueError
        If a name is unknown or given twice, or the table does not hold them all.
    """
    specs = tuple(function(name) for name in names)
    if len(set(names)) != len(specs):
        raise ValueError(f"each function can be packed once, not {', '.join(names)}")
    positions, start = {}, 0
    for spec in specs:
        positions[spec.name] = spec.at(start)
        start += spec.descriptor_count
    return build_table(*allocate(specs), entries, descriptors), positions


def records(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Records of the table of `pack` as they lie in memory, without the unused rest.

    Returns
    -------
    entries
        16 bytes each.
    descriptors
        4 bytes each.

    Raises
    ------
    ValueError
        As `pack` does for the largest table.
    """
    table, _ = pack(names)
    entries, descriptors = allocate(tuple(function(name) for name in names))
    return (
        table.entry_words()[: len(entries)].astype("<u4").tobytes(),
        table.descriptor_words()[: len(descriptors)].astype("<u4").tobytes(),
    )
