"""ActivationEngine with a scratchpad around it, against the golden model and budgets of cycles."""

import random
from copy import deepcopy
from math import ceil
from typing import ClassVar

import numpy as np
import pytest

from tegula.activation.issue import ROW_CYCLES
from tegula.activation.lane import LaneCycles
from tegula.activation.layouts import beats
from tegula.config import preset
from tegula.isa.traps import Trap
from tegula_golden.tile.state import TileState
from tegula_sw.functions import NAMES, pack, records
from verif.stimuli.functions import SPECIALS, arguments
from verif.support.activation_bench import (
    CONFIG,
    SEED,
    TABLE,
    UNPACKED,
    ActivationPlayer,
    apply,
    check_activation,
    random_program,
    random_state,
    run_activation,
)
from verif.support.engine_bench import Item, check

LARGE = preset("tiny", sbuf_depth=2048)
N, DEPTH = CONFIG.n, CONFIG.sbuf_depth
FP32 = {"format": "fp32", "dst_stride": 2}


@pytest.mark.parametrize("seed", range(16))
def test_random_tables_and_programs_leave_what_golden_leaves(seed):
    rng = random.Random(seed)
    program = random_program(rng, 10)
    check_activation(program, random_state(seed), stall=rng.choice((0.0, 0.3, 0.6)))


