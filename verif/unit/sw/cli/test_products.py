"""`tegula gemm` and `tegula profile` as users see them."""

import json

import numpy as np
import pytest

from tegula.formats import BF16, E4M3FN, E5M2, FP32, MXFP8_E4M3, MXFP8_E5M2
from tegula.isa.operations import ScaleRule
from tegula_golden.numerics.cast import cast
from tegula_golden.numerics.gemm import gemm
from tegula_golden.numerics.mx import quantised
from verif.support.cli_bench import BF16_OUT, assert_error, gemm_arguments


def test_gemm_of_float_arrays_writes_codes_and_a_report(run, matrices, tmp_path):
    formats = ["--format-a", "e4m3fn", "--format-b", "e5m2", "--format-out", "bf16"]
    code, out, err = run(*gemm_arguments("--json", "r.json", formats=formats))
    assert (code, out, err) == (0, "", "")
    a, b = (
        cast(bits, fmt, saturate=True) for bits, fmt in zip(matrices, (E4M3FN, E5M2), strict=True)
    )
    codes = np.load(tmp_path / "C.npy")
    assert codes.dtype == np.uint16
    assert np.array_equal(codes, gemm(a, b, E4M3FN, E5M2, BF16))
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["shape"] == [5, 4, 9]
    assert report["macs"] == 180
    assert report["peak_macs_per_cycle"] == 128, "8-bit operands are packed"
    assert report["cycles"] is None
    assert report["utilisation"] is None
    assert report["cycles_per_second"] is None
    assert report["preset"] == "small"
    assert report["device"] == "golden"
    assert report["read_beats"] > report["write_beats"] > 0


def test_gemm_quantises_floats_to_mx_formats_and_takes_codes_with_scales(run, matrices, tmp_path):
    formats = ["--format-a", "mxfp8_e4m3", "--format-b", "mxfp8_e5m2", "--format-out", "fp32"]
    assert run(*gemm_arguments("--scale-rule", "ceil", formats=formats)) == (0, "", "")
    (scales_a, a), (scales_b, b) = (
        quantised(np.ascontiguousarray(bits), element, ScaleRule.CEIL)
        for bits, element in ((matrices[0], MXFP8_E4M3), (matrices[1].T, MXFP8_E5M2))
    )
    expected = gemm(
        *(a, np.ascontiguousarray(b.T), E4M3FN, E5M2, FP32),
        packed=True,
        scales_a=scales_a,
        scales_b=np.ascontiguousarray(scales_b.T),
    )
    result = np.load(tmp_path / "C.npy")
    assert np.array_equal(result.view(np.uint32), expected)
    np.save(tmp_path / "codes.npy", a)
    np.save(tmp_path / "S.npy", scales_a)
    codes = gemm_arguments("--scale-rule", "ceil", a="codes.npy", formats=formats)
    assert_error(run(*codes), "codes.npy holds codes of mxfp8_e4m3", label="tegula gemm")
    assert run(*codes, "--scales-a", "S.npy") == (0, "", "")
    assert np.array_equal(np.load(tmp_path / "C.npy"), result)


@pytest.mark.slow
def test_profile_prints_a_table_and_writes_trace_picture_and_report(run, matrices, tmp_path):
    files = ("--trace", "t.json", "--picture", "p.png", "--window", "50:150", "--json", "r.json")
    arguments = ["profile", "A.npy", "B.npy", "-o", "C.npy", "--preset", "tiny", *BF16_OUT]
    code, out, _ = run(*arguments, *files)
    assert code == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert f"{report['cycles']:,} cycles" in out
    for engine, states in report["engines"].items():
        assert f"\n{engine}" in out
        assert sum(states.values()) == report["cycles"]
        if engine != "control":
            busy = sum(n for state, n in states.items() if state.startswith("busy"))
            assert busy == report["counters"][f"{engine.upper()}_BUSY"]
    a, b = (cast(bits, BF16) for bits in matrices)
    assert np.array_equal(np.load(tmp_path / "C.npy"), gemm(a, b, BF16, BF16, BF16))
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert {event["name"] for event in events} >= {"tensor.matmul", "halt", "thread_name"}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_gemm_writes_a_trace_of_the_rtl(run, matrices, tmp_path):
    arguments = ["gemm", "A.npy", "B.npy", "-o", "C.npy", "--preset", "tiny", *BF16_OUT]
    code, out, _ = run(*arguments, "--trace", "t.json", "--json", "r.json")
    assert (code, out) == (0, "")
    content = json.loads((tmp_path / "t.json").read_text())
    report = json.loads((tmp_path / "r.json").read_text())
    assert content["otherData"]["cycles"] == report["cycles"]
    assert report["cycles_per_second"] == report["cycles"] / report["seconds"] > 0


@pytest.mark.slow
def test_gemm_on_the_rtl_shows_cycles_and_speed_on_a_terminal(run, matrices, monkeypatch, tmp_path):
    monkeypatch.setattr("tegula_sw.cli.commands.common.sys.stderr.isatty", lambda: True)
    options = ("--preset", "tiny", "--device", "rtl", "--json", "r.json")
    code, out, err = run(*gemm_arguments(*options))
    assert (code, out) == (0, "")
    report = json.loads((tmp_path / "r.json").read_text())
    cycles, speed = f"{report['cycles']:,}", f"{report['cycles_per_second']:,.0f}"
    assert f"tegula: cycles {cycles}, cycles_per_second {speed}\n" in err


