"""The systolic array: groups x N processing elements, skewed at its edges."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.config import TileConfig
from tegula.lib.delay import delay, delayed, registered
from tegula.tensor.column import EXIT_CYCLES, SECOND_CYCLE, ColumnEntry, ColumnExit
from tegula.tensor.operand import operand_layout
from tegula.tensor.packed import (
    SUM_CYCLES,
    SecondDecode,
    SecondElement,
    second_code_layout,
    second_layout,
)
from tegula.tensor.pe import (
    EXPONENT_CYCLE,
    LANES,
    LEAST_CYCLE,
    OUTPUT_CYCLES,
    SIGNIFICAND_CYCLE,
    TAIL_CYCLES,
    ProcessingElement,
    head_layout,
    tail_layout,
)
from tegula.tensor.scales import ScaleElement, scale_layout

__all__ = ["WORD_IN_CYCLES", "SystolicArray", "result_cycles"]

WORD_IN_CYCLES = EXPONENT_CYCLE - 1
"""Cycles from `moving` to the last column's `words_in`; that of the column before one later."""


def result_cycles(config: TileConfig) -> int:
    """Cycles from `moving` to the last column's `words_out`; of the column before one later."""
    return SIGNIFICAND_CYCLE + OUTPUT_CYCLES * config.groups + EXIT_CYCLES


def _second_cycle(config: TileConfig, group: int) -> int:
    """Cycles from `moving` to its second codes at their elements of the last column.

    The last group's sum is at the exit when it is used there; a group is a cycle behind the one
    above.
    """
    exits = EXPONENT_CYCLE + OUTPUT_CYCLES * config.groups + SECOND_CYCLE
    return exits - SUM_CYCLES - (config.groups - 1 - group)


