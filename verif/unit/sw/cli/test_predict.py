"""`tegula predict`, and what `tegula gemm` predicts on golden, as users see them."""

import json

import pytest

from tegula.config import preset
from tegula.formats import BF16
from tegula_sw.gemm.prediction import predict_gemm
from tegula_sw.gemm.shape import GemmShape
from verif.support.cli_bench import assert_error, gemm_arguments


def predicted(config, sizes, *latencies):
    """Cycles of a product of bf16."""
    shape = GemmShape.whole(*sizes, BF16, BF16, BF16)
    return [each.cycles_predicted for each in predict_gemm(config, shape, latencies)]


def test_a_table_has_sizes_down_and_latencies_across(run):
    code, out, err = run("predict", "16", "20x8x12", "--preset", "tiny", "--mem-latency", "1,90")
    assert (code, err) == (0, "")
    head, latencies, *rows = out.splitlines()
    assert head == "tile tiny: 4 x 4 array, 64-bit memory port; predicted cycles"
    assert latencies.split()[-4:] == ["latency", "1", "latency", "90"]
    tiny = preset("tiny")
    for row, sizes in zip(rows, [(16, 16, 16), (20, 8, 12)], strict=True):
        assert row.strip().startswith(" x ".join(map(str, sizes)))
        assert [f"{cycles:,}" in row for cycles in predicted(tiny, sizes, 1, 90)] == [True, True]


def test_what_is_asked_for_twice_is_shown_once(run):
    once = run("predict", "4", "--preset", "tiny", "--mem-latency", "20")
    assert once[0] == 0
    twice = ("predict", "4", "4", "--preset", "tiny,tiny", "--mem-latency", "20,20")
    assert run(*twice)[:2] == once[:2]


def test_tiles_are_all_presets_with_all_arrays_and_buses(run, tmp_path):
    arguments = ["predict", "32", "--preset", "tiny,small", "--array", "4,8", "--bus", "64,256"]
    code, out, _ = run(*arguments, "--json", "r.json")
    assert code == 0
    rows = json.loads((tmp_path / "r.json").read_text())["predictions"]
    tiles = [(row["preset"], row["n"], row["axi_data_width"]) for row in rows]
    assert len(set(tiles)) == len(tiles) == 8
    assert out.count("predicted cycles\n") == 8
    for row in rows:
        config = preset(row["preset"], n=row["n"], axi_data_width=row["axi_data_width"])
        assert [row["cycles_predicted"]] == predicted(config, (32, 32, 32), 20)
        assert row["macs"] == 32**3
        assert row["peak_macs_per_cycle"] == row["n"] ** 2
        share = row["macs"] / (row["cycles_predicted"] * row["peak_macs_per_cycle"])
        assert row["utilisation"] == pytest.approx(share)


def test_formats_and_transposition_change_what_is_predicted(run):
    def beats(*more):
        code, out, _ = run("predict", "24", "--preset", "tiny", "--json", "-", *more)
        assert code == 0
        return json.loads(out)["predictions"][0]["read_beats"]

    wide = beats()
    assert beats("--format-a", "e4m3fn", "--format-b", "e5m2", "--format-out", "fp32") < wide
    assert beats("--transpose-a", "--transpose-b") != 0


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_picture_is_drawn(run, tmp_path, suffix, begins):
    arguments = ["predict", "8", "16", "--preset", "tiny", "--mem-latency", "1,50"]
    assert run(*arguments, "--picture", f"p.{suffix}")[0] == 0
    assert (tmp_path / f"p.{suffix}").read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("0",), ("MxNxK or N", "1 to 65536", "'0'")),
        (("8x8",), ("MxNxK or N", "'8x8'")),
        (("8x8x8x8",), ("'8x8x8x8'",)),
        (("8xax8",), ("'8xax8'",)),
        (("99999",), ("'99999'",)),
        (("--preset", "huge"), ("'huge'", "tiny, small, medium")),
        (("--preset", "tiny,"), ("''",)),
        (("--array", "12"), ("n must be one of (4, 8, 16, 32), not 12",)),
        (("--array", "x"), ("--array", "'x'")),
        (("--bus", "100"), ("axi_data_width", "100")),
        (("--mem-latency", "20,0"), ("--mem-latency", "1 to 1048576", "'0'")),
        (("--format-a", "fp32"), ("--format-a 'fp32'", "bf16, e4m3fn, e5m2")),
        (("--picture", "p.gif"), ("p.gif", ".png, .svg, .pdf")),
        (("--json", "no/r.json"), ("no does not exist",)),
        (("--json", "p.svg", "--picture", "p.svg"), ("p.svg",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value[0], str) else None,
)
def test_what_cannot_be_predicted_is_one_line(run, arguments, words):
    assert_error(run("predict", *arguments), *words, label="tegula predict: ")


def test_gemm_on_golden_predicts_the_cycles_of_the_memory_it_is_told(run, matrices, tmp_path):
    tiny = preset("tiny")
    for latency in (1, 20, 300):
        options = ["--preset", "tiny", "--mem-latency", latency, "--json", "r.json"]
        assert run(*gemm_arguments(*options)) == (0, "", "")
        report = json.loads((tmp_path / "r.json").read_text())
        assert report["cycles"] is None
        assert [report["cycles_predicted"]] == predicted(tiny, (5, 4, 9), latency)


def test_gemm_shows_the_prediction_on_a_terminal(run, matrices, monkeypatch):
    monkeypatch.setattr("tegula_sw.cli.commands.common.sys.stderr.isatty", lambda: True)
    code, out, err = run(*gemm_arguments("--preset", "tiny"))
    cycles = predicted(preset("tiny"), (5, 4, 9), 20)[0]
    assert (code, out) == (0, "")
    assert f"tegula: cycles_predicted {cycles:,}\n" in err
