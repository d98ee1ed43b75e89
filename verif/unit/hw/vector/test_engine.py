"""VectorEngine with memories around it, against the golden model and a budget of cycles."""

import random

import numpy as np
import pytest

from tegula.engine.retirement import Retirement
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.vector.control_pipeline import AHEAD_CYCLES
from verif.support.engine_bench import Item
from verif.support.vector_bench import (
    CONFIG,
    FOLDED,
    NARROW,
    SEED,
    UNPACKED,
    check_vector,
    compute,
    random_program,
    random_state,
)

N, DEPTH, PSUM_DEPTH = CONFIG.n, CONFIG.sbuf_depth, CONFIG.psum_depth
FORMATS = (BF16, E4M3FN, E5M2, FP32)
SBUF, PSUM = Source.SBUF, Source.PSUM


def step(fmt):
    return 2 if fmt in (FP32, "fp32") else 1


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CONFIG, id="line a write"),
        pytest.param(NARROW, id="line in two writes", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_leave_what_golden_leaves(seed, config):
    rng = random.Random(seed)
    program = random_program(rng, config, 12)
    stall = rng.choice((0.0, 0.3, 0.6))
    check_vector(program, random_state(config=config, seed=seed), stall=stall)


@pytest.mark.parametrize("name", UNPACKED)
@pytest.mark.parametrize("seed", range(40, 46))
def test_tiles_of_one_code_a_word_leave_what_golden_leaves(seed, name):
    rng = random.Random(seed)
    program = random_program(rng, UNPACKED[name], 20)
    stall = rng.choice((0.0, 0.3, 0.6))
    check_vector(program, random_state(config=UNPACKED[name], seed=seed), stall=stall)


@pytest.mark.parametrize("name", FOLDED)
@pytest.mark.parametrize("seed", range(20, 24))
def test_partitions_that_share_lanes_leave_what_golden_leaves(seed, name):
    rng = random.Random(seed)
    program = random_program(rng, FOLDED[name], 20)
    stall = rng.choice((0.0, 0.3, 0.6))
    check_vector(program, random_state(config=FOLDED[name], seed=seed), stall=stall)


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("source", [PSUM, SBUF], ids=["psum", "sbuf"])
def test_words_are_cast_and_written(source, fmt, rounding):
    common = {
        "format": fmt.code,
        "rounding": rounding,
        "x_source": source,
        "x_stride": 1 + (source == SBUF),
        "y_addr": 140,
        "y_format": "bf16",
        "columns": PSUM_DEPTH,
        "dst_stride": step(fmt),
    }
    program = [compute(**common, dst=66), compute(**common, dst=182, saturate=1)]
    seen = check_vector(program, random_state())
    assert len(seen.writes) == 2 * PSUM_DEPTH


@pytest.mark.parametrize("operation", list(Operation), ids=lambda operation: operation.name)
@pytest.mark.parametrize("kind", list(Operand), ids=lambda kind: kind.name)
def test_every_operation_with_every_operand(operation, kind):
    state = random_state()
    common = {"x_source": SBUF, "x_addr": 2, "x_stride": 2, "columns": 20, "format": "fp32"}
    common |= {"dst_stride": 2, "y_addr": 60, "y_stride": 2}
    value = 0x4040_0000 if kind == Operand.IMMEDIATE else 128
    first = compute(**common, dst=140, op0=operation, s0_kind=kind, s0=value)
    second = compute(
        **(common | {"op0": Operation.SUB, "s0_kind": Operand.IMMEDIATE, "s0": 0xBF80_0000}),
        dst=200,
        op1=operation,
        s1_kind=kind,
        s1=value,
    )
    check_vector([first, second], state)


def _nans(fmt):
    """All NaN codes of a format, both signs, over and over until they fill 64 words a lane."""
    magnitudes = np.arange((fmt.infinity or fmt.max_finite) + 1, fmt.magnitude_mask + 1)
    codes = np.concatenate([magnitudes, magnitudes | fmt.magnitude_mask + 1])
    return np.resize(codes, (N, 64)).astype(np.uint16)


@pytest.mark.parametrize(
    "operation",
    [Operation[name] for name in ("PASS", "ABS", "SELECT", "MERGE", "MAX", "MIN")],
    ids=lambda operation: operation.name,
)
@pytest.mark.parametrize("fmt", [BF16, E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_nans_keep_their_payloads_where_patterns_are_moved(fmt, operation):
    """Every NaN code as x and as y, read back as 32 bits; scalars with a payload too."""
    state = random_state()
    state.sbuf[:, 0:64] = _nans(fmt)
    state.sbuf[:, 64:128] = np.roll(_nans(fmt), 5, axis=1)
    common = {"x_source": SBUF, "x_format": fmt.code, "op0": operation, "overlap": 1}
    common |= {"format": "raw32", "dst": 128, "dst_stride": 2}
    moved = compute(**common, columns=64, s0_kind="y", y_addr=64, y_format=fmt.code)
    seen = check_vector([moved], state)
    if fmt is BF16 and operation in (Operation.PASS, Operation.SELECT, Operation.MERGE):
        kept = state.sbuf[:, 0:64] if operation == Operation.PASS else state.sbuf[:, 64:128]
        np.testing.assert_array_equal(seen.sbuf[:, 129:256:2], kept)
        assert len(np.unique(kept)) == 254
    state.sbuf[:, 64:66] = (0x0123, 0xFFA5)
    check_vector([compute(**common, columns=3, s0_kind="partition", s0=64)], state)
    check_vector([compute(**common, columns=3, s0=0x7F80_0001)], state)


_FP32_RESULT = {"format": "fp32", "dst_stride": 2}


@pytest.mark.parametrize("rows", range(1, N + 1))
def test_only_the_rows_asked_for_are_written(rows):
    item = compute(rows=rows, columns=9, dst=8, format="fp32", dst_stride=2)
    seen = check_vector([item], random_state())
    assert {p for _, places in seen.writes for p, *_ in places} == set(range(rows))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (_FP32_RESULT, {"x_source": SBUF, "x_stride": 2, "columns": 16}),
        (_FP32_RESULT, {"op0": "mul", "s0_kind": "partition", "s0": 30, "columns": 4}),
        ({}, {"rounding": "given", "y_addr": 0, "y_format": "bf16", "columns": 16}),
    ],
    ids=["elements", "a scalar", "random bits"],
)
def test_an_instruction_reads_what_the_one_before_it_wrote(written, read):
    check_vector([compute(columns=16, dst=0, **written), compute(dst=64, **read)], random_state())


def test_reductions_go_on_over_instructions():
    state = random_state()
    for reduction in (Reduction.SUM, Reduction.MAX, Reduction.AMAX):
        common = {"x_source": SBUF, "x_stride": 2, "columns": 13, "reduction": reduction}
        program = [
            compute(**common, x_addr=0),
            compute(**common, x_addr=26, proceed=1),
            compute(
                **common, x_addr=52, proceed=1, finish=1, dst=200, format="fp32", signal=(1, 1)
            ),
            compute(columns=3, dst=220, op0="mul", s0_kind="partition", s0=200),
        ]
        seen = check_vector(program, state)
        assert len(seen.writes) == 1 + 3


def test_saved_generators_replay():
    draw = {"x_source": Source.RANDOM, "columns": 8, "format": "fp32", "dst_stride": 2}
    save, load = ({"save": flag, "addr": 100} for flag in (1, 0))
    program = [
        Item("vector.generator", save),
        compute(**draw, dst=0),
        Item("vector.generator", load),
        compute(**draw, dst=40),
    ]
    seen = check_vector(program, random_state())
    np.testing.assert_array_equal(seen.sbuf[:, 0:16], seen.sbuf[:, 40:56])
    assert len(np.unique(seen.sbuf[:, 0:16].view(np.uint32))) == 8 * N


_RATES = {
    "from PSUM": ({}, 1),
    "to fp8": ({"format": "e5m2", "saturate": 1}, 1),
    "to fp32": ({"format": "fp32", "dst_stride": 2}, 1),
    "stochastic": ({"rounding": "stochastic"}, 1),
    "from the scratchpad": ({"x_source": SBUF, "x_stride": 2}, 1),
    "one operation": ({"op0": "mul", "s0": 0x4000_0000}, 1),
    "multiply, add": ({"op0": "mul", "op1": "add", "s0": 0x4000_0000, "s1": 0x4000_0000}, 1),
    "add, multiply": ({"op0": "add", "op1": "mul", "s0": 0x4000_0000, "s1": 0x4000_0000}, 1),
    "relu, then bias": ({"op0": "add", "op1": "max", "s0_kind": "partition", "s0": 120}, 1),
    "x and y": (
        {"x_source": SBUF, "x_stride": 2, "op0": "mul", "s0_kind": "y"}
        | {"y_format": "fp32", "y_addr": 66, "y_stride": 2},
        1,
    ),
    "x and y of the same banks": (
        {"x_source": SBUF, "x_stride": 2, "op0": "mul", "s0_kind": "y"}
        | {"y_format": "fp32", "y_addr": 68, "y_stride": 2},
        2,
    ),
    "multiply twice": ({"op0": "mul", "op1": "mul", "s1_kind": "self"}, 2),
    "add twice": ({"op0": "add", "op1": "sub", "s1_kind": "self"}, 2),
    "sum of products": ({"op0": "mul", "s0_kind": "self", "reduction": "sum"}, 1),
    "sum of differences": ({"op0": "sub", "s0": 0x4000_0000, "reduction": "sum"}, 2),
    "sum of three": (
        {"op0": "sub", "op1": "add", "s0": 0x4000_0000, "s1": 0x4000_0000, "reduction": "sum"},
        3,
    ),
    "transposed": ({"transpose": 1, "dst_stride": N}, 1),
}


@pytest.mark.parametrize("name", _RATES)
def test_elements_follow_each_other_at_the_documented_rate(name):
    fields, cycles_each = _RATES[name]
    columns = PSUM_DEPTH
    usual = {"y_addr": 68, "y_format": "bf16", "dst": 192}
    one = check_vector([compute(columns=1, **usual | fields)], random_state())
    seen = check_vector([compute(columns=columns, **usual | fields)], random_state())
    if "reduction" in fields:
        assert not seen.writes
    else:
        assert len(seen.writes) == columns
        assert (np.diff([cycle for cycle, _ in seen.writes]) == cycles_each).all()
    # The rhythm is fixed: an instruction waits for it to begin.
    cycles = seen.cycles - one.cycles - (columns - 1) * cycles_each
    assert abs(cycles) < cycles_each


@pytest.mark.slow
def test_a_line_in_two_writes_takes_two_cycles():
    item = compute(rows=8, columns=16, transpose=1, dst=8, dst_stride=8)
    seen = check_vector([item], random_state(config=NARROW))
    assert [cycle - seen.writes[0][0] for cycle, _ in seen.writes] == list(range(32))


def four_in_a_row(x_addr, **fields):
    """Four instructions of 8 columns, and the cycles from their first write to their last."""
    program = [
        compute(x_addr=x_addr + 8 * i, dst=8 * i, columns=8, signal=(1, 1), **fields)
        for i in range(4)
    ]
    seen = check_vector(program, random_state())
    assert len(seen.signals) == 4
    return seen.writes[-1][0] - seen.writes[0][0]


_FROM_SBUF = {"x_source": SBUF, "x_format": "bf16"}


@pytest.mark.parametrize(
    ("x_addr", "fields"),
    [(0, {}), (100, _FROM_SBUF | {"overlap": 1})],
    ids=["from PSUM", "from the scratchpad, allowed to overlap"],
)
def test_instructions_that_need_not_wait_follow_with_one_cycle_lost(x_addr, fields):
    assert four_in_a_row(x_addr, **fields) == 4 * 8 - 1 + 3


def test_instructions_that_read_the_scratchpad_wait_for_the_writes_before_them():
    assert four_in_a_row(100, **_FROM_SBUF) > 4 * 8 - 1 + 3 * 5


_TWO, _THREE = 0x4000_0000, 0x4040_0000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"op0": "mul", "s0": _TWO, "op1": "mul", "s1": _THREE, "dst": 100},
            {"op0": "mul", "s0": _TWO, "reduction": "sum"},
        ),
        (
            {"op0": "add", "s0": _TWO, "reduction": "sum"},
            {"op0": "add", "s0": _TWO, "op1": "mul", "s1": _THREE, "dst": 100},
        ),
    ],
    ids=["two products before a sum of products", "sum of sums before a sum and a product"],
)
def test_elements_of_two_instructions_never_meet_in_a_unit(first, second):
    total = compute(
        x_addr=8, reduction="sum", proceed=1, finish=1, dst=200, format="fp32", signal=(1, 1)
    )
    for columns in (7, 8):
        program = [compute(columns=columns, **first), compute(columns=9, **second), total]
        seen = check_vector(program, random_state())
        assert len(seen.writes) == (columns if "reduction" in second else 9) + 1


