"""vector.quantise in the engine: every field, at the engine's rate, beside other instructions."""

import random
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from tegula.formats import MX_ELEMENTS, MXFP4_E2M1
from tegula.isa.operations import ScaleRule, Source
from tegula.vector.blocks import BlockQueue
from tegula.vector.control_pipeline import AHEAD_CYCLES
from tegula_golden.tile.quantise import vector_quantise
from tegula_golden.tile.vector import vector_compute
from verif.stimuli.mx import BLOCK_KINDS, blocks
from verif.support.engine_fills import ENDS, check_fills_after
from verif.support.vector_bench import (
    CONFIG,
    FOLDED,
    NARROW,
    VectorPlayer,
    check_vector,
    compute,
    quantise,
    random_program,
    random_state,
    run_vector,
)

SBUF = Source.SBUF
TINY = replace(CONFIG, mx=True, sbuf_depth=512)
CONFIGS = {
    "a line a write": TINY,
    "two lines a write": replace(NARROW, mx=True, sbuf_depth=512),
    **{
        name: replace(config, packed_fp8=True, mx=True, sbuf_depth=512)
        for name, config in FOLDED.items()
    },
}
configs = pytest.mark.parametrize("name", CONFIGS)


def state_of(config, kind, element, seed=3):
    """A state with blocks of that kind, fp32, in the first 256 words of each partition."""
    state = random_state(config=config, seed=seed)
    rng = np.random.default_rng(seed)
    bits = blocks(rng, 4 * config.n, kind, element).reshape(config.n, -1)
    state.sbuf[:, :256] = bits.view(np.uint16)
    return state


@pytest.mark.parametrize("rule", ScaleRule, ids=lambda rule: rule.name.lower())
@pytest.mark.parametrize("element", MX_ELEMENTS, ids=lambda element: element.name)
def test_blocks_of_every_kind_have_goldens_scales_and_codes(element, rule):
    fields = {
        "format": element.fmt.code,
        "e2m1": int(element is MXFP4_E2M1),
        "rule": rule,
        "x_source": SBUF,
        "x_stride": 2,
        "columns": 128,
        "dst": 300,
        "scale_dst": 500,
    }
    for kind in BLOCK_KINDS:
        seen = check_vector([quantise(**fields)], state_of(TINY, kind, element))
        assert len(seen.writes) == 132


@configs
@pytest.mark.parametrize("seed", range(60, 64))
def test_random_programs_with_blocks_leave_what_golden_leaves(seed, name):
    rng = random.Random(seed)
    config = CONFIGS[name]
    program = random_program(rng, config, 14)
    assert any(item.mnemonic == "vector.quantise" for item in program)
    stall = rng.choice((0.0, 0.3, 0.6))
    check_vector(program, random_state(config=config, seed=seed), stall=stall)


RATES = {
    "copy": ({}, 1),
    "multiply, then add": ({"op0": "mul", "op1": "add"}, 1),
    "two products": ({"op0": "mul", "op1": "mul"}, 2),
    "transposed": ({"transpose": 1, "dst_stride": 4}, 1),
    "packed": ({"transpose": 1, "packed": 1, "dst_stride": 4}, 1),
}


@configs
@pytest.mark.parametrize("kind", RATES)
def test_blocks_leave_one_behind_the_other(kind, name):
    """A cycle for each element of a lane, and one for each scale; of lines as many as they take."""
    config, (fields, interval) = CONFIGS[name], RATES[kind]
    if fields.get("packed", 0) > config.packed_fp8:
        fields = fields | {"packed": 0}
    fields = fields | {"rows": config.n, "columns": 32 * 5, "x_stride": 0, "scale_dst": 480}
    if "transpose" in fields:
        fields |= {"dst": 64, "dst_stride": config.n}
    fields |= {"dst_stride": 1} if "transpose" not in fields else {}
    seen = check_vector([quantise(**fields)], random_state(config=config))
    beats = config.line_beats if "transpose" in fields else 1
    parts = config.vector_folding
    cycles = [cycle for cycle, _ in seen.writes]
    assert len(cycles) == parts * 5 * (32 * beats + 1)
    if interval == 1:
        assert cycles[-1] - cycles[0] == len(cycles) - 1
    else:
        block = len(cycles) // 5
        assert 4 * (64 * parts) <= cycles[-block] - cycles[0] <= 4 * (64 * parts + parts + 1)


def test_a_long_instruction_does_not_fill_the_queue():
    """As many blocks as would, if each left later behind its arrival than the one before."""
    config = replace(TINY, sbuf_depth=4096)
    item = quantise(columns=32 * 40, x_source=SBUF, x_format="bf16", dst=2048, scale_dst=1500)
    seen = check_vector([item], random_state(config=config))
    assert len(seen.writes) == 33 * 40
    assert seen.writes[-1][0] - seen.writes[0][0] == 33 * 40 - 1


