"""ScratchpadBank against a plain array, with reads and writes in every cycle."""

import random

import pytest

from tegula.config import preset
from tegula.memory.bank import ScratchpadBank
from verif.support.kept import KEPT_BITS
from verif.support.unit_bench import simulate

CONFIG = preset("tiny", sbuf_depth=256)
UNPACKED = preset("tiny", sbuf_depth=256, packed_fp8=False)
DEPTH = CONFIG.sbuf_depth // CONFIG.bus_words
SEED = 31


@pytest.mark.parametrize("config", [CONFIG, UNPACKED], ids=["words of two codes", "words"])
def test_each_partition_takes_its_word_and_a_row_is_read_a_cycle_later(config):
    rng, dut = random.Random(SEED), ScratchpadBank(config)
    words = [[0] * DEPTH for _ in range(CONFIG.n)]
    checked = 0

    async def testbench(ctx):
        nonlocal checked
        for _ in range(2500):
            read, write, enable = (rng.randrange(limit) for limit in (DEPTH, DEPTH, 1 << CONFIG.n))
            row = [rng.getrandbits(16) for _ in range(CONFIG.n)]
            ctx.set(dut.read.addr, read)
            ctx.set(dut.write.addr, write)
            ctx.set(dut.write.en, enable)
            ctx.set(dut.write.data, row)
            keep = rng.choice((0, 0, 1, 2)) if config.packed_fp8 else 0
            kept = KEPT_BITS[keep]
            if config.packed_fp8:
                ctx.set(dut.write.keep, keep)
            before = [column[read] for column in words]
            await ctx.tick()
            for p in range(CONFIG.n):
                written = enable >> p & 1
                if written:
                    words[p][write] = words[p][write] & kept | row[p] & ~kept
                if not (written and read == write):  # else undefined
                    assert ctx.get(dut.read.data[p]) == before[p]
                    checked += 1

    simulate(dut, testbench)
    assert checked > 9000
