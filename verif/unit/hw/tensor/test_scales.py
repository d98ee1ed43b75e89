"""Block-scaled operands in hardware: array and engine against the golden model."""

import numpy as np
import pytest

from tegula.backend.rtlil import emit_rtlil
from tegula.config import preset
from tegula.formats import BF16, E3M4, E4M3, E4M3FN, E5M2
from tegula.isa.codec import decode, encode
from tegula.isa.traps import Trap
from tegula.tile import Tile
from tegula_golden.tile.simulator import COMPUTE
from tegula_golden.tile.state import TileState
from verif.stimuli.operands import KINDS, operands
from verif.support.tensor_bench import Run, load, matmul

TINY = preset("tiny", fp8_formats=(E4M3FN, E5M2, E4M3, E3M4), mx=True)
SMALL = preset("small", mx=True)
TILES = {"tiny": TINY, "small": SMALL}
DEPTH = 24
"""PSUM words that are used: on tiny more rows of scales than N of them have."""

EDGES = (0, 1, 126, 127, 128, 253, 254, 255)


def scales(addr, rows, first, stride=1, **fields):
    return "tensor.scales", {
        "addr": addr,
        "columns": rows,
        "scales": first,
        "stride": stride,
        **fields,
    }


def golden(config, sbuf, program):
    """PSUM words of the golden tile after a program."""
    state = TileState(config)
    state.sbuf[:, : sbuf.shape[1]] = sbuf
    for mnemonic, fields in program:
        COMPUTE[mnemonic](state, decode(encode(mnemonic, **fields)).fields)
    return state.psum(slice(0, DEPTH)).words()


def drawn_scratchpad(rng, config, words):
    """Words of two codes; every few columns zeros; then scale codes, near 1, any, at edges."""
    kinds = [rng.choice(sorted(KINDS)) for _ in range(2)]
    fmt = config.fp8_formats[rng.integers(0, len(config.fp8_formats))]
    low, high = (operands(rng, (config.n, words), fmt, kind) for kind in kinds)
    codes = low | high.astype(np.uint16) << 8
    zero = rng.random(words) < 0.15
    codes[:, zero] = rng.choice((0, 0x80, 0x8000, 0x8080), (config.n, int(zero.sum())))
    near = rng.integers(118, 137, codes.shape)
    drawn = np.where(rng.random(codes.shape) < 0.7, near, rng.integers(0, 255, codes.shape))
    edges = rng.choice(EDGES, codes.shape)
    rows = np.where(rng.random(codes.shape) < 0.05, edges, drawn)
    junk = rng.integers(0, 256, codes.shape) << 8
    return np.hstack([codes, (rows | junk).astype(np.uint16)])


def drawn_program(rng, config, words, turns):
    """Loads, matmuls, rows of scales in any order; matmuls by an operand that was used before too.

    Counts of matmuls by (stationary scaled, moving scaled, both packed).
    """
    program, counts = [], {}
    stationary = BF16, 0, 0
    for turn in range(turns):
        if turn == 0 or rng.random() < 0.5:
            rows = int(rng.integers(1, 9 if turn else 64))
            at = int(rng.integers(words, 2 * words - rows))
            program.append(scales(at, rows, int(rng.integers(0, 128))))
        if turn == 0 or rng.random() < 0.7:
            fmt, packed, scaled = drawn_operand(rng, config)
            stationary = fmt, packed, scaled
            rows, columns = (int(x) for x in rng.integers(1, config.n + 1, 2))
            at = int(rng.integers(0, words - config.n))
            row = int(rng.integers(0, 128))
            fields = {"packed": packed, "scaled": scaled, "scales": row}
            program.append(load(at, rows, columns, fmt, **fields))
        while True:
            fmt, packed, scaled = drawn_operand(rng, config)
            pair = stationary[0], fmt
            if (scaled or stationary[2]) and BF16 in pair:
                continue
            if not (packed and stationary[1]) or pair in config.packed_pairs:
                break
        f = DEPTH if turn == 0 else int(rng.integers(1, DEPTH + 1))
        first = int(rng.integers(0, DEPTH - f + 1))
        program.append(
            matmul(
                *(int(rng.integers(0, words - DEPTH)), int(rng.integers(1, config.n + 1)), f),
                *(first, int(turn > 0 and rng.random() < 0.7), fmt),
                packed=packed,
                scaled=scaled,
                scales=int(rng.integers(0, 128)),
            )
        )
        case = stationary[2], scaled, stationary[1] & packed
        counts[case] = counts.get(case, 0) + 1
    return program, counts


def drawn_operand(rng, config):
    if rng.random() < 0.1:
        return BF16, 0, 0
    fmt = config.fp8_formats[rng.integers(0, len(config.fp8_formats))]
    return fmt, int(rng.random() < 0.8), int(rng.random() < 0.7)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("seed", range(6))
