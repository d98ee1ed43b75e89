"""Predicted cycles beside those of the RTL."""

from dataclasses import replace

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, FP32
from tegula.isa.assembly import assemble
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.gemm.addresses import GemmAddresses
from tegula_sw.gemm.kernel import build_gemm
from tegula_sw.gemm.run import gemm
from tegula_sw.gemm.shape import GemmShape
from tegula_sw.program.timing.model import predict
from tegula_sw.training.parameters import TrainingSettings
from tegula_sw.training.session import Session
from verif.benches.memory_map import BASE
from verif.benches.random_programs import random_program
from verif.support.timing_bench import TimedDevice
from verif.support.training_bench import CLASSES, INPUTS, RUNS, SMALL, TINY, batches

LATENCIES = (1, 20, 200)
SIZES = (64, 96, 100, 127, 128, 256)
"""Those of `make bench`."""

_PROGRAMS = 24
_SEED = 71


@pytest.fixture(scope="module")
def tiny():
    """Devices by read latency."""
    devices = {latency: TimedDevice(TINY, latency) for latency in LATENCIES}
    yield devices
    for device in devices.values():
        device.close()


def run_product(device, m, k, n, source, result=BF16, **transposed):
    """The device's last program, which multiplied zeros."""
    shapes = [(m, k), (k, n)]
    for index, name in enumerate(("transpose_a", "transpose_b")):
        if transposed.get(name):
            shapes[index] = shapes[index][::-1]
    a, b = (np.zeros(shape, code_dtype(source)) for shape in shapes)
    gemm(device, a, b, source, source, result, **transposed)
    return device.runs[-1]


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize(
    ("shape", "source", "result", "transposed"),
    [
        ((4, 4, 4), BF16, BF16, {}),
        ((12, 12, 12), BF16, BF16, {}),
        ((32, 32, 32), BF16, BF16, {}),
        ((32, 32, 32), E4M3FN, FP32, {}),
        ((33, 33, 33), BF16, BF16, {}),
        ((33, 33, 33), E4M3FN, BF16, {}),
        ((70, 9, 5), BF16, BF16, {}),
        ((20, 60, 28), BF16, FP32, {"transpose_a": True, "transpose_b": True}),
    ],
    ids=str,
)
def test_products_are_predicted_within_two_percent(
    tiny, latency, shape, source, result, transposed
):
    run_product(tiny[latency], *shape, source, result, **transposed).check(0.02)


_BLOCKS = "vector.quantise rows=4 format=e4m3fn dst=512 scale_dst=1000"
_SBUF = f"{_BLOCKS} x_source=sbuf"
_SHORT = f"{_SBUF} x_format=bf16"
_COPY = "vector.compute rows=4 format=bf16 x_source=index columns=50 dst=8"
_MATMUL = "tensor.matmul rows=4 format=bf16 addr=0 columns=64 psum_addr=0 signal(0+=1)"


@pytest.mark.parametrize(
    "text",
    [
        f"{_SBUF} x_stride=2 columns=1",
        f"{_SBUF} x_stride=2 columns=33",
        f"{_SBUF} x_stride=2 columns=200",
        f"{_SBUF} x_format=bf16 columns=100 transpose=1 packed=1 dst_stride=4 op0=add",
        f"{_SHORT} columns=40\n{_SHORT} columns=20\n{_COPY}\n{_SHORT} columns=70",
        f"{_MATMUL}\n{_BLOCKS} x_source=psum columns=64 wait(0>=1) op0=mul op1=add s0=8",
    ],
    ids=range(6),
)
def test_blocks_that_share_a_scale_are_predicted_to_the_cycle(tiny, text):
    run_text(tiny[LATENCIES[1]], text).check(0)


@pytest.mark.parametrize("row", [0, 3, 7, 8, 64, 127])
def test_rows_of_scales_are_predicted_to_the_cycle(tiny, row):
    """Rows 0 to 7 are read by the matmul before: of these some wait, of others none."""
    operand = "rows=4 format=e4m3fn packed=1 scaled=1 addr=0"
    matmul = f"tensor.matmul {operand} columns=32 psum_addr=0"
    load = f"tensor.load {operand} columns=4 scales=20"
    rows = f"tensor.scales addr=9 columns=5 scales={row}"
    first = "tensor.scales addr=0 columns=24"
    timed = run_text(tiny[LATENCIES[1]], "\n".join((first, load, matmul, rows, load, matmul)))
    timed.check(0)


def test_blocks_whose_elements_begin_in_every_other_cycle_are_predicted_to_within_one(tiny):
    """Which cycles these are the model does not know: they go on from program to program."""
    timed = run_text(tiny[LATENCIES[1]], f"{_SBUF} x_stride=2 columns=200 op0=mul op1=mul")
    assert abs(timed.measured.cycles - timed.predicted.cycles) <= 1