def test_other_instructions_wait_until_the_blocks_have_left():
    state = random_state(config=TINY)
    copy = {"rows": TINY.n, "columns": 3, "dst": 300}
    program = [
        compute(**copy),
        quantise(columns=40, x_stride=0),
        compute(**copy | {"dst": 310}),
        quantise(columns=2, dst=320),
        quantise(columns=33, dst=330, x_stride=0, signal=(3, 1)),
        compute(**copy | {"dst": 400}, signal=(4, 1)),
    ]
    seen = check_vector(program, state)
    addresses = [places[0][1] for _, places in seen.writes]
    assert addresses.index(310) > addresses.index(128 + 39)
    assert addresses.index(400) > addresses.index(330 + 32)


BAD = {
    "the third element of the second block": {"dst": 512 - 34},
    "the scale of the second block": {"scale_dst": 511, "dst": 200},
    "the first scale": {"scale_dst": 512, "dst": 511},
    "a line": {"transpose": 1, "dst": 256, "dst_stride": 6, "columns": 70},
    "a scalar": {"op0": "mul", "s0_kind": "partition", "s0": 9},
    "x of the last element": {"x_addr": 443, "x_stride": 1, "x_source": SBUF, "x_format": "bf16"},
}


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("name", ["a line a write", "2 partitions a lane, lines of 8"])
@pytest.mark.parametrize("bad", BAD)
def test_the_blocks_before_a_trap_are_done_and_no_other(bad, name, stall):
    config = CONFIGS[name]
    usual = {"rows": config.n, "columns": 70, "x_stride": 0}
    program = [quantise(**usual, signal=(1, 1)), quantise(**usual | BAD[bad]), compute(dst=7)]
    after = [quantise(**usual | {"columns": 33}), compute(rows=config.n, columns=4, dst=300)]
    seen = check_vector(program, random_state(config=config), after=after, stall=stall)
    assert len(seen.traps) == 1


@pytest.mark.parametrize("name", ["a line a write", "two lines a write"])
@pytest.mark.parametrize("stop_at", [5, 20, 40, 48, 53, 54, 55, 56, 57, 58, 59, 60, 64, 75, 90])
def test_stop_drops_blocks_and_the_next_instruction_is_right(stop_at, name):
    config = CONFIGS[name]
    first = quantise(rows=config.n, columns=70, x_stride=0, transpose=1, dst_stride=8)
    others = [
        quantise(rows=config.n, columns=33, x_stride=0, dst=300),
        compute(rows=config.n, columns=9, dst=400),
    ]
    state = random_state(config=config)
    seen = run_vector(state, [first], stop_at=stop_at, after=others)
    golden = deepcopy(state)
    done = len(seen.writes) - (33 + 2 + 9)
    assert done >= 0
    for _, places in seen.writes[:done]:
        for partition, addr, word, kept in places:
            assert not kept
            golden.sbuf[partition, addr] = word
    vector_quantise(golden, others[0].full)
    vector_compute(golden, others[1].full)
    np.testing.assert_array_equal(seen.sbuf, golden.sbuf)


@configs
@pytest.mark.parametrize("columns", [1, 31, 33])
def test_a_scale_leaves_when_its_block_is_in_the_queue_and_a_signal_runs_ahead(columns, name):
    """The first write after all elements have passed lanes and queue, the last as others'."""
    config = CONFIGS[name]
    item = quantise(rows=config.n, columns=columns, x_stride=0, signal=(0, 1))
    seen = check_vector([item], random_state(config=config))
    copy = compute(rows=config.n, columns=min(columns, 32), x_stride=0)
    before = check_vector([copy], random_state(config=config)).writes[-1][0]
    way = BlockQueue.WHOLE_CYCLES + BlockQueue.SCALED_CYCLES
    assert seen.writes[0][0] == before + way
    assert seen.signals[0][0] == seen.writes[-1][0] + 1 - AHEAD_CYCLES


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ["a line a write", "2 partitions a lane, lines of 8"])
def test_nothing_depends_on_what_the_queue_and_the_scalers_held(name, end):
    rng = random.Random(f"scrambled {name} {end}")
    config = CONFIGS[name]
    blocks_only = [_blocks_only(rng, config) for _ in range(2)]
    check_fills_after(
        VectorPlayer,
        check_vector,
        random_state(config=config, seed=4),
        blocks_only,
        end=end,
        fault=quantise(rows=config.n, columns=40, x_stride=0, dst=config.sbuf_depth - 35),
        stop_at=rng.randrange(30, 160),
        stall=0.2,
    )


def _blocks_only(rng, config):
    """Instructions that quantise, of a random program."""
    program = random_program(rng, config, 20)
    return [item for item in program if item.mnemonic == "vector.quantise"][:3]
