"""The base of the sequencers: faults in their order, traps and reductions in their time."""

from typing import ClassVar

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from tegula.config import preset
from tegula.engine.sequencing import SEQUENCER_STATE, Sequencer
from tegula.isa.instructions import Engine, codes
from tegula.isa.traps import Trap
from verif.support.unit_bench import simulate

CHECKS = (Trap.SBUF_RANGE, Trap.SBUF_ALIGNMENT, Trap.PSUM_RANGE)
COMPUTE = codes(Engine.VECTOR).COMPUTE


class OneItem(Sequencer):
    """Instructions of one item, which is granted, fails checks and leaves the lanes from outside.

    The fault of check i shows the address 100 + i. A reduction ends with each instruction that has
    `finishes` set.
    """

    _TO_COME: ClassVar = ("running", "finishing")

    def __init__(self):
        members = {"fails": In(len(CHECKS)), "granted": In(1), "finishes": In(1), "issued": Out(1)}
        super().__init__(preset("tiny"), Engine.VECTOR, members)

    def elaborate(self, platform):
        m = Module()
        self._state = state = Signal(data.StructLayout({**SEQUENCER_STATE, "running": 1}))
        busy = state.running | state.finishing | state.trapped
        has_work = self.instr.payload.op == COMPUTE
        self._take(m, busy=busy, waits=self.finishes, has_work=has_work)
        with m.If(self.start & has_work):
            m.d.sync += [
                state.pc.eq(self.instr.payload.pc),
                state.running.eq(1),
                state.finishing.eq(self.finishes),
            ]
        checks = [
            (fails, trap, Signal(16, init=100 + i))
            for i, (fails, trap) in enumerate(zip(self.fails, CHECKS, strict=True))
        ]
        granted = state.running & self.granted
        fault = self._find_fault(m, granted, checks)
        m.d.comb += self.issued.eq(granted & ~fault)
        with m.If(self.issued):
            m.d.sync += state.running.eq(0)
        self._end(m, fault=fault, left=state.running)
        return m


def run(**settings):
    """Traps and reductions, cycle by cycle, of one instruction at position 5; what was issued.

    The lanes are drained, and the signal is the only one that is pending, from the cycles
    `drained` and `single` on; `stop` is high from the cycle of that name on.
    """
    dut, seen = OneItem(), {"trap": [], "finish": [], "issued": []}
    drained, single, stop = (settings.pop(name, 99) for name in ("drained", "single", "stop"))

    async def testbench(ctx):
        ctx.set(dut.instr.payload.op, COMPUTE)
        ctx.set(dut.instr.payload.pc, 5)
        ctx.set(dut.room, 1)
        ctx.set(dut.granted, 1)
        for name, value in settings.items():
            ctx.set(getattr(dut, name), value)
        for cycle in range(20):
            ctx.set(dut.instr.valid, cycle == 0)
            ctx.set(dut.drained, cycle == 0 or cycle >= drained)
            ctx.set(dut.single, cycle >= single)
            ctx.set(dut.stop, cycle >= stop)
            if ctx.get(dut.trap_valid):
                trap = ctx.get(dut.trap)
                seen["trap"].append((cycle, Trap(trap.cause), trap.pc, trap.address))
            for name in ("finish", "issued"):
                if ctx.get(getattr(dut, name)):
                    seen[name].append(cycle)
            await ctx.tick()
        assert ctx.get(dut.idle) == (stop < 20 or not seen["trap"])

    simulate(dut, testbench)
    return seen


def test_the_first_check_that_fails_is_recorded():
    for fails in range(1, 1 << len(CHECKS)):
        first = (fails & -fails).bit_length() - 1
        seen = run(fails=fails, drained=4, single=6)
        assert seen == {"trap": [(6, CHECKS[first], 5, 100 + first)], "finish": [], "issued": []}


def test_a_trap_waits_for_the_lanes_and_for_earlier_signals():
    assert [cycle for cycle, *_ in run(fails=1, drained=9, single=3)["trap"]] == [9]
    assert [cycle for cycle, *_ in run(fails=1, drained=3, single=9)["trap"]] == [9]
    assert not run(fails=1, drained=9, single=9, stop=5)["trap"]


def test_a_reduction_is_finished_once_when_the_lanes_are_drained():
    seen = run(finishes=1, drained=7, single=3)
    assert seen == {"trap": [], "finish": [7], "issued": [1]}


def test_an_instruction_without_a_reduction_finishes_nothing():
    assert run(drained=7, single=3) == {"trap": [], "finish": [], "issued": [1]}