def run_text(device, text):
    """The device's last program, which is this and ends well."""
    code = assemble(f"{text}\nhalt\n")
    memory = np.zeros(0x1000, np.uint8)
    memory[: len(code)] = np.frombuffer(code, np.uint8)
    assert device.run(memory, program=BASE, program_bytes=len(code), base=BASE).trap is None
    return device.runs[-1]


def test_random_programs_are_predicted_within_five_percent(tiny):
    check_random_programs(tiny)


@pytest.mark.slow
def test_random_programs_of_partitions_that_share_lanes_are_predicted_too():
    device = TimedDevice(replace(TINY, name="folded", vector_folding=2), 20)
    check_random_programs(dict.fromkeys(LATENCIES, device))
    device.close()


def check_random_programs(devices):
    """Predicted within five percent each, and one on the average, on devices by latency."""
    errors = []
    for seed in range(_SEED, _SEED + _PROGRAMS):
        rng = np.random.default_rng(seed)
        program = random_program(rng, TINY, int(rng.integers(5, 60)), serial=seed % 3 == 0)
        memory = program.image(lambda count: np.zeros(count, np.uint8))
        device = devices[LATENCIES[seed % len(LATENCIES)]]
        device.run(memory, program=program.start, program_bytes=len(program.code), base=BASE)
        device.runs[-1].check(0.05)
        errors.append(abs(device.runs[-1].error))
    assert np.mean(errors) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("latency", LATENCIES)
def test_the_table_of_products_is_predicted_within_two_percent(latency):
    device = TimedDevice(SMALL, latency)
    for size in SIZES:
        for source in (BF16, E4M3FN):
            run_product(device, size, size, size, source).check(0.02)
    for size in (64, 128):
        for transpose_a, transpose_b in ((True, False), (False, True), (True, True)):
            flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
            run_product(device, size, size, size, BF16, **flags).check(0.02)
    device.close()
    assert len(device.runs) == 18


@pytest.mark.slow
@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("run", RUNS)
def test_steps_of_training_are_predicted_within_five_percent(run, latency):
    settings = TrainingSettings(**RUNS[run])
    device = TimedDevice(SMALL, latency)
    session = Session(device, settings, INPUTS, CLASSES)
    before = len(device.runs)
    for batch in batches(settings, 2):
        session.step(*batch)
    session.logits(batch[0])
    session.save()
    device.close()
    assert len(device.runs) == before + 4
    for timed in device.runs:
        timed.check(0.05)


def build(config, size, source=BF16):
    """The program of a square product."""
    bytes_each = size * size * 2
    addresses = GemmAddresses(a=0, b=bytes_each, c=2 * bytes_each)
    shape = GemmShape.whole(size, size, size, source, source, BF16)
    return build_gemm(config, shape, addresses)[0]


def test_a_slower_memory_never_makes_a_program_faster():
    code = build(TINY, 24)
    cycles = [predict(TINY, code, mem_latency=latency).cycles for latency in (1, 2, 7, 20, 60, 300)]
    assert cycles == sorted(cycles)
    assert cycles[-1] > 2 * cycles[0]


@pytest.mark.parametrize("name", ["tiny", "small", "medium"])
def test_a_larger_product_keeps_more_of_the_array_busy(name):
    config = preset(name)
    shares = []
    for size in (config.n, 4 * config.n, 8 * config.n):
        predicted = predict(config, build(config, size))
        assert predicted.columns == size**3 // config.n**2
        shares.append(predicted.columns / predicted.cycles)
    assert shares == sorted(shares)
    assert 0.01 < shares[0] < shares[-1] < 1


def test_the_fewest_cycles_are_those_of_halt():
    predicted = predict(TINY, assemble("halt\n"), mem_latency=1)
    assert predicted.cycles < 20
    assert (predicted.read_beats, predicted.write_beats, predicted.columns) == (2, 0, 0)


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("tensor.sync\n", {}, "no halt"),
        ("tensor.sync wait(3>=1)\nhalt\n", {}, "never come"),
        ("halt\n", {"mem_latency": 0}, "mem_latency"),
        ("halt\n", {"mem_latency": 2.5}, "mem_latency"),
        ("halt\n", {"address": -64}, "address"),
    ],
)
def test_what_cannot_be_predicted_is_said(program, options, message):
    code = assemble(program)
    with pytest.raises(ValueError, match=message):
        predict(TINY, code, **options)


def test_a_configuration_is_none_by_name():
    with pytest.raises(ValueError, match="must be a TileConfig"):
        predict("tiny", assemble("halt\n"))


def test_a_program_that_cannot_be_decoded_is_an_error():
    with pytest.raises(ValueError, match="opcode"):
        predict(TINY, b"\xff" * 16)
