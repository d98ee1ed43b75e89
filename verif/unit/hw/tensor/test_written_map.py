"""WrittenMap against a set of addresses, with marks, queries and clears at random."""

import random

from tegula.config import preset
from tegula.tensor.written_map import WrittenMap
from verif.support.unit_bench import simulate

CONFIG = preset("tiny")
SEED = 34


def test_marks_are_read_from_the_next_cycle_on_and_queries_answered_in_the_next():
    rng, dut = random.Random(SEED), WrittenMap(CONFIG)
    written, answers = set(), {True: 0, False: 0}

    async def testbench(ctx):
        clearing, was = CONFIG.psum_depth // 16, None
        for cycle in range(3000):
            addr, ahead, query = (rng.randrange(64) for _ in range(3))
            clear = rng.random() < 0.005
            ready = clearing == 0
            ctx.set(dut.mark.addr, addr)
            ctx.set(dut.mark.next_addr, ahead)
            ctx.set(dut.mark.en, enable := ready and rng.random() < 0.2)
            ctx.set(dut.query_addr, query)
            ctx.set(dut.clear, clear)
            assert ctx.get(dut.mark.ready) == ready, cycle
            expected = ready and ahead in written and not clear
            assert ctx.get(dut.mark.written) == expected, cycle
            if was is not None:
                expected = ready and was
                assert ctx.get(dut.query_written) == expected, cycle
                answers[expected] += 1
            was = ready and query in written
            clearing -= not ready
            if enable:
                written.add(addr)
            if clear:
                written.clear()
                clearing, was = CONFIG.psum_depth // 16, False
            await ctx.tick()

    simulate(dut, testbench)
    assert min(answers.values()) > 200