def test_traces_and_pictures_that_cannot_be_are_refused_before_the_work(run, matrices):
    assert_error(run(*gemm_arguments("--trace", "t.json")), "--trace needs --device rtl")
    profile = ["profile", "A.npy", "B.npy", *BF16_OUT]
    assert_error(run(*profile, "--trace", "no/t.json"), "no does not exist")
    assert_error(run(*profile, "--picture", "p.gif"), "p.gif", ".png, .svg, .pdf")
    assert_error(run(*profile, "--window", "1:2"), "--window needs --picture")
    assert_error(run(*profile, "--picture", "p.png", "--window", "2:1"), "FIRST:END", "'2:1'")


def test_gemm_of_codes_gives_float32_and_a_report_on_stdout(run, tmp_path):
    one = np.full((3, 3), 0x3F80, np.uint16)
    np.save(tmp_path / "A.npy", one)
    formats = ["--format-a", "bf16", "--format-b", "bf16", "--format-out", "fp32"]
    code, out, _ = run(
        *gemm_arguments("--json", "-", "--preset", "tiny", b="A.npy", formats=formats)
    )
    assert code == 0
    assert json.loads(out)["preset"] == "tiny"
    result = np.load(tmp_path / "C.npy")
    assert result.dtype == np.float32
    assert (result == 3).all()


def test_gemm_takes_transposed_operands(run, matrices, tmp_path):
    assert run(*gemm_arguments()) == (0, "", "")
    plain = np.load(tmp_path / "C.npy")
    for name in "AB":
        np.save(tmp_path / f"{name}T.npy", np.load(tmp_path / f"{name}.npy").T)
    flags = ["--transpose-a", "--transpose-b", "--json", "r.json"]
    assert run(*gemm_arguments(*flags, a="AT.npy", b="BT.npy")) == (0, "", "")
    assert np.array_equal(np.load(tmp_path / "C.npy"), plain)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["shape"] == [5, 4, 9]
    assert (report["transpose_a"], report["transpose_b"]) == (True, True)
    result = run(*gemm_arguments("--transpose-b", b="B.npy"))
    assert_error(result, "A.npy (5, 9) and B.npy (9, 4)", "9 columns and 4 columns")


@pytest.mark.parametrize(("flags", "code"), [((), 0x7F), (("--saturate",), 0x7E)])
def test_saturation_is_chosen(run, tmp_path, flags, code):
    np.save(tmp_path / "A.npy", np.full((2, 4), 448.0))
    np.save(tmp_path / "B.npy", np.full((4, 2), 448.0))
    formats = ["--format-a", "e4m3fn", "--format-b", "e4m3fn", "--format-out", "e4m3fn"]
    assert run(*gemm_arguments(*flags, formats=formats))[0] == 0
    assert (np.load(tmp_path / "C.npy") == code).all()


def test_shapes_that_disagree_are_quoted(run, matrices):
    assert_error(run(*gemm_arguments(b="A.npy")), "A.npy (5, 9)", "9 columns and 5 rows", "on K")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--format-a", "fp16", ("--format-a 'fp16'", "bf16, e4m3fn, e5m2")),
        ("--format-b", "fp32", ("--format-b 'fp32'",)),
        ("--format-out", "int8", ("bf16, e4m3fn, e5m2, fp32",)),
        ("--preset", "huge", ("'huge'", "tiny, small, medium")),
        ("--device", "gpu", ("'gpu'",)),
        ("--stall", "1.5", ("--stall", "0 to below 1", "'1.5'")),
        ("--stall", "1", ("--stall", "'1'")),
        ("--stall", "nan", ("--stall",)),
        ("--mem-latency", "0", ("--mem-latency", "1 to 1048576", "'0'")),
        ("--mem-latency", str(10**23), ("--mem-latency", f"'{10**23}'")),
        ("--seed", "x", ("--seed", "'x'")),
        ("--seed", "-1", ("--seed", "'-1'")),
        ("--seed", str(1 << 64), ("--seed", f"0 to {(1 << 64) - 1}", f"'{1 << 64}'")),
    ],
)
def test_option_values_out_of_range_are_quoted(run, matrices, option, value, words):
    assert_error(run(*gemm_arguments(f"{option}={value}")), *words)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 9), np.int32), ("A.npy (5, 9)", "int32")),
        (np.zeros((5, 9), np.uint8), ("bf16 codes must be uint16",)),
        (np.zeros((5, 9), complex), ("complex128",)),
        (np.zeros(9), ("two-dimensional",)),
        (np.zeros((0, 9)), ("empty", "(0, 9)")),
        (np.array([[None] * 9] * 5), ("A.npy", "Python objects")),
    ],
    ids=["int", "width", "complex", "vector", "empty", "objects"],
)
def test_arrays_that_are_no_operands_are_refused(run, matrices, tmp_path, array, words):
    np.save(tmp_path / "A.npy", array, allow_pickle=True)
    assert_error(run(*gemm_arguments()), *words)
