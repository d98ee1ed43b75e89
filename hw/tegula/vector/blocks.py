"""Blocks of elements that share a scale: their way from the ring to the cast."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.mx import MxCompress, MxExpand, compressed_layout
from tegula.config import TileConfig
from tegula.formats import MX_BLOCK, RAW16
from tegula.lib.delay import delay, registered
from tegula.memory.bank import NO_RW_CHECK
from tegula.memory.halves import kept_fields
from tegula.vector.layouts import (
    BLOCK_SCALES,
    block_controls_layout,
    block_work_layout,
    exit_layout,
)

__all__ = ["BlockQueue", "numbers_layout"]

_WRITE_CYCLES = 1 + MxCompress.LATENCY
"""Cycles from a result to its word in the queue."""

_SCALE_CYCLES = 3
"""Cycles from a result to the scale of its block as far as it goes: register, maximum, scale."""


def numbers_layout(config: TileConfig) -> data.ArrayLayout:
    """Compressed numbers of all lanes."""
    return data.ArrayLayout(compressed_layout(), config.vector_lanes)


class BlockQueue(wiring.Component):
    """Queue of elements until the scale of their block is known; then it and they leave, in order.

    A result's number is compressed in its lane, and written into a memory of all lanes; its
    destination into another. When all of a block is there it leaves: an item of the scale for each
    partition that shares the lane, then those of the elements, one a cycle, or one in so many
    cycles as a line takes. The items are those that would go to the cast otherwise.

    The sequencer leaves so many cycles free behind a block as its scale takes. So a block has left
    when the next is whole, but for some cycles: the memories hold two.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    work : In(block_work_layout)
    arrives : In(1), item : In(exit_layout)
        A result of the ring in this cycle; those of an instruction end with `last`.
    stored : In(numbers_layout), fetched : Out(numbers_layout)
        Compressed numbers from the lanes, `1 + MxCompress.LATENCY` cycles after their result, and
        back to them.
    stop : In(1)
        Drop everything.
    controls : Out(block_controls_layout)
        To the lanes.
    leaves : Out(1), left : Out(exit_layout)
        An item is at the cast in this cycle.
    pending : Out(1)
        A block that has ended has not left yet, or something is on its way in.
    """

    WHOLE_CYCLES = _WRITE_CYCLES + 2
    """Cycles from the last result of a block to the departure of its scale, if nothing else leaves:
    its way into the memory, and a read of that."""

    SCALED_CYCLES = 1 + MxExpand.LATENCY
    """Cycles from the departure of an item to the cast."""

    def __init__(self, config: TileConfig):
        self._config = config
        self._depth = 2 * MX_BLOCK * config.vector_folding
        super().__init__(
            {
                "work": In(block_work_layout(config)),
                "arrives": In(1),
                "item": In(exit_layout(config)),
                "stored": In(numbers_layout(config)),
                "fetched": Out(numbers_layout(config)),
                "stop": In(1),
                "controls": Out(block_controls_layout(config)),
                "leaves": Out(1),
                "left": Out(exit_layout(config)),
                "pending": Out(1),
            }
        )

    def elaborate(self, platform):
        """Arrival, memories, departure."""
        m = Module()
        ends, arriving = self._arrive(m)
        pops, head, head_ends = self._store(m, ends, arriving[-1])
        ended = Signal()
        written_end = delay(m, ends, _WRITE_CYCLES, "ends")
        m.d.sync += ended.eq(written_end & arriving[-1] & ~self.stop)
        departing = self._depart(m, pops, head, head_ends, ended)
        m.d.comb += self.pending.eq(Cat(arriving, ended, departing).any())
        return m

    def _arrive(self, m: Module) -> tuple[Signal, list[Signal]]:
        """Controls of a result's way in; whether it is the last of its block, and what comes."""
        parts = self._config.vector_folding
        controls = self.controls
        count = Signal(range(MX_BLOCK * parts))
        number = Signal(range(BLOCK_SCALES))
        ends = Signal()
        m.d.comb += ends.eq(self.arrives & (self.item.last | (count == MX_BLOCK * parts - 1)))
        with m.If(self.arrives):
            m.d.sync += count.eq(count + 1)
        with m.If(ends):
            m.d.sync += [count.eq(0), number.eq(number + 1)]
        with m.If(self.stop):
            m.d.sync += [count.eq(0), number.eq(0)]
        arriving = []
        for cycle in range(_WRITE_CYCLES):
            came = Signal(name=f"came_{cycle}")
            m.d.sync += came.eq((arriving[-1] if arriving else self.arrives) & ~self.stop)
            arriving.append(came)
        at = registered(m, Cat(number, self.item.part), name="scale_at_1")
        for cycle in range(2, _SCALE_CYCLES + 1):
            at = registered(m, at, name=f"scale_at_{cycle}")
        m.d.comb += [
            controls.takes.eq(arriving[0]),
            controls.first.eq(registered(m, count < parts, name="first")),
            controls.scale_write.eq(arriving[_SCALE_CYCLES - 1]),
            controls.scale_write_addr.eq(at),
        ]
        return ends, arriving

    def _store(self, m: Module, ends: Value, written: Value) -> tuple:
        """The memories: their first item, and whether that is the last of its block.

        A destination is written when its result comes, the numbers behind their way through the
        lanes: so that none of it waits in registers.
        """
        exits = data.StructLayout({"exit": exit_layout(self._config), "ends": 1})
        pops, first, following = Signal(), Signal(range(self._depth)), Signal(range(self._depth))
        heads = []
        for name, shape, comes, content in (
            ("exits", exits, self.arrives, Cat(self.item, ends)),
            ("numbers", self.stored.shape(), written, self.stored),
        ):
            words = memory.Memory(shape=shape, depth=self._depth, init=[], attrs=NO_RW_CHECK)
            m.submodules[name] = words
            write, read = words.write_port(), words.read_port()
            last = Signal(range(self._depth), name=f"last_of_{name}")
            m.d.comb += [
                read.addr.eq(following),
                read.en.eq(1),
                write.addr.eq(last),
                write.en.eq(comes),
                write.data.eq(content),
            ]
            with m.If(comes):
                m.d.sync += last.eq(last + 1)
            with m.If(self.stop):
                m.d.sync += last.eq(0)
            heads.append(read.data)
        m.d.comb += [following.eq(first + pops), self.fetched.eq(heads[1])]
        m.d.sync += first.eq(following)
        with m.If(self.stop):
            m.d.sync += first.eq(0)
        return pops, heads[0].exit, heads[0].ends

    def _depart(
        self, m: Module, pops: Signal, head: data.View, head_ends: Value, ended: Value
    ) -> list[Signal]:
        """Scale and elements of whole blocks, in order; what is on its way."""
        config, parts = self._config, self._config.vector_folding
        whole, number, part = (
            Signal(range(BLOCK_SCALES)),
            Signal(range(BLOCK_SCALES)),
            Signal(range(parts)),
        )
        of_elements, ready, sends_scale, block_leaves = (
            Signal(name=name) for name in ("of_elements", "ready", "sends_scale", "block_leaves")
        )
        gap = Signal(max(1, config.line_beats - 1))
        scale_at = Signal(range(config.sbuf_depth))
        m.d.comb += [
            ready.eq((whole != 0) & ~gap[0] & ~self.stop),
            sends_scale.eq(ready & ~of_elements),
            pops.eq(ready & of_elements),
            block_leaves.eq(pops & head_ends),
        ]
        m.d.sync += [whole.eq(whole + ended - block_leaves), gap.eq(gap >> 1)]
        with m.If(sends_scale):
            m.d.sync += [part.eq(part + 1), of_elements.eq(part == parts - 1)]
        if config.line_beats > 1:
            with m.If(pops & head.line):
                m.d.sync += gap.eq(-1)
        with m.If(block_leaves):
            m.d.sync += [
                of_elements.eq(0),
                number.eq(number + 1),
                scale_at.eq(scale_at + self.work.scale_step.as_signed()),
            ]
        with m.If(self.work.begins):
            m.d.sync += scale_at.eq(self.work.scale_addr)
        with m.If(self.stop):
            m.d.sync += [
                whole.eq(0),
                number.eq(0),
                part.eq(0),
                of_elements.eq(0),
                gap.eq(0),
            ]
        leaving = Signal(exit_layout(config))
        m.d.comb += leaving.eq(head)
        with m.If(sends_scale):
            m.d.comb += [
                leaving.format.eq(RAW16),
                leaving.addr.eq(scale_at),
                leaving.line.eq(0),
                leaving.part.eq(part),
                leaving.last.eq(0),
                *(leaving[name].eq(0) for name in kept_fields(config)),
            ]
        on_its_way = self._fetch(m, sends_scale | pops, sends_scale, leaving, number)
        return [whole.any(), *on_its_way]

    def _fetch(
        self, m: Module, sends: Value, sends_scale: Value, leaving: data.View, number: Value
    ) -> list[Signal]:
        """Controls of an item's way through `MxExpand`, and the item behind it."""
        controls = self.controls
        m.d.comb += [
            controls.scale_read_addr.eq(registered(m, Cat(number, leaving.part), name="read_at")),
            controls.is_scale.eq(registered(m, sends_scale, name="is_scale")),
            controls.on.eq(self.work.on),
            controls.kind.eq(self.work.kind),
        ]
        departing = []
        for cycle in range(self.SCALED_CYCLES):
            sent = Signal(name=f"sent_{cycle}")
            m.d.sync += sent.eq((departing[-1] if departing else sends) & ~self.stop)
            departing.append(sent)
            leaving = registered(m, leaving, name=f"leaving_{cycle}")
        m.d.comb += [
            self.leaves.eq(departing[-1]),
            self.left.eq(leaving),
            self.left.saturate.eq(1),
            self.left.stochastic.eq(0),
        ]
        return departing