def test_any_mixture_of_scaled_and_other_operands_equals_golden(tile, seed):
    config, rng = TILES[tile], np.random.default_rng(seed)
    sbuf = drawn_scratchpad(rng, config, 128)
    program, counts = drawn_program(rng, config, 128, 60)
    run = Run(config, sbuf, program, psum_words=DEPTH, limit=20_000)
    assert not run.traps
    for scaled in ((1, 1), (1, 0), (0, 1)):
        assert counts.get((*scaled, 1), 0) >= 2, "both packed"
        assert counts.get((*scaled, 0), 0) >= 1
    expected = golden(config, sbuf, program)
    assert (run.psum == expected).all()


def test_rows_of_scales_wait_for_the_matmul_that_still_reads_them():
    rng = np.random.default_rng(3)
    sbuf = drawn_scratchpad(rng, SMALL, 128)
    sbuf[:, 128:] = np.arange(120, 120 + 128) % 255
    program = [scales(128, 8, 0)]
    for turn in range(4):
        program += [
            load(turn, 8, 8, E4M3FN, packed=1, scaled=1, scales=7),
            matmul(40, 8, DEPTH, 0, int(turn > 0), E4M3FN, packed=1, scaled=1, scales=0),
            scales(136 + turn, 8, 0),
        ]
    run = Run(SMALL, sbuf, program, psum_words=DEPTH)
    assert (run.psum == golden(SMALL, sbuf, program)).all()


def test_scaled_products_take_no_cycle_more():
    sbuf = np.full((SMALL.n, 256), E4M3FN.one << 8 | E4M3FN.one, dtype=np.uint16)
    sbuf[:, 128:] = 127
    cycles = {}
    for scaled in (0, 1):
        program = [scales(128, 16, 0)]
        for turn in range(6):
            fields = {"packed": 1, "scaled": scaled}
            program += [
                load(0, 8, 8, E4M3FN, **fields, scales=12),
                matmul(16, 8, 64, 0, int(turn > 0), E4M3FN, **fields, scales=2),
            ]
        cycles[scaled] = Run(SMALL, sbuf, program).cycles
    assert cycles[1] == cycles[0]
    assert 6 * 64 < cycles[1] < 6 * 64 + 60


@pytest.mark.parametrize("tile", TILES)
def test_scaled_and_bf16_operands_trap_and_the_next_program_runs(tile):
    config = TILES[tile]
    sbuf = np.full((config.n, 64), 0x3838, dtype=np.uint16)
    scaled = {"packed": 1, "scaled": 1}
    after = [load(0, 4, 4, E4M3FN, **scaled), matmul(8, 4, 4, 0, 0, E4M3FN, **scaled)]
    for program, trap in (
        ([load(0, 4, 4, E4M3FN, **scaled), matmul(11, 4, 4, 0)], (1, 11)),
        ([load(0, 4, 4), matmul(12, 4, 4, 0, 0, E5M2, scaled=1)], (1, 12)),
        ([matmul(12, 4, 4, 0, 0, E5M2, scaled=1)], (0, 12)),
        ([load(0, 4, 4, E5M2, packed=1), matmul(9, 4, 4, 0, 0, E5M2, **scaled)], (1, 9)),
    ):
        run = Run(config, sbuf, program, after=after)
        assert run.traps == [(Trap.PACKED_FORMATS, *trap)]


def test_rows_of_scales_before_an_address_that_does_not_exist_are_loaded():
    words = 64
    sbuf = np.full((TINY.n, words), 0x3838, dtype=np.uint16)
    sbuf[:, 32:] = np.arange(32) + 112
    depth = TINY.sbuf_depth
    failing = [scales(40, 4, 0), scales(33, 5, 1, stride=(depth - 33) // 2 + 1)]
    after = [
        load(0, 4, 4, E4M3FN, packed=1, scaled=1, scales=1),
        matmul(8, 4, 12, 0, 0, E4M3FN, packed=1, scaled=1, scales=0),
    ]
    run = Run(TINY, sbuf, failing, psum_words=12, after=after)
    assert run.traps == [(Trap.SBUF_RANGE, 1, 33 + 2 * ((depth - 33) // 2 + 1))]
    state_rows = [*failing[:1], scales(33, 1, 1), *after]
    # The row in between lies in the scratchpad's upper half, which is zeros.
    blank = scales(depth - 1, 1, 2)
    expected = golden(TINY, sbuf, [*state_rows[:2], blank, *after])
    assert (run.psum == expected[:, :12]).all()


def test_a_tile_without_scales_has_none_of_it():
    texts = {mx: emit_rtlil(Tile(preset("tiny", mx=mx)), "tile") for mx in (True, False)}
    for word in ("scale_element", "column_scale", "scale_reader"):
        assert word in texts[True]
        assert word not in texts[False]
