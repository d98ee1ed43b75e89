"""The whole tile: GEMMs, casts and random programs, bit for bit as the golden model has them."""

import cocotb
import numpy as np

from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.elementwise.cast import CastAddresses, build_cast
from tegula_sw.program.program import MemoryImage
from verif.benches.gemm_runs import run_gemm
from verif.benches.looped_programs import looped_code, looped_ops, table_bytes
from verif.benches.memory_map import BASE
from verif.benches.random_ops import DATA_BYTES
from verif.benches.random_programs import random_program
from verif.benches.testbench import config, random_source, tests_by_rate
from verif.benches.tile_bench import TileBench
from verif.stimuli.operands import KINDS, PAIR_KINDS, cast_inputs

OPERAND_FORMATS = (BF16, E4M3FN, E5M2)
RESULT_FORMATS = (*OPERAND_FORMATS, FP32)
LATENCIES = (0, 1, 20, 100)


async def random_gemms(dut, name: str, rate: float, count: int) -> None:
    """GEMMs of random shape, format and data under pauses of `rate`, at every latency."""
    rng = random_source(name)
    bench = await TileBench.make(dut, config(), rng)
    kinds = sorted({*KINDS, *PAIR_KINDS})
    largest = 3 * bench.config.n
    for number in range(count):
        bench.shape_traffic(rate, LATENCIES[number % len(LATENCIES)])
        shape = tuple(int(x) for x in rng.integers(1, largest + 1, 3))
        fmt_a, fmt_b = (OPERAND_FORMATS[i] for i in rng.integers(0, 3, 2))
        fmt_out = RESULT_FORMATS[rng.integers(0, 4)]
        kind, saturate = kinds[rng.integers(len(kinds))], bool(rng.integers(0, 2))
        swapped = (None, False, True)[rng.integers(0, 3 if fmt_out != FP32 else 2)]
        cocotb.log.info(
            "%s %s %s %s %s saturate=%s",
            shape,
            fmt_a.name,
            fmt_b.name,
            fmt_out.name,
            kind,
            saturate,
        )
        await run_gemm(
            bench,
            rng,
            shape,
            (fmt_a, fmt_b, fmt_out),
            kind=kind,
            saturate=saturate,
            swapped=swapped,
        )
    assert bench.programs == count
    assert bench.memory.most_reads > 1 and bench.memory.most_writes > 1


globals().update(tests_by_rate(random_gemms, "gemms_{}_pauses", {0: 60, 1: 40, 10: 40, 50: 40}))


@cocotb.test()
async def gemms_in_every_combination_of_formats(dut):
    """All 3 x 3 x 4 formats, the 8-bit results also saturating."""
    rng = random_source("gemms_in_every_combination_of_formats")
    bench = await TileBench.make(dut, config(), rng)
    bench.shape_traffic(0, 5)
    kinds = sorted({*KINDS, *PAIR_KINDS})
    count = 0
    for fmt_a in OPERAND_FORMATS:
        for fmt_b in OPERAND_FORMATS:
            for fmt_out in RESULT_FORMATS:
                for saturate in (False, True) if fmt_out.width == 8 else (False,):
                    kind = kinds[count % len(kinds)]
                    shape = tuple(int(x) for x in rng.integers(3, 8, 3))
                    await run_gemm(
                        bench, rng, shape, (fmt_a, fmt_b, fmt_out), kind=kind, saturate=saturate
                    )
                    count += 1
    assert bench.programs == count == 3 * 3 * (2 + 2 * 2)


@cocotb.test()
async def casts_round_to_even_and_stochastically(dut):
    """fp32 at the boundaries of every format, through the vector engine."""
    name = "casts_round_to_even_and_stochastically"
    rng = random_source(name)
    bench = await TileBench.make(dut, config(), rng)
    bench.shape_traffic(0, 5)
    count = 0
    for fmt in RESULT_FORMATS:
        for saturate in (False, True) if fmt.width == 8 else (False,):
            for stochastic in (False, True):
                bits = cast_inputs(rng, 500, fmt)
                random = rng.integers(0, 1 << 16, 500).astype(np.uint16)
                image = MemoryImage(BASE)
                addresses = CastAddresses(
                    source=image.add(bits),
                    random=image.add(random) if stochastic else None,
                    result=image.reserve(500 * fmt.width // 8),
                )
                program = build_cast(bench.config, 500, fmt, addresses, saturate=saturate)
                start = image.add(program)
                after, _ = await bench.run(image.build(), start, len(program))
                codes = image.read(after, addresses.result, code_dtype(fmt), (500,))
                want = cast(bits, fmt, saturate=saturate, random=random if stochastic else None)
                assert (codes == want).all()
                count += 1
    assert bench.programs == count == 12


@cocotb.test()
async def random_programs_equal_golden(dut):
    """Random instructions of all engines, one after the other, under all kinds of traffic."""
    bench, rng = await TileBench.make_settled(dut, "random_programs_equal_golden")
    for number in range(60):
        bench.shape_traffic((0, 0.1, 0.4)[number % 3], LATENCIES[number % len(LATENCIES)])
        program = random_program(rng, bench.config, 60)
        await bench.run(program.image(bench.noise), program.start, len(program.code))
    assert bench.programs == 61


@cocotb.test()
async def programs_with_loops_equal_golden(dut):
    """Loops in loops, registers, relative fields, numbers of memory, under all kinds of traffic."""
    bench, rng = await TileBench.make_settled(dut, "programs_with_loops_equal_golden")
    start = BASE + DATA_BYTES
    for number in range(24):
        bench.shape_traffic((0, 0.1, 0.4)[number % 3], LATENCIES[number % len(LATENCIES)])
        code = looped_code(bench.config, looped_ops(rng, bench.config, 25), start)
        tail = np.frombuffer(code + table_bytes(), np.uint8)
        image = np.concatenate([bench.noise(DATA_BYTES), tail, bench.noise(64)])
        await bench.run(image, start, len(code), watchdog=20_000)
    assert bench.programs == 25
    await bench.check_state()
