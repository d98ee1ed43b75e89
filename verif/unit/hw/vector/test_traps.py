"""VectorEngine: instructions that trap, and stops at any time; both leave what golden leaves."""

from copy import deepcopy

import numpy as np
import pytest

from tegula.isa.operations import Source
from tegula.isa.traps import Trap
from tegula_golden.tile.vector import vector_compute
from verif.support.engine_bench import Item
from verif.support.vector_bench import (
    CONFIG,
    FOLDED,
    NARROW,
    check_vector,
    compute,
    random_state,
    run_vector,
)

SBUF = Source.SBUF
N, DEPTH, PSUM_DEPTH = CONFIG.n, CONFIG.sbuf_depth, CONFIG.psum_depth

GOOD = compute(
    x_source=SBUF,
    x_addr=40,
    x_stride=2,
    dst=2,
    columns=20,
    format="e4m3fn",
    rounding="given",
    y_addr=100,
    y_format="bf16",
)

_SUM = {"reduction": "sum", "finish": 1, "format": "fp32", "columns": 5}
_Y = {"op0": "add", "s0_kind": "y", "columns": 9}

BAD = {
    "psum range": {"x_addr": PSUM_DEPTH - 3, "columns": 6},
    "psum range, downwards": {"x_addr": 2, "columns": 6, "x_stride": -1},
    "psum range at once": {"x_addr": 0xFFFF, "columns": 2},
    "psum unwritten": {"x_addr": 16, "columns": 12},
    "psum unwritten, given": {"x_addr": 16, "columns": 12, "rounding": "given", "y_addr": 60},
    "source": {"x_source": SBUF, "x_addr": DEPTH - 6, "x_stride": 2, "columns": 5},
    "source odd": {"x_source": SBUF, "x_addr": 5},
    "source becomes odd": {"x_source": SBUF, "x_addr": 4, "x_stride": 3, "columns": 5},
    "source at once": {"x_source": SBUF, "x_addr": 0xFFFF, "columns": 2},
    "y": _Y | {"y_addr": DEPTH - 4, "y_stride": 2},
    "y, downwards": _Y | {"y_addr": 4, "y_stride": -2},
    "y odd": _Y | {"y_addr": 7, "y_stride": 2},
    "y of the cast": {"rounding": "given", "y_addr": DEPTH, "y_format": "bf16"},
    "scalar": {"op0": "mul", "s0_kind": "partition", "s0": DEPTH},
    "scalar odd": {"op1": "mul", "s1_kind": "partition", "s1": 9},
    "first scalar before second": {
        "op0": "mul",
        "s0_kind": "partition",
        "s0": 9,
        "op1": "add",
        "s1_kind": "partition",
        "s1": DEPTH,
    },
    "destination": {"dst": DEPTH - 4, "columns": 9},
    "destination, downwards": {"dst": 4, "dst_stride": -1, "columns": 9},
    "destination odd": {"dst": 5, "format": "fp32"},
    "destination of the sum": _SUM | {"dst": DEPTH},
    "destination of the sum odd": _SUM | {"dst": 3},
    "line": {"transpose": 1, "dst": DEPTH - N, "dst_stride": N, "columns": 9},
    "line unaligned": {"transpose": 1, "dst": N + 1},
    "generator": {"addr": DEPTH - 4},
    "generator odd, saved": {"addr": 7, "save": 1},
    "source before y before destination": {
        "x_source": SBUF,
        "x_addr": DEPTH,
        "op0": "add",
        "s0_kind": "y",
        "y_addr": DEPTH + 1,
        "dst": DEPTH + 2,
    },
    "unwritten before y": _Y | {"x_addr": PSUM_DEPTH - 1, "y_addr": DEPTH},
    "range before unwritten": {"x_addr": PSUM_DEPTH},
}


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", BAD)
def test_the_first_violation_traps_after_what_precedes_it_and_a_good_program_runs(name, stall):
    check_trap(name, stall, CONFIG)


