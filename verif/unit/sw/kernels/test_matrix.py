"""Matrices lie where their strips say."""

import numpy as np
import pytest

from tegula.config import preset
from tegula.formats import BF16, E4M3FN, E5M2, FP32
from tegula_golden.numerics.codes import code_dtype
from tegula_sw.kernels.matrix import Matrix, Strip, element_words
from tegula_sw.kernels.scratchpad import Scratchpad
from tegula_sw.program.footprint import Storage

N, DEPTH = 4, 512
FORMATS = (BF16, E4M3FN, E5M2, FP32)
SHAPES = ((1, 1), (3, 5), (4, 8), (5, 1), (11, 7), (12, 13))

formats = pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: fmt.name)
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "{}x{}".format(*shape))


def matrix_of(shape, fmt, *, addr=24, gap=0):
    rows, columns = shape
    pitch = columns * element_words(fmt) + gap
    return Matrix(name="m", rows=rows, columns=columns, fmt=fmt, n=N, addr=addr, pitch=pitch)


def random_codes(shape, fmt, seed=1):
    dtype = code_dtype(fmt)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def elements(words, strip):
    """Codes of a strip, element by element."""
    columns = []
    for column in range(strip.columns):
        at = strip.addr + column * strip.stride
        code = words[: strip.rows, at].astype(np.uint32)
        if strip.fmt == FP32:
            code = code | words[: strip.rows, at + 1].astype(np.uint32) << np.uint32(16)
        columns.append(code)
    return np.stack(columns, axis=1)


@formats
@shapes
@pytest.mark.parametrize("gap", [0, 3])
def test_what_is_placed_comes_back_and_nothing_else_changes(fmt, shape, gap):
    matrix, codes = matrix_of(shape, fmt, gap=gap), random_codes(shape, fmt)
    noise = np.random.default_rng(2).integers(0, 1 << 16, (N, DEPTH), np.uint16)
    words = noise.copy()
    matrix.write_codes(words, codes)
    back = matrix.codes(words)
    assert back.dtype == codes.dtype
    np.testing.assert_array_equal(back, codes)
    changed = words != noise
    inside = np.zeros_like(changed)
    for band in range(matrix.bands):
        strip = matrix.band(band)
        inside[: strip.rows, strip.addr : strip.addr + strip.columns * strip.stride] = True
    assert not changed[~inside].any()
    assert inside.any(0).nonzero()[0][-1] < matrix.addr + matrix.size_words


@formats
@shapes
def test_bands_are_groups_of_rows(fmt, shape):
    matrix, codes = matrix_of(shape, fmt, gap=5), random_codes(shape, fmt)
    words = np.zeros((N, DEPTH), np.uint16)
    matrix.write_codes(words, codes)
    assert sum(matrix.band_rows(band) for band in range(matrix.bands)) == shape[0]
    for band in range(matrix.bands):
        rows = slice(band * N, (band + 1) * N)
        np.testing.assert_array_equal(elements(words, matrix.band(band)), codes[rows])


@formats
@shapes
def test_spans_take_several_bands_as_one_strip(fmt, shape):
    matrix, codes = matrix_of(shape, fmt), random_codes(shape, fmt)
    words = np.zeros((N, DEPTH), np.uint16)
    matrix.write_codes(words, codes)
    seen = []
    for bands in matrix.spans():
        got = elements(words, matrix.span(bands))
        for number, band in enumerate(bands):
            part = got[:, number * shape[1] : (number + 1) * shape[1]]
            np.testing.assert_array_equal(part, codes[band * N : (band + 1) * N])
        seen += bands
    assert seen == list(range(matrix.bands))
    assert len(matrix.spans()) <= 2


def test_bands_with_space_between_them_or_with_fewer_rows_are_no_strip():
    message = "bands 0 to 2 of m are no strip"
    with pytest.raises(ValueError, match=message):
        matrix_of((8, 3), BF16, gap=1).span(range(2))
    with pytest.raises(ValueError, match=message):
        matrix_of((7, 3), BF16).span(range(2))
    assert matrix_of((7, 3), BF16, gap=1).span(range(1, 2)).rows == 3


def test_a_slice_begins_with_its_first_column():
    strip = matrix_of((3, 8), FP32).strip()
    part = strip.slice(2, 5)
    assert (part.addr, part.columns, part.stride, part.rows) == (24 + 2 * 2, 3, 2, 3)
    assert part.slice(1, 2).addr == strip.slice(3, 4).addr
    for start, stop in ((-1, 2), (3, 3), (5, 4), (0, 9)):
        with pytest.raises(ValueError, match=f"columns {start} to {stop} are not within 0 to 8"):
            strip.slice(start, stop)


def test_the_top_of_a_strip_has_its_first_rows():
    strip = matrix_of((3, 8), BF16).strip()
    assert strip.top(2) == Strip(rows=2, columns=8, addr=24, stride=1, fmt=BF16)
    assert strip.top(2).storage is Storage.SCRATCHPAD
    for rows in (0, 4):
        with pytest.raises(ValueError, match=f"rows must be 1 to 3, not {rows}"):
            strip.top(rows)


def test_a_single_column_can_be_repeated():
    column = matrix_of((4, 1), FP32).strip()
    words = np.zeros((N, DEPTH), np.uint16)
    codes = random_codes((4, 1), FP32)
    matrix_of((4, 1), FP32).write_codes(words, codes)
    np.testing.assert_array_equal(elements(words, column.repeated(3)), np.tile(codes, 3))
    with pytest.raises(ValueError, match="only a single column can be repeated, not 2"):
        matrix_of((4, 2), FP32).strip().repeated(3)


def test_only_a_matrix_of_one_band_is_a_strip():
    with pytest.raises(ValueError, match="m has 2 bands, not one"):
        matrix_of((5, 3), BF16).strip()
    for band in (-1, 2):
        with pytest.raises(ValueError, match=f"band must be 0 to 1 of m, not {band}"):
            matrix_of((5, 3), BF16).band(band)


@pytest.mark.parametrize("codes", [np.zeros((3, 4), np.uint16), np.zeros((4, 3), np.uint32)])
def test_codes_of_another_shape_or_format_are_refused(codes):
    with pytest.raises(ValueError, match=r"m must be uint16 \(4, 3\), not"):
        matrix_of((4, 3), BF16).write_codes(np.zeros((N, DEPTH), np.uint16), codes)


@formats
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("skew", [0, 3])
def test_the_scratchpad_lays_bands_out_as_they_are_used(fmt, packed, skew):
    config = preset("tiny")
    scratchpad = Scratchpad(config)
    line = max(config.n, config.bus_words)
    before = scratchpad.matrix("before", 1, 1, BF16)
    matrix = scratchpad.matrix("m", 9, 7, fmt, packed=packed, skew=skew)
    after = scratchpad.matrix("after", 1, 1, BF16)
    words = 7 * element_words(fmt)
    assert matrix.pitch == (words if packed else -(-words // line) * line)
    assert matrix.addr % line == 2 * skew % line
    assert before.addr + before.size_words <= matrix.addr
    assert matrix.addr + matrix.size_words <= after.addr
    scratchpad.release(matrix)
    scratchpad.release(after)
    scratchpad.release(before)
    assert scratchpad.end == 0


def test_a_matrix_without_elements_is_refused():
    for rows, columns in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=f"m must have rows and columns, not {rows} x"):
            Scratchpad(preset("tiny")).matrix("m", rows, columns, BF16)