@pytest.mark.parametrize("seed", range(30, 36))
def test_a_tile_of_one_code_a_word_leaves_what_golden_leaves(seed):
    rng = random.Random(seed)
    program = random_program(rng, 14, UNPACKED)
    state = random_state(seed, UNPACKED)
    check_activation(program, state, stall=rng.choice((0.0, 0.3, 0.6)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_functions_of_the_library(name):
    entries, descriptors, function = _loaded(name)
    state, rng = TileState(LARGE), np.random.default_rng(NAMES.index(name))
    columns = 100
    z = arguments(rng, N * columns * 2)
    z[: 2 * len(SPECIALS)] = np.concatenate([SPECIALS, SPECIALS | np.uint32(1 << 31)])
    z = np.concatenate([z[: 2 * len(SPECIALS)], rng.permutation(z)])[: N * columns]
    state.sbuf[:, : 2 * columns] = z.reshape(columns, N).T.copy().view(np.uint16)
    loads, addr = [], 600
    for kind, words in (("entries", entries), ("descriptors", descriptors)):
        width = 4 if kind == "entries" else 2
        rows = words.view(np.uint16).reshape(-1, width).T
        state.sbuf[:width, addr : addr + rows.shape[1]] = rows
        count = rows.shape[1] // (2 if kind == "entries" else 1)
        loads.append(Item("activation.table", {"kind": kind, "addr": addr, "count": count}))
        addr += rows.shape[1]
    item = apply(x_addr=0, columns=columns, dst=2 * columns, **function, **FP32)
    check_activation([*loads, item], state)


def _loaded(name):
    (entries, descriptors), function = records([name]), pack([name])[1][name]
    flags = {flag: int(getattr(function, flag)) for flag in ("parity", "odd", "log")}
    fields = flags | {"exp": int(function.reduction == "exp"), "low": function.low}
    fields["function"] = function.descriptor
    return *(np.frombuffer(part, np.uint16) for part in (entries, descriptors)), fields


@pytest.mark.parametrize("rows", range(1, N + 1))
def test_only_the_rows_asked_for_are_written(rows):
    item = apply(rows=rows, columns=9, dst=300, sum=1, finish=1, sum_dst=400)
    seen = check_activation([*TABLE, item], random_state())
    assert {p for _, places in seen.writes for p, *_ in places} == set(range(rows))


def test_sums_go_on_over_instructions():
    program = [
        *TABLE,
        apply(columns=13, dst=300, sum=1),
        apply(
            columns=9, x_addr=26, dst=330, sum=1, proceed=1, finish=1, sum_dst=400, signal=(1, 1)
        ),
        apply(columns=4, dst=340, scale_partition=1, scale=400),
    ]
    seen = check_activation(program, random_state())
    assert len(seen.writes) == 13 + 9 + 2 + 4


@pytest.mark.parametrize("columns", [3, 11])
def test_a_sum_that_does_not_go_on_begins_at_zero(columns):
    before = apply(columns=13, dst=300, sum=1)
    total = apply(columns=columns, x_addr=26, dst=330, sum=1, finish=1, sum_dst=400)
    seen = check_activation([*TABLE, before, total], random_state())
    alone = check_activation([*TABLE, total], random_state())
    np.testing.assert_array_equal(seen.sbuf[:, 400:402], alone.sbuf[:, 400:402])
    # Nor do NaNs tell anything: there must be sums that others would have changed.
    went_on = apply(**total.fields | {"proceed": 1})
    changed = check_activation([*TABLE, before, went_on], random_state())
    assert (changed.sbuf[:, 400:402] != alone.sbuf[:, 400:402]).any()


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_any_number_of_lanes(lanes):
    config = preset("tiny", sbuf_depth=DEPTH, activation_entries=256, activation_lanes=lanes)
    for seed in range(3):
        program = random_program(random.Random(seed), 10)
        check_activation(program, random_state(seed, config), stall=0.3 * seed)


@pytest.mark.parametrize("sums", [0, 1])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_columns_follow_each_other_at_the_documented_rate(lanes, sums):
    config = preset("tiny", sbuf_depth=DEPTH, activation_entries=256, activation_lanes=lanes)
    columns = 40
    for x_rows, rows in ((1, 1), (1, 2), (2, 1), (2, 2)):
        formats = {"x_format": FORMATS[x_rows], "x_stride": x_rows}
        formats |= {"format": FORMATS[rows], "dst_stride": rows}
        item = apply(columns=columns, dst=300, sum=sums, **formats)
        seen = check_activation([*TABLE, item], random_state(SEED, config))
        cycles = [cycle for cycle, _ in seen.writes][::rows]
        assert len(cycles) == columns
        documented = max(beats(config) * (1 + sums), (ROW_CYCLES + 1 + x_rows) / 2, rows)
        if sums:
            documented = 2 * ceil(documented / 2)
        assert cycles[-1] - cycles[3] <= documented * (columns - 4) + 1


FORMATS = {1: "bf16", 2: "fp32"}
"""A format by the rows of a column."""


def test_a_table_takes_a_cycle_a_row():
    for item, rows in zip(TABLE, (2, 1), strict=True):
        assert check_activation([item], random_state()).cycles <= rows * item.full["count"] + 10


class DeepPlayer(ActivationPlayer):
    """Scratchpad that accepts many requests before it answers the first."""

    buffered: ClassVar[dict] = {"row": 40, "write": 2}


def test_requests_of_a_table_stop_where_rows_do_not_come():
    item = apply(columns=9, dst=300)
    check(DeepPlayer, [*TABLE, item], random_state(), stall=0.9)


def test_a_sum_is_in_its_memory_before_its_last_row_is_written():
    """Rows that are written are all that the end of a sum waits for."""
    taken, written, begun = 1, 1, 2
    assert LaneCycles.SUM_OUT < LaneCycles.WORD + taken + written + begun


def test_signals_wait_for_all_writes_before_them():
    program = [
        *TABLE,
        apply(columns=12, dst=300, signal=(0, 1)),
        Item("activation.sync", {}, (1, 2)),
        Item("activation.sync", {}),
        Item("activation.sync", {}, (2, 3)),
    ]
    seen = check_activation(program, random_state())
    last = seen.writes[-1][0]
    assert seen.signals[0][0] < seen.writes[0][0], "that of the table"
    assert [cycle - last for cycle, _, _ in seen.signals[1:]] == [2, 3, 5]


def test_a_denied_row_counts_as_a_stall():
    item = apply(columns=16, dst=300)
    assert check_activation([*TABLE, item], random_state()).stalled == 0
    assert check_activation([*TABLE, item], random_state(), stall=0.5).stalled > 4


GOOD = apply(
    x_addr=40, x_stride=2, dst=302, columns=20, format="e4m3fn", sum=1, finish=1, sum_dst=420
)
_SUM = {"sum": 1, "finish": 1, "columns": 3, "dst": 300}

BAD = {
    "source": {"x_addr": DEPTH - 6, "x_stride": 2, "columns": 5},
    "source, downwards": {"x_addr": 6, "x_stride": -2, "columns": 5},
    "source odd": {"x_addr": 5, "x_stride": 1},
    "source becomes odd": {"x_addr": 4, "x_stride": 3, "columns": 5},
    "source at once": {"x_addr": 0xFFFF, "columns": 2},
    "scale": {"scale_partition": 1, "scale": DEPTH},
    "scale odd": {"scale_partition": 1, "scale": 9},
    "bias": {"bias_partition": 1, "bias": DEPTH},
    "bias odd": {"bias_partition": 1, "bias": 9},
    "scale before bias": {"scale_partition": 1, "scale": 9, "bias_partition": 1, "bias": DEPTH},
    "destination": {"dst": DEPTH - 4, "columns": 9},
    "destination odd": {"dst": 5, "format": "fp32"},
    "sum": _SUM | {"sum_dst": DEPTH},
    "sum odd": _SUM | {"sum_dst": 401},
    "source before destination": {"x_addr": DEPTH, "dst": DEPTH + 2},
    "destination before sum": _SUM | {"columns": 1, "dst": DEPTH + 2, "sum_dst": DEPTH + 4},
    "entries": {"kind": "entries", "addr": DEPTH - 5, "count": 8},
    "descriptors": {"kind": "descriptors", "addr": DEPTH - 5, "count": 8},
}


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("name", BAD)
def test_the_first_violation_traps_after_what_precedes_it_and_a_good_program_runs(name, stall):
    fields = BAD[name]
    before = [
        *TABLE,
        apply(columns=11, dst=360, signal=(4, 9)),
        Item("activation.sync", {}, (5, 1)),
    ]
    bad = Item("activation.table", fields) if "kind" in fields else apply(**fields)
    program = [*before, bad, apply(columns=4, dst=300, signal=(6, 1))]
    seen = check_activation(program, random_state(), after=[GOOD], stall=stall)
    assert len(seen.traps) == 1
    assert seen.traps[0][0] in (Trap.SBUF_RANGE, Trap.SBUF_ALIGNMENT)


@pytest.mark.parametrize(
    "bad",
    [{"x_addr": DEPTH}, {"scale_partition": 1, "scale": 9}, {"x_addr": DEPTH - 6}],
    ids=["first column", "scale", "fourth column"],
)
def test_a_sum_that_traps_has_begun_only_if_a_column_was_added(bad):
    total = {"sum": 1, "columns": 10, "dst": 300} | FP32
    program = [*TABLE, apply(**total), apply(**total | bad)]
    goes_on = apply(**total, proceed=1, finish=1, sum_dst=420)
    seen = check_activation(program, random_state(), after=[goes_on])
    assert len(seen.traps) == 1


@pytest.mark.parametrize("kind", ["entries", "descriptors"])
def test_a_table_that_traps_has_loaded_what_passes_and_no_more(kind):
    state = random_state()
    uses = apply(columns=20, dst=300, exp=1, low=-20, **FP32)
    kept = check_activation([*TABLE, uses], state).sbuf[:, 300:340]
    changed = 0
    for first in range(0, 64, 7):
        first += 250 if kind == "entries" else 3
        fields = {"kind": kind, "first": first % 256, "count": 8}
        for addr in (DEPTH - 3, DEPTH):
            bad = Item("activation.table", fields | {"addr": addr})
            seen = check_activation([*TABLE, bad], state, after=[uses])
            assert [trap[0] for trap in seen.traps] == [Trap.SBUF_RANGE]
            changed += (seen.sbuf[:, 300:340] != kept).any()
    assert changed, "else nothing is seen of what was loaded"


@pytest.mark.parametrize("stop_at", [1, 4, 30, 45, 60, 75, 100, 150, 200, 260])
@pytest.mark.parametrize("sums", [0, 1])
def test_stop_drops_the_work_and_the_next_instruction_is_right(sums, stop_at):
    state = random_state()
    first = apply(columns=30, x_stride=2, dst=350, sum=sums, finish=1, sum_dst=422)
    seen = run_activation(state, [first], stop_at=stop_at, after=[*TABLE, GOOD])
    golden = deepcopy(state)
    places = {addr: [] for addr in range(DEPTH)}
    for _, write in seen.writes:
        for p, addr, word, _ in write:
            golden.sbuf[p, addr] = word
            places[addr].append(p)
    assert all(len(places[addr]) in (0, N) for addr in range(350, 380)), "half a column"
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)
    loaded = check_activation([*TABLE, GOOD], state).sbuf
    written = [*range(302, 322), 420, 421]
    np.testing.assert_array_equal(seen.sbuf[:, written], loaded[:, written])


def test_no_effect_of_a_stopped_sum_on_the_next():
    state = random_state()
    total = apply(
        columns=8, x_stride=2, dst=350, sum=1, finish=1, sum_dst=422, format="fp32", dst_stride=2
    )
    for stop_at in (130, 160, 190, 220):
        seen = run_activation(state, [*TABLE, total], stop_at=stop_at, after=[*TABLE, total])
        golden = check_activation([*TABLE, total], state)
        np.testing.assert_array_equal(seen.sbuf, golden.sbuf)
