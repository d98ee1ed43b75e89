"""The end of a reduction: eight partial results become one."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PARTIALS", "SLOTS", "Combiner", "is_identity", "slot_of"]

PARTIALS = 8
"""Partial results of a reduction."""

SLOTS = 16
"""Words of memory for each reduction: eight partial results, and behind them what the tree makes of
them."""

_TREE = (
    ((0, 4, 8), (2, 6, 9), (1, 5, 10), (3, 7, 11)),
    ((8, 9, 12), (10, 11, 13)),
    ((12, 13, None),),
)
"""Levels of the tree: (first operand, second operand, where the result goes; None: out)."""


def slot_of(partial: Value, group: Value) -> Value:
    """Word of a partial result of a group: each group has `SLOTS` words, the partial ones first."""
    return Cat(partial, Const(0, 1), group)


def is_identity(slot: Value, unused: Value) -> Value:
    """1 if the word `slot` stands for the operation's identity: a partial result not yet reached.

    `unused` has a bit for each of the `PARTIALS` partial results, of whatever group.
    """
    slot = slot[: (SLOTS - 1).bit_length()]
    return (slot < PARTIALS) & unused.bit_select(slot[: (PARTIALS - 1).bit_length()], 1)


class Combiner(wiring.Component):
    """``((p0 o p4) o (p2 o p6)) o ((p1 o p5) o (p3 o p7))`` on an adder, for one or more groups.

    The memory of partial results has one read port: an operation reads its first operand, which is
    held, and in the next cycle its second, when it enters the adder. Word w of group g is at
    ``16 * g + w``. The results of the groups come in their order.

    Latency: `CYCLES` from `start` until the last result has left. Registers but for two outputs.

    Parameters
    ----------
    unit_latency
        Cycles from the read of a second operand until the adder's result.
    groups
        Reductions that are combined one beside the other.

    Members
    -------
    start : In(1), stop : In(1)
        Begin, for one cycle, if it is not `active`; drop everything.
    read_addr : Out(range(groups * SLOTS)), hold : Out(1), enter : Out(1)
        Word that is read; it is held; it enters the adder with what is held.
    read_ahead : Out(1), addr_ahead : Out(range(groups * SLOTS))
        A word is read in the next cycle, unless stopped; which. They are no registers.
    enter_ahead, output_ahead : Out(1)
        `enter` and `is_output` of the next cycle, unless stopped.
    write : Out(1), write_addr : Out(range(groups * SLOTS))
        What leaves the adder in this cycle is written.
    is_output : Out(1)
        What leaves the adder in this cycle is a result.
    active : Out(1)
        High from the cycle after `start` until the last result leaves.
    """

    def __init__(self, unit_latency: int, groups: int = 1):
        self._steps: dict[int, tuple[str, int]] = {}
        self._exits: dict[int, int | None] = {}
        ready = dict.fromkeys(range(groups * SLOTS), 0)
        cycle = 0
        for level in _TREE:
            for group in range(groups):
                for first, second, target in level:
                    base = group * SLOTS
                    cycle = max(cycle, ready[base + first], ready[base + second] - 1)
                    self._steps[cycle] = ("hold", base + first)
                    self._steps[cycle + 1] = ("enter", base + second)
                    output_cycle = cycle + 1 + unit_latency
                    self._exits[output_cycle] = None if target is None else base + target
                    if target is not None:
                        ready[base + target] = output_cycle + 1
                    cycle += 2
        self.CYCLES = max(self._exits) + 1
        slots = range(groups * SLOTS)
        flags = dict.fromkeys(("hold", "enter", "write", "is_output"), 1)
        self._controls = data.StructLayout({"read_addr": slots, "write_addr": slots, **flags})
        super().__init__(
            {
                "start": In(1),
                "stop": In(1),
                **{name: Out(field.shape) for name, field in self._controls},
                "read_ahead": Out(1),
                "addr_ahead": Out(slots),
                "enter_ahead": Out(1),
                "output_ahead": Out(1),
                "active": Out(1),
            }
        )

    def elaborate(self, platform):
        """A counter, a cycle ahead, and registers of the controls at each of its values."""
        m = Module()
        ahead, next_controls = Signal(range(self.CYCLES + 1)), Signal(self._controls)
        controls = Signal(self._controls)
        m.d.comb += [getattr(self, name).eq(controls[name]) for name in self._controls.members]
        with m.Switch(ahead):
            for at, (what, addr) in self._steps.items():
                with m.Case(at):
                    m.d.comb += [next_controls.read_addr.eq(addr), next_controls[what].eq(1)]
        with m.Switch(ahead):
            for at, target in self._exits.items():
                with m.Case(at):
                    if target is None:
                        m.d.comb += next_controls.is_output.eq(1)
                    else:
                        m.d.comb += [
                            next_controls.write.eq(1),
                            next_controls.write_addr.eq(target),
                        ]
        moves = Signal()
        m.d.comb += [
            moves.eq(self.start | self.active),
            self.read_ahead.eq(moves & (next_controls.hold | next_controls.enter)),
            self.addr_ahead.eq(next_controls.read_addr),
        ]
        # Two cycles ahead, so that they are registers; at the start there is neither.
        enters = [at for at, (what, _) in self._steps.items() if what == "enter"]
        outputs = [at for at, target in self._exits.items() if target is None]
        for soon, cycles in ((self.enter_ahead, enters), (self.output_ahead, outputs)):
            m.d.sync += soon.eq(moves & Cat(ahead == at - 1 for at in cycles).any())
        with m.If(moves):
            m.d.sync += [self.active.eq(1), ahead.eq(ahead + 1), controls.eq(next_controls)]
        with m.If((ahead == self.CYCLES) | self.stop):
            m.d.sync += [
                self.active.eq(0),
                ahead.eq(0),
                controls.eq(0),
                self.enter_ahead.eq(0),
                self.output_ahead.eq(0),
            ]
        return m
