"""Streams: a register stage, a buffer that cuts both directions, and a queue."""

from amaranth.hdl import Module, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

__all__ = ["StreamBuffer", "StreamQueue", "StreamStage"]


class StreamStage(wiring.Component):
    """Register stage of a stream: latency 1 cycle, one item a cycle; `o` is stable until accepted.

    Parameters
    ----------
    shape : ShapeLike
        Payload.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
        `i.ready` follows `o.ready` combinationally. Registers of the payload have no reset.
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        """One register, loaded when it is empty or its item is accepted."""
        m = Module()
        payload = Signal(self._shape, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            self.o.payload.eq(payload),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += payload.eq(self.i.payload)
        return m


class StreamBuffer(wiring.Component):
    """Buffer of two items, for where a stream enters a block: latency 1 cycle, one item a cycle.

    `i.ready` and `o.valid` are registers: no combinational path between the sides. Registers of the
    payload have no reset.

    Parameters
    ----------
    shape : ShapeLike
        Payload.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
        `o` is stable until accepted.
    empty : Out(1)
        It holds no item.
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """The item that is offered, and a second one for when that is not accepted."""
        m = Module()
        first = Signal(self._shape, reset_less=True)
        second = Signal(self._shape, reset_less=True)
        valid, waiting, moves = Signal(), Signal(), Signal()
        ready = Signal(init=1)
        """`~waiting`, a register of its own: that one drives every bit of the payload."""
        m.d.comb += [
            moves.eq(~valid | self.o.ready),
            self.i.ready.eq(ready),
            self.o.valid.eq(valid),
            self.o.payload.eq(first),
            self.empty.eq(~valid),
        ]
        with m.If(moves):
            m.d.sync += [valid.eq(waiting | self.i.valid), waiting.eq(0), ready.eq(1)]
            with m.If(waiting):
                m.d.sync += first.eq(second)
            with m.Else():
                m.d.sync += first.eq(self.i.payload)
        with m.Elif(self.i.valid):
            m.d.sync += [waiting.eq(1), ready.eq(0)]
        with m.If(~waiting):
            m.d.sync += second.eq(self.i.payload)
        return m


class StreamQueue(wiring.Component):
    """Queue of a stream in distributed RAM: latency 1 cycle, one item a cycle.

    Parameters
    ----------
    shape : ShapeLike
        Payload.
    depth : int
        Items that it holds.

    Members
    -------
    i : In(stream of shape), o : Out(stream of shape)
        No combinational path between them.
    empty : Out(1)
        It holds no item.
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int):
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        """A `SyncFIFO` behind stream ports."""
        m = Module()
        width = Shape.cast(self.i.signature.members["payload"].shape).width
        m.submodules.fifo = fifo = SyncFIFO(width=width, depth=self._depth)
        payload = Signal(width)
        m.d.comb += [
            payload.eq(self.i.payload),
            fifo.w_data.eq(payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
            self.empty.eq(~fifo.r_rdy),
        ]
        return m
