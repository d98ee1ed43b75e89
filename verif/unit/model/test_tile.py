"""The functional simulator runs programs: arithmetic, masks, queues, semaphores."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32, format_by_name
from tegula.isa.assembly import assemble
from tegula.isa.instructions import Engine
from tegula.isa.traps import Trap
from tegula_golden.numerics.accumulate import PartialSums, accumulate
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.codes import code_dtype
from tegula_golden.numerics.gemm import gemm
from tegula_golden.tile.simulator import GoldenTile
from tegula_sw.devices.golden import GoldenDevice

SMALL = preset("small")
N = SMALL.n
OPERANDS = 0x4000
RESULTS = 0x8000


def run(tile, text, memory=None, **arguments):
    """Run the program at address 0 of `memory`."""
    program = assemble(text)
    memory = np.zeros(1 << 16, np.uint8) if memory is None else memory
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    return tile.run(memory, program=0, program_bytes=len(program), **arguments)


def succeed(tile, text, memory=None, **arguments):
    """Run a program that must reach its `halt`."""
    result = run(tile, text, memory, **arguments)
    assert result.trap is None, result.trap
    return result


def trap_of(text, tile=None, **arguments):
    """Cause, engine, pc and address of a program that must trap."""
    record = run(tile or GoldenTile(SMALL), text, **arguments).trap
    assert record is not None
    return record.cause, record.engine, record.pc, record.address


def random_codes(rng, shape, fmt):
    """Any finite codes."""
    codes = rng.integers(0, 1 << fmt.width, shape).astype(code_dtype(fmt))
    special = (codes & fmt.magnitude_mask) > fmt.max_finite
    return np.where(special, 0, codes).astype(code_dtype(fmt))


def gaussian_codes(rng, shape, fmt):
    """Codes of standard normal numbers: dot products inside the range of every format."""
    return cast(rng.standard_normal(shape).astype(np.float32).view(np.uint32), fmt)


def place(memory, address, array):
    """Put the bytes of `array` into `memory`."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    memory[address : address + flat.size] = flat