@pytest.mark.parametrize("name", BAD)
def test_of_an_element_that_traps_no_partition_that_shares_a_lane_is_written(name):
    check_trap(name, 0.5, FOLDED["2 partitions a lane, lines of 4"])


def check_trap(name, stall, config):
    rows = {"rows": config.n}
    before = [compute(columns=11, dst=80, signal=(4, 9), **rows), Item("vector.sync", {}, (5, 1))]
    bad = compute(**rows | BAD[name])
    if "generator" in name:
        bad = Item("vector.generator", BAD[name])
    good = Item(GOOD.mnemonic, GOOD.fields | rows)
    program = [*before, bad, compute(columns=4, dst=0, signal=(6, 1), **rows)]
    limit = 20 if "unwritten" in name else PSUM_DEPTH
    state = random_state(config=config, written=slice(0, limit))
    seen = check_vector(program, state, after=[good], stall=stall)
    assert len(seen.traps) == 1
    assert seen.traps[0][0] in (
        Trap.SBUF_RANGE,
        Trap.SBUF_ALIGNMENT,
        Trap.PSUM_RANGE,
        Trap.PSUM_UNWRITTEN,
    )


@pytest.mark.parametrize(
    "first",
    [
        compute(columns=30, dst=120),
        GOOD,
        compute(columns=30, dst=120, format="e4m3fn", op0="sub", op1="add", s1_kind="self"),
    ],
    ids=["copy", "given", "two additions"],
)
@pytest.mark.parametrize("stop_at", [1, 2, 3, 5, 9, 18, 19, 27, 40])
def test_stop_drops_the_work_and_the_next_instruction_is_right(first, stop_at):
    state = random_state()
    seen = run_vector(state, [first], stop_at=stop_at, after=[GOOD])
    golden = deepcopy(state)
    partial = first.full | {"columns": len(seen.writes) - GOOD.full["columns"]}
    if partial["columns"]:
        vector_compute(golden, partial)
    vector_compute(golden, GOOD.full)
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)


@pytest.mark.parametrize(
    "bad",
    [{"x_addr": PSUM_DEPTH}, {"op0": "mul", "s0_kind": 1, "s0": 9}, {"x_addr": PSUM_DEPTH - 3}],
    ids=["first element", "scalar", "fourth element"],
)
def test_a_reduction_that_traps_has_begun_only_if_an_element_was_combined(bad):
    total = {"reduction": "sum", "columns": 10}
    program = [compute(**total), compute(**total | bad)]
    goes_on = compute(**total, proceed=1, finish=1, dst=120, format="fp32")
    seen = check_vector(program, random_state(), after=[goes_on])
    assert len(seen.traps) == 1


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", range(20, 32))
def test_stop_ends_a_line_between_its_two_writes(stop_at):
    state = random_state(config=NARROW)
    first = compute(rows=8, columns=6, transpose=1, dst=8, dst_stride=8)
    other = compute(rows=8, columns=9, dst=80)
    seen = run_vector(state, [first], stop_at=stop_at, after=[other])
    golden = deepcopy(state)
    for _, places in seen.writes[:-9]:
        for partition, addr, word, _ in places:
            golden.sbuf[partition, addr] = word
    vector_compute(golden, other.full)
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)
    assert all(len(places) == 4 for _, places in seen.writes[:-9])


@pytest.mark.parametrize("stop_at", range(20, 80, 6))
def test_stop_amid_a_reduction_leaves_none_of_it(stop_at):
    reduction = compute(columns=20, dst=120, reduction="max", finish=1)
    other = compute(columns=9, dst=130, reduction="sum", finish=1, format="fp32")
    state = random_state()
    seen = run_vector(state, [reduction], stop_at=stop_at, after=[other])
    golden = deepcopy(state)
    if len(seen.writes) == 2:
        vector_compute(golden, reduction.full)
    vector_compute(golden, other.full)
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)
