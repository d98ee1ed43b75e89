"""Outputs: JSON that every reader takes, pictures, and several of which one fails."""

import io
import json
import math
import sys

import pytest

from tegula_sw.files.outputs import (
    Outputs,
    explained,
    json_text,
    open_output,
    save_figure,
    write_json,
)


def strictly(text):
    """JSON as RFC 8259 has it."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_has_neither_nan_nor_infinities():
    content = {
        "plain": [1, 2.5, None, True, "NaN"],
        "odd": [math.nan, math.inf, -math.inf],
        "deep": {"tuple": (1.0, {"x": -math.nan})},
    }
    for indent in (None, 1, 2):
        text = json_text(content, indent=indent)
        assert text.endswith("\n")
        assert ("\n " in text) == (indent is not None)
        found = strictly(text)
        assert found["plain"] == content["plain"]
        assert found["odd"] == ["NaN", "Infinity", "-Infinity"]
        assert [float(word) for word in found["odd"][1:]] == content["odd"][1:]
        assert math.isnan(float(found["odd"][0]))
        assert found["deep"] == {"tuple": [1.0, {"x": "NaN"}]}


def test_json_goes_to_a_file_or_to_standard_output(tmp_path, capsys):
    write_json(tmp_path / "r.json", {"x": math.nan})
    write_json("-", {"x": math.nan}, indent=None)
    assert strictly((tmp_path / "r.json").read_text()) == {"x": "NaN"}
    assert capsys.readouterr().out == '{"x":"NaN"}\n'


def test_text_goes_to_a_standard_output_without_bytes(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    write_json("-", 1)
    assert stream.getvalue() == "1\n"


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [("png", b"\x89PNG"), ("PNG", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")],
)
def test_pictures_are_what_their_names_say(tmp_path, suffix, magic):
    from matplotlib.figure import Figure

    path = tmp_path / f"p.{suffix}"
    path.write_text("old")
    save_figure(path, Figure(), dpi=50)
    assert path.read_bytes().startswith(magic)


def test_a_picture_for_a_full_disk_is_named(tmp_path, limit_file_size):
    from matplotlib.figure import Figure

    path = tmp_path / "p.png"
    path.write_text("old")
    limit_file_size(100)
    with pytest.raises(OSError, match="File too large") as caught:
        save_figure(path, Figure(), dpi=50)
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"


def write(outputs, path, error=None):
    with outputs.writing(path):
        if error is not None:
            raise error
        with open_output(path) as file:
            file.write(b"new")


FULL = OSError(28, "No space left on device", "a")


@pytest.mark.parametrize(
    ("errors", "kind", "message"),
    [
        ({"a": FULL}, OSError, "a: No space left on device; written: b, c"),
        ({"a": FULL, "c": ValueError("c is bad")}, OSError, "a: No space .*; c is bad; written: b"),
        ({"b": ValueError("b is bad")}, ValueError, "b is bad; written: a, c"),
        (
            {"a": FULL, "b": FULL, "c": FULL},
            OSError,
            "a: No .*; a: No .*; a: No space left on device$",
        ),
    ],
    ids=["one", "two", "a value", "all"],
)
def test_each_output_that_can_be_written_is(tmp_path, monkeypatch, errors, kind, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message), Outputs() as outputs:
        for path in "abc":
            write(outputs, path, errors.get(path))
    assert {path.name for path in tmp_path.iterdir()} == set("abc") - errors.keys()


def test_the_only_output_that_fails_is_raised_as_it_is():
    with pytest.raises(OSError) as caught, Outputs() as outputs:
        write(outputs, "a", FULL)
    assert caught.value is FULL


def test_an_error_of_the_work_is_not_hidden_by_one_of_an_output(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught, Outputs() as outputs:
        write(outputs, "a", FULL)
        write(outputs, tmp_path / "b")
        raise KeyboardInterrupt
    note = f"a: No space left on device; written: {tmp_path / 'b'}"
    assert caught.value.__notes__ == [note]


def test_a_bug_in_an_output_is_raised_at_once():
    with pytest.raises(KeyError), Outputs() as outputs:
        write(outputs, "a", KeyError("x"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space", "C.npy"), "C.npy: No space"),
        (OSError(28, "No space"), "No space"),
        (OSError("5 requested and 0 written"), "5 requested and 0 written"),
        (ValueError("two\n  lines"), "two lines"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_errors_are_explained_in_a_line(error, text):
    assert explained(error) == text