class SystolicArray(wiring.Component):
    """Product of the stationary operand and one moving column a cycle.

    ``words_out[c] = write_step(words_in[c] + sum_k stationary[k, c] * moving[k])``: the stored
    partial sum enters at the top of its column and is the only thing that the products are added
    to, so that splitting K over passes changes no bit. A moving column enters at the last column
    of the array. Each group of four rows follows the one above by `OUTPUT_CYCLES`, each column the
    one behind it by a cycle; both skews are inside for `moving`, and outside (in PSUM's addresses,
    which are narrower) for the words. There is no flow control: results follow after
    `result_cycles`.

    The chain of stationary operands runs the same way, from the last column to the first, and with
    the same skew of groups. The tag that swaps operands is in column N - 1 - i after i cycles, and
    the chain's operands get there with the i-th shift after the first at the earliest: so the next
    operand may enter from the cycle of the swap on, if a column does not shift before an operand
    can have come to it.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    moving : In(ArrayLayout(operand_layout, n))
        A moving column; rows that take no part are zero.
    swap : In(1)
        With `moving`: from this column on, use the operand in the chain.
    stationary : In(ArrayLayout(operand_layout, n)), shift : In(1), first : In(1)
        The next column of the stationary operand, the first one marked: N shifts fill the chain.
        The first comes no earlier than the swap that takes the operand before; the swap that takes
        this operand after the last.
    moving_second, stationary_second : In(ArrayLayout(second_code_layout(config), n))
        Second codes, with the first ones; only with `packed_fp8`, as:
    anchor : In(9)
        With `moving`: the least anchor of its column's sums, 0 where they need none.
    moving_scale, stationary_scale : In(scale_layout)
        Scales of the columns, with them; only with `mx`.
    words_in : In(ArrayLayout(psum_width, n)), accumulate : In(n)
        Word c in cycle `WORD_IN_CYCLES` + N - 1 - c after its `moving`; ignored where
        `accumulate[c]` is 0.
    words_out : Out(ArrayLayout(psum_width, n))
        Word c in cycle `result_cycles` + N - 1 - c after its `moving`.
    """

    def __init__(self, config: TileConfig):
        self.config = config
        operands = data.ArrayLayout(operand_layout, config.n)
        words = data.ArrayLayout(config.psum_width, config.n)
        seconds = {}
        if config.packed_fp8:
            codes = data.ArrayLayout(second_code_layout(config), config.n)
            seconds = {"moving_second": In(codes), "stationary_second": In(codes), "anchor": In(9)}
        scales = {"moving_scale": In(scale_layout), "stationary_scale": In(scale_layout)}
        super().__init__(
            {
                "moving": In(operands),
                "swap": In(1),
                "stationary": In(operands),
                "shift": In(1),
                "first": In(1),
                **seconds,
                **(scales if config.mx else {}),
                "words_in": In(words),
                "accumulate": In(config.n),
                "words_out": Out(words),
            }
        )

    def elaborate(self, platform):
        """Columns of PEs between an entry and an exit; rows behind their skew."""
        m = Module()
        n, groups, packed = self.config.n, self.config.groups, self.config.packed_fp8
        pes = [
            [ProcessingElement(self.config, raises=packed and group == 0) for _ in range(n)]
            for group in range(groups)
        ]
        shifts = self._choose_shifts(m)
        for group, row in enumerate(pes):
            for column, pe in enumerate(row):
                m.submodules[f"pe_{group}_{column}"] = pe
            self._feed_row(m, group, row, shifts)
        exits = [ColumnExit(self.config) for _ in range(n)]
        if packed:
            self._raise_anchors(m, pes[0], exits)
            self._add_seconds(m, shifts, exits)
        entries = [ColumnEntry(self.config) for _ in range(n)]
        if self.config.mx:
            self._scale_sums(m, shifts, entries, exits)
        for column, entry in enumerate(entries):
            m.submodules[f"entry_{column}"] = entry
            m.submodules[f"exit_{column}"] = column_exit = exits[column]
            m.d.comb += [
                entry.word.eq(self.words_in[column]),
                entry.accumulate.eq(self.accumulate[column]),
            ]
            above = (entry.exponent, entry.flags, entry.significand)
            for group in range(groups):
                pe = pes[group][column]
                m.d.comb += [
                    pe.exponent_in.eq(above[0]),
                    pe.flags_in.eq(above[1]),
                    pe.significand_in.eq(above[2]),
                ]
                above = (pe.exponent_out, pe.flags_out, pe.significand_out)
            m.d.comb += [
                column_exit.exponent.eq(above[0]),
                column_exit.flags.eq(above[1]),
                column_exit.significand.eq(above[2]),
                self.words_out[column].eq(column_exit.word),
            ]
        return m

    def _raise_anchors(self, m, pes, exits):
        """The least anchor, at the first PE of each column and at its exit."""
        exponent_out = EXPONENT_CYCLE + OUTPUT_CYCLES * self.config.groups
        least = delayed(m, self.anchor, LEAST_CYCLE, name="least")
        at_exit = delayed(
            m, least, exponent_out + SECOND_CYCLE - 1 - LEAST_CYCLE, name="exit_anchor"
        )
        for column in reversed(range(self.config.n)):
            m.d.comb += [pes[column].least_in.eq(least), exits[column].anchor.eq(at_exit)]
            least = registered(m, least, name=f"least_{column}")
            at_exit = registered(m, at_exit, name=f"exit_anchor_{column}")

    def _scale_sums(self, m, shifts, entries, exits):
        """Scales: a row of elements, into each entry and, as late as its sum, out of its exit."""
        moving, swap, chain = self.moving_scale, self.swap, self.stationary_scale
        for index, column in enumerate(reversed(range(self.config.n))):
            m.submodules[f"scale_{column}"] = element = ScaleElement()
            late = delayed(
                m,
                entries[column].entered_scale,
                OUTPUT_CYCLES * self.config.groups,
                name=f"scale_{column}",
            )
            m.d.comb += [
                element.moving_in.eq(moving),
                element.swap.eq(swap),
                element.shift.eq(shifts[index]),
                element.stationary_in.eq(chain),
                entries[column].scale.eq(element.sum),
                entries[column].nan_scale.eq(element.nan),
                exits[column].scale.eq(late.as_signed()),
            ]
            moving, chain = element.moving_out, element.stationary_out
            swap = delay(m, swap, 1, f"swap_scale_{column}")

    def _add_seconds(self, m, shifts, exits):
        """Rows of elements behind their skew, and the chain of sums down each column."""
        above = [(0, 0)] * self.config.n
        for group in range(self.config.groups):
            row = [SecondElement(self.config) for _ in range(self.config.n)]
            for column, element in enumerate(row):
                m.submodules[f"second_{group}_{column}"] = element
                m.d.comb += [
                    element.sum_in.eq(above[column][0]),
                    element.flags_in.eq(above[column][1]),
                ]
            self._feed_seconds(m, group, row, shifts)
            above = [(element.sum_out, element.flags_out) for element in row]
        for column_exit, (total, flags) in zip(exits, above, strict=True):
            m.d.comb += [column_exit.second.eq(total), column_exit.second_flags.eq(flags)]

    def _feed_seconds(self, m, group, row, shifts):
        """Inputs of a row of elements: codes behind their skew, decoded."""
        skew = _second_cycle(self.config, group)
        operands = {}
        for side in ("moving", "stationary"):
            codes = getattr(self, f"{side}_second")[LANES * group : LANES * (group + 1)]
            late = delayed(m, codes, skew - 1, name=f"{side}_codes_{group}")
            decoded = Signal(
                data.ArrayLayout(second_layout, LANES),
                name=f"{side}_second_{group}",
                reset_less=True,
            )
            for lane in range(LANES):
                decode = SecondDecode(self.config)
                m.submodules[f"{side}_second_decode_{group}_{lane}"] = decode
                bits = len(decode.second.as_value())
                m.d.comb += decode.second.as_value().eq(late[bits * lane : bits * (lane + 1)])
                m.d.sync += decoded[lane].eq(decode.operand)
            operands[side] = decoded
        feed = (operands["moving"], delay(m, self.swap, skew, f"swap_second_{group}"))
        shift_seconds = delay(m, shifts, skew, f"shift_seconds_{group}")
        chain = operands["stationary"]
        for index, element in enumerate(reversed(row)):
            m.d.comb += [
                element.moving_in.eq(feed[0]),
                element.swap_in.eq(feed[1]),
                element.shift.eq(shift_seconds[index]),
                element.stationary_in.eq(chain),
            ]
            feed, chain = (element.moving_out, element.swap_out), element.stationary_out

    def _choose_shifts(self, m):
        """Columns that shift, counted from the end where operands enter: one more with each."""
        reached, shifts = Signal(self.config.n), Signal(self.config.n)
        m.d.comb += shifts.eq(
            Cat(1, reached & ~self.first.replicate(self.config.n))
            & self.shift.replicate(self.config.n)
        )
        with m.If(self.shift):
            m.d.sync += reached.eq(shifts)
        return shifts

    def _feed_row(self, m, group, row, shifts):
        """Inputs of a row of PEs, its four lanes with their skew, and the chain of its columns."""
        lanes = range(LANES * group, LANES * (group + 1))
        head = Signal(data.ArrayLayout(head_layout, LANES), name=f"head_{group}")
        tail = Signal(data.ArrayLayout(tail_layout, LANES), name=f"tail_{group}")
        stationary_head = Signal.like(head, name=f"stationary_head_{group}")
        stationary_tail = Signal.like(tail, name=f"stationary_tail_{group}")
        for lane, k in enumerate(lanes):
            m.d.comb += _split(self.moving[k], head[lane], tail[lane])
            m.d.comb += _split(self.stationary[k], stationary_head[lane], stationary_tail[lane])
        skew = OUTPUT_CYCLES * group
        late_skew = skew + TAIL_CYCLES
        swap_head = delay(m, self.swap, skew, f"swap_head_{group}")
        swap_tail = delay(m, self.swap, late_skew, f"swap_tail_{group}")
        shift_heads = delay(m, shifts, skew, f"shift_heads_{group}")
        shift_tails = delay(m, shifts, late_skew, f"shift_tails_{group}")
        feed = (
            delayed(m, head, skew, name=f"early_{group}"),
            swap_head,
            delayed(m, tail, late_skew, name=f"late_{group}"),
            swap_tail,
        )
        chain = (
            delayed(m, stationary_head, skew, name=f"early_stationary_{group}"),
            delayed(m, stationary_tail, late_skew, name=f"late_stationary_{group}"),
        )
        for index, pe in enumerate(reversed(row)):
            m.d.comb += [
                pe.head_in.eq(feed[0]),
                pe.swap_head_in.eq(feed[1]),
                pe.tail_in.eq(feed[2]),
                pe.swap_tail_in.eq(feed[3]),
                pe.shift_head.eq(shift_heads[index]),
                pe.shift_tail.eq(shift_tails[index]),
                pe.stationary_head_in.eq(chain[0]),
                pe.stationary_tail_in.eq(chain[1]),
            ]
            feed = (pe.head_out, pe.swap_head_out, pe.tail_out, pe.swap_tail_out)
            chain = (pe.stationary_head_out, pe.stationary_tail_out)


def _split(operand, head, tail):
    return [
        head.exp.eq(operand.exp),
        head.live.eq(~(operand.zero | operand.special)),
        tail.sig.eq(operand.sig),
        tail.special.eq(operand.special),
        tail.zero.eq(operand.zero),
    ]
