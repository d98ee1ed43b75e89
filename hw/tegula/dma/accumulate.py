"""Sums of DMA data and what its destination holds: one adder, a word a cycle."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, ShapeCastable, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.dma.chunk_adder import ChunkAdder
from tegula.dma.layouts import write_layout
from tegula.isa.operations import Accumulate
from tegula.memory.ports import ChunkReadSignature, ChunkWriteSignature, sbuf_write_layout

__all__ = ["LoadAccumulator", "StoreAccumulator"]


def _destination(config: TileConfig) -> dict[str, ShapeCastable]:
    """Fields of a write into the scratchpad but its words, with their shapes."""
    members = sbuf_write_layout(config).members
    return {name: shape for name, shape in members.items() if name != "data"}


class LoadAccumulator(wiring.Component):
    """Writes, in order; the words of those that accumulate become ``scratchpad + word``.

    While the words of a chunk are added, the scratchpad is read for the next: a chunk every
    `chunk_steps` cycles, if the scratchpad answers within `chunk_steps` - 2 cycles. A chunk waits
    while one before it is still to be written to the same destination, or while more than one is
    accepted and not written; the first of an instruction waits for all before it. Writes that do
    not accumulate wait for those that do, and pass without latency.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    i : In(stream of `write_layout`)
    write : Out(ChunkWriteSignature)
        At most `MAX_UNWRITTEN` requests may be accepted and not written. An offer may be withdrawn
        at `flush`.
    read : Out(ChunkReadSignature)
        Answers, at any latency. An offer may be withdrawn at `flush`.
    flush : In(1)
        Drop all writes.
    drained : Out(1)
        It holds no write, and all are written.
    quiet : Out(1)
        No read and no write is pending in the scratchpad.
    """

    MAX_UNWRITTEN = 15

    def __init__(self, config: TileConfig):
        self._config = config
        self._words = data.ArrayLayout(16, config.bus_words)
        super().__init__(
            {
                "i": In(stream.Signature(write_layout(config))),
                "write": Out(ChunkWriteSignature(config)),
                "read": Out(ChunkReadSignature(config)),
                "flush": In(1),
                **dict.fromkeys(("drained", "quiet"), Out(1)),
            }
        )

    def elaborate(self, platform):
        """A read for the next chunk, sums of the one before, the write of the one before that."""
        m = Module()
        layout = write_layout(self._config)
        names = _destination(self._config)
        destination = data.StructLayout(names)
        adder = ChunkAdder(self._config, destination)
        m.submodules.adder = ResetInserter(self.flush)(adder)
        write, request = self.i.payload.write, self.write.request
        accumulates = Signal()
        m.d.comb += accumulates.eq(self.i.payload.accumulate != Accumulate.NONE)

        # `adding`: its words enter the adder. `accepted`: the last that the scratchpad accepted.
        adding = Signal(layout, reset_less=True)
        accepted = Signal(destination, reset_less=True)
        is_adding, unwritten = Signal(), Signal(range(self.MAX_UNWRITTEN + 1))
        answer, held = Signal(self._words, reset_less=True), Signal(self._words, reset_less=True)
        pending = (
            (is_adding, adding.write),
            (adder.summing, adder.summed),
            (adder.o.valid, adder.o.payload.context),
            (unwritten != 0, accepted),
        )
        clear = ~self._clash(write, pending) & (unwritten <= 1)
        reading, answered = self._request(m, accumulates & clear, answer)

        entered, begin, adds, passes = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            adder.i.valid.eq(is_adding),
            adder.i.payload.held.eq(held),
            adder.i.payload.incoming.eq(adding.write.data),
            adder.i.payload.fp32.eq(adding.accumulate == Accumulate.FP32),
            *(adder.i.payload.context[name].eq(adding.write[name]) for name in names),
            entered.eq(is_adding & adder.i.ready),
            begin.eq(answered & (~is_adding | entered)),
        ]
        with m.If(begin):
            m.d.sync += adding.eq(self.i.payload)
        with m.If(~is_adding | entered):
            m.d.sync += held.eq(answer)
        accepts = request.valid & request.ready
        with m.If(accepts):
            m.d.sync += [accepted[name].eq(request.payload[name]) for name in names]
        m.d.sync += [
            is_adding.eq((begin | (is_adding & ~entered)) & ~self.flush),
            unwritten.eq(unwritten + accepts - self.write.written),
        ]

        sums = adder.o.payload
        words = {"data": sums.words, **{name: sums.context[name] for name in names}}
        m.d.comb += [
            adds.eq(is_adding | adder.summing | adder.o.valid),
            passes.eq(~accumulates & ~adds),
            self.i.ready.eq(Mux(accumulates, begin, passes & request.ready)),
            request.valid.eq((adder.o.valid | (self.i.valid & passes)) & ~self.flush),
            adder.o.ready.eq(request.ready),
            *(
                request.payload[name].eq(Mux(adder.o.valid, value, write[name]))
                for name, value in words.items()
            ),
            self.drained.eq(~adds & (unwritten == 0)),
            self.quiet.eq(~reading & (unwritten == 0)),
        ]
        return m

    def _clash(self, write, pending):
        """A flag that a pending write has the destination of the next, or ends its instruction."""
        return Cat(
            valid
            & (before.last | ((before.addr == write.addr) & (before.partition == write.partition)))
            for valid, before in pending
        ).any()

    def _request(self, m, clear, answer):
        """A read of the next chunk's destination; returns flags: is pending, has arrived."""
        request, write = self.read.request, self.i.payload.write
        offered, requested, reading, answered = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            request.valid.eq(self.i.valid & (clear | offered) & ~requested & ~self.flush),
            request.payload.layout.eq(write.layout),
            request.payload.partition.eq(write.partition),
            request.payload.addr.eq(write.addr),
        ]
        accepted = request.valid & request.ready
        with m.If(self.read.valid):
            m.d.sync += answer.eq(self.read.data)
        m.d.sync += [
            offered.eq(request.valid & ~request.ready),
            reading.eq(accepted | (reading & ~self.read.valid)),
            answered.eq((self.read.valid | (answered & ~self.i.ready)) & ~self.flush),
            requested.eq((accepted | (requested & ~self.i.ready)) & ~self.flush),
        ]
        return reading, answered


