"""Scratchpad words of runs, and their packing into aligned bytes."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tegula.config import TileConfig
from tegula.dma.addresses import ChunkAddresses
from tegula.dma.bursts import lanes_of_run
from tegula.dma.layouts import (
    chunk_words_log2,
    half_fields,
    run_layout,
    subchunks,
    tag_layout,
)
from tegula.isa.instructions import Layout
from tegula.isa.operations import Half
from tegula.lib.fields import copy_fields
from tegula.lib.stream import StreamQueue
from tegula.memory.ports import ChunkReadSignature

__all__ = ["Gather", "Packer"]


class Gather(wiring.Component):
    """Reads of each run's words from the scratchpad, in order, as fast as they are granted.

    Latency 1 cycle from a run to its first request, then one request a cycle. Every request has
    room reserved for its answer, so the scratchpad's answers need no back-pressure.

    Parameters
    ----------
    config : TileConfig
    depth : int
        Reads in flight or waiting; at least the scratchpad's latency + 3 for the full rate: a
        request is held from its acceptance until its words are taken.

    Members
    -------
    runs : In(stream of `run_layout`)
        Items of kind RUN only.
    read : Out(ChunkReadSignature)
        An offer may be withdrawn at `flush`.
    words : Out(stream of {data, tag: `tag_layout`})
    flush : In(1)
        Drop all runs and all answers.
    drained : Out(1)
        No read is in flight, and no answer waits.
    """

    LATENCY = 1
    """Cycles from a run to its first request."""

    DEPTH = 16
    """Default of `depth`."""

    def __init__(self, config: TileConfig, depth: int = DEPTH):
        self._config = config
        self._depth = depth
        words = data.ArrayLayout(16, config.bus_words)
        self._answer = data.StructLayout({"data": words, "tag": tag_layout(config)})
        super().__init__(
            {
                "runs": In(stream.Signature(run_layout(config))),
                "read": Out(ChunkReadSignature(config)),
                "words": Out(stream.Signature(self._answer)),
                "flush": In(1),
                "drained": Out(1),
            }
        )

    def elaborate(self, platform):
        """Addresses, requests, answers paired with their tags."""
        m = Module()
        config = self._config
        m.submodules.addresses = addresses = ResetInserter(self.flush)(ChunkAddresses(config))
        m.submodules.tags = tags = StreamQueue(tag_layout(config), self._depth)
        m.submodules.answers = answers = StreamQueue(
            data.ArrayLayout(16, config.bus_words), self._depth
        )

        run = self.runs.payload
        offset, end, spill = lanes_of_run(config, run)
        lanes = Signal(tag_layout(config), reset_less=True)
        m.d.comb += [
            addresses.runs.valid.eq(self.runs.valid),
            self.runs.ready.eq(addresses.runs.ready),
            *copy_fields(addresses.runs.payload, run),
        ]
        with m.If(addresses.runs.ready):
            m.d.sync += [
                lanes.bytes1.eq(run.bytes1),
                *copy_fields(lanes, run, half_fields(config)),
                lanes.layout.eq(run.layout),
                lanes.offset.eq(offset),
                lanes.end.eq(end[: exact_log2(config.bus_bytes)]),
                lanes.spill.eq(spill),
                lanes.accumulate.eq(run.accumulate),
            ]

        chunk, request = addresses.chunk, self.read.request
        m.d.comb += [
            request.valid.eq(chunk.valid & tags.i.ready & ~self.flush),
            tags.i.valid.eq(chunk.valid & request.ready & ~self.flush),
            chunk.ready.eq(tags.i.ready & request.ready),
            request.payload.layout.eq(chunk.payload.layout),
            request.payload.partition.eq(chunk.payload.partition),
            request.payload.addr.eq(chunk.payload.sbuf_addr),
            tags.i.payload.eq(lanes),
            tags.i.payload.last.eq(addresses.final),
        ]

        # A tag is held from the request until its answer is taken: the two queues fill no further
        # than the tags do.
        taken = Signal()
        m.d.comb += [
            answers.i.valid.eq(self.read.valid),
            answers.i.payload.eq(self.read.data),
            self.words.valid.eq(answers.o.valid & ~self.flush),
            self.words.payload.data.eq(answers.o.payload),
            self.words.payload.tag.eq(tags.o.payload),
            taken.eq(answers.o.valid & (self.words.ready | self.flush)),
            answers.o.ready.eq(taken),
            tags.o.ready.eq(taken),
            self.drained.eq(tags.empty),
        ]
        return m


class Packer(wiring.Component):
    """Chunks of aligned bytes, each packed from the words of up to `subchunks` reads.

    Latency 1 cycle, one read a cycle. Bytes past the run's end are undefined.

    Parameters
    ----------
    config : TileConfig
    chunk : StructLayout
        Payload of `chunks`.

    Members
    -------
    words : In(stream of {data, tag: `tag_layout`})
    chunks : Out(stream of {data, context})
        As `WriteAligner` takes them.
    """

    LATENCY = 1

    def __init__(self, config: TileConfig, chunk: data.StructLayout):
        self._config = config
        words = data.ArrayLayout(16, config.bus_words)
        answer = data.StructLayout({"data": words, "tag": tag_layout(config)})
        super().__init__(
            {"words": In(stream.Signature(answer)), "chunks": Out(stream.Signature(chunk))}
        )

    def elaborate(self, platform):
        """Bytes of a read into the lanes that its number within the chunk selects."""
        m = Module()
        config = self._config
        counts = subchunks(config)
        tag = self.words.payload.tag
        part = Signal(range(max(max(counts.values()), 2)))
        take, fills = Signal(), Signal()
        out = Signal(self.chunks.payload.shape(), reset_less=True)
        m.d.comb += [
            self.chunks.payload.eq(out),
            self.words.ready.eq(~self.chunks.valid | self.chunks.ready),
            take.eq(self.words.valid & self.words.ready),
        ]
        with m.If(self.words.ready):
            m.d.sync += self.chunks.valid.eq(self.words.valid & fills)
        with m.If(take):
            m.d.sync += part.eq(Mux(fills, 0, part + 1))
            m.d.sync += [
                getattr(out.context, name).eq(tag[name])
                for name in ("offset", "end", "last", "spill", "accumulate")
            ]
        codes = self._codes(m)
        word_bytes = [self._narrow(layout, codes) for layout in Layout]
        with m.Switch(Cat(tag.bytes1, tag.layout)):
            for (layout, bytes1), count in counts.items():
                with m.Case(layout << 1 | bytes1):
                    m.d.comb += fills.eq(tag.last | (part == count - 1))
                    source = word_bytes[layout][bytes1]
                    with m.If(take):
                        for lane in range(config.bus_bytes):
                            with m.If(part == lane // len(source)):
                                m.d.sync += out.data[lane].eq(source[lane % len(source)])
        return m

    def _codes(self, m):
        """Bytes that words have as elements of one byte: the low ones, or the high ones."""
        words, tag = self.words.payload.data, self.words.payload.tag
        codes = [word[:8] for word in words]
        if self._config.packed_fp8:
            high = Signal()
            m.d.comb += high.eq(tag.half == Half.HIGH)
            for number, word in enumerate(words):
                code = Signal(8, name=f"code_{number}")
                m.d.comb += code.eq(Mux(high, word[8:], word[:8]))
                codes[number] = code
        return codes

    def _narrow(self, layout, codes):
        """Bytes of one read: (of two-byte elements, of one-byte elements)."""
        words = self.words.payload.data
        count = 1 << chunk_words_log2(self._config, layout == Layout.PARTITION)
        both = [words[word][8 * half : 8 * half + 8] for word in range(count) for half in (0, 1)]
        return both, codes[:count]
