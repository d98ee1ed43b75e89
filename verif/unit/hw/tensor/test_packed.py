"""Packed operands in hardware: decoder, array and engine against the golden model."""

import re
from fractions import Fraction

import numpy as np
import pytest

from tegula.backend.rtlil import emit_rtlil
from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2
from tegula.isa.traps import Trap
from tegula.tensor.packed import SecondDecode
from tegula.tile import Tile
from tegula_golden.numerics.accumulate import PartialSums
from verif.oracles import numerics as reference
from verif.stimuli.operands import KINDS, operands
from verif.support.tensor_bench import Run, golden_pass, load, matmul
from verif.support.unit_bench import simulate

NARROW = (E4M3FN, E5M2, E4M3, E3M4)
TINY = preset("tiny", fp8_formats=NARROW)
SMALL = preset("small")


def decode_all(fmt, formats):
    """(value in units or class, zero) of every code of `fmt`, by simulation; None: no format."""
    dut = SecondDecode(preset("tiny", fp8_formats=formats))
    results = []

    async def testbench(ctx):
        ctx.set(dut.second.selection, 0 if fmt is None else 1 << formats.index(fmt))
        for code in range(256):
            ctx.set(dut.second.code, code)
            await ctx.delay(1e-9)
            operand = ctx.get(dut.operand)
            magnitude = operand.integer << 16 * operand.coarse
            sign = -1 if operand.negative else 1
            if operand.special:
                content = "nan" if operand.zero else {1: "+inf", -1: "-inf"}[sign]
            else:
                assert operand.zero == (magnitude == 0)
                content = sign * magnitude
            results.append(content)

    simulate(dut, testbench, clocked=False)
    return results


@pytest.mark.parametrize("formats", [NARROW, (E4M3FN, E5M2)], ids=["four", "two"])
def test_every_second_code_is_its_value_in_units_of_the_smallest(formats):
    for fmt in formats:
        unit = Fraction(2) ** fmt.unit_exponent
        assert unit == reference.value(1, fmt)
        for code, content in enumerate(decode_all(fmt, formats)):
            expected = reference.value(code, fmt)
            assert content == (expected if isinstance(expected, str) else expected / unit)
    assert set(decode_all(None, formats)) == {0}


def words_of(rng, shape, fmt, kinds):
    """Words of the scratchpad: two codes of a kind each, the second in the high byte, or one."""
    low, high = (operands(rng, shape, fmt, kind) for kind in kinds)
    return low if fmt is BF16 else low | high.astype(np.uint16) << 8


def random_operand(rng, config):
    """Format, whether it is packed, and the kinds of its codes."""
    kinds = rng.choice(sorted(KINDS), 2)
    if rng.random() < 0.2:
        return BF16, False, kinds
    fmt = config.fp8_formats[rng.integers(0, len(config.fp8_formats))]
    return fmt, bool(rng.random() < 0.9), kinds


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_of_packed_and_other_operands_equals_golden(config, seed):
    rng, depth, turns = np.random.default_rng(seed), 10, 40
    sums = PartialSums.empty((config.n, depth), config.acc_width)
    program, blocks, at, packed_pairs = [], [], 0, 0
    for turn in range(turns):
        while True:
            left, right = random_operand(rng, config), random_operand(rng, config)
            if not (left[1] and right[1]) or (left[0], right[0]) in config.packed_pairs:
                break
        packed_pairs += left[1] and right[1]
        rows, columns = (int(x) for x in rng.integers(1, config.n + 1, 2))
        moving_rows = rows if turn % 4 else int(rng.integers(1, config.n + 1))
        f = depth if turn == 0 else int(rng.integers(1, depth + 1))
        first = int(rng.integers(0, depth - f + 1))
        accumulates = turn > 0 and rng.random() < 0.7
        blocks += [
            words_of(rng, (config.n, config.n), left[0], left[2]),
            words_of(rng, (config.n, depth), right[0], right[2]),
        ]
        signal = {"signal": 1, "signal_sem": turn % 16, "signal_value": 1}
        program += [
            load(at, rows, columns, left[0], packed=int(left[1])),
            matmul(
                *(at + config.n, moving_rows, f, first, int(accumulates), right[0]),
                packed=int(right[1]),
                **signal,
            ),
        ]
        window = slice(first, first + f)
        partial = PartialSums.empty((config.n, f), config.acc_width)
        if accumulates:
            partial = PartialSums(
                exponent=sums.exponent[:, window].copy(),
                significand=sums.significand[:, window].copy(),
                acc_width=config.acc_width,
            )
        result = golden_pass(
            *(config, partial, np.hstack(blocks), at, at + config.n, rows, columns, f),
            (left[0], right[0]),
            packed=(left[1], right[1]),
            moving_rows=moving_rows,
        )
        sums.exponent[:, window] = result.exponent
        sums.significand[:, window] = result.significand
        at += config.n + depth
    run = Run(config, np.hstack(blocks), program, psum_words=depth, limit=20_000)
    assert not run.traps
    assert len(run.signals) == turns
    assert packed_pairs >= turns // 4
    assert (run.psum == sums.words()).all()


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_a_pair_of_formats_that_is_not_allowed_traps_and_the_next_program_runs(config):
    sbuf = np.full((config.n, 64), E5M2.one << 8 | E5M2.one, dtype=np.uint16)
    program = [
        load(0, 4, 4, E4M3FN, packed=1),
        matmul(8, 4, 4, 0, 0, E5M2, packed=1),
        load(0, 4, 4, E5M2, packed=1),
        matmul(9, 4, 4, 4, 0, E4M3FN, packed=1),
        matmul(10, 4, 4, 8, 0, E5M2),
        matmul(11, 4, 4, 8, 0, E5M2, packed=1),
    ]
    run = Run(
        config, sbuf, program, after=[load(0, 4, 4, E5M2), matmul(8, 4, 4, 0, 0, E5M2, packed=1)]
    )
    assert run.traps == [(Trap.PACKED_FORMATS, 5, 11)]


def test_the_pair_is_that_of_the_operand_that_was_loaded_last():
    sbuf = np.full((TINY.n, 64), E5M2.one << 8 | E5M2.one, dtype=np.uint16)
    program = [
        load(0, 4, 4, E4M3FN, packed=1),
        matmul(8, 4, 8, 0, 0, E5M2, packed=1),
        matmul(8, 4, 8, 0, 0, E5M2, packed=1),
        load(0, 4, 4, E5M2),
        matmul(8, 4, 8, 8, 0, E5M2, packed=1),
        load(0, 4, 4, E5M2, packed=1),
        matmul(12, 4, 4, 0, 0, E5M2, packed=1),
    ]
    assert Run(TINY, sbuf, program).traps == [(Trap.PACKED_FORMATS, 6, 12)]


def modules_of(config):
    """Kinds of components in a tile, and how often it has a write that keeps bytes."""
    text = emit_rtlil(Tile(config), "tile")
    names = re.findall(r"^module \\tile_(\w+)$", text, flags=re.M)
    return {re.sub(r"_\d+$", "", name) for name in names}, text.count("write__keep")


def test_a_tile_of_one_code_a_word_has_none_of_it():
    (packs, halves), (plain, none) = (
        modules_of(preset("tiny", packed_fp8=packed, mx=False)) for packed in (True, False)
    )
    assert plain < packs
    assert packs - plain == {"operand_pair", "second_decode", "second_element", "second_row"}
    assert halves > 0
    assert none == 0
