"""Sums of DMA data and what its destination holds: one adder, a word a cycle."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.fp_add import FpAdd
from tegula.config import TileConfig
from tegula.dma.layouts import write_layout
from tegula.isa.operations import Accumulate
from tegula.lib.mux import select
from tegula.lib.stream import StreamStage
from tegula.memory.ports import ChunkReadSignature, sbuf_read_layout

__all__ = ["ChunkAdder", "LoadAccumulator", "StoreAccumulator", "chunk_steps"]


_DESTINATION = ("layout", "partition", "addr", "mask")


def chunk_steps(config: TileConfig) -> int:
    """Cycles from one chunk of `bus_words` words in an adder to the next.

    A chunk is out of the adder before the chunk after the next enters it: see `LoadAccumulator`.
    """
    return max(config.bus_words, (config.bus_words + FpAdd.LATENCY + 3) // 2)


class ChunkAdder(wiring.Component):
    """``sum = cast(held + incoming)`` on chunks of numbers of one word, or of two, low one first.

    Addition and cast are those of sections 5.2 and 4 of the contract, to nearest even. A chunk
    enters word by word and is taken after `chunk_steps` cycles; its sums are output `bus_words` +
    `FpAdd.LATENCY` cycles after its first word. While they are not taken, everything waits.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    i : In(stream of {held, incoming, fp32})
        Words of bf16 numbers or, if `fp32`, halves of fp32 numbers.
    o : Out(stream of ArrayLayout(16, bus_words))
    """

    def __init__(self, config: TileConfig):
        self._config = config
        words = data.ArrayLayout(16, config.bus_words)
        chunks = data.StructLayout({"held": words, "incoming": words, "fp32": 1})
        super().__init__({"i": In(stream.Signature(chunks)), "o": Out(stream.Signature(words))})

    def elaborate(self, platform):
        """Word selection, pairs of halves, addition, rounding, collection."""
        m = Module()
        count, steps = self._config.bus_words, chunk_steps(self._config)
        chunk = self.i.payload
        advance = Signal()
        m.submodules.add = add = EnableInserter(advance)(FpAdd())

        step = Signal(range(steps))
        last = step == steps - 1
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(advance & last),
        ]
        with m.If(self.i.valid & advance):
            m.d.sync += step.eq(Mux(last, 0, step + 1))

        word, low = (Signal(data.StructLayout({"held": 16, "incoming": 16})) for _ in range(2))
        index = step[: (count - 1).bit_length()]
        m.d.comb += [
            word[name].eq(select(list(chunk[name]), index)) for name in ("held", "incoming")
        ]
        enters = self.i.valid & (step < count)
        with m.If(advance):
            # It is zero whenever a number of one word enters.
            m.d.sync += low.eq(0)
            with m.If(enters & chunk.fp32 & ~step[0]):
                m.d.sync += low.eq(word)
        m.d.comb += [
            add.a.eq(Cat(low.held, word.held)),
            add.b.eq(Cat(low.incoming, word.incoming)),
        ]

        token = Cat(enters & (step[0] | ~chunk.fp32), chunk.fp32)
        for stage in range(FpAdd.LATENCY):
            before, token = token, Signal(2, name=f"token_{stage}")
            with m.If(advance):
                m.d.sync += token.eq(before)
        self._collect(m, add.result, token[0] & advance, token[1])
        return m

    def _collect(self, m, total, lands, fp32):
        """Sums, rounded to bf16 if that is their format, as words side by side."""
        count = self._config.bus_words
        bf16 = total[16:] + (total[15] & (total[:15].any() | total[16]))
        position = Signal(range(count))
        full = position >= Mux(fp32, count - 2, count - 1)
        with m.If(lands):
            m.d.sync += position.eq(position + Mux(fp32, 2, 1))
        with m.If(lands | self.o.ready):
            m.d.sync += self.o.valid.eq(lands & full)
        for word in range(count):
            half = total[16:] if word % 2 else total[:16]
            here = Mux(fp32, position[1:] == word >> 1, position == word)
            with m.If(lands & here):
                m.d.sync += self.o.payload[word].eq(Mux(fp32, half, bf16[:16]))


class LoadAccumulator(wiring.Component):
    """Writes, in order; the words of those that accumulate become ``scratchpad + word``.

    While the words of a chunk are added, the scratchpad is read for the next: a chunk every
    `chunk_steps` cycles. A chunk waits while one before it is still to be written to the same
    destination; the first of an instruction waits for all before it. Writes that do not accumulate
    wait for those that do, and pass without latency.

    Parameters
    ----------
    config : TileConfig

    Members
    -------
    i : In(stream of `write_layout`), o : Out(stream of `write_layout`)
    drained : In(1)
        Every write from `o` is accepted by the scratchpad.
    read : Out(ChunkReadSignature)
        Answers, at any latency.
    flush : In(1)
        Drop all writes.
    empty : Out(1)
        It holds no write.
    quiet : Out(1)
        No read is pending.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        self._words = data.ArrayLayout(16, config.bus_words)
        super().__init__(
            {
                "i": In(stream.Signature(write_layout(config))),
                "o": Out(stream.Signature(write_layout(config))),
                **dict.fromkeys(("drained", "flush"), In(1)),
                "read": Out(ChunkReadSignature(config)),
                **dict.fromkeys(("empty", "quiet"), Out(1)),
            }
        )

    def elaborate(self, platform):
        """A read for the next chunk, sums of the one before, the write of the one before that."""
        m = Module()
        m.submodules.adder = adder = ResetInserter(self.flush)(ChunkAdder(self._config))
        write = self.i.payload.write
        accumulates = Signal()
        m.d.comb += accumulates.eq(self.i.payload.accumulate != Accumulate.NONE)

        # `adding`: its words enter the adder. `summed`: they have, and its sums are not yet output.
        adding, summed = Signal(write_layout(self._config)), Signal(write_layout(self._config))
        is_adding, is_summed = Signal(), Signal()
        answer, held = Signal(self._words, reset_less=True), Signal(self._words, reset_less=True)
        answered = self._request(m, ((is_adding, adding), (is_summed, summed)), accumulates, answer)

        entered, begin = Signal(), Signal()
        m.d.comb += [
            adder.i.valid.eq(is_adding),
            adder.i.payload.held.eq(held),
            adder.i.payload.incoming.eq(adding.write.data),
            adder.i.payload.fp32.eq(adding.accumulate == Accumulate.FP32),
            entered.eq(is_adding & adder.i.ready),
            begin.eq(answered & (~is_adding | entered)),
        ]
        with m.If(begin):
            m.d.sync += [adding.eq(self.i.payload), held.eq(answer)]
        with m.If(entered):
            m.d.sync += summed.eq(adding)
        m.d.sync += [
            is_adding.eq((begin | (is_adding & ~entered)) & ~self.flush),
            is_summed.eq((entered | (is_summed & ~(adder.o.valid & self.o.ready))) & ~self.flush),
        ]

        words = {"data": adder.o.payload, **{n: summed.write[n] for n in _DESTINATION}}
        m.d.comb += [
            self.empty.eq(~is_adding & ~is_summed),
            self.i.ready.eq(Mux(accumulates, begin, self.empty & self.o.ready)),
            self.o.valid.eq(adder.o.valid | (self.i.valid & ~accumulates & self.empty)),
            adder.o.ready.eq(self.o.ready),
            self.o.payload.last.eq(Mux(is_summed, summed.last, self.i.payload.last)),
            *(
                self.o.payload.write[name].eq(Mux(is_summed, value, write[name]))
                for name, value in words.items()
            ),
        ]
        return m

    def _request(self, m, pending, accumulates, answer):
        """A read of the next chunk's destination; returns a flag that its words have arrived."""
        m.submodules.stage = stage = StreamStage(sbuf_read_layout(self._config))
        wiring.connect(m, stage.o, wiring.flipped(self.read.request))
        write = self.i.payload.write
        clash = Cat(
            valid
            & (
                before.last
                | ((before.write.addr == write.addr) & (before.write.partition == write.partition))
            )
            for valid, before in pending
        ).any()
        # A read sees every write that was accepted two cycles before (`Scratchpad`).
        drained_before = Signal()
        requested, reading, answered = Signal(), Signal(), Signal()
        request = Signal()
        m.d.sync += drained_before.eq(self.drained)
        m.d.comb += [
            request.eq(
                (self.i.valid & accumulates & ~requested & ~clash & ~self.flush)
                & (self.drained & drained_before)
            ),
            stage.i.valid.eq(request),
            stage.i.payload.layout.eq(write.layout),
            stage.i.payload.partition.eq(write.partition),
            stage.i.payload.addr.eq(write.addr),
            self.quiet.eq(~reading),
        ]
        with m.If(self.read.valid):
            m.d.sync += answer.eq(self.read.data)
        m.d.sync += [
            reading.eq(request | (reading & ~self.read.valid)),
            answered.eq((self.read.valid | (answered & ~self.i.ready)) & ~self.flush),
            requested.eq((request | (requested & ~self.i.ready)) & ~self.flush),
        ]
        return answered


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
        m.submodules.adder = adder = ChunkAdder(self._config)
        beat = self.i.payload
        strobes, is_summed = Signal.like(beat.strb), Signal()
        accumulates, entered, passes = Signal(), Signal(), Signal()
        m.d.comb += [
            accumulates.eq(beat.accumulate != Accumulate.NONE),
            adder.i.valid.eq(self.i.valid & accumulates & self.held.valid),
            adder.i.payload.held.eq(self.held.payload),
            adder.i.payload.incoming.eq(beat.data),
            adder.i.payload.fp32.eq(beat.accumulate == Accumulate.FP32),
            entered.eq(adder.i.valid & adder.i.ready),
            self.held.ready.eq(entered),
        ]
        with m.If(entered):
            m.d.sync += [strobes.eq(beat.strb), is_summed.eq(1)]
        with m.Elif(adder.o.valid & self.o.ready):
            m.d.sync += is_summed.eq(0)

        m.d.comb += [
            passes.eq(~accumulates & ~is_summed),
            self.i.ready.eq(entered | (passes & self.o.ready)),
            self.o.valid.eq(adder.o.valid | (self.i.valid & passes)),
            adder.o.ready.eq(self.o.ready),
            self.o.payload.data.eq(Mux(is_summed, adder.o.payload, beat.data)),
            self.o.payload.strb.eq(Mux(is_summed, strobes, beat.strb)),
        ]
        return m
