"""VectorEngine with memories around it, against the golden model and a budget of cycles."""

import random
from copy import deepcopy

import numpy as np
import pytest
from unit.engine_bench import Item
from unit.vector_bench import (
    CONFIG,
    NARROW,
    SEED,
    check_vector,
    compute,
    random_program,
    random_state,
    run_vector,
)

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula.isa.operations import Operand, Operation, Reduction, Rounding, Source
from tegula.isa.traps import Trap
from tegula.vector.completion import CompletionQueue
from tegula_golden.vector import vector_compute

N, DEPTH, PSUM_DEPTH = CONFIG.n, CONFIG.sbuf_depth, CONFIG.psum_depth
FORMATS = (BF16, E4M3FN, E5M2, FP32)
SBUF, PSUM = Source.SBUF, Source.PSUM


def step(fmt):
    return 2 if fmt in (FP32, "fp32") else 1


@pytest.mark.parametrize("config", [CONFIG, NARROW], ids=["line a write", "line in two writes"])
@pytest.mark.parametrize("seed", range(12))
def test_random_programs_leave_what_golden_leaves(seed, config):
    rng = random.Random(seed)
    program = random_program(rng, config, 12)
    stall = rng.choice((0.0, 0.3, 0.6))
    check_vector(program, random_state(config=config, seed=seed), stall=stall)


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


@pytest.mark.parametrize("rows", range(1, N + 1))
def test_only_the_rows_asked_for_are_written(rows):
    item = compute(rows=rows, columns=9, dst=8, format="fp32", dst_stride=2)
    seen = check_vector([item], random_state())
    assert {p for _, places in seen.writes for p, _, _ in places} == set(range(rows))


def test_an_instruction_reads_what_the_one_before_it_wrote():
    state = random_state()
    fp32 = compute(columns=16, dst=0, format="fp32", dst_stride=2)
    back = compute(x_source=SBUF, x_addr=0, x_stride=2, columns=16, dst=64)
    check_vector([fp32, back], state)
    scalar = compute(columns=4, dst=80, op0="mul", s0_kind="partition", s0=30)
    check_vector([fp32, scalar], state)
    given = compute(columns=16, dst=96, rounding="given", y_addr=0, y_format="bf16")
    check_vector([compute(columns=16, dst=0), given], state)


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
    "x and y": ({"x_source": SBUF, "x_stride": 2, "op0": "mul", "s0_kind": "y"}, 1),
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
    one = check_vector([compute(columns=1, **usual, **fields)], random_state())
    seen = check_vector([compute(columns=columns, **usual, **fields)], random_state())
    if "reduction" in fields:
        assert not seen.writes
    else:
        assert len(seen.writes) == columns
        assert (np.diff([cycle for cycle, _ in seen.writes]) == cycles_each).all()
    # The rhythm is fixed: an instruction waits for it to begin.
    cycles = seen.cycles - one.cycles - (columns - 1) * cycles_each
    assert abs(cycles) < cycles_each


def test_a_line_in_two_writes_takes_two_cycles():
    item = compute(rows=8, columns=16, transpose=1, dst=8, dst_stride=8)
    seen = check_vector([item], random_state(config=NARROW))
    assert [cycle - seen.writes[0][0] for cycle, _ in seen.writes] == list(range(32))


def test_instructions_that_need_not_wait_follow_with_one_cycle_lost():
    program = [compute(x_addr=8 * i, dst=8 * i, columns=8, signal=(1, 1)) for i in range(4)]
    seen = check_vector(program, random_state())
    assert seen.writes[-1][0] - seen.writes[0][0] == 4 * 8 - 1 + 3
    assert len(seen.signals) == 4
    reads = {"x_source": SBUF, "columns": 8, "x_format": "bf16"}
    program = [compute(x_addr=100 + 8 * i, dst=8 * i, overlap=1, **reads) for i in range(4)]
    seen = check_vector(program, random_state())
    assert seen.writes[-1][0] - seen.writes[0][0] == 4 * 8 - 1 + 3
    program = [compute(x_addr=100 + 8 * i, dst=8 * i, **reads) for i in range(4)]
    waited = check_vector(program, random_state())
    assert waited.writes[-1][0] - waited.writes[0][0] > 4 * 8 - 1 + 3 * 5


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
    last = seen.writes[-1][0]
    assert [cycle - last for cycle, _, _ in seen.signals] == [1, 2, 4]


def test_a_denied_operand_counts_as_a_stall():
    item = compute(columns=16, x_source=SBUF, x_stride=2)
    assert check_vector([item], random_state()).stalled == 0
    assert check_vector([item], random_state(), stall=0.5).stalled > 4


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
    before = [compute(columns=11, dst=80, signal=(4, 9)), Item("vector.sync", {}, (5, 1))]
    bad = Item("vector.generator", BAD[name]) if "generator" in name else compute(**BAD[name])
    program = [*before, bad, compute(columns=4, dst=0, signal=(6, 1))]
    limit = 20 if "unwritten" in name else PSUM_DEPTH
    state = random_state(written=slice(0, limit))
    seen = check_vector(program, state, after=[GOOD], stall=stall)
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


@pytest.mark.parametrize("stop_at", range(20, 32))
def test_stop_ends_a_line_between_its_two_writes(stop_at):
    state = random_state(config=NARROW)
    first = compute(rows=8, columns=6, transpose=1, dst=8, dst_stride=8)
    other = compute(rows=8, columns=9, dst=80)
    seen = run_vector(state, [first], stop_at=stop_at, after=[other])
    golden = deepcopy(state)
    for _, places in seen.writes[:-9]:
        for partition, addr, word in places:
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


def test_no_more_instructions_are_taken_than_signals_can_be_remembered():
    program = [compute(dst=i, x_addr=i, signal=(i, i)) for i in range(3 * CompletionQueue.DEPTH)]
    state = random_state()
    check_vector([*program[:16]], state, stall=0.9)
    check_vector([Item("vector.sync", {}, (i % 16, i)) for i in range(40)], state, stall=SEED / 12)
