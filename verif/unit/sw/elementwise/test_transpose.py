"""The transposition kernel: every code, every shape, both devices."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula.isa.traps import Trap
from tegula_sw.devices.base import TileTrapError
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.elementwise.transpose import TransposeAddresses, build_transpose, transpose_on_device
from tegula_sw.program.race_check import check_program

SEED = 60_300
TINY = preset("tiny")
CONFIGS = {
    "tiny": TINY,
    "queue of 2": preset("small", queue_depth=2),
    "medium": preset("medium"),
    "wide bus": TileConfig(n=4, axi_data_width=512),
    "small scratchpad": TileConfig(n=32, sbuf_depth=64),
    "three lines": TileConfig(n=4, axi_data_width=512, sbuf_depth=128),
}
DTYPES = (np.uint8, np.uint16)
SHAPES = [(1, 1), (4, 4), (8, 8), (16, 16), (1, 37), (37, 1), (33, 65), (7, 300), (300, 7)]


def random_codes(shape, dtype):
    rng = np.random.default_rng([SEED, *shape])
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture(scope="module", params=["golden", "rtl", "rtl with stalls"])
def device(request):
    if request.param == "golden":
        yield GoldenDevice(TINY)
        return
    stall = 0.2 if "stalls" in request.param else 0.0
    device = RtlDevice(TINY, mem_latency=11, stall=stall, max_cycles=2_000_000)
    yield device
    device.close()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("skew", [0, 3])
def test_every_code_stays_what_it_is(device, dtype, skew):
    """All patterns, NaNs with their payloads among them, in a square and in a longer matrix."""
    count = int(np.iinfo(dtype).max) + 1
    side = int(np.sqrt(count))
    codes = np.arange(count, dtype=dtype)
    if skew:
        codes = np.concatenate([codes, codes[: side * skew]])
    codes = codes.reshape(side + skew, side)
    assert len(np.unique(codes)) == count
    assert np.array_equal(transpose_on_device(device, codes), codes.T)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_blocks_and_whole_matrices_are_transposed(device, shape, dtype):
    codes = random_codes(shape, dtype)
    result = transpose_on_device(device, codes)
    assert result.dtype == dtype
    assert np.array_equal(result, codes.T)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("shape", [(1, 1), (70, 131), (5, 1000), (1000, 5), (129, 256)], ids=str)
def test_every_configuration_transposes(config, shape, dtype):
    codes = random_codes(shape, dtype)
    assert np.array_equal(transpose_on_device(GoldenDevice(config), codes), codes.T)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("shape", [(1, 1), (300, 270)], ids=str)
def test_programs_neither_deadlock_nor_race(config, shape):
    addresses = TransposeAddresses(source=0, result=1 << 20)
    program = build_transpose(config, shape, 2, addresses)
    assert check_program(config, program) >= 3


def test_memory_outside_the_result_is_untouched():
    device = GoldenDevice(TINY)
    codes = np.full((13, 19), 0x1234, np.uint16)
    start, run, changed = 512, device.run, []

    def guarded_run(memory, **arguments):
        memory[start : start + codes.nbytes] = 0xFF
        before = memory.copy()
        result = run(memory, **arguments)
        changed.extend(np.flatnonzero(before != memory).tolist())
        return result

    device.run = guarded_run
    assert np.array_equal(transpose_on_device(device, codes), codes.T)
    assert changed == list(range(start, start + codes.nbytes))


@pytest.mark.parametrize(("code_bytes", "share"), [(2, 0.9), (1, 0.45)])
def test_the_bus_is_the_bound(code_bytes, share):
    """A beat a cycle of 16-bit codes; half of one of 8-bit codes, which take a word each."""
    device = RtlDevice(TINY)
    codes = random_codes((256, 256), DTYPES[code_bytes - 1])
    run = device.run
    cycles = []

    def recording_run(memory, **arguments):
        result = run(memory, **arguments)
        cycles.append(result.cycles)
        return result

    device.run = recording_run
    transpose_on_device(device, codes)
    device.close()
    beats = codes.nbytes // TINY.bus_bytes
    assert share * cycles[0] <= beats <= cycles[0]


def test_a_trap_is_an_exception_with_its_record():
    device = GoldenDevice(TINY)
    run = device.run
    device.run = lambda memory, **arguments: run(memory, **arguments, window=(0, 63))
    with pytest.raises(TileTrapError) as caught:
        transpose_on_device(device, np.zeros((9, 9), np.uint16))
    assert caught.value.record.cause == Trap.MEMORY_WINDOW


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((2, 2), np.float32), "codes must be uint8 or uint16, not float32"),
        (np.zeros((0, 2), np.uint8), r"not empty, not of shape \(0, 2\)"),
        (np.zeros(4, np.uint8), r"must be a matrix .* not of shape \(4,\)"),
    ],
    ids=["type", "empty", "one axis"],
)
def test_codes_that_are_no_matrix_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        transpose_on_device(GoldenDevice(TINY), codes)


@pytest.mark.parametrize(
    ("config", "shape", "code_bytes", "message"),
    [
        (TINY, (0, 1), 2, r"shape \(0, 1\) has nothing to transpose"),
        (TINY, (1, 1), 4, "code_bytes must be 1 or 2, not 4"),
        (
            TileConfig(n=4, sbuf_depth=16),
            (1, 1),
            2,
            "16 words a partition is too small to transpose",
        ),
    ],
    ids=["shape", "code size", "scratchpad"],
)
def test_programs_that_cannot_be_built_are_refused(config, shape, code_bytes, message):
    with pytest.raises(ValueError, match=message):
        build_transpose(config, shape, code_bytes, TransposeAddresses(source=0, result=0))
