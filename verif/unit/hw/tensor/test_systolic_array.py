"""The systolic array and its PEs against the golden model, bit for bit."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2
from tegula.tensor.systolic_array import WORD_IN_CYCLES, SystolicArray, result_cycles
from tegula_golden.numerics.accumulate import PartialSums, accumulate
from tegula_golden.numerics.codes import FINITE, MINUS_INF, PLUS_INF, operand_table
from verif.stimuli.operands import KINDS, operands
from verif.support.marks import slow_params
from verif.support.unit_bench import simulate


def pack_operands(codes, fmt):
    """The array's operand layout (sig, exp, special, zero) of each code, from the golden tables."""
    table = operand_table(fmt)
    special = table.special[codes]
    sig = np.select(
        [special == FINITE, special == PLUS_INF, special == MINUS_INF],
        [table.significand[codes], 1, -1],
        0,
    )
    exp = np.where(special == FINITE, table.exponent[codes], 0)
    return (
        (sig.astype(np.int64) & 0x1FF)
        | exp.astype(np.int64) << 9
        | (special != FINITE).astype(np.int64) << 17
        | (sig == 0).astype(np.int64) << 18
    )


def join(values, width):
    """Concatenate integers, the first lowest."""
    return sum(int(value) << (index * width) for index, value in enumerate(values))


def run_array(config, passes, *, after=None):
    """Drive passes of (stationary KxM codes, fmt, moving KxF codes, fmt, words MxF or None).

    Every pass loads its operand and streams its columns; all words that the array puts out come
    back, one M x F object array a pass. With `after`, the columns of a pass begin that many cycles
    after its operand has entered, and the next operand enters from their first cycle on; without,
    a pass begins when the last is over.
    """
    n = config.n
    dut = SystolicArray(config)
    word = (1 << config.psum_width) - 1
    loads, columns, results = {}, {}, []
    begin = end = 0
    for index, (stationary, stationary_fmt, moving, moving_fmt, words) in enumerate(passes):
        packed = pack_operands(stationary, stationary_fmt)
        for column in range(n):
            loads[begin + column] = (join(packed[:, column], 19), column == 0)
        start = begin + n + (after or 0)
        packed = pack_operands(moving, moving_fmt)
        for f in range(moving.shape[1]):
            assert start + f not in columns
            entering = None if words is None else words[:, f]
            columns[start + f] = (join(packed[:, f], 19), f == 0, entering, (index, f))
        results.append(np.zeros((n, moving.shape[1]), dtype=object))
        end = start + moving.shape[1] + result_cycles(config) + n
        begin = end if after is None else start
    seen = 0

    async def testbench(ctx):
        nonlocal seen
        for cycle in range(end):
            operand, first = loads.get(cycle, (None, 0))
            ctx.set(dut.shift, operand is not None)
            ctx.set(dut.first, first)
            ctx.set(dut.stationary.as_value(), operand or 0)
            codes, swap, _, _ = columns.get(cycle, (0, 0, None, None))
            ctx.set(dut.moving.as_value(), codes)
            ctx.set(dut.swap, swap)
            leaving = ctx.get(dut.words_out.as_value())
            inside, enable = 0, 0
            for m in range(n):
                late = n - 1 - m
                _, _, words, _ = columns.get(cycle - WORD_IN_CYCLES - late, (0, 0, None, None))
                if words is not None:
                    inside |= int(words[m]) << (m * config.psum_width)
                    enable |= 1 << m
                column = columns.get(cycle - result_cycles(config) - late)
                if column is not None:
                    index, f = column[3]
                    results[index][m, f] = leaving >> (m * config.psum_width) & word
                    seen += 1
            ctx.set(dut.words_in.as_value(), inside)
            ctx.set(dut.accumulate, enable)
            await ctx.tick()

    simulate(dut, testbench)
    assert seen == sum(result.size for result in results)
    return results


def expected(config, stationary, stationary_fmt, moving, moving_fmt, words):
    shape = (config.n, moving.shape[1])
    partial = (
        PartialSums.empty(shape, config.acc_width)
        if words is None
        else PartialSums.from_words(words, config.acc_width)
    )
    return accumulate(partial, stationary, moving, stationary_fmt, moving_fmt).words()


PAIRINGS = [(BF16, BF16), (E4M3FN, E4M3FN), (E4M3FN, E5M2), (E5M2, E5M2), (BF16, E5M2)]


@pytest.mark.parametrize("preset_name", ["tiny", *slow_params(["small"])])
@pytest.mark.parametrize("acc_width", [63, 48, 32])
def test_passes_equal_golden_on_every_kind_of_data(preset_name, acc_width):
    config = preset(preset_name, acc_width=acc_width)
    rng = np.random.default_rng(2)
    passes = []
    for kind in KINDS:
        for a, b in PAIRINGS:
            if preset_name == "small" and rng.random() < 0.6:
                continue
            stationary = operands(rng, (config.n, config.n), a, kind)
            moving = operands(rng, (config.n, 6), b, kind)
            passes.append((stationary, a, moving, b, None))
            # The words of that pass, in another order, are what the next pass adds to.
            words = np.roll(expected(config, *passes[-1]), 1, axis=0)
            more = operands(rng, (config.n, 6), b, kind)
            passes.append((stationary, a, more, b, words))
    results = run_array(config, passes)
    for arguments, result in zip(passes, results, strict=True):
        want = expected(config, *arguments)
        assert (result == want).all(), (arguments, result, want)


@pytest.mark.parametrize("preset_name", ["tiny", "small"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_operand_enters_behind_the_swap_of_the_one_before(preset_name, after):
    config = preset(preset_name)
    rng = np.random.default_rng(3)
    passes = [
        (
            operands(rng, (config.n, config.n), BF16, "normal"),
            BF16,
            operands(rng, (config.n, config.n), BF16, "normal"),
            BF16,
            None,
        )
        for _ in range(6)
    ]
    results = run_array(config, passes, after=after)
    for arguments, result in zip(passes, results, strict=True):
        assert (result == expected(config, *arguments)).all()


@pytest.mark.parametrize("acc_width", [63, 32])
def test_words_beside_the_limit_are_renormalised_or_not(acc_width):
    config = preset("tiny", acc_width=acc_width)
    limit = 63 << (acc_width - 7)
    significands = [limit - 1, limit, limit + 1, -limit + 1, -limit, -limit - 1, limit | 1, 0]
    zeros = np.zeros((config.n, config.n), dtype=np.uint16)
    columns = np.zeros((config.n, len(significands)), dtype=np.uint16)
    passes = []
    for anchor in (2, 255, 507, 508):
        words = np.array(
            [[anchor << acc_width | m & ((1 << acc_width) - 1) for m in significands]] * config.n,
            dtype=object,
        )
        passes.append((zeros, BF16, columns, BF16, words))
    renormalised = 0
    for arguments, result in zip(passes, run_array(config, passes), strict=True):
        want = expected(config, *arguments)
        assert (result == want).all()
        renormalised += int((want != arguments[4]).sum())
    assert renormalised == 4 * config.n * 4
