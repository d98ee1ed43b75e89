"""Ports of the on-chip memories: layouts of requests and writes, and signatures of the ports."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.memory.halves import kept_fields

__all__ = [
    "BANK_READ_CYCLES",
    "PAIR_READ_CYCLES",
    "TENSOR_READ_CYCLES",
    "BankReadSignature",
    "BankWriteSignature",
    "ChunkReadSignature",
    "ChunkWriteSignature",
    "PairReadSignature",
    "PsumReadSignature",
    "RowReadSignature",
    "RowWriteSignature",
    "TensorReadSignature",
    "VectorWriteSignature",
    "pair_request_layout",
    "row_write_layout",
    "sbuf_read_layout",
    "sbuf_write_layout",
    "vector_write_layout",
]

BANK_READ_CYCLES = 2
"""Cycles from the address of a bank to its word at a port: the memory's register, and one behind
the selection."""

PAIR_READ_CYCLES = 1 + BANK_READ_CYCLES
"""Cycles from a request of the vector engine to its words: a register, and those of the bank."""

TENSOR_READ_CYCLES = 2 + BANK_READ_CYCLES
"""Cycles from a request of the tensor engine to its row: the banks that it takes are known to the
vector engine a cycle before their addresses are needed."""


def sbuf_write_layout(config: TileConfig) -> data.StructLayout:
    """DMA write into the scratchpad, `bus_words` words of 16 bits.

    Layout `free`: word j goes to (`partition`, `addr` + j), `addr` a multiple of `bus_words`.
    Layout `partition`: word j < `row_words` goes to (`partition` + j, `addr`), `partition` a
    multiple of `row_words`. Only words whose `mask` bit is 1 are written, without the bytes that
    are `keep`t. `last` comes back with `written_last`.
    """
    return data.StructLayout(
        {
            "layout": 1,
            "partition": range(config.n),
            "addr": range(config.sbuf_depth),
            "data": data.ArrayLayout(16, config.bus_words),
            "mask": config.bus_words,
            **kept_fields(config),
            "last": 1,
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
    """Row for the scratchpad: partitions whose `enable` is 1 take their word at `addr`.

    Bytes that are `keep`t stay, in all of them. `last` comes back with `written_last`.
    """
    return data.StructLayout(
        {
            "addr": range(config.sbuf_depth),
            "enable": config.n,
            "words": data.ArrayLayout(16, config.n),
            **kept_fields(config),
            "last": 1,
        }
    )


def vector_write_layout(config: TileConfig) -> data.StructLayout:
    """Results of the vector engine, a lane a partition; only lanes whose `enable` bit is 1 count.

    Lane p writes the low half of its word to (p, `addr`); if `double` (`addr` is even) also the
    high half to (p, `addr` + 1). If `line`, it writes the low half to (`partition`, `addr` + p)
    instead: lanes 0 .. `row_words` - 1 of one line, `addr` a multiple of `row_words`. Bytes of the
    low half that are `keep`t stay.
    """
    return data.StructLayout(
        {
            "addr": range(config.sbuf_depth),
            "enable": config.n,
            "double": 1,
            "line": 1,
            "partition": range(config.n),
            "words": data.ArrayLayout(32, config.n),
            **kept_fields(config),
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
        `data` is this reader's row: in the order of the requests, at least
        ``1 + BANK_READ_CYCLES`` after acceptance. There is no back-pressure.
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
    """Read of rows or pairs of rows of the scratchpad, seen from the reader, which knows the grant.

    A request of x is granted if it needs no bank that is `taken`, one of y if it also needs none of
    those that x requests in the same cycle (`tegula.memory.grants`). Both sides find that out by
    themselves, so that no answer has to come back.

    Members
    -------
    taken : In(bus_words)
        Banks that the tensor engine takes.
    request : Out(`pair_request_layout`), en : Out(1)
        The row or pair is read, if that is granted.
    data : In(ArrayLayout(32, n))
        The word of each partition, or the two words of a pair, the even one low:
        `PAIR_READ_CYCLES` later.
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "taken": In(config.bus_words),
                "request": Out(pair_request_layout(config)),
                "en": Out(1),
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
        `data` holds this engine's words, at least ``1 + BANK_READ_CYCLES`` after the request was
        accepted. There is no back-pressure.
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


def _acknowledged_write(layout: data.StructLayout) -> dict[str, wiring.Member]:
    """Members of a write that is reported when it is in the memory."""
    return {
        "request": Out(stream.Signature(layout)),
        "written": In(1),
        "written_last": In(1),
    }


class TensorReadSignature(wiring.Signature):
    """Read of rows of the scratchpad that is always granted, seen from the reader.

    The moving and the stationary operand have such a port each, and the tensor engine never reads
    one bank with both in a cycle.

    Members
    -------
    addr : Out(range(sbuf_depth)), en : Out(1)
        The row at `addr` is read.
    data : In(ArrayLayout(16, n))
        That row, `TENSOR_READ_CYCLES` later.
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
    keep : Out(2)
        Bytes of it that stay as they are; only where words may hold two codes.
    addr : Out(range(sbuf_depth // bus_words))
    data : Out(ArrayLayout(16, n))
    """

    def __init__(self, config: TileConfig):
        super().__init__(
            {
                "en": Out(config.n),
                **{name: Out(width) for name, width in kept_fields(config).items()},
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


class RowWriteSignature(wiring.Signature):
    """Write of rows of the scratchpad, seen from the writer.

    Members
    -------
    request : Out(stream of `row_write_layout`)
    written : In(1), written_last : In(1)
        A row, in the order of acceptance, is in the memory for every read that is requested from
        the next cycle on; its `last` was 1.
    """

    def __init__(self, config: TileConfig):
        super().__init__(_acknowledged_write(row_write_layout(config)))


class ChunkWriteSignature(wiring.Signature):
    """Write of the scratchpad by the load engine, seen from the engine.

    Members
    -------
    request : Out(stream of `sbuf_write_layout`)
    written : In(1), written_last : In(1)
        As in `RowWriteSignature`; the words of a request may be written over several cycles.
    """

    def __init__(self, config: TileConfig):
        super().__init__(_acknowledged_write(sbuf_write_layout(config)))


class PsumReadSignature(wiring.Signature):
    """Read of one address of all partitions of PSUM, always granted, seen from the reader.

    Members
    -------
    addr : Out(range(psum_depth))
    en : Out(1)
        The words at `addr` are read.
    data : In(ArrayLayout(psum_width, n))
        Those words, a cycle later.
    query_addr : Out(range(psum_depth))
    written : In(1)
        The running program had written the words at the `query_addr` of the cycle before, then.
    """

    def __init__(self, config: TileConfig):
        words = data.ArrayLayout(config.psum_width, config.n)
        super().__init__(
            {
                **_granted_read(config.psum_depth, words),
                "query_addr": Out(range(config.psum_depth)),
                "written": In(1),
            }
        )
