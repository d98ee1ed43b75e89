"""Combiner with a memory and an adder that work on expressions: the tree that it builds."""

import pytest

from tegula.arith.combine import SLOTS, Combiner
from verif.support.unit_bench import simulate

TREE = "(((p0 o p4) o (p2 o p6)) o ((p1 o p5) o (p3 o p7)))"
"""Contract section 5.3."""


class CombinerBench:
    """Plays the memory, which holds names, and the adder, which makes expressions of them."""

    def __init__(self, unit_latency, groups):
        self.dut = Combiner(unit_latency, groups)
        self.unit_latency, self.groups = unit_latency, groups
        self.results, self.active_cycles = [], 0
        self.forget()

    def forget(self):
        """Nothing is held, nor in the adder."""
        self._held, self._adder = None, [None] * self.unit_latency

    def refill(self):
        """New partial results; what a run before left in the other words must not matter."""
        self.words = {}
        for group in range(self.groups):
            for place in range(SLOTS):
                name = f"p{place}" if place < 8 else "stale"
                self.words[group * SLOTS + place] = f"{name}" if not group else f"{name}@{group}"

    async def cycle(self, ctx, *, start=0, stop=0):
        dut = self.dut
        ctx.set(dut.start, start)
        ctx.set(dut.stop, stop)
        strobes = ("hold", "enter", "write", "is_output", "active")
        hold, enter, write, is_output, active = (ctx.get(getattr(dut, name)) for name in strobes)
        assert not (hold and enter) and not (write and is_output)
        read = self.words[ctx.get(dut.read_addr)]
        self._adder.insert(0, f"({self._held} o {read})" if enter else None)
        output = self._adder.pop()
        assert (output is not None) == bool(write or is_output), "what leaves the adder"
        if is_output:
            self.results.append(output)
        if write:
            self.words[ctx.get(dut.write_addr)] = output
        if hold:
            self._held = read
        self.active_cycles += active
        assert active or not (hold or enter or write or is_output)
        await ctx.tick()

    def expected(self):
        names = [f"p{place}" for place in range(8)]
        trees = []
        for group in range(self.groups):
            tree = TREE
            for name in names if group else ():
                tree = tree.replace(name, f"{name}@{group}")
            trees.append(tree)
        return trees


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("unit_latency", [1, 2, 7, 8])
def test_it_builds_the_contracts_tree_for_every_group_and_again(unit_latency, groups):
    bench = CombinerBench(unit_latency, groups)

    async def testbench(ctx):
        for _ in range(3):
            bench.refill()
            await bench.cycle(ctx, start=1)
            for _ in range(bench.dut.CYCLES):
                await bench.cycle(ctx)
            assert not ctx.get(bench.dut.active)
            await bench.cycle(ctx)

    simulate(bench.dut, testbench)
    assert bench.results == 3 * bench.expected()
    assert bench.active_cycles == 3 * bench.dut.CYCLES
    # Fourteen reads a group on one port, and three levels that wait for the adder.
    assert bench.dut.CYCLES <= 14 * groups + 3 * (unit_latency + 2)


def test_stop_ends_it_in_any_cycle_and_a_new_start_is_whole():
    bench = CombinerBench(7, 1)

    async def testbench(ctx):
        for stop_at in range(bench.dut.CYCLES):
            bench.refill()
            await bench.cycle(ctx, start=1)
            for _ in range(stop_at):
                await bench.cycle(ctx)
            await bench.cycle(ctx, stop=1)
            bench.forget()
            assert not ctx.get(bench.dut.active)
            bench.refill()
            await bench.cycle(ctx, start=1)
            for _ in range(bench.dut.CYCLES):
                await bench.cycle(ctx)
            assert bench.results.pop() == TREE

    simulate(bench.dut, testbench)
    assert bench.results == [TREE], "that of the run that was stopped when it was over"
