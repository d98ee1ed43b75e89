"""Pipeline of the lanes' controls: each control in its cycle, and the writeback of results."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tegula.arith.combine import Combiner
from tegula.config import TileConfig
from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.lib.delay import delay, registered
from tegula.vector.blocks import BlockQueue, numbers_layout
from tegula.vector.front import Taken, control_entry, control_operands, take_operands
from tegula.vector.lane import ENTRY_CYCLES, UNIT_CYCLES, VectorLane
from tegula.vector.layouts import (
    RANDOM_SLOTS,
    block_work_layout,
    controls_layout,
    exit_layout,
    issue_layout,
)
from tegula.vector.ring import (
    MAX_STEPS,
    Stage,
    address_partials,
    by_multiplier_at,
    route_units,
    select_results,
    select_thirds,
)

__all__ = ["AHEAD_CYCLES", "ElementPipeline"]

AHEAD_CYCLES = SIGNAL_TO_INSTRUCTION_CYCLES - 1
"""Cycles by which an instruction's signal comes before the last of its results is written, which is
in the cycle after that in which it leaves: a retirement offers it a cycle late as well."""


class ElementPipeline(wiring.Component):
    """Registers beside the lanes, a stage a cycle; no flow control.

    An item is at `arrival` PAIR_READ_CYCLES after its issue and at `entry` ENTRY_CYCLES after it.
    From the next cycle on an element is in the ring: at position ``UNIT_CYCLES * j`` it enters the
    unit of step j or, after its last step, the cast; a reduced element ends with its last step. The
    sequencer sees to it that no two elements need a unit, or the cast, in the same cycle.

    Parameters
    ----------
    config
        The tile.

    Members
    -------
    issue_valid : In(1), issue : In(issue_layout)
        An item is issued.
    finish : In(1), finish_max : In(1), result : In(exit_layout)
        Combine partial results; `result` stays for as long as that takes.
    stop : In(1)
        Drop everything.
    controls : Out(controls_layout)
        To the lanes.
    output_valid : Out(1), output : Out(exit_layout)
        A result leaves the lanes in this cycle (or an element without one, whose `rows` is 0).
    ends : Out(1), ends_with_line : Out(1)
        The last result of an instruction leaves the lanes in `AHEAD_CYCLES`; as a line.
    drained : Out(1)
        Nothing is under way.
    block_work : In(block_work_layout)
    stored : In(numbers_layout), fetched : Out(numbers_layout)
        Only with `mx`: those of `BlockQueue`.
    """

    def __init__(self, config: TileConfig):
        self._config = config
        super().__init__(
            {
                "issue_valid": In(1),
                "issue": In(issue_layout(config)),
                "finish": In(1),
                "finish_max": In(1),
                "result": In(exit_layout(config)),
                "stop": In(1),
                "controls": Out(controls_layout(config)),
                "output_valid": Out(1),
                "output": Out(exit_layout(config)),
                "ends": Out(1),
                "ends_with_line": Out(1),
                "drained": Out(1),
                **(
                    {
                        "block_work": In(block_work_layout(config)),
                        "stored": In(numbers_layout(config)),
                        "fetched": Out(numbers_layout(config)),
                    }
                    if config.mx
                    else {}
                ),
            }
        )

    def elaborate(self, platform):
        """Front, ring, partial results, exit."""
        m = Module()
        m.submodules.combiner = combiner = Combiner(UNIT_CYCLES, groups=self._config.vector_folding)
        m.d.comb += [combiner.start.eq(self.finish), combiner.stop.eq(self.stop)]
        front = self._chain(m, "front", self.issue_valid, self.issue, ENTRY_CYCLES)
        control_operands(m, self.controls, self._config, front)
        before = Stage(Signal(name="comes"), front[-2].item)
        m.d.comb += before.valid.eq(front[-2].valid & ~self.stop)
        taken = take_operands(m, before)
        enters = control_entry(
            m,
            self.controls.entry,
            before,
            front[-1],
            taken,
            stop=self.stop,
            drained=self.drained,
        )
        entering = Stage(enters, front[-1].item.ring)
        ring = self._chain(m, "ring", *entering, MAX_STEPS * UNIT_CYCLES + 1)
        self._operate(m, taken, entering, ring, combiner)
        select_thirds(m, self.controls.entry, ring)
        address_partials(m, self.controls, entering, ring, combiner, self.stop)
        is_output, output = self._output(m, entering, ring, combiner)
        pending = Const(0, 1)
        if self._config.mx:
            is_output, output, pending = self._quantise(m, is_output, output)
        self._cast(m, is_output, output)
        exits = self._chain(m, "exit", is_output, output, VectorLane.CAST_CYCLES)
        ahead = exits[-1 - AHEAD_CYCLES]
        ends = ahead.valid & ahead.item.last & ~self.stop
        stages = [stage.valid for chain in (front, ring, exits) for stage in chain]
        m.d.comb += [
            self.output_valid.eq(exits[-1].valid & ~self.stop),
            self.output.eq(exits[-1].item),
            self.ends.eq(ends & ~ahead.item.line),
            self.ends_with_line.eq(ends & ahead.item.line),
            self.drained.eq(~(Cat(stages, pending).any() | combiner.active)),
        ]
        return m

    def _chain(self, m: Module, name: str, valid: Value, item: data.View, length: int) -> list:
        """Stages behind `item`, a cycle each; what they hold counts where it is valid."""
        stages = [
            Stage(
                valid=Signal(name=f"{name}_valid_{index}"),
                item=Signal(item.shape(), name=f"{name}_{index}", reset_less=True),
            )
            for index in range(length)
        ]
        for before, after in pairwise([Stage(valid, item), *stages]):
            m.d.sync += [after.valid.eq(before.valid), after.item.eq(before.item)]
        with m.If(self.stop):
            m.d.sync += [stage.valid.eq(0) for stage in stages]
        return stages

    def _operate(
        self, m: Module, taken: Taken, entering: Stage, ring: list[Stage], combiner: Combiner
    ) -> None:
        """Controls of the units, which go to all lanes, in registers."""
        layout = self.controls.shape()
        units = Signal(
            data.StructLayout({name: layout[name].shape for name in ("adder", "multiplier")})
        )
        before_start = [entering, *(ring[UNIT_CYCLES * step - 1] for step in range(1, MAX_STEPS))]
        before_end = [ring[UNIT_CYCLES * step - 2] for step in range(1, MAX_STEPS + 1)]
        starting, ending = (
            [Stage(stage.valid & ~self.stop, stage.item) for stage in stages]
            for stages in (before_start, before_end)
        )
        route_units(m, units, starting, combiner, self.finish_max)
        select_results(m, units, ending, taken.takes[2] | taken.number)
        for name in ("adder", "multiplier"):
            m.d.comb += self.controls[name].eq(registered(m, units[name], name=name))

    def _output(
        self, m: Module, entering: Stage, ring: list, combiner: Combiner
    ) -> tuple[Value, data.View]:
        """Controls of the cast; the output of the ring or of the combiner in this cycle.

        What leaves is selected a cycle before it does, among what has done its steps then and the
        combiner's result; which of them has is known another cycle ahead. In other cycles the
        selection is of no interest.
        """
        to_cast = self.controls.to_cast
        is_output, output = Signal(), Signal(exit_layout(self._config))
        leaves, from_adder = Signal(MAX_STEPS + 1), Signal()
        leaving = Signal(output.shape())
        entry = self.controls.entry
        last_steps = [entering, *(ring[steps * UNIT_CYCLES - 1] for steps in range(1, 4))]
        m.d.comb += [leaving.eq(entering.item.exit), from_adder.eq(1)]
        for steps, stage in enumerate(last_steps):
            comes = entry.takes[2] | entry.number
            if steps:
                before = ring[steps * UNIT_CYCLES - 2]
                done = before.valid & (before.item.route.steps == steps) & ~self.stop
                comes = delay(m, done, 1, f"comes_{steps}")
                with m.If(comes):
                    m.d.comb += [
                        leaving.eq(stage.item.exit),
                        from_adder.eq(~by_multiplier_at(stage.item.route, steps - 1)),
                    ]
            m.d.sync += leaves[steps].eq(comes & ~self.stop)
            if steps < MAX_STEPS:
                with m.If(leaves[steps]):
                    m.d.sync += ring[steps * UNIT_CYCLES + 1].valid.eq(0)
        part = Signal(range(self._config.vector_folding), name="combined_part")
        is_last_part = part == self._config.vector_folding - 1
        with m.If(combiner.output_ahead):
            m.d.comb += [
                leaving.eq(self.result),
                leaving.part.eq(part),
                leaving.last.eq(self.result.last & is_last_part),
                from_adder.eq(1),
            ]
            m.d.sync += part.eq(part + 1)
        with m.If(~combiner.active):
            m.d.sync += part.eq(0)
        has_steps = leaves[1:].any() | combiner.is_output
        m.d.comb += [
            is_output.eq(leaves.any() | combiner.is_output),
            output.eq(registered(m, leaving, name="left")),
            to_cast.steps.eq(has_steps & ~self.block_work.on if self._config.mx else has_steps),
            to_cast.from_adder.eq(registered(m, from_adder, name="left_adder")),
        ]
        return is_output, output

    def _quantise(self, m: Module, is_output: Value, output: data.View) -> tuple:
        """What enters the cast: what leaves the ring, or the queue of blocks; what is in that."""
        m.submodules.blocks = blocks = BlockQueue(self._config)
        is_item, item = Signal(), Signal(output.shape(), name="cast_item")
        on = self.block_work.on
        m.d.comb += [
            blocks.work.eq(self.block_work),
            blocks.arrives.eq(is_output & on),
            blocks.item.eq(output),
            blocks.stored.eq(self.stored),
            blocks.stop.eq(self.stop),
            self.fetched.eq(blocks.fetched),
            self.controls.blocks.eq(blocks.controls),
            is_item.eq(Mux(on, blocks.leaves, is_output)),
            item.eq(Mux(on, blocks.left, output)),
        ]
        return is_item, item, blocks.pending

    def _cast(self, m: Module, is_output: Value, output: data.View) -> None:
        """Controls of the cast for what enters it, and where its random bits are."""
        to_cast, slot = self.controls.to_cast, Signal(range(RANDOM_SLOTS))
        with m.If(self.drained):
            m.d.sync += slot.eq(0)
        with m.Elif(is_output & output.stochastic):
            m.d.sync += slot.eq(slot + 1)
        m.d.comb += [
            to_cast.stochastic.eq(output.stochastic),
            to_cast.saturate.eq(output.saturate),
            to_cast.format.eq(output.format),
            to_cast.slot.eq(slot),
        ]
