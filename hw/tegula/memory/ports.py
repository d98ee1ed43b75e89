"""Requests and writes at the ports of the scratchpad."""

from amaranth.lib import data

from tegula.config import TileConfig

__all__ = [
    "pair_request_layout",
    "row_write_layout",
    "sbuf_read_layout",
    "sbuf_write_layout",
    "vector_write_layout",
]


def sbuf_write_layout(config: TileConfig) -> data.StructLayout:
    """A DMA write into the scratchpad, `bus_words` words of 16 bits.

    Layout `free`: word j goes to (`partition`, `addr` + j), `addr` a multiple of `bus_words`.
    Layout `partition`: word j < `row_words` goes to (`partition` + j, `addr`), `partition` a
    multiple of `row_words`. Only words whose `mask` bit is 1 are written.
    """
    return data.StructLayout(
        {
            "layout": 1,
            "partition": range(config.n),
            "addr": range(config.sbuf_depth),
            "data": data.ArrayLayout(16, config.bus_words),
            "mask": config.bus_words,
        }
    )


def sbuf_read_layout(config: TileConfig) -> data.StructLayout:
    """A DMA read request; the words come back in the order of `sbuf_write_layout`'s data."""
    return data.StructLayout(
        {"layout": 1, "partition": range(config.n), "addr": range(config.sbuf_depth)}
    )


def pair_request_layout(config: TileConfig) -> data.StructLayout:
    """A read of one row of the scratchpad or, if `double`, of row `addr` (even) and the next."""
    return data.StructLayout({"addr": range(config.sbuf_depth), "double": 1})


def row_write_layout(config: TileConfig) -> data.StructLayout:
    """A row for the scratchpad: partitions whose `enable` is 1 take their word at `addr`."""
    return data.StructLayout(
        {
            "addr": range(config.sbuf_depth),
            "enable": config.n,
            "words": data.ArrayLayout(16, config.n),
        }
    )


def vector_write_layout(config: TileConfig) -> data.StructLayout:
    """Results of the vector engine, a lane a partition; only lanes whose `enable` bit is 1 count.

    Lane p writes the low half of its word to (p, `addr`); if `double` (`addr` is even) also the
    high half to (p, `addr` + 1). If `line`, it writes the low half to (`partition`, `addr` + p)
    instead: lanes 0 .. `row_words` - 1 of one line, `addr` a multiple of `row_words`.
    """
    return data.StructLayout(
        {
            "addr": range(config.sbuf_depth),
            "enable": config.n,
            "double": 1,
            "line": 1,
            "partition": range(config.n),
            "words": data.ArrayLayout(32, config.n),
        }
    )