def gemm_text(m, f, tail, fmt_a, fmt_b, fmt_out):
    """A^T (K x M) and B (K x F), a row a partition; K in two passes, the second partial."""
    a_bytes, b_bytes, c_bytes = (fmt.width // 8 for fmt in (fmt_a, fmt_b, fmt_out))
    a_row, b_row, words = m * a_bytes, f * b_bytes, 2 if fmt_out is FP32 else 1
    return f"""
    load.dma mem_addr=0x4000 run={m} count1=8 mem_stride1={a_row} sbuf_addr=0 \
        partition_stride1=1 layout=free bytes1={2 - a_bytes} signal(0+=1)
    load.dma mem_addr={0x4000 + 8 * a_row} run={m} count1={tail} mem_stride1={a_row} sbuf_addr=16 \
        partition_stride1=1 layout=free bytes1={2 - a_bytes} signal(0+=1)
    load.dma mem_addr=0x6000 run={f} count1=8 mem_stride1={b_row} sbuf_addr=64 \
        partition_stride1=1 layout=free bytes1={2 - b_bytes} signal(0+=1)
    load.dma mem_addr={0x6000 + 8 * b_row} run={f} count1={tail} mem_stride1={b_row} sbuf_addr=128 \
        partition_stride1=1 layout=free bytes1={2 - b_bytes} signal(0+=1)
    tensor.load rows=8 format={fmt_a.name} columns={m} addr=0 wait(0>=4)
    tensor.matmul rows=8 format={fmt_b.name} addr=64 columns={f} psum_addr=16
    tensor.load rows={tail} format={fmt_a.name} columns={m} addr=16
    tensor.matmul rows={tail} format={fmt_b.name} accumulate=1 addr=128 columns={f} psum_addr=16 \
        signal(1+=1)
    vector.compute rows={m} format={fmt_out.name} saturate=1 x_addr=16 dst=512 dst_stride={words} \
        columns={f} consume(1>=1) signal(2+=1)
    store.dma mem_addr=0x8000 run={words * f} count1={m} mem_stride1={f * c_bytes} sbuf_addr=512 \
        partition_stride1=1 layout=free bytes1={int(c_bytes == 1)} wait(2>=1)
    halt
"""


def run_gemm(tile, fmt_a, fmt_b, fmt_out, m=5, f=19, tail=3, seed=1):
    """C = A @ B by hand, K = 8 + `tail`: the tile's codes, and those of the golden GEMM."""
    rng = np.random.default_rng(seed)
    a = gaussian_codes(rng, (m, 8 + tail), fmt_a)
    b = gaussian_codes(rng, (8 + tail, f), fmt_b)
    memory = rng.integers(0, 256, 1 << 16).astype(np.uint8)
    place(memory, 0x4000, a.T)
    place(memory, 0x6000, b)
    text = gemm_text(m, f, tail, fmt_a, fmt_b, fmt_out)
    before = memory.copy()
    succeed(tile, text, memory)
    size = m * f * fmt_out.width // 8
    got = memory[RESULTS : RESULTS + size].copy().view(code_dtype(fmt_out)).reshape(m, f)
    memory[RESULTS : RESULTS + size] = before[RESULTS : RESULTS + size]
    program_bytes = len(assemble(text))
    np.testing.assert_array_equal(memory[program_bytes:], before[program_bytes:])
    return got, gemm(a, b, fmt_a, fmt_b, fmt_out, saturate=True, rows=N)


@pytest.mark.parametrize("fmt_out", [BF16, E4M3FN, E5M2, FP32], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("fmt_b", [BF16, E4M3FN, E5M2], ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("fmt_a", [BF16, E4M3FN, E5M2], ids=lambda fmt: fmt.name)
def test_a_partial_tile_equals_the_golden_gemm(fmt_a, fmt_b, fmt_out):
    got, expected = run_gemm(GoldenTile(SMALL), fmt_a, fmt_b, fmt_out)
    np.testing.assert_array_equal(got, expected)
    assert np.unique(expected).size > 10


@pytest.mark.parametrize(("m", "f", "tail"), [(1, 1, 1), (8, 48, 8), (3, 8, 5)])
def test_any_number_of_rows_columns_and_terms_works(m, f, tail):
    got, expected = run_gemm(GoldenTile(SMALL), BF16, E5M2, FP32, m, f, tail)
    np.testing.assert_array_equal(got, expected)


def run_on_codes(seed, columns, text):
    """A tile after a program, and the random codes in its scratchpad's first `columns` words."""
    tile = GoldenTile(SMALL)
    words = random_codes(np.random.default_rng(seed), (N, columns), BF16).astype(np.uint16)
    tile.write_sbuf(0, words)
    succeed(tile, text + "\nhalt")
    return tile, words


def assert_psum(tile, addr, expected):
    got = tile.read_psum(addr, expected.exponent.shape[1])
    np.testing.assert_array_equal(got.exponent, expected.exponent)
    np.testing.assert_array_equal(got.significand, expected.significand)


def test_lanes_that_take_no_part_are_zeros_on_both_sides():
    tile, words = run_on_codes(
        2,
        32,
        """tensor.load rows=6 format=bf16 columns=3 addr=0
           tensor.matmul rows=4 format=bf16 addr=8 columns=5 psum_addr=7""",
    )
    stationary, moving = words[:, :8].copy(), words[:, 8:13].copy()
    stationary[6:], stationary[:, 3:], moving[4:] = 0, 0, 0
    expected = accumulate(PartialSums.empty((N, 5)), stationary, moving, BF16, BF16)
    assert_psum(tile, 7, expected)
    assert not expected.exponent[3:].any()
    assert expected.exponent[:3].all()


def test_a_masked_lane_meets_an_infinity_as_a_zero_does():
    tile = GoldenTile(SMALL)
    words = np.zeros((N, 16), np.uint16)
    words[:, :8] = 0x3F80
    words[0, 8] = 0x7F80
    tile.write_sbuf(0, words)
    succeed(
        tile,
        """tensor.load rows=8 format=bf16 columns=2 addr=0
           tensor.matmul rows=1 format=bf16 addr=8 columns=1 psum_addr=0
           halt""",
    )
    assert tile.read_psum(0, 1).exponent[:, 0].tolist() == [509] * 2 + [511] * 6


def test_strides_of_operands_may_be_negative_or_zero():
    tile, words = run_on_codes(
        3,
        64,
        """tensor.load rows=8 format=bf16 columns=8 addr=50 stride=-7
           tensor.matmul rows=8 format=bf16 addr=63 stride=-3 columns=20 psum_addr=0
           tensor.matmul rows=8 format=bf16 addr=5 stride=0 columns=2 psum_addr=20""",
    )
    stationary = words[:, 50 - 7 * np.arange(8)]
    moving = words[:, np.r_[63 - 3 * np.arange(20), 5, 5]]
    empty = PartialSums.empty((N, 22))
    assert_psum(tile, 0, accumulate(empty, stationary, moving, BF16, BF16))


def test_the_stationary_operand_serves_many_matmuls():
    tile, words = run_on_codes(
        4,
        24,
        """tensor.load rows=8 format=bf16 columns=8 addr=0
           tensor.matmul rows=8 format=bf16 addr=8 columns=8 psum_addr=0
           tensor.matmul rows=8 format=bf16 addr=16 columns=8 psum_addr=8""",
    )
    empty = PartialSums.empty((N, 16))
    assert_psum(tile, 0, accumulate(empty, words[:, :8], words[:, 8:], BF16, BF16))


def test_a_matmul_without_a_stationary_operand_gives_empty_words():
    tile, _ = run_on_codes(5, 8, "tensor.matmul rows=8 format=bf16 addr=0 columns=8 psum_addr=0")
    assert not tile.read_psum(0, 8).exponent.any()


def test_the_high_byte_of_an_fp8_word_is_ignored():
    results = []
    for high in (0, 0xA500):
        tile = GoldenTile(SMALL)
        words = random_codes(np.random.default_rng(6), (N, 16), E4M3FN).astype(np.uint16)
        tile.write_sbuf(0, words | np.uint16(high))
        succeed(
            tile,
            """tensor.load rows=8 format=e4m3fn columns=8 addr=0
               tensor.matmul rows=8 format=e4m3fn addr=8 columns=8 psum_addr=0
               halt""",
        )
        results.append(tile.read_psum(0, 8))
    np.testing.assert_array_equal(results[0].significand, results[1].significand)
    assert results[0].significand.any()


@pytest.mark.parametrize("name", ["bf16", "e4m3fn", "e5m2", "fp32"])
@pytest.mark.parametrize("stochastic", [0, 1])
@pytest.mark.parametrize("saturate", [0, 1])
def test_copies_cast_fp32_from_the_scratchpad(name, stochastic, saturate):
    rng = np.random.default_rng(7)
    tile = GoldenTile(SMALL)
    bits = rng.integers(0, 1 << 32, (N, 300)).astype(np.uint32)
    random = rng.integers(0, 1 << 16, (N, 300)).astype(np.uint16)
    tile.write_sbuf(102, bits.view(np.uint16))
    tile.write_sbuf(1000, random)
    tile.write_sbuf(2000, np.full((N, 1000), 0x5A5A, np.uint16))
    succeed(
        tile,
        f"""vector.compute rows=5 format={name} x_source=sbuf x_addr=102 x_stride=2
            rounding={2 * stochastic} y_format=raw16 y_addr=1000 saturate={saturate}
            dst=2004 dst_stride={2 if name == "fp32" else 1} columns=300""".replace("\n", " ")
        + "\nhalt",
    )
    fmt = format_by_name(name)
    codes = cast(bits, fmt, saturate=bool(saturate), random=random if stochastic else None)
    words = codes.view(np.uint16) if fmt is FP32 else codes.astype(np.uint16)
    got = tile.read_sbuf(2000, 1000)
    np.testing.assert_array_equal(got[:5, 4 : 4 + words.shape[1]], words[:5])
    assert (got[5:] == 0x5A5A).all()
    assert (got[:, :4] == 0x5A5A).all()
    assert (got[:, 4 + words.shape[1] :] == 0x5A5A).all()


def test_a_program_longer_than_its_queues_runs():
    tile = GoldenTile(SMALL)
    text = "".join(
        f"tensor.sync wait(0>={i}) signal(1+=1)\nload.sync wait(1>={i + 1}) signal(0+=1)\n"
        for i in range(100)
    )
    succeed(tile, text + "halt")
    assert tile.semaphores[:2] == [100, 100]


def test_consume_subtracts_and_wait_does_not():
    tile = GoldenTile(SMALL)
    succeed(
        tile,
        """load.sync signal(0+=5)
           tensor.sync wait(0>=5)
           tensor.sync consume(0>=3)
           tensor.sync consume(0>=2) signal(1+=255)
           halt""",
    )
    assert tile.semaphores[:2] == [0, 255]


def test_a_full_queue_holds_back_the_instructions_behind_it():
    depth = SMALL.queue_depth
    fits = "tensor.sync wait(0>=1)\n" * depth + "load.sync signal(0+=1)\nhalt"
    succeed(GoldenTile(SMALL), fits)
    full = "tensor.sync wait(0>=1)\n" * (depth + 1) + "load.sync signal(0+=1)\nhalt"
    assert trap_of(full) == (Trap.DEADLOCK, Engine.TENSOR, 0, 0)


def test_the_deadlock_record_names_the_first_engine_that_waits():
    text = """load.sync signal(2+=1)
              store.sync wait(5>=1)
              vector.sync wait(2>=1)
              vector.sync wait(7>=3)
              halt"""
    assert trap_of(text) == (Trap.DEADLOCK, Engine.VECTOR, 48, 7)


def test_semaphores_begin_each_program_at_zero():
    tile = GoldenTile(SMALL)
    succeed(tile, "load.sync signal(3+=1)\nhalt")
    assert trap_of("load.sync wait(3>=1)\nhalt", tile)[0] is Trap.DEADLOCK


def test_the_scratchpad_survives_from_program_to_program():
    tile = GoldenTile(SMALL)
    memory = np.zeros(1 << 16, np.uint8)
    memory[OPERANDS : OPERANDS + 64] = np.arange(64)
    dma = "mem_addr={} run=32 sbuf_addr=8 layout=free"
    succeed(tile, f"load.dma {dma.format(OPERANDS)}\nhalt", memory)
    succeed(tile, f"store.dma {dma.format(RESULTS)}\nhalt", memory)
    np.testing.assert_array_equal(memory[RESULTS : RESULTS + 64], np.arange(64))


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_fetch_counts_whole_beats(name):
    config = preset(name)
    for instructions in range(1, 6):
        result = succeed(GoldenTile(config), "load.sync\n" * (instructions - 1) + "halt")
        assert result.read_beats == -(-16 * instructions // config.bus_bytes)
        assert result.write_beats == 0


def test_the_golden_device_reports_what_the_tile_did():
    device = GoldenDevice(SMALL)
    memory = np.zeros(1 << 12, np.uint8)
    program = assemble("store.dma mem_addr=0x800 run=16 sbuf_addr=0 layout=free\nhalt")
    memory[: len(program)] = np.frombuffer(program, np.uint8)
    result = device.run(memory, program=0, program_bytes=len(program))
    assert (result.trap, result.cycles, result.counters) == (None, None, {})
    assert (result.read_beats, result.write_beats) == (5, 2)
    assert device.config is SMALL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"program": 16}, "program must be a multiple of 64"),
        ({"program_bytes": 8}, "program_bytes must be a multiple of 16, not 8"),
        ({"program_bytes": -16}, r"program_bytes must be 0 to 2\*\*32 - 1, not -16"),
        ({"program_bytes": 1 << 33}, r"program_bytes must be 0 to 2\*\*32 - 1, not 8589934592"),
        ({"window": (8, 7)}, "window must be first <= last"),
        ({"base": 8, "window": (0, 63)}, "an edge of memory that is a multiple of 16, not 0x8"),
        ({"base": -1}, "base must be 0 to"),
        ({"base": 1 << 40}, "base must be 0 to"),
        ({"watchdog": 0}, "watchdog must be 1 to .* not 0"),
    ],
)
def test_malformed_arguments_are_refused(arguments, message):
    good = {"program": 0, "program_bytes": 16}
    with pytest.raises(ValueError, match=message):
        GoldenTile(SMALL).run(np.zeros(64, np.uint8), **{**good, **arguments})


@pytest.mark.parametrize("memory", [np.zeros(64, np.uint16), np.zeros((8, 8), np.uint8)])
def test_a_memory_of_another_shape_or_type_is_refused(memory):
    with pytest.raises(ValueError, match="memory must be a one-dimensional uint8 array"):
        GoldenTile(SMALL).run(memory, program=0, program_bytes=16)


def test_accessors_refuse_addresses_that_do_not_exist():
    tile = GoldenTile(SMALL)
    with pytest.raises(ValueError, match=f"scratchpad has addresses 0 to {SMALL.sbuf_depth - 1}"):
        tile.read_sbuf(SMALL.sbuf_depth - 1, 2)
    with pytest.raises(ValueError, match=f"PSUM has addresses 0 to {SMALL.psum_depth - 1}"):
        tile.read_psum(-1, 2)
