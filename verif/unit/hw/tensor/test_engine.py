"""The tensor engine with its memories: results, order, hazards, signals, traps and cycle counts."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.engine.interface import SIGNAL_TO_INSTRUCTION_CYCLES
from tegula.formats import BF16
from tegula.isa.traps import Trap
from tegula.tensor.engine import load_period, signal_cycles, write_end_cycles
from tegula.tensor.psum import reuse_cycles
from tegula_golden.numerics.accumulate import PartialSums
from verif.stimuli.operands import operands
from verif.support.tensor_bench import Run, golden_pass, load, matmul, random_passes

TINY = preset("tiny")
SMALL = preset("small")


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_random_loads_and_matmuls_equal_golden(config):
    rng, depth = np.random.default_rng(5), 12
    sbuf = operands(rng, (config.n, 96), BF16, "uniform_codes")
    program, sums = random_passes(rng, config, sbuf, 12, depth)
    run = Run(config, sbuf, program, psum_words=depth)
    assert not run.traps
    assert len(run.signals) == 12
    assert (run.psum == sums.words()).all()


def test_matmuls_longer_than_a_load_follow_without_a_gap():
    sbuf = np.ones((SMALL.n, 64), dtype=np.uint16)
    f, pairs = 48, 6
    program = [
        item for turn in range(pairs) for item in (load(0, 8, 8), matmul(8, 8, f, 0, int(turn > 0)))
    ]
    run = Run(SMALL, sbuf, program)
    start = SMALL.n + 6
    assert run.cycles <= start + pairs * f + write_end_cycles(SMALL) + 2


def test_short_matmuls_follow_at_the_period_of_a_load():
    sbuf = operands(np.random.default_rng(7), (SMALL.n, 64), BF16, "normal")
    pairs, program, sums = 8, [], []
    for turn in range(pairs):
        program += [load(turn, 8, 8), matmul(24 + turn, 8, 4, 4 * turn)]
        empty = PartialSums.empty((SMALL.n, 4), SMALL.acc_width)
        sums.append(golden_pass(SMALL, empty, sbuf, turn, 24 + turn, 8, 8, 4, (BF16, BF16)))
    run = Run(SMALL, sbuf, program, psum_words=4 * pairs)
    assert (run.psum == np.hstack([each.words() for each in sums])).all()
    assert load_period(SMALL) <= SMALL.n + 4
    assert run.cycles <= pairs * load_period(SMALL) + write_end_cycles(SMALL) + 9


def test_operand_and_moving_columns_of_one_bank_are_read_one_after_the_other():
    sbuf = operands(np.random.default_rng(8), (SMALL.n, 192), BF16, "normal")
    banks = SMALL.bus_words
    program = [
        load(0, 8, 8),
        matmul(64, 8, 12, 0, stride=banks),
        load(128, 8, 8, stride=banks),
        matmul(9, 8, 4, 12),
    ]
    run = Run(SMALL, sbuf, program, psum_words=16)
    moved = np.concatenate([sbuf[:, 64 : 64 + 12 * banks : banks], sbuf[:, 9:13]], axis=1)
    loaded = np.concatenate([sbuf[:, :8], sbuf[:, 128 : 128 + 8 * banks : banks]], axis=1)
    words = np.concatenate([loaded, moved], axis=1)
    for at, start, f, where in ((0, 16, 12, 0), (8, 28, 4, 12)):
        empty = PartialSums.empty((SMALL.n, f), SMALL.acc_width)
        want = golden_pass(SMALL, empty, words, at, start, 8, 8, f, (BF16, BF16))
        assert (run.psum[:, where : where + f] == want.words()).all()


def test_accumulating_onto_a_word_in_flight_waits_for_it():
    sbuf = np.ones((TINY.n, 64), dtype=np.uint16)
    program = [load(0, 4, 4), matmul(8, 4, 1, 0), *[matmul(8, 4, 1, 0, 1)] * 5]
    run = Run(TINY, sbuf, program, psum_words=1)
    sums = PartialSums.empty((TINY.n, 1), TINY.acc_width)
    for _ in range(6):
        sums = golden_pass(TINY, sums, sbuf, 0, 8, 4, 4, 1, (BF16, BF16))
    assert (run.psum == sums.words()).all()
    assert run.cycles >= 5 * reuse_cycles(TINY)
    assert run.cycles <= 6 * reuse_cycles(TINY) + TINY.n + write_end_cycles(TINY) + 8


def test_a_matmul_may_begin_with_the_word_of_the_column_before_it():
    f = 12  # The second matmul waits in the engine until the last column of the first.
    sbuf = operands(np.random.default_rng(10), (TINY.n, 64), BF16, "normal")
    program = [load(0, 4, 4), matmul(8, 4, f, 0), matmul(32, 4, 1, f - 1, 1)]
    run = Run(TINY, sbuf, program, psum_words=f)
    empty = PartialSums.empty((TINY.n, f), TINY.acc_width)
    sums = golden_pass(TINY, empty, sbuf, 0, 8, 4, 4, f, (BF16, BF16))
    end = slice(f - 1, f)
    last = PartialSums(
        exponent=sums.exponent[:, end].copy(),
        significand=sums.significand[:, end].copy(),
        acc_width=TINY.acc_width,
    )
    last = golden_pass(TINY, last, sbuf, 0, 32, 4, 4, 1, (BF16, BF16))
    assert not run.traps
    assert (run.psum == np.hstack([sums.words()[:, :-1], last.words()])).all()


def test_a_load_leaves_the_operand_of_a_matmul_that_has_not_begun():
    config = SMALL
    assert config.psum_depth // 16 > config.n + 4  # the map is not ready when the matmul is
    sbuf = operands(np.random.default_rng(6), (config.n, 64), BF16, "uniform_codes")
    program = [load(0, 8, 8), matmul(16, 8, 4, 0), load(8, 8, 8)]
    run = Run(config, sbuf, program, psum_words=4, clears=True)
    empty = PartialSums.empty((config.n, 4), config.acc_width)
    sums = golden_pass(config, empty, sbuf, 0, 16, 8, 8, 4, (BF16, BF16))
    assert (run.psum == sums.words()).all()


def test_signals_come_after_the_results_and_in_order():
    sbuf = np.ones((TINY.n, 64), dtype=np.uint16)
    program = [
        load(0, 4, 4, signal=1, signal_sem=1, signal_value=1),
        matmul(8, 4, 5, 0, signal=1, signal_sem=2, signal_value=1),
        matmul(8, 4, 3, 8, signal=1, signal_sem=3, signal_value=1),
        ("tensor.sync", {"signal": 1, "signal_sem": 4, "signal_value": 1}),
    ]
    run = Run(TINY, sbuf, program)
    assert [(port, sem) for _, port, sem in run.signals] == [(1, 1), (0, 2), (0, 3), (0, 4)]
    cycles = [cycle for cycle, _, _ in run.signals]
    # The load's signal comes two cycles after its last column, as the first moving column does.
    assert cycles[1] - cycles[0] == 4 + signal_cycles(TINY)
    assert cycles[2] - cycles[1] >= 3


def test_the_engine_is_idle_in_the_cycle_after_its_last_word_is_written():
    sbuf = np.ones((TINY.n, 64), dtype=np.uint16)
    program = [load(0, 4, 4), matmul(8, 4, 3, 0, signal=1, signal_sem=1, signal_value=1)]
    run = Run(TINY, sbuf, program)
    signalled = run.signals[0][0]
    assert run.cycles == signalled + write_end_cycles(TINY) - signal_cycles(TINY) + 1


@pytest.mark.parametrize("config", [TINY, SMALL], ids=["tiny", "small"])
def test_a_read_that_a_signal_wakes_finds_the_last_word_and_not_a_cycle_too_late(config):
    sbuf = operands(np.random.default_rng(9), (config.n, 64), BF16, "normal")
    program = [
        load(0, config.n, config.n),
        matmul(16, config.n, 3, 0),
        matmul(24, config.n, 3, 0, signal=1, signal_sem=1, signal_value=1),
    ]
    empty = PartialSums.empty((config.n, 3), config.acc_width)
    sums = golden_pass(config, empty, sbuf, 0, 24, config.n, config.n, 3, (BF16, BF16))
    run = Run(config, sbuf, program, probe=2)
    late, early = SIGNAL_TO_INSTRUCTION_CYCLES, SIGNAL_TO_INSTRUCTION_CYCLES - 1
    assert run.probed[late] == list(sums.words()[:, 2])
    assert run.probed[early][:1] != list(sums.words()[:1, 2])


@pytest.mark.parametrize(
    ("program", "trap"),
    [
        ([load(8190, 4, 4)], (Trap.SBUF_RANGE, 0, 8192)),
        ([load(1, 4, 4, stride=-1)], (Trap.SBUF_RANGE, 0, 0xFFFFF)),
        ([load(0, 4, 4), matmul(8190, 4, 4, 0)], (Trap.SBUF_RANGE, 1, 8192)),
        ([load(0, 4, 4), matmul(0, 4, 4, 254)], (Trap.PSUM_RANGE, 1, 256)),
        ([load(0, 4, 4), matmul(0, 4, 4, 3, 1)], (Trap.PSUM_UNWRITTEN, 1, 3)),
        (
            [load(0, 4, 4), matmul(0, 4, 4, 3), matmul(0, 4, 5, 3, 1)],
            (Trap.PSUM_UNWRITTEN, 2, 7),
        ),
    ],
)
def test_bad_addresses_trap_with_their_address(program, trap):
    run = Run(TINY, np.ones((TINY.n, 8), dtype=np.uint16), program)
    assert run.traps == [trap]
