"""Functions from memory into the table of the activation engine, and how instructions name them."""

from dataclasses import dataclass

import numpy as np

from tegula.config import TileConfig, check_config
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import TableKind
from tegula_golden.numerics.functions import Function
from tegula_sw.functions import pack, records
from tegula_sw.program.program import MemoryImage
from tegula_sw.program.schedule import Op, dma_op

__all__ = ["TableRecords", "apply_fields"]

_PARTITIONS = {TableKind.ENTRIES: 4, TableKind.DESCRIPTORS: 2}
"""Words of a scratchpad row that an instruction takes: an entry has two rows, a descriptor one."""


@dataclass(frozen=True)
class TableRecords:
    """Functions for a tile's table, as they lie in memory.

    Attributes
    ----------
    functions
        Where each function is in the table.
    rows
        Scratchpad rows of entries and of descriptors.
    addresses
        Memory addresses of both.
    """

    functions: dict[str, Function]
    rows: dict[TableKind, int]
    addresses: dict[TableKind, int]

    @classmethod
    def add(cls, config: TileConfig, names: list[str], image: MemoryImage) -> "TableRecords":
        """Put the records of these functions into a memory image.

        Raises
        ------
        ValueError
            If a name is unknown or given twice, or the tile's table does not hold them all.
        """
        size = check_config(config).activation_entries
        _, functions = pack(names, entries=size, descriptors=size)
        content = dict(zip(TableKind, records(names), strict=True))
        return cls(
            functions=functions,
            rows={kind: len(content[kind]) // (2 * _PARTITIONS[kind]) for kind in TableKind},
            addresses={
                kind: image.add(np.frombuffer(content[kind], np.uint8)) for kind in TableKind
            },
        )

    @property
    def sbuf_words(self) -> int:
        """Scratchpad words of a partition that `ops` passes the records through."""
        return sum(self.rows.values())

    def ops(self, config: TileConfig, sbuf: int) -> list[Op]:
        """Instructions, not yet ordered, that load the table through the words from `sbuf` on."""
        ops = []
        for kind in TableKind:
            run, rows = _PARTITIONS[kind], self.rows[kind]
            ops += [
                dma_op(
                    config,
                    Engine.LOAD,
                    1,
                    [(rows, 2 * run, 1, 0)],
                    mem_addr=self.addresses[kind],
                    run=run,
                    sbuf_addr=sbuf,
                    layout=Layout.PARTITION,
                ),
                Op(
                    "activation.table",
                    {
                        "kind": kind,
                        "addr": sbuf,
                        "count": rows // 2 if kind == TableKind.ENTRIES else rows,
                    },
                    rows,
                ),
            ]
            sbuf += rows
        return ops


def apply_fields(function: Function) -> dict[str, int]:
    """Fields of `activation.apply` that choose a function."""
    return {
        "function": function.descriptor,
        "exp": int(function.reduction == "exp"),
        "parity": int(function.parity),
        "odd": int(function.odd),
        "log": int(function.log),
        "low": function.low,
    }
