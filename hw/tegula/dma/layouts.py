"""Payloads between the parts of the two DMA engines."""

from amaranth.lib import data, enum
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.isa.instructions import Engine, Layout
from tegula.isa.operations import Accumulate, Half
from tegula.memory.ports import sbuf_write_layout

__all__ = [
    "ACCUMULATE_BITS",
    "HALF_BITS",
    "ItemKind",
    "burst_layout",
    "chunk_words_log2",
    "half_fields",
    "outstanding_layout",
    "run_layout",
    "sbuf_run_layout",
    "subchunks",
    "tag_layout",
    "write_layout",
]


ACCUMULATE_BITS = max(Accumulate).bit_length()

HALF_BITS = max(Half).bit_length()


class ItemKind(enum.Enum, shape=2):
    """Kind of an item in the run and burst streams; items are handled in order."""

    RUN = 0
    """Bytes to move."""

    SYNC = 1
    """A `*.sync` instruction: nothing to move."""

    TRAP = 2
    """A run that failed its checks; nothing follows it."""


def chunk_words_log2(config: TileConfig, layout_partition: bool) -> int:
    """Base-2 logarithm of the words that the scratchpad moves in a cycle in this layout."""
    return exact_log2(config.row_words if layout_partition else config.bus_words)


def subchunks(config: TileConfig) -> dict[tuple[int, int], int]:
    """Scratchpad accesses for the bytes of a bus word, by (layout, bytes1)."""
    return {
        (layout, bytes1): config.bus_bytes
        // ((1 << chunk_words_log2(config, layout == Layout.PARTITION)) * (1 if bytes1 else 2))
        for layout in Layout
        for bytes1 in (0, 1)
    }


def half_fields(config: TileConfig) -> dict[str, int]:
    """The `Half` of a run of elements of one byte, where words may hold two."""
    return {"half": HALF_BITS} if config.packed_fp8 else {}


def sbuf_run_layout(config: TileConfig) -> data.StructLayout:
    """A checked run of `elements_m1` + 1 elements, its words in the scratchpad.

    `last`: it ends its instruction.
    """
    return data.StructLayout(
        {
            "kind": ItemKind,
            "last": 1,
            "elements_m1": 16,
            "bytes1": 1,
            **half_fields(config),
            "layout": 1,
            "accumulate": ACCUMULATE_BITS,
            "partition": range(config.n),
            "sbuf_addr": range(config.sbuf_depth),
            "sbuf_stride0": exact_log2(config.sbuf_depth),
        }
    )


def run_layout(config: TileConfig) -> data.StructLayout:
    """A checked run; `addr`: its first byte in memory."""
    return data.StructLayout({"addr": config.axi_addr_width, **sbuf_run_layout(config).members})


def write_layout(config: TileConfig) -> data.StructLayout:
    """A write into the scratchpad, whose `last` ends its instruction; `accumulate`: it is added."""
    return data.StructLayout({"write": sbuf_write_layout(config), "accumulate": ACCUMULATE_BITS})


def burst_layout(config: TileConfig) -> data.StructLayout:
    """A burst of a run.

    `addr` is its first byte that belongs to the run, `len` its beats minus one; `offset` is the
    byte lane of the *run's* first byte; `run_first` and `run_last` mark the run's first and last
    burst, `last` the instruction's. `spill`: the last beat of the run holds only bytes that
    complete the chunk of the beat before.
    """
    return data.StructLayout(
        {
            "kind": ItemKind,
            "addr": config.axi_addr_width,
            "len": 8,
            "offset": range(config.bus_bytes),
            "run_first": 1,
            "run_last": 1,
            "last": 1,
            "spill": 1,
            "accumulate": ACCUMULATE_BITS,
        }
    )


def outstanding_layout(config: TileConfig, engine: Engine) -> data.StructLayout:
    """Fields of a burst that are kept until it is complete: LOAD or STORE."""
    burst = burst_layout(config).members
    names = (
        ("addr", "offset", "run_last", "spill")
        if engine == Engine.LOAD
        else ("kind", "addr", "last")
    )
    return data.StructLayout({name: burst[name] for name in names})


def tag_layout(config: TileConfig) -> data.StructLayout:
    """Properties of a scratchpad read of the store path, kept until its words arrive.

    `offset` and `end` are the byte lanes of the run's first and last byte; `last` marks the run's
    last chunk; `spill` as in `burst_layout`.
    """
    return data.StructLayout(
        {
            "last": 1,
            "bytes1": 1,
            **half_fields(config),
            "layout": 1,
            "offset": range(config.bus_bytes),
            "end": range(config.bus_bytes),
            "spill": 1,
            "accumulate": ACCUMULATE_BITS,
        }
    )
