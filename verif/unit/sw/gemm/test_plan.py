"""Tiling of a GEMM: complete, within the tile's limits, and in the cheaper orientation."""

import numpy as np
import pytest

from tegula.config import PRESETS, TileConfig, preset
from tegula.formats import BF16, E4M3FN, FP32
from tegula_sw.gemm.plan import plan_gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.span import Span, balanced

SMALL = preset("small")


@pytest.mark.parametrize(
    ("total", "expected"),
    [(64, [64]), (100, [56, 44]), (127, [64, 63]), (65, [40, 25]), (130, [48, 48, 34]), (1, [1])],
)
def test_spans_are_few_balanced_and_on_lines(total, expected):
    spans = balanced(total, 64, 8)
    assert [len(span) for span in spans] == expected
    assert [span.start for span in spans] == [sum(expected[:i]) for i in range(len(expected))]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("size", [(1, 1, 1), (64, 64, 64), (100, 37, 129), (9, 300, 5)], ids=str)
@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), TileConfig(name="one bank", psum_banks=1)],
    ids=lambda c: c.name,
)
def test_blocks_cover_c_once_and_chunks_cover_k_once(config, size, swapped):
    m, n, k = size
    plan = plan_gemm(config, GemmShape.whole(m, n, k, BF16, BF16, BF16), swapped=swapped)
    covered = np.zeros((m, n), int)
    for block in plan.blocks:
        assert len(block.stationary) * len(block.moving) <= max(1, plan.psum_slots // 2)
        for stationary in block.stationary:
            assert 1 <= len(stationary) <= config.n
            for moving in block.moving:
                assert 1 <= len(moving) <= plan.psum_slot_words
                rows, columns = (moving, stationary) if swapped else (stationary, moving)
                covered[rows.start : rows.stop, columns.start : columns.stop] += 1
    assert (covered == 1).all()
    for number in range(len(plan.blocks)):
        spans = plan.chunks(number)
        steps = [step for span in spans for step in range(span.start, span.stop)]
        assert steps == list(range(-(-k // config.n)))
        assert max(len(span) for span in spans) <= plan.chunk_steps
    assert len(plan.chunks(0)[0]) == 1
    assert plan.sbuf_words <= config.sbuf_depth


def test_results_of_few_columns_are_computed_swapped():
    """Fewer than the period of a load and a matmul, in which the operand's columns enter."""
    few_columns = GemmShape.whole(1797, 3, 64, BF16, BF16, BF16)
    few_rows = GemmShape.whole(3, 1797, 64, BF16, BF16, BF16)
    assert plan_gemm(SMALL, few_columns).swapped
    assert not plan_gemm(SMALL, few_rows).swapped
    assert not plan_gemm(SMALL, GemmShape.whole(1797, 16, 64, BF16, BF16, BF16)).swapped
    assert not plan_gemm(SMALL, GemmShape.whole(64, 64, 64, BF16, BF16, BF16)).swapped


def test_fp32_results_are_never_swapped():
    shape = GemmShape.whole(1797, 10, 64, E4M3FN, E4M3FN, FP32)
    assert not plan_gemm(SMALL, shape).swapped
    with pytest.raises(ValueError, match="swapped orientation cannot store fp32"):
        plan_gemm(SMALL, shape, swapped=True)


def test_a_scratchpad_that_is_too_small_is_refused():
    config = TileConfig(n=32, sbuf_depth=16, psum_bank_words=64)
    with pytest.raises(ValueError, match="scratchpad of 16 words"):
        plan_gemm(config, GemmShape.whole(64, 64, 64, BF16, BF16, BF16))


@pytest.mark.parametrize("size", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_sizes_below_one_are_refused(size):
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        GemmShape.whole(*size, BF16, BF16, BF16)


def test_spans_have_a_length():
    assert len(Span(3, 7)) == 4
