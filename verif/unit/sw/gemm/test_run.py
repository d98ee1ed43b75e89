"""The GEMM kernel on the golden device: bit-equal to the golden GEMM, no deadlocks, no races."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula.isa.codec import instructions
from tegula.isa.traps import Trap
from tegula_golden.numerics.gemm import gemm as golden_gemm
from tegula_sw.devices.base import TileTrapError
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.gemm import run as gemm_module
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.prediction import predict_gemm
from tegula_sw.gemm.run import gemm, split_jobs
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.race_check import check_program
from tegula_sw.program.span import Span
from verif.stimuli.operands import KINDS, PAIR_KINDS, pair

SMALL = preset("small")
UNPACKED = preset("small", packed_fp8=False)
TIGHT = preset("small", queue_depth=2, max_reads=2, max_writes=2)
CONFIGS = {
    "small": SMALL,
    "tiny": preset("tiny"),
    "medium": preset("medium"),
    "queue of 2": TIGHT,
    "one bank": preset("small", psum_banks=1),
    "narrow semaphores": preset("small", psum_banks=32, psum_bank_words=8, semaphore_width=4),
    "wide bus": TileConfig(n=4, axi_data_width=512),
    "small scratchpad": TileConfig(sbuf_depth=256, psum_banks=4, psum_bank_words=16),
    "n 32": TileConfig(n=32),
    "narrow sums": TileConfig(acc_width=40),
    "one code a word": UNPACKED,
    "one code a word, tiny": preset("tiny", packed_fp8=False),
    "packed n 32": TileConfig(n=32, packed_fp8=True),
}
OPERANDS = (BF16, E4M3FN, E5M2)
RESULTS = (*OPERANDS, FP32)
STIMULI = (*KINDS, *PAIR_KINDS)


def format_names(formats):
    """Test id of a tuple of formats."""
    return "-".join(fmt.name for fmt in formats)


PLAIN = (False, False)
TRANSPOSED = ((True, False), (False, True), (True, True))


def multiply(device, a_codes, b_codes, formats, transposed=PLAIN, **options):
    """Codes and report of A @ B, whose operands are in memory as they are or transposed."""
    in_memory = [
        np.ascontiguousarray(codes.T) if turned else codes
        for codes, turned in zip((a_codes, b_codes), transposed, strict=True)
    ]
    transpose_a, transpose_b = transposed
    options |= {"transpose_a": transpose_a, "transpose_b": transpose_b}
    return gemm(device, *in_memory, *formats, **options)


def check(
    config, size, formats, kind, seed, *, saturate=False, swapped=None, base=0, transposed=PLAIN
):
    """Run one GEMM and compare; return its report."""
    m, n, k = size
    rng = np.random.default_rng(seed)
    fmt_a, fmt_b, fmt_out = formats
    stationary, b_codes = pair(rng, (k, m, n), fmt_a, fmt_b, kind, fmt_out)
    a_codes = np.ascontiguousarray(stationary.T)
    options = {"saturate": saturate, "swapped": swapped, "base": base}
    codes, report = multiply(GoldenDevice(config), a_codes, b_codes, formats, transposed, **options)
    expected = golden_gemm(
        a_codes,
        b_codes,
        fmt_a,
        fmt_b,
        fmt_out,
        saturate=saturate,
        acc_width=config.acc_width,
        rows=config.n,
        packed=config.packed_fp8 and (fmt_a, fmt_b) in config.packed_pairs,
    )
    assert codes.dtype == expected.dtype
    assert codes.shape == (m, n)
    assert np.array_equal(codes, expected)
    return report


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("size", [(1, 1, 1), (8, 8, 8), (9, 65, 17), (70, 11, 31)], ids=str)
def test_every_configuration_computes_small_shapes(config, size):
    check(config, size, (BF16, BF16, BF16), "finite_codes", 1)


@pytest.mark.parametrize("formats", list(product(OPERANDS, OPERANDS, RESULTS)), ids=format_names)
def test_every_combination_of_formats_is_exact_to_the_bit(formats):
    for index, swapped in enumerate((False, True)):
        if not (swapped and formats[2] == FP32):
            check(SMALL, (21, 19, 13), formats, "normal", index, swapped=swapped, saturate=swapped)


@pytest.mark.parametrize("kind", STIMULI)
def test_adversarial_operands_survive_the_whole_tile(kind):
    check(SMALL, (17, 40, 70), (E4M3FN, E5M2, BF16), kind, 3)
    check(SMALL, (40, 9, 70), (BF16, BF16, BF16), kind, 4, swapped=True)


@pytest.mark.parametrize("transposed", (PLAIN, *TRANSPOSED), ids=str)
@pytest.mark.parametrize("formats", list(product(OPERANDS, OPERANDS, RESULTS)), ids=format_names)
def test_packed_operands_of_every_format_are_exact_to_the_bit(formats, transposed):
    for index, swapped in enumerate((False, True)):
        if not (swapped and formats[2] == FP32):
            size = (21, 19, 45)
            check(SMALL, size, formats, "normal", index, swapped=swapped, transposed=transposed)


@pytest.mark.parametrize("k", [*range(1, 50), 127, 128, 129, 6000])
def test_packed_sums_of_every_length_are_exact_to_the_bit(k):
    for swapped, transposed in ((False, PLAIN), (True, (True, True)), (False, (True, False))):
        kind = "max" if k == 6000 else "finite_codes"
        formats = (E4M3FN, E5M2, BF16)
        check(SMALL, (9, 17, k), formats, kind, k, swapped=swapped, transposed=transposed)


def test_packed_operands_take_half_the_matmuls():
    counts = {}
    for config in (UNPACKED, SMALL):
        shape = GemmShape.whole(64, 64, 64, E4M3FN, E4M3FN, BF16)
        program, _ = build_gemm(config, shape, GemmAddresses(a=0, b=1 << 20, c=1 << 21))
        fields = [f for name, f in instructions_of(program) if name == "tensor.matmul"]
        counts[config] = sum(f["columns"] for f in fields)
        assert check_program(config, program) >= 6
    assert counts[UNPACKED] == 2 * counts[SMALL] == 64 * 64 * 64 // SMALL.n**2


@pytest.mark.parametrize("seed", range(40))
def test_random_shapes_formats_and_orientations_are_exact_to_the_bit(seed):
    rng = np.random.default_rng(1000 + seed)
    sizes = [1, 2, 7, 8, 9, 13, 31, 33, 64, 65, 97, int(rng.integers(1, 130))]
    size = tuple(int(rng.choice(sizes)) for _ in range(3))
    formats = (*(OPERANDS[i] for i in rng.integers(0, 3, 2)), RESULTS[rng.integers(0, 4)])
    names = list(CONFIGS)
    config = CONFIGS[names[seed % len(names)]]
    swapped = [None, False, formats[2] != FP32][rng.integers(0, 3)]
    kind = STIMULI[rng.integers(0, len(STIMULI))]
    transposed = (PLAIN, *TRANSPOSED)[seed % 4]
    print(
        f"seed {seed}: {config.name} {size} {[f.name for f in formats]} {kind} {swapped=}",
        transposed,
    )
    check(
        config,
        size,
        formats,
        kind,
        seed,
        swapped=swapped,
        saturate=bool(rng.integers(0, 2)),
        base=int(rng.choice([0, 64, 4096])),
        transposed=transposed,
    )


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("formats", list(product(OPERANDS, OPERANDS, RESULTS)), ids=format_names)
def test_transposed_operands_of_every_format_give_the_same_bits(formats, transposed):
    for index, swapped in enumerate((False, True)):
        if not (swapped and formats[2] == FP32):
            size = (21, 19, 13)
            check(SMALL, size, formats, "normal", index, swapped=swapped, transposed=transposed)


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("size", [(9, 65, 17), (33, 40, 70)], ids=str)
def test_every_configuration_takes_transposed_operands(config, size, transposed):
    for swapped in (None, False, True):
        formats = (E4M3FN, BF16, BF16)
        report = check(
            config, size, formats, "finite_codes", 3, swapped=swapped, transposed=transposed
        )
        assert (report.transpose_a, report.transpose_b) == transposed


def instructions_of(program):
    """Mnemonics and fields of the instructions of a program, in its order."""
    for _, decoded in instructions(program):
        if decoded.mnemonic != "halt":
            yield decoded.mnemonic, decoded.fields


def loads(program):
    """Fields of all loads of a program."""
    return [fields for name, fields in instructions_of(program) if name == "load.dma"]


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("fmt", OPERANDS, ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("size", [(64, 64, 64), (128, 128, 128), (100, 37, 129)], ids=str)
def test_a_transposed_operand_costs_no_bytes(size, fmt, transposed):
    """The bytes of the runs are equal, the beats but for where runs end within a beat."""
    measured = {}
    for combination in (PLAIN, transposed):
        transpose_a, transpose_b = combination
        shape = GemmShape.whole(
            *size, fmt, fmt, BF16, transpose_a=transpose_a, transpose_b=transpose_b
        )
        addresses = GemmAddresses(a=0, b=1 << 20, c=1 << 21)
        fields = loads(build_gemm(SMALL, shape, addresses, swapped=False)[0])
        runs = [f["count1"] * f["count2"] * f["count3"] for f in fields]
        sizes = [f["run"] * (1 if f["bytes1"] else 2) for f in fields]
        report = check(
            SMALL,
            size,
            (fmt, fmt, BF16),
            "normal",
            7,
            swapped=False,
            transposed=combination,
        )
        beats = report.read_beats - report.program_bytes // SMALL.bus_bytes
        total = sum(run * size_bytes for run, size_bytes in zip(runs, sizes, strict=True))
        assert total / SMALL.bus_bytes <= beats <= total / SMALL.bus_bytes + 2 * sum(runs)
        measured[combination] = (total, beats, sum(runs))
    (plain_bytes, plain_beats, plain_runs), (total, beats, runs) = measured.values()
    assert total == plain_bytes
    assert abs(beats - plain_beats) <= max(runs, plain_runs)
    if fmt == BF16 and size[2] % 64 == 0:
        assert beats == plain_beats, "all runs are whole beats"


@pytest.mark.parametrize("transposed", TRANSPOSED, ids=str)
@pytest.mark.parametrize("swapped", [False, True])
def test_programs_of_transposed_operands_neither_deadlock_nor_race(swapped, transposed):
    transpose_a, transpose_b = transposed
    for config in (TIGHT, CONFIGS["tiny"], CONFIGS["wide bus"]):
        for size in ((1, 1, 1), (100, 70, 129)):
            shape = GemmShape.whole(
                *size, BF16, E4M3FN, BF16, transpose_a=transpose_a, transpose_b=transpose_b
            )
            addresses = GemmAddresses(a=0, b=1 << 20, c=1 << 21)
            program, _ = build_gemm(config, shape, addresses, swapped=swapped)
            assert check_program(config, program) >= 6


@pytest.mark.parametrize("swapped", [False, True])
def test_k_beyond_the_ring_of_chunks_streams_through_it(swapped):
    check(SMALL, (9, 10, 1031), (E4M3FN, E4M3FN, BF16), "finite_codes", 5, swapped=swapped)


@pytest.mark.parametrize("config", ["queue of 2", "tiny", "narrow semaphores"])
@pytest.mark.parametrize(
    "size", [(1, 1, 1), (1, 40, 3), (40, 1, 4), (8, 300, 8), (100, 70, 129), (5, 5, 999)], ids=str
)
@pytest.mark.parametrize("swapped", [False, True])
def test_programs_neither_deadlock_nor_race(config, size, swapped):
    config = CONFIGS[config]
    shape = GemmShape.whole(*size, BF16, E4M3FN, BF16)
    program, _ = build_gemm(
        config, shape, GemmAddresses(a=0, b=1 << 20, c=1 << 21), swapped=swapped
    )
    instructions = check_program(config, program)
    assert instructions >= 6


def test_all_tokens_are_consumed():
    shape = GemmShape.whole(100, 100, 300, BF16, BF16, BF16)
    program, _ = build_gemm(SMALL, shape, GemmAddresses(a=0, b=1 << 20, c=1 << 21))
    left = np.zeros(SMALL.semaphores, int)
    waits = 0
    for _, fields in instructions_of(program):
        if fields["wait"]:
            assert fields["consume"]
            left[fields["wait_sem"]] -= fields["wait_value"]
            waits += 1
        if fields["signal"]:
            left[fields["signal_sem"]] += fields["signal_value"]
    assert not left.any()
    assert waits > 50


def test_the_first_loads_are_a_k_step_of_few_tiles_so_that_compute_starts_early():
    shape = GemmShape.whole(64, 64, 64, BF16, BF16, BF16)
    program, _ = build_gemm(SMALL, shape, GemmAddresses(a=0, b=1 << 20, c=1 << 21))
    stationary, moving, *_ = loads(program)
    n = SMALL.n
    assert (stationary["run"], stationary["count1"]) == (n, 4 * n)
    assert (moving["run"], moving["count1"]) == (2 * SMALL.bus_words, n)


@pytest.mark.parametrize(
    ("size", "cycles"),
    [(32, 280), (64, 240), (96, 240), (100, 270), (127, 280), (128, 240)],
    ids=str,
)
def test_a_product_takes_few_cycles_more_than_the_array(size, cycles):
    """Of the model of time, which is within two cycles of the RTL on these."""
    shape = GemmShape.whole(size, size, size, BF16, BF16, BF16)
    (predicted,) = predict_gemm(SMALL, shape, [20])
    bound = (-(-size // SMALL.n)) ** 2 * size
    assert 0 < predicted.cycles_predicted - bound <= cycles


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("size", [(64, 64, 64), (100, 100, 100), (40, 200, 40)], ids=str)
def test_a_program_ends_with_few_columns_of_the_last_tile(size, swapped):
    """All K steps of the other columns come before, so that they are stored by then."""
    shape = GemmShape.whole(*size, BF16, BF16, BF16)
    addresses = GemmAddresses(a=0, b=1 << 20, c=1 << 21)
    program, plan = build_gemm(SMALL, shape, addresses, swapped=swapped)
    matmuls = [fields for name, fields in instructions_of(program) if name == "tensor.matmul"]
    steps = plan.chunks(len(plan.blocks) - 1)[-1]
    *passes, first_piece, last_piece = matmuls[-len(steps) - 1 :]
    columns = first_piece["columns"] + last_piece["columns"]
    assert [fields["columns"] for fields in passes] == [columns] * (len(steps) - 1)
    assert columns < 3 * SMALL.bus_words
    assert last_piece["columns"] <= SMALL.bus_words


def test_programs_stay_short():
    sizes = {64: 265, 256: 10_100}
    for size, limit in sizes.items():
        shape = GemmShape.whole(size, size, size, BF16, BF16, BF16)
        program, plan = build_gemm(SMALL, shape, GemmAddresses(a=0, b=1 << 20, c=1 << 21))
        assert len(program) // 16 <= min(limit, plan.granules())


def test_memory_outside_the_result_is_untouched():
    device = GoldenDevice(SMALL)
    seen = []
    run = device.run

    def recording_run(memory, **arguments):
        before = memory.copy()
        result = run(memory, **arguments)
        seen.append(np.flatnonzero(before != memory))
        return result

    device.run = recording_run
    ones = np.full((13, 13), 0x3F80, np.uint16)
    gemm(device, ones, ones, BF16, BF16, BF16)
    start = 2 * 384
    assert len(seen) == 1
    assert seen[0].min() >= start
    assert seen[0].max() < start + 13 * 13 * 2


def test_the_report_describes_the_job():
    report = check(SMALL, (64, 32, 16), (BF16, BF16, BF16), "normal", 0)
    assert report.shape == (64, 32, 16)
    assert report.macs == 64 * 32 * 16
    assert report.peak_macs_per_cycle == 64
    assert (report.cycles, report.utilisation, report.cycles_per_second) == (None, None, None)
    assert report.seconds > 0
    assert (report.preset, report.device, report.programs) == ("small", "golden", 1)
    program_beats = report.program_bytes // 16
    assert report.read_beats >= (64 * 16 + 16 * 32) // 8 + program_beats
    assert report.write_beats == 64 * 32 // 8


def test_cycles_of_a_device_with_a_clock_make_the_utilisation():
    device = GoldenDevice(SMALL)
    run = device.run
    device.run = lambda *args, **kwargs: replace(
        run(*args, **kwargs), cycles=128, counters={"TENSOR_BUSY": 5}
    )
    ones = np.full((16, 16), 0x38, np.uint8)
    _, report = gemm(device, ones, ones, E4M3FN, E4M3FN, FP32)
    assert report.cycles == 128
    assert report.peak_macs_per_cycle == 2 * SMALL.n**2, "they are packed"
    assert report.utilisation == 0.25
    wide = np.full((16, 16), 0x3F80, np.uint16)
    assert gemm(device, wide, ones, BF16, E4M3FN, FP32)[1].utilisation == 0.5
    assert report.counters == {"TENSOR_BUSY": 5}


def test_the_speed_is_cycles_by_the_seconds_in_which_programs_ran(monkeypatch):
    monkeypatch.setattr(gemm_module, "MAX_GRANULES", 400)
    now = [100.0]
    monkeypatch.setattr(gemm_module, "perf_counter", lambda: now[0])
    device = GoldenDevice(SMALL)
    run = device.run

    def run_for_two_seconds(*args, **kwargs):
        now[0] += 2.0
        return replace(run(*args, **kwargs), cycles=128)

    def prepare_for_a_second(number, total):
        now[0] += 1.0

    device.run = run_for_two_seconds
    codes = np.full((200, 16), 0x3F80, np.uint16), np.full((16, 150), 0x3F80, np.uint16)
    _, report = gemm(device, *codes, BF16, BF16, BF16, progress=prepare_for_a_second)
    assert report.programs > 1
    assert report.cycles == 128 * report.programs
    assert report.seconds == 2.0 * report.programs
    assert report.cycles_per_second == 64.0


@pytest.mark.parametrize("transposed", [PLAIN, *TRANSPOSED], ids=str)
def test_jobs_beyond_the_program_counter_are_split_and_still_exact(monkeypatch, transposed):
    monkeypatch.setattr(gemm_module, "MAX_GRANULES", 400)
    seen = []
    rng = np.random.default_rng(2)
    a_codes, b_codes = (
        rng.integers(0, 0x3F80, (s)).astype(np.uint16) for s in ((200, 16), (16, 150))
    )
    codes, report = multiply(
        GoldenDevice(SMALL),
        a_codes,
        b_codes,
        (BF16, BF16, BF16),
        transposed,
        progress=lambda number, total: seen.append((number, total)),
    )
    assert np.array_equal(codes, golden_gemm(a_codes, b_codes, BF16, BF16, BF16))
    assert report.programs == len(seen) > 1
    assert seen == [(i, report.programs) for i in range(report.programs)]


def test_jobs_are_cut_by_rows_then_by_columns(monkeypatch):
    monkeypatch.setattr(gemm_module, "MAX_GRANULES", 296)
    jobs = split_jobs(SMALL, GemmShape.whole(130, 200, 16, BF16, BF16, BF16))
    covered = np.zeros((130, 200), int)
    for job in jobs:
        covered[job.rows.start : job.rows.stop, job.columns.start : job.columns.stop] += 1
    assert (covered == 1).all()
    assert {len(job.rows) for job in jobs} < {32, 64, 2}
    assert Span(0, 64) in [job.columns for job in jobs]
    with pytest.raises(ValueError, match="K = 900 is too long"):
        split_jobs(SMALL, GemmShape.whole(1, 1, 900, BF16, BF16, BF16))


def test_a_trap_is_an_exception_with_its_record():
    device = GoldenDevice(SMALL)
    run = device.run
    device.run = lambda memory, **arguments: run(memory, **arguments, window=(0, 63))
    ones = np.full((8, 8), 0x38, np.uint8)
    with pytest.raises(TileTrapError, match="MEMORY_WINDOW") as caught:
        gemm(device, ones, ones, E4M3FN, E4M3FN, FP32)
    assert caught.value.record.cause == Trap.MEMORY_WINDOW


BAD_OPERANDS = {
    "disagree on K": ((2, 3), (4, 2), np.uint16, np.uint16),
    "A must be two-dimensional": ((2,), (4, 2), np.uint16, np.uint16),
    "B must not be empty": ((2, 4), (4, 0), np.uint16, np.uint16),
    "A must hold bf16 codes as uint16, not uint8": ((2, 3), (3, 2), np.uint8, np.uint16),
    "B must hold bf16 codes as uint16, not float32": ((2, 3), (3, 2), np.uint16, np.float32),
}


def test_transposed_operands_that_disagree_on_k_are_quoted_as_they_lie():
    a, b = np.zeros((4, 3), np.uint16), np.zeros((4, 2), np.uint16)
    with pytest.raises(ValueError, match=r"A\^T \(4, 3\) and B\^T \(4, 2\) .* on K: 4 and 2"):
        gemm(GoldenDevice(SMALL), a, b, BF16, BF16, BF16, transpose_a=True, transpose_b=True)


@pytest.mark.parametrize("message", BAD_OPERANDS)
def test_operands_that_do_not_fit_are_refused(message):
    shape_a, shape_b, dtype_a, dtype_b = BAD_OPERANDS[message]
    with pytest.raises(ValueError, match=message):
        gemm(
            GoldenDevice(SMALL),
            np.zeros(shape_a, dtype_a),
            np.zeros(shape_b, dtype_b),
            BF16,
            BF16,
            BF16,
        )
