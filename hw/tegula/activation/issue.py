"""Columns of the activation engine on their way into the lanes: reception and issue."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.activation.layouts import Kind, beats, exit_layout, item_layout, order_layout
from tegula.activation.work import APPLY
from tegula.arith.codes import is_narrow
from tegula.config import TileConfig
from tegula.formats import FP32
from tegula.lib.delay import delay, registered
from tegula.memory.halves import kept_bytes
from tegula.memory.ports import BANK_READ_CYCLES

__all__ = ["ROW_CYCLES", "ColumnIssue"]

ROW_CYCLES = 1 + BANK_READ_CYCLES
"""Cycles from the acceptance of a row's request to the row, at least."""


class ColumnIssue(wiring.Component):
    """Words of two columns, filled as their rows come, and issued beat by beat.

    Beats whose results are summed up enter the lanes in every second cycle. Then no result meets a
    later bias in the adder (`LaneCycles.SUM`). A column that has begun goes on to its end, so that
    the next but one is requested before that: its rows come no earlier than `ROW_CYCLES` later.
    Latency: 2 cycles from a column's last row to its first beat.

    Reset drops everything, and takes no row that comes after that for a column's.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    ordered : In(1), order : In(order_layout)
        A column is requested, only if `free`: its first row in this cycle, or none.
    free : Out(1)
        There are words for another column. A register.
    row_data : In(ArrayLayout(16, n)), row_valid : In(1)
        Rows, in the order of requests. Those that are no column's are ignored.
    fields : In(APPLY)
        Instruction of the columns that are `pending`.
    pending : Out(1), remains : Out(1)
        A column is ordered that has not begun; and that does not begin in this cycle.
    room : In(1)
        A column may begin.
    blocked : Out(1)
        A column could begin, but for `room`.
    enters : Out(1), exit : Out(exit_layout)
        A column begins whose results are written, to there.
    item : Out(item_layout), words : Out(ArrayLayout(32, activation_lanes))
        The beat for the lanes, and its words. Registers.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "ordered": In(1),
                "order": In(order_layout(config)),
                "free": Out(1, init=1),
                "row_data": In(data.ArrayLayout(16, config.n)),
                "row_valid": In(1),
                "fields": In(APPLY),
                "pending": Out(1),
                "remains": Out(1),
                "room": In(1),
                "blocked": Out(1),
                "enters": Out(1),
                "exit": Out(exit_layout(config)),
                "item": Out(item_layout(config)),
                "words": Out(data.ArrayLayout(32, config.activation_lanes)),
            }
        )

    def elaborate(self, platform):
        """Two slots, each ordered, filled, begun, and released in turn."""
        m = Module()
        order = order_layout(self._config)
        self._orders = [Signal(order, name=f"order_{s}", reset_less=True) for s in range(2)]
        # Per slot: it must not be ordered; its column has not begun; its rows have not all come.
        self._taken, self._waiting, self._awaited = Signal(2), Signal(2), Signal(2)
        # Per slot: its results are written, or summed up.
        self._element = Signal(2, reset_less=True)
        ordering, issuing, releases = Signal(), Signal(), Signal()
        self._first_issues = Signal(init=1)
        self._accept(m, ordering, releases)
        words = self._receive(m, ordering)
        self._issue(m, issuing, releases, words)
        return m

    def _accept(self, m: Module, ordering: Signal, releases: Value) -> None:
        """Orders, into the two slots in turn; `ordering` is the next.

        A slot that is not taken is loaded whether a column is ordered or not.
        """
        released, taken = Signal(2), Signal(2, name="still_taken")
        m.d.comb += [
            released.eq(Cat(releases & self._first_issues, releases & ~self._first_issues)),
            taken.eq(self._taken & ~released),
            self.pending.eq(self._waiting.any()),
        ]
        m.d.sync += self.free.eq(~taken.bit_select(ordering ^ self.ordered, 1))
        with m.If(self.ordered):
            m.d.sync += ordering.eq(~ordering)
        for slot, order in enumerate(self._orders):
            with m.If(~self._taken[slot]):
                m.d.sync += [
                    order.eq(self.order),
                    self._element[slot].eq(self.order.kind == Kind.ELEMENT),
                ]
            with m.If(released[slot]):
                m.d.sync += self._taken[slot].eq(0)
            with m.If(self.ordered & (ordering == slot)):
                m.d.sync += [
                    self._taken[slot].eq(1),
                    self._waiting[slot].eq(1),
                    self._awaited[slot].eq(~self.order.constant),
                ]

    def _receive(self, m: Module, ordering: Value) -> list[Signal]:
        """Words of the slots, the low row in the low halves; rows are the oldest column's."""
        low_here = Signal()
        slots = []
        for slot, order in enumerate(self._orders):
            # If rows are awaited for both, the next to be ordered is the older.
            comes = Signal(name=f"comes_{slot}")
            words = Signal(
                data.ArrayLayout(32, self._config.n), name=f"words_{slot}", reset_less=True
            )
            m.d.comb += comes.eq(
                self.row_valid
                & self._awaited[slot]
                & (~self._awaited[1 - slot] | (ordering == slot))
            )
            with m.If(comes):
                m.d.sync += low_here.eq(order.double & ~low_here)
            with m.If(comes & (low_here | ~order.double)):
                m.d.sync += self._awaited[slot].eq(0)
            for high in (0, 1):
                with m.If(comes & (low_here == high)):
                    m.d.sync += [
                        words[p][16 * high :][:16].eq(self.row_data[p])
                        for p in range(self._config.n)
                    ]
            slots.append(words)
        return slots

    def _issue(self, m: Module, issuing: Signal, releases: Signal, words: list[Signal]) -> None:
        """Beats of slot `issuing`, whose order is needed for the first only; its release.

        `under_way` is 1 if a column has begun and not ended, `between` its complement, in a
        register of its own, for it enables many; `beat` itself selects words. So does `issuing`,
        whose complement is `_first_issues`.
        """
        turn = ~self._first_issues
        count, lanes = beats(self._config), self._config.activation_lanes
        beat, odd = Signal(range(count)), Signal()
        under_way, between = Signal(), Signal(init=1)
        ready, begins, goes, ends = (
            Signal(name=name) for name in ("ready", "begins", "goes", "ends")
        )
        order, column = Signal(order_layout(self._config)), self.item.column
        element, sums = Signal(), Signal()
        m.d.sync += odd.eq(~odd)
        m.d.comb += [
            order.eq(Mux(issuing, *reversed(self._orders))),
            ready.eq((self._waiting & ~self._awaited).bit_select(turn, 1) & ~under_way),
            self.blocked.eq(ready & ~self.room),
            element.eq(self._element.bit_select(turn, 1)),
            sums.eq(self.fields.sum & element),
            begins.eq(ready & self.room & ~(sums & odd)),
            goes.eq(begins | (under_way & ~(column.travel.sums & odd))),
            ends.eq(goes & (beat == count - 1)),
            self.remains.eq(self._waiting.all() | (self.pending & ~begins)),
        ]
        # The column that takes the words next writes them once those of this one have gone.
        early, late = (max(0, count - 1 - (ROW_CYCLES + 1) // step) for step in (1, 2))
        in_sum = Mux(under_way, column.travel.sums, sums)
        m.d.comb += releases.eq(goes & (beat == Mux(in_sum, late, early)))
        with m.If(goes):
            m.d.sync += [
                beat.eq(beat + 1),
                under_way.eq(beat != count - 1),
                between.eq(beat == count - 1),
            ]
        with m.If(ends):
            m.d.sync += [issuing.eq(self._first_issues), self._first_issues.eq(issuing)]
        for slot in range(2):
            with m.If(begins & (turn == slot)):
                m.d.sync += self._waiting[slot].eq(0)
        m.d.comb += self.enters.eq(begins & element)
        self._describe(m, between, order, sums)
        m.d.comb += [
            self.item.valid.eq(delay(m, goes, 1, "valid")),
            self.item.beat.eq(registered(m, beat, name="beat_now")),
        ]
        for lane in range(lanes):
            choice = [slot[p] for slot in words for p in range(lane, self._config.n, lanes)]
            word = _choose(m, choice, Cat(beat, issuing), name=f"choice_{lane}")
            m.d.comb += self.words[lane].eq(registered(m, word, name=f"word_{lane}"))

    def _describe(self, m: Module, between: Value, order: data.View, sums: Value) -> None:
        """Controls of the column that begins, and the destination of its results.

        They are registered while none is under way, whether one begins or not.
        """
        fields = self.fields
        column = Signal(self.item.column.shape(), name="column", reset_less=True)
        function, travel = column.function, column.travel
        m.d.comb += [
            self.item.column.eq(column),
            self.exit.wide.eq(fields.format == FP32.code),
            self.exit.addr.eq(order.addr),
            self.exit.rows.eq(fields.rows),
            self.exit.last.eq(order.last),
        ]
        if self._config.packed_fp8:
            narrow = is_narrow(fields.format, self._config)
            m.d.comb += self.exit.keep.eq(kept_bytes(fields.half) & narrow.replicate(2))
            x_high = fields.x_high & is_narrow(fields.x_format, self._config)
            with m.If(between):
                m.d.sync += column.x_high.eq(x_high & (order.kind == Kind.ELEMENT))
        with m.If(between):
            m.d.sync += [
                column.constant.eq(order.constant),
                column.value.eq(Mux(order.kind == Kind.SCALE, fields.scale, fields.bias)),
                column.x_format.eq(Mux(order.kind == Kind.ELEMENT, fields.x_format, FP32.code)),
                function.descriptor.eq(fields.function),
                *(
                    function[name].eq(fields[name])
                    for name in ("low", "exp", "parity", "odd", "log")
                ),
                travel.kind.eq(order.kind),
                travel.sums.eq(sums),
                travel.fresh.eq(order.fresh),
                travel.partial.eq(order.partial),
                travel.format.eq(fields.format),
                travel.saturate.eq(fields.saturate),
            ]


def _choose(m: Module, words: list[Value], index: Value, *, name: str) -> Value:
    """``words[index]``, half a LUT4 a word: each takes two words, or passes a bit on.

    The bit that comes to the LUT4 of the two words that are chosen says which; it is the result
    of those before, which give the low bit of `index` where they hold no word that is chosen.
    Each result is a signal: it is used thrice, and an expression is elaborated for each use.
    """
    low, pair = index[0].replicate(len(words[0])), index[1:]
    result: Value = Mux(pair == 0, Mux(index[0], words[1], words[0]), low)
    for number in range(1, len(words) // 2):
        zero, one = words[2 * number : 2 * number + 2]
        before = Signal(len(zero), name=f"{name}_{number}")
        is_here = Signal(name=f"{name}_is_{number}")
        m.d.comb += [before.eq(result), is_here.eq(pair == number)]
        result = Mux(is_here, (before & one) | (~before & zero), before)
    return result
