"""Arguments of the public interface: what is wrong is a ValueError that names it and the limit."""

import re

import numpy as np
import pytest

import tegula_sw as tsw

GOLDEN = tsw.open_device("golden", "tiny")
EYE = np.eye(4, dtype=np.float32)


def assert_refused(call, message):
    """The call raises a ValueError that has `message` in it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.open_device("golden", 5), "config must be a TileConfig"),
        (lambda: tsw.open_device("rtl", None), "config must be a TileConfig"),
        (lambda: tsw.GoldenDevice("tiny"), "as preset('small'), not 'tiny'"),
        (lambda: tsw.RtlDevice("tiny"), "as preset('small'), not 'tiny'"),
        (lambda: tsw.tile_verilog("tiny"), "as preset('small'), not 'tiny'"),
        (lambda: tsw.TableRecords.add("tiny", ["exp"], tsw.MemoryImage()), "not 'tiny'"),
        (lambda: tsw.preset(["tiny"]), "preset ['tiny'] is unknown: it must be one of tiny"),
        (lambda: tsw.GoldenDevice(tsw.preset("tiny"), errors=5), "sequence of ranges, not 5"),
        (lambda: tsw.TileConfig(name=5), "name must be a str, not 5"),
        (
            lambda: tsw.TileConfig(fp8_formats="e4m3fn"),
            "fp8_formats must be a tuple of FloatFormat, not 'e4m3fn'",
        ),
        (lambda: tsw.TileConfig(fp8_formats=[tsw.E5M2]), "must be a tuple of FloatFormat, not ["),
        (lambda: tsw.TileConfig(fp8_formats=("e5m2",)), "of FloatFormat, not ('e5m2',)"),
    ],
)
def test_configurations(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.matmul("golden", EYE, EYE), "device must be a Device"),
        (lambda: tsw.evaluate(None, "exp", EYE), "as open_device() gives it, not None"),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_out=None),
            "format None is unknown: it must be one of bf16, e4m3fn",
        ),
        (lambda: tsw.to_codes(EYE, 3), "format 3 is unknown"),
        (lambda: tsw.to_floats(EYE, ["bf16"]), "format ['bf16'] is unknown"),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_a="fp32"),
            "format_a must be one of bf16, e4m3fn, e5m2 on tile 'tiny', not fp32",
        ),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_b="e3m4"),
            "format_b must be one of bf16, e4m3fn, e5m2 on tile 'tiny', not e3m4",
        ),
        (
            lambda: tsw.matmul(GOLDEN, EYE, EYE, format_out="e4m3"),
            "format_out must be one of bf16, e4m3fn, e5m2, fp32 on tile 'tiny', not e4m3",
        ),
        (lambda: tsw.to_codes("1.5", "bf16"), "array () has dtype <U3"),
        (lambda: tsw.to_codes([None], "bf16"), "array (1,) has dtype object"),
        (lambda: tsw.evaluate(GOLDEN, "exp", [1, 2]), "x (2,) has dtype int64"),
        (lambda: tsw.evaluate(GOLDEN, "exp", np.ones(2)), "x (2,) has dtype float64"),
        (lambda: tsw.evaluate(GOLDEN, "add", [1.0], "y"), "y () has dtype <U1"),
    ],
)
def test_jobs_on_arrays(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize("fmt", ["bf16", "e4m3fn", "fp32"])
@pytest.mark.parametrize(
    "number", [1.5, np.float32(1.5), np.array(1.5), np.array(1.5, np.float16)], ids=repr
)
def test_a_number_has_a_code(number, fmt):
    code = tsw.to_codes(number, fmt)
    assert isinstance(code, np.ndarray)
    np.testing.assert_array_equal(code, tsw.to_codes([1.5], fmt)[0], strict=True)
    value = tsw.to_floats(code, fmt)
    assert isinstance(value, np.ndarray)
    np.testing.assert_array_equal(value, np.array(1.5, np.float32), strict=True)


@pytest.mark.parametrize("x", [[1.0, 0.1], (1, 0.1), 0.1, [[1e300], [-1e-50]]], ids=repr)
def test_evaluate_rounds_floats_of_python(x):
    with np.errstate(over="ignore"):
        array = np.asarray(x).astype(np.float32)
    for operands in ((x,), (x, x)):
        operation = ["neg", "add"][len(operands) - 1]
        expected = tsw.evaluate(GOLDEN, operation, *(array for _ in operands))
        found = tsw.evaluate(GOLDEN, operation, *operands)
        np.testing.assert_array_equal(found, expected, strict=True)


def run(**changes):
    """A run on a good memory, but for the changes."""
    arguments = {"memory": np.zeros(64, np.uint8), "program": 0, "program_bytes": 16} | changes
    memory = arguments.pop("memory")
    return GOLDEN.run(memory, **arguments)


def read_only(memory):
    memory.flags.writeable = False
    return memory


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": [0]}, "memory must be a one-dimensional uint8 array, not list"),
        ({"memory": np.zeros((2, 2), "u1")}, "uint8 array, not uint8 (2, 2)"),
        ({"memory": np.zeros(0, "u1")}, "memory must have at least 1 byte, not 0"),
        ({"memory": np.zeros(8, "u1")[::2]}, "must be contiguous, but its bytes are 2 apart"),
        ({"memory": read_only(np.zeros(8, "u1"))}, "memory of 8 bytes must be writable"),
        ({"program": 0.0}, "program must be an integer, not 0.0"),
        ({"program_bytes": "16"}, "program_bytes must be an integer, not '16'"),
        ({"base": None}, "base must be an integer, not None"),
        ({"watchdog": 1.5}, "watchdog must be an integer, not 1.5"),
        ({"window": (1.5, 3)}, "window's first must be an integer, not 1.5"),
        ({"window": (0, True)}, "window's last must be an integer, not True"),
        ({"window": (0,)}, "window must be (first, last), not (0,)"),
        ({"window": ()}, "window must be (first, last), not ()"),
        ({"window": 5}, "window must be (first, last), not 5"),
    ],
    ids=repr,
)
def test_jobs(changes, message):
    assert_refused(lambda: run(**changes), message)


@pytest.mark.parametrize("errors", [[5], [(0, 1)], [("0", 1, "slverr")], [(0, 1, ["slverr"])]])
def test_errors_of_memory(errors):
    message = f"errors must be (first, last >= first, 'slverr' or 'decerr'), not {errors[0]!r}"
    assert_refused(lambda: tsw.GoldenDevice(GOLDEN.config, errors=errors), message)


def read(address):
    """The byte at an address of an image that begins at 64."""
    return tsw.MemoryImage(64).read(np.zeros(64, np.uint8), address, np.uint8, (1,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.MemoryImage(64.0), "base must be an integer, not 64.0"),
        (lambda: tsw.MemoryImage().reserve(2.5), "size_bytes must be an integer, not 2.5"),
        (lambda: tsw.MemoryImage().reserve(-1), "size_bytes must be at least 0, not -1"),
        (lambda: tsw.MemoryImage().add(np.array([None])), "not of dtype object"),
        (lambda: tsw.MemoryImage().add("text"), "must be bytes or numbers, not of dtype <U4"),
        (lambda: read(0.5), "address must be an integer, not 0.5"),
        (lambda: read(63), "address must be at least 64, not 63"),
        (lambda: tsw.assemble(None), "text must be a str, not None"),
        (lambda: tsw.disassemble("halt"), "data must be bytes, not 'halt'"),
    ],
)
def test_memory_and_texts(call, message):
    assert_refused(call, message)


def load_sync(**sync):
    """A program with one instruction that waits or signals."""
    tsw.Program(GOLDEN.config).load_sync(**sync)


OTHER = tsw.Program(GOLDEN.config).semaphore("other")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.Program("tiny"), "config must be a TileConfig"),
        (lambda: tsw.Program(GOLDEN.config).semaphore([]), "name must be a str, not []"),
        (lambda: load_sync(signal="x"), "load.sync: signal must be a Signal (add()), not 'x'"),
        (lambda: load_sync(signal=OTHER), "load.sync: signal must be a Signal (add()), not Sem"),
        (lambda: load_sync(wait=3), "load.sync: wait must be a Wait (at_least()), not 3"),
        (lambda: load_sync(signal=OTHER.add("1")), "signal's value must be an integer, not '1'"),
        (lambda: load_sync(wait=OTHER.at_least(0.5)), "wait's value must be an integer, not 0.5"),
        (lambda: load_sync(signal=OTHER.add()), "must be one of the program's (none), not Sem"),
        (lambda: load_sync(wait=OTHER.at_least(1)), "one of the program's (none), not Sem"),
    ],
)
def test_programs(call, message):
    assert_refused(call, message)


BUILDER = tsw.KernelBuilder(GOLDEN.config)
MATRIX = BUILDER.scratchpad.matrix("x", 4, 3, tsw.FP32)
COLUMN = BUILDER.scratchpad.matrix("column", 4, 1, tsw.FP32)
STRIP = MATRIX.strip()


def compute(*steps, x=STRIP, dst=STRIP, **options):
    """One vector instruction."""
    BUILDER.compute(dst, x, *steps, **options)


def matrix(rows=4, columns=4, fmt=tsw.BF16, **options):
    """Space for a matrix."""
    BUILDER.scratchpad.matrix("y", rows, columns, fmt, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tsw.KernelBuilder("tiny"), "config must be a TileConfig"),
        (
            lambda: compute(tsw.Step("foo", 1.0)),
            "operation 'foo' is unknown: it must be one of pass, add, sub",
        ),
        (lambda: compute(tsw.Step(None)), "operation None is unknown"),
        (lambda: compute(tsw.Step("mul", "x")), "an operand must be a number or SELF, not 'x'"),
        (lambda: compute(tsw.Step("mul", None)), "an operand must be a number, not None"),
        (
            lambda: compute(tsw.Step("mul", tsw.PerPartition(COLUMN))),
            "a value of each partition must be a Strip, not Matrix",
        ),
        (lambda: compute("mul"), "a step must be a Step, not 'mul'"),
        (lambda: compute(x=MATRIX), "x must be a Strip, an Index or a Random, not Matrix"),
        (lambda: compute(dst=MATRIX), "an operand must be a Strip, as strip() of a matrix, not"),
        (
            lambda: compute(rounding="up"),
            "rounding 'up' is unknown: it must be one of nearest",
        ),
        (
            lambda: BUILDER.reduce(COLUMN.strip(), STRIP, reduction="foo"),
            "reduction 'foo' is unknown: it must be one of none, sum, max, amax",
        ),
        (
            lambda: BUILDER.reduce(COLUMN, STRIP, reduction="sum"),
            "an operand must be a Strip, as strip() of a matrix, not Matrix",
        ),
        (lambda: BUILDER.transpose(STRIP, 0, STRIP), "must be a Matrix, not Strip"),
        (lambda: next(BUILDER.product(STRIP, MATRIX)), "must be a Matrix, not Strip"),
        (lambda: next(BUILDER.product(MATRIX, STRIP)), "must be a Matrix, not Strip"),
        (lambda: BUILDER.load(STRIP, 0), "must be a Matrix, not Strip"),
        (lambda: BUILDER.store(MATRIX, "a"), "address must be an integer, not 'a'"),
        (lambda: BUILDER.load_transposed(STRIP, 0), "must be a Matrix, not Strip"),
        (lambda: BUILDER.load_repeated(MATRIX, 0.5), "address must be an integer, not 0.5"),
        (lambda: BUILDER.load_words(1.5, 0), "words must be an integer, not 1.5"),
        (lambda: BUILDER.apply(STRIP, STRIP, ["exp"]), "function ['exp'] is not in the program's"),
        (
            lambda: tsw.KernelBuilder(GOLDEN.config, scratchpad=5),
            "scratchpad must be a Scratchpad, not 5",
        ),
        (
            lambda: tsw.KernelBuilder(GOLDEN.config, table="exp"),
            "table must be a TableRecords, not 'exp'",
        ),
        (lambda: matrix(rows=4.0), "rows must be an integer, not 4.0"),
        (lambda: matrix(columns="4"), "columns must be an integer, not '4'"),
        (lambda: matrix(skew=0.5), "skew must be an integer, not 0.5"),
        (lambda: matrix(skew=-1), "skew must be at least 0, not -1"),
        (lambda: matrix(fmt="bf16"), "fmt must be a FloatFormat, not 'bf16'"),
    ],
)
def test_builders(call, message):
    assert_refused(call, message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 2.5}, "hidden must be an integer, not 2.5"),
        ({"batch": True}, "batch must be an integer, not True"),
        ({"epochs": 2.5}, "epochs must be an integer, not 2.5"),
        ({"history": None}, "history must be an integer, not None"),
        ({"max_skips": "3"}, "max_skips must be an integer, not '3'"),
        ({"seed": 1.0}, "seed must be an integer, not 1.0"),
        ({"lr": "a"}, "lr must be a number, or None, not 'a'"),
        ({"lr": True}, "lr must be a number, or None, not True"),
    ],
    ids=repr,
)
def test_training_settings(settings, message):
    assert_refused(lambda: tsw.TrainingSettings(**settings), message)


def test_numbers_of_numpy_are_settings():
    settings = tsw.TrainingSettings(hidden=np.int64(8), lr=np.float32(0.5))
    assert (type(settings.hidden), type(settings.lr)) == (int, float)
    assert settings == tsw.TrainingSettings(hidden=8, lr=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("golden", tsw.TrainingSettings(), "run"), "device must be a Device"),
        ((GOLDEN, {"epochs": 1}, "run"), "settings must be TrainingSettings, not {'epochs': 1}"),
        ((GOLDEN, tsw.TrainingSettings(), 5), "folder must be a path, not 5"),
    ],
    ids=["device", "settings", "folder"],
)
def test_training(arguments, message):
    assert_refused(lambda: tsw.train(*arguments), message)


def test_the_folder_of_a_run_may_be_a_str(tmp_path):
    (tmp_path / "log.json").touch()
    assert_refused(
        lambda: tsw.train(GOLDEN, tsw.TrainingSettings(), str(tmp_path)),
        f"{tmp_path} has a run already",
    )
