"""Ports of the on-chip memories: layouts of requests and writes, and signatures of the ports."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig

__all__ = [
    "BankReadSignature",
    "BankWriteSignature",
    "ChunkReadSignature",
    "MovingReadSignature",
    "PairReadSignature",
    "PsumReadSignature",
    "RowReadSignature",
    "VectorWriteSignature",
    "pair_request_layout",
    "row_write_layout",
    "sbuf_read_layout",
    "sbuf_write_layout",
    "vector_write_layout",
]


def sbuf_write_layout(config: TileConfig) -> data.StructLayout:
    """DMA write into the scratchpad, `bus_words` words of 16 bits.

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
    """DMA read request; its words are returned in the order of `sbuf_write_layout`'s data."""
    return data.StructLayout(
        {"layout": 1, "partition": range(config.n), "addr": range(config.sbuf_depth)}
    )


def pair_request_layout(config: TileConfig) -> data.StructLayout:
    """Read of one row of the scratchpad or, if `double`, of row `addr` (even) and the next."""
    return data.StructLayout({"addr": range(config.sbuf_depth), "double": 1})


def row_write_layout(config: TileConfig) -> data.StructLayout:
    """Row for the scratchpad: partitions whose `enable` is 1 take their word at `addr`."""
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


class RowReadSignature(wiring.Signature):
    """Read of rows of the scratchpad, seen from the reader.

    Members
    -------
    request : Out(stream of range(sbuf_depth))
        Address of a row.
    data : In(ArrayLayout(16, n))
        The requested row, or one that another reader requested.
    valid : In(1)
        `data` is this reader's row: `READ_CYCLES` after its request was accepted.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "request": Out(stream.Signature(range(config.sbuf_depth))),
                "data": In(data.ArrayLayout(16, config.n)),
                "valid": In(1),
            }
        )


class PairReadSignature(wiring.Signature):
    """Read of rows or pairs of rows of the scratchpad, seen from the reader.

    Members
    -------
    request : Out(stream of `pair_request_layout`)
    data : In(ArrayLayout(32, n))
        The word of each partition, or the two words of a pair, the even one low: `READ_CYCLES`
        after the request was accepted.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "request": Out(stream.Signature(pair_request_layout(config))),
                "data": In(data.ArrayLayout(32, config.n)),
            }
        )


class ChunkReadSignature(wiring.Signature):
    """Read of the scratchpad by a DMA engine, seen from the engine.

    Members
    -------
    request : Out(stream of `sbuf_read_layout`)
    data : In(ArrayLayout(16, bus_words))
        Words of a request, in the order of the requests.
    valid : In(1)
        `data` holds this engine's words. There is no back-pressure.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "request": Out(stream.Signature(sbuf_read_layout(config))),
                "data": In(data.ArrayLayout(16, config.bus_words)),
                "valid": In(1),
            }
        )


def _granted_read(depth: int, words: data.ArrayLayout) -> dict[str, wiring.Member]:
    """Members of a read that is always granted."""
    return {"addr": Out(range(depth)), "en": Out(1), "data": In(words)}


class MovingReadSignature(wiring.Signature):
    """Read of rows of the scratchpad that is always granted, seen from the reader.

    Members
    -------
    addr : Out(range(sbuf_depth)), en : Out(1)
        The row at `addr` is read.
    data : In(ArrayLayout(16, n))
        That row, `READ_CYCLES` later.
    """

    def __init__(self, config: TileConfig):
        super().__init__(_granted_read(config.sbuf_depth, data.ArrayLayout(16, config.n)))


class BankReadSignature(wiring.Signature):
    """Read port of a bank of the scratchpad, seen from the reader.

    Members
    -------
    addr : Out(range(sbuf_depth // bus_words))
    data : In(ArrayLayout(16, n))
        The row at `addr`, a cycle later.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "addr": Out(range(config.sbuf_depth // config.bus_words)),
                "data": In(data.ArrayLayout(16, config.n)),
            }
        )


class BankWriteSignature(wiring.Signature):
    """Write port of a bank of the scratchpad, seen from the writer.

    Members
    -------
    en : Out(n)
        Partitions that take their word.
    addr : Out(range(sbuf_depth // bus_words))
    data : Out(ArrayLayout(16, n))
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "en": Out(config.n),
                "addr": Out(range(config.sbuf_depth // config.bus_words)),
                "data": Out(data.ArrayLayout(16, config.n)),
            }
        )


class VectorWriteSignature(wiring.Signature):
    """Results of the vector engine, which the scratchpad accepts in every cycle.

    Members
    -------
    payload : Out(`vector_write_layout`)
    """

    def __init__(self, config: TileConfig):
        super().__init__({"payload": Out(vector_write_layout(config))})


class PsumReadSignature(wiring.Signature):
    """Read of one address of all partitions of PSUM, always granted, seen from the reader.

    Members
    -------
    addr : Out(range(psum_depth))
    en : Out(1)
        The words at `addr` are read.
    data : In(ArrayLayout(psum_width, n))
        Those words, a cycle later.
    written : In(1)
        The running program has written the words at `addr`; in the same cycle.
    """

    def __init__(self, config: TileConfig):
        words = data.ArrayLayout(config.psum_width, config.n)
        super().__init__(_granted_read(config.psum_depth, words) | {"written": In(1)})