def test_signals_wait_for_all_writes_before_them():
    program = [
        compute(columns=12, signal=(0, 1)),
        Item("vector.sync", {}, (1, 2)),
        Item("vector.sync", {}),
        Item("vector.sync", {}, (2, 3)),
    ]
    seen = check_vector(program, random_state())
    # The scratchpad writes a result in the cycle after that in which it is at the port.
    last = seen.writes[-1][0] + 1
    assert [cycle - last + AHEAD_CYCLES for cycle, _, _ in seen.signals] == [0, 1, 3]


def test_a_signal_runs_as_far_ahead_of_lines_that_take_two_writes():
    item = compute(rows=8, columns=3, transpose=1, dst=8, dst_stride=8, signal=(0, 1))
    seen = check_vector([item], random_state(config=NARROW))
    assert seen.signals[0][0] == seen.writes[-1][0] + 1 - AHEAD_CYCLES


@pytest.mark.parametrize("name", FOLDED)
@pytest.mark.parametrize("more", [{}, {"reduction": "sum", "finish": 1}], ids=["copy", "sum"])
def test_a_signal_runs_ahead_of_the_last_partition_that_shares_a_lane(name, more):
    item = compute(rows=8, columns=9, dst=8, signal=(0, 1), **more)
    seen = check_vector([item], random_state(config=FOLDED[name]))
    assert seen.signals[0][0] == seen.writes[-1][0] + 1 - AHEAD_CYCLES


@pytest.mark.parametrize("name", FOLDED)
def test_each_partition_that_shares_a_lane_takes_a_cycle_of_it(name):
    config = FOLDED[name]
    seen = check_vector([compute(rows=8, columns=16, dst=8)], random_state(config=config))
    cycles = [cycle - seen.writes[0][0] for cycle, _ in seen.writes]
    assert cycles == list(range(16 * config.vector_folding))
    assert {len(written) for _, written in seen.writes} == {config.vector_lanes}


def test_a_denied_operand_counts_as_a_stall():
    item = compute(columns=16, x_source=SBUF, x_stride=2)
    assert check_vector([item], random_state()).stalled == 0
    assert check_vector([item], random_state(), stall=0.8).stalled > 4


def test_no_more_instructions_are_taken_than_signals_can_be_remembered():
    program = [compute(dst=i, x_addr=i, signal=(i, i)) for i in range(3 * Retirement.DEPTH)]
    state = random_state()
    check_vector([*program[:16]], state, stall=0.9)
    check_vector([Item("vector.sync", {}, (i % 16, i)) for i in range(40)], state, stall=SEED / 12)