class StoreAccumulator(wiring.Component):
    """Beats, in order; the words of those that accumulate become ``memory + word``.

    A beat every `chunk_steps` cycles. Words without strobes are undefined. Beats that do not
    accumulate wait for those that do, and pass without latency.

    Parameters
    ----------
    config : TileConfig
    beat : StructLayout
        Payload of `i` and `o`.

    Members
    -------
    i : In(stream of {data, strb, accumulate}), o : Out(stream of {data, strb, accumulate})
        As from `WriteAligner`; numbers lie on multiples of their size. `accumulate` of `o` is 0.
    held : In(stream of axi_data_width)
        Memory's content, for each beat that accumulates.
    """

    def __init__(self, config: TileConfig, beat: data.StructLayout):
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(beat)),
                "o": Out(stream.Signature(beat)),
                "held": In(stream.Signature(config.axi_data_width)),
            }
        )

    def elaborate(self, platform):
        """A beat joined with what memory holds, its sums, and its strobes again."""
        m = Module()
        beat = self.i.payload
        m.submodules.adder = adder = ChunkAdder(self._config, beat.strb.shape())
        accumulates, entered, passes = Signal(), Signal(), Signal()
        m.d.comb += [
            accumulates.eq(beat.accumulate != Accumulate.NONE),
            adder.i.valid.eq(self.i.valid & accumulates & self.held.valid),
            adder.i.payload.held.eq(self.held.payload),
            adder.i.payload.incoming.eq(beat.data),
            adder.i.payload.fp32.eq(beat.accumulate == Accumulate.FP32),
            adder.i.payload.context.eq(beat.strb),
            entered.eq(adder.i.valid & adder.i.ready),
            self.held.ready.eq(entered),
        ]
        m.d.comb += [
            passes.eq(~accumulates & ~adder.summing & ~adder.o.valid),
            self.i.ready.eq(entered | (passes & self.o.ready)),
            self.o.valid.eq(adder.o.valid | (self.i.valid & passes)),
            adder.o.ready.eq(self.o.ready),
            self.o.payload.data.eq(Mux(adder.o.valid, adder.o.payload.words, beat.data)),
            self.o.payload.strb.eq(Mux(adder.o.valid, adder.o.payload.context, beat.strb)),
        ]
        return m
