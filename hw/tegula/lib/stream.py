"""Streams: a register stage, buffers that cut both directions, and a queue."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["PingPongBuffer", "StreamBuffer", "StreamQueue", "StreamStage"]


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


class PingPongBuffer(wiring.Component):
    """Buffer of two items, for wide ones whose acceptance is known late: latency 1 cycle.

    As `StreamBuffer`, but that no more than four registers of `o.ready` depend: each item has a
    register of its own, which is loaded while it is free, whether an item comes or not. The price
    is a multiplexer behind the registers of the payload, in place of that before them.

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
        """Two registers, filled and emptied in turn."""
        m = Module()
        held = [Signal(self._shape, name=f"held_{n}", reset_less=True) for n in range(2)]
        full, enters, leaves = Signal(2), Signal(), Signal()
        fills, empties = Signal(), Signal()
        """Which of them is the next to be filled, and to be emptied."""
        valid, ready = Signal(), Signal(init=1)
        payload = Signal(self._shape)
        with m.If(empties):
            m.d.comb += payload.eq(held[1])
        with m.Else():
            m.d.comb += payload.eq(held[0])
        m.d.comb += [
            enters.eq(self.i.valid & ready),
            leaves.eq(valid & self.o.ready),
            self.i.ready.eq(ready),
            self.o.valid.eq(valid),
            self.o.payload.eq(payload),
            self.empty.eq(~valid),
        ]
        m.d.sync += [
            fills.eq(fills ^ enters),
            empties.eq(empties ^ leaves),
            valid.eq(enters | full.all() | (valid & ~self.o.ready)),
            ready.eq(leaves | ~(valid & (enters | ~ready))),
        ]
        for n, register in enumerate(held):
            m.d.sync += full[n].eq((full[n] & ~(leaves & (empties == n))) | (enters & (fills == n)))
            with m.If(~full[n]):
                m.d.sync += register.eq(self.i.payload)
        return m


class StreamQueue(wiring.Component):
    """Queue of a stream in distributed RAM: latency 1 cycle, one item a cycle.

    `i.ready` and `o.valid` are registers, which those of `amaranth.lib.fifo.SyncFIFO` are not: they
    are comparisons of its level, at the beginning of every path that asks for an item.

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
    level : Out(range(depth + 1))
        Items that it holds.
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int):
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "empty": Out(1),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        """A memory, where its first and its next item are, and how many it holds."""
        m = Module()
        width = Shape.cast(self.i.signature.members["payload"].shape).width
        m.submodules.storage = storage = Memory(shape=width, depth=self._depth, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        valid, ready = Signal(), Signal(init=1)
        enters, leaves = Signal(), Signal()
        level = Signal(range(self._depth + 1))
        m.d.comb += [
            enters.eq(self.i.valid & ready),
            leaves.eq(valid & self.o.ready),
            # Whether it enters or not: the word is free, and this is known early.
            write.en.eq(ready),
            write.data.eq(self.i.payload),
            self.i.ready.eq(ready),
            self.o.payload.eq(read.data),
            self.o.valid.eq(valid),
            self.empty.eq(~valid),
            self.level.eq(level),
        ]
        m.d.sync += [
            level.eq(level + enters - leaves),
            valid.eq(enters | (level > 1) | (valid & ~self.o.ready)),
            ready.eq(leaves | (ready & ~(self.i.valid & (level == self._depth - 1)))),
        ]
        for moves, addr in ((enters, write.addr), (leaves, read.addr)):
            with m.If(moves):
                m.d.sync += addr.eq(Mux(addr == self._depth - 1, 0, addr + 1))
        return m
