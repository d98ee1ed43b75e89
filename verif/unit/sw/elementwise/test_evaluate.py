"""Elementwise operations and functions: the tile's programs, golden, and independent opinions."""

import numpy as np
import pytest

from tegula.config import TileConfig, preset
from tegula_sw.cli.parser import main
from tegula_sw.devices.golden import GoldenDevice
from tegula_sw.devices.rtl.device import RtlDevice
from tegula_sw.elementwise import evaluate as module
from tegula_sw.elementwise.evaluate import (
    BINARY,
    OPERATIONS,
    EvaluateAddresses,
    build_evaluate,
    evaluate_golden,
    evaluate_on_device,
)
from tegula_sw.functions import NAMES
from tegula_sw.functions.loading import TableRecords
from tegula_sw.program.program import MemoryImage
from tegula_sw.program.race_check import check_program
from verif.oracles.mpfr import exact, ulp_errors
from verif.stimuli.fp32 import PRODUCT_KINDS, SUM_KINDS, addends, factors, special_pairs, specials
from verif.stimuli.functions import arguments

SEED = 51_900
TINY = preset("tiny")
CONFIGS = {
    "tiny": TINY,
    "queue of 2": preset("small", queue_depth=2),
    "wide bus": TileConfig(n=4, axi_data_width=512),
    "small scratchpad": TileConfig(n=32, sbuf_depth=1024),
}
QNAN = 0x7FC0_0000
MAX_ULPS = {
    "exp": 1,
    "recip": 2,
    "rsqrt": 2,
    "sqrt": 2,
    "sigmoid": 3,
    "tanh": 3,
    "gelu": 2,
    "relu": 0,
}
ORACLES = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def stimuli(name, size):
    """Operands: special values, then hard cases, then any patterns."""
    rng = np.random.default_rng([SEED, OPERATIONS.index(name)])
    any_pair = rng.integers(0, 1 << 32, (2, size), dtype=np.uint32)
    if name in NAMES:
        return (np.concatenate([specials(), arguments(rng, size), any_pair[0]]),)
    draw, kinds = (factors, PRODUCT_KINDS) if name in ("mul", "neg") else (addends, SUM_KINDS)
    pairs = [special_pairs(), any_pair, *(draw(rng, size // len(kinds), kind) for kind in kinds)]
    x, y = (np.concatenate(operand) for operand in zip(*pairs, strict=True))
    return (x, y) if name in BINARY else (x,)


@pytest.fixture(scope="module")
def rtl():
    device = RtlDevice(TINY, mem_latency=7, stall=0.02, max_cycles=2_000_000)
    yield device
    device.close()


@pytest.fixture
def evaluate_file(tmp_path):
    """Evaluate by the command: arrays in, array out."""

    def run(name, *operands):
        paths = [str(tmp_path / f"{index}.npy") for index in range(len(operands))]
        for path, operand in zip(paths, operands, strict=True):
            np.save(path, operand)
        assert main(["eval", name, *paths, "-o", str(tmp_path / "Z.npy")]) == 0
        return np.load(tmp_path / "Z.npy")

    return run


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_compiled_tile_equals_golden(rtl, name):
    operands = stimuli(name, 3000)
    assert operands[0].size > 3000
    results = evaluate_on_device(rtl, name, *operands)
    assert np.array_equal(results, evaluate_golden(name, *operands))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("name", OPERATIONS)
def test_programs_give_the_bits_of_the_golden_arithmetic(name, config):
    size = 700 + 13 * OPERATIONS.index(name)
    operands = stimuli(name, size)
    results = evaluate_on_device(GoldenDevice(config), name, *operands)
    assert np.array_equal(results, evaluate_golden(name, *operands))


@pytest.mark.parametrize("name", ["add", "exp"])
@pytest.mark.parametrize("size", [1, 3, 8, 16, 17, 4096, 20_001])
def test_any_number_of_elements_is_evaluated(name, size):
    operands = [operand[-size:] for operand in stimuli(name, 24_000)]
    results = evaluate_on_device(GoldenDevice(TINY), name, *operands)
    assert results.shape == (size,)
    assert np.array_equal(results, evaluate_golden(name, *operands))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("run", [evaluate_golden, None], ids=["golden", "program"])
@pytest.mark.parametrize("name", ["sub", "abs", "tanh"])
def test_shapes_are_kept(name, run, shape):
    operands = [
        operand[: np.prod(shape, dtype=int)].reshape(shape) for operand in stimuli(name, 100)
    ]
    device = GoldenDevice(TINY)
    results = (run or (lambda *given: evaluate_on_device(device, *given)))(name, *operands)
    assert (results.shape, results.dtype) == (shape, np.uint32)


@pytest.mark.parametrize("name", ["max", "neg", "sigmoid"])
def test_long_arrays_are_cut_into_programs(monkeypatch, name):
    monkeypatch.setattr(module, "_MAX_ELEMENTS", 100)
    operands = [operand[:250] for operand in stimuli(name, 300)]
    expected = evaluate_golden(name, *operands)
    seen = []
    results = evaluate_on_device(
        GoldenDevice(TINY), name, *operands, progress=lambda *where: seen.append(where)
    )
    assert np.array_equal(results, expected)
    assert seen == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("name", ["add", "abs", "gelu"])
def test_programs_neither_deadlock_nor_race(name):
    config = CONFIGS["queue of 2"]
    image = MemoryImage()
    table = TableRecords.add(config, [name], image) if name in NAMES else None
    y = 1 << 21 if name in BINARY else None
    addresses = EvaluateAddresses(x=1 << 20, y=y, result=1 << 22)
    program = build_evaluate(config, name, 100_003, addresses, table)
    assert check_program(config, program) > 35


@pytest.mark.parametrize(("name", "words"), [("add", 2.0), ("abs", 1.0), ("exp", 1.5)])
def test_programs_take_little_more_than_their_bound(name, words):
    """Two words a cycle are read; the activation engine takes a column of four in three cycles."""
    device = RtlDevice(TINY)
    operands = [operand[: 1 << 15] for operand in stimuli(name, 1 << 15)]
    cycles = []
    run = device.run

    def recording_run(memory, **arguments):
        result = run(memory, **arguments)
        cycles.append(result.cycles)
        return result

    device.run = recording_run
    evaluate_on_device(device, name, *operands)
    device.close()
    (total,) = cycles
    bound = operands[0].size * words / 2
    assert bound <= total <= 1.4 * bound


@pytest.mark.parametrize("name", ORACLES)
def test_sums_and_products_are_those_of_numpy(evaluate_file, name):
    x, y = (operand.view(np.float32) for operand in stimuli(name, 20_000))
    with np.errstate(all="ignore"):
        expected = ORACLES[name](x, y)
    results = evaluate_file(name, x, y)
    nan = np.isnan(expected)
    assert results.dtype == np.float32
    assert 50 < nan.sum() < x.size / 4
    assert np.array_equal(results[~nan].view(np.uint32), expected[~nan].view(np.uint32))
    assert (results[nan].view(np.uint32) == QNAN).all()


@pytest.mark.parametrize("name", ["min", "max"])
def test_extrema_are_those_of_numpy_with_zeros_in_order(evaluate_file, name):
    x, y = stimuli(name, 20_000)
    a, b = x.view(np.float32), y.view(np.float32)
    with np.errstate(all="ignore"):
        expected = (np.minimum if name == "min" else np.maximum)(a, b)
    results = evaluate_file(name, a, b).view(np.uint32)
    nan, zeros = np.isnan(expected), (a == 0) & (b == 0)
    rest = ~(nan | zeros)
    assert np.array_equal(results[rest], expected[rest].view(np.uint32))
    assert (results[nan] == QNAN).all()
    both = x | y if name == "min" else x & y
    assert zeros.sum() >= 4
    assert np.array_equal(results[zeros], both[zeros])


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_are_one_or_zero(evaluate_file, name):
    x, y = (operand.view(np.float32) for operand in stimuli(name, 20_000))
    with np.errstate(all="ignore"):
        expected = COMPARISONS[name](x, y).astype(np.float32)
    results = evaluate_file(name, x, y)
    assert np.array_equal(results.view(np.uint32), expected.view(np.uint32))


def test_abs_keeps_payloads_and_neg_does_not(evaluate_file):
    x = stimuli("abs", 20_000)[0]
    assert np.array_equal(evaluate_file("abs", x), x & 0x7FFF_FFFF)
    nan = np.isnan(x.view(np.float32))
    negated = evaluate_file("neg", x)
    assert negated.dtype == np.uint32
    assert (negated[nan] == QNAN).all()
    assert np.array_equal(negated[~nan], x[~nan] ^ 0x8000_0000)


def test_select_and_rsub_are_what_their_names_say(evaluate_file):
    x, y = stimuli("select", 2000)
    assert np.array_equal(evaluate_file("select", x, y), np.where(x & 0x7FFF_FFFF, y, np.uint32(0)))
    assert np.array_equal(evaluate_file("rsub", x, y), evaluate_file("sub", y, x))


@pytest.mark.parametrize("name", MAX_ULPS)
def test_functions_are_within_ulps_of_mpfr(evaluate_file, name):
    x = stimuli(name, 4000)[0]
    x = x[(x & 0x7FFF_FFFF < 0x7F80_0000) & (x & 0x7FFF_FFFF != 0)]
    if name == "gelu":
        x = x[x.view(np.float32) > -2]
    assert x.size > 3000
    errors = ulp_errors(evaluate_file(name, x), exact(name, x))
    assert errors.max() <= MAX_ULPS[name], f"at 0x{x[errors.argmax()]:08X}"


def test_logarithms_are_within_ulps_of_mpfr_but_beside_one(evaluate_file):
    x = stimuli("ln", 4000)[0]
    x = x[(x & 0x7FFF_FFFF < 0x7F80_0000) & (x & 0x7FFF_FFFF != 0)]
    x = np.concatenate([x, np.linspace(0.5, 1.7, 1000, dtype=np.float32).view(np.uint32)])
    values, results = exact("ln", x), evaluate_file("ln", x)
    with np.errstate(invalid="ignore"):
        near = np.abs(values) < 0.5
    assert ulp_errors(results[~near], values[~near]).max() <= 2
    error = np.abs(results[near].view(np.float32) - values[near])
    assert near.sum() > 500
    assert error.max() <= 2.0**-25


def test_arguments_that_do_not_fit_are_refused():
    device = GoldenDevice(TINY)
    bits = np.zeros(4, np.uint32)
    with pytest.raises(ValueError, match="operation 'fma' is unknown: it must be one of add, sub,"):
        evaluate_on_device(device, "fma", bits)
    with pytest.raises(ValueError, match="add takes two operands, and Y is missing"):
        evaluate_golden("add", bits)
    with pytest.raises(ValueError, match="exp takes one operand, and Y is a second one"):
        evaluate_golden("exp", bits, bits)
    with pytest.raises(ValueError, match="x must be uint32 patterns, not float32"):
        evaluate_on_device(device, "exp", bits.view(np.float32))
    with pytest.raises(ValueError, match="y must be uint32 patterns, not int32"):
        evaluate_on_device(device, "add", bits, bits.view(np.int32))
    with pytest.raises(ValueError, match=r"y must have the shape \(4,\) of x, not \(3,\)"):
        evaluate_on_device(device, "add", bits, bits[:3])
    addresses = EvaluateAddresses(x=0, y=None, result=0)
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        build_evaluate(TINY, "abs", 0, addresses)
    with pytest.raises(ValueError, match="functions have a table"):
        build_evaluate(TINY, "exp", 1, addresses)
    with pytest.raises(ValueError, match="16 words a partition is too small for abs"):
        build_evaluate(TileConfig(n=4, sbuf_depth=16), "abs", 1, addresses)
    with pytest.raises(ValueError, match="need 258 entries: the table has 256"):
        evaluate_on_device(
            GoldenDevice(TileConfig(activation_entries=256)), "sigmoid", np.ones(1, np.uint32)
        )
