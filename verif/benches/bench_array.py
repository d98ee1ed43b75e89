"""The systolic array behind its decoders against the golden model, bit for bit."""

import cocotb
import numpy as np

from tegula.config import TileConfig
from tegula.formats import BF16, E4M3FN, E5M2, FloatFormat
from verif.benches.array_model import ArrayDriver, ArrayMonitor, Pass, Segment, shortest_pass
from verif.benches.testbench import config, random_source, start
from verif.stimuli.operands import KINDS, PAIR_KINDS, pair

FP8_PAIRINGS = ((E4M3FN, E4M3FN), (E4M3FN, E5M2), (E5M2, E5M2))
PAIRINGS = (*FP8_PAIRINGS, (BF16, BF16), (BF16, E5M2), (E4M3FN, BF16), (E5M2, E4M3FN))


async def stream(dut, cfg: TileConfig, passes: list[Pass]) -> list[Segment]:
    """Run the passes and compare every word that left; the segments, one a pass."""
    await start(dut)
    monitor = ArrayMonitor(dut, cfg)
    sampling = cocotb.start_soon(monitor.run())
    await ArrayDriver(dut, cfg, monitor).run(passes)
    sampling.cancel()
    segments = monitor.segments()
    assert len(segments) == len(passes)
    words = 0
    for number, segment in enumerate(segments):
        wrong = np.argwhere(segment.words_out != segment.expected())
        assert not wrong.size, f"pass {number}: wrong words at (column, moving column) {wrong[:4]}"
        words += segment.words_out.size
    assert words == cfg.n * sum(p.moving.shape[1] for p in passes)
    return segments


def filled(rng: np.random.Generator, codes: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Codes as scratchpad words: the bits above an 8-bit code are noise, which must not matter."""
    noise = rng.integers(0, 1 << 16, codes.shape) & (0xFF00 if fmt.width == 8 else 0)
    return codes | noise.astype(np.uint16)


def random_pass(rng, cfg: TileConfig, a: FloatFormat, b: FloatFormat, kind: str) -> Pass:
    """A pass of the shortest legal length, or a little longer, half of it accumulating."""
    columns = shortest_pass(cfg) + int(rng.choice([0, 0, 0, 1, 5]))
    stationary, moving = pair(rng, (cfg.n, cfg.n, columns), a, b, kind)
    rows = cfg.n if rng.random() < 0.7 else int(rng.integers(1, cfg.n + 1))
    return Pass(
        stationary=filled(rng, stationary, a),
        stationary_format=a,
        stationary_rows=rows,
        moving=filled(rng, moving, b),
        moving_format=b,
        moving_rows=rows,
        accumulate=rng.random((cfg.n, columns)) < rng.choice([0, 0.5, 1]),
    )


@cocotb.test()
async def every_kind_of_data_in_back_to_back_passes(dut):
    """Each kind of stimulus in each pairing of formats, swapping as often as is legal."""
    cfg, rng = config(), random_source("every_kind_of_data_in_back_to_back_passes")
    kinds = sorted({*KINDS, *PAIR_KINDS})
    passes = [
        random_pass(rng, cfg, a, b, kind) for kind in kinds for a, b in PAIRINGS for _ in "12"
    ]
    rng.shuffle(passes)
    segments = await stream(dut, cfg, passes)
    assert sum(segment.accumulated for segment in segments) > len(passes) * cfg.n


def solo_passes(cfg: TileConfig, a: FloatFormat, b: FloatFormat) -> list[Pass]:
    """Each of the 65,536 pairs of codes alone in its dot product, so that none can mask another.

    A pass holds one code in each column of one row of the array, and streams all 256 codes past it.
    """
    passes = []
    for first in range(0, 256, cfg.n):
        row = first // cfg.n % cfg.n
        stationary = np.zeros((cfg.n, cfg.n), dtype=np.uint16)
        stationary[row] = np.arange(first, first + cfg.n)
        moving = np.zeros((cfg.n, 256), dtype=np.uint16)
        moving[row] = np.arange(256)
        passes.append(
            Pass(
                stationary=stationary,
                stationary_format=a,
                stationary_rows=cfg.n,
                moving=moving,
                moving_format=b,
                moving_rows=cfg.n,
                accumulate=np.zeros((cfg.n, 256), dtype=bool),
            )
        )
    return passes


async def check_all_pairs(dut, a: FloatFormat, b: FloatFormat) -> None:
    """Stream all pairs; count them as the monitor saw them."""
    segments = await stream(dut, config(), solo_passes(config(), a, b))
    seen = np.zeros((256, 256), dtype=int)
    for segment in segments:
        row = np.flatnonzero(segment.moving.any(axis=1)).item()
        for code in segment.stationary[row]:
            seen[code, segment.moving[row]] += 1
        others = np.delete(segment.stationary, row, axis=0), np.delete(segment.moving, row, axis=0)
        assert not others[0].any() and not others[1].any()
    assert (seen == 1).all() and seen.size == 65536


@cocotb.test()
async def all_pairs_of_e4m3fn_and_e4m3fn(dut):
    await check_all_pairs(dut, E4M3FN, E4M3FN)


@cocotb.test()
async def all_pairs_of_e4m3fn_and_e5m2(dut):
    await check_all_pairs(dut, E4M3FN, E5M2)


@cocotb.test()
async def all_pairs_of_e5m2_and_e5m2(dut):
    await check_all_pairs(dut, E5M2, E5M2)
